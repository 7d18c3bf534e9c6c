"""The family `again` on every store of the matrix."""

from queuekit.testing.conformance.again import *  # noqa: F403
