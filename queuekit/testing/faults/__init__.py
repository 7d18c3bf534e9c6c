"""Faults between a store and its driver, planned: for tests of queuekit, and of applications that use it.

`Faults` says what goes wrong and when; `faulty` puts a kit over it, `faulty_store` a single store.
"""

from queuekit.testing.faults.kit import faulty
from queuekit.testing.faults.plan import Call, Fault, Faults, Injected
from queuekit.testing.faults.port import faulty_store

__all__ = ["Call", "Fault", "Faults", "Injected", "faulty", "faulty_store"]
