"""The stores a kit talks through: one blocking per process, one asynchronous per running event loop, opened when used.

The only place above the seam that opens and closes stores; what is asked of them is not known here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from queuekit import clock
from queuekit.errors import StoreUnavailable, Unsupported
from queuekit.producing.roads import Roads
from queuekit.store.direct import direct
from queuekit.store.lanes import Lanes
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions, backend, schemes
from queuekit.store.retry import repeat

if TYPE_CHECKING:
    from queuekit.settings import Settings

R = TypeVar("R")
Entry: TypeAlias = "Blocking | Loop"
_log = logging.getLogger("queuekit")
_inherited: Final[list[object]] = []  # stores of a parent process: kept, so that nothing ever closes their sockets
_said: Final[set[str]] = set()  # notes of settings, each worth a line once a process
_sites: Final[set[tuple[str, int]]] = set()
_all: Final[weakref.WeakSet[Access]] = weakref.WeakSet()


class SyncInAsyncWarning(UserWarning):
    """A blocking call inside a running event loop; said once a call site. The a-twin does not block the loop."""


class Blocking:
    """The process's store for plain calls."""

    __slots__ = ("lanes", "pid", "store", "within")

    def __init__(self, store: JobStore, within: float) -> None:
        self.store = store
        self.pid = os.getpid()
        self.lanes = Lanes()
        self.within = within  # seconds that a call is repeated for while the store is away

    def again(self, first: StoreUnavailable, ask: Callable[[], Awaitable[R]]) -> R:
        """The answer of a call that found the store away, asked again. `ask` must ask the same each time."""
        return direct(_again(first, ask, _Sleeper(), self.within))

    async def ask(self, ask: Callable[[], Awaitable[R]]) -> R:
        """The same for code written once for both kinds: it never suspends, so `direct` steps it."""
        try:
            return await ask()
        except StoreUnavailable as first:
            return await _again(first, ask, _Sleeper(), self.within)

    async def go_on(self, first: StoreUnavailable, ask: Callable[[], Awaitable[R]]) -> R:
        """`again` for code written once for both kinds."""
        return await _again(first, ask, _Sleeper(), self.within)

    async def sleep(self, seconds: float) -> None:
        """Wait, in a plain call."""
        await _Sleeper().sleep(seconds)


class Loop:
    """A running loop's store."""

    __slots__ = ("guard", "lanes", "opening", "store", "within")

    def __init__(self, store: JobStore, within: float) -> None:
        self.store = store
        self.lanes = Lanes()
        self.within = within
        self.opening: asyncio.Future[None] | None = None
        self.guard: AsyncGenerator[None, None] | None = None

    async def again(self, first: StoreUnavailable, ask: Callable[[], Awaitable[R]]) -> R:
        """The answer of a call that found the store away, asked again. `ask` must ask the same each time."""
        return await _again(first, ask, _AsyncSleeper(), self.within)

    async def ask(self, ask: Callable[[], Awaitable[R]]) -> R:
        """The answer of one store call, repeated while the store is away. `ask` must ask the same each time."""
        try:
            return await ask()
        except StoreUnavailable as first:
            return await self.again(first, ask)

    async def go_on(self, first: StoreUnavailable, ask: Callable[[], Awaitable[R]]) -> R:
        """`again` for code written once for both kinds."""
        return await _again(first, ask, _AsyncSleeper(), self.within)

    async def sleep(self, seconds: float) -> None:
        """Wait, on the loop."""
        await asyncio.sleep(seconds)


