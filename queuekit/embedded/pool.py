"""The connections of one file in this process, lent to one call at a time. Nothing here begins a transaction.

SQLite's locks do not cross a fork: before one, calls are let end and every connection is closed (decision 013).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from queuekit import clock
from queuekit.embedded import files, replies
from queuekit.errors import StoreUnavailable

R = TypeVar("R")
log = logging.getLogger("queuekit.embedded")
SPARE: Final = 8  # connections kept open while nobody uses them
FORK_WAIT: Final = 5.0  # seconds a fork waits for calls under way


class Pool:
    """As many connections as there are calls at once."""

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.path, self.durable = path, durable
        self._free: list[sqlite3.Connection] = []
        self._lent = 0
        self._frozen = False
        self._file: tuple[int, int] | None = None  # device and inode the connections are of
        self._gate = threading.Condition()

    def use(self, call: Callable[[sqlite3.Connection], R]) -> R:
        """`call` with a connection of its own. One that met an error is not used again."""
        conn = self.lend()
        fine = False
        try:
            answer = call(conn)
            fine = True
            return answer
        except StoreUnavailable:
            raise
        except BaseException:
            fine = not conn.in_transaction
            raise
        finally:
            self.back(conn, fine=fine)

    def lend(self) -> sqlite3.Connection:
        """A connection to the file that has the path now: somebody may have removed the one we knew."""
        with self._gate:
            while self._frozen:
                self._gate.wait()
            try:
                found = os.stat(self.path)
            except OSError as error:
                self._drop()
                raise StoreUnavailable(f"{self.path} is gone: {error.strerror}", outcome="refused") from error
            if (found.st_dev, found.st_ino) != self._file:
                self._drop()
                self._file = found.st_dev, found.st_ino
            self._lent += 1
            if self._free:
                return self._free.pop()
        try:
            return files.connect(self.path, durable=self.durable)
        except BaseException as error:
            self._returned()
            if isinstance(error, sqlite3.Error):
                raise replies.translate(error, self.path) from error
            raise

    def back(self, conn: sqlite3.Connection, *, fine: bool = True) -> None:
        """Give a connection back."""
        if not fine or len(self._free) >= SPARE:
            conn.close()
            self._returned()
            return
        with self._gate:
            self._free.append(conn)
            self._lent -= 1
            if not self._lent:
                self._gate.notify_all()

    def prepare(self, timeout: float) -> None:
        """Make and check the file; a fork waits for it as for a call."""
        with self._gate:
            while self._frozen:
                self._gate.wait()
            self._lent += 1
        try:
            files.prepare(self.path, timeout=timeout, durable=self.durable)
        finally:
            self._returned()

    def close(self) -> None:
        """Close what is not lent."""
        with self._gate:
            self._drop()

    @property
    def busy(self) -> bool:
        """Whether a call has a connection now."""
        return self._lent > 0

    def freeze(self) -> None:
        """Before a fork: from here to `thaw` no call begins, and no connection is left open."""
        deadline = clock.monotonic() + FORK_WAIT
        with self._gate:
            self._frozen = True
            while self._lent:
                left = deadline - clock.monotonic()
                if left <= 0:
                    log.warning("forking while %d calls use %s: let them end before", self._lent, self.path)
                    break
                self._gate.wait(left)
            self._drop()

    def thaw(self) -> None:
        """After a fork, in the parent."""
        with self._gate:
            self._frozen = False
            self._gate.notify_all()

    def _returned(self) -> None:
        with self._gate:
            self._lent -= 1
            if not self._lent:
                self._gate.notify_all()

    def _drop(self) -> None:
        for conn in self._free:
            conn.close()
        self._free.clear()
