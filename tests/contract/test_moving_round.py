"""The family `moving_round` on every store of the matrix."""

from queuekit.testing.conformance.moving_round import *  # noqa: F403
