"""The mover's verbs of a queue that leaves: checkout, running, timed_keys, confirm, restore.

A document lists the ids of each batch that is out, and a nonce (`by`) that its jobs carry while they are out: a write
that comes late, of whichever mover, meets what it was meant for or nothing (docs/decisions/084).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from queuekit.domain.moving import Confirmed, HeldKey, Parcel
from queuekit.domain.state import State
from queuekit.ids import nonce
from queuekit_mongo import parcels, queries, transit
from queuekit_mongo.collections import JOBS, after_slash
from queuekit_mongo.documents import GONE, OUT, Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.store.moving import atomic, mine, number, still_mine, written
from queuekit_mongo.store.room import Room

ALIKE: Final = ("state", "rev", "line", "at", "expiry")  # in which the jobs that one statement checks out are alike
BYTES_OUT: Final = 4 * 1024 * 1024  # of bodies and results in one checkout


async def checkout(room: Room, queue: str, epoch: int, batch: int, limit: int, *, history: bool) -> list[Parcel]:
    """In two steps: a transaction chooses and lists the batch, then its jobs leave by one command, each if it is as it
    was seen. In a transaction the server looks up each index anew for each document: three times the work."""
    key = room.names.move(queue, OUT, number(batch))
    floor = (await room.view(queue)).floor
    room.marks.pop(queue, None)

    async def work(port: MongoPort) -> tuple[Document | None, list[Document]]:
        await mine(port, room, queue, epoch)
        listed = await port.find(queries.known([key]))
        if listed:
            return listed[0], []
        docs = await _line_up(port, room, queue, limit, history=history)
        while floor and docs and await _stranded(port, docs, floor):
            docs = await _line_up(port, room, queue, limit, history=history)
        if not docs:
            return None, []
        chosen = _listed(key, batch, docs)
        await written(port, JOBS, [chosen])
        return chosen, docs

    while True:
        chosen, docs = await atomic(room, queue, work)
        if chosen is None:
            return []
        out = await _leave(room, chosen, docs)
        if out:
            now = room.now()
            return [parcels.outgoing(doc, now) for doc in out]
        await room.port.delete(JOBS, {"_id": key, "by": chosen["by"], "ids": []})  # all of it changed meanwhile
        left = await room.port.find(queries.known(chosen["ids"], ("state",)))
        if not docs and all(doc["state"] == GONE for doc in left):
            return []  # it was out before: its mover died when it had removed what is listed


def _listed(key: str, batch: int, docs: Sequence[Mapping[str, Any]]) -> Document:
    """The document of a batch: its jobs in order, and in groups that one statement checks out."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for doc in docs:
        alike = (doc["state"], doc["rev"], doc.get("line"), "at" in doc, "expiry" in doc)
        groups.setdefault(alike, []).append(doc["_id"])
    told = [dict(zip((*ALIKE, "ids"), (*alike, ids), strict=True)) for alike, ids in groups.items()]
    return {"_id": key, "batch": batch, "by": nonce(), "ids": [doc["_id"] for doc in docs], "groups": told}


async def _leave(room: Room, chosen: Mapping[str, Any], docs: list[Document]) -> list[Document]:
    """Take what a batch lists off its lines; what is out then. Jobs that changed meanwhile are listed no more."""
    port, names, batch, by = room.port, chosen["ids"], chosen["batch"], chosen["by"]
    writes = [transit.leave(group, batch, by) for group in chosen["groups"]]
    if (await port.bulk(JOBS, writes)).met == len(names) == len(docs):
        return docs
    found = {doc["_id"]: doc for doc in await port.find(queries.known(names))}
    out = [doc for name in names if (doc := found.get(name)) is not None and _is_out(doc, by)]
    if len(out) < len(names):
        left = sorted({*names} - {doc["_id"] for doc in out})
        await port.bulk(JOBS, [transit.shorten(chosen["_id"], left, by)])
    return out


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


def _is_out(doc: Mapping[str, Any], by: str) -> bool:
    return bool(doc["state"] == OUT and doc["out"]["by"] == by)


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
    """What is out goes without a transaction: nobody but its mover can touch it. All else in one."""
    key = room.names.move(queue, OUT, number(batch))
    names = [room.names.job(queue, name) for name in dict.fromkeys(ids)]
    await still_mine(room.port, room, queue, epoch)
    listed = await room.port.find(queries.known([key], ("by", "ids")))
    removed = await _remove(room.port, names, listed[0]["by"], room.now()) if listed else 0
    if listed and removed == len(names) and {*names} == {*listed[0]["ids"]}:
        await room.port.delete(JOBS, {"_id": key, "by": listed[0]["by"]})
        return Confirmed(removed=removed)

    async def work(port: MongoPort) -> Confirmed:
        await mine(port, room, queue, epoch)
        reply = Confirmed(removed=removed)
        await _others(port, room, queue, names, reply, room.now())
        for one in await port.find(queries.known([key])):
            left = sorted({*one["ids"]} - {*names})
            await _put_back(port, left, one)
            await port.delete(JOBS, {"_id": key})
        return reply

    return await atomic(room, queue, work)


async def _remove(port: MongoPort, names: Sequence[str], by: str, now: int) -> int:
    """Remove jobs of a batch; those that a repeated call may name leave stubs."""
    removed = await port.delete(JOBS, transit.old(names, by, now))
    if removed < len(names):
        removed += (await port.bulk(JOBS, [transit.remove(names, by, now)])).met
    return removed


async def _put_back(port: MongoPort, names: Sequence[str], listed: Mapping[str, Any]) -> int:
    """Put jobs of a batch back where they were; a late checkout of this very batch meets none of them any more."""
    if not names:
        return 0
    done = await port.bulk(JOBS, [transit.restore(names, listed["by"]), transit.bar(names, listed["by"])])
    return min(done.met, len(names))


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
        back = await _put_back(port, names, listed[0])
        await _shorten(port, room, queue, batch, names)
        return back

    return await atomic(room, queue, work)
