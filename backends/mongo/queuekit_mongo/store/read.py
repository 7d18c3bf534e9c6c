"""The family of reads: get, locate, find, count, position, queues, workers. Nothing here writes a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from queuekit.domain.job import JobRecord
from queuekit.domain.query import SCAN_MAX, Counts, Found, Position, Where, WorkerBeat
from queuekit.domain.state import TERMINAL, Line, State
from queuekit.errors import InvalidOption
from queuekit_mongo import documents, pages, queries
from queuekit_mongo.collections import JOBS, LINE, TIMER, after_slash
from queuekit_mongo.documents import GONE, LINES, OWN, Document
from queuekit_mongo.statements import DOWN, UP, Find
from queuekit_mongo.store.room import Room

_OLDEST_FIRST: Final = frozenset({State.DELAYED, State.ACTIVE, State.PARKED, State.BLOCKED})


async def get(room: Room, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
    keys = [room.names.job(queue, name) for name in ids]
    docs = {doc["_id"]: doc for doc in await room.port.find(queries.known(keys))}
    return [documents.record(docs[key]) if key in docs and docs[key]["state"] != GONE else None for key in keys]


async def locate(room: Room, id: str) -> list[JobRecord]:
    keys = [room.names.job(queue, id) for queue in await queues(room)]
    docs = await room.port.find(queries.known(keys))
    return sorted((documents.record(doc) for doc in docs if doc["state"] != GONE), key=lambda job: job.queue)


async def find(room: Room, queue: str, where: Where) -> Found:
    after = None if where.cursor is None else _opened(where.cursor, where.state)
    limit = SCAN_MAX if where.task is not None else min(where.limit, SCAN_MAX)
    docs = await _after(room, room.names.queue(queue), where.state, after, limit + 1)
    more, docs = len(docs) > limit, docs[:limit]
    page: list[JobRecord] = []
    scanned = 0
    for doc in docs:
        scanned += 1
        if where.task is None or doc["task"] == where.task:
            page.append(documents.record(doc))
            if len(page) >= where.limit:
                break
    more = more or scanned < len(docs)
    cursor = json.dumps([where.state, *_key(docs[scanned - 1], where.state)]) if more and scanned else None
    return Found(records=page, cursor=cursor, scanned=scanned)


async def _after(room: Room, key: str, state: State, after: Sequence[Any] | None, limit: int) -> list[Document]:
    """Up to `limit` documents of a state behind a key, in the order that `find` promises."""
    if state is State.WAITING:
        return await _chain(room, pages.waiting_page(key, after, limit), limit)
    way = UP if state in _OLDEST_FIRST else DOWN
    docs = await _chain(room, pages.timed_page(key, state, after, limit, way), limit)
    if state in TERMINAL:
        docs += await _chain(room, pages.timed_page(key, state + OWN, after, limit, way), limit)
        docs.sort(key=lambda doc: (doc["at"], doc["_id"]), reverse=way == DOWN)
    return docs[:limit]


async def _chain(room: Room, ranges: Sequence[Find], limit: int) -> list[Document]:
    """Ranges read one behind the other until there is enough."""
    docs: list[Document] = []
    for query in ranges:
        if len(docs) < limit:
            docs += await room.port.find(query)
    return docs


def _key(doc: Document, state: State) -> list[Any]:
    """Where a document stands in the order of its state."""
    names = ("line", "priority", "place", "_id") if state is State.WAITING else ("at", "_id")
    return [doc[name] for name in names]


def _opened(cursor: str, state: State) -> list[Any]:
    """The key a cursor stands for. Raises InvalidOption for one that is not ours."""
    try:
        of, *key = json.loads(cursor)
    except (ValueError, TypeError) as error:
        raise InvalidOption(f"{cursor!r:.80} is no cursor of this store") from error
    if of != state:
        raise InvalidOption(f"the cursor is of state {of!r:.20}, not {state}")
    kinds = (int, int, int, str) if state is State.WAITING else (int, str)
    if [type(part) for part in key] != list(kinds):
        raise InvalidOption(f"{cursor!r:.80} is no cursor of this store")
    return list(key)


async def count(room: Room, queue: str) -> Counts:
    """States are counted over index keys only; still each key is looked at: 0.1 us a job (docs/decisions/032)."""
    await room.flush(queue)
    view = await room.view(queue)
    key, port = room.names.queue(queue), room.port
    lines = {
        line: await port.count(Find(room=JOBS, filter=pages.waiting(key, line=number), index=LINE))
        for line, number in LINES.items()
    }
    states = {State.WAITING: sum(lines.values())}
    for state in State:
        if state is not State.WAITING:
            stored = (state, state + OWN) if state in TERMINAL else (state,)
            found = [await port.count(Find(room=JOBS, filter=pages.timed(key, s), index=TIMER)) for s in stored]
            states[state] = sum(found)
    totals = await port.find(pages.totals(room.names.totals(queue)))
    return Counts(
        now=view.now, states=states, suspect=lines[Line.SUSPECT], held=lines[Line.HELD],
        oldest_waiting=await _oldest(room, key, view.now) if states[State.WAITING] else None, paused=view.paused,
        totals=documents.totals([*totals, view.doc.get("added", {})]),
    )  # fmt: skip


async def _oldest(room: Room, key: str, now: int) -> int | None:
    """How long the foremost job of any priority could have run by now."""
    since: list[int] = []
    for line in LINES.values():
        for first in await room.port.aggregate(pages.first_of_each_priority(key, line)):
            docs = [first]
            if first["place"] < 0:  # it is the youngest of those put before all, or the oldest of those that moved in
                ends = [await room.port.find(query) for query in pages.ends_of(key, line, first["_id"])]
                docs += [doc for end in ends for doc in end]
            since += [max(doc["created_at"], doc.get("run_at") or 0) for doc in docs]
    return max(0, now - min(since)) if since else None


async def position(room: Room, queue: str, id: str) -> Position | None:
    view = await room.view(queue)
    docs = await room.port.find(queries.light([room.names.job(queue, id)]))
    if not docs or docs[0]["state"] == GONE:
        return None
    doc = docs[0]
    job = documents.record(doc | {"body": b""})
    place = Position(state=job.state)
    if documents.is_moving(doc):
        place.reasons.append("moving")
        return place
    if job.state is State.WAITING and job.line is not None:
        before = pages.ahead(
            room.names.queue(queue), LINES[job.line], job.priority, job.place, room.names.job(queue, id)
        )
        place.ahead = sum([await room.port.count(Find(room=JOBS, filter=f, index=LINE)) for f in before])
    pending = job.state in (State.WAITING, State.DELAYED)
    if job.state is State.DELAYED:
        place.reasons.append("delayed")
    if job.line is Line.SUSPECT and job.state is State.WAITING:
        place.reasons.append("suspect")
    if pending and view.paused is not None:
        place.reasons.append(f"paused: {view.paused}".rstrip(": "))
    if pending and job.expires_at is not None and job.expires_at <= view.now:
        place.reasons.append("expired")
    if job.cancel is not None:
        place.reasons.append("cancel asked")
    return place


async def queues(room: Room) -> list[str]:
    return [after_slash(doc["_id"]) for doc in await room.port.find(pages.queues_of(room.names.namespace))]


async def workers(room: Room) -> list[WorkerBeat]:
    docs = await room.port.aggregate(pages.workers_of(room.names.namespace))
    return [documents.worker(doc) for doc in docs if doc["until"] > doc["now"] + room.shift()]
