"""The family `opaque` on every store of the matrix."""

from queuekit.testing.conformance.opaque import *  # noqa: F403
