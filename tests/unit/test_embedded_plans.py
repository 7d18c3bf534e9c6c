"""How SQLite goes about the store's statements: by an index, in its order, never by reading a whole table.

The statements are recorded while a store works, so that none can be forgotten here.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import pytest

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb, Where, WorkerBeat
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend, files
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

OWN = {"jobs", "queues", "notes", "bodies", "labels", "uniques", "ops", "workers"}
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
    direct(store.obliterate("q", force=True))


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
    ticks = [0]

    def tick() -> int:
        ticks[0] += 1
        return 0

    conn = store._port.hub.pool.lend()
    conn.set_progress_handler(tick, 10)
    store._port.hub.pool.back(conn)
    claims = direct(store.exchange("q", Op("w", n), [], Ask(want=10))).claims
    assert len(claims) == 10
    conn.set_progress_handler(None, 0)
    return ticks[0]
