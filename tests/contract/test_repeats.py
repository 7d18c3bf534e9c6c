"""The family `repeats` on every store of the matrix."""

from queuekit.testing.conformance.repeats import *  # noqa: F403
