"""A schedule that changes its queue: one record leaves, another comes, and at no moment may two fire.

Steps, each written under compare-and-set: freeze the old record, write the new one that does not fire yet, delete the
old one, let the new one fire. Whoever finds a step done goes on from it (decision 144).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from queuekit.domain.scheduled import Definition, Passage
from queuekit.producing.scheduling.editing import fires
from queuekit.producing.scheduling.finding import Found, in_queue
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
    frozen = replace(record, definition=definition.dump(), next=None)
    await found.at.ask(partial(scheduling(found.at).put_schedule, record.queue, frozen))


async def go_on(kit: QueueKit, at: Entry, found: Found) -> None:
    """The next step of a schedule that is on its way. Raises Conflict if somebody was faster: look again."""
    definition = Definition.load(found.record.definition)
    if definition.leaving is not None:
        await _arrive(kit, at, found, definition, definition.leaving)
    elif definition.coming is not None:
        await _settle(kit, at, found, definition, definition.coming)


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
    await old.at.ask(partial(scheduling(old.at).delete_schedule, record.queue, record.id, record.rev))


async def _settle(kit: QueueKit, at: Entry, new: Found, definition: Definition, passage: Passage) -> None:
    """The old record's end, and behind it the new one fires; or the new one's end, if it was left behind."""
    record = new.record
    old = await in_queue(kit, at, passage.queue, record.id)
    if old is not None and old.record.rev == passage.rev:
        await old.at.ask(partial(scheduling(old.at).delete_schedule, passage.queue, record.id, passage.rev))
        return
    if old is not None:  # it stayed, or came back: the passage this belongs to is over
        await new.at.ask(partial(scheduling(new.at).delete_schedule, record.queue, record.id, record.rev))
        return
    arrived = replace(definition, coming=None)
    next_at = passage.next if fires(arrived) else None
    await new.at.ask(
        partial(scheduling(new.at).put_schedule, record.queue, replace(record, definition=arrived.dump(), next=next_at))
    )
