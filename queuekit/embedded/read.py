"""Family read: get, locate, find, count, position, queues, workers. Nothing here writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from typing import Final

import orjson

from queuekit.domain.job import JobRecord
from queuekit.domain.query import SCAN_MAX, Counts, Found, Position, Totals, Where, WorkerBeat
from queuekit.domain.state import TERMINAL, State
from queuekit.embedded.ledger import Ledger
from queuekit.embedded.rows import ACTIVE, DELAYED, HELD, LINES_OF, OUT, STATES, SUSPECT, WAITING, many, records, wholes
from queuekit.errors import InvalidOption

EXACT: Final = 1000  # waiting jobs up to which the longest-waiting one is looked for one by one
Key = tuple[int, int, str]
Light = tuple[int, int, int, str, str]  # n, key1, key2, id, task


def get(conn: sqlite3.Connection, ledger: Ledger, ids: Sequence[str]) -> list[JobRecord | None]:
    """Whole records, in the order asked."""
    found = wholes(conn, "WHERE q = ? AND id IN (SELECT value FROM json_each(?))", (ledger.q, many(ids)))
    known = {job.id: job for job in records(conn, ledger.name, found)}
    return [known.get(name) for name in ids]


def locate(conn: sqlite3.Connection, ns: str, id: str) -> list[JobRecord]:
    """The jobs of this id in all queues of a namespace."""
    queues = conn.execute("SELECT q, name FROM queues WHERE ns = ? ORDER BY name", (ns,)).fetchall()
    found = []
    for q, name in queues:
        found += records(conn, name, wholes(conn, "WHERE q = ? AND id = ?", (q, id)))
    return found


def find(conn: sqlite3.Connection, ledger: Ledger, where: Where) -> Found:
    """A page of one state; looks at SCAN_MAX records at most."""
    lines = LINES_OF[where.state]
    total = sum(ledger.counts[line] for line in lines) if where.task is None else None
    start, after = _opened(where.cursor, where.state)
    newest_first = where.state in TERMINAL
    lined: Iterator[tuple[int, Light]]
    if newest_first:
        walk = merge(*(_down(conn, ledger.q, line, after) for line in lines), key=lambda r: (r[1], r[3]), reverse=True)
        lined = ((0, row) for row in walk)
    else:
        lined = chain.from_iterable(
            ((i, row) for row in _up(conn, ledger.q, lines[i], after if i == start else None))
            for i in range(start, len(lines))
        )
    picked: list[int] = []
    scanned = 0
    last: tuple[int, Light] | None = None
    for i, row in islice(lined, SCAN_MAX):
        scanned += 1
        last = (i, row)
        if where.task is None or row[4] == where.task:
            picked.append(row[0])
            if len(picked) >= where.limit:
                break
    cursor = None
    if last is not None and next(lined, None) is not None:
        cursor = orjson.dumps([where.state, last[0], *last[1][1:4]]).decode()
    return Found(records=_whole(conn, ledger.name, picked), cursor=cursor, scanned=scanned, total=total)


def _up(conn: sqlite3.Connection, q: int, line: int, after: Key | None) -> Iterator[Light]:
    key1, key2, last = after or (-(1 << 62), 0, "")
    return conn.execute(
        "SELECT n, key1, key2, id, task FROM jobs WHERE q = ? AND line = ? AND (key1, key2, id) > (?, ?, ?)"
        " ORDER BY key1, key2, id LIMIT ?",
        (q, line, key1, key2, last, SCAN_MAX + 1),
    )


def _down(conn: sqlite3.Connection, q: int, line: int, after: Key | None) -> Iterator[Light]:
    key1, key2, last = after or (1 << 62, 0, "")
    return conn.execute(
        "SELECT n, key1, key2, id, task FROM jobs WHERE q = ? AND line = ? AND (key1, key2, id) < (?, ?, ?)"
        " ORDER BY key1 DESC, key2 DESC, id DESC LIMIT ?",
        (q, line, key1, key2, last, SCAN_MAX + 1),
    )


def _whole(conn: sqlite3.Connection, queue: str, picked: Sequence[int]) -> list[JobRecord]:
    found = wholes(conn, "WHERE n IN (SELECT value FROM json_each(?))", (many(picked),))
    known = {row.n: row for row in found}
    return records(conn, queue, [known[n] for n in picked])


def _opened(cursor: str | None, state: State) -> tuple[int, Key | None]:
    """Which of the state's lines a cursor stands on, and behind which key."""
    if cursor is None:
        return 0, None
    try:
        of, line, key1, key2, last = orjson.loads(cursor)
        key = (int(key1), int(key2), str(last))
        at = int(line)
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"{cursor!r:.80} is no cursor of this store") from error
    if of != state or not 0 <= at < len(LINES_OF[state]):
        raise InvalidOption(f"the cursor is of state {of!r:.20}, not {state}")
    return at, key


