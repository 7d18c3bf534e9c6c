"""The family `moving_homes` on every store of the matrix."""

from queuekit.testing.conformance.moving_homes import *  # noqa: F403
