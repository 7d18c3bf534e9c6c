"""The family `retention` on every store of the matrix."""

from queuekit.testing.conformance.retention import *  # noqa: F403
