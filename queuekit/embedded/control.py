"""Family control: conf, configure, prune, obliterate, beat."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import orjson

from queuekit.domain.limits import QueueConf, checked
from queuekit.domain.outcome import Home
from queuekit.domain.query import WorkerBeat
from queuekit.domain.state import TERMINAL, State
from queuekit.embedded import ends, ops, uniques
from queuekit.embedded.rows import ACTIVE, CANCELLED, COMPLETED, FAILED, JOB, LINES_OF, Job, jobs, many, retention
from queuekit.embedded.work import Work
from queuekit.errors import Conflict, InvalidOption, Moved, Unsupported

SORTED: Final = 10_000  # jobs up to which the oldest of a waiting line are found exactly


def check(conf: QueueConf) -> None:
    """What can be refused without looking."""
    for layer in (conf.declared, conf.override):
        if checked(layer).cap is not None or layer.rates is not None:
            raise Unsupported("this store has no limits over all workers: leave global_concurrency and rate unset")


def configure(work: Work, conf: QueueConf) -> QueueConf:
    """Replace both layers if nobody else did since `conf` was read."""
    ledger = work.ledger
    stored = ledger.conf
    if stored.home in (Home.MOVING, Home.GONE):
        raise Moved(f"queue {ledger.name} is {stored.home}: it lives in {stored.to}", to=stored.to)
    if conf.rev + 1 == stored.rev and (conf.declared, conf.override) == (stored.declared, stored.override):
        return stored  # by this very call, whose answer was lost
    if conf.rev != stored.rev:
        raise Conflict(f"queue {ledger.name}: its configuration has rev {stored.rev}, not {conf.rev}; read it again")
    work.conn.execute(
        "UPDATE queues SET rev = rev + 1, declared = ?, override = ? WHERE q = ?",
        (conf.declared.to_json(), conf.override.to_json(), ledger.q),
    )
    work.wake = True
    return dataclasses.replace(stored, rev=conf.rev + 1, declared=conf.declared, override=conf.override)


def prune(work: Work, state: State | None, older_than: int, limit: int) -> tuple[int, bool]:
    """Remove what outlived its retention, or what is in a state for long; how many, and whether more are left."""
    if state is None:
        _housekeeping(work)
        doomed = _outlived(work, limit + 1)
    else:
        doomed = _older(work, state, work.now - older_than, limit + 1)
    for job in doomed[:limit]:
        uniques.free(work, job)
    ends.remove(work, doomed[:limit])
    work.touched.clear()
    work.ended += [job.id for job in doomed[:limit]]
    return min(len(doomed), limit), len(doomed) > limit


def prunable(state: State | None) -> None:
    """Refuse the state that is never pruned."""
    if state is State.ACTIVE:
        raise InvalidOption("active jobs are not pruned: cancel them, or obliterate the queue")


def _older(work: Work, state: State, moment: int, limit: int) -> list[Job]:
    lines = LINES_OF[state]
    found: list[tuple[Any, ...]] = []
    for line in lines:
        timed = state in TERMINAL or state is State.PARKED  # their line is ordered by what is asked
        entered = "key1" if timed else "created_at"
        order = "key1, key2, id" if timed or work.ledger.counts[line] > SORTED else f"{entered}, id"
        rows = work.conn.execute(
            f"SELECT {JOB}, {entered} FROM jobs WHERE q = ? AND line = ? AND {entered} <= ? ORDER BY {order} LIMIT ?",
            (work.ledger.q, line, moment, limit),
        )
        found += rows.fetchall()
    found.sort(key=lambda row: (row[-1], row[1]))
    return [Job._make(row[:-1]) for row in found[:limit]]


def _housekeeping(work: Work) -> None:
    """Old op records and keys, jobs nobody started in time, classes over their count."""
    conn, q, now = work.conn, work.ledger.q, work.now
    ops.forget(conn, q, now)
    conn.execute("DELETE FROM uniques WHERE q = ? AND expires <= ?", (q, now))
    conn.execute("DELETE FROM workers WHERE until <= ?", (now,))
    for job in jobs(conn, "WHERE q = ? AND expires_at <= ? AND line <= 3 ORDER BY expires_at LIMIT 1000", (q, now)):
        ends.end(work, job, CANCELLED, reason="expired")
    ends.trim(work)
    for line in (COMPLETED, FAILED, CANCELLED):
        ends.trim_class(work, line, None)
    for line, label in conn.execute("SELECT line, label FROM labels WHERE q = ?", (q,)).fetchall():
        ends.trim_class(work, line, label)
    conn.execute("DELETE FROM labels WHERE q = ? AND n <= 0", (q,))


def _outlived(work: Work, limit: int) -> list[Job]:
    """Ended jobs whose time is over, class by class."""
    found: list[Job] = []
    for line in (COMPLETED, FAILED, CANCELLED):
        age = work.ledger.keeps(line == COMPLETED).age
        if age is not None:
            found += _aged(work, "line = ?", "key1, key2, id", (line,), age, limit - len(found))
    for line, label in work.conn.execute("SELECT line, label FROM labels WHERE q = ?", (work.ledger.q,)).fetchall():
        age = retention(label).age
        if age is not None and len(found) < limit:
            found += _aged(work, "line = ? AND keep = ?", "key1, id", (line, label), age, limit - len(found))
    return found


def _aged(work: Work, which: str, order: str, values: Sequence[object], age: int, limit: int) -> list[Job]:
    tail = f"WHERE q = ? AND {which} AND key1 <= ? ORDER BY {order} LIMIT ?"
    return jobs(work.conn, tail, (work.ledger.q, *values, work.now - age, limit))


def obliterate(work: Work, force: bool, limit: int) -> tuple[int, bool]:
    """Remove every job, then the queue's own records."""
    conn, ledger = work.conn, work.ledger
    home, to = ledger.conf.home, ledger.conf.to
    if home in (Home.MOVING, Home.ARRIVING) or (home is Home.HERE and to is not None):
        raise Conflict(f"queue {ledger.name} is on the move: end that first, with migrate --resume or --abort")
    if ledger.counts[ACTIVE] and not force:
        raise Conflict(f"queue {ledger.name} has active jobs: stop its workers first, or force")
    conn.execute("DELETE FROM schedules WHERE q = ?", (ledger.q,))  # at once: they would make jobs until the last call
    doomed = jobs(conn, "WHERE q = ? LIMIT ?", (ledger.q, limit))
    for job in doomed:  # this may be the last call: a key whose job is gone would never be free
        uniques.free(work, job)
    ends.remove(work, doomed)
    work.touched.clear()
    work.ended += [job.id for job in doomed]
    work.wake = True
    conn.execute("DELETE FROM outs WHERE q = ? AND n IN (SELECT value FROM json_each(?))",
                 (ledger.q, many(job.n for job in doomed)))  # fmt: skip
    more = bool(conn.execute("SELECT EXISTS (SELECT 1 FROM jobs WHERE q = ?)", (ledger.q,)).fetchone()[0])
    if not more:
        for table in ("labels", "uniques", "ops", "taken"):
            conn.execute(f"DELETE FROM {table} WHERE q = ?", (ledger.q,))
        if home is Home.GONE:  # its record stays, to tell callers where it went
            conn.execute("UPDATE queues SET rev = 0, declared = '{}', override = '{}' WHERE q = ?", (ledger.q,))
            ledger.clear()
        else:
            conn.execute("DELETE FROM queues WHERE q = ?", (ledger.q,))
    return len(doomed), more


def beat(conn: sqlite3.Connection, ns: str, worker: WorkerBeat, ttl: int, now: int) -> int:
    """Note that a worker lives, or forget it."""
    if ttl <= 0:
        conn.execute("DELETE FROM workers WHERE ns = ? AND id = ?", (ns, worker.id))
        return now
    text = orjson.dumps(dataclasses.asdict(dataclasses.replace(worker, seen=now))).decode()
    conn.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?)", (ns, worker.id, now + ttl, text))
    return now
