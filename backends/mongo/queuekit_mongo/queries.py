"""What stores and workers do to jobs, as pure functions: each names its index. No driver call here.

Updates are classic ones wherever they can be: their values are never evaluated. The few pipelines let values of users
in through `literal` only, which a test asserts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from queuekit.domain.absence import Watch
from queuekit.domain.job import Retention
from queuekit.domain.query import Note
from queuekit.domain.state import LIVE
from queuekit_mongo.collections import BY_ID, JOBS, LINE, PART, QUEUES, STORE, TIMER, UNIQUE
from queuekit_mongo.documents import GONE, HEAVY, JOB_FIELDS, OUT, OWN, READY, SUSPECT, Document
from queuekit_mongo.removals import NOT_STUB, stub
from queuekit_mongo.statements import ANY_TIME, TIME_ORDER, UP, WAIT_ORDER, Find, Group, Pipe, Write, literal, ordered

# ------------------------------------------------------------------ heads and candidates


def head(jobs: str, queue: str) -> Pipe:
    """The store's time, the queue's own document, and when its earliest delayed job is due: one round trip.

    The document of the store is always there, so the time is too; `$unionWith` reads the other collection.
    """
    return Pipe(
        room=QUEUES, index=BY_ID, stages=[*told(queue), {"$unionWith": {"coll": jobs, "pipeline": _due(queue)}}]
    )


def look(jobs: str, queues: str, queue: str, limit: int) -> Pipe:
    """The foremost jobs that may be claimed, as `candidates`, and behind them what `head` answers."""
    wanted = candidates(queue, limit, suspects=True)
    return Pipe(
        room=JOBS, index=LINE,
        stages=[
            {"$match": wanted.filter},
            {"$sort": dict(wanted.sort)},
            {"$limit": limit},
            {"$unionWith": {"coll": queues, "pipeline": told(queue)}},
            {"$unionWith": {"coll": jobs, "pipeline": _due(queue)}},
        ],
    )  # fmt: skip


def told(queue: str) -> list[Document]:
    return [{"$match": {"_id": {"$in": [STORE, queue]}}}, {"$set": {"now": {"$toLong": "$$NOW"}}}]


def _due(queue: str) -> list[Document]:
    return [
        {"$match": {"queue": queue, "part": PART, "state": "delayed", "at": ANY_TIME}},
        {"$sort": dict.fromkeys(TIME_ORDER, UP)},
        {"$limit": 1},
        {"$project": {"_id": 0, "due": "$at"}},
    ]


def now() -> Pipe:
    """The store's own document with the store's time."""
    stages: list[Document] = [{"$match": {"_id": STORE}}, {"$set": {"now": {"$toLong": "$$NOW"}}}]
    return Pipe(room=QUEUES, index=BY_ID, stages=stages)


def candidates(queue: str, limit: int, *, suspects: bool) -> Find:
    """Whole documents of the jobs that may be claimed, in order; suspects, where asked, before all others."""
    line: object = {"$gte": SUSPECT, "$lte": READY} if suspects else READY
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "line": line},
        index=LINE,
        sort=ordered(*WAIT_ORDER),
        limit=limit,
    )


def candidates_behind(queue: str, limit: int, *, priority: int, place: int) -> Find:
    """As `candidates` of the ready line, from behind a place on: skips what the index remembers of claimed jobs."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "line": READY, "priority": priority, "place": {"$gt": place}},
        index=LINE,
        sort=ordered(*WAIT_ORDER),
        limit=limit,
    )


def claim(group: Group, *, epoch: int | Document, token: str, now: int, lease: int, worker: str) -> Write:
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


def take(queue: str, *, suspects: bool, epoch: int | Document, token: str, now: int, lease: int, worker: str) -> Write:
    """Claim whatever stands first, without a look before: of many who want it each gets another."""
    line: object = {"$gte": SUSPECT, "$lte": READY} if suspects else READY
    said: Document = {
        "state": "active", "token": literal(token), "at": now + lease, "claimed_at": now, "worker": literal(worker),
        "rev": {"$add": ["$rev", 1]}, "claims": {"$add": [{"$ifNull": ["$claims", 0]}, 1]},
        "was": {"$cond": [{"$eq": ["$line", SUSPECT]}, SUSPECT, "$$REMOVE"]},
        "unique": {"$cond": [{"$eq": ["$uniq.until", "started"]}, "$$REMOVE", "$unique"]},
    }  # fmt: skip
    in_time = {"$or": [{"expiry": {"$exists": False}}, {"expiry": {"$gt": now}}]}
    return Write(
        filter={"queue": queue, "part": PART, "line": line, "epoch": epoch} | in_time,
        update=[{"$set": said}, {"$unset": ["line", "expiry"]}],
        index=LINE,
        sort=ordered(*WAIT_ORDER),
    )


