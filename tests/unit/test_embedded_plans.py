"""How SQLite goes about the store's statements: by an index, in its order, never by reading a whole table.

The statements are recorded while a store works, so that none can be forgotten here.
"""

from __future__ import annotations

import dataclasses
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb, Where, WorkerBeat
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend, files
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

OWN = {"jobs", "queues", "notes", "bodies", "labels", "uniques", "ops", "workers", "schedules", "definitions"}
# Few rows in a whole store, or a question of a person: these may read a table.
ALLOWED = ("FROM queues WHERE ns = ? AND (rev > 0", "SELECT beat FROM workers", "DELETE FROM workers WHERE until",
           "SELECT q, name FROM queues WHERE ns")  # fmt: skip
# The oldest of a waiting line, which is ordered by priority first; bounded by control.SORTED.
SORTS = ("ORDER BY created_at",)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[EmbeddedStore, set[str]]]:
    """A store, and every statement it makes."""
    heard: set[str] = set()
    plain = files.connect

    def connect(*args: object, **kwargs: object) -> sqlite3.Connection:
        conn = plain(*args, **kwargs)  # type: ignore[arg-type]  # handed on as it came
        conn.set_trace_callback(heard.add)
        return conn

    monkeypatch.setattr(files, "connect", connect)
    store = backend.blocking("memory://", StoreOptions(payload_limit=100_000))
    direct(store.open())
    heard.clear()
    yield store, heard
    direct(store.close())


def work(store: EmbeddedStore) -> None:
    """Everything a store does, at least once."""
    key = UniqueKey(key="k", on_conflict="replace")
    specs = [JobSpec(id=f"j{i}", task="t", body=b"b" * (i * 200), expires_in=10**6) for i in range(80)]
    specs[3].delay, specs[4].unique, specs[5].keep_completed = 1, key, Retention(3, 1000)
    specs[6].run_at = 2**40
    direct(store.enqueue("q", specs, Op("p", 1)))
    direct(store.enqueue("q", [JobSpec(id="other", task="t", body=b"", unique=key)], Op("p", 2)))
    kinds = [Kind.COMPLETED] * 40 + [Kind.RETRY, Kind.FAILED, Kind.RELEASED, Kind.PARKED, Kind.SNOOZED, Kind.CANCELLED]
    took = direct(store.exchange("q", Op("w", 1), [], Ask(want=60)))
    direct(store.exchange("q", Op("w", 1), [], Ask(want=60)))
    ends = [
        Outcome(job.id, job.token or "", kind, result=b"%d" % i, error=b"e" if kind is not Kind.COMPLETED else None,
                keep=Retention(2) if i % 5 == 0 else None, logs=(b"l",) if i % 7 == 0 else (), delay=9 * 10**6)
        for i, (job, kind) in enumerate(zip(took.claims, kinds, strict=False))
    ]  # fmt: skip
    direct(store.exchange("q", Op("w", 2), ends, Ask(want=1)))
    left = [Hold(id=job.id, token=job.token or "", progress=b"p", logs=(b"l",)) for job in took.claims[46:]]
    direct(store.renew("q", left, -1, "w", 9))
    direct(store.annotate("q", left[0].id, left[0].token, Note(progress=b"x", logs=(b"l",) * 1001)))
    direct(store.recover("q"))
    direct(store.exchange("q", Op("w", 3), [], Ask(want=1)))
    for n, verb in enumerate(Verb):
        some = [Change(id=f"j{i}", verb=verb, body=b"b" * 2000, delay=n % 2 * 10**6) for i in range(80)]
        direct(store.change("q", some, Op("person", n + 1)))
    direct(store.configure("q", QueueConf(override=Limits(max_size=10**6, keep_completed=Retention(3, 1)))))
    direct(store.enqueue("q", [JobSpec(id=f"m{i}", task="t", body=b"") for i in range(5)], Op("p", 3)))
    for state in State:
        direct(store.find("q", Where(state=state, limit=2)))
        if state is not State.ACTIVE:
            direct(store.prune("q", state=state, limit=1))
    direct(store.prune("q"))
    direct(store.count("q"))
    for i in range(80):
        direct(store.position("q", f"j{i}"))
    direct(store.locate("j1"))
    direct(store.wait(["q"], 0))
    direct(store.watch("q", "m1", 0))
    direct(store.watch("q", "m1", 0))
    direct(store.beat(WorkerBeat(id="w", host="h", pid=1, queues=("q",), concurrency=1, started_at=0), 1000))
    direct(store.workers())
    direct(store.queues())
    schedule(store)
    direct(store.obliterate("q", force=True))


