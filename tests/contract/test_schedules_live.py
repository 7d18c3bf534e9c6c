"""The family `schedules_live` on every store of the matrix."""

from queuekit.testing.conformance.schedules_live import *  # noqa: F403
