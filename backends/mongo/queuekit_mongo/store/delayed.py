"""Delayed jobs whose time has come, and jobs that were not started in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit_mongo import moves, queries
from queuekit_mongo.collections import JOBS
from queuekit_mongo.documents import Document
from queuekit_mongo.store.room import Room, View

PROMOTED: Final = 500  # a call


async def promote(room: Room, queue: str, view: View) -> int | None:
    """Let due jobs wait at the back of their priority, in order; answers when the next one is due."""
    key = room.names.queue(queue)
    docs = await room.port.find(queries.due(key, view.now, PROMOTED))
    late = [doc for doc in docs if doc.get("expiry", view.now + 1) <= view.now]
    ids = [doc["_id"] for doc in docs if doc.get("expiry", view.now + 1) > view.now]
    if late:
        await expire(room, queue, view, late)
    if ids:
        first = room.ranks.back(len(ids), room.port.monotonic())
        await room.port.bulk(JOBS, [queries.promote(ids, first=first, now=view.now)])
    after = await room.port.find(queries.next_due(key))
    return after[0]["at"] if after else None


async def expire(room: Room, queue: str, view: View, docs: Sequence[Document]) -> int:
    """Cancel jobs that were not started in time, as far as they are still what was read; how many."""
    drafts = [room.draft(doc, view) for doc in docs]
    for draft in drafts:
        moves.expire(draft)
    done = await room.port.bulk(JOBS, [queries.drafted(draft.old, draft.update()) for draft in drafts])
    room.tally(queue, {"cancelled": done.met})
    return done.met
