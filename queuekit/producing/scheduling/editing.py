"""Changes of stored schedules: read, edited, written if nobody wrote between, and again until it is so.

What `next` becomes with an edit, and whether it is where it should be, is decided here; the rest stands with the verb.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, TypeAlias

from queuekit import clock
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import MANUAL, Definition
from queuekit.errors import Conflict, Moved, SchemaMismatch
from queuekit.producing import seeking
from queuekit.producing.access import Entry
from queuekit.producing.scheduling.finding import Found
from queuekit.producing.scheduling.root import Root, scheduling

Change: TypeAlias = Callable[[ScheduleRecord, Definition, int], ScheduleRecord | None]

_log = logging.getLogger("queuekit")
AHEAD: Final = 86_400_000  # ms: a clock that was set back by less may have fired what lies between (decision 156)
_TRIES: Final = 50  # of a compare-and-set; each loser means that somebody else's write, or a firing, was kept
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds


class Passing(Exception):
    """The schedule is changing its queue: whoever wanted something else first goes on with that."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.record.id)
        self.found = found


async def edit(found: Found, change: Change) -> tuple[ScheduleRecord | None, bool]:
    """The record after `change`, which answers None where nothing is to do, and whether anything was written.

    (None, False): the schedule is gone. Raises Moved while its queue is on its way for longer than a call may last,
    Passing while it changes its queue, Conflict where others never let one through.
    """
    at, record, ways = found.at, found.record, Ways(found.root)
    for _ in range(_TRIES):
        definition = Definition.load(record.definition)
        if definition.leaving is not None or definition.coming is not None:
            raise Passing(Found(found.root, at, record))
        wanted = change(record, definition, await store_now(at, record.queue))
        if wanted is None:
            return record, False
        try:
            return await at.ask(partial(scheduling(at).put_schedule, record.queue, wanted)), True
        except Conflict:
            read = await stored(at, record.queue, record.id)
            if read is None:
                return None, False
        except Moved as moved:
            at = await ways.on(record.queue, moved)
            read = await stored(at, record.queue, record.id)  # None: it has not come over yet
        record = read or record
    raise Conflict(f"schedule {found.record.queue}/{found.record.id} changes all the time: {_TRIES} tries lost")


class Ways:
    """One call's way behind a queue that moves."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._deadline = clock.monotonic() + root.at.within
        self._pause = _FIRST_PAUSE
        self._last: Entry | None = None

    async def on(self, queue: str, moved: Moved) -> Entry:
        """Where to try next, behind a pause if we were there. Raises Moved when the time of a call is over."""
        at = await self._home(queue, moved)
        if at is self._last:
            if clock.monotonic() >= self._deadline:
                raise Moved(
                    f"queue {queue!r} is on its way between two stores, its schedules with it: nothing was changed, try"
                    " again (queuekit migrate --resume if no mover runs)",
                    to=moved.to,
                ) from moved
            await self._root.at.sleep(self._pause)
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        self._last = at
        return at

    async def _home(self, queue: str, moved: Moved) -> Entry:
        try:
            return await seeking.home(self._root.access, self._root.at, queue)
        except Moved:
            if moved.to is None or self._last is None:
                return self._root.at
            return self._last


async def stored(at: Entry, queue: str, id: str) -> ScheduleRecord | None:
    """One record of one store."""
    return (await at.ask(partial(scheduling(at).get_schedules, queue, [id])))[0]


async def store_now(at: Entry, queue: str) -> int:
    """The store's clock: the one that firing goes by."""
    return (await at.ask(partial(scheduling(at).due, queue, 0))).now


def rewritten(record: ScheduleRecord, before: Definition, after: Definition, now: int) -> ScheduleRecord:
    """The record with an edited definition. Its next slot stays where the rule does; so does one that is due now and
    is a slot of the new rule too. Else it is the first one to come of the new rule.
    """
    after = _anchored(after, now)
    if not fires(after):
        next_at = None
    else:
        stays = fires(before) and before.rule == after.rule and before.anchor == after.anchor
        right = stays and not astray(record, after, now)
        next_at = record.next if right else _next(record, after, now, resumed=not fires(before))
    return replace(record, definition=after.dump(), next=next_at)


def fires(definition: Definition) -> bool:
    """Whether it fires at all: it is not paused, and not on its way to another queue."""
    return definition.paused is None and not definition.passing


def astray(record: ScheduleRecord, definition: Definition, now: int) -> bool:
    """Whether its next slot is not the rule's: it lies behind one that is more than a day to come, which only a clock
    that was further ahead than that can have passed over. `now` is the store's.
    """
    far = now + AHEAD
    if not fires(definition) or (record.next is not None and record.next <= far):
        return False
    try:
        table = definition.timetable
    except SchemaMismatch:
        return False
    if table.count is not None and record.fired >= table.count:
        return False
    slot = _behind(record, _anchored(definition, now), far)
    return slot is not None and (record.next is None or slot < record.next)


def mended(record: ScheduleRecord, definition: Definition, now: int) -> ScheduleRecord | None:
    """The record with the slot that its rule says, None where it has that."""
    if not astray(record, definition, now):
        return None
    wanted = rewritten(record, definition, definition, now)
    _log.warning("schedule %s of queue %s: its next slot was %s, since a clock was far ahead for a while; it is %s now",
                 record.id, record.queue, _shown(record.next), _shown(wanted.next))  # fmt: skip
    return wanted


def _next(record: ScheduleRecord, definition: Definition, now: int, *, resumed: bool) -> int | None:
    table, anchor, due = definition.timetable, definition.anchor, record.next
    if table.count is not None and record.fired >= table.count:
        return None
    if due is not None and due <= now and table.after(due - 1, anchor) == due:
        return due
    fired = _fired(record)
    known = fired if fired <= now + AHEAD else 0
    if not resumed:
        first = table.first(now, anchor)  # a start a moment ago counts as now; what has fired does not
        if first is None or first > max(now, known) or record.fired == 0 or 0 < known < first:
            return first
    return _behind(record, definition, max(now, known))


def _behind(record: ScheduleRecord, definition: Definition, moment: int) -> int | None:
    """The first slot behind a moment, but the one that made the last job: it may have fired under a clock far ahead."""
    table, anchor = definition.timetable, definition.anchor
    slot = table.after(moment, anchor)
    return table.after(slot, anchor) if slot is not None and slot == _fired(record) else slot


def _anchored(definition: Definition, now: int) -> Definition:
    """With an anchor that is no moment to come: a clock far ahead gave it."""
    return definition if definition.anchor <= now + AHEAD else replace(definition, anchor=now - now % 1000)


def _fired(record: ScheduleRecord) -> int:
    """The slot of the last job; 0 where that is not known."""
    _, at, slot = (record.last_job or "").rpartition("@")
    if not at or slot.startswith(MANUAL):
        return 0
    try:
        return clock.to_ms(datetime.fromisoformat(slot))
    except ValueError:
        return 0


def _shown(slot: int | None) -> str:
    return "none" if slot is None else clock.to_datetime(slot).isoformat()
