"""The shipped testing kit. Nothing else in queuekit imports it."""

from queuekit.testing.clock import VirtualClock
from queuekit.testing.faults import Faults, faulty, faulty_store
from queuekit.testing.kit import TestKit, inline, isolated

__all__ = ["Faults", "TestKit", "VirtualClock", "faulty", "faulty_store", "inline", "isolated"]
