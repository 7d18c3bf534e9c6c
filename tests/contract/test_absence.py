"""The family `absence` on every store of the matrix."""

from queuekit.testing.conformance.absence import *  # noqa: F403