def count(conn: sqlite3.Connection, ledger: Ledger, now: int) -> Counts:
    """How many jobs are in each state, from the queue's own row."""
    counts = ledger.counts
    states = {state: sum(counts[line] for line in lines) for state, lines in LINES_OF.items()}
    oldest = _oldest(conn, ledger)
    return Counts(
        now=now, states=states, suspect=counts[SUSPECT], held=counts[HELD],
        oldest_waiting=None if oldest is None else now - oldest, paused=ledger.limits.paused,
        totals=Totals(**dict(zip(_TOTALS, ledger.totals, strict=True))),
    )  # fmt: skip


_TOTALS: Final = ("enqueued", "completed", "failed", "retried", "crashed", "cancelled", "released")


def _oldest(conn: sqlite3.Connection, ledger: Ledger) -> int | None:
    """Since when the longest-waiting job could have run; of a long queue, of the first and last of each priority."""
    if sum(ledger.counts[line] for line in WAITING) <= EXACT:
        row = conn.execute(
            "SELECT min(max(created_at, ifnull(run_at, 0))) FROM jobs WHERE q = ? AND line IN (?, ?, ?)",
            (ledger.q, *WAITING),
        ).fetchone()
        return None if row[0] is None else int(row[0])
    found: list[int] = []
    for line in WAITING:
        priority = -1
        while True:
            row = conn.execute(_FRONT, (ledger.q, line, priority)).fetchone()
            if row is None:
                break
            priority, since = row
            found.append(since)
            lifo = conn.execute(_LIFO, (ledger.q, line, priority)).fetchone()
            if lifo is not None:
                found.append(lifo[0])
    return min(found)


_SINCE: Final = "max(created_at, ifnull(run_at, 0))"
_FRONT: Final = f"SELECT key1, {_SINCE} FROM jobs WHERE q = ? AND line = ? AND key1 > ? ORDER BY key1, key2, id LIMIT 1"
_LIFO: Final = (
    f"SELECT {_SINCE} FROM jobs WHERE q = ? AND line = ? AND key1 = ? AND key2 < 0 ORDER BY key2 DESC LIMIT 1"
)


def position(conn: sqlite3.Connection, ledger: Ledger, id: str, now: int) -> Position | None:
    """Why a job does not run yet."""
    row = conn.execute(
        "SELECT line, key1, key2, expires_at, cancel FROM jobs WHERE q = ? AND id = ?", (ledger.q, id)
    ).fetchone()
    if row is None:
        return None
    line, key1, key2, expires_at, cancel = row
    found = Position(state=STATES[line])
    if line >= OUT or (line == ACTIVE and not key1):
        found.reasons.append("moving")
        return found
    if line <= HELD:
        found.ahead = conn.execute(
            "SELECT count(*) FROM jobs WHERE q = ? AND line = ? AND (key1, key2, id) < (?, ?, ?)",
            (ledger.q, line, key1, key2, id),
        ).fetchone()[0]
    if line == DELAYED:
        found.reasons.append("delayed")
    if line == SUSPECT:
        found.reasons.append("suspect")
    if line <= DELAYED and ledger.limits.paused is not None:
        found.reasons.append(f"paused: {ledger.limits.paused}".rstrip(": "))
    if line <= DELAYED and expires_at is not None and expires_at <= now:
        found.reasons.append("expired")
    if cancel is not None:
        found.reasons.append("cancel asked")
    return found


def queues(conn: sqlite3.Connection, ns: str) -> list[str]:
    """Names of queues with jobs, schedules, a configuration, or somebody who used them today."""
    found = conn.execute(
        "SELECT name FROM queues WHERE ns = ? AND (rev > 0 OR epoch > 0"
        " OR EXISTS (SELECT 1 FROM jobs WHERE jobs.q = queues.q)"
        " OR EXISTS (SELECT 1 FROM ops WHERE ops.q = queues.q)"
        " OR EXISTS (SELECT 1 FROM schedules WHERE schedules.q = queues.q)) ORDER BY name",
        (ns,),
    )
    return [name for (name,) in found]


def workers(conn: sqlite3.Connection, ns: str, now: int) -> list[WorkerBeat]:
    """Workers whose beat has not run out."""
    found = conn.execute("SELECT beat FROM workers WHERE ns = ? AND until > ? ORDER BY id", (ns, now))
    beats = [orjson.loads(text) for (text,) in found]
    return [WorkerBeat(**{**beat, "queues": tuple(beat["queues"])}) for beat in beats]
