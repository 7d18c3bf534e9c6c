"""How jobs, queues and workers are read, as pure functions: each names its index. No driver call here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queuekit_mongo.collections import BY_ID, JOBS, LINE, PART, QUEUES, TIMER, WORKERS
from queuekit_mongo.documents import SUSPECT, Document
from queuekit_mongo.statements import (
    ANY_TIME,
    DOWN,
    TIME_ORDER,
    UP,
    WAIT_ORDER,
    Find,
    Pipe,
    Write,
    literal,
    ordered,
    under,
)


def waiting(queue: str, *, line: int | None = None) -> Document:
    """The filter of waiting jobs: for counting, and for reading in order."""
    return {"queue": queue, "part": PART, "line": {"$gte": SUSPECT} if line is None else line}


def timed(queue: str, state: str, **more: object) -> Document:
    """The filter of jobs of a state that is sorted by time."""
    return {"queue": queue, "part": PART, "state": state, "at": ANY_TIME, **more}


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
    return [_page(base | r, LINE, ordered(*WAIT_ORDER), limit) for r in ranges]


def timed_page(queue: str, state: str, after: Sequence[Any] | None, limit: int, way: int) -> list[Find]:
    """Jobs of a state behind a key (at, _id), oldest first or, `way` DOWN, newest first."""
    beyond = "$gt" if way == UP else "$lt"
    base = {"queue": queue, "part": PART, "state": state}
    if after is None:
        ranges: list[Document] = [{"at": ANY_TIME}]
    else:
        at, name = after
        ranges = [{"at": at, "_id": {beyond: name}}, {"at": {beyond: at}}]
    sort = ordered(*TIME_ORDER, way=way)
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
    back, front = ordered("place", "_id"), (("place", DOWN), ("_id", DOWN))
    fields = ("created_at", "run_at")
    return [
        Find(room=JOBS, filter=base | {"place": {"$gte": 0}}, index=LINE, sort=back, limit=1, fields=fields),
        Find(room=JOBS, filter=base | {"place": {"$lt": 0}}, index=LINE, sort=front, limit=1, fields=fields),
    ]


def queues_of(namespace: str) -> Find:
    return Find(room=QUEUES, filter={"_id": under(namespace)}, index=BY_ID, sort=ordered("_id"), fields=("_id",))


def workers_of(namespace: str) -> Pipe:
    """All workers of a namespace, each with the store's time."""
    return Pipe(
        room=WORKERS, index=BY_ID,
        stages=[
            {"$match": {"_id": under(namespace)}},
            {"$sort": {"_id": 1}},
            {"$set": {"now": {"$toLong": "$$NOW"}}},
        ],
    )  # fmt: skip


def seen_worker(id: str, said: Document, *, ttl: int, shift: int) -> Write:
    """A worker lives `ttl` ms longer, by the server's clock; what it tells of itself is never evaluated."""
    moment = {"$add": [{"$toLong": "$$NOW"}, shift]}
    times = {"seen": moment, "until": {"$add": [moment, ttl]}, "expire_at": {"$add": ["$$NOW", shift + ttl]}}
    return Write(filter={"_id": id}, update=[{"$set": {k: literal(v) for k, v in said.items()} | times}], upsert=True)


def totals_of(key: str) -> Document:
    """The filter of a queue's totals: the document of that key, and what transactions of producers added."""
    return {"_id": {"$gte": key, "$lt": f"{key}0"}}  # "0" is the character behind "/"


def totals(key: str) -> Find:
    return Find(room=JOBS, filter=totals_of(key), index=BY_ID)


def additions(key: str, limit: int) -> Find:
    """Of a queue's totals, what transactions of producers added."""
    return Find(room=JOBS, filter={"_id": under(key)}, index=BY_ID, limit=limit)


def any_waiting(queue: str) -> Find:
    """One job that waits, if any does."""
    return Find(room=JOBS, filter=waiting(queue), index=LINE, limit=1, fields=("line",))


def _page(filter: Document, index: str, sort: tuple[tuple[str, int], ...], limit: int) -> Find:
    return Find(room=JOBS, filter=filter, index=index, sort=sort, limit=limit)