def held(queue: str, token: str) -> Find:
    """The claims of one call: what its worker would have been told."""
    return Find(room=JOBS, filter=_active(queue) | {"token": token}, index=TIMER)


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
        gone = dict.fromkeys(NOT_STUB, "")
        return _complete(ids, token, {"$set": stub(now) | {"settled": op}, "$unset": gone})
    said: Document = {"state": "completed", "at": now, "settled": op}
    if keep is not None:
        said |= {"state": "completed" + OWN, "keep": keep.label}
    if result is not None:
        said["result"] = bytes(result)
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
    """What a draft says, while the document is the one it was made from. `watch` raises no `rev`, so its mark counts
    too: an end that did not see it would remove what somebody waits for."""
    wanted = {"_id": old["_id"], "state": old["state"], "rev": old["rev"], "awaited": old.get("awaited")}
    if "logs" in update.get("$push", {}):  # notes raise no `rev` either, and may bring the same lines
        wanted["said"] = old.get("said")
    return Write(filter=wanted, update=update)


def lost(old: Mapping[str, Any], update: Document) -> Write:
    """As `drafted`, and nobody renewed the lease meanwhile: renewing raises no `rev`."""
    write = drafted(old, update)
    return replace(write, filter=write.filter | {"at": old["at"]})


def add_totals(id: str, counts: Mapping[str, int], now: int) -> Write:
    """Raise a queue's totals; the names are those of `Totals`, never of a user."""
    return Write(filter={"_id": id}, update={"$inc": dict(counts), "$set": {"seen": now}}, upsert=True)


# ------------------------------------------------------------------ leases


def renew(ids: Sequence[str], token: str, until: int) -> Write:
    return Write(
        filter={"_id": {"$in": list(ids)}, "token": token, "state": "active"},
        update={"$set": {"at": until}},
        many=True,
        expects=len(ids),
    )


def note(id: str, token: str, note: Note, *, until: int | None, kept: int) -> Write:
    """Keep what a handler reported, and renew its lease where `until` is given.

    `said` is the claim, and how many lines it reported so far: of those, none is kept twice.
    """
    told: Document = {}
    if until is not None:
        told["at"] = until
    if note.progress is not None:
        told["progress"] = literal(bytes(note.progress)) if note.logs else bytes(note.progress)
    update: Document | list[Document] = {"$set": told}
    if note.logs:
        count, known = len(note.logs), "$said.lines"
        new, lines = literal([bytes(line) for line in note.logs]), {"$add": [known, count]}
        if note.start is not None:
            new = {"$slice": [new, {"$max": [0, {"$subtract": [known, note.start]}]}, count]}
            lines = {"$max": [known, note.start + count]}
        told["logs"] = {"$slice": [{"$concatArrays": [{"$ifNull": ["$logs", []]}, new]}, -kept]}
        before = {"$cond": [{"$eq": ["$said.token", literal(token)]}, known, 0]}
        update = [
            {"$set": {"said": {"token": literal(token), "lines": before}}},
            {"$set": told | {"said.lines": lines}},
        ]
    return Write(filter={"_id": id, "token": token, "state": "active"}, update=update)


def expired_leases(queue: str, now: int, limit: int) -> Find:
    return Find(
        room=JOBS,
        filter=_active(queue) | {"at": {"$gt": 0, "$lte": now}},
        index=TIMER,
        sort=ordered(*TIME_ORDER),
        limit=limit,
        without=HEAVY,
    )


def seen(queue: str, before: int | None, after: Watch) -> Write:
    """Note a recovery, if nobody else did since the queue's document was read."""
    update: Document = {"$set": {"seen": after.seen, "pace": after.pace}}
    if after.grace is None:
        update["$unset"] = {"grace_until": ""}
    else:
        update["$set"]["grace_until"] = after.grace
    return Write(filter={"_id": queue, "seen": {"$exists": False} if before is None else before}, update=update)


# ------------------------------------------------------------------ delayed


