"""The family `find` on every store of the matrix."""

from queuekit.testing.conformance.find import *  # noqa: F403
