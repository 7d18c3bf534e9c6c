"""The family `order` on every store of the matrix."""

from queuekit.testing.conformance.order import *  # noqa: F403
