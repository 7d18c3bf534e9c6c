"""Family produce: enqueue. Everything that refuses a call is found before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from queuekit.domain.job import BATCH_MAX, JobSpec, Retention, limits_error
from queuekit.domain.outcome import Enqueued, Home, Op, Receipt
from queuekit.embedded import ops, uniques
from queuekit.embedded.ledger import ENQUEUED, Ledger
from queuekit.embedded.rows import DELAYED, INLINE, JOB, READY, Job, many, text, unique_text
from queuekit.embedded.work import Work
from queuekit.errors import Arriving, Conflict, InvalidOption, Moved, PayloadTooLarge, QueueFull, Unsupported

_EXISTING: Final = (
    "SELECT json_group_array(id) FROM (SELECT id FROM jobs WHERE q = ? AND id IN (SELECT value FROM json_each(?)))"
)
_INSERT: Final = (
    "INSERT INTO jobs (q, id, line, key1, key2, priority, place, task, version, body, options, created_at, run_at,"
    " since, keep_completed, keep_failed, uniq, expires_at, trace) VALUES "
)
_CHUNKS: Final = tuple((n, _INSERT + ", ".join([f"({', '.join('?' * 19)})"] * n)) for n in (64, 16, 4, 1))


def check(jobs: Sequence[JobSpec], limit: int, within: object | None) -> None:
    """What can be refused without looking."""
    if within is not None:
        raise Unsupported("the embedded store writes within nobody's transaction: leave `within` out")
    if len(jobs) > BATCH_MAX:
        raise InvalidOption(f"{len(jobs)} jobs in one call are over the limit of {BATCH_MAX}")
    for spec in jobs:
        if spec.group is not None:
            raise Unsupported("this store has no groups")
        if len(spec.body) > limit:
            raise PayloadTooLarge(f"job {spec.id}: {limits_error(spec.body, limit)}")


def enqueue(work: Work, jobs: Sequence[JobSpec], op: Op, asked: bool = False) -> Enqueued:
    """Keep jobs that passed `check`."""
    conn, q = work.conn, work.ledger.q
    known = ops.recall(conn, q, op)
    if known is not None:
        again = [Receipt(known.get(str(i), spec.id), str(i) not in known) for i, spec in enumerate(jobs)]
        return Enqueued(now=work.now, receipts=again, replayed=True)
    _open(work.ledger, asked)
    existing = known_ids(work, jobs)
    room(work, jobs, existing)
    rows: list[tuple[object, ...]] = []
    receipts = keep(work, jobs, existing, rows)
    insert(work, rows)
    ops.remember(conn, q, op, work.now, {str(i): r.id for i, r in enumerate(receipts) if not r.created})
    return Enqueued(now=work.now, receipts=receipts)


def known_ids(work: Work, jobs: Sequence[JobSpec]) -> set[str]:
    """Which ids of `jobs` exist."""
    found = work.conn.execute(_EXISTING, (work.ledger.q, many(spec.id for spec in jobs)))
    return set(orjson.loads(found.fetchone()[0]))


def keep(work: Work, jobs: Sequence[JobSpec], existing: set[str], rows: list[tuple[object, ...]]) -> list[Receipt]:
    """What becomes of jobs there is room for. `existing` and `rows` grow; `insert` writes the rows."""
    receipts: list[Receipt] = []
    new = 0
    for spec in jobs:
        if spec.id in existing:
            receipts.append(Receipt(spec.id, False))
            continue
        key = spec.unique
        holder = None if key is None else uniques.holder(work, key.key)
        if holder is not None:
            insert(work, rows)  # the holder may be a job of this very call
            rows.clear()
            _replace(work, holder, spec)
            receipts.append(Receipt(holder, False))
            continue
        if key is not None:
            uniques.take(work, key, spec.id)
        existing.add(spec.id)
        rows.append(_row(work, spec))
        receipts.append(Receipt(spec.id, True))
        new += 1
    work.ledger.totals[ENQUEUED] += new
    return receipts


def _open(ledger: Ledger, asked: bool) -> None:
    """Refuse where the queue takes no jobs, or where its caller must first ask the store that more come from."""
    conf = ledger.conf
    if conf.home in (Home.MOVING, Home.GONE):
        raise Moved(f"queue {ledger.name} is {conf.home}: it lives in {conf.to}", to=conf.to)
    if conf.to is not None and not asked:
        raise Arriving(f"queue {ledger.name}: jobs are still coming from {conf.to}: ask there first", to=conf.to)


def room(work: Work, jobs: Sequence[JobSpec], existing: set[str]) -> None:
    """Refuse the whole call where a key is held and its caller wants an error, or where the queue is full."""
    size = work.ledger.limits.max_size
    if size is None and all(spec.unique is None for spec in jobs):
        return
    new, keys = set[str](), set[str]()
    for spec in jobs:
        if spec.id in existing or spec.id in new:
            continue
        key = spec.unique
        if key is not None and (key.key in keys or uniques.holder(work, key.key) is not None):
            if key.on_conflict == "error":
                raise Conflict(f"job {spec.id}: the unique key {key.key!r} is held")
            continue
        new.add(spec.id)
        if key is not None:
            keys.add(key.key)
    have = sum(work.ledger.counts[: DELAYED + 1])
    if size is not None and new and have + len(new) > size:
        raise QueueFull(f"queue {work.ledger.name}: {have} jobs wait, {len(new)} more are over max_size {size}")


def _due(spec: JobSpec, now: int) -> int | None:
    return spec.run_at if spec.run_at is not None else None if spec.delay is None else now + spec.delay


def _label(keep: Retention | None) -> str | None:
    return None if keep is None else keep.label


def _row(work: Work, spec: JobSpec) -> tuple[object, ...]:
    """The values of `_INSERT`; the job is counted here."""
    now, ledger = work.now, work.ledger
    due = _due(spec, now)
    place = ledger.first() if spec.lifo else ledger.last()
    if due is not None and due > now:
        line, key1, key2 = DELAYED, due, 0
    else:
        line, key1, key2 = READY, spec.priority, place
    ledger.counts[line] += 1
    return (
        ledger.q, spec.id, line, key1, key2, spec.priority, place, spec.task, spec.version,
        spec.body if len(spec.body) <= INLINE else None, spec.options or None, now, due, now,
        _label(spec.keep_completed), _label(spec.keep_failed),
        None if spec.unique is None else unique_text(spec.unique),
        spec.expires_at if spec.expires_in is None else now + spec.expires_in, text(spec.trace),
        spec.body,
    )  # fmt: skip


def insert(work: Work, rows: list[tuple[object, ...]]) -> None:
    """Write new jobs; big bodies go to their own table, so that moving the job does not copy them."""
    if not rows:
        return
    work.wake = True
    at = 0
    for size, insert in _CHUNKS:  # one step of SQLite for many rows, as in `rows.jobs`
        while len(rows) - at >= size:
            work.conn.execute(insert, [value for row in rows[at : at + size] for value in row[:-1]])
            at += size
    big = [(row[-1], row[0], row[1]) for row in rows if row[9] is None]
    if big:
        work.conn.executemany("INSERT INTO bodies (n, body) SELECT n, ? FROM jobs WHERE q = ? AND id = ?", big)


def _replace(work: Work, holder: str, spec: JobSpec) -> None:
    """Debounce: a waiting or delayed holder of the key takes the new job's content and time."""
    key = spec.unique
    if key is None or key.on_conflict != "replace":
        return
    row = work.conn.execute(f"SELECT {JOB} FROM jobs WHERE q = ? AND id = ?", (work.ledger.q, holder)).fetchone()
    if row is None:
        return
    job = Job._make(row)
    if job.line > DELAYED:
        return
    due = _due(spec, work.now)
    if key.max_wait is not None and due is not None:
        due = min(due, job.created_at + key.max_wait)
    place = work.ledger.last()
    fields: dict[str, object] = {
        "task": spec.task, "version": spec.version, "options": spec.options or None, "priority": spec.priority,
        "run_at": due, "place": place, "since": work.now,
    }  # fmt: skip
    if due is not None and due > work.now:
        work.move(job, DELAYED, due, 0, **fields)
    else:
        work.move(job, READY if job.line == DELAYED else job.line, spec.priority, place, **fields)
    rebody(work, job.n, spec.body)
    work.wake = True


def rebody(work: Work, n: int, body: bytes) -> None:
    """Give a job another body."""
    work.conn.execute("DELETE FROM bodies WHERE n = ?", (n,))
    if len(body) > INLINE:
        work.conn.execute("INSERT INTO bodies VALUES (?, ?)", (n, body))
    work.conn.execute("UPDATE jobs SET body = ? WHERE n = ?", (None if len(body) > INLINE else body, n))
