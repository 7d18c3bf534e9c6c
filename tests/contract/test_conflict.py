"""The family `conflict` on every store of the matrix."""

from queuekit.testing.conformance.conflict import *  # noqa: F403
