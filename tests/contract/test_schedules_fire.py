"""The family `schedules_fire` on every store of the matrix."""

from queuekit.testing.conformance.schedules_fire import *  # noqa: F403
