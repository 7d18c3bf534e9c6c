"""The family `moving_keys` on every store of the matrix."""

from queuekit.testing.conformance.moving_keys import *  # noqa: F403
