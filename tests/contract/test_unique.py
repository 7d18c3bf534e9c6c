"""The family `unique` on every store of the matrix."""

from queuekit.testing.conformance.unique import *  # noqa: F403
