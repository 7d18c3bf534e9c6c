"""The family `life` on every store of the matrix."""

from queuekit.testing.conformance.life import *  # noqa: F403
