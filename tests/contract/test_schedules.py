"""The family `schedules` on every store of the matrix."""

from queuekit.testing.conformance.schedules import *  # noqa: F403
