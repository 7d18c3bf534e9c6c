"""Moving jobs between stores: live, through files, verified. Reads and writes through the seam only."""

from queuekit.move.engine import abandon, abort, move, resume
from queuekit.move.planning import plan
from queuekit.move.some import move_states
from queuekit.move.values import (
    OnProgress,
    Options,
    Phase,
    Plan,
    Progress,
    QueuePlan,
    QueueReport,
    QueueVerdict,
    Report,
    Side,
    Standing,
    Verdict,
)
from queuekit.move.verdict import verify

__all__ = [
    "OnProgress",
    "Options",
    "Phase",
    "Plan",
    "Progress",
    "QueuePlan",
    "QueueReport",
    "QueueVerdict",
    "Report",
    "Side",
    "Standing",
    "Verdict",
    "abandon",
    "abort",
    "move",
    "move_states",
    "plan",
    "resume",
    "verify",
]
