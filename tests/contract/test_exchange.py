"""The family `exchange` on every store of the matrix."""

from queuekit.testing.conformance.exchange import *  # noqa: F403
