"""The family `schedules_moving` on every store of the matrix."""

from queuekit.testing.conformance.schedules_moving import *  # noqa: F403
