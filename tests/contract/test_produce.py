"""The family `produce` on every store of the matrix."""

from queuekit.testing.conformance.produce import *  # noqa: F403
