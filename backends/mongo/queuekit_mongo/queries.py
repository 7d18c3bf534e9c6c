"""Every filter, update and pipeline as a pure function; each names the index it needs. No driver call here.

Updates are classic ones wherever they can be: their values are never evaluated. The few pipelines let values of users
in through `literal` only, which a test asserts for this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from queuekit.domain.job import Retention
from queuekit.domain.state import LIVE, TERMINAL, State
from queuekit_mongo.collections import BY_ID, EXPIRY, JOBS, KEPT, LINE, PART, QUEUES, STORE, TIMER, TTL, UNIQUE, WORKERS
from queuekit_mongo.documents import (
    GONE,
    JOB_FIELDS,
    OWN,
    READY,
    STUB_KEPT,
    SUSPECT,
    Document,
    binary,
    when,
)

UP: Final = 1
DOWN: Final = -1
_ORDER: Final = ("priority", "place", "_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """A read of whole documents, or of some fields."""

    room: str
    filter: Document
    index: str
    sort: tuple[tuple[str, int], ...] = ()
    limit: int = 0
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipe:
    """A read through an aggregation."""

    room: str
    stages: list[Document]
    index: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One update statement; several ride in one command."""

    filter: Document
    update: Document | list[Document]
    index: str = BY_ID
    many: bool = False
    upsert: bool = False
    expects: int = 1  # documents it meets where nobody was faster


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Candidates that one statement claims: documents alike in what the claim compares and removes."""

    line: int
    rev: int
    frees: bool  # gives a unique key back now
    expires: bool  # may not expire any more
    ids: list[str] = field(default_factory=list)


def literal(value: object) -> Document:
    """A value as it is, inside a pipeline: the only way in for what a user wrote (reliability.md 4.2)."""
    return {"$literal": value}


# ------------------------------------------------------------------ heads and candidates


def head(jobs: str, queue: str) -> Pipe:
    """The store's time, the queue's own document, and when its earliest delayed job is due: one round trip.

    The document of the store is always there, so the time is too; `$unionWith` reads the other collection.
    """
    return Pipe(
        room=QUEUES, index=BY_ID,
        stages=[
            {"$match": {"_id": {"$in": [STORE, queue]}}},
            {"$set": {"now": {"$toLong": "$$NOW"}}},
            {"$unionWith": {"coll": jobs, "pipeline": [
                {"$match": {"queue": queue, "part": PART, "state": "delayed", "at": {"$exists": True}}},
                {"$sort": {"queue": 1, "part": 1, "state": 1, "at": 1, "_id": 1}},
                {"$limit": 1},
                {"$project": {"_id": 0, "due": "$at"}},
            ]}},
        ],
    )  # fmt: skip


def now() -> Pipe:
    """The store's own document with the store's time."""
    return Pipe(
        room=QUEUES,
        index=BY_ID,
        stages=[{"$match": {"_id": STORE}}, {"$set": {"now": {"$toLong": "$$NOW"}}}],
    )


def candidates(queue: str, limit: int, *, suspects: bool) -> Find:
    """Whole documents of the jobs that may be claimed, in order; suspects, where asked, before all others."""
    line: object = {"$gte": SUSPECT, "$lte": READY} if suspects else READY
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "line": line},
        index=LINE,
        sort=_sorted("line", *_ORDER),
        limit=limit,
    )


def candidates_behind(queue: str, limit: int, *, priority: int, place: int) -> Find:
    """As `candidates` of the ready line, from behind a place on: skips what the index remembers of claimed jobs."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "line": READY, "priority": priority, "place": {"$gt": place}},
        index=LINE,
        sort=_sorted("line", *_ORDER),
        limit=limit,
    )


def claim(group: Group, *, epoch: int, token: str, now: int, lease: int, worker: str) -> Write:
    """Give a group of candidates to a worker, as far as they are still what the worker saw.

    `rev` in the filter makes reading them back unnecessary: whoever changed one meanwhile raised it.
    """
    said: Document = {"state": "active", "token": token, "at": now + lease, "claimed_at": now, "worker": worker}
    if group.line == SUSPECT:
        said["was"] = SUSPECT
    gone: Document = {"line": ""}
    if group.frees:
        gone["unique"] = ""
    if group.expires:
        gone["expiry"] = ""
    return Write(
        filter={"_id": {"$in": group.ids}, "line": group.line, "rev": group.rev, "epoch": epoch},
        update={"$set": said, "$unset": gone, "$inc": {"rev": 1, "claims": 1}},
        many=True,
        expects=len(group.ids),
    )


