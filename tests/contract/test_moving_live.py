"""The family `moving_live` on every store of the matrix."""

from queuekit.testing.conformance.moving_live import *  # noqa: F403
