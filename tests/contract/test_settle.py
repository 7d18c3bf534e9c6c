"""The family `settle` on every store of the matrix."""

from queuekit.testing.conformance.settle import *  # noqa: F403