def held(queue: str, token: str) -> Find:
    """The claims of one call: what its worker would have been told."""
    return Find(
        room=JOBS,
        filter=_active(queue) | {"token": token},
        index=TIMER,
    )


def held_by(queue: str, actor: str) -> Find:
    """Ids and tokens of all claims of an actor; reads index keys of the queue's active jobs only."""
    return Find(
        room=JOBS,
        filter=_active(queue) | {"token": {"$gt": f"{actor}:", "$lt": f"{actor};"}},
        index=TIMER,
        fields=("token",),
    )


# ------------------------------------------------------------------ settling


def complete(
    ids: Sequence[str], token: str, *, op: str, now: int, result: bytes | None, keep: Retention | None
) -> Write:
    """Complete runs of one token alike in everything; jobs whose end needs care (`care`) are not met."""
    if keep is not None and keep.count == 0:
        gone = dict.fromkeys(_NOT_STUB, "")
        return _complete(ids, token, {"$set": _stub(now) | {"settled": op}, "$unset": gone})
    said: Document = {"state": "completed", "at": now, "settled": op}
    if keep is not None:
        said |= {"state": "completed" + OWN, "keep": keep.label}
    if result is not None:
        said["result"] = binary(result)
    dropped = {"cancel": "", "was": "", "reason": ""}
    return _complete(ids, token, {"$set": said, "$unset": dropped, "$inc": {"rev": 1}})


def _complete(ids: Sequence[str], token: str, update: Document) -> Write:
    one = len(ids) == 1
    return Write(
        filter={
            "_id": ids[0] if one else {"$in": list(ids)},
            "token": token,
            "state": "active",
            "care": {"$exists": False},
        },
        update=update,
        many=not one,
        expects=len(ids),
    )


def drafted(old: Mapping[str, Any], update: Document) -> Write:
    """What a draft says, while the document is the one it was made from."""
    return Write(
        filter={"_id": old["_id"], "state": old["state"], "rev": old["rev"]},
        update=update,
    )


def lost(old: Mapping[str, Any], update: Document) -> Write:
    """As `drafted`, and nobody renewed the lease meanwhile: renewing raises no `rev`."""
    return Write(
        filter={"_id": old["_id"], "state": "active", "rev": old["rev"], "at": old["at"]},
        update=update,
    )


def add_totals(id: str, counts: Mapping[str, int]) -> Write:
    """Raise a queue's totals; the names are those of `Totals`, never of a user."""
    return Write(filter={"_id": id}, update={"$inc": dict(counts)}, upsert=True)


# ------------------------------------------------------------------ leases


def renew(ids: Sequence[str], token: str, until: int) -> Write:
    return Write(
        filter={"_id": {"$in": list(ids)}, "token": token, "state": "active"},
        update={"$set": {"at": until}},
        many=True,
        expects=len(ids),
    )


def note(id: str, token: str, *, until: int | None, progress: bytes | None, logs: Sequence[bytes], kept: int) -> Write:
    """Keep what a handler reported, and renew its lease where `until` is given."""
    update: Document = {}
    said: Document = {}
    if until is not None:
        said["at"] = until
    if progress is not None:
        said["progress"] = binary(progress)
    if said:
        update["$set"] = said
    if logs:
        update["$push"] = {"logs": {"$each": [binary(line) for line in logs], "$slice": -kept}}
    return Write(filter={"_id": id, "token": token, "state": "active"}, update=update)


def expired_leases(queue: str, now: int, limit: int) -> Find:
    return Find(
        room=JOBS,
        filter=_active(queue) | {"at": {"$lte": now}},
        index=TIMER,
        sort=_sorted("queue", "part", "state", "at", "_id"),
        limit=limit,
    )


def seen(queue: str, *, before: int | None, now: int, grace_until: int | None) -> Write:
    """Note a recovery, if nobody else did since the queue's document was read."""
    update: Document = {"$set": {"seen": now}}
    if grace_until is None:
        update["$unset"] = {"grace_until": ""}
    else:
        update["$set"]["grace_until"] = grace_until
    return Write(filter={"_id": queue, "seen": {"$exists": False} if before is None else before}, update=update)


# ------------------------------------------------------------------ delayed


