"""The family `moving_held` on every store of the matrix."""

from queuekit.testing.conformance.moving_held import *  # noqa: F403
