"""Outcomes: each applied alone, or refused. The ends themselves are in `ends`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from queuekit.domain.outcome import Kind, Outcome, Refusal
from queuekit.domain.query import Note
from queuekit.embedded import ends, rows
from queuekit.embedded.ledger import DONE, RELEASED, RETRIED
from queuekit.embedded.rows import ACTIVE, CANCELLED, COMPLETED, COMPLETED_OWN, FAILED, PARKED, READY, Job
from queuekit.embedded.work import Work

_ENDS: Final = {Kind.COMPLETED: COMPLETED, Kind.FAILED: FAILED, Kind.CANCELLED: CANCELLED}
_GIVES_WAY: Final = frozenset({Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.PARKED})  # to a cancel that was asked
_KNOWN: Final = _GIVES_WAY | _ENDS.keys()
_SAME: Final = 4  # different results up to which each is written by one statement
_COMPLETE: Final = "UPDATE jobs SET line = ?, key1 = ?, key2 = 0, rev = rev + 1, origin = NULL, awaited = 0, keep = ?"
_CHUNKS: Final = (64, 16, 4, 1)  # few sizes: each is a statement that SQLite keeps prepared


def settle(work: Work, outcomes: Sequence[Outcome]) -> list[tuple[str, Refusal]]:
    """Apply outcomes; which were refused, and why."""
    if not outcomes:
        return []
    found: dict[str, Job | None] = {**rows.by_id(work.conn, work.ledger.q, [outcome.id for outcome in outcomes])}
    refused: list[tuple[str, Refusal]] = []
    plain: list[tuple[Job, Outcome]] = []
    seen = set[str]()
    for outcome in outcomes:
        if outcome.id in seen:  # twice in one call: look again at what the first one did
            _complete(work, plain)
            plain = []
            found[outcome.id] = rows.by_id(work.conn, work.ledger.q, [outcome.id]).get(outcome.id)
        seen.add(outcome.id)
        job = found.get(outcome.id)
        no = _refusal(outcome, job, work.limit)
        if job is None or no is not None:
            refused.append((outcome.id, no or Refusal.GONE))
        elif _plain(outcome, job):
            plain.append((job, outcome))
        else:
            _apply(work, outcome, job)
    _complete(work, plain)
    ends.trim(work)
    return refused


def _refusal(outcome: Outcome, job: Job | None, limit: int) -> Refusal | None:
    if job is None:
        return Refusal.GONE
    if job.line != ACTIVE or job.token != outcome.token:
        return Refusal.LOST
    if outcome.kind not in _KNOWN:
        return Refusal.ILLEGAL
    if outcome.result is not None and len(outcome.result) > limit:
        return Refusal.TOO_LARGE
    return None


def _plain(outcome: Outcome, job: Job) -> bool:
    """Whether this is a completion with nothing beside it: those are written together."""
    return (
        outcome.kind is Kind.COMPLETED and job.uniq is None and job.cancel is None and outcome.progress is None
        and not outcome.logs and outcome.error is None and outcome.reason is None
    )  # fmt: skip


def _complete(work: Work, plain: list[tuple[Job, Outcome]]) -> None:
    """End plain completions, one statement for those that are kept alike."""
    if not plain:
        return
    ledger = work.ledger
    ledger.totals[DONE] += len(plain)
    ledger.counts[ACTIVE] -= len(plain)
    work.ended += [job.id for job, _ in plain]
    gone: list[int] = []
    kept: dict[str | None, list[tuple[int, bytes | None]]] = {}
    for job, outcome in plain:
        keep, label = ends.choose(work, job, COMPLETED, outcome.keep)
        if keep.count == 0:
            gone.append(job.n)
        else:
            kept.setdefault(label, []).append((job.n, outcome.result))
    if gone:
        ends.delete(work, gone)
    for label, alike in kept.items():
        line = COMPLETED if label is None else COMPLETED_OWN
        ledger.counts[line] += len(alike)
        ends.count(work, line, label, len(alike))
        _write(work, (line, work.now, label), alike)


def _write(work: Work, head: tuple[int, int, str | None], alike: list[tuple[int, bytes | None]]) -> None:
    """The rows of completed jobs of one class."""
    same: dict[bytes | None, list[int]] = {}
    for n, result in alike:
        same.setdefault(result, []).append(n)
    if len(same) <= _SAME:
        for result, numbers in same.items():
            text = f"{_COMPLETE}, result = ? WHERE n IN (SELECT value FROM json_each(?))"
            work.conn.execute(text, (*head, result, rows.many(numbers)))
        return
    at = 0
    for size in _CHUNKS:
        pairs = ", ".join(["(?, ?)"] * size)
        text = f"{_COMPLETE}, result = v.column2 FROM (VALUES {pairs}) AS v WHERE n = v.column1"
        while len(alike) - at >= size:
            work.conn.execute(text, (*head, *chain.from_iterable(alike[at : at + size])))
            at += size


def _apply(work: Work, outcome: Outcome, job: Job) -> None:
    work.note(job, Note(progress=outcome.progress, logs=outcome.logs, start=outcome.start), outcome.error)
    kind, reason = outcome.kind, rows.text(outcome.reason)
    if job.cancel is not None and kind in _GIVES_WAY:
        kind, reason = Kind.CANCELLED, job.cancel
    if kind is Kind.COMPLETED:
        ends.end(work, job, COMPLETED, reason=reason, keep=outcome.keep, result=outcome.result)
    elif kind in _ENDS:
        ends.end(work, job, _ENDS[kind], reason=reason, keep=outcome.keep)
    elif kind is Kind.RELEASED:
        release(work, job)
        work.ledger.totals[RELEASED] += 1
    elif kind is Kind.PARKED:
        work.move(job, PARKED, work.now, 0, token=None, reason=reason, origin=None, since=work.now)
    else:
        due = outcome.at if outcome.at is not None else work.now + (outcome.delay or 0)
        if kind is Kind.RETRY:
            work.wait_or_delay(job, READY, due, failures=job.failures + 1)
            work.ledger.totals[RETRIED] += 1
        else:
            work.wait_or_delay(job, READY, due, snoozes=job.snoozes + 1)


def release(work: Work, job: Job, line: int | None = None, **fields: object) -> None:
    """Give a job its old place back, on the line it was claimed from or on `line`."""
    back = line if line is not None else job.origin or READY
    work.move(job, back, job.priority, job.place, token=None, origin=None, since=work.now, **fields)
    work.wake = True