def schedule(store: EmbeddedStore) -> None:
    """Everything a store does with schedules, at least once."""
    kept = [put(store, n, n % 2 * 2**42) for n in range(20)]
    direct(store.put_schedule("q", dataclasses.replace(kept[0], next=None)))
    direct(store.schedules("q", "s01", 5))
    direct(store.get_schedules("q", ["s02", "s03"]))
    found = direct(store.due("q", 5))
    jobs = (JobSpec(id="fired", task="t", body=b""), JobSpec(id="two", task="t", body=b"", unique=UniqueKey("f")))
    call = [Firing(id=record.id, rev=record.rev, next_at=2**42, jobs=jobs) for record in found.records]
    assert [answer.no for answer in direct(store.fire("q", call))] == [None] * 5
    direct(store.fire("q", call))
    direct(store.due("q"))
    direct(store.delete_schedule("q", "s04"))
    put(store, 4, 1)
    direct(store.take_schedules("q", 0, [dataclasses.replace(kept[5], rev=2**50), ScheduleRecord(
        id="taken", queue="q", definition=b"d", rev=1)]))  # fmt: skip


def put(store: EmbeddedStore, n: int, next_at: int) -> ScheduleRecord:
    record = ScheduleRecord(
        id=f"s{n:02}", queue="q", definition=b"d" * (n % 3 * 40_000 if n < 100 else 9), next=next_at
    )
    return direct(store.put_schedule("q", record))


def test_no_statement_reads_or_sorts_a_whole_table(said: tuple[EmbeddedStore, set[str]]) -> None:
    store, heard = said
    work(store)
    statements = {text for text in heard if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT)", text)}
    assert len({re.sub(r"\d+|'[^']*'", "?", text) for text in statements}) > 60

    def plans(conn: sqlite3.Connection) -> list[tuple[str, str]]:
        conn.set_trace_callback(None)
        return [(text, row[3]) for text in statements for row in conn.execute(f"EXPLAIN QUERY PLAN {text}")]

    bad = [(step, text[:200]) for text, step in store._port.hub.pool.use(plans) if wrong(step, text)]
    assert bad == []


def wrong(step: str, text: str) -> bool:
    """Whether a step of a plan grows with the number of jobs. A scan of a list that came with the call does not."""
    loose = re.sub(r"= (-?\d+|'[^']*')", "= ?", text)
    if any(part in loose for part in ALLOWED):
        return False
    scanned = re.match(r"SCAN (\w+)", step)
    if scanned is not None and scanned[1] in OWN:
        return True
    return "TEMP B-TREE" in step and not any(part in text for part in SORTS)


def test_the_next_jobs_are_read_from_the_index_in_order_however_many_wait(
    said: tuple[EmbeddedStore, set[str]],
) -> None:
    """Steps of SQLite's machine for a claim of ten: the same beside a hundred waiting jobs and beside ten thousand."""
    store, _ = said
    cost: list[int] = []
    for batch in range(1, 12):
        jobs = [
            JobSpec(id=f"{batch}-{i}", task="t", body=b"x", priority=i % 9) for i in range(100 if batch == 1 else 1000)
        ]
        direct(store.enqueue("q", jobs, Op("p", batch)))
        if batch in (1, 11):
            cost.append(steps(store, batch))
    assert cost[1] < cost[0] * 1.3


def steps(store: EmbeddedStore, n: int) -> int:
    """How many hundreds of machine steps one exchange takes."""
    with counted(store) as ticks:
        claims = direct(store.exchange("q", Op("w", n), [], Ask(want=10))).claims
    assert len(claims) == 10
    return ticks[0]


@contextmanager
def counted(store: EmbeddedStore) -> Iterator[list[int]]:
    """Tens of machine steps of what is done meanwhile."""
    ticks = [0]

    def tick() -> int:
        ticks[0] += 1
        return 0

    conn = store._port.hub.pool.lend()
    conn.set_progress_handler(tick, 10)
    store._port.hub.pool.back(conn)
    yield ticks
    conn.set_progress_handler(None, 0)


def test_due_schedules_are_read_and_fired_from_the_index_however_many_there_are(
    said: tuple[EmbeddedStore, set[str]],
) -> None:
    """Ten of them due, and none: the same beside a hundred schedules and beside three thousand."""
    store, _ = said
    for n in range(10):
        put(store, n, 5)
    cost: list[tuple[int, int, int]] = []
    for first, last in ((100, 200), (200, 3000)):
        for n in range(first, last):
            put(store, n, 2**42 + n)
        with counted(store) as idle:
            assert direct(store.due("q", 0)).next_at == 5
        with counted(store) as read:
            found = direct(store.due("q"))
        assert (len(found.records), found.next_at) == (10, 2**42 + 100)
        jobs = [JobSpec(id=f"{record.id}@{first}", task="t", body=b"") for record in found.records]
        pairs = zip(found.records, jobs, strict=True)
        call = [Firing(id=record.id, rev=record.rev, next_at=5, jobs=(job,)) for record, job in pairs]
        with counted(store) as fired:
            assert [answer.no for answer in direct(store.fire("q", call))] == [None] * 10
        cost.append((idle[0], read[0], fired[0]))
    assert all(many < few * 1.3 + 5 for few, many in zip(*cost, strict=True)), cost
