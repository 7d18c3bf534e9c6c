"""The family `read` on every store of the matrix."""

from queuekit.testing.conformance.read import *  # noqa: F403
