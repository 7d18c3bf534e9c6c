"""The mover's verbs of a queue that leaves: checkout, running, timed_keys, confirm, restore.

A document lists the ids of each batch that is out. It is written with the jobs' own documents, before them where there
are no transactions, so that a repeat finds what the first call meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from queuekit.domain.moving import Confirmed, HeldKey, Parcel
from queuekit.domain.state import State
from queuekit_mongo import parcels, queries, transit
from queuekit_mongo.collections import JOBS, after_slash
from queuekit_mongo.documents import GONE, OUT, Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.replies import Contended
from queuekit_mongo.store.moving import atomic, mine, number, written
from queuekit_mongo.store.room import Room

BYTES_OUT: Final = 4 * 1024 * 1024  # of bodies and results in one checkout


async def checkout(room: Room, queue: str, epoch: int, batch: int, limit: int, *, history: bool) -> list[Parcel]:
    key = room.names.move(queue, OUT, number(batch))

    async def work(port: MongoPort) -> list[Document]:
        await mine(port, room, queue, epoch)
        listed = await port.find(queries.known([key]))
        if listed:
            return await _again(port, room, listed[0]["ids"], batch)
        docs = await _line_up(port, room, queue, limit, history=history)
        while floor and docs and await _stranded(port, docs, floor):
            docs = await _line_up(port, room, queue, limit, history=history)
        if not docs:
            return []
        names = [doc["_id"] for doc in docs]
        await written(port, JOBS, [{"_id": key, "batch": batch, "ids": names}])
        await _leave(port, docs, batch, whole=room.replica)
        return docs if room.replica else await _again(port, room, names, batch)

    room.marks.pop(queue, None)
    floor = (await room.view(queue)).floor
    docs = await atomic(room, queue, work)
    now = room.now()
    return [parcels.outgoing(doc, now) for doc in docs]


async def _line_up(port: MongoPort, room: Room, queue: str, limit: int, *, history: bool) -> list[Document]:
    """Whole documents of what leaves next, as many as one message holds."""
    found: list[Document] = []
    size = 0
    for query in transit.lines(room.names.queue(queue), limit, history=history):
        if len(found) == limit:
            break
        docs, whole = await port.first(replace(query, limit=limit - len(found)))
        for doc in docs:
            size += len(doc["body"]) + len(doc.get("result", b""))
            if found and size > BYTES_OUT:
                return found
            found.append(doc)
        if not whole:
            break
    return found


async def _stranded(port: MongoPort, docs: Sequence[Mapping[str, Any]], floor: int) -> bool:
    """Remove jobs that came in while the queue was gone, as a claim does. Whether there were any."""
    lost = [doc["_id"] for doc in docs if doc["epoch"] < floor and "known" not in doc]
    return bool(lost) and bool(await port.delete(JOBS, transit.stranded(lost, floor)))


async def _leave(port: MongoPort, docs: Sequence[Mapping[str, Any]], batch: int, *, whole: bool) -> None:
    """Take documents off their lines. In a transaction they are still as they were read."""
    states: dict[str, list[str]] = {}
    for doc in docs:
        states.setdefault(doc["state"], []).append(doc["_id"])
    writes = [transit.leave(ids, state, batch) for state, ids in states.items()]
    if (await port.bulk(JOBS, writes)).met < len(docs) and whole:
        raise Contended("a job changed in the transaction that checks it out")


async def _again(port: MongoPort, room: Room, names: Sequence[str], batch: int) -> list[Document]:
    """What is out under a batch, in its order; where there are no transactions, completed first."""
    if not room.replica:
        docs = await port.find(queries.light(names))
        left = [doc for doc in docs if doc["state"] in transit.LEAVES]
        if left:
            await _leave(port, left, batch, whole=False)
    found = {doc["_id"]: doc for doc in await port.find(queries.known(names))}
    return [doc for name in names if (doc := found.get(name)) is not None and _is_out(doc, batch)]


def _is_out(doc: Mapping[str, Any], batch: int) -> bool:
    return bool(doc["state"] == OUT and doc["out"]["batch"] == batch)


async def running(room: Room, queue: str, after: str, limit: int) -> list[Parcel]:
    """Active jobs are in the index by their leases: their ids are read, then those of one page."""
    active = await room.port.find(transit.running(room.names.queue(queue)))
    ids = sorted((after_slash(doc["_id"]) for doc in active), key=str.encode)
    page = [room.names.job(queue, name) for name in ids if name.encode() > after.encode()][:limit]
    docs = {doc["_id"]: doc for doc in await room.port.find(queries.known(page))}
    now = room.now()
    found = [docs[name] for name in page if name in docs]
    return [parcels.outgoing(doc, now) for doc in found if doc["state"] == State.ACTIVE and "token" in doc]


async def timed_keys(room: Room, queue: str, after: str, limit: int) -> list[HeldKey]:
    docs = await room.port.find(transit.timed_keys(room.names.queue(queue), after, room.now(), limit))
    return [parcels.timed_key(doc) for doc in docs]


async def confirm(room: Room, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
    key = room.names.move(queue, OUT, number(batch))
    names = [room.names.job(queue, name) for name in dict.fromkeys(ids)]

    async def work(port: MongoPort) -> Confirmed:
        await mine(port, room, queue, epoch)
        listed = await port.find(queries.known([key]))
        now = room.now()
        removed = await port.delete(JOBS, transit.old(names, batch, now))
        if removed < len(names):
            removed += (await port.bulk(JOBS, [transit.remove(names, batch, now)])).met
        reply = Confirmed(removed=removed)
        if removed < len(names):
            await _others(port, room, queue, names, reply, now)
        if listed:
            confirmed = set(names)
            left = [name for name in listed[0]["ids"] if name not in confirmed]
            if left:
                await port.bulk(JOBS, [transit.restore(left, batch)])
            await port.delete(JOBS, {"_id": key})
        return reply

    return await atomic(room, queue, work)


async def _others(
    port: MongoPort, room: Room, queue: str, names: Sequence[str], reply: Confirmed, now: int
) -> None:  # fmt: skip
    """Of what was confirmed, the jobs that were not out under this batch: on a line again, or out under another."""
    docs = [doc for doc in await port.find(queries.known(names, ("state", "out"))) if doc["state"] != GONE]
    active = {after_slash(doc["_id"]) for doc in docs if doc["state"] == State.ACTIVE}
    reply.active = [after_slash(name) for name in names if after_slash(name) in active]
    states: dict[str, list[str]] = {}
    batches: dict[int, list[str]] = {}
    for doc in docs:
        if doc["state"] != State.ACTIVE:
            states.setdefault(doc["state"], []).append(doc["_id"])
        if doc["state"] == OUT:
            batches.setdefault(doc["out"]["batch"], []).append(doc["_id"])
    if states:
        writes = [transit.remove_here(group, state, now) for state, group in states.items()]
        reply.removed += (await port.bulk(JOBS, writes)).met
    for other, group in batches.items():
        await _shorten(port, room, queue, other, group)


async def _shorten(port: MongoPort, room: Room, queue: str, batch: int, names: Sequence[str]) -> None:
    """Let a batch name these no more; one that names nothing is out no more."""
    key = room.names.move(queue, OUT, number(batch))
    await port.bulk(JOBS, [transit.shorten(key, names)])
    await port.delete(JOBS, {"_id": key, "ids": []})


async def restore(room: Room, queue: str, epoch: int, batch: int, ids: Sequence[str] | None) -> int:
    key = room.names.move(queue, OUT, number(batch))
    only = None if ids is None else {room.names.job(queue, name) for name in ids}

    async def work(port: MongoPort) -> int:
        await mine(port, room, queue, epoch)
        listed = await port.find(queries.known([key]))
        names = [name for name in listed[0]["ids"] if only is None or name in only] if listed else []
        if not names:
            return 0
        done = await port.bulk(JOBS, [transit.restore(names, batch)])
        await _shorten(port, room, queue, batch, names)
        return done.met

    return await atomic(room, queue, work)
