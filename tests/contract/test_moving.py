"""The family `moving` on every store of the matrix."""

from queuekit.testing.conformance.moving import *  # noqa: F403
