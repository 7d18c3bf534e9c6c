"""How a job ends: its unique key given back, its retention chosen, the oldest of its class removed."""

from __future__ import annotations

from typing import Final

from queuekit.domain.job import Retention
from queuekit.domain.limits import kept_awaited
from queuekit.embedded import uniques
from queuekit.embedded.ledger import CANCELS, DONE, FAILURES
from queuekit.embedded.rows import CANCELLED, COMPLETED, FAILED, OUT, Job, many, retention
from queuekit.embedded.work import Work

TRIMMED: Final = 1000  # a class and call: a lowered limit takes effect over several calls
_TOTAL: Final = {COMPLETED: DONE, FAILED: FAILURES, CANCELLED: CANCELS}


def end(work: Work, job: Job, line: int, *, reason: str | None = None, keep: Retention | None = None,
        **fields: object) -> None:  # fmt: skip
    """End a job on `line` (COMPLETED, FAILED, CANCELLED) and keep it as it, its worker or its queue says."""
    work.ledger.totals[_TOTAL[line]] += 1
    work.ended.append(job.id)
    if job.uniq is not None:
        uniques.free(work, job)
    kept, label = choose(work, job, line, keep)
    if kept.count == 0:
        remove(work, [job])
        return
    own = label is not None
    work.move(job, line + own, work.now, 0, keep=label, reason=reason, cancel=None, origin=None, awaited=0, **fields)
    count(work, line + own, label, 1)


def choose(work: Work, job: Job, line: int, keep: Retention | None) -> tuple[Retention, str | None]:
    """How long an ending job is kept, and its label: its own, else its worker's, else None, the queue's."""
    stored = job.keep_completed if line == COMPLETED else job.keep_failed
    own = keep if stored is None else retention(stored)
    kept = work.ledger.keeps(line == COMPLETED) if own is None else own
    if job.awaited:
        longer = kept_awaited(kept)
        if longer != kept:
            own = kept = longer
    return kept, None if own is None else own.label


def count(work: Work, line: int, label: str | None, jobs: int) -> None:
    """Note that a class grew; one with a label is counted in its own row."""
    work.touched.add((line, label))
    if label is not None:
        work.conn.execute(
            "INSERT INTO labels VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
            (work.ledger.q, line, label, jobs),
        )


def remove(work: Work, jobs: list[Job]) -> None:
    """Delete jobs whatever their state. Their keys are not given back here."""
    counts = work.ledger.counts
    for job in jobs:
        if job.line >= OUT:
            continue
        counts[job.line] -= 1
        if job.keep is not None:
            count(work, job.line, job.keep, -1)
    delete(work, [job.n for job in jobs])


def delete(work: Work, numbers: list[int]) -> None:
    """Delete rows that were counted off already."""
    work.conn.execute("DELETE FROM jobs WHERE n IN (SELECT value FROM json_each(?))", (many(numbers),))


def trim(work: Work) -> None:
    """Remove the oldest jobs over the count of each class that grew; only jobs that carry its limit."""
    for line, label in work.touched:
        trim_class(work, line, label)
    work.touched.clear()


def trim_class(work: Work, line: int, label: str | None) -> int:
    """Remove the oldest over the count of one class; how many."""
    counts, q = work.ledger.counts, work.ledger.q
    if label is None:
        limit = work.ledger.keeps(line == COMPLETED).count
        over = 0 if limit is None else min(counts[line] - limit, TRIMMED)
        if over <= 0:
            return 0
        work.conn.execute(
            "DELETE FROM jobs WHERE n IN (SELECT n FROM jobs WHERE q = ? AND line = ? ORDER BY key1, key2, id LIMIT ?)",
            (q, line, over),
        )
    else:
        limit = retention(label).count
        row = work.conn.execute(
            "SELECT n FROM labels WHERE q = ? AND line = ? AND label = ?", (q, line, label)
        ).fetchone()
        over = 0 if limit is None or row is None else min(row[0] - limit, TRIMMED)
        if over <= 0:
            return 0
        work.conn.execute(
            "DELETE FROM jobs WHERE n IN (SELECT n FROM jobs WHERE q = ? AND line = ? AND keep = ?"
            " ORDER BY key1, id LIMIT ?)",
            (q, line, label, over),
        )
        work.conn.execute("UPDATE labels SET n = n - ? WHERE q = ? AND line = ? AND label = ?", (over, q, line, label))
    counts[line] -= over
    return over
