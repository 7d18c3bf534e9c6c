"""The family `within` on every store of the matrix."""

from queuekit.testing.conformance.within import *  # noqa: F403
