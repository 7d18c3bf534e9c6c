"""Part schedules: put, delete, read, due, fire, take. A firing is its jobs and one UPDATE in the same transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from queuekit.domain.outcome import Home
from queuekit.domain.schedule import Due, Fired, Firing, NoFire, ScheduleRecord, checked, definition_error, lenient
from queuekit.embedded import produce
from queuekit.embedded.leaving import mine
from queuekit.embedded.ledger import Ledger
from queuekit.embedded.rows import many
from queuekit.embedded.work import Work
from queuekit.errors import Conflict, Moved, PayloadTooLarge, QueueFull

BYTES_READ: Final = 4 * 1024 * 1024  # of definitions in one answer
_GATHER: Final = 65_536  # bytes of a definition up to which definitions are read together
_LIGHT: Final = (
    "SELECT json_group_array(json_array(n, id, rev, next, fired, skipped, last_job,"
    " (SELECT length(definition) FROM definitions WHERE definitions.n = s.n)))"
    " FROM (SELECT * FROM schedules WHERE q = ? AND {}) AS s"
)
_BY_ID: Final = _LIGHT.format("id = ?")
_BY_IDS: Final = _LIGHT.format("id IN (SELECT value FROM json_each(?))")
_AFTER: Final = _LIGHT.format("id > ? ORDER BY id LIMIT ?")
_DUE: Final = _LIGHT.format("next <= ? ORDER BY next, id LIMIT ?")
_COMING: Final = "SELECT min(next) FROM schedules WHERE q = ? AND next > ?"
_REVS: Final = (
    "SELECT json_group_array(json_array(id, n, rev)) FROM schedules WHERE q = ?"
    " AND id IN (SELECT value FROM json_each(?))"
)
_MOVE: Final = (
    "UPDATE schedules SET rev = j.value ->> 1, next = j.value ->> 2, fired = fired + (j.value ->> 3),"
    " skipped = skipped + (j.value ->> 4), last_job = ifnull(j.value ->> 5, last_job)"
    " FROM json_each(?) AS j WHERE schedules.n = j.value ->> 0"
)
Light = list[Any]  # n, id, rev, next, fired, skipped, last_job, bytes of the definition


def check(records: Sequence[ScheduleRecord], limit: int) -> None:
    """Refuse a definition that is too large, before anything is written."""
    for record in records:
        wrong = definition_error(record.definition, limit)
        if wrong is not None:
            raise PayloadTooLarge(f"schedule {record.id}: {wrong}")


def put(work: Work, schedule: ScheduleRecord) -> ScheduleRecord:
    """Keep a schedule if nobody changed it since it was read."""
    ledger = work.ledger
    _here(ledger)
    (stored,) = get(work.conn, ledger, [schedule.id])
    new = replace(schedule, queue=ledger.name)
    if stored is not None and stored.rev > new.rev and replace(new, rev=stored.rev) == stored:
        return stored  # by this very call, whose answer was lost
    if new.rev != (0 if stored is None else stored.rev):
        raise Conflict(f"schedule {ledger.name}/{new.id} was changed meanwhile; read it again")
    new.rev = max(work.now, (_deleted(work) if stored is None else stored.rev) + 1)
    _store(work, [new])
    work.wake = True
    return new


def delete(work: Work, id: str, rev: int | None) -> bool:
    """Remove a schedule; a new one of any id gets a higher rev."""
    conn, ledger = work.conn, work.ledger
    _here(ledger)
    row = conn.execute("SELECT n, rev FROM schedules WHERE q = ? AND id = ?", (ledger.q, id)).fetchone()
    if row is None:
        return False
    if rev is not None and rev != row[1]:
        raise Conflict(f"schedule {ledger.name}/{id} was changed meanwhile; read it again")
    conn.execute("DELETE FROM schedules WHERE n = ?", (row[0],))
    conn.execute("UPDATE queues SET unscheduled = max(unscheduled, ?) WHERE q = ?", (row[1], ledger.q))
    return True


def listed(conn: sqlite3.Connection, ledger: Ledger, after: str, limit: int) -> list[ScheduleRecord]:
    """By id, and not too many bytes of them."""
    return _records(conn, ledger, _bounded(_light(conn, _AFTER, (ledger.q, after, limit))))


def get(conn: sqlite3.Connection, ledger: Ledger, ids: Sequence[str]) -> list[ScheduleRecord | None]:
    """In the order asked."""
    query, which = (_BY_ID, ids[0]) if len(ids) == 1 else (_BY_IDS, many(ids))
    light = _light(conn, query, (ledger.q, which))
    found = {record.id: record for record in _records(conn, ledger, light)}
    return [replace(found[name]) if name in found else None for name in ids]


def due(conn: sqlite3.Connection, ledger: Ledger, limit: int, now: int) -> Due:
    """Those whose slot has come, and when the next does."""
    if ledger.conf.home is not Home.HERE:
        return Due(now=now)
    light = _light(conn, _DUE, (ledger.q, now, limit + 1))
    found = _bounded(light[:limit])
    more = len(found) < len(light)
    next_at = light[len(found)][3] if more else conn.execute(_COMING, (ledger.q, now)).fetchone()[0]
    return Due(now=now, records=_records(conn, ledger, found), next_at=next_at)


def fireable(firings: Sequence[Firing], limit: int) -> None:
    """What can be refused without looking."""
    checked(firings)
    produce.check([spec for firing in firings for spec in firing.jobs], limit, None)


def all_changed(conn: sqlite3.Connection, ledger: Ledger, firings: Sequence[Firing]) -> list[Fired] | None:
    """The answer where others came first to every slot: whoever is second needs no lock. None: some may be fired."""
    if ledger.conf.home is not Home.HERE:
        return None
    revs = _revs(conn, ledger.q, [firing.id for firing in firings])
    if any(firing.id in revs and revs[firing.id][1] == firing.rev for firing in firings):
        return None
    return [Fired(id=firing.id, no=NoFire.CHANGED) for firing in firings]


def fire(work: Work, firings: Sequence[Firing]) -> list[Fired]:
    """Make the jobs of each firing whose schedule is as it was read, and move it on."""
    _here(work.ledger)
    revs = _revs(work.conn, work.ledger.q, [firing.id for firing in firings])
    existing = produce.known_ids(work, [spec for firing in firings for spec in firing.jobs])
    rows: list[tuple[object, ...]] = []
    moves: list[tuple[object, ...]] = []
    answers: list[Fired] = []
    for firing in firings:
        n, rev = revs.get(firing.id, (0, 0))
        if not n or rev != firing.rev:
            answers.append(Fired(id=firing.id, no=NoFire.CHANGED))
            continue
        jobs = [lenient(spec) for spec in firing.jobs]
        if work.ledger.conf.to is not None and any(spec.unique is not None for spec in jobs):
            answers.append(Fired(id=firing.id, no=NoFire.LATER))
            continue
        try:
            produce.room(work, jobs, existing)
        except QueueFull:
            answers.append(Fired(id=firing.id, no=NoFire.FULL))
            continue
        receipts = tuple(produce.keep(work, jobs, existing, rows))
        last = receipts[-1].id if receipts else None
        moves.append((n, max(work.now, rev + 1), firing.next_at, len(jobs), firing.skipped, last))
        answers.append(Fired(id=firing.id, receipts=receipts))
    produce.insert(work, rows)
    if moves:
        work.conn.execute(_MOVE, (orjson.dumps(moves).decode(),))
    return answers


def take(work: Work, epoch: int, records: Sequence[ScheduleRecord]) -> None:
    """Keep a mover's schedules as they are, unless one of that id is later."""
    mine(work.ledger, epoch)
    for record in records:
        stored = _revs(work.conn, work.ledger.q, [record.id]).get(record.id)
        if stored is None or stored[1] < record.rev:
            _store(work, [record])
    work.wake = True


