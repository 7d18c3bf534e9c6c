"""The family `recover` on every store of the matrix."""

from queuekit.testing.conformance.recover import *  # noqa: F403
