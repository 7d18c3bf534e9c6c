"""Schedules as documents and back, and what is asked of them, as pure functions: each names its index. No driver call.

A schedule is written by who holds its lock, {token, at, session, for}, under the rev that was read. `making` says,
where there are no transactions, which jobs of a firing that was applied may still have to be set free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit_mongo.collections import BY_ID, QUEUES, SCHEDULES
from queuekit_mongo.documents import GONE, Document, when
from queuekit_mongo.queries import told
from queuekit_mongo.statements import ANY_TIME, UP, Find, Pipe, Write, ordered, under

PENDING_KEPT: Final = 30 * 86_400_000  # ms a job is kept whose firing was applied and that nobody set free
_HIDDEN: Final = ("state", "line", "at", "expiry")  # what makes a document a job that can be found and claimed
_KEY: Final = ("unique", "unique_until")
_DUE: Final = dict.fromkeys(("queue", "next", "_id"), UP)
ABSENT: Final[Document] = {"$exists": False}

# ------------------------------------------------------------------ documents


def record(doc: Mapping[str, Any], queue: str) -> ScheduleRecord:
    """The schedule a document holds; `queue` is its queue's name."""
    next_at = doc.get("next")
    return ScheduleRecord(
        id=doc["_id"][len(doc["queue"]) + 1 :], queue=queue, definition=bytes(doc["definition"]), rev=int(doc["rev"]),
        next=None if next_at is None else int(next_at), fired=int(doc["fired"]), skipped=int(doc["skipped"]),
        last_job=doc.get("last_job"),
    )  # fmt: skip


def document(schedule: ScheduleRecord, *, queue: str, rev: int, by: str) -> Document:
    """The fields of a schedule as it was put; `by` differs with each put, so that who waits is told."""
    said: Document = {
        "queue": queue, "definition": bytes(schedule.definition), "rev": rev, "fired": schedule.fired,
        "skipped": schedule.skipped, "put": by,
    }  # fmt: skip
    if schedule.next is not None:
        said["next"] = schedule.next
    if schedule.last_job is not None:
        said["last_job"] = schedule.last_job
    return said


def placeholder(key: str, queue: str, lock: Document) -> Document:
    """What is locked where there is no schedule yet. Nobody is told of it: its rev is 0."""
    return {"_id": key, "queue": queue, "rev": 0, "lock": lock}


# ------------------------------------------------------------------ reading


def these(keys: Sequence[str], fields: tuple[str, ...] = ()) -> Find:
    return Find(room=SCHEDULES, filter={"_id": {"$in": list(keys)}}, index=BY_ID, fields=fields)


def page(queue: str, after: str, limit: int) -> Find:
    """The schedules of a queue behind an id, by id."""
    span = under(queue) | ({"$gt": f"{queue}/{after}"} if after else {})
    return Find(room=SCHEDULES, filter={"_id": span, "rev": {"$gt": 0}}, index=BY_ID, sort=ordered("_id"), limit=limit)


def due(schedules: str, queue: str, now: int, limit: int, *, unfinished: int | None) -> Pipe:
    """The store's time, the queue's document, when the first schedule comes that is not due, and one more than `limit`
    whose next has come. With `unfinished`, those whose firing began before that moment and has jobs to be set free.
    The due ones are the last: one message need not hold them all."""
    past: list[Document] = [
        {"$match": {"queue": queue, "next": ANY_TIME | {"$lte": now}}},
        {"$sort": _DUE},
        {"$limit": limit + 1},
    ]
    coming: list[Document] = [
        {"$match": {"queue": queue, "next": {"$gt": now}}}, {"$sort": _DUE}, {"$limit": 1},
        {"$project": {"_id": 0, "coming": "$next"}},
    ]  # fmt: skip
    parts: list[list[Document]] = [coming]
    if unfinished is not None:
        there = {"queue": queue, "making.at": {"$gte": 0, "$lte": unfinished}}
        parts.append([{"$match": there}, {"$limit": 100}, {"$project": {"unfinished": "$making"}}])
    unions: list[Document] = [{"$unionWith": {"coll": schedules, "pipeline": part}} for part in (*parts, past)]
    return Pipe(room=QUEUES, index=BY_ID, stages=[*told(queue), *unions])


def touched(queue: str) -> Find:
    """Schedules that somebody works on: locked ones, and those with jobs to be set free."""
    there = {"_id": under(queue), "$or": [{"lock": {"$exists": True}}, {"making": {"$exists": True}}]}
    return Find(room=SCHEDULES, filter=there, index=BY_ID, fields=("rev", "lock", "making"))


def doom(queue: str, token: str) -> Write:
    """Mark whatever a queue has, beside other marks, so that a late removal meets nothing that came after."""
    return Write(filter={"_id": under(queue)}, update={"$addToSet": {"doomed": token}}, many=True)


def doomed(queue: str, token: str) -> Document:
    """The filter of what was marked."""
    return {"_id": under(queue), "doomed": token}


# ------------------------------------------------------------------ writing


def lock(key: str, rev: int, lock: Document) -> Write:
    """Lock a schedule that is as it was read, if nobody has it locked and all its jobs are free."""
    free = [{"lock": ABSENT}, {"lock.token": lock["token"]}]
    said = {f"lock.{name}": value for name, value in lock.items()}  # of a lock of its own, how long it stands remains
    return Write(filter={"_id": key, "rev": rev, "making": ABSENT, "$or": free}, update={"$set": said})