class Access:
    """Opens stores by URL, or over a client of the application."""

    def __init__(self, settings: Callable[[], Settings], client: object | None = None) -> None:
        self._settings = settings
        self._client = client
        self._blocking: Blocking | None = None
        self._loops: dict[asyncio.AbstractEventLoop, Loop] = {}
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._beside: dict[str, Access] = {}
        self.roads = Roads()
        _all.add(self)

    @property
    def settings(self) -> Settings:
        """What says which store this is."""
        return self._settings()

    @property
    def is_open(self) -> bool:
        """Whether this process's store, which plain calls use, is open."""
        return self._blocking is not None and self._blocking.pid == os.getpid()

    def beside(self, url: str, chosen_by: str) -> Access:
        """Another store, under the same rules: one blocking, one a loop, none of a parent's, closed with this one."""
        known = self._beside.get(url)
        if known is None:
            settings = replace(self._settings(), url=url, chosen_by=chosen_by, notes=())
            known = self._beside.setdefault(url, _Beside(self, settings))
        return known

    async def opened(self, like: Entry) -> Entry:
        """This store, open, as `like` is: for plain calls or for the running loop."""
        return self.blocking(warn=False) if isinstance(like, Blocking) else await self.asynchronous()

    def blocking(self, *, warn: bool = True) -> Blocking:
        """This process's store, open; warns where it would stop a running loop. Raises what opening raises."""
        if warn and asyncio._get_running_loop() is not None:  # noqa: SLF001  get_running_loop() raises: 10x slower
            _warn_sync_in_async()
        entry = self._blocking
        if entry is not None and entry.pid == os.getpid():
            return entry
        return self._open_blocking()

    async def asynchronous(self) -> Loop:
        """The running loop's store, open."""
        loop = asyncio.get_running_loop()
        entry = self._loops.get(loop)
        if entry is not None and entry.opening is None and self._pid == os.getpid():
            return entry
        return await self._open_async(loop)

    def close(self) -> None:
        """Close this process's blocking store, and those beside it; the next use opens a new one."""
        self._leave_parent()
        for other in list(self._beside.values()):
            other.close()
        self._leave_closed_loops()
        with self._lock:
            entry, self._blocking = self._blocking, None
        if entry is not None:
            direct(entry.store.close())

    async def aclose(self) -> None:
        """Close the running loop's store, and this process's blocking one, and those beside them."""
        self._leave_parent()
        for other in list(self._beside.values()):
            await other.aclose()
        entry = self._loops.pop(asyncio.get_running_loop(), None)
        if entry is not None and entry.guard is not None:
            await entry.store.close()
            await entry.guard.aclose()
        self.close()

    def _open_blocking(self) -> Blocking:
        self._leave_parent()
        with self._lock:
            if self._blocking is None:
                settings = self._settings()
                store = self._make(settings, blocking=True)
                direct(store.open())
                self._blocking = Blocking(store, settings.timeout / 1000)
            return self._blocking

    async def _open_async(self, loop: asyncio.AbstractEventLoop) -> Loop:
        self._leave_parent()
        self._leave_closed_loops()
        while (entry := self._loops.get(loop)) is not None:
            if entry.opening is None:
                return entry
            await asyncio.shield(entry.opening)
        settings = self._settings()
        entry = Loop(self._make(settings, blocking=False), settings.timeout / 1000)
        entry.opening = loop.create_future()
        self._loops[loop] = entry
        try:
            await entry.store.open()
        except BaseException as error:
            self._loops.pop(loop, None)
            opening, entry.opening = entry.opening, None
            if isinstance(error, Exception):
                opening.set_exception(error)
                opening.exception()  # nobody may be waiting
            else:  # whoever opened was cancelled: the next who waits opens
                opening.set_result(None)
            await entry.store.close()
            raise
        entry.guard = self._closing(loop, entry)
        await anext(entry.guard)
        opening, entry.opening = entry.opening, None
        opening.set_result(None)
        return entry

    async def _closing(self, loop: asyncio.AbstractEventLoop, entry: Loop) -> AsyncGenerator[None, None]:
        """Closes a loop's store when it is closed itself: a loop that ends closes its asynchronous generators.

        The entry goes too: what it holds leads back to the loop, and would keep every loop that ever was.
        """
        try:
            yield
        finally:
            if self._loops.get(loop) is entry:  # else `aclose` did it
                del self._loops[loop]
                first, last = sys.get_asyncgen_hooks()
                sys.set_asyncgen_hooks(None, last)  # the loop warns of new generators from here on; pymongo makes some
                try:
                    await entry.store.close()
                finally:
                    sys.set_asyncgen_hooks(first, last)

    def _leave_parent(self) -> None:
        """In a forked child: let the parent's stores alone, neither used nor closed."""
        if self._pid == os.getpid():
            return
        self._lock = threading.Lock()  # the parent may have held it
        _inherited.extend([self._blocking, *self._loops.values()])
        self._blocking, self._loops, self._pid = None, {}, os.getpid()

    def _leave_closed_loops(self) -> None:
        """Close the stores of loops that were closed without ending their asynchronous generators.

        `asyncio.run` ends them, and so closes our stores. A bare `loop.close()` does not: nothing can be awaited there.
        """
        for loop in [loop for loop in list(self._loops) if loop.is_closed()]:
            entry = self._loops.pop(loop, None)
            abandon = getattr(entry and entry.store, "abandon", None)  # a third party's store need not have one
            try:
                if abandon is not None:
                    abandon()
            except Exception:  # noqa: BLE001  what became of another loop is nothing to fail for
                _log.debug("a store of a closed event loop is left to the garbage collector", exc_info=True)

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        if settings.keys or settings.keys_file:
            raise Unsupported(
                "QUEUEKIT_KEYS: encryption comes with a later queuekit, and payloads would be stored readable; unset it"
            )
        options = StoreOptions(
            namespace=settings.namespace,
            timeout=settings.timeout,
            payload_limit=settings.payload_limit,
            durability=settings.durability,
            allow_eviction=settings.allow_eviction,
            collection=settings.collection,
        )
        if self._client is not None and settings.url == self._settings().url:
            return _adopted(self._client, options, blocking=blocking)
        for note in settings.notes:
            if note not in _said:
                _said.add(note)
                _log.warning(note)
        chosen = backend(settings.url)
        return chosen.blocking(settings.url, options) if blocking else chosen.asynchronous(settings.url, options)


