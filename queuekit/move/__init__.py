"""Moving jobs between stores: live, through files, verified. Reads and writes through the seam only."""

from queuekit.move.engine import abandon, abort, move, resume
from queuekit.move.values import (
    MovingStore,
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

__all__ = [
    "MovingStore",
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
    "resume",
]
