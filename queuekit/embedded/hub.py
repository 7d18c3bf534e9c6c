"""What the stores of one file share inside a process: connections, the writers' lock, who waits for what.

Another process's writes are seen by polling SQLite's `data_version` while somebody waits; our own ring directly.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from queuekit import clock
from queuekit.embedded import files
from queuekit.embedded.pool import Pool
from queuekit.errors import StoreUnavailable

log = logging.getLogger("queuekit.embedded")
QUICK: Final = 0.005  # seconds between looks while work comes
SLOW: Final = 0.02  # and when none did for CALM seconds: 0.2 % of a core
CALM: Final = 2.0
RESTED: Final = 10_000  # actors remembered
Key = tuple[str, ...]  # (namespace, queue) for work, (namespace, queue, id) for an end


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits. `probe` looks through a connection, in any thread; `tell` wakes, from any thread."""

    keys: tuple[Key, ...]
    probe: Callable[[sqlite3.Connection], bool]
    tell: Callable[[], None]


class Hub:
    """One file in this process. `lock` puts its writers in a row: waiting inside SQLite is waiting by sleeping."""

    def __init__(self, path: Path | None, *, lasting: bool) -> None:
        self._memory: files.Private | None = None
        if path is None:
            self._memory = files.Private()
            path = self._memory.path
        self.path, self.private = path, self._memory is not None
        self.lasting = lasting  # a private file stays when its last store closes
        self.pool = Pool(self.path, durable=not self.private)
        self.lock = threading.Lock()
        self.users = 0
        self.pid = os.getpid()
        self.idle: dict[Key, int] = {}  # (namespace, queue, actor): its last call that wrote nothing
        self._waiters: dict[Key, set[Waiter]] = {}
        self._cond = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._frozen = False
        self._eye: sqlite3.Connection | None = None  # the watching thread's, lent by the pool between two looks
        self._version = -1

    def enter(self, waiter: Waiter) -> None:
        """Let somebody be told. Enter first, look afterwards: then nothing is missed."""
        with self._cond:
            for key in waiter.keys:
                self._waiters.setdefault(key, set()).add(waiter)
            if self._thread is None and not self.private:  # nobody else can write to a private file
                self._thread = threading.Thread(target=self._watch, name="queuekit-embedded-watch", daemon=True)
                self._thread.start()
            self._cond.notify_all()

    def leave(self, waiter: Waiter) -> None:
        """No longer."""
        with self._cond:
            for key in waiter.keys:
                others = self._waiters.get(key, set())
                others.discard(waiter)
                if not others:
                    self._waiters.pop(key, None)

    def ring(self, keys: Iterable[Key]) -> None:
        """Tell whoever waits for one of these; after the commit."""
        if not self._waiters:
            return
        with self._cond:
            told = {waiter for key in keys for waiter in self._waiters.get(key, ())}
        for waiter in told:
            waiter.tell()

    def rest(self, key: Key, n: int) -> None:
        """Remember an actor's call that had no effect; in memory only, for an idle worker must not write."""
        if len(self.idle) >= RESTED:
            self.idle.clear()
        self.idle[key] = n

    def stop(self) -> None:
        """End the watching thread, close the connections, remove a private file."""
        with self._cond:
            self._closed = True
            self._cond.notify_all()
        if self._thread is not None and self._thread.is_alive():  # not where Ctrl-C came as it started: it ends at once
            self._thread.join(5)
        self.pool.close()
        if self._memory is not None:
            self._memory.discard()

    def freeze(self) -> None:
        """Before a fork: calls under way may still ring, but nobody looks and none begins."""
        with self._cond:
            self._frozen = True
            self._blink()
        self.pool.freeze()

    def thaw(self) -> None:
        """After it, in the parent."""
        self.pool.thaw()
        with self._cond:
            self._frozen = False
            self._cond.notify_all()

    def _watch(self) -> None:
        calm_at = 0.0
        while True:
            with self._cond:
                while (not self._waiters or self._frozen) and not self._closed:
                    self._blink()
                    self._cond.wait()
                if self._closed:
                    self._blink()
                    return
                try:
                    changed = self._changed()
                except (sqlite3.Error, StoreUnavailable) as error:
                    log.debug("cannot look for work in %s: %s", self.path, error)
                    self._blink()
                    changed = False
                waiting = {w for others in self._waiters.values() for w in others} if changed else set()
            if waiting and self._look(waiting):
                calm_at = clock.monotonic() + CALM
            time.sleep(QUICK if clock.monotonic() < calm_at else SLOW)  # half of what a timed wait costs

    def _changed(self) -> bool:
        """Whether any connection but ours committed since the last look."""
        if self._eye is None:
            self._eye, self._version = self.pool.lend(), -1
        version = int(self._eye.execute("PRAGMA data_version").fetchone()[0])
        changed = version != self._version
        self._version = version
        return changed

    def _look(self, waiting: set[Waiter]) -> bool:
        """Tell those who waited for what was written. Whether to look often for a while: for work somebody waits for,
        and for any write while a job's end is waited for. The writes by which idle workers show that they live count
        for nothing, or they would keep each other looking."""
        quick = False
        for waiter in waiting:
            try:
                found = self.pool.use(waiter.probe)
            except (sqlite3.Error, StoreUnavailable) as error:
                log.debug("cannot look for work in %s: %s", self.path, error)
                return quick
            if found:
                waiter.tell()
            quick = quick or found or any(len(key) > 2 for key in waiter.keys)
        return quick

    def _blink(self) -> None:
        """Give the watching thread's connection back."""
        if self._eye is not None:
            eye, self._eye = self._eye, None
            self.pool.back(eye, fine=False)


_hubs: dict[object, Hub] = {}
_guard = [threading.RLock()]  # a new one after a fork
_inherited: set[Path] = set()  # files that calls of the parent were using when this process was forked


def attach(key: object, path: Path | None, *, lasting: bool = False) -> Hub:
    """The hub of a file, shared by all stores of this process; a private file is made where `path` is None."""
    with _guard[0]:
        if path in _inherited:
            raise StoreUnavailable(
                f"{path}: this process was forked while calls of its parent used the file, so locks cannot be trusted"
                " here; let the calls end before the fork, or start the process by spawn",
                outcome="refused",
            )
        hub = _hubs.get(key)
        if hub is not None and hub.pid != os.getpid():
            raise StoreUnavailable(
                f"{path}: this process was forked without Python's knowledge while its parent had the file open, so"
                " locks cannot be trusted here; let the server load the application in each worker (uWSGI: lazy-apps)",
                outcome="refused",
            )
        if hub is None:
            hub = _hubs[key] = Hub(path, lasting=lasting)
        hub.users += 1
        return hub


def detach(key: object, hub: Hub) -> None:
    """One user less; the last one ends it."""
    with _guard[0]:
        hub.users -= 1
        if hub.users > 0 or hub.lasting or _hubs.get(key) is not hub:
            return
        del _hubs[key]
    hub.stop()


def _before_fork() -> None:
    _guard[0].acquire()
    for hub in _hubs.values():
        hub.freeze()


def _in_parent() -> None:
    for hub in _hubs.values():
        hub.thaw()
    _guard[0].release()


def _in_child() -> None:
    """The parent's hubs are its own: their threads are not here, and no connection was left open."""
    _guard[0] = threading.RLock()
    _inherited.update(hub.path for hub in _hubs.values() if hub.pool.busy)
    _hubs.clear()


@atexit.register
def _end() -> None:
    for hub in list(_hubs.values()):
        hub.stop()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
