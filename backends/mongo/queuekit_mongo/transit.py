"""What a mover asks of the jobs and the queue's document, as pure functions: each names its index. No driver call here.

A job that is checked out has the state "out" and stands in no index but that of ids: what it was is in its field `out`,
so that no write made of what was read before can meet it. `rev` stays, the parcel carries it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from queuekit.domain.state import TERMINAL
from queuekit_mongo.collections import BY_ID, JOBS, LINE, PART, QUEUES, TIMER, UNIQUE
from queuekit_mongo.documents import GONE, HEAVY, OUT, OWN, STUB_KEPT, SUSPECT, Document
from queuekit_mongo.removals import stub_update
from queuekit_mongo.statements import ANY_TIME, TIME_ORDER, WAIT_ORDER, Find, Write, ordered, under

GATES: Final = 256  # documents of a queue that transactions of producers write to, one each
LATE: Final = 1250  # ms: for a second a producer trusts what it read of the queue (seam.md 8); a quarter to spare
_ABSENT: Final[Document] = {"$exists": False}
TAKEN_IN: Final[Document] = {
    "$gte": "move:",
    "$lt": "move;",
}  # the `op` of a job that a mover brought: no call made it here
_LEFT: Final = ("line", "at", "expiry")  # what the indexes see of a job
_ENDED: Final = sorted(stored for state in TERMINAL for stored in (str(state), state + OWN))
LEAVES: Final = ("waiting", "delayed", "parked", *_ENDED)

# ------------------------------------------------------------------ the queue's document


def own(queue: str) -> Find:
    """The queue's own document."""
    return Find(room=QUEUES, filter={"_id": queue}, index=BY_ID)


def mine(queue: str, epoch: int) -> Write:
    """Write to the queue's document if this is its mover, so that a transaction excludes any other authority."""
    return Write(filter={"_id": queue, "epoch": epoch}, update={"$inc": {"gate": 1}})


def become(queue: str, before: Mapping[str, Any], said: Document, gone: Iterable[str], counts: Document) -> Write:
    """Another home, if nobody else wrote one since the document was read."""
    there = {name: before.get(name) for name in ("epoch", "mover", "home", "to")}
    update: Document = {"$set": said}
    if gone:
        update["$unset"] = dict.fromkeys(gone, "")
    if counts:
        update["$inc"] = counts
    return Write(filter={"_id": queue} | there, update=update)


def session(queue: str, id: Any) -> Write:
    """Note a session in which its mover opens transactions."""
    return Write(filter={"_id": queue}, update={"$addToSet": {"sessions": id}})


def settles(queue: str, epoch: int, after: int) -> Write:
    """Note until when calls that began before may come, by the server's clock as it is now: behind the change."""
    times = {"$add": [{"$toLong": "$$NOW"}, after]}
    return Write(
        filter={"_id": queue, "epoch": epoch},
        update=[{"$set": {"settles": {"$ifNull": ["$settles", times]}, "still": {"$ifNull": ["$still", times]}}}],
    )


def bare(queue: str) -> Write:
    """Leave of the document of a queue that is gone nothing but where it went."""
    gone = ("declared", "override", "seen", "pace", "grace_until", "added", "base", "mark")
    return Write(filter={"_id": queue, "home": "gone"}, update={"$set": {"rev": 0}, "$unset": dict.fromkeys(gone, "")})


def gates(keys: Sequence[str]) -> list[Write]:
    """Write to gates. Outside a transaction it waits for those that did and are open; one that began before it, and
    comes to its gate later, is ended by the server, also where the gate is new."""
    return [Write(filter={"_id": key}, update={"$inc": {"gate": 1}}, upsert=True) for key in keys]


# ------------------------------------------------------------------ leaving


def outs(prefix: str, limit: int = 0, fields: tuple[str, ...] = ("batch",)) -> Find:
    """The documents of batches, by number."""
    return Find(
        room=JOBS, filter={"_id": under(prefix.removesuffix("/"))}, index=BY_ID, sort=ordered("_id"), limit=limit,
        fields=fields,
    )  # fmt: skip


def lines(queue: str, limit: int, *, history: bool) -> list[Find]:
    """What may leave, in order; of ended jobs those that ended first."""
    base: Document = {"queue": queue, "part": PART}
    found = [
        Find(room=JOBS, filter=base | {"line": {"$gte": SUSPECT}}, index=LINE, sort=ordered(*WAIT_ORDER), limit=limit),
        *(_timed(base | {"state": state}, limit) for state in ("delayed", "parked")),
    ]
    return [*found, _timed(base | {"state": {"$in": _ENDED}}, limit)] if history else found


def _timed(filter: Document, limit: int) -> Find:
    several = isinstance(filter["state"], dict)
    sort = ordered("at", "_id") if several else ordered(*TIME_ORDER)  # of several states: merged from the index
    return Find(room=JOBS, filter=filter | {"at": ANY_TIME}, index=TIMER, sort=sort, limit=limit)


def leave(group: Mapping[str, Any], batch: int, by: str) -> Write:
    """Check jobs out that are alike, as far as they are what was seen; `rev` tells. Not those put back since."""
    out: Document = {"batch": batch, "by": by, "state": group["state"]}
    update: Document = {"$set": {"state": OUT} | {f"out.{name}": value for name, value in out.items()}}
    if group["line"] is not None:
        update["$set"]["out.line"] = group["line"]
        update["$unset"] = {"line": ""}
    renamed = {name: f"out.{name}" for name in ("at", "expiry") if group[name]}
    if renamed:
        update["$rename"] = renamed
    there = {"state": group["state"], "rev": group["rev"], "line": group["line"], "back": {"$ne": by}}
    ids = list(group["ids"])
    return Write(filter={"_id": {"$in": ids}} | there, update=update, many=True, expects=len(ids))