def steal(key: str, rev: int, old: str, lock: Document) -> Write:
    """Take a lock over from a call that is not heard of any more."""
    return Write(filter={"_id": key, "rev": rev, "lock.token": old}, update={"$set": {"lock": lock}})


def unlock(keys: Sequence[str], token: str) -> Write:
    there = {"_id": {"$in": list(keys)}, "lock.token": token}
    return Write(filter=there, update={"$unset": {"lock": ""}}, many=True, expects=len(keys))


def break_locks(queue: str) -> Write:
    """Whoever has a schedule of the queue locked writes it no more."""
    return Write(filter={"_id": under(queue), "lock": {"$exists": True}}, update={"$unset": {"lock": ""}}, many=True)


def empty(queue: str) -> Document:
    """The filter of what was locked to become a schedule and is none."""
    return {"_id": under(queue), "rev": 0, "lock": ABSENT}


def put(key: str, token: str, said: Document) -> Write:
    """Let a locked document be this schedule."""
    return Write(filter={"_id": key, "lock.token": token}, update=_become(said))


def take(key: str, rev: int, said: Document) -> Write:
    """The same for one that a mover brought, if it is still as it was read."""
    return Write(filter={"_id": key, "rev": rev, "making": ABSENT}, update=_become(said))


def _become(said: Document) -> Document:
    gone = ("lock", "doomed", *(name for name in ("next", "last_job") if name not in said))
    return {"$set": said, "$unset": dict.fromkeys(gone, "")}


def fired(key: str, firing: Firing, token: str, *, now: int, last: str | None, making: Document | None = None) -> Write:
    """Apply a firing to its schedule: its jobs came, or come by `making`."""
    said: Document = {"rev": max(now, firing.rev + 1), "by": token}
    gone = {"lock": ""}
    if firing.next_at is None:
        gone["next"] = ""
    else:
        said["next"] = firing.next_at
    if last is not None:
        said["last_job"] = last
    if making is not None:
        said["making"] = making
    return Write(
        filter={"_id": key, "rev": firing.rev, "lock.token": token},
        update={"$set": said, "$unset": gone, "$inc": {"fired": len(firing.jobs), "skipped": firing.skipped}},
    )


def removed(key: str, token: str) -> Document:
    """The filter of a locked schedule."""
    return {"_id": key, "lock.token": token}


def floor(queue: str, rev: int) -> Write:
    """Let no schedule that is put later in a deleted one's place have its rev."""
    return Write(filter={"_id": queue}, update={"$max": {"unput": rev}}, upsert=True)


# ------------------------------------------------------------------ jobs without a transaction


def pending(doc: Mapping[str, Any], token: str, now: int) -> Document:
    """A job as a stub that holds all of it: no query finds it and it holds no key, until its firing is applied."""
    kept = (*_HIDDEN, *_KEY)
    made: Document = {k: v for k, v in doc.items() if k not in kept}
    hidden = {k: doc[k] for k in kept if k in doc}
    return made | {"state": GONE, "expire_at": when(now + PENDING_KEPT), "making": hidden | {"token": token}}


def pending_instead(write: Write, old: Mapping[str, Any], doc: Mapping[str, Any], token: str, now: int) -> Write:
    """As `revive_stub`, with a pending job. A job that another call left pending is met only as it was read."""
    assert isinstance(write.update, dict)
    said = {k: v for k, v in pending(doc, token, now).items() if k != "_id"}
    gone = {k: "" for k in (*write.update["$unset"], *_HIDDEN, *_KEY) if k not in said}
    there = write.filter | {"making.token": old.get("making", {}).get("token")}
    return Write(filter=there, update={"$set": said, "$unset": gone})


def set_free(makings: Sequence[Mapping[str, Any]]) -> tuple[list[Write], list[tuple[str, str]]]:
    """Let the pending jobs of firings be jobs: each once, whoever asks how often. Behind the statements of jobs without
    a key stands one for each with a key, since another may have taken it: (job, token) of those, in order."""
    plain: dict[str, list[str]] = {}
    keyed = [(name, making["token"]) for making in makings for name in making["keyed"]]
    alone = {name for name, _ in keyed}
    for making in makings:
        plain.setdefault(making["token"], []).extend(name for name in making["jobs"] if name not in alone)
    writes = [_free({"$in": names}, token, _HIDDEN, len(names)) for token, names in plain.items() if names]
    return writes + [_free(name, token, (*_HIDDEN, *_KEY)) for name, token in keyed], keyed


def _free(names: object, token: str, fields: Iterable[str], many: int = 0) -> Write:
    return Write(
        filter={"_id": names, "state": GONE, "making.token": token},
        update=[{"$set": {name: f"$making.{name}" for name in fields}}, {"$unset": ["making", "expire_at"]}],
        many=bool(many),
        expects=many or 1,
    )


def pendings(names: Sequence[str], token: str) -> Document:
    """The filter of what a firing left pending."""
    return {"_id": {"$in": list(names)}, "state": GONE, "making.token": token}


def made(keys: Sequence[str], token: str) -> Write:
    """All jobs of firings are free."""
    there = {"_id": {"$in": list(keys)}, "making.token": token}
    return Write(filter=there, update={"$unset": {"making": ""}}, many=True, expects=len(keys))