def due(queue: str, now: int, limit: int) -> Find:
    """Whole documents of delayed jobs whose time has come, in order."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "state": "delayed", "at": {"$exists": True, "$lte": now}},
        index=TIMER,
        sort=_sorted("queue", "part", "state", "at", "_id"),
        limit=limit,
    )


def next_due(queue: str) -> Find:
    """When the earliest delayed job is due."""
    return Find(
        room=JOBS,
        filter=timed(queue, "delayed"),
        index=TIMER,
        sort=_sorted("queue", "part", "state", "at", "_id"),
        limit=1,
        fields=("at",),
    )


def promote(ids: Sequence[str], *, first: int, now: int) -> Write:
    """Let due jobs wait, at places from `first` on in the order of `ids`: one statement instead of one a job."""
    place = {"$add": [first, {"$indexOfArray": [literal(list(ids)), "$_id"]}]}
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": "delayed", "at": {"$lte": now}},
        update=[
            {"$set": {"state": "waiting", "line": READY, "place": place, "rev": {"$add": ["$rev", 1]}}},
            {"$unset": "at"},
        ],
        many=True,
        expects=len(ids),
    )


# ------------------------------------------------------------------ producing


def known(ids: Sequence[str], fields: tuple[str, ...] = ()) -> Find:
    return Find(room=JOBS, filter={"_id": {"$in": list(ids)}}, index=BY_ID, fields=fields)


def holders(queue: str, keys: Sequence[str]) -> Find:
    """Whole documents that stand in the unique index for one of these keys."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "unique": {"$in": list(keys), "$exists": True}},
        index=UNIQUE,
    )


def free_key(holder: Mapping[str, Any]) -> Write:
    """Take a key from a document whose time with it is over."""
    return Write(
        filter={"_id": holder["_id"], "unique": holder["unique"], "unique_until": holder["unique_until"]},
        update={"$unset": {"unique": "", "unique_until": ""}},
    )


def revive_stub(stub: Mapping[str, Any], doc: Document) -> Write:
    """Put a new job where a stub stands; `doc` is whole, so all that the stub held is unset."""
    said = {k: v for k, v in doc.items() if k != "_id"}
    gone = {k: "" for k in stub if k not in doc}
    there = {"_id": stub["_id"], "state": GONE, "expire_at": stub["expire_at"]}
    return Write(filter=there, update={"$set": said, "$unset": gone})


def withdraw(ids: Sequence[str], op: str) -> Document:
    """Of a call that must leave nothing: its jobs that nobody started."""
    return {"_id": {"$in": list(ids)}, "op": op, "claims": {"$exists": False}, "settled": {"$exists": False}}


def filling(queue: str) -> tuple[Find, Find]:
    """What counts against `max_size`: waiting and delayed jobs."""
    return (
        Find(room=JOBS, filter=waiting(queue), index=LINE),
        Find(room=JOBS, filter=timed(queue, "delayed"), index=TIMER),
    )


def touch(queue: str) -> Write:
    """Write to a queue's document, so that transactions which count its jobs exclude each other."""
    return Write(filter={"_id": queue}, update={"$inc": {"gate": 1}}, upsert=True)


def ensure(queue: str) -> Write:
    """Let a queue have its document."""
    return Write(filter={"_id": queue}, update={"$setOnInsert": {"rev": 0, "epoch": 0}}, upsert=True)


# ------------------------------------------------------------------ reading


def waiting(queue: str, *, line: int | None = None) -> Document:
    """The filter of waiting jobs: for counting, and for reading in order."""
    return {"queue": queue, "part": PART, "line": {"$gte": SUSPECT} if line is None else line}


def timed(queue: str, state: str, **more: object) -> Document:
    """The filter of jobs of a state that is sorted by time."""
    return {"queue": queue, "part": PART, "state": state, "at": {"$exists": True}, **more}


def waiting_page(queue: str, after: Sequence[Any] | None, limit: int) -> list[Find]:
    """Waiting jobs behind a key (line, priority, place, _id): the ranges in the order they are read."""
    base = {"queue": queue, "part": PART}
    if after is None:
        ranges: list[Document] = [{"line": {"$gte": SUSPECT}}]
    else:
        line, priority, place, name = after
        ranges = [
            {"line": line, "priority": priority, "place": place, "_id": {"$gt": name}},
            {"line": line, "priority": priority, "place": {"$gt": place}},
            {"line": line, "priority": {"$gt": priority}},
            {"line": {"$gt": line}},
        ]
    return [_page(base | r, LINE, _sorted("queue", "part", "line", *_ORDER), limit) for r in ranges]


