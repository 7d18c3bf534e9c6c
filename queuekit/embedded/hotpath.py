"""Family hot path: exchange, renew, recover; and what they do to the lines."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from queuekit.domain.job import BATCH_MAX, JobRecord
from queuekit.domain.outcome import Ask, Exchange, Hold, Home, Op, Outcome, Recovery, Refusal, Renewal
from queuekit.domain.query import Note
from queuekit.domain.state import Line, State
from queuekit.embedded import ends, ops, rows, uniques
from queuekit.embedded.ledger import CRASHED, Ledger
from queuekit.embedded.rows import ACTIVE, CANCELLED, DELAYED, FAILED, READY, SUSPECT, Job, Whole, many
from queuekit.embedded.settle import release, settle
from queuekit.embedded.work import Work
from queuekit.errors import InvalidOption

PROMOTED: Final = 500  # a call
EXPIRED: Final = 500
_NEXT: Final = "SELECT key1 FROM jobs WHERE q = ? AND line = ? ORDER BY key1, key2, id LIMIT 1"
_FIRST: Final = "WHERE q = ? AND line = ? ORDER BY key1, key2, id LIMIT ?"
_DUE: Final = "WHERE q = ? AND line = ? AND key1 <= ? ORDER BY key1, key2, id LIMIT ?"
_LATE: Final = "WHERE q = ? AND line = ? AND key1 > 0 AND key1 <= ? ORDER BY key1, key2, id LIMIT ?"
_PROMOTE: Final = (
    "UPDATE jobs SET line = ?, key1 = priority, key2 = ? + v.key, place = ? + v.key, since = ?, rev = rev + 1"
    " FROM json_each(?) AS v WHERE n = v.value"
)
_CLAIM: Final = (
    "UPDATE jobs SET line = ?, key1 = ?, key2 = 0, rev = rev + 1, claims = claims + 1, token = ?, worker = ?,"
    " claimed_at = ?, origin = ? WHERE n IN (SELECT value FROM json_each(?))"
)


def check(outcomes: Sequence[Outcome], ask: Ask) -> None:
    """What can be refused without looking."""
    if len(outcomes) > BATCH_MAX or ask.want > BATCH_MAX:
        raise InvalidOption(f"an exchange takes at most {BATCH_MAX} outcomes and claims")


def idle(conn: sqlite3.Connection, ledger: Ledger, ask: Ask, now: int, *, again: bool = False) -> Exchange | None:
    """The answer of an exchange that has nothing to write, else None: an idle worker must not write.

    Each write makes every process that waits look up; idle ones would keep each other awake. `again`: this very call
    was answered so before.
    """
    reply = _tail(conn, ledger, ask, now)
    if again:
        reply.replayed = True
        return reply
    here = reply.home is Home.HERE
    due = here and reply.next_at is not None and reply.next_at <= now
    ready = ledger.counts[READY] + (ledger.counts[SUSPECT] if ask.suspect else 0)
    claimable = ask.want > 0 and ready > 0 and reply.paused is None and here
    return None if due or claimable else reply


def exchange(work: Work, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
    """Settle, promote, claim."""
    conn, ledger = work.conn, work.ledger
    known = ops.recall(conn, ledger.q, op)
    if known is not None:
        claims = _again(work, known["claims"], op.token)
        refused = [(job, Refusal(no)) for job, no in known["refused"]]
        reply = _tail(conn, ledger, ask, work.now, held=any(claim.line is Line.SUSPECT for claim in claims))
        reply.claims, reply.refused, reply.replayed = claims, refused, True
        return reply
    refused = settle(work, outcomes)
    claims, suspect = [], False
    here = ledger.conf.home is Home.HERE
    if here:
        promote(work)
    if here and ledger.limits.paused is None:
        if ask.suspect and ask.want > 0 and ledger.counts[SUSPECT]:
            claims = _claim(work, SUSPECT, 1, op, ask)
            suspect = bool(claims)
        claims += _claim(work, READY, ask.want - len(claims), op, ask)
    ends.trim(work)
    answer = {"claims": [claim.id for claim in claims], "refused": [(job, no.value) for job, no in refused]}
    ops.remember(conn, ledger.q, op, work.now, answer)
    reply = _tail(conn, ledger, ask, work.now, held=suspect)
    reply.claims, reply.refused = claims, refused
    work.wake = work.wake or reply.more
    return reply


def _tail(conn: sqlite3.Connection, ledger: Ledger, ask: Ask, now: int, *, held: bool = False) -> Exchange:
    """What every exchange tells besides claims. `held`: a suspect was just given, the next must wait for its end."""
    reply = Exchange(now=now, paused=ledger.limits.paused, home=ledger.conf.home, to=ledger.conf.to)
    if ledger.counts[DELAYED]:
        reply.next_at = conn.execute(_NEXT, (ledger.q, DELAYED)).fetchone()[0]
    due = reply.next_at is not None and reply.next_at <= now
    left = ledger.counts[READY] or (ledger.counts[SUSPECT] and ask.suspect and not held)
    reply.more = reply.paused is None and reply.home is Home.HERE and bool(due or left)
    return reply


def _again(work: Work, ids: list[str], token: str) -> list[JobRecord]:
    """The claims of a repeated call that are still held, in their order."""
    tail = "WHERE q = ? AND id IN (SELECT value FROM json_each(?)) AND line = ? AND token = ?"
    found = rows.wholes(work.conn, tail, (work.ledger.q, many(ids), ACTIVE, token))
    held = {job.id: job for job in rows.records(work.conn, work.ledger.name, found)}
    return [held[name] for name in ids if name in held]


def promote(work: Work) -> None:
    """Delayed jobs whose time has come, in order (run_at, id), to the back of their priority."""
    if not work.ledger.counts[DELAYED]:
        return
    due = rows.jobs(work.conn, _DUE, (work.ledger.q, DELAYED, work.now, PROMOTED))
    moved = []
    for job in sorted(due, key=lambda job: (job.key1, job.id)):
        if job.expires_at is not None and job.expires_at <= work.now:
            ends.end(work, job, CANCELLED, reason="expired")
        else:
            moved.append(job.n)
    if moved:
        place = work.ledger.last(len(moved))
        work.conn.execute(_PROMOTE, (READY, place, place, work.now, many(moved)))
        work.ledger.counts[DELAYED] -= len(moved)
        work.ledger.counts[READY] += len(moved)


def _claim(work: Work, line: int, want: int, op: Op, ask: Ask) -> list[JobRecord]:
    """Up to `want` jobs of a line become active; those that expired are cancelled on the way, a bounded number."""
    ledger, now = work.ledger, work.now
    claims: list[JobRecord] = []
    passed = 0
    while want > 0 and passed < EXPIRED and ledger.counts[line]:
        read = rows.whole if want == 1 else rows.wholes
        found = read(work.conn, _FIRST, (ledger.q, line, want))
        live = [row for row in found if row.expires_at is None or row.expires_at > now]
        if len(live) < len(found):
            late = [row.id for row in found if row.expires_at is not None and row.expires_at <= now]
            gone = rows.by_id(work.conn, ledger.q, late)
            for job in gone.values():
                ends.end(work, job, CANCELLED, reason="expired")
            passed += len(gone)
        if live:
            claims += _activate(work, live, line, op, ask)
            want -= len(live)
    return claims


def _activate(work: Work, found: list[Whole], line: int, op: Op, ask: Ask) -> list[JobRecord]:
    now, until, token, worker = work.now, work.now + ask.lease, op.token, rows.text(ask.worker)
    work.conn.execute(_CLAIM, (ACTIVE, until, token, worker, now, line, many(row.n for row in found)))
    work.ledger.counts[line] -= len(found)
    work.ledger.counts[ACTIVE] += len(found)
    mine = sorted(found, key=lambda row: (row.priority, row.place, row.id))
    for row in mine:
        if row.uniq is not None:
            uniques.started(work, row.id, row.uniq)
    jobs = rows.records(work.conn, work.ledger.name, mine)
    for job in jobs:  # as the statement above left them; `line` stays the one they came from
        job.state, job.lease_until, job.token, job.worker, job.claimed_at = State.ACTIVE, until, token, worker, now
        job.rev, job.claims = job.rev + 1, job.claims + 1
    return jobs


def renew(work: Work, holds: Sequence[Hold], lease: int, actor: str, upto: int) -> Renewal:
    """Extend claims; what is lost, to be cancelled, or held without being named."""
    conn, q, until = work.conn, work.ledger.q, work.now + lease
    reply = Renewal(now=work.now, lease_until=until)
    found = rows.by_id(conn, q, [hold.id for hold in holds])
    kept = []
    for hold in holds:
        job = found.get(hold.id)
        if job is None or job.line != ACTIVE or job.token != hold.token:
            reply.lost.append(hold.id)
            continue
        kept.append(job.n)
        work.note(job, Note(progress=hold.progress, logs=hold.logs, start=hold.start))
        if job.cancel is not None:
            reply.cancels[hold.id] = job.cancel
    if kept:
        conn.execute("UPDATE jobs SET key1 = ? WHERE n IN (SELECT value FROM json_each(?))", (until, many(kept)))
    if actor:
        named = {(hold.id, hold.token) for hold in holds}
        mine = conn.execute(
            "SELECT id, token FROM jobs WHERE q = ? AND line = ? AND token > ? AND token < ? ORDER BY key1, key2, id",
            (q, ACTIVE, f"{actor}:", f"{actor};"),
        )
        reply.strays = [held for held in mine if held not in named and int(held[1].rpartition(":")[2]) <= upto]
    return reply


def recover(work: Work, limit: int, every: int) -> Recovery:
    """Take jobs from workers that went silent, unless everybody was away."""
    ledger, now = work.ledger, work.now
    ledger.watch = ledger.watch.called(now, every)
    reply = Recovery(now=now, grace_until=ledger.watch.grace)
    if reply.grace_until is not None:
        return reply
    expired = rows.jobs(work.conn, _LATE, (ledger.q, ACTIVE, now, limit + 1))
    expired.sort(key=lambda job: (job.key1, job.id))
    for job in expired[:limit]:
        _lose(work, job, reply)
    ends.trim(work)
    reply.more = len(expired) > limit
    return reply


def _lose(work: Work, job: Job, reply: Recovery) -> None:
    if job.cancel is not None:
        ends.end(work, job, CANCELLED, reason=job.cancel)
        reply.cancelled.append(job.id)
        return
    crashes = job.crashes
    if job.origin == SUSPECT or crashes == 0:
        crashes += 1
        work.ledger.totals[CRASHED] += 1
    if crashes >= work.ledger.conf.max_crashes:
        ends.end(work, job, FAILED, reason="crash_loop", crashes=crashes)
        reply.crashed.append(job.id)
        return
    release(work, job, SUSPECT, crashes=crashes)
    reply.suspects.append(job.id)