def due(queue: str, now: int, limit: int) -> Find:
    """Delayed jobs whose time has come, in order."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "state": "delayed", "at": {"$lte": now}},
        index=TIMER,
        sort=ordered(*TIME_ORDER),
        limit=limit,
        without=HEAVY,
    )


def next_due(queue: str) -> Find:
    """When the earliest delayed job is due."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "state": "delayed", "at": ANY_TIME},
        index=TIMER,
        sort=ordered(*TIME_ORDER),
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


def store() -> Find:
    """The store's own document."""
    return Find(room=QUEUES, filter={"_id": STORE}, index=BY_ID)


def light(ids: Sequence[str]) -> Find:
    """Documents without what may be large in them: for whatever decides about jobs."""
    return Find(room=JOBS, filter={"_id": {"$in": list(ids)}}, index=BY_ID, without=HEAVY)


def holders(queue: str, keys: Sequence[str]) -> Find:
    """Documents that stand in the unique index for one of these keys, without what may be large in them."""
    return Find(
        room=JOBS,
        filter={"queue": queue, "part": PART, "unique": {"$in": list(keys)}},
        index=UNIQUE,
        without=HEAVY,
    )


def free_key(holder: Mapping[str, Any]) -> Write:
    """Take a key from a document whose time with it is over."""
    return Write(
        filter={"_id": holder["_id"], "unique": holder["unique"], "unique_until": holder["unique_until"]},
        update={"$unset": {"unique": "", "unique_until": ""}},
    )


def revive_stub(stub: Mapping[str, Any], doc: Document) -> Write:
    """Put a new job where a stub stands, and nothing of the old one with it."""
    said = {k: v for k, v in doc.items() if k != "_id"}
    gone = {
        k: "" for k in ("nth", "settled", "did", "expire_at", "unique", "unique_until", *JOB_FIELDS) if k not in doc
    }
    there = {"_id": stub["_id"], "state": GONE, "expire_at": stub["expire_at"]}
    return Write(filter=there, update={"$set": said, "$unset": gone})


def withdraw(ids: Sequence[str], op: str) -> Document:
    """Of a call that must leave nothing: its jobs that nobody started, checked out or was told of (`known`)."""
    free: Document = {name: {"$exists": False} for name in ("claims", "settled", "known", "out")}
    return {"_id": {"$in": list(ids)}, "op": op} | free


def filling(queue: str) -> tuple[Find, Find]:
    """What counts against `max_size`: waiting and delayed jobs."""
    return (
        Find(room=JOBS, filter={"queue": queue, "part": PART, "line": {"$gte": SUSPECT}}, index=LINE),
        Find(room=JOBS, filter={"queue": queue, "part": PART, "state": "delayed", "at": ANY_TIME}, index=TIMER),
    )


def touch(queue: str) -> Write:
    """Write to a queue's document, so that transactions which count its jobs exclude each other."""
    return Write(filter={"_id": queue}, update={"$inc": {"gate": 1}}, upsert=True)


def ensure(queue: str, **said: object) -> Write:
    """Let a queue have its document."""
    return Write(filter={"_id": queue}, update={"$setOnInsert": {"rev": 0, "epoch": 0, **said}}, upsert=True)


def await_job(id: str) -> Write:
    """Mark a job that has not ended as awaited: its end needs care then."""
    live = {"$in": [str(state) for state in sorted(LIVE)]}
    alive = [{"state": live}, {"state": OUT, "out.state": live}]  # one that is checked out may come back
    return Write(filter={"_id": id, "$or": alive}, update={"$set": {"awaited": True, "care": True}})


# ------------------------------------------------------------------ the store and its queues


def foreign() -> Find:
    """A document that is none of ours: ours have text as `_id`."""
    return Find(room=JOBS, filter={"_id": {"$type": "objectId"}}, index=BY_ID, limit=1)


def make_store(store_id: str, schema: int) -> Write:
    return Write(filter={"_id": STORE}, update={"$setOnInsert": {"store_id": store_id, "schema": schema}}, upsert=True)


def configure(queue: str, rev: int, declared: str, override: str) -> Write:
    """Replace both layers if nobody else did since `rev`; a queue without a document has rev 0. None that left."""
    return Write(
        filter={"_id": queue, "rev": rev, "home": {"$nin": ["moving", "gone"]}},
        update={"$set": {"rev": rev + 1, "declared": declared, "override": override}, "$setOnInsert": {"epoch": 0}},
        upsert=rev == 0,
    )


def _active(queue: str) -> Document:
    return {"queue": queue, "part": PART, "state": "active", "at": ANY_TIME}
