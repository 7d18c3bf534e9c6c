"""A file written by an earlier schema is brought up to this one when it is opened, and keeps what it has."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from queuekit.domain.outcome import Ask, Home, Op
from queuekit.embedded import EmbeddedStore, backend, files
from queuekit.errors import SchemaMismatch
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

OPTIONS = StoreOptions()
DATA = Path(__file__).parent / "data"


def opened(path: Path) -> EmbeddedStore:
    store = backend.blocking(f"sqlite:///{path}", OPTIONS)
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
    conn.execute(f"PRAGMA application_id = {files.APPLICATION}")
    conn.execute("PRAGMA user_version = 1")
    conn.execute("PRAGMA journal_mode = WAL")
    conn.close()
    return path


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


def test_an_old_file_gets_the_shape_of_a_new_one(tmp_path: Path) -> None:
    direct(opened(tmp_path / "new.db").close())
    direct(opened(old_file(tmp_path / "old.db")).close())
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


def test_an_old_file_is_opened_by_many_at_once(tmp_path: Path) -> None:
    path = old_file(tmp_path / "q.db")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: files.prepare(path, timeout=30), range(8)))
    assert direct(opened(path).ping()).schema == files.SCHEMA


def test_an_upgrade_that_breaks_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = old_file(tmp_path / "q.db")
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
