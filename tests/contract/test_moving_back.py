"""The family `moving_back` on every store of the matrix."""

from queuekit.testing.conformance.moving_back import *  # noqa: F403