def _here(ledger: Ledger) -> None:
    conf = ledger.conf
    if conf.home is not Home.HERE:
        raise Moved(f"queue {ledger.name} is {conf.home}: it lives in {conf.to}", to=conf.to)


def _deleted(work: Work) -> int:
    """The highest rev of a schedule that was deleted here."""
    return int(work.conn.execute("SELECT unscheduled FROM queues WHERE q = ?", (work.ledger.q,)).fetchone()[0])


def _store(work: Work, records: Sequence[ScheduleRecord]) -> None:
    for r in records:
        (n,) = work.conn.execute(
            "INSERT INTO schedules (q, id, rev, next, fired, skipped, last_job) VALUES (?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (q, id) DO UPDATE SET rev = excluded.rev, next = excluded.next, fired = excluded.fired,"
            " skipped = excluded.skipped, last_job = excluded.last_job RETURNING n",
            (work.ledger.q, r.id, r.rev, r.next, r.fired, r.skipped, r.last_job),
        ).fetchall()[0]
        work.conn.execute("INSERT OR REPLACE INTO definitions VALUES (?, ?)", (n, r.definition))


def _revs(conn: sqlite3.Connection, q: int, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The number and rev of those that are there."""
    found = orjson.loads(conn.execute(_REVS, (q, many(ids))).fetchone()[0])
    return {name: (n, rev) for name, n, rev in found}


def _light(conn: sqlite3.Connection, query: str, values: Sequence[object]) -> list[Light]:
    """Schedules without their definitions, in one step of SQLite, as in `rows.jobs`."""
    found: list[Light] = orjson.loads(conn.execute(query, values).fetchone()[0])
    return found


def _bounded(light: list[Light]) -> list[Light]:
    """The first ones that fit into one answer, at least one."""
    size = 0
    for at, row in enumerate(light):
        size += row[7]
        if at and size > BYTES_READ:
            return light[:at]
    return light


def _records(conn: sqlite3.Connection, ledger: Ledger, light: list[Light]) -> list[ScheduleRecord]:
    """Whole schedules; small definitions are read together, large ones one by one."""
    small = many(row[0] for row in light if row[7] <= _GATHER)
    packed = conn.execute(
        "SELECT json_group_array(json_array(n, hex(definition))) FROM definitions"
        " WHERE n IN (SELECT value FROM json_each(?))",
        (small,),
    )
    read = {n: bytes.fromhex(text) for n, text in orjson.loads(packed.fetchone()[0])} if light else {}
    for row in light:
        if row[0] not in read:
            (read[row[0]],) = conn.execute("SELECT definition FROM definitions WHERE n = ?", (row[0],)).fetchone()
    return [
        ScheduleRecord(
            id=name, queue=ledger.name, definition=read[n], rev=rev, next=next_at, fired=fired, skipped=skipped,
            last_job=last_job,
        )
        for n, name, rev, next_at, fired, skipped, last_job, _ in light
    ]  # fmt: skip
