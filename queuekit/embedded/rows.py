"""Rows and what they mean: the lines, the columns read, a row to a JobRecord. Nothing here decides or writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

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
OUT: Final = LINES  # a checked-out job: the line it was on, plus this; it is counted nowhere

WAITING: Final = (SUSPECT, READY, HELD)  # the order in which `find` shows them
STATES: Final = (
    State.WAITING, State.WAITING, State.WAITING, State.DELAYED, State.ACTIVE, State.BLOCKED, State.PARKED,
    State.COMPLETED, State.COMPLETED, State.FAILED, State.FAILED, State.CANCELLED, State.CANCELLED,
) * 2  # fmt: skip
LINES_OF: Final[dict[State, tuple[int, ...]]] = {
    State.WAITING: WAITING, State.DELAYED: (DELAYED,), State.ACTIVE: (ACTIVE,), State.BLOCKED: (BLOCKED,),
    State.PARKED: (PARKED,), State.COMPLETED: (COMPLETED, COMPLETED_OWN), State.FAILED: (FAILED, FAILED_OWN),
    State.CANCELLED: (CANCELLED, CANCELLED_OWN),
}  # fmt: skip
_NAMED: Final = (Line.READY, Line.SUSPECT, Line.HELD)
ERROR: Final = 0
LOG: Final = 1
TAKEN: Final = 2  # not shown: token, and how many lines of that claim were taken
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
    epoch: int


_BLOBS: Final = frozenset({"body", "options", "progress", "result"})
_HEX: Final = [i for i, name in enumerate(Whole._fields) if name in _BLOBS]
_GATHER: Final = 65_536  # bytes of a body up to which bodies are read together
JOB: Final = ", ".join(Job._fields)


def _packed(names: Sequence[str]) -> str:
    columns = ", ".join(f"iif({name} IS NULL, NULL, hex({name}))" if name in _BLOBS else name for name in names)
    return f"json_group_array(json_array({columns}))"


_JOBS: Final = f"SELECT {_packed(Job._fields)} FROM (SELECT * FROM jobs"
_ONE: Final = f"SELECT {JOB} FROM jobs WHERE q = ? AND id = ?"
_WHOLE: Final = f"SELECT {', '.join(Whole._fields)} FROM jobs"
_WHOLES: Final = f"SELECT {_packed(Whole._fields)} FROM (SELECT * FROM jobs"


def text(said: str | None) -> str | None:
    """What somebody said, as SQLite can keep it: lone surrogates, which UTF-8 has not, are written out."""
    if said is None or said.isascii():
        return said
    return said.encode("utf-8", "backslashreplace").decode()


def many(values: Iterable[object]) -> str:
    """A list as one bound value, for `IN (SELECT value FROM json_each(?))`."""
    return orjson.dumps(list(values)).decode()


def jobs(conn: sqlite3.Connection, tail: str, values: Sequence[object]) -> list[Job]:
    """The jobs a WHERE … ORDER … gives, in one step of SQLite.

    A step lets the interpreter's lock go; beside a handler that computes, taking it back costs 5 ms (decision 012).
    """
    return [Job._make(row) for row in orjson.loads(conn.execute(f"{_JOBS} {tail})", values).fetchone()[0])]


def wholes(conn: sqlite3.Connection, tail: str, values: Sequence[object]) -> list[Whole]:
    """As `jobs`, with all that a record needs."""
    found = orjson.loads(conn.execute(f"{_WHOLES} {tail})", values).fetchone()[0])
    for row in found:
        for i in _HEX:
            if row[i] is not None:
                row[i] = bytes.fromhex(row[i])
    return [Whole._make(row) for row in found]


def whole(conn: sqlite3.Connection, tail: str, values: Sequence[object]) -> list[Whole]:
    """As `wholes` where at most one is wanted: nothing is packed and unpacked, and one row is one step too."""
    row = conn.execute(f"{_WHOLE} {tail}", values).fetchone()
    return [] if row is None else [Whole._make(row)]


def by_id(conn: sqlite3.Connection, q: int, ids: Sequence[str]) -> dict[str, Job]:
    """The jobs of these ids that exist."""
    if len(ids) == 1:
        row = conn.execute(_ONE, (q, ids[0])).fetchone()
        return {} if row is None else {row[1]: Job._make(row)}
    tail = "WHERE q = ? AND id IN (SELECT value FROM json_each(?))"
    return {job.id: job for job in jobs(conn, tail, (q, many(ids)))}


def records(conn: sqlite3.Connection, queue: str, found: Sequence[Whole]) -> list[JobRecord]:
    """Whole rows as records, with their notes and big bodies."""
    big = [row.n for row in found if row.body is None]
    bodies: dict[int, bytes] = {}
    if big:
        packed = conn.execute(
            "SELECT json_group_array(json_array(n, hex(body))) FROM bodies"
            " WHERE n IN (SELECT value FROM json_each(?)) AND length(body) <= ?",
            (many(big), _GATHER),
        )
        bodies = {n: bytes.fromhex(text) for n, text in orjson.loads(packed.fetchone()[0])}
        for n in big:
            if n not in bodies:
                bodies[n] = conn.execute("SELECT body FROM bodies WHERE n = ?", (n,)).fetchone()[0]
    made = []
    for row in found:
        job = _record(queue, row, bodies)
        if row.noted:
            job.errors, job.logs = notes(conn, row.n)
        made.append(job)
    return made


def _record(queue: str, row: Whole, bodies: dict[int, bytes]) -> JobRecord:
    (n, name, line, key1, priority, place, task, version, body, options, created_at, run_at, rev, claims, failures,
     snoozes, crashes, token, worker, claimed_at, origin, cancel, progress, _, result, reason, keep,
     keep_completed, keep_failed, uniq, expires_at, trace, epoch) = row  # fmt: skip
    found = JobRecord(
        queue=queue, id=name, task=task, version=version, body=bodies[n] if body is None else body,
        priority=priority, options=options or b"", state=STATES[line], place=place, created_at=created_at,
        run_at=run_at, rev=rev, claims=claims, failures=failures, snoozes=snoozes, crashes=crashes,
        token=token, worker=worker, claimed_at=claimed_at, cancel=cancel, progress=progress,
        result=result, reason=reason, keep=keep, expires_at=expires_at, trace=trace, epoch=epoch,
    )  # fmt: skip
    if line >= OUT:
        line -= OUT
    if line <= HELD:
        found.line = _NAMED[line]
    elif line == ACTIVE:
        found.line, found.lease_until = _NAMED[origin or READY], key1 or None
    elif line >= PARKED:
        found.ended_at = key1
    if keep_completed is not None:
        found.keep_completed = retention(keep_completed)
    if keep_failed is not None:
        found.keep_failed = retention(keep_failed)
    if uniq is not None:
        found.unique = unique(uniq)
    return found


def held(job: Job) -> bool:
    """Whether a job only stands for one that runs in the store its queue comes from."""
    return job.line == ACTIVE and not job.key1


def notes(conn: sqlite3.Connection, n: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """A job's errors and log lines, oldest first."""
    errors: list[bytes] = []
    logs: list[bytes] = []
    for kind, data in conn.execute("SELECT kind, data FROM notes WHERE n = ? AND kind <= 1 ORDER BY kind, seq", (n,)):
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
