"""Which files the embedded store takes, which it refuses with what words, and the private files of memory://."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend, files
from queuekit.errors import ConfigError, SchemaMismatch, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.store.registry import backend as by_url

OPTIONS = StoreOptions()


def opened(url: str, options: StoreOptions = OPTIONS) -> EmbeddedStore:
    store = backend.blocking(url, options)
    direct(store.open())
    return store


def put(store: EmbeddedStore, *names: str) -> None:
    direct(store.enqueue("q", [JobSpec(id=name, task="t", body=b"") for name in names], Op(f"p{names}", 1)))


def test_the_registry_finds_both_schemes_and_the_store_is_a_job_store() -> None:
    assert by_url("sqlite:///x.db") is backend
    assert by_url("memory://") is backend
    assert isinstance(backend.blocking("memory://", OPTIONS), JobStore)


def test_making_a_store_touches_no_file(tmp_path: Path) -> None:
    backend.blocking(f"sqlite:///{tmp_path}/x.db", OPTIONS)
    backend.asynchronous(f"sqlite:///{tmp_path}/x.db", OPTIONS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/q.db", "/var/lib/q.db"),
        ("sqlite:////with%20blank/q%3F.db", "/with blank/q?.db"),
    ],
)
def test_an_absolute_url_names_its_path(url: str, path: str) -> None:
    assert files.path_of(url) == Path(path)


def test_a_relative_url_counts_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.path_of("sqlite:///sub/q.db") == tmp_path / "sub/q.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://host/q.db", "sqlite:///q.db?mode=ro"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///"):
        backend.blocking(url, OPTIONS)


def test_ping_tells_the_absolute_path_and_what_serves_it(tmp_path: Path) -> None:
    store = opened(f"sqlite:///{tmp_path}/q.db")
    pong = direct(store.ping())
    again = direct(opened(f"sqlite:///{tmp_path}/q.db").ping())
    assert (pong.where, pong.server) == (f"{tmp_path}/q.db", f"sqlite {sqlite3.sqlite_version}")
    assert pong.store_id == again.store_id
    direct(store.close())


def test_an_acknowledged_write_is_on_the_disk(tmp_path: Path) -> None:
    store = opened(f"sqlite:///{tmp_path}/q.db")
    pragmas = store._port.hub.pool.use(
        lambda conn: [conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
    )
    assert pragmas == [2, "wal"]  # 2 is FULL: the log is synced before a commit returns
    direct(store.close())


def test_a_directory_is_refused_by_its_absolute_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} is a directory"):
        opened(f"sqlite:///{tmp_path}")


def test_a_missing_folder_is_refused_by_its_absolute_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/no does not exist"):
        opened(f"sqlite:///{tmp_path}/no/q.db")


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk\n" * 100)
    with pytest.raises(ConfigError, match=f"{path}: it is not an SQLite database"):
        opened(f"sqlite:///{path}")
    assert path.read_text() == "remember the milk\n" * 100


def test_the_database_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE orders (id INTEGER)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"{path} is an SQLite database of another program"):
        opened(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    direct(opened(f"sqlite:///{path}").close())
    with sqlite3.connect(path) as newer:
        newer.execute(f"PRAGMA user_version = {files.SCHEMA + 1}")
    newer.close()
    with pytest.raises(SchemaMismatch, match=f"{path} has schema {files.SCHEMA + 1}"):
        opened(f"sqlite:///{path}")


def test_a_folder_nobody_may_write_to_is_refused() -> None:
    """/proc takes no file, not even from root."""
    with pytest.raises(ConfigError, match=r"/proc/queuekit.db: it cannot be opened"):
        opened("sqlite:////proc/queuekit.db")


OPEN_ONE = """
import sys
from queuekit.embedded import backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
store = backend.blocking(sys.argv[1], StoreOptions())
sys.stdin.readline()
direct(store.open())
print(direct(store.ping()).store_id)
"""


def test_many_processes_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN_ONE, f"sqlite:///{tmp_path}/q.db"]
    many = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for one in many:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60)[0].strip() for one in many]
    assert len(set(said)) == 1
    assert said[0]


class Interrupted:
    """A connection beside which something happens, once, right before a statement."""

    def __init__(self, conn: sqlite3.Connection, before: str, act: Callable[[], object]) -> None:
        self._conn, self._before, self._act = conn, before, [act]

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if self._before in statement and self._act:
            self._act.pop()()
        return self._conn.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


@pytest.mark.parametrize("before", ["application_id", "user_version", "sqlite_master", "journal_mode", "IMMEDIATE"])
def test_a_file_that_another_process_makes_meanwhile_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """It was empty at the first look and has tables at the second: that is no other program's database."""
    path, tried = tmp_path / "q.db", []
    real = files.connect

    def another() -> None:
        tried.append(before)
        with contextlib.suppress(StoreUnavailable):  # where this process holds the file already
            files.prepare(path, timeout=0.05)

    def connect(path: Path, **said: Any) -> Any:
        return real(path, **said) if tried else Interrupted(real(path, **said), before, another)

    monkeypatch.setattr(files, "connect", connect)
    files.prepare(path, timeout=5)
    assert tried == [before]
    with contextlib.closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA application_id").fetchone() == (files.APPLICATION,)