def timed_page(queue: str, state: str, after: Sequence[Any] | None, limit: int, way: int) -> list[Find]:
    """Jobs of a state behind a key (at, _id), oldest first or, `way` DOWN, newest first."""
    beyond = "$gt" if way == UP else "$lt"
    base = {"queue": queue, "part": PART, "state": state}
    if after is None:
        ranges: list[Document] = [{"at": {"$exists": True}}]
    else:
        at, name = after
        ranges = [{"at": at, "_id": {beyond: name}}, {"at": {beyond: at}}]
    sort = tuple((key, way) for key in ("queue", "part", "state", "at", "_id"))
    return [_page(base | r, TIMER, sort, limit) for r in ranges]


def ahead(queue: str, line: int, priority: int, place: int, id: str) -> list[Document]:
    """Filters that together meet the jobs of a line before a given one."""
    base = {"queue": queue, "part": PART, "line": line}
    return [
        base | {"priority": {"$lt": priority}},
        base | {"priority": priority, "place": {"$lt": place}},
        base | {"priority": priority, "place": place, "_id": {"$lt": id}},
    ]


def first_of_each_priority(queue: str, line: int) -> Pipe:
    """The foremost job of each priority of a line: the index skips from one priority to the next."""
    return Pipe(
        room=JOBS, index=LINE,
        stages=[
            {"$match": {"queue": queue, "part": PART, "line": line}},
            {"$sort": {"queue": 1, "part": 1, "line": 1, "priority": 1, "place": 1, "_id": 1}},
            {"$group": {"_id": "$priority", "place": {"$first": "$place"}, "created_at": {"$first": "$created_at"},
                        "run_at": {"$first": "$run_at"}}},
        ],
    )  # fmt: skip


def ends_of(queue: str, line: int, priority: int) -> list[Find]:
    """The oldest on either side of zero: jobs put before all count down from there, others up."""
    base = {"queue": queue, "part": PART, "line": line, "priority": priority}
    back, front = _sorted("place", "_id"), (("place", DOWN), ("_id", DOWN))
    fields = ("created_at", "run_at")
    return [
        Find(room=JOBS, filter=base | {"place": {"$gte": 0}}, index=LINE, sort=back, limit=1, fields=fields),
        Find(room=JOBS, filter=base | {"place": {"$lt": 0}}, index=LINE, sort=front, limit=1, fields=fields),
    ]


def queues_of(namespace: str) -> Find:
    return Find(room=QUEUES, filter={"_id": _under(namespace)}, index=BY_ID, sort=_sorted("_id"), fields=("_id",))


def workers_of(namespace: str) -> Pipe:
    """All workers of a namespace, each with the store's time."""
    return Pipe(
        room=WORKERS, index=BY_ID,
        stages=[
            {"$match": {"_id": _under(namespace)}},
            {"$sort": {"_id": 1}},
            {"$set": {"now": {"$toLong": "$$NOW"}}},
        ],
    )  # fmt: skip


def seen_worker(id: str, said: Document, *, ttl: int, shift: int) -> Write:
    """A worker lives `ttl` ms longer, by the server's clock; what it tells of itself is never evaluated."""
    moment = {"$add": [{"$toLong": "$$NOW"}, shift]}
    times = {"seen": moment, "until": {"$add": [moment, ttl]}, "expire_at": {"$add": ["$$NOW", shift + ttl]}}
    return Write(filter={"_id": id}, update=[{"$set": {k: literal(v) for k, v in said.items()} | times}], upsert=True)


def any_waiting(queue: str) -> Find:
    """One job that waits, if any does."""
    return Find(room=JOBS, filter=waiting(queue), index=LINE, limit=1, fields=("line",))


def await_job(id: str) -> Write:
    """Mark a job that has not ended as awaited: its end needs care then."""
    live = {"$in": [str(state) for state in sorted(LIVE)]}
    return Write(filter={"_id": id, "state": live}, update={"$set": {"awaited": True, "care": True}})


# ------------------------------------------------------------------ the store and its queues


def foreign() -> Find:
    """A document that is none of ours: ours have text as `_id`."""
    return Find(room=JOBS, filter={"_id": {"$type": "objectId"}}, index=BY_ID, limit=1)


def make_store(store_id: str, schema: int) -> Write:
    return Write(filter={"_id": STORE}, update={"$setOnInsert": {"store_id": store_id, "schema": schema}}, upsert=True)


def configure(queue: str, rev: int, declared: str, override: str) -> Write:
    """Replace both layers if nobody else did since `rev`; a queue without a document has rev 0."""
    return Write(
        filter={"_id": queue, "rev": rev},
        update={
            "$set": {"rev": rev + 1, "declared": declared, "override": override},
            "$setOnInsert": {"epoch": 0},
        },
        upsert=rev == 0,
    )


# ------------------------------------------------------------------ removing


