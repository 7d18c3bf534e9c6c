"""Where the data are: a URL to a path, a connection to a prepared file, the private files of `memory://`."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from queuekit import clock, ids
from queuekit.embedded import replies
from queuekit.errors import ConfigError, SchemaMismatch

SCHEMA: Final = 3
UPGRADES: Final = {1: "upgrade-2.sql", 2: "upgrade-3.sql"}  # schema -> what makes the next one of it
APPLICATION: Final = 0x716B6974  # "qkit": tells our files from others
OLDEST: Final = (3, 38, 0)  # RETURNING, and JSON built in
STEP: Final = 0.02  # seconds SQLite itself waits for a lock; longer waits are ours, with shorter sleeps than its own
_TMPFS: Final = Path("/dev/shm")  # a private folder is made inside
_PREFIX: Final = "queuekit-memory-"


def path_of(url: str) -> Path:
    """The absolute path of `sqlite:///relative` or `sqlite:////absolute`. Raises ConfigError."""
    rest = url.removeprefix("sqlite://")
    if rest == url or not rest.startswith("/") or rest == "/" or "?" in rest:
        raise ConfigError(f"{url!r:.200} names no file: use sqlite:///relative/path or sqlite:////absolute/path")
    return Path(os.path.abspath(os.path.expanduser(unquote(rest[1:]))))


def connect(path: Path, *, durable: bool = True, make: bool = False) -> sqlite3.Connection:
    """A connection to a file that is there, or made. It may move between threads; it must not cross a fork."""
    conn = sqlite3.connect(
        f"file:{quote(str(path))}?mode={'rwc' if make else 'rw'}", uri=True,
        timeout=STEP, isolation_level=None, check_same_thread=False, cached_statements=256,
    )  # fmt: skip
    conn.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    conn.execute("PRAGMA temp_store = MEMORY")
    conn.execute("PRAGMA cache_size = -16000")
    conn.execute("PRAGMA journal_size_limit = 67108864")
    return conn


def prepare(path: Path, *, timeout: float, durable: bool = True) -> None:
    """Make what is missing and check the rest; by many processes at once. Raises ConfigError, SchemaMismatch."""
    if sqlite3.sqlite_version_info < OLDEST:
        needs = ".".join(map(str, OLDEST))
        raise ConfigError(f"this Python has SQLite {sqlite3.sqlite_version}; queuekit needs {needs}")
    if path.is_dir():
        raise ConfigError(f"{path} is a directory: name a file in it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} does not exist: make it first, or name another file")
    deadline = clock.monotonic() + timeout
    while True:
        try:
            _prepare(path, durable)
            return
        except sqlite3.Error as error:
            busy = replies.code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
            if not busy or clock.monotonic() >= deadline:
                raise replies.unusable(error, path) from error


def _prepare(path: Path, durable: bool) -> None:
    conn = connect(path, durable=durable, make=True)
    try:
        conn.execute("BEGIN")  # one look: between two of them another process may make what this one found missing
        _recognise(conn, path)
        conn.execute("COMMIT")
        mode = conn.execute("PRAGMA journal_mode").fetchone()[0]
        if mode != "wal":
            mode = conn.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise ConfigError(
                f"{path}: its file system has no shared memory for SQLite (journal mode {mode}); use a local disk"
            )
        conn.execute("BEGIN IMMEDIATE")
        try:
            version = _recognise(conn, path)
            if version == 0:
                _create(conn)
            while 0 < version < SCHEMA:
                _run(conn, UPGRADES[version])
                version += 1
                conn.execute(f"PRAGMA user_version = {version}")
            conn.execute("COMMIT")
        except BaseException:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            raise
    finally:
        conn.close()


def _recognise(conn: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, 0 for an empty one."""
    application = conn.execute("PRAGMA application_id").fetchone()[0]
    version = int(conn.execute("PRAGMA user_version").fetchone()[0])
    if application == APPLICATION:
        if version != SCHEMA and version not in UPGRADES:
            raise SchemaMismatch(
                f"{path} has schema {version}, this queuekit works with {SCHEMA}: run matching versions"
            )
        return version
    if application or version or conn.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise ConfigError(f"{path} is an SQLite database of another program: name another file")
    return 0


def _run(conn: sqlite3.Connection, script: str) -> None:
    """The statements of a file, inside the transaction that is open."""
    statement = ""
    for line in files("queuekit.embedded").joinpath(script).read_text("utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            conn.execute(statement)
            statement = ""


def _create(conn: sqlite3.Connection) -> None:
    _run(conn, "schema.sql")
    conn.execute("INSERT INTO meta VALUES ('store_id', ?), ('created_at', ?)", (ids.nonce(), clock.now_ms()))
    conn.execute(f"PRAGMA application_id = {APPLICATION}")
    conn.execute(f"PRAGMA user_version = {SCHEMA}")


class Private:
    """A file in memory, in a folder only this user can enter. Its lock tells others that its process lives."""

    def __init__(self) -> None:
        root = _TMPFS if os.access(_TMPFS, os.W_OK) else Path(tempfile.gettempdir())
        _sweep(root)
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._lock = open(self._folder / "new", "wb")  # noqa: SIM115  held as long as the process uses the file
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.rename(self._folder / "new", self._folder / "lock")
        self.path = self._folder / "queuekit.db"

    def discard(self) -> None:
        """Remove it with its folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()


def _sweep(root: Path) -> None:
    """Remove the folders of processes that were killed: what is left in memory stays until the host restarts."""
    for lock in root.glob(f"{_PREFIX}*/lock"):
        try:
            with open(lock, "rb") as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:  # it lives, or it is another user's
            continue
