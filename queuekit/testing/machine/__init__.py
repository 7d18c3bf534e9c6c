"""Model-based testing of a store: the same random steps on two stores, everything compared after each.

`machine_of` makes a Hypothesis state machine of a `Harness`, `replay` runs a kept list of steps. Needs Hypothesis.
"""

from queuekit.testing.machine.duel import Difference, Duel, Plan, replay
from queuekit.testing.machine.shrink import shrunk
from queuekit.testing.machine.timed import machine_of
from queuekit.testing.machine.voyage import moving_machine_of

__all__ = ["Difference", "Duel", "Plan", "machine_of", "moving_machine_of", "replay", "shrunk"]
