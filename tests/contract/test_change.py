"""The family `change` on every store of the matrix."""

from queuekit.testing.conformance.change import *  # noqa: F403
