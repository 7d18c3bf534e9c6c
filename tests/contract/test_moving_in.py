"""The family `moving_in` on every store of the matrix."""

from queuekit.testing.conformance.moving_in import *  # noqa: F403
