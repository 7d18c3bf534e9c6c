"""Part mover, what comes in: parcels to jobs, held ones, and the journal of it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import Final

import orjson

from queuekit.domain.job import JobRecord, Retention, limits_error
from queuekit.domain.moving import Clash, HeldKey, Journal, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.state import TERMINAL, Line, State
from queuekit.embedded import ends, rows
from queuekit.embedded.leaving import batches, holders, mine, remove
from queuekit.embedded.ledger import Ledger
from queuekit.embedded.rows import (
    ACTIVE,
    BLOCKED,
    CANCELLED,
    COMPLETED,
    DELAYED,
    ERROR,
    FAILED,
    HELD,
    INLINE,
    LOG,
    PARKED,
    READY,
    SUSPECT,
    Job,
    many,
    text,
    unique_text,
)
from queuekit.embedded.work import Work
from queuekit.errors import PayloadTooLarge

UNHELD: Final = 1000  # a call
_LINES: Final = {None: READY, Line.READY: READY, Line.SUSPECT: SUSPECT, Line.HELD: HELD}
_STATES: Final = {
    State.DELAYED: DELAYED, State.PARKED: PARKED, State.BLOCKED: BLOCKED, State.COMPLETED: COMPLETED,
    State.FAILED: FAILED, State.CANCELLED: CANCELLED,
}  # fmt: skip
_COLUMNS: Final = (
    "q", "id", "line", "key1", "key2", "priority", "place", "task", "version", "body", "options", "created_at",
    "run_at", "since", "rev", "claims", "failures", "snoozes", "crashes", "token", "worker", "claimed_at", "origin",
    "cancel", "progress", "noted", "result", "reason", "keep", "keep_completed", "keep_failed", "uniq", "expires_at",
    "trace", "awaited", "epoch",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES "
_ROW: Final = f"({', '.join('?' * len(_COLUMNS))})"
_CHUNKS: Final = tuple((n, _INSERT + ", ".join([_ROW] * n)) for n in (64, 16, 4, 1))


def _check(parcels: Sequence[Parcel], limit: int) -> None:
    """Refuse what is too large for this store, before anything is written."""
    for parcel in parcels:
        for data in (parcel.record.body, parcel.record.result):
            if data is not None and len(data) > limit:
                raise PayloadTooLarge(f"job {parcel.record.id}: {limits_error(data, limit)}")


class Intake:
    """One batch on its way into a queue."""

    def __init__(self, work: Work, epoch: int, parcels: Sequence[Parcel]) -> None:
        self._work, self._epoch = work, epoch
        conn, q = work.conn, work.ledger.q
        self._there = rows.by_id(conn, q, [parcel.record.id for parcel in parcels])
        records = (parcel.record for parcel in parcels if parcel.holds)
        self._keys = {key: name for key, (name, _) in holders(conn, q, records, work.now).items()}
        self._new: list[tuple[Parcel, tuple[object, ...]]] = []
        self._taken: list[tuple[int, str, str, str, int | None]] = []
        self._seen = set[str]()
        self.ids: list[str] = []
        self.clashes: list[Clash] = []

    def add(self, parcel: Parcel) -> None:
        """Take one in, or say what is in its way."""
        job = parcel.record
        if job.id in self._seen:  # twice in one batch: look again at what became of the first
            self.write()
            self._there |= rows.by_id(self._work.conn, self._work.ledger.q, [job.id])
        self._seen.add(job.id)
        there = self._there.get(job.id)
        if there is not None and not rows.held(there):
            self.clashes.append(Clash(id=job.id, why="id", by=job.id))
            return
        key = job.unique if parcel.holds else None
        if key is not None and key.until == "time" and (parcel.key_expires or 0) <= self._work.now:
            key = None  # it ran out on the way
        holder = None if key is None else self._keys.get(key.key)
        if holder is not None and holder != job.id:
            self.clashes.append(Clash(id=job.id, why="key", by=holder))
            return
        if there is not None:
            remove(self._work, [there])
        if key is not None:
            self._keys[key.key] = job.id
            self._taken.append((self._work.ledger.q, key.key, job.id, key.until, parcel.key_expires))
        self.ids.append(job.id)
        self._new.append((parcel, self._row(parcel, there)))

    def _row(self, parcel: Parcel, there: Job | None) -> tuple[object, ...]:
        job, ledger = parcel.record, self._work.ledger
        place = ledger.last() if parcel.back else job.place
        line, key1, key2 = _where(job, place)
        active, ended = line == ACTIVE, job.state in TERMINAL
        ledger.counts[line] += 1
        awaited = not ended and (parcel.awaited or (there is not None and bool(there.awaited)))
        return (
            ledger.q, job.id, line, key1, key2, job.priority, place, job.task, job.version,
            job.body if len(job.body) <= INLINE else None, job.options or None, job.created_at, job.run_at,
            self._work.now, job.rev, job.claims, job.failures, job.snoozes, job.crashes,
            None if active else job.token, text(job.worker), job.claimed_at, _LINES[job.line] if active else None,
            text(job.cancel), job.progress, len(job.errors) + len(job.logs), job.result, text(job.reason), job.keep,
            _label(job.keep_completed), _label(job.keep_failed),
            None if job.unique is None else unique_text(job.unique), job.expires_at, text(job.trace), int(awaited),
            self._epoch,
        )  # fmt: skip

    def write(self) -> None:
        """Write what was taken in so far; nothing is trimmed."""
        work, conn = self._work, self._work.conn
        values, at = [row for _, row in self._new], 0
        for size, insert in _CHUNKS:  # one step of SQLite for many rows, as in `produce`
            while len(values) - at >= size:
                conn.execute(insert, [value for row in values[at : at + size] for value in row])
                at += size
        noted = [p.record for p, _ in self._new if p.record.errors or p.record.logs or len(p.record.body) > INLINE]
        if noted:
            self._beside(noted)
        if self._taken:
            conn.executemany("INSERT OR REPLACE INTO uniques VALUES (?, ?, ?, ?, ?)", self._taken)
        for (line, label), jobs in Counter((row[2], row[28]) for row in values if row[28] is not None).items():
            ends.count(work, int(str(line)), str(label), jobs)
        work.touched.clear()
        work.ended += [p.record.id for p, _ in self._new if p.record.state in TERMINAL]
        self._new.clear()
        self._taken.clear()

    def _beside(self, jobs: list[JobRecord]) -> None:
        """Big bodies, errors and log lines, in their own tables."""
        conn, q = self._work.conn, self._work.ledger.q
        number = {
            name: n
            for n, name in conn.execute(
                "SELECT n, id FROM jobs WHERE q = ? AND id IN (SELECT value FROM json_each(?))",
                (q, many(job.id for job in jobs)),
            )
        }
        bodies = [(number[job.id], job.body) for job in jobs if len(job.body) > INLINE]
        conn.executemany("INSERT INTO bodies VALUES (?, ?)", bodies)
        lines = (
            (number[job.id], kind, seq, data)
            for job in jobs
            for seq, (kind, data) in enumerate([*((ERROR, e) for e in job.errors), *((LOG, line) for line in job.logs)])
        )
        conn.executemany("INSERT INTO notes VALUES (?, ?, ?, ?)", lines)


def _where(job: JobRecord, place: int) -> tuple[int, int, int]:
    """The line of a job, and its order there."""
    if job.state is State.WAITING:
        return _LINES[job.line], job.priority, place
    if job.state is State.ACTIVE:
        return ACTIVE, 0, 0  # held: nobody's lease
    line = _STATES[job.state]
    if line == DELAYED:
        return line, job.run_at or 0, 0
    own = job.state in TERMINAL and job.keep is not None
    return line + own, job.ended_at or job.created_at, 0


def _label(keep: Retention | None) -> str | None:
    return None if keep is None else keep.label


def import_batch(
    work: Work, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
) -> list[Clash]:
    """Parcels become jobs; a batch taken in before is answered as it was."""
    conn, ledger = work.conn, work.ledger
    mine(ledger, epoch)
    known = conn.execute("SELECT clashes FROM taken WHERE q = ? AND batch = ?", (ledger.q, batch)).fetchone()
    if known is not None:
        return [Clash(id=name, why=why, by=by) for name, why, by in orjson.loads(known[0])]
    _check(parcels, work.limit)
    intake = Intake(work, epoch, parcels)
    for parcel in parcels:
        intake.add(parcel)
    intake.write()
    for key in keys:
        if key.expires > work.now:  # OR IGNORE would keep one whose time is over
            conn.execute(
                "INSERT INTO uniques VALUES (?, ?, ?, 'time', ?) ON CONFLICT DO UPDATE SET id = excluded.id,"
                " until = excluded.until, expires = excluded.expires WHERE uniques.expires <= ?",
                (ledger.q, key.key, key.id, key.expires, work.now),
            )
    clashes = orjson.dumps([(clash.id, clash.why, clash.by) for clash in intake.clashes]).decode()
    conn.execute("INSERT INTO taken VALUES (?, ?, ?, ?)", (ledger.q, batch, many(intake.ids), clashes))
    conn.execute("UPDATE queues SET note = ? WHERE q = ?", (note, ledger.q))
    work.wake = work.wake or ledger.conf.home is Home.HERE
    return intake.clashes


def unhold(work: Work, epoch: int, ids: Sequence[str] | None, lose: bool) -> list[str]:
    """Drop held jobs, or give them up as lost."""
    mine(work.ledger, epoch)
    which = "" if ids is None else " AND id IN (SELECT value FROM json_each(?))"
    held = rows.jobs(
        work.conn,
        f"WHERE q = ? AND line = ? AND key1 = 0{which} ORDER BY id LIMIT ?",
        (work.ledger.q, ACTIVE, *(() if ids is None else (many(ids),)), UNHELD),
    )
    held.sort(key=lambda job: job.id)
    if lose:
        for job in held:
            work.move(job, SUSPECT, job.priority, job.place, token=None, origin=None, since=work.now)
    else:
        remove(work, held)
    work.wake = True
    return [job.id for job in held]


def journal(conn: sqlite3.Connection, ledger: Ledger) -> Journal | None:
    """What is known of the move under way."""
    taken = [n for (n,) in conn.execute("SELECT batch FROM taken WHERE q = ? ORDER BY batch", (ledger.q,))]
    out = batches(conn, ledger.q)
    if not taken and not out:
        return None
    row = conn.execute("SELECT note FROM queues WHERE q = ?", (ledger.q,)).fetchone()
    return Journal(epoch=ledger.conf.epoch, taken=taken, note=row[0] or b"", out=out)


def taken(conn: sqlite3.Connection, ledger: Ledger, batch: int) -> list[str]:
    """The ids of a batch that was taken in."""
    row = conn.execute("SELECT ids FROM taken WHERE q = ? AND batch = ?", (ledger.q, batch)).fetchone()
    return [] if row is None else list(orjson.loads(row[0]))
