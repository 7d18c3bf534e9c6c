"""How jobs are removed, as pure functions: each names its index. No driver call here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit.domain.state import State
from queuekit_mongo.collections import BY_ID, EXPIRY, JOBS, KEPT, LINE, PART, TIMER, TTL
from queuekit_mongo.documents import GONE, HEAVY, JOB_FIELDS, OWN, STUB_KEPT, SUSPECT, Document, when
from queuekit_mongo.statements import ANY_TIME, TIME_ORDER, WAIT_ORDER, Find, Pipe, Write, ordered, under

REMOVED: Final = ("created_at", "at", "state", "unique_until")  # what a removal asks of a job
# The jobs these statements turn into stubs hold no key for a time: those are removed one by one, as drafts.
NOT_STUB: Final = tuple(name for name in (*JOB_FIELDS, "unique", "unique_until") if name != "state")


def stub(now: int) -> Document:
    """What a stub has that its job had not."""
    return {"state": GONE, "expire_at": when(now + STUB_KEPT)}


def stub_update(now: int) -> Document:
    """Turn removed jobs into stubs, all alike."""
    return {"$set": stub(now), "$unset": dict.fromkeys(NOT_STUB, "")}


def stubs(ids: Sequence[str], state: str, now: int) -> Write:
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": state},
        update=stub_update(now),
        many=True,
        expects=len(ids),
    )


def oldest(queue: str, state: str, limit: int, *, until: int | None = None, keep: str | None = None) -> Find:
    """The jobs of a state, or of one retention class of it, that ended first; with what their removal asks."""
    at: Document = ANY_TIME if until is None else {"$lte": until}
    wanted: Document = {"queue": queue, "part": PART, "state": state, "at": at}
    names: tuple[str, ...] = TIME_ORDER
    if keep is not None:
        wanted["keep"], names = keep, ("queue", "part", "state", "keep", "at", "_id")
    return Find(
        room=JOBS, filter=wanted, index=TIMER if keep is None else KEPT, sort=ordered(*names), limit=limit,
        fields=REMOVED,
    )  # fmt: skip


def delayed_before(queue: str, until: int, limit: int) -> Find:
    """Delayed jobs that were made before a moment, in their order."""
    return Find(
        room=JOBS, index=TIMER,
        filter={"queue": queue, "part": PART, "state": "delayed", "at": ANY_TIME}
        | {"created_at": {"$lte": until}},
        sort=ordered(*TIME_ORDER), limit=limit, fields=REMOVED,
    )  # fmt: skip


def made_before(queue: str, until: int, limit: int) -> Find:
    """Waiting jobs that were made before a moment, in their order."""
    return Find(
        room=JOBS, index=LINE,
        filter={"queue": queue, "part": PART, "line": {"$gte": SUSPECT}, "created_at": {"$lte": until}},
        sort=ordered(*WAIT_ORDER), limit=limit, fields=REMOVED,
    )  # fmt: skip


def classes(queue: str, state: State) -> Pipe:
    """The retention classes that ended jobs of a state carry; the index skips from one to the next."""
    return Pipe(
        room=JOBS, index=KEPT,
        stages=[
            {"$match": {"queue": queue, "part": PART, "state": state + OWN, "keep": {"$gte": ""}}},
            {"$sort": {"queue": 1, "part": 1, "state": 1, "keep": 1}},
            {"$group": {"_id": "$keep"}},
        ],
    )  # fmt: skip


def unstarted(queue: str, now: int, limit: int) -> Find:
    """Jobs that were not started in time."""
    return Find(
        room=JOBS, filter={"queue": queue, "part": PART, "expiry": {"$lte": now}}, index=EXPIRY,
        sort=ordered("queue", "part", "expiry"), limit=limit, without=HEAVY,
    )  # fmt: skip


def dead_stubs(now: int, limit: int) -> Find:
    """Stubs of any queue whose time is over."""
    return Find(
        room=JOBS, filter={"expire_at": {"$lte": when(now)}}, index=TTL, sort=ordered("expire_at"),
        limit=limit, fields=("state",),
    )  # fmt: skip


def dead(ids: Sequence[str], now: int) -> Document:
    """The filter that removes dead stubs: none that lives again."""
    return {"_id": {"$in": list(ids)}, "expire_at": {"$lte": when(now)}}


def everything(prefix: str, limit: int) -> Find:
    """Whatever the jobs collection holds of a queue, stubs included."""
    return Find(room=JOBS, filter={"_id": under(prefix)}, index=BY_ID, limit=limit, fields=("state",))
