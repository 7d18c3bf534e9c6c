"""Schedules by id or queue, in the own store or where their queue moved to. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from queuekit.domain import names
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition
from queuekit.errors import Conflict, SchemaMismatch, Unsupported
from queuekit.producing import seeking
from queuekit.producing.access import Entry
from queuekit.producing.scheduling.gate import root, source
from queuekit.producing.scheduling.root import Root, schedules_in, scheduling

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A stored schedule, the store it is in, and the one from which the way there began."""

    root: Root
    at: Entry
    record: ScheduleRecord


def reference(text: str) -> tuple[str | None, str]:
    """(queue, id) of "queue/id"; (None, id) of a bare one. Raises InvalidName."""
    queue, slash, name = text.rpartition("/")
    return (names.queue_name(queue) if slash else None), names.schedule_id(name)


async def one(kit: QueueKit, at: Entry, text: str) -> Found | None:
    """The schedule of a bare id or "queue/id". Raises Conflict where two queues have it. *Cost* O(queues) if bare."""
    scheduling(at)
    queue, name = reference(text)
    if queue is not None:
        return await in_queue(kit, at, queue, name)
    return only(await everywhere(kit, at, name), name)


def only(found: list[Found], id: str) -> Found | None:
    """The one that counts: of two that are one schedule on its way, where it comes to. Raises Conflict."""
    queues = {place.record.queue for place in found}
    staying = [place for place in found if len(found) == 1 or _goes_to(place.record) not in queues]
    if len(staying) > 1:
        listed = ", ".join(sorted(place.record.queue for place in staying))
        raise Conflict(f"schedule {id!r} is in the queues {listed}: say which, as queue/id")
    return staying[0] if staying else None


async def in_queue(kit: QueueKit, at: Entry, queue: str, id: str) -> Found | None:
    """The schedule of that id and queue."""
    begin = await root(kit, at, queue)
    async for place in _places(begin, queue):
        record = (await place.ask(partial(scheduling(place).get_schedules, queue, [id])))[0]
        if record is not None:
            return Found(begin, place, record)
    return None


async def everywhere(kit: QueueKit, at: Entry, id: str) -> list[Found]:
    """The schedules of that id in all known queues; where none has it, in the stores that queues moved to."""
    found = []
    for begin in await _roots(kit, at):
        for queue in await begin.at.ask(begin.at.store.queues):
            record = (await begin.at.ask(partial(scheduling(begin.at).get_schedules, queue, [id])))[0]
            if record is not None and (await root(kit, at, queue)).access is begin.access:
                found.append(Found(begin, begin.at, record))
    if found:
        return found
    own = Root(kit.access, at)
    for place in await seeking.linked(kit.access, at):
        entry = place.entry
        for queue in await entry.ask(entry.store.queues) if schedules_in(entry.store) else ():
            record = (await entry.ask(partial(scheduling(entry).get_schedules, queue, [id])))[0]
            if record is not None:
                found.append(Found(own, entry, record))
    return found


async def listed(kit: QueueKit, at: Entry, queue: str | None) -> list[Found]:
    """All schedules, or those of a queue, by queue and id."""
    scheduling(at)
    if queue is not None:
        return await _of(await root(kit, at, names.queue_name(queue)), queue)
    found = list[Found]()
    for begin in await _roots(kit, at):
        for name in await begin.at.ask(begin.at.store.queues):
            if (await root(kit, at, name)).access is begin.access:
                found += await _of(begin, name)
    return sorted(found, key=lambda place: (place.record.queue, place.record.id))


async def _of(begin: Root, queue: str) -> list[Found]:
    """Of one queue, from the first store on its way that has any."""
    async for place in _places(begin, queue):
        found = [Found(begin, place, record) async for record in pages(place, queue)]
        if found:
            return found
    return []


async def pages(at: Entry, queue: str) -> AsyncIterator[ScheduleRecord]:
    """All records of a queue in one store, by id."""
    after = ""
    while page := await at.ask(partial(scheduling(at).schedules, queue, after, _PAGE)):
        for record in page:
            yield record
        after = page[-1].id


async def _places(begin: Root, queue: str) -> AsyncIterator[Entry]:
    """The store where we begin; then, for a queue that moves or moved, the other ones."""
    yield begin.at
    async for place in seeking.trail(begin.access, begin.at, queue):
        if schedules_in(place.entry.store):
            yield place.entry


async def _roots(kit: QueueKit, at: Entry) -> list[Root]:
    """The own store, and that of QUEUEKIT_FROM_URL where it is one that can keep schedules."""
    roots = [Root(kit.access, at)]
    if kit.access.settings.from_url not in (None, kit.access.settings.url):
        try:
            old = await source(kit, at)
        except Unsupported:
            return roots
        if schedules_in(old.at.store):
            roots.append(old)
    return roots


def _goes_to(record: ScheduleRecord) -> str | None:
    try:
        leaving = Definition.load(record.definition).leaving
    except SchemaMismatch:
        return None
    return None if leaving is None else leaving.queue
