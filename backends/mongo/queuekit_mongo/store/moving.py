"""What the verbs of the mover share: one transaction where there are some, the mover's epoch, and what its batches are.

On a standalone server the same steps follow each other in an order in which the call's repeat completes them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from queuekit.domain.moving import HeldKey
from queuekit.errors import Conflict, StoreUnavailable
from queuekit_mongo import parcels, transit
from queuekit_mongo.collections import QUEUES
from queuekit_mongo.documents import GONE, Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.replies import Contended, Duplicate
from queuekit_mongo.statements import Write
from queuekit_mongo.store.room import Room

T = TypeVar("T")
ROUNDS: Final = 40  # times a transaction is begun anew because it met another one
DIGITS: Final = 12  # of a batch's number in a key, so that keys sort as numbers do


async def atomic(room: Room, queue: str, work: Callable[[MongoPort], Awaitable[T]], *, by: str | None = None) -> T:
    """Do `work` in one transaction, or step by step where there are none; begun anew where another call was met.

    A mover that is killed leaves its transaction open, and what it wrote locked, for up to 90 s. So each tells its
    session first, and the one that comes next, `by`, ends those it finds.
    """
    deadline = room.port.monotonic() + room.options.timeout / 1000
    if by is not None and room.replica:
        await _end_sessions(room, queue, by)

    async def tell(session: Any) -> None:
        if (queue, session) not in room.sessions:
            room.own.add(session)  # first: what reads the document meanwhile must not take it for another mover's
            await room.port.bulk(QUEUES, [transit.session(room.names.queue(queue), session)])
            room.sessions.add((queue, session))

    for round_ in range(ROUNDS):
        try:
            return await (room.port.joined(work, tell) if room.replica else work(room.port))
        except (Contended, Duplicate):
            if room.port.monotonic() > deadline:
                break
            await room.port.sleep(random.uniform(0.0005, 0.002) * min(round_ + 1, 16))  # noqa: S311
    raise StoreUnavailable(
        "other calls changed what the mover met, many times over; repeat it",
        outcome="refused" if room.replica else "unknown",
    )


async def _end_sessions(room: Room, queue: str, by: str) -> None:
    """End the transactions of another mover, which has been killed or is taken over from."""
    doc = await queue_document(room.port, room, queue)
    others = [one for one in doc.get("sessions", ()) if one not in room.own]
    if others and doc.get("mover") != by:
        with contextlib.suppress(StoreUnavailable):  # not allowed: the server ends them by itself, later
            await room.port.command({"killSessions": [{"id": session} for session in others]})


async def mine(port: MongoPort, room: Room, queue: str, epoch: int) -> None:
    """Raise Conflict unless `epoch` is the queue's. In a transaction nobody changes that before its end."""
    if not (await port.bulk(QUEUES, [transit.mine(room.names.queue(queue), epoch)])).met:
        raise await _conflict(port, room, queue, epoch)


async def still_mine(port: MongoPort, room: Room, queue: str, epoch: int) -> None:
    """The same without writing, for what meets only documents that this mover alone can know of."""
    if (await queue_document(port, room, queue)).get("epoch", 0) != epoch:
        raise await _conflict(port, room, queue, epoch)


async def _conflict(port: MongoPort, room: Room, queue: str, epoch: int) -> Conflict:
    found = (await queue_document(port, room, queue)).get("epoch", 0)
    return Conflict(f"queue {queue}: its epoch is {found}, this mover's {epoch}")


async def queue_document(port: MongoPort, room: Room, queue: str) -> Document:
    """The queue's own document as it is now; empty where there is none."""
    found = await port.find(transit.own(room.names.queue(queue)))
    return found[0] if found else {}


async def written(port: MongoPort, room: str, docs: Sequence[Document]) -> None:
    """Insert documents that nobody else has. Raises Duplicate."""
    done = await port.insert(room, docs)
    if done.duplicates:
        raise Duplicate("another call wrote one of these meanwhile")


def lone(room: Room, queue: str, key: HeldKey) -> Write:
    """The write that lets a key be held by no job's document."""
    own, holder = room.names.move(queue, "key", key.key), room.names.job(queue, key.id)
    return transit.lone(parcels.lone_key(key, id=own, holder=holder, queue=room.names.queue(queue)))


def kept_key(room: Room, queue: str, stub: Mapping[str, Any], now: int) -> list[Write]:
    """A key that a stub holds for a time stays held when a job comes in its place. Behind the write that puts it."""
    if stub["state"] != GONE or "unique" not in stub or stub.get("unique_until", 0) <= now:
        return []
    return [lone(room, queue, parcels.timed_key(stub))]


def number(batch: int) -> str:
    return f"{batch:0{DIGITS}d}"
