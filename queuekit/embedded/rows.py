"""Rows and what they mean: the lines, the columns read, a row to a JobRecord. Nothing here decides or writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from queuekit.domain.job import JobRecord, Retention, UniqueKey
from queuekit.domain.state import Line, State

# Line codes: the value of `jobs.line`, and the index of the queue's counter.
READY: Final = 0
SUSPECT: Final = 1
HELD: Final = 2
DELAYED: Final = 3
ACTIVE: Final = 4
BLOCKED: Final = 5
PARKED: Final = 6
COMPLETED: Final = 7
COMPLETED_OWN: Final = 8
FAILED: Final = 9
FAILED_OWN: Final = 10
CANCELLED: Final = 11
CANCELLED_OWN: Final = 12
LINES: Final = 13

WAITING: Final = (SUSPECT, READY, HELD)  # the order in which `find` shows them
STATES: Final = (
    State.WAITING, State.WAITING, State.WAITING, State.DELAYED, State.ACTIVE, State.BLOCKED, State.PARKED,
    State.COMPLETED, State.COMPLETED, State.FAILED, State.FAILED, State.CANCELLED, State.CANCELLED,
)  # fmt: skip
LINES_OF: Final[dict[State, tuple[int, ...]]] = {
    State.WAITING: WAITING, State.DELAYED: (DELAYED,), State.ACTIVE: (ACTIVE,), State.BLOCKED: (BLOCKED,),
    State.PARKED: (PARKED,), State.COMPLETED: (COMPLETED, COMPLETED_OWN), State.FAILED: (FAILED, FAILED_OWN),
    State.CANCELLED: (CANCELLED, CANCELLED_OWN),
}  # fmt: skip
_NAMED: Final = (Line.READY, Line.SUSPECT, Line.HELD)
ERROR: Final = 0
LOG: Final = 1
INLINE: Final = 1024  # bytes of a body kept in the job's own row; a row is written anew at each move


class Job(NamedTuple):
    """What moving a job needs to know of it."""

    n: int
    id: str
    line: int
    key1: int
    priority: int
    place: int
    run_at: int | None
    created_at: int
    rev: int
    failures: int
    snoozes: int
    crashes: int
    token: str | None
    origin: int | None
    cancel: str | None
    noted: int
    keep: str | None
    keep_completed: str | None
    keep_failed: str | None
    uniq: str | None
    expires_at: int | None
    awaited: int


class Whole(NamedTuple):
    """All of a job but its notes, and its body where that is big."""

    n: int
    id: str
    line: int
    key1: int
    priority: int
    place: int
    task: str
    version: int
    body: bytes | None
    options: bytes | None
    created_at: int
    run_at: int | None
    rev: int
    claims: int
    failures: int
    snoozes: int
    crashes: int
    token: str | None
    worker: str | None
    claimed_at: int | None
    origin: int | None
    cancel: str | None
    progress: bytes | None
    noted: int
    result: bytes | None
    reason: str | None
    keep: str | None
    keep_completed: str | None
    keep_failed: str | None
    uniq: str | None
    expires_at: int | None
    trace: str | None


JOB: Final = ", ".join(Job._fields)
WHOLE: Final = ", ".join(Whole._fields)


def many(values: Iterable[object]) -> str:
    """A list as one bound value, for `IN (SELECT value FROM json_each(?))`: one step instead of one a row."""
    return orjson.dumps(list(values)).decode()


def by_id(conn: sqlite3.Connection, q: int, ids: Sequence[str]) -> dict[str, Job]:
    """The jobs of these ids that exist."""
    rows = conn.execute(
        f"SELECT {JOB} FROM jobs WHERE q = ? AND id IN (SELECT value FROM json_each(?))", (q, many(ids))
    )
    return {row[1]: Job._make(row) for row in rows}


def records(conn: sqlite3.Connection, queue: str, rows: Iterable[Sequence[Any]]) -> list[JobRecord]:
    """Whole rows as records, with their notes and big bodies."""
    return [record(conn, queue, Whole._make(row)) for row in rows]


def record(conn: sqlite3.Connection, queue: str, row: Whole) -> JobRecord:
    """One whole row as a record."""
    (n, name, line, key1, priority, place, task, version, body, options, created_at, run_at, rev, claims, failures,
     snoozes, crashes, token, worker, claimed_at, origin, cancel, progress, noted, result, reason, keep,
     keep_completed, keep_failed, uniq, expires_at, trace) = row  # fmt: skip
    if body is None:
        body = conn.execute("SELECT body FROM bodies WHERE n = ?", (n,)).fetchone()[0]
    found = JobRecord(
        queue=queue, id=name, task=task, body=body, version=version, priority=priority, options=options or b"",
        state=STATES[line], place=place, created_at=created_at, run_at=run_at, rev=rev, claims=claims,
        failures=failures, snoozes=snoozes, crashes=crashes, token=token, worker=worker, claimed_at=claimed_at,
        cancel=cancel, progress=progress, result=result, reason=reason, keep=keep, expires_at=expires_at, trace=trace,
    )  # fmt: skip
    if line <= HELD:
        found.line = _NAMED[line]
    elif line == ACTIVE:
        found.line, found.lease_until = _NAMED[origin or READY], key1
    elif line >= PARKED:
        found.ended_at = key1
    if keep_completed is not None:
        found.keep_completed = retention(keep_completed)
    if keep_failed is not None:
        found.keep_failed = retention(keep_failed)
    if uniq is not None:
        found.unique = unique(uniq)
    if noted:
        found.errors, found.logs = notes(conn, n)
    return found


def notes(conn: sqlite3.Connection, n: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """A job's errors and log lines, oldest first."""
    errors: list[bytes] = []
    logs: list[bytes] = []
    for kind, data in conn.execute("SELECT kind, data FROM notes WHERE n = ? ORDER BY kind, seq", (n,)):
        (logs if kind == LOG else errors).append(data)
    return tuple(errors), tuple(logs)


@lru_cache(maxsize=256)
def retention(label: str) -> Retention:
    """What a stored label says."""
    return Retention.parse(label)


def unique(text: str) -> UniqueKey:
    """What a stored unique key says."""
    return UniqueKey(*orjson.loads(text))


def unique_text(key: UniqueKey) -> str:
    """A unique key as stored."""
    return orjson.dumps([key.key, key.until, key.on_conflict, key.ttl, key.max_wait]).decode()
