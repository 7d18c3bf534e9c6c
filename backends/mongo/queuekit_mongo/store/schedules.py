"""The part `schedules` but for `fire`: put, delete, read, due, and what a mover brings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from queuekit.domain.schedule import Due, ScheduleRecord, definition_error
from queuekit.errors import Conflict, PayloadTooLarge, StoreUnavailable
from queuekit_mongo import slots
from queuekit_mongo.collections import QUEUES, SCHEDULES, STORE
from queuekit_mongo.documents import Document
from queuekit_mongo.port import MongoPort
from queuekit_mongo.replies import Contended
from queuekit_mongo.store.locks import PAUSE, SILENT, Lock, elsewhere, ensure, finish, seen
from queuekit_mongo.store.moving import atomic, mine
from queuekit_mongo.store.room import Room, View

T = TypeVar("T")
BYTES_READ: Final = 4 * 1024 * 1024  # of definitions in one answer
BEHIND: Final = 50  # ms by which the store's time may be known too early before `due` is asked again


async def put_schedule(room: Room, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
    check([schedule], room.limit)
    key = room.names.schedule(queue, schedule.id)

    async def write(held: _Held) -> ScheduleRecord | None:
        doc, view = held.doc, held.view
        stored = slots.record(doc, queue) if doc["rev"] else None
        if stored is not None and stored.rev > schedule.rev and _same(schedule, stored):
            await held.drop()
            return stored  # by this very call, whose answer was lost
        if schedule.rev != doc["rev"]:
            await held.drop()
            raise _changed(queue, schedule.id)
        if not view.doc:
            await ensure(room, queue)
        before = int(view.doc.get("unput", 0)) if stored is None else stored.rev
        rev = max(room.now(), before + 1)
        said = slots.document(schedule, queue=room.names.queue(queue), rev=rev, by=held.lock.token)
        done = await room.port.bulk(SCHEDULES, [slots.put(key, held.lock.token, said)])
        return slots.record({"_id": key, **said}, queue) if done.met else None

    return await _alone(room, queue, key, write, make=True)


async def delete_schedule(room: Room, queue: str, id: str, rev: int | None = None) -> bool:
    key = room.names.schedule(queue, id)

    async def write(held: _Held) -> bool | None:
        if not held.doc:
            return False
        stored = int(held.doc["rev"])
        if rev is not None and rev != stored:
            await held.drop()
            raise _changed(queue, id)
        await room.port.bulk(QUEUES, [slots.floor(room.names.queue(queue), stored)])
        return True if await room.port.delete(SCHEDULES, slots.removed(key, held.lock.token)) else None

    return await _alone(room, queue, key, write, make=False)


class _Held:
    """A schedule locked by a call whose queue is here; without a document there is none."""

    def __init__(self, room: Room, lock: Lock, doc: Document, view: View) -> None:
        self.room, self.lock, self.doc, self.view = room, lock, doc, view

    async def drop(self) -> None:
        """Leave the schedule as it is."""
        if self.doc and self.doc["rev"]:
            await self.lock.release([self.doc["_id"]])
        elif self.doc:
            await self.room.port.delete(SCHEDULES, slots.removed(self.doc["_id"], self.lock.token))


async def _alone(room: Room, queue: str, key: str, write: Callable[[_Held], Awaitable[T | None]], *, make: bool) -> T:
    """What `write` says of a schedule that this call has locked; None for another try. Raises Moved, the schedule left
    alone."""
    deadline = room.port.monotonic() + (room.options.timeout + SILENT) / 1000
    lock, pause = Lock(room, queue), PAUSE
    try:
        while room.port.monotonic() < deadline:
            doc = await _locked(room, queue, key, lock, make=make)
            if doc is not None:
                held = _Held(room, lock, doc, await seen(room.port, room, queue))
                no = elsewhere(held.view, queue)
                if no is not None:
                    await held.drop()
                    raise no
                told = await write(held)
                if told is not None:
                    return told
            await room.port.sleep(pause)
            pause = min(2 * pause, 0.05)
    except BaseException:
        lock.lose()
        raise
    raise StoreUnavailable(f"schedule {key}: other calls had it locked all the time; repeat it", outcome="refused")


async def _locked(room: Room, queue: str, key: str, lock: Lock, *, make: bool) -> Document | None:
    """The document once it is locked, empty where there is none and none is to be made; None for another try."""
    found = await room.port.find(slots.these([key]))
    if not found and make:
        doc = slots.placeholder(key, room.names.queue(queue), lock.document())
        done = await room.port.insert(SCHEDULES, [doc])
        return None if done.duplicates else doc
    if not found or (not found[0]["rev"] and not make):
        return {}
    held = await lock.take({key: found[0]["rev"]})
    return found[0] if held.mine else None


async def schedules(room: Room, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
    docs, _ = await room.port.first(slots.page(room.names.queue(queue), after, limit)) if limit > 0 else ([], True)
    return _bounded([slots.record(doc, queue) for doc in docs])


async def get_schedules(room: Room, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
    keys = [room.names.schedule(queue, name) for name in ids]
    docs = {doc["_id"]: doc for doc in await room.port.find(slots.these(keys))} if keys else {}
    return [slots.record(docs[key], queue) if key in docs and docs[key]["rev"] else None for key in keys]


async def due(room: Room, queue: str, limit: int = 100) -> Due:
    """One round trip, unless the store's time was known much too early, or somebody's firing is to be finished."""
    while True:
        now, sent = room.now(), room.port.monotonic()
        late = None if room.replica else now - SILENT
        names, key = room.names, room.names.queue(queue)
        docs, whole = await room.port.first(slots.due(names.collection(SCHEDULES), key, now, limit, unfinished=late))
        own, found, coming, unfinished = _parted(docs, key)
        stamp = next(int(doc["now"]) for doc in docs if doc["_id"] == STORE)
        room.ranks.observe(stamp, sent, room.port.monotonic())
        if unfinished:
            await finish(room, queue, [{"_id": doc["_id"], "making": doc["unfinished"]} for doc in unfinished])
        if stamp + room.shift() - now <= BEHIND or room.now() - now <= BEHIND:
            break
    if own.get("home", "here") != "here":
        return Due(now=now)
    records = _bounded([slots.record(doc, queue) for doc in found[:limit]])
    left = found[len(records) :]
    if left or (found and not whole):  # the next one may be behind the first message, and is not before the last here
        coming = int((left or found[-1:])[0]["next"])
    return Due(now=now, records=records, next_at=coming)


def _parted(docs: Sequence[Document], key: str) -> tuple[Document, list[Document], int | None, list[Document]]:
    """What the answer to `due` is made of: the queue's document, schedules, when the next comes, unfinished firings."""
    own: Document = {}
    found: list[Document] = []
    coming: int | None = None
    unfinished: list[Document] = []
    for doc in docs:
        if "coming" in doc:
            coming = int(doc["coming"])
        elif "unfinished" in doc:
            unfinished.append(doc)
        elif "definition" in doc:
            found.append(doc)
        elif doc["_id"] == key:
            own = doc
    return own, found, coming, unfinished