async def test_memory_is_one_store_for_threads_and_loops() -> None:
    plain = opened("memory://")
    loop = backend.asynchronous("memory://", OPTIONS)
    await loop.open()
    put(plain, "a")
    assert [job and job.id for job in await loop.get("q", ["a"])] == ["a"]
    await loop.close()
    assert direct(plain.get("q", ["a"])) != [None]
    direct(plain.close())


def test_a_watch_in_a_private_file_hears_of_an_end() -> None:
    """Nobody polls a private file: whoever ends a job has to ring for those who wait for it."""
    store = backend.blocking("memory://", StoreOptions())
    direct(store.open())
    direct(store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1)))
    (job,) = direct(store.exchange("q", Op("w", 1), [], Ask(want=1))).claims
    with ThreadPoolExecutor(1) as pool:
        began = clock.monotonic()
        watching = pool.submit(lambda: direct(store.watch("q", "a", 10_000)))
        while not store._port.hub._waiters:
            assert clock.monotonic() < began + 5
        direct(store.exchange("q", Op("w", 2), [Outcome("a", job.token or "", Kind.COMPLETED)], Ask()))
        seen = watching.result(10)
        assert seen is not None
        assert seen.state is State.COMPLETED
        assert clock.monotonic() - began < 5
    direct(store.close())


def test_memory_is_private_and_gone_with_its_last_store() -> None:
    store = opened("memory://")
    path = Path(direct(store.ping()).where)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    put(store, "a")
    direct(store.close())
    assert not path.parent.exists()
    again = opened("memory://")
    assert direct(again.get("q", ["a"])) == [None]
    direct(again.close())


def test_memory_of_other_options_is_another_store() -> None:
    one, two = opened("memory://"), opened("memory://", StoreOptions(namespace="other"))
    assert direct(one.ping()).where != direct(two.ping()).where
    direct(one.close())
    direct(two.close())


def test_named_memory_lasts_as_long_as_the_process() -> None:
    first = opened("memory://shared-by-name")
    put(first, "a")
    direct(first.close())
    again = opened("memory://shared-by-name")
    assert direct(again.get("q", ["a"])) != [None]
    direct(again.close())


async def test_what_an_async_store_wrote_outlives_its_loop_while_another_store_is_open() -> None:
    plain = opened("memory://")

    async def produce() -> None:
        store = backend.asynchronous("memory://", OPTIONS)
        await store.open()
        await store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1))
        await store.close()

    await asyncio.to_thread(lambda: asyncio.run(produce()))
    assert direct(plain.get("q", ["a"])) != [None]
    direct(plain.close())


LEAVE_ONE = """
import os, sys
from queuekit.embedded import backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
store = backend.blocking("memory://", StoreOptions())
direct(store.open())
print(direct(store.ping()).where, flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), 9)
"""


def test_a_process_that_ends_takes_its_memory_with_it() -> None:
    path = Path(subprocess.check_output([sys.executable, "-c", LEAVE_ONE, "ends"], text=True, timeout=60).strip())
    assert not path.parent.exists()


def test_the_memory_of_a_killed_process_is_given_back_by_the_next_one() -> None:
    killed = subprocess.run(
        [sys.executable, "-c", LEAVE_ONE, "killed"], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    path = Path(killed.stdout.strip())
    assert path.exists()
    mine = files.Private()
    assert not path.parent.exists()
    files.Private().discard()
    assert mine.path.parent.exists()  # whoever lives keeps his
    mine.discard()
