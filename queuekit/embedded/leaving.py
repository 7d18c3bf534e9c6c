"""Part mover, a queue's authority and what leaves: checkout, confirm, restore, and what is still known here."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Final

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Confirmed, HeldKey, Known, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.embedded import ends, rows
from queuekit.embedded.ledger import Ledger
from queuekit.embedded.rows import (
    ACTIVE,
    BLOCKED,
    CANCELLED_OWN,
    COMPLETED,
    DELAYED,
    OUT,
    PARKED,
    WAITING,
    Job,
    many,
    unique,
)
from queuekit.embedded.work import Work
from queuekit.errors import Conflict

BYTES_OUT: Final = 4 * 1024 * 1024  # of bodies and results in one checkout
_LIVE: Final = (*WAITING, DELAYED, PARKED, BLOCKED)  # the order in which they leave
_TOTALS: Final = ("enqueued", "completed", "failed", "retried", "crashed", "cancelled", "released")
_LIGHT: Final = (
    "SELECT n, line, key1, id, keep, ifnull(length(body), (SELECT length(body) FROM bodies WHERE bodies.n = jobs.n))"
    " + ifnull(length(result), 0) FROM jobs WHERE q = ? AND line = ? ORDER BY key1, key2, id LIMIT ?"
)
_BY_N: Final = "WHERE n IN (SELECT value FROM json_each(?))"
_HOLDERS: Final = (
    "SELECT key, id, expires FROM uniques WHERE q = ? AND key IN (SELECT value FROM json_each(?))"
    " AND (expires IS NULL OR expires > ?)"
)
_TIMED: Final = (
    "SELECT u.key, u.id, u.expires, j.uniq FROM uniques AS u LEFT JOIN jobs AS j ON j.q = u.q AND j.id = u.id"
    " WHERE u.q = ? AND u.until = 'time' AND u.expires > ? AND u.key > ? ORDER BY u.key"
)
Light = tuple[int, int, int, str, str | None, int]  # n, line, key1, id, keep, bytes


def authority(work: Work, epoch: int, by: str, home: Home, to: str | None, room: int, add: Totals | None) -> Standing:
    """Let a mover decide where the queue lives, if no later one did."""
    conn, ledger = work.conn, work.ledger
    conf = ledger.conf
    mover, mark, base = conn.execute("SELECT mover, mark, base FROM queues WHERE q = ?", (ledger.q,)).fetchone()
    if epoch < conf.epoch or (epoch == conf.epoch and by != mover):
        raise Conflict(f"queue {ledger.name}: another mover has epoch {conf.epoch}, this one {epoch}")
    if (epoch, by, home, to) != (conf.epoch, mover, conf.home, conf.to):
        ends_here = home is Home.HERE and to is None
        if ends_here and (out := batches(conn, ledger.q)):
            raise Conflict(f"queue {ledger.name}: batches {out} are checked out: confirm or restore them first")
        if home is Home.MOVING and conf.home is not Home.MOVING:
            mark = ledger.back
        if room:
            ledger.front -= room
            base = ledger.front
        if add is not None:
            for i, name in enumerate(_TOTALS):
                ledger.totals[i] += getattr(add, name)
        if home is Home.GONE:
            conn.execute("DELETE FROM uniques WHERE q = ?", (ledger.q,))
            conn.execute("DELETE FROM schedules WHERE q = ?", (ledger.q,))
            conn.execute("UPDATE jobs SET awaited = 0 WHERE q = ? AND awaited = 1", (ledger.q,))
        if home is Home.GONE or ends_here:
            conn.execute("DELETE FROM taken WHERE q = ?", (ledger.q,))
            conn.execute("UPDATE queues SET note = NULL WHERE q = ?", (ledger.q,))
        conn.execute(
            "UPDATE queues SET home = ?, moved_to = ?, epoch = ?, mover = ?, mark = ?, base = ? WHERE q = ?",
            (home.value, to, epoch, by, mark, base, ledger.q),
        )
        conf = ledger.conf = dataclasses.replace(conf, home=home, to=to, epoch=epoch)
        work.wake = True
    return Standing(conf=conf, now=work.now, mark=mark, base=base, settles_at=work.now)


def mine(ledger: Ledger, epoch: int) -> None:
    """Refuse a mover that is not the last one."""
    if ledger.conf.epoch != epoch:
        raise Conflict(f"queue {ledger.name}: its epoch is {ledger.conf.epoch}, this mover's {epoch}")


def checkout(work: Work, epoch: int, batch: int, limit: int, history: bool) -> list[Parcel]:
    """Take jobs off their lines, or answer those of a batch that is out already."""
    mine(work.ledger, epoch)
    conn, q = work.conn, work.ledger.q
    numbers = [n for (n,) in conn.execute("SELECT n FROM outs WHERE q = ? AND batch = ? ORDER BY seq", (q, batch))]
    if not numbers:
        chosen = _choose(conn, work.ledger, limit, history)
        numbers = [row[0] for row in chosen]
        if chosen:
            _shift(work, ((row[1], row[4]) for row in chosen), numbers, OUT)
            conn.execute("INSERT INTO outs SELECT ?, ?, key, value FROM json_each(?)", (q, batch, many(numbers)))
    return _parcels(conn, work.ledger, numbers, work.now)


def _choose(conn: sqlite3.Connection, ledger: Ledger, limit: int, history: bool) -> list[Light]:
    """The next ones to leave, and not too many bytes of them."""
    found: list[Light] = []
    for line in _LIVE:
        if ledger.counts[line] and len(found) < limit:
            found += conn.execute(_LIGHT, (ledger.q, line, limit - len(found))).fetchall()
    if history and len(found) < limit:
        rest = limit - len(found)
        ended = (
            conn.execute(_LIGHT, (ledger.q, line, rest)).fetchall()
            for line in range(COMPLETED, CANCELLED_OWN + 1)
            if ledger.counts[line]
        )
        found += islice(merge(*ended, key=lambda row: (row[2], row[3])), rest)
    size = 0
    for at, row in enumerate(found):
        size += row[5]
        if at and size > BYTES_OUT:
            return found[:at]
    return found


def _shift(work: Work, classes: Iterable[tuple[int, str | None]], numbers: Sequence[int], by: int) -> None:
    """Put jobs off their lines, or back; `classes` are the line and label of each."""
    work.conn.execute(f"UPDATE jobs SET line = line + ? {_BY_N}", (by, many(numbers)))
    sign = 1 if by < 0 else -1
    for (line, keep), jobs in Counter(classes).items():
        at = line % OUT
        work.ledger.counts[at] += sign * jobs
        if keep is not None:
            ends.count(work, at, keep, sign * jobs)
    work.touched.clear()  # nothing is trimmed by the way


def _parcels(conn: sqlite3.Connection, ledger: Ledger, numbers: Sequence[int], now: int) -> list[Parcel]:
    """Jobs in this order, with what is known beside their records."""
    found = rows.wholes(conn, _BY_N, (many(numbers),))
    records = dict(zip((row.n for row in found), rows.records(conn, ledger.name, found), strict=True))
    awaited = {n for (n,) in conn.execute(f"SELECT n FROM jobs {_BY_N} AND awaited = 1", (many(numbers),))}
    keys = holders(conn, ledger.q, records.values(), now)
    made = []
    for n in numbers:
        parcel = Parcel(record=records[n], awaited=n in awaited)
        key = parcel.record.unique
        if key is not None and key.key in keys:
            holder, expires = keys[key.key]
            if holder == parcel.record.id:
                parcel.holds, parcel.key_expires = True, expires
        made.append(parcel)
    return made


def holders(conn: sqlite3.Connection, q: int, jobs: Iterable[JobRecord], now: int) -> dict[str, tuple[str, int | None]]:
    """Who holds the keys of these jobs now, and until when."""
    keys = [job.unique.key for job in jobs if job.unique is not None]
    if not keys:
        return {}
    return {key: (name, expires) for key, name, expires in conn.execute(_HOLDERS, (q, many(keys), now))}


def running(conn: sqlite3.Connection, ledger: Ledger, after: str, limit: int, now: int) -> list[Parcel]:
    """Active jobs that are not held, by id."""
    found = conn.execute(
        "SELECT n FROM jobs INDEXED BY jobs_line WHERE q = ? AND line = ? AND key1 > 0 AND id > ? ORDER BY id LIMIT ?",
        (ledger.q, ACTIVE, after, limit),
    )
    return _parcels(conn, ledger, [n for (n,) in found], now)


def timed_keys(conn: sqlite3.Connection, ledger: Ledger, after: str, limit: int, now: int) -> list[HeldKey]:
    """Keys held for a time that no job of their id shows."""
    found = (
        HeldKey(key=key, id=name, expires=expires)
        for key, name, expires, uniq in conn.execute(_TIMED, (ledger.q, now, after))
        if uniq is None or unique(uniq).key != key
    )
    return list(islice(found, limit))


def confirm(work: Work, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
    """Remove what the other store has; the rest of the batch goes back."""
    mine(work.ledger, epoch)
    found = rows.by_id(work.conn, work.ledger.q, ids)
    active = [name for name in dict.fromkeys(ids) if name in found and found[name].line == ACTIVE]
    gone = [job for job in found.values() if job.line != ACTIVE]
    remove(work, gone)
    if gone:
        work.conn.execute(
            "DELETE FROM outs WHERE q = ? AND n IN (SELECT value FROM json_each(?))",
            (work.ledger.q, many(job.n for job in gone)),
        )
    restore(work, epoch, batch, None)
    return Confirmed(removed=len(gone), active=active)


def remove(work: Work, jobs: list[Job]) -> None:
    """Jobs with the keys of their own, those held for a time too. Who watches them is told."""
    keys = [(work.ledger.q, unique(job.uniq).key, job.id) for job in jobs if job.uniq is not None]
    if keys:
        work.conn.executemany("DELETE FROM uniques WHERE q = ? AND key = ? AND id = ?", keys)
    ends.remove(work, jobs)
    work.touched.clear()
    work.ended += [job.id for job in jobs]


def restore(work: Work, epoch: int, batch: int, ids: Sequence[str] | None) -> int:
    """Put what is out under a batch back where it was."""
    mine(work.ledger, epoch)
    conn, q = work.conn, work.ledger.q
    found = conn.execute(
        "SELECT n, line, keep, id FROM jobs WHERE n IN (SELECT n FROM outs WHERE q = ? AND batch = ?)", (q, batch)
    ).fetchall()
    if ids is not None:
        wanted = set(ids)
        found = [row for row in found if row[3] in wanted]
    if found:
        numbers = [row[0] for row in found]
        _shift(work, ((row[1], row[2]) for row in found), numbers, -OUT)
        conn.execute(
            "DELETE FROM outs WHERE q = ? AND batch = ? AND n IN (SELECT value FROM json_each(?))",
            (q, batch, many(numbers)),
        )
    return len(found)


def known(conn: sqlite3.Connection, ledger: Ledger, ids: Sequence[str], keys: Sequence[str], now: int) -> Known | None:
    """What is still here of ids and keys; None while the queue takes jobs."""
    if ledger.conf.home in (Home.HERE, Home.ARRIVING):
        return None
    here = conn.execute(
        "SELECT id FROM jobs WHERE q = ? AND id IN (SELECT value FROM json_each(?))", (ledger.q, many(ids))
    )
    return Known(
        ids={name for (name,) in here},
        keys={key: name for key, name, _ in conn.execute(_HOLDERS, (ledger.q, many(keys), now))},
    )


def batches(conn: sqlite3.Connection, q: int) -> list[int]:
    """The numbers of what is out."""
    return [batch for (batch,) in conn.execute("SELECT DISTINCT batch FROM outs WHERE q = ? ORDER BY batch", (q,))]
