"""The family `ends` on every store of the matrix."""

from queuekit.testing.conformance.ends import *  # noqa: F403
