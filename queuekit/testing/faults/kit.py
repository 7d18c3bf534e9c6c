"""A kit whose stores go wrong by plan. What goes wrong, and how, is decided in plan.py and port.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from queuekit import QueueKit, Settings
from queuekit.producing.access import Access
from queuekit.store.protocol import JobStore
from queuekit.testing.faults.plan import Faults
from queuekit.testing.faults.port import faulty_store


@contextmanager
def faulty(kit: QueueKit, faults: Faults, *, least: int = 1) -> Iterator[Faults]:
    """Inside the block the kit's calls, those of its workers in this process too, go wrong as `faults` says.

    It opens stores of its own for that. At the end it raises AssertionError unless at least `least` faults were
    injected, and by each rule that is not left to chance. Worker processes are not reached. Not for two threads.
    """
    before = kit.access
    kit.access = access = _FaultyAccess(kit, before, faults)
    try:
        yield faults
    finally:
        kit.access = before
        access.close()
    faults.check(least)


class _FaultyAccess(Access):
    """Opens stores as another would, and puts the plan below them."""

    def __init__(self, kit: QueueKit, inner: Access, faults: Faults) -> None:
        super().__init__(lambda: kit.settings)
        self._inner = inner
        self._faults = faults

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        return faulty_store(self._inner._make(settings, blocking=blocking), self._faults)