def _in_child() -> None:
    """At once, while there is one thread: later, two of them would both begin anew."""
    for access in list(_all):
        access._leave_parent()  # noqa: SLF001  the hook is this module's


os.register_at_fork(after_in_child=_in_child)


class _Beside(Access):
    """A store beside an application's own, made as that one is."""

    def __init__(self, first: Access, settings: Settings) -> None:
        super().__init__(lambda: settings)
        self._first = first

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        return self._first._make(settings, blocking=blocking)


def _adopted(client: object, options: StoreOptions, *, blocking: bool) -> JobStore:
    """A store over the application's own client, from the first backend that knows it."""
    known = []
    for point in {point.value: point for point in schemes().values()}.values():
        try:
            loaded = point.load()
        except ModuleNotFoundError:
            continue  # that driver is not installed, so the client is not its
        known.append(point.value.partition(":")[0])
        stores = loaded.adopt(client, options)
        if stores is not None:
            store: JobStore | None = stores[0] if blocking else stores[1]
            if store is None:
                way = "plain calls; use the a-twins" if blocking else "async calls; use the plain ones"
                raise Unsupported(f"client={type(client).__module__}.{type(client).__name__} cannot serve {way}")
            return store
    raise Unsupported(
        f"no installed backend takes a {type(client).__module__}.{type(client).__name__}; asked: {', '.join(known)}"
    )


class _Sleeper:
    """Waiting in a plain call."""

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  it is stepped by `direct`, outside any loop

    def monotonic(self) -> float:
        return clock.monotonic()


class _AsyncSleeper:
    """Waiting on a loop."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        return clock.monotonic()


async def _again(
    first: StoreUnavailable, ask: Callable[[], Awaitable[R]], waiter: _Sleeper | _AsyncSleeper, within: float
) -> R:
    try:
        return await repeat(waiter, ask, within=within)
    except StoreUnavailable as error:
        if first.outcome == "unknown":
            error.outcome = "unknown"
        raise


def _warn_sync_in_async() -> None:
    frame, level = sys._getframe(1), 2  # noqa: SLF001  the only way to the caller's line
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "queuekit":
        frame, level = frame.f_back, level + 1
    site = (frame.f_code.co_filename, frame.f_lineno)
    if site not in _sites:
        warnings.warn(
            "a plain queuekit call stops the running event loop until the store answers: await its a-twin instead",
            SyncInAsyncWarning,
            stacklevel=level,
        )
        _sites.add(site)
