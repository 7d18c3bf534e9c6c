"""A process in which time passes faster: its waits, its loop, and what its stores take for the server's clock.

All processes of a run share the moment from which time runs faster, so that their stores' clocks agree.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from queuekit import QueueKit, clock
from queuekit.settings import Settings
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions

_host, _monotonic = time.time_ns, time.monotonic  # whatever a process does to its own clock later


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """From `since` (ms, this host's) on, time runs `times` as fast."""

    since: int
    times: int

    def ahead(self) -> int:
        """By how many ms the stores' clocks are ahead of the host's."""
        return max(0, _host() // 1_000_000 - self.since) * (self.times - 1)

    def now(self) -> int:
        """The stores' time, in ms."""
        return _host() // 1_000_000 + self.ahead()

    def patch(self, wrong: int = 0) -> None:
        """Let this process wait by the faster time; its wall clock is wrong by so many seconds besides."""
        times = self.times
        clock.monotonic = lambda: _monotonic() * times
        clock.now_ms = lambda: self.now() + wrong * 1000

    def open(self, kit: QueueKit) -> None:
        """Let the stores that a kit opens live in the faster time."""
        kit.access._make = self._make  # type: ignore[method-assign]

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        options = StoreOptions(namespace=settings.namespace, timeout=settings.timeout)
        return make(settings.url, options, self.ahead, self.now, blocking=blocking)


def make(
    url: str, options: StoreOptions, ahead: Callable[[], int], now: Callable[[], int], *, blocking: bool
) -> JobStore:
    """A store whose clock is put forward, as its conformance harness does it."""
    from importlib import import_module

    made: Any
    if url.startswith("sqlite"):
        made = import_module("queuekit.embedded").backend
        return (made.blocking if blocking else made.asynchronous)(url, options, now)  # type: ignore[no-any-return]
    if url.startswith("mongo"):
        made = import_module("queuekit_mongo.backend").MongoBackend()
        return (made.blocking if blocking else made.asynchronous)(url, options, shift=ahead)  # type: ignore[no-any-return]
    made = import_module("queuekit_redis.backend").RedisBackend()
    store: Any = (made.blocking if blocking else made.asynchronous)(url, options)
    store.move_clock(ahead)
    return store  # type: ignore[no-any-return]


class _Selector(selectors.BaseSelector):
    def __init__(self, times: int) -> None:
        self.real, self.times = selectors.DefaultSelector(), times

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return self.real.select(timeout if timeout is None else timeout / self.times)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.real.modify(fileobj, events, data)

    def close(self) -> None:
        self.real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.real.get_map()


class FastLoop(asyncio.SelectorEventLoop):
    """A loop whose second is shorter. Time-outs of drivers, too, come sooner: give stores a long one."""

    def __init__(self, times: int) -> None:
        self._times = times
        super().__init__(_Selector(times))

    def time(self) -> float:
        return _monotonic() * self._times