def stub_update(now: int) -> Document:
    """Turn removed jobs into stubs, all alike."""
    return {"$set": _stub(now), "$unset": dict.fromkeys(_NOT_STUB, "")}


def stubs(ids: Sequence[str], state: str, now: int) -> Write:
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": state},
        update=stub_update(now),
        many=True,
        expects=len(ids),
    )


def oldest(queue: str, state: str, limit: int, *, until: int | None = None, keep: str | None = None) -> Find:
    """The jobs of a state, or of one retention class of it, that ended first; with what their removal asks."""
    at: Document = {"$exists": True} if until is None else {"$exists": True, "$lte": until}
    wanted: Document = {"queue": queue, "part": PART, "state": state, "at": at}
    names: tuple[str, ...] = ("queue", "part", "state", "at", "_id")
    if keep is not None:
        wanted["keep"], names = keep, ("queue", "part", "state", "keep", "at", "_id")
    return Find(
        room=JOBS, filter=wanted, index=TIMER if keep is None else KEPT, sort=_sorted(*names), limit=limit,
        fields=REMOVED,
    )  # fmt: skip


def delayed_before(queue: str, until: int, limit: int) -> Find:
    """Delayed jobs that were made before a moment, in their order."""
    return Find(
        room=JOBS, filter=timed(queue, "delayed", created_at={"$lte": until}), index=TIMER,
        sort=_sorted("queue", "part", "state", "at", "_id"), limit=limit, fields=REMOVED,
    )  # fmt: skip


def made_before(queue: str, until: int, limit: int) -> Find:
    """Waiting jobs that were made before a moment, in their order."""
    return Find(
        room=JOBS, filter=waiting(queue) | {"created_at": {"$lte": until}}, index=LINE,
        sort=_sorted("queue", "part", "line", *_ORDER), limit=limit, fields=REMOVED,
    )  # fmt: skip


def classes(queue: str, state: State) -> Pipe:
    """The retention classes that ended jobs of a state carry; the index skips from one to the next."""
    return Pipe(
        room=JOBS, index=KEPT,
        stages=[
            {"$match": {"queue": queue, "part": PART, "state": state + OWN, "keep": {"$exists": True}}},
            {"$sort": {"queue": 1, "part": 1, "state": 1, "keep": 1}},
            {"$group": {"_id": "$keep"}},
        ],
    )  # fmt: skip


def unstarted(queue: str, now: int, limit: int) -> Find:
    """Whole documents of jobs that were not started in time."""
    return Find(
        room=JOBS, filter={"queue": queue, "part": PART, "expiry": {"$exists": True, "$lte": now}}, index=EXPIRY,
        sort=_sorted("queue", "part", "expiry"), limit=limit,
    )  # fmt: skip


def dead_stubs(now: int, limit: int) -> Find:
    """Stubs of any queue whose time is over."""
    return Find(
        room=JOBS, filter={"expire_at": {"$exists": True, "$lte": when(now)}}, index=TTL, sort=_sorted("expire_at"),
        limit=limit, fields=("state",),
    )  # fmt: skip


def dead(ids: Sequence[str], now: int) -> Document:
    """The filter that removes dead stubs: none that lives again."""
    return {"_id": {"$in": list(ids)}, "expire_at": {"$lte": when(now)}}


def everything(prefix: str, limit: int) -> Find:
    """Whatever the jobs collection holds of a queue, stubs included."""
    return Find(room=JOBS, filter={"_id": _under(prefix)}, index=BY_ID, limit=limit, fields=("state",))


REMOVED: Final = ("created_at", "at", "state", "unique_until")
ENDED: Final = tuple(f"{state}{own}" for state in sorted(TERMINAL) for own in ("", OWN))
# The jobs these statements turn into stubs hold no key for a time: those are removed one by one, as drafts.
_NOT_STUB: Final = tuple(name for name in (*JOB_FIELDS, "unique", "unique_until") if name != "state")


def _stub(now: int) -> Document:
    return {"state": GONE, "expire_at": when(now + STUB_KEPT)}


def _active(queue: str) -> Document:
    return {"queue": queue, "part": PART, "state": "active", "at": {"$exists": True}}


def _sorted(*names: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, UP) for name in names)


def _page(filter: Document, index: str, sort: tuple[tuple[str, int], ...], limit: int) -> Find:
    return Find(room=JOBS, filter=filter, index=index, sort=sort, limit=limit)


def _under(prefix: str) -> dict[str, str]:
    return {"$gte": f"{prefix}/", "$lt": f"{prefix}0"}
