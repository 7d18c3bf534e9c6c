"""The family `notify` on every store of the matrix."""

from queuekit.testing.conformance.notify import *  # noqa: F403