def restore(ids: Sequence[str], by: str) -> Write:
    """Put jobs that are checked out back where they were."""
    back = {"$concatArrays": [{"$ifNull": ["$back", []]}, ["$out.by"]]}
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": OUT, "out.by": by},
        update=[
            {"$set": {name: f"$out.{name}" for name in ("state", *_LEFT)} | {"known": True, "back": back}},
            {"$unset": "out"},
        ],
        many=True,
        expects=len(ids),
    )


def bar(ids: Sequence[str], by: str) -> Write:
    """The same for those that were listed and are not out yet."""
    there: Document = {"_id": {"$in": list(ids)}, "out": _ABSENT, "back": {"$ne": by}}
    return Write(filter=there, update={"$addToSet": {"back": by}}, many=True, expects=0)


def old(ids: Sequence[str], by: str, now: int) -> Document:
    """Of a batch, the jobs that no call which may still be repeated made, changed or ended."""
    there: Document = {"_id": {"$in": list(ids)}, "state": OUT, "out.by": by}
    made: Document = {"$or": [{"created_at": {"$lte": now - STUB_KEPT}}, {"op": TAKEN_IN}]}
    return there | made | {"did": _ABSENT, "settled": _ABSENT}


def remove(ids: Sequence[str], by: str, now: int) -> Write:
    """Leave stubs of a batch."""
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": OUT, "out.by": by},
        update=stub_update(now),
        many=True,
        expects=len(ids),
    )


def remove_here(ids: Sequence[str], state: str, now: int) -> Write:
    """Leave stubs of jobs that are on a line again, or out under another batch."""
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": state}, update=stub_update(now), many=True, expects=len(ids)
    )


def shorten(batch: str, ids: Sequence[str], by: str | None = None) -> Write:
    """Let the document of a batch name these no more."""
    there = {"_id": batch} if by is None else {"_id": batch, "by": by}
    return Write(filter=there, update={"$pullAll": {"ids": list(ids)}})


def running(queue: str) -> Find:
    """Ids of the jobs that run here, held ones not; from index keys only."""
    there = {"queue": queue, "part": PART, "state": "active", "at": {"$gt": 0}}
    return Find(room=JOBS, filter=there, index=TIMER, fields=("_id",))


def timed_keys(queue: str, after: str, now: int, limit: int) -> Find:
    """Stubs that hold a key for a time, by key."""
    return Find(
        room=JOBS, index=UNIQUE, sort=ordered("queue", "part", "unique"), limit=limit,
        filter={"queue": queue, "part": PART, "unique": {"$gt": after}}
        | {"state": GONE, "unique_until": {"$gt": now}},
    )  # fmt: skip


def keyed(queue: str, limit: int) -> Find:
    """Whatever stands in the unique index."""
    there = {"queue": queue, "part": PART, "unique": {"$gte": ""}}
    return Find(room=JOBS, filter=there, index=UNIQUE, limit=limit, fields=("state",))


def drop_keys(ids: Sequence[str]) -> Write:
    return Write(
        filter={"_id": {"$in": list(ids)}},
        update={"$unset": {"unique": "", "unique_until": ""}},
        many=True,
        expects=len(ids),
    )


def tell(ids: Sequence[str]) -> Write:
    """Mark jobs that somebody was told of: a producer who was slow takes none of them back."""
    live = {"$in": ["waiting", "delayed"]}
    return Write(
        filter={"_id": {"$in": list(ids)}, "state": live}, update={"$set": {"known": True}}, many=True, expects=len(ids)
    )


def adopt(ids: Sequence[str], before: int, epoch: int) -> Write:
    """Let jobs that a mover put back when their queue was gone be its own again."""
    return Write(
        filter={"_id": {"$in": list(ids)}, "known": True, "epoch": {"$lt": before}},
        update={"$set": {"epoch": epoch}},
        many=True,
        expects=len(ids),
    )


def stranded(ids: Sequence[str], before: int | None = None) -> Document:
    """The filter of jobs that came when the queue was gone, or `before` an epoch: nobody will check them out. Not of
    those that a mover put back, or told of."""
    there: Document = {"_id": {"$in": list(ids)}, "state": {"$in": ["waiting", "delayed"]}, "known": _ABSENT}
    return there if before is None else there | {"epoch": {"$lt": before}}


# ------------------------------------------------------------------ arriving


def held_jobs(queue: str, limit: int) -> Find:
    """Jobs that run in the store the queue comes from, by id; without what may be large."""
    return Find(
        room=JOBS, filter={"queue": queue, "part": PART, "state": "active", "at": 0}, index=TIMER,
        sort=ordered(*TIME_ORDER), limit=limit, without=HEAVY,
    )  # fmt: skip


def unhold(ids: Sequence[str]) -> Document:
    """The filter that removes held jobs."""
    return {"_id": {"$in": list(ids)}, "state": "active", "at": 0, "token": _ABSENT}


def note(key: str, note: bytes) -> Write:
    """Keep the mover's own note of the last batch."""
    return Write(filter={"_id": key}, update={"$set": {"note": bytes(note)}}, upsert=True)


def lone(doc: Document) -> Write:
    """Let the document of a key hold it."""
    said = {k: v for k, v in doc.items() if k != "_id"}
    return Write(filter={"_id": doc["_id"]}, update={"$set": said}, upsert=True)
