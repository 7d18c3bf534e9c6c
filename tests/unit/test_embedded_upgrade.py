"""A file written by an earlier schema is brought up to this one when it is opened, and keeps what it has."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend, files
from queuekit.errors import SchemaMismatch
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

OPTIONS = StoreOptions()
DATA = Path(__file__).parent / "data"
THEN = 1_700_000_000_000  # the moment at which the file of schema 2 was written


def opened(path: Path, now: int | None = None) -> EmbeddedStore:
    store = backend.blocking(f"sqlite:///{path}", OPTIONS, *(() if now is None else (lambda: now,)))
    direct(store.open())
    return store


def old_file(path: Path) -> Path:
    """A file of schema 1 with two waiting jobs in a queue."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript((DATA / "schema-1.sql").read_text())
    conn.execute("INSERT INTO meta VALUES ('store_id', 'old'), ('created_at', 1)")
    conn.execute("INSERT INTO queues (ns, name, back, ready, t_enqueued) VALUES ('queuekit', 'q', 2, 2, 2)")
    for n in (1, 2):
        conn.execute(
            "INSERT INTO jobs (q, id, line, key1, key2, priority, place, task, version, body, created_at, since)"
            " VALUES (1, ?, 0, 10, ?, 10, ?, 't', 1, x'00', 5, 5)",
            (f"j{n}", n, n),
        )
    return _ours(conn, path, 1)


def second_file(path: Path) -> Path:
    """A file of schema 2 as its queuekit left it: six jobs of every kind, a queue that moved away."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.executescript((DATA / "version-2.sql").read_text())
    return _ours(conn, path, 2)


def _ours(conn: sqlite3.Connection, path: Path, version: int) -> Path:
    conn.execute(f"PRAGMA application_id = {files.APPLICATION}")
    conn.execute(f"PRAGMA user_version = {version}")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.close()
    return path


OLD = pytest.mark.parametrize("old", [old_file, second_file], ids=["1", "2"])
Make = Callable[[Path], Path]


def shape(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Every table's columns, and every index."""
    conn = sqlite3.connect(path)
    try:
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        told = {name: conn.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in tables}
        others = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') ORDER BY name"
        return told | {"": conn.execute(others).fetchall()}
    finally:
        conn.close()


@OLD
def test_an_old_file_gets_the_shape_of_a_new_one(tmp_path: Path, old: Make) -> None:
    direct(opened(tmp_path / "new.db").close())
    direct(opened(old(tmp_path / "old.db")).close())
    assert shape(tmp_path / "old.db") == shape(tmp_path / "new.db")


def test_an_old_file_keeps_its_jobs_and_its_name(tmp_path: Path) -> None:
    store = opened(old_file(tmp_path / "q.db"))
    pong = direct(store.ping())
    assert (pong.store_id, pong.schema) == ("old", files.SCHEMA)
    claims = direct(store.exchange("q", Op("w", 1), [], Ask(want=9))).claims
    assert [(job.id, job.body, job.epoch) for job in claims] == [("j1", b"\x00", 0), ("j2", b"\x00", 0)]
    direct(store.close())


def test_jobs_of_an_old_file_can_move(tmp_path: Path) -> None:
    store = opened(old_file(tmp_path / "q.db"))
    direct(store.authority("q", 1, "m", Home.MOVING, "other"))
    parcels = direct(store.checkout("q", 1, 1, 9))
    assert [parcel.record.id for parcel in parcels] == ["j1", "j2"]
    assert direct(store.confirm("q", 1, 1, ["j1", "j2"])).removed == 2
    direct(store.close())


def test_a_file_of_schema_2_goes_on_where_it_was(tmp_path: Path) -> None:
    """A worker of the older queuekit holds a claim, and repeats its last call through this one."""
    store = opened(second_file(tmp_path / "q.db"), THEN + 1000)
    found = direct(store.get("q", ["j0", "j1", "j2", "keyed", "late"]))
    assert [job and job.state for job in found] == [
        State.COMPLETED,
        State.ACTIVE,
        State.FAILED,
        State.WAITING,
        State.DELAYED,
    ]
    done, active, failed, keyed, _ = found
    assert done is not None
    assert active is not None
    assert failed is not None
    assert keyed is not None
    assert (done.result, active.progress, active.logs, failed.errors) == (b"r0", b"50", (b"half",), (b"e",))
    assert (keyed.body, keyed.unique) == (b"x" * 1500, UniqueKey("k"))
    assert direct(store.exchange("q", Op("w", 2), [], Ask())).replayed
    assert direct(store.exchange("q", Op("w", 3), [Outcome("j1", "w:1", Kind.COMPLETED)], Ask())).refused == []
    held = direct(store.enqueue("q", [JobSpec(id="x", task="t", body=b"", unique=UniqueKey("k"))], Op("p", 2)))
    assert [receipt.id for receipt in held.receipts] == ["keyed"]
    assert (direct(store.conf("left")).home, direct(store.conf("q")).effective.max_size) == (Home.GONE, 100)
    direct(store.close())


@OLD
def test_a_queue_of_an_old_file_keeps_schedules(tmp_path: Path, old: Make) -> None:
    store = opened(old(tmp_path / "q.db"), THEN)
    assert direct(store.due("q")).records == []
    kept = direct(store.put_schedule("q", ScheduleRecord(id="s", queue="q", definition=b"d", next=5)))
    assert direct(store.due("q")).records == [kept]
    job = JobSpec(id="s@5", task="t", body=b"")
    (fired,) = direct(store.fire("q", [Firing(id="s", rev=kept.rev, next_at=None, jobs=(job,))]))
    assert [receipt.created for receipt in fired.receipts] == [True]
    assert direct(store.delete_schedule("q", "s"))
    assert direct(store.put_schedule("q", ScheduleRecord(id="s", queue="q", definition=b"d"))).rev > kept.rev + 1
    direct(store.close())


@OLD
def test_an_old_file_is_opened_by_many_at_once(tmp_path: Path, old: Make) -> None:
    path = old(tmp_path / "q.db")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: files.prepare(path, timeout=30), range(8)))
    assert direct(opened(path).ping()).schema == files.SCHEMA


@OLD
def test_an_upgrade_that_breaks_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: Make
) -> None:
    path = old(tmp_path / "q.db")
    before = shape(path)
    run = files._run

    def half(conn: sqlite3.Connection, script: str) -> None:
        run(conn, script)
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_run", half)
    with pytest.raises(KeyboardInterrupt):
        opened(path)
    monkeypatch.undo()
    assert shape(path) == before
    assert direct(opened(path).ping()).schema == files.SCHEMA


def test_a_schema_between_which_there_is_no_way_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_file(tmp_path / "q.db")
    monkeypatch.setattr(files, "UPGRADES", {})
    with pytest.raises(SchemaMismatch, match="has schema 1"):
        opened(path)


def test_every_schema_before_this_one_has_its_upgrade() -> None:
    assert sorted(files.UPGRADES) == list(range(1, files.SCHEMA))
