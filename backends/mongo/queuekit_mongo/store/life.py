"""The family of life: open, close, ping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from queuekit import ids
from queuekit.domain.query import Pong
from queuekit.errors import ConfigError, SchemaMismatch
from queuekit.store.parts import Used
from queuekit_mongo import queries, ranks
from queuekit_mongo.collections import INDEXES, QUEUES, SCHEMA, STORE, Index
from queuekit_mongo.replies import Absent, Duplicate
from queuekit_mongo.store.room import Room

OPERATIONS = ("insert", "query", "update", "delete", "getmore", "command")


async def open(room: Room) -> None:  # noqa: A001  the word of the contract
    """Look who is there, make what is missing, and learn the time. Many may do it at once."""
    hello = await room.port.command({"hello": 1})
    room.replica = "setName" in hello or hello.get("msg") == "isdbgrid"
    room.version = str((await room.port.command({"buildInfo": 1}))["version"])
    await _refuse_foreign(room)
    for name, indexes in INDEXES.items():
        await _make_missing(room, room.names.collection(name), indexes)
    stored = await _store(room)
    room.store_id, room.ranks = stored["store_id"], ranks.shared(stored["store_id"])
    await clock(room)


async def _make_missing(room: Room, collection: str, indexes: Sequence[Index]) -> None:
    """Only what is missing: a worker's user need not be allowed to make indexes that a deploy made."""
    if not indexes:
        return
    try:
        listed = await room.port.command({"listIndexes": collection})
        there = {index["name"] for index in listed["cursor"]["firstBatch"]}
    except Absent:
        there = set()
    missing = [index.definition() for index in indexes if index.name not in there]
    if missing:
        await room.port.command({"createIndexes": collection, "indexes": missing})


async def _refuse_foreign(room: Room) -> None:
    """A collection in which Agenda or anything else keeps its documents is not ours to index."""
    foreign = await room.port.find(queries.foreign())
    if foreign:
        fields = ", ".join(sorted(str(name) for name in foreign[0])[:6])
        of = "Agenda" if "nextRunAt" in foreign[0] or "lockedAt" in foreign[0] else "another program"
        raise ConfigError(
            f"the collection {room.names.prefix!r} holds documents of {of} (with the fields {fields}): "
            "give queuekit one of its own by QUEUE_COLLECTION"
        )


async def _store(room: Room) -> dict[str, Any]:
    """The store's own document, made where it is not."""
    for _ in range(3):
        try:
            stored = await room.port.update(QUEUES, queries.make_store(ids.nonce(), SCHEMA))
        except Duplicate:
            continue  # two made it at once: the other one's is there now
        if stored is None or stored["schema"] != SCHEMA:
            found = None if stored is None else stored["schema"]
            raise SchemaMismatch(
                f"{room.names.prefix} was written with schema {found}; this queuekit works with {SCHEMA}: "
                "install the one that wrote it, or give this one another QUEUE_COLLECTION"
            )
        return stored
    raise SchemaMismatch(f"the document {STORE} of {room.names.prefix} could be neither read nor made")


async def clock(room: Room) -> int:
    """The store's time, from the store."""
    sent = room.port.monotonic()
    (stored,) = await room.port.aggregate(queries.now())
    room.ranks.observe(stored["now"], sent, room.port.monotonic())
    return int(stored["now"]) + room.shift()


async def close(room: Room) -> None:
    try:
        if room.store_id:
            await room.flush_all()
            await room.listeners.close()
    finally:
        await room.port.close()


async def ping(room: Room) -> Pong:
    now = await clock(room)
    warnings = []
    if not room.replica:
        warnings.append("standalone: no change streams and no transactions; wake-up is by polling")
    return Pong(
        now=now, server=f"mongod {room.version}", store_id=room.store_id, schema=SCHEMA, warnings=tuple(warnings),
        where=room.port.where,
    )  # fmt: skip


async def usage(room: Room) -> Used:
    """Operations of the whole server; bytes of our collections as kept in documents and indexes, before compression."""
    counted = (await room.port.command({"serverStatus": 1}))["opcounters"]
    size = 0
    for name in INDEXES:
        found = await room.port.command({"collStats": room.names.collection(name)})
        size += int(found["size"]) + int(found["totalIndexSize"])
    return Used(bytes=size, commands=sum(int(counted[kind]) for kind in OPERATIONS))
