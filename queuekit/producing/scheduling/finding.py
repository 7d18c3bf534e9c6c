"""Schedules by id or queue, in the own store or where their queue moved to. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from queuekit.domain import names
from queuekit.domain.outcome import Home
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
    return only(await all_of(kit, at, text), text)


async def all_of(kit: QueueKit, at: Entry, text: str, *, sure: bool = True) -> list[Found]:
    """All records of a bare id, or the one of "queue/id": while a schedule changes its queue there are two.

    `sure`: where there is none of a bare id, look again; it may have gone from a queue not asked yet to one that was.
    """
    scheduling(at)
    queue, name = reference(text)
    if queue is None:
        return await everywhere(kit, at, name) or (await everywhere(kit, at, name) if sure else [])
    found = await in_queue(kit, at, queue, name)
    return [] if found is None else [found]


def only(found: list[Found], id: str) -> Found | None:
    """The one that counts: before those that are on their way to another queue. Raises Conflict for two that stay."""
    staying = [place for place in found if not passing(place.record)]
    if len(staying) > 1:
        listed = ", ".join(sorted(place.record.queue for place in staying))
        raise Conflict(f"schedule {id!r} is in the queues {listed}: say which, as queue/id")
    return next(iter(staying or found), None)


def passing(record: ScheduleRecord) -> bool:
    """Whether it is on its way to another queue."""
    try:
        return Definition.load(record.definition).passing
    except SchemaMismatch:
        return False


async def in_queue(kit: QueueKit, at: Entry, queue: str, id: str) -> Found | None:
    """The schedule of that id and queue."""
    begin = await root(kit, at, queue)
    place = await _home(begin, queue)
    record = (await place.ask(partial(scheduling(place).get_schedules, queue, [id])))[0]
    return None if record is None else Found(begin, place, record)


async def everywhere(kit: QueueKit, at: Entry, id: str) -> list[Found]:
    """The schedules of that id in all known queues; where none has it, in the stores that queues moved to."""
    queues = set[str]()
    for begin in await _roots(kit, at):
        queues |= await _queues_with(begin.at, id)
    for place in [] if queues else await seeking.linked(kit.access, at):
        queues |= await _queues_with(place.entry, id) if schedules_in(place.entry.store) else set()
    found = [await in_queue(kit, at, queue, id) for queue in sorted(queues)]
    return [place for place in found if place is not None]


async def listed(kit: QueueKit, at: Entry, queue: str | None) -> list[Found]:
    """All schedules, or those of a queue, by queue and id."""
    scheduling(at)
    queues = {names.queue_name(queue)} if queue is not None else set[str]()
    for begin in await _roots(kit, at) if queue is None else ():
        queues.update(await begin.at.ask(begin.at.store.queues))
    found = []
    for name in sorted(queues):
        begin = await root(kit, at, name)
        place = await _home(begin, name)
        found += [Found(begin, place, record) async for record in pages(place, name)]
    return found


async def _queues_with(at: Entry, id: str) -> set[str]:
    """Queues of one store that have a schedule of that id. *Cost* O(queues)."""
    queues = await at.ask(at.store.queues)
    return {
        queue for queue in queues if (await at.ask(partial(scheduling(at).get_schedules, queue, [id])))[0] is not None
    }


async def pages(at: Entry, queue: str) -> AsyncIterator[ScheduleRecord]:
    """All records of a queue in one store, by id."""
    after = ""
    while page := await at.ask(partial(scheduling(at).schedules, queue, after, _PAGE)):
        for record in page:
            yield record
        after = page[-1].id


async def _home(begin: Root, queue: str) -> Entry:
    """The store whose schedules of a queue hold: where it lives; until that is one, where it leaves."""
    conf = await begin.at.ask(partial(begin.at.store.conf, queue))
    if conf.home is Home.HERE:
        return begin.at
    leaves = begin.at if conf.home is Home.MOVING else None
    async for place in seeking.trail(begin.access, begin.at, queue):
        entry = place.entry
        home = (await entry.ask(partial(entry.store.conf, queue))).home
        if home is Home.HERE and schedules_in(entry.store):
            return entry
        if home is Home.MOVING:
            leaves = leaves or entry
    return leaves or begin.at


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
