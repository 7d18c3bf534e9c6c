"""The family `contention` on every store of the matrix."""

from queuekit.testing.conformance.contention import *  # noqa: F403
