"""Unique keys: who holds one, taking it, giving it back. A key held by time outlives its job."""

from __future__ import annotations

from queuekit.domain.job import UniqueKey
from queuekit.embedded.rows import Job, unique
from queuekit.embedded.work import Work


def holder(work: Work, key: str) -> str | None:
    """The id of the job that holds a key now."""
    row = work.conn.execute(
        "SELECT id FROM uniques WHERE q = ? AND key = ? AND (expires IS NULL OR expires > ?)",
        (work.ledger.q, key, work.now),
    ).fetchone()
    return None if row is None else str(row[0])


def take(work: Work, key: UniqueKey, id: str) -> None:
    """Let a job hold a key that nobody holds now."""
    expires = work.now + (key.ttl or 0) if key.until == "time" else None
    work.conn.execute(
        "INSERT OR REPLACE INTO uniques VALUES (?, ?, ?, ?, ?)", (work.ledger.q, key.key, id, key.until, expires)
    )


def free(work: Work, job: Job) -> None:
    """Give the key of an ended or deleted job back, unless it is held by time."""
    if job.uniq is not None:
        work.conn.execute(
            "DELETE FROM uniques WHERE q = ? AND key = ? AND id = ? AND until != 'time'",
            (work.ledger.q, unique(job.uniq).key, job.id),
        )


def started(work: Work, id: str, uniq: str) -> None:
    """Give back the key of a claimed job where it is held until the start."""
    key = unique(uniq)
    if key.until == "started":
        work.conn.execute(
            "DELETE FROM uniques WHERE q = ? AND key = ? AND id = ? AND until = 'started'",
            (work.ledger.q, key.key, id),
        )


def retake(work: Work, job: Job) -> bool:
    """Let a job retried by a person hold its key again; False where another job holds it."""
    if job.uniq is None:
        return True
    key = unique(job.uniq)
    now = holder(work, key.key)
    if now is None and key.until != "time":
        take(work, key, job.id)
    return now is None or now == job.id
