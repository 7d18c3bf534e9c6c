"""Replies to values, and the driver's errors by meaning. Nothing here talks to a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from redis import exceptions as rx

from queuekit.domain.outcome import Ask, Enqueued, Exchange, Home, Op, Outcome, Receipt, Recovery, Refusal, Renewal
from queuekit.domain.query import Changed, Counts, No, Totals
from queuekit.domain.state import State
from queuekit.errors import Arriving, Conflict, Moved, QueueFull, QueueKitError, Stale, StoreError, StoreUnavailable
from queuekit_redis.fresh import fresh
from queuekit_redis.records import RUN_LEAST, STATES, record, taken

_REFUSALS: Final = {b"l": Refusal.LOST, b"g": Refusal.GONE, b"i": Refusal.ILLEGAL, b"t": Refusal.TOO_LARGE}
_NOS: Final = {b"g": No.GONE, b"i": No.ILLEGAL, b"c": No.CHANGED, b"h": No.HELD, b"m": No.MOVED}
_AWAY: Final = (
    "LOADING", "BUSY", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOTREADY",
    "MOVED", "ASK", "UNBLOCKED",
)  # fmt: skip
_AWAY_TYPES: Final = (
    rx.BusyLoadingError, rx.ReadOnlyError, rx.ClusterDownError, rx.TryAgainError, rx.MovedError, rx.AskError,
)  # fmt: skip
_IN_SCRIPT: Final = re.compile(r"^(?:ERR )?Error running script .*: -([A-Z]+) ", re.DOTALL)
_SECRET: Final = re.compile(r"://[^\s/]*@")


class Forbidden(StoreUnavailable):
    """The server knows the user, who lacks a permission."""


def redact(url: str) -> str:
    """A URL that may be shown: no password, no user, no query."""
    return _SECRET.sub(r"://***@", url).partition("?")[0]


def translate(error: Exception, where: str, *, sent: bool) -> StoreError:
    """The driver's error as one of ours; `sent` says whether the call had left when it came."""
    text = f"{error}" or type(error).__name__
    if isinstance(error, rx.NoPermissionError) or _code(text) == "NOPERM":
        return Forbidden(f"Redis at {where} forbids this user a command that is needed: {text}", outcome="refused")
    if isinstance(error, rx.AuthenticationError | rx.AuthorizationError):
        return StoreUnavailable(f"Redis at {where} refuses the login: {text}", outcome="refused")
    if isinstance(error, rx.OutOfMemoryError) or _code(text) == "OOM":
        return QueueFull(f"Redis at {where} is out of memory (maxmemory reached); nothing was written")
    if isinstance(error, _AWAY_TYPES) or _code(text) in _AWAY:
        return StoreUnavailable(f"Redis at {where} cannot serve now: {text}", outcome="refused")
    if isinstance(error, rx.ConnectionError | rx.TimeoutError | OSError):
        what = "gave no answer" if sent else "cannot be reached"
        return StoreUnavailable(f"Redis at {where} {what}: {text}", outcome="unknown" if sent else "refused")
    return StoreError(f"Redis at {where}: {text}")


def _code(text: str) -> str:
    """The word an error begins with; Redis 6.2 wraps that of a command inside a script into a sentence."""
    wrapped = _IN_SCRIPT.search(text)
    return wrapped[1] if wrapped else text.partition(" ")[0]


def number(value: bytes | int | None) -> int | None:
    """A number that may be none."""
    return None if value is None else int(value)


def home_of(value: bytes | None) -> Home:
    return Home.HERE if value is None else Home(value.decode())


def stale(op: Op, last: int) -> Stale:
    return Stale(f"call {op.n} of {op.actor} comes after its call {last}: it had no effect")


def moved(queue: str, home: bytes, to: bytes | None) -> Moved:
    target = to.decode() if to else None
    return Moved(f"queue {queue} is {home.decode()}: it lives in {target or 'another store'}", to=target)


def arriving(queue: str, to: bytes) -> Arriving:
    source = to.decode()
    return Arriving(f"queue {queue}: jobs are still coming from {source}: ask there first", to=source)


def enqueued(queue: str, op: Op, names: Sequence[str], reply: Any) -> Enqueued:
    """The answer of enqueue.lua. Raises what refuses the whole call."""
    code = reply[0]
    if code <= 1:
        if not reply[2]:
            receipts = [Receipt(name, True) for name in names]
        else:
            known = reply[2].decode().split(",")
            pairs = zip(names, known, strict=True)
            receipts = [Receipt(name if was in ("+", "=") else was, was == "+") for name, was in pairs]
        return Enqueued(now=reply[1], receipts=receipts, replayed=code == 1)
    raise refused(queue, op, reply)


