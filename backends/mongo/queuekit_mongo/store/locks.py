"""Who writes a schedule: its lock, and what excludes a mover.

A lock is written first, the queue's document is read then. Who changes that document's home breaks all locks behind it.
So a call that found its queue here, and whose lock stands when it writes, was before the change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from queuekit import ids
from queuekit.domain.outcome import Home
from queuekit.errors import Moved, QueueKitError
from queuekit_mongo import documents, queries, slots
from queuekit_mongo.collections import JOBS, QUEUES, SCHEDULES
from queuekit_mongo.documents import Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.store.moving import queue_document
from queuekit_mongo.store.room import Room, View

SILENT: Final = 1000  # ms after which a lock is anybody's
PATIENCE: Final = 60_000  # ms at most, after which one is that was taken over again and again
ENDED_KEPT: Final = 1000  # calls without a word that are remembered; more says that the server is away
PAUSE: Final = 0.002  # seconds between two looks at another call's lock, growing


@dataclass(slots=True)
class Held:
    """What became of an attempt to lock schedules: those that are in neither are another call's for now."""

    mine: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)  # not as they were read


class Lock:
    """The locks of one call."""

    def __init__(self, room: Room, queue: str) -> None:
        self.room, self.queue = room, queue
        self.token = ids.nonce()

    def document(self, session: Any = None) -> Document:
        said: Document = {"token": self.token, "at": self.room.now()}
        return said if session is None else said | {"session": session}

    async def take(self, wanted: Mapping[str, int], session: Any = None) -> Held:
        """Lock schedules (key -> rev) that are as they were read; one round trip where nobody else wants them."""
        port, said = self.room.port, self.document(session)
        done = await port.bulk(SCHEDULES, [slots.lock(key, rev, said) for key, rev in sorted(wanted.items())])
        if done.met == len(wanted):
            return Held(mine=set(wanted))
        docs = {doc["_id"]: doc for doc in await port.find(slots.these(list(wanted), ("rev", "lock", "making")))}
        held = Held(lost={key for key, rev in wanted.items() if key not in docs or docs[key]["rev"] != rev})
        there = [docs[key] for key in wanted if key not in held.lost]
        held.mine = {doc["_id"] for doc in there if doc.get("lock", {}).get("token") == self.token}
        await finish(self.room, self.queue, [doc for doc in docs.values() if "making" in doc])
        silent = [doc for doc in there if "lock" in doc and doc["_id"] not in held.mine and self._silent(doc["lock"])]
        if silent:
            await _end(self.room, silent)
            writes = [
                slots.steal(d["_id"], d["rev"], d["lock"]["token"], self._longer(said, d["lock"])) for d in silent
            ]
            await port.bulk(SCHEDULES, writes)
            return await self.take(wanted, session)
        return held

    def _silent(self, lock: Mapping[str, Any]) -> bool:
        return lock["token"] in self.room.ended or abs(self.room.now() - lock["at"]) >= lock.get("for", SILENT)

    def _longer(self, said: Document, old: Mapping[str, Any]) -> Document:
        """The lock that follows another: it stands twice as long. Where a server is so slow that calls take each
        other's locks, one of them comes through."""
        return said | {"for": min(2 * old.get("for", SILENT), PATIENCE)}

    async def release(self, keys: Sequence[str]) -> None:
        """Let others have schedules that this call does not write after all."""
        if keys:
            await self.room.port.bulk(SCHEDULES, [slots.unlock(keys, self.token)])

    def lose(self) -> None:
        """The call ends without knowing what it did: whoever comes next here need not wait for it."""
        if len(self.room.ended) >= ENDED_KEPT:
            self.room.ended.clear()
        self.room.ended.add(self.token)


async def _end(room: Room, docs: Sequence[Document]) -> None:
    """End the transactions of calls that are not heard of any more, or a server keeps what they wrote locked."""
    sessions = [doc["lock"]["session"] for doc in docs if "session" in doc["lock"]]
    distinct = list({bytes(session): session for session in sessions}.values())
    if distinct:
        with contextlib.suppress(QueueKitError):  # not allowed: the server ends them by itself, later
            await room.port.command({"killSessions": [{"id": session} for session in distinct]})


async def seen(port: MongoPort, room: Room, queue: str) -> View:
    """The queue's document as it is now, or as the transaction of `port` sees it."""
    doc = await queue_document(port, room, queue)
    conf = documents.conf(doc)
    return View(now=room.now(), doc=doc, conf=conf, limits=conf.effective, due=None, at=room.port.monotonic())


def elsewhere(view: View, queue: str) -> Moved | None:
    """What is told to who would write a schedule of a queue that is not here."""
    home, to = view.conf.home, view.conf.to
    return None if home is Home.HERE else Moved(f"queue {queue} is {home}: it lives in {to or 'another store'}", to=to)


async def ensure(room: Room, queue: str) -> None:
    """Let a queue that has a schedule have its document."""
    await room.port.bulk(QUEUES, [queries.ensure(room.names.queue(queue))])


async def freeze(room: Room, queue: str) -> None:
    """Behind a change of home: nothing that began before it writes a schedule any more, and what was fired is there."""
    key = room.names.queue(queue)
    touched = await room.port.find(slots.touched(key))
    await _end(room, [doc for doc in touched if "lock" in doc])
    await room.port.bulk(SCHEDULES, [slots.break_locks(key)])
    await room.port.delete(SCHEDULES, slots.empty(key))
    if not room.replica:  # read again: one may have been fired until its lock was broken
        await finish(room, queue, [doc for doc in await room.port.find(slots.touched(key)) if "making" in doc])


async def finish(room: Room, queue: str, docs: Sequence[Mapping[str, Any]]) -> None:
    """Set the jobs of firings free that were applied. Anybody may, and more than one."""
    if not docs:
        return
    writes, keyed = slots.set_free([doc["making"] for doc in docs])
    done = await room.port.bulk(JOBS, writes)
    alone = len(writes) - len(keyed)
    taken = [keyed[index - alone] for index in done.duplicates]
    for name, token in taken:  # another job came by its key meanwhile, so there is none to be made
        await room.port.delete(JOBS, slots.pendings([name], token))
    room.tally(queue, {"enqueued": done.met} if done.met else {})
    room.marks.pop(queue, None)
    tokens: dict[str, list[str]] = {}
    for doc in docs:
        tokens.setdefault(doc["making"]["token"], []).append(doc["_id"])
    await room.port.bulk(SCHEDULES, [slots.made(keys, token) for token, keys in tokens.items()])
    await room.flush(queue)
