"""The shipped testing kit. Nothing else in queuekit imports it."""

from queuekit.testing.clock import VirtualClock
from queuekit.testing.kit import TestKit, inline, isolated

__all__ = ["TestKit", "VirtualClock", "inline", "isolated"]
