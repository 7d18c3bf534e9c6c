"""What the stores of one file share inside a process: the writers' lock, who waits for what, and one watching thread.

Another process's writes are seen by polling SQLite's `data_version` while somebody waits; our own ring directly.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from queuekit import clock
from queuekit.embedded import files

log = logging.getLogger("queuekit.embedded")
QUICK: Final = 0.005  # seconds between looks while something happens
SLOW: Final = 0.015  # and when nothing did for CALM seconds: 0.2 % of a core
CALM: Final = 2.0
Key = tuple[str, ...]  # (namespace, queue) for work, (namespace, queue, id) for an end


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits. `probe` looks through a connection, in any thread; `tell` wakes, from any thread."""

    keys: tuple[Key, ...]
    probe: Callable[[sqlite3.Connection], bool]
    tell: Callable[[], None]


@dataclass(slots=True, eq=False)
class Hub:
    """One file in this process. `lock` puts its writers in a row: waiting in SQLite is waiting by sleeping."""

    path: Path
    private: bool = False
    lasting: bool = False  # stays when its last store closes
    lock: threading.Lock = field(default_factory=threading.Lock)
    pid: int = field(default_factory=os.getpid)
    users: int = 0
    idle: dict[Key, int] = field(default_factory=dict)  # (ns, queue, actor): its last call that wrote nothing
    _waiters: dict[Key, set[Waiter]] = field(default_factory=dict)
    _cond: threading.Condition = field(default_factory=threading.Condition)
    _thread: threading.Thread | None = None
    _closed: bool = False

    def enter(self, waiter: Waiter) -> None:
        """Let somebody be told. Register first, look afterwards: then nothing is missed."""
        with self._cond:
            for key in waiter.keys:
                self._waiters.setdefault(key, set()).add(waiter)
            if self._thread is None and not self.private:
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
        if len(self.idle) > 10_000:
            self.idle.clear()
        self.idle[key] = n

    def stop(self) -> None:
        """End the watching thread and remove a private file."""
        with self._cond:
            self._closed = True
            self._cond.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5)
        if self.private and self.pid == os.getpid():
            files.discard(self.path)

    def _watch(self) -> None:
        conn: sqlite3.Connection | None = None
        version, calm_at = -1, 0.0
        while True:
            with self._cond:
                while not self._waiters and not self._closed:
                    self._cond.wait()
                if self._closed:
                    break
            try:
                conn = conn or files.connect(self.path)
                now = conn.execute("PRAGMA data_version").fetchone()[0]
                if now != version:
                    version, calm_at = now, clock.monotonic() + CALM
                    self._look(conn)
            except sqlite3.Error as error:
                log.debug("cannot look for work in %s: %s", self.path, error)
                version = -1
            with self._cond:
                if not self._closed:
                    self._cond.wait(QUICK if clock.monotonic() < calm_at else SLOW)
        if conn is not None:
            conn.close()

    def _look(self, conn: sqlite3.Connection) -> None:
        with self._cond:
            waiting = {waiter for others in self._waiters.values() for waiter in others}
        for waiter in waiting:
            if waiter.probe(conn):
                waiter.tell()


_hubs: dict[object, Hub] = {}
_guard = [threading.Lock()]  # a new one after a fork: another thread may have held the old one


def attach(key: object, path: Path | None, *, lasting: bool = False) -> Hub:
    """The hub of a file, shared by all stores of this process; a private file is made where `path` is None."""
    with _guard[0]:
        hub = _hubs.get(key)
        if hub is None:
            hub = Hub(path, lasting=True) if path is not None else Hub(files.private(), private=True, lasting=lasting)
            _hubs[key] = hub
        hub.users += 1
        return hub


def detach(key: object, hub: Hub) -> None:
    """One user less; the last one ends it."""
    with _guard[0]:
        if _hubs.get(key) is not hub:
            return
        hub.users -= 1
        if hub.users > 0 or (hub.private and hub.lasting):
            return
        del _hubs[key]
    hub.stop()


def _forked() -> None:
    """In a child: the parent's hubs are its own, and their threads are not here."""
    _guard[0] = threading.Lock()
    _hubs.clear()


@atexit.register
def _end() -> None:
    for hub in list(_hubs.values()):
        hub.stop()


os.register_at_fork(after_in_child=_forked)
