"""The family `control` on every store of the matrix."""

from queuekit.testing.conformance.control import *  # noqa: F403
