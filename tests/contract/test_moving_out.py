"""The family `moving_out` on every store of the matrix."""

from queuekit.testing.conformance.moving_out import *  # noqa: F403
