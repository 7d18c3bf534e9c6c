"""A kit whose stores go wrong by plan. What goes wrong, and how, is decided in plan.py and port.py."""

from __future__ import annotations

from types import TracebackType

from queuekit import QueueKit, Settings
from queuekit.producing.access import Access
from queuekit.store.protocol import JobStore
from queuekit.testing.faults.plan import Faults
from queuekit.testing.faults.port import faulty_store


class faulty:  # noqa: N801  it is used like `isolated` and `inline`
    """Inside the block the kit's calls, those of its workers in this process too, go wrong as `faults` says.

    It opens stores of its own for that. At the end it raises AssertionError unless at least `least` faults were
    injected, and by each rule that is not left to chance. Worker processes are not reached. `with`, or `async with`
    in a running loop, whose store is closed then too. Not for two threads.
    """

    def __init__(self, kit: QueueKit, faults: Faults, *, least: int = 1) -> None:
        self._kit = kit
        self._faults = faults
        self._least = least
        self._before = kit.access
        self._access = _FaultyAccess(kit, kit.access, faults)

    def __enter__(self) -> Faults:
        self._before = self._kit.access
        self._kit.access = self._access
        return self._faults

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kit.access = self._before
        self._access.close()
        if error is None:
            self._faults.check(self._least)

    async def __aenter__(self) -> Faults:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kit.access = self._before
        await self._access.aclose()
        if error is None:
            self._faults.check(self._least)


class _FaultyAccess(Access):
    """Opens stores as another would, and puts the plan below them."""

    def __init__(self, kit: QueueKit, inner: Access, faults: Faults) -> None:
        super().__init__(lambda: kit.settings)
        self._inner = inner
        self._faults = faults

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        return faulty_store(self._inner._make(settings, blocking=blocking), self._faults)
