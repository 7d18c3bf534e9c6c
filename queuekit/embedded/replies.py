"""What SQLite says when it refuses, translated to errors by meaning. No statement is made here."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from queuekit.errors import ConfigError, StoreError, StoreUnavailable

_REFUSED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY,
                      sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT})  # fmt: skip
_HINTS = {
    sqlite3.SQLITE_BUSY: "another process held it for the whole timeout",
    sqlite3.SQLITE_LOCKED: "another process held it for the whole timeout",
    sqlite3.SQLITE_FULL: "its disk is full: free some space",
    sqlite3.SQLITE_READONLY: "it cannot be written: check its rights and those of its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that its folder exists and is writable",
    sqlite3.SQLITE_CORRUPT: "it is damaged: run PRAGMA integrity_check and restore a copy",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database",
    sqlite3.SQLITE_IOERR: "its disk does not answer as it should",
}


class DiskFull(StoreUnavailable):
    """The disk is full; a producer hears QueueFull instead."""


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, 1 where the driver gives none."""
    return getattr(error, "sqlite_errorcode", 1) & 0xFF


def translate(error: sqlite3.Error, path: Path, *, committing: bool = False) -> StoreError:
    """`error` by its meaning. Only a commit that broke on the disk leaves open whether it was done."""
    number = code(error)
    hint = _HINTS.get(number, str(error))
    if number == sqlite3.SQLITE_FULL:
        return DiskFull(f"{path}: {hint}", outcome="refused")
    certain = number in _REFUSED or not committing
    return StoreUnavailable(f"{path}: {hint}", outcome="refused" if certain else "unknown")


def unusable(error: sqlite3.Error, path: Path) -> ConfigError | StoreError:
    """`error` while opening: what a person must mend is a ConfigError."""
    if code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CORRUPT):
        return ConfigError(f"{path}: {_HINTS[code(error)]}")
    return translate(error, path)
