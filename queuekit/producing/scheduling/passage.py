"""A schedule that changes its queue, or is new: one record leaves, another comes, and at no moment may two fire.

Steps, each written under compare-and-set: freeze the old record, write the new one that does not fire yet, delete the
old one, let the new one fire. Whoever finds a step done goes on from it (docs/decisions/144), and if nobody does, the
workers of its queue do a little later: until the last step a record's `next` says when (docs/decisions/157).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import STRANDED, Definition, Passage
from queuekit.producing.scheduling.editing import fires, store_now
from queuekit.producing.scheduling.finding import Found, everywhere, in_queue
from queuekit.producing.scheduling.gate import root
from queuekit.producing.scheduling.root import scheduling

if TYPE_CHECKING:
    from queuekit.kit import QueueKit
    from queuekit.producing.access import Entry

_log = logging.getLogger("queuekit")


async def leave(found: Found, queue: str) -> None:
    """The first step: the record fires no more, and says where it goes. Raises Conflict if somebody was faster."""
    record = found.record
    definition = replace(Definition.load(record.definition), leaving=Passage(queue=queue, next=record.next))
    stranded = await store_now(found.at, record.queue) + STRANDED
    frozen = replace(record, definition=definition.dump(), next=stranded)
    await found.at.ask(partial(scheduling(found.at).put_schedule, record.queue, frozen))


async def go_on(kit: QueueKit, at: Entry, found: Found) -> None:
    """The next step of a schedule that is on its way. Raises Conflict if somebody was faster: look again."""
    definition = Definition.load(found.record.definition)
    if definition.leaving is not None:
        await _arrive(kit, at, found, definition, definition.leaving)
    elif definition.coming is not None:
        await confirmed(kit, at, found)


async def _arrive(kit: QueueKit, at: Entry, old: Found, definition: Definition, passage: Passage) -> None:
    """The new record, and behind it the end of the old one."""
    record, queue = old.record, passage.queue
    there = await in_queue(kit, at, queue, record.id)
    if there is None:
        begin = await root(kit, at, queue)
        coming = Passage(queue=record.queue, rev=record.rev, next=passage.next)
        new = replace(record, queue=queue, rev=0, definition=replace(definition, leaving=None, coming=coming).dump())
        await begin.at.ask(partial(scheduling(begin.at).put_schedule, queue, new))
        return
    theirs = Definition.load(there.record.definition).coming
    if theirs is not None and (theirs.queue, theirs.rev) != (record.queue, record.rev):
        await go_on(kit, at, there)  # it comes from elsewhere, or of an earlier passage
        return
    if theirs is None:
        _log.warning("schedule %s was in queue %s already: the one of queue %s is dropped", record.id, queue,
                     record.queue)  # fmt: skip
    await _delete(old)


async def confirmed(kit: QueueKit, at: Entry, new: Found) -> ScheduleRecord | None:
    """The next step of a record that comes: it fires, if no other has that id by now. None: it does not, look again.

    What fires, or leaves for elsewhere, goes before it. Of two that come the one of the later passage stays, and one
    that is new goes; of two that are new the one of the first queue by name stays.
    """
    definition = Definition.load(new.record.definition)
    coming = definition.coming
    if coming is None:
        return new.record
    for other in await everywhere(kit, at, new.record.id):
        if other.record.queue == new.record.queue:
            continue
        theirs = Definition.load(other.record.definition).coming
        left = (other.record.queue, other.record.rev) == (coming.queue, coming.rev)
        if left or (theirs is not None and _before(other.record, theirs, new.record, coming)):
            await _delete(other)
        else:
            await _delete(new)
        return None
    return await _fire(new, definition, coming)


def _before(other: ScheduleRecord, theirs: Passage, record: ScheduleRecord, mine: Passage) -> bool:
    """Whether of two that come the other one is to go: revs of one id grow, whatever its queue."""
    return theirs.rev < mine.rev or (theirs.rev == mine.rev and other.queue > record.queue)


async def _fire(new: Found, definition: Definition, passage: Passage) -> ScheduleRecord:
    """The last step."""
    arrived = replace(definition, coming=None)
    record = replace(new.record, definition=arrived.dump(), next=passage.next if fires(arrived) else None)
    return await new.at.ask(partial(scheduling(new.at).put_schedule, record.queue, record))


async def _delete(found: Found) -> None:
    record = found.record
    await found.at.ask(partial(scheduling(found.at).delete_schedule, record.queue, record.id, record.rev))
