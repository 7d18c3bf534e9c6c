"""The family `renew` on every store of the matrix."""

from queuekit.testing.conformance.renew import *  # noqa: F403