async def take_schedules(room: Room, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
    check(records, room.limit)
    key = room.names.queue(queue)
    brought = {room.names.schedule(queue, record.id): record for record in records}
    put = Lock(room, queue).token

    async def work(port: MongoPort) -> None:
        await mine(port, room, queue, epoch)
        there = {doc["_id"]: doc for doc in await port.find(slots.these(list(brought), ("rev", "making")))}
        await finish(room, queue, [doc for doc in there.values() if "making" in doc])
        new: list[Document] = []
        writes: list[Any] = []
        for name, record in brought.items():
            said = slots.document(record, queue=key, rev=record.rev, by=put)
            if name not in there:
                new.append({"_id": name, **said})
            elif there[name]["rev"] < record.rev:
                writes.append(slots.take(name, there[name]["rev"], said))
        if writes and (await port.bulk(SCHEDULES, writes)).met < len(writes):
            raise Contended(f"queue {queue}: another call changed a schedule that comes in")
        if new and (await port.insert(SCHEDULES, new)).duplicates:
            raise Contended(f"queue {queue}: another call put a schedule that comes in")

    await atomic(room, queue, work)


async def drop(room: Room, queue: str) -> None:
    """Remove all of a queue."""
    key, token = room.names.queue(queue), Lock(room, queue).token
    if (await room.port.bulk(SCHEDULES, [slots.doom(key, token)])).met:
        await room.port.delete(SCHEDULES, slots.doomed(key, token))


def check(records: Sequence[ScheduleRecord], limit: int) -> None:
    for record in records:
        wrong = definition_error(record.definition, limit)
        if wrong is not None:
            raise PayloadTooLarge(f"schedule {record.id}: {wrong}")


def _same(schedule: ScheduleRecord, stored: ScheduleRecord) -> bool:
    names = ("definition", "next", "fired", "skipped", "last_job")
    return all(getattr(schedule, name) == getattr(stored, name) for name in names)


def _changed(queue: str, id: str) -> Conflict:
    return Conflict(f"schedule {queue}/{id} was changed meanwhile; read it again")


def _bounded(records: Sequence[ScheduleRecord]) -> list[ScheduleRecord]:
    """The first that fit into one answer, at least one."""
    found: list[ScheduleRecord] = []
    size = 0
    for record in records:
        size += len(record.definition)
        if found and size > BYTES_READ:
            break
        found.append(record)
    return found