def refused(queue: str, op: Op, reply: Any) -> QueueKitError:
    """What enqueue.lua or plan.lua says of a call it did not apply."""
    if reply[0] == 2:
        return stale(op, reply[1])
    if reply[0] == 3:
        return moved(queue, reply[1], reply[2])
    if reply[0] == 4:
        return QueueFull(f"queue {queue}: {reply[1]} jobs wait, more are over max_size {reply[2]}; nothing was written")
    if reply[0] == 6:
        return arriving(queue, reply[1])
    return Conflict(f"job {reply[1].decode()}: the unique key {reply[2].decode()!r} is held; nothing was written")


def exchanged(queue: str, op: Op, ask: Ask, outcomes: Sequence[Outcome], reply: Any) -> Exchange:
    """The answer of exchange.lua."""
    if reply[0] == 2:
        raise stale(op, reply[1])
    code, now, next_at, more, paused, home, to, refused, ids, entries, runs, extras, leases = reply
    answer = Exchange(now=now, next_at=next_at, more=more == 1, paused=None if paused is None else taken(paused) or "")
    answer.replayed = code == 1
    if home is not None or to is not None:
        answer.home, answer.to = home_of(home), to.decode() if to else None
    claims, common = answer.claims, (op.token, now, now + ask.lease, ask.worker)
    for i, name in enumerate(ids):
        run = runs[i]
        if len(run) < RUN_LEAST:
            claims.append(fresh(queue, name.decode(), entries[i], run, common))
        else:
            claims.append(record(queue, name.decode(), (entries[i], run, extras[i], leases[i])))
    if refused:
        whys = [(refused[i].decode(), _REFUSALS[refused[i + 1]]) for i in range(0, len(refused), 2)]
        # the first, where one id stands twice
        place = {outcome.id: i for i, outcome in reversed(list(enumerate(outcomes)))}
        answer.refused = sorted(whys, key=lambda why: place.get(why[0], 0))
    return answer


def renewed(reply: Any) -> Renewal:
    now, until, lost, cancels = reply
    pairs = {cancels[i].decode(): cancels[i + 1].decode() for i in range(0, len(cancels), 2)}
    return Renewal(now=now, lease_until=until, lost=[name.decode() for name in lost], cancels=pairs)


def recovered(reply: Any) -> Recovery:
    now, suspects, crashed, cancelled, grace, more, calm = reply
    lists = [[name.decode() for name in part] for part in (suspects, crashed, cancelled)]
    return Recovery(
        now=now, suspects=lists[0], crashed=lists[1], cancelled=lists[2], grace_until=grace, more=more == 1,
        calm=calm == 1,
    )  # fmt: skip


def changed(queue: str, op: Op, names: Sequence[str], reply: Any) -> list[Changed]:
    """The answer of change.lua."""
    if reply[0] == 2:
        raise stale(op, reply[1])
    answers = reply[1].split(b",") if reply[1] else []
    return [
        Changed(
            id=name, ok=answer[:1] == b"o", no=_NOS.get(answer[:1]),
            state=STATES[int(answer[1:])] if answer[1:] != b"0" else None,
        )
        for name, answer in zip(names, answers, strict=True)
    ]  # fmt: skip


def counted(reply: Any) -> Counts:
    """The answer of count.lua."""
    now, ready, suspect, delayed, blocked, active, parked, completed, failed, cancelled, oldest = reply[:11]
    paused, *totals = reply[11:]
    enqueued, done, lost, retried, crashed, dropped, released = (int(total or 0) for total in totals)
    return Counts(
        now=now,
        states={
            State.WAITING: ready + suspect, State.DELAYED: delayed, State.BLOCKED: blocked, State.ACTIVE: active,
            State.PARKED: parked, State.COMPLETED: completed, State.FAILED: failed, State.CANCELLED: cancelled,
        },
        suspect=suspect, oldest_waiting=None if oldest is None else now - oldest,
        paused=None if paused is None else taken(paused) or "",
        totals=Totals(
            enqueued=enqueued, completed=done, failed=lost, retried=retried, crashed=crashed, cancelled=dropped,
            released=released,
        ),
    )  # fmt: skip
