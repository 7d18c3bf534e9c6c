"""What `kit.schedules` does, one coroutine a verb for plain and awaited calls. `by`: who does it, else user@host."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from queuekit import clock, ids
from queuekit.domain import names
from queuekit.domain.redact import redact
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import STRANDED, Definition, Layer, Mark, Passage
from queuekit.domain.timetable import Timetable
from queuekit.domain.values import JSON
from queuekit.errors import Conflict, InvalidOption, JobNotFound, Moved, StoreError
from queuekit.handle import JobHandle
from queuekit.producing import following
from queuekit.producing.access import Entry
from queuekit.producing.newjob import NewJob
from queuekit.producing.person import who
from queuekit.producing.schedules import Schedule
from queuekit.producing.scheduling import finding, passage
from queuekit.producing.scheduling.editing import Change, Passing, Ways, edit, fires, mended, rewritten, store_now
from queuekit.producing.scheduling.finding import Found
from queuekit.producing.scheduling.forms import form_of, over
from queuekit.producing.scheduling.gate import root
from queuekit.producing.scheduling.root import scheduling
from queuekit.producing.scheduling.view import view

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

_log = logging.getLogger("queuekit")
_TRIES = 50


async def get(kit: QueueKit, at: Entry, id: str) -> Schedule | None:
    found = await finding.one(kit, at, id)
    return None if found is None else view(found.record)


async def every(kit: QueueKit, at: Entry, queue: str | None = None) -> list[Schedule]:
    return [view(found.record) for found in await finding.listed(kit, at, queue)]


async def put(
    kit: QueueKit, at: Entry, id: str, job: NewJob[Any], rule: Mapping[str, Any], *, by: str | None = None
) -> Schedule:
    """See `Schedules.put`."""
    return (await ensure(kit, at, id, job, rule, by=by))[0]


async def ensure(
    kit: QueueKit, at: Entry, id: str, job: NewJob[Any], rule: Mapping[str, Any], *, by: str | None = None,
    only_new: bool = False, at_once: bool = False,
) -> tuple[Schedule, bool]:  # fmt: skip
    """`put`, and whether it is a new one. `only_new`: one that is there stays as it is. `at_once`: the first slot of a
    new one is now, whatever the rule.
    """
    where = f"schedule {names.schedule_id(id)!r}"
    form = form_of(kit, job, where)
    declared = kit.declarations.get(id)
    if declared is not None and declared.queue != job.queue:
        raise _elsewhere(id, declared.queue)
    table = Timetable.parse(rule, where=where, zone=kit.access.settings.timezone)
    layer = Layer(job=form.to_json(), rule=table.to_json(), by=by or who(), at=clock.now_ms())
    for _ in range(_TRIES):
        found = await settled(kit, at, id, sure=False)
        if found is None:
            made = await created(kit, at, id, job.queue, Definition(anchor=0, override=layer), at_once=at_once)
            if made is not None:
                return view(made), True
        elif only_new:
            return view(found.record), False
        elif found.record.queue != job.queue:
            await _take_along(found, job.queue)
        else:
            try:
                record, _ = await edit(found, partial(_put_over, layer))
            except Passing:
                continue
            if record is not None:
                return view(record), False
    raise Conflict(f"{where} changes all the time: {_TRIES} tries lost")


async def pause(kit: QueueKit, at: Entry, id: str, reason: str = "", *, by: str | None = None) -> bool:
    mark = Mark(by=by or who(), at=clock.now_ms(), reason=reason)

    def change(record: ScheduleRecord, definition: Definition, now: int) -> ScheduleRecord | None:
        if definition.paused is not None:
            return None
        return rewritten(record, definition, replace(definition, paused=mark), now)

    return await _apply(kit, at, id, change)


async def resume(kit: QueueKit, at: Entry, id: str) -> bool:
    def change(record: ScheduleRecord, definition: Definition, now: int) -> ScheduleRecord | None:
        if definition.paused is None:
            return mended(record, definition, now)
        return rewritten(record, definition, replace(definition, paused=None), now)

    return await _apply(kit, at, id, change)


async def reset(kit: QueueKit, at: Entry, id: str) -> bool:
    def change(record: ScheduleRecord, definition: Definition, now: int) -> ScheduleRecord | None:
        if definition.override is None or definition.declared is None:
            return None
        return rewritten(record, definition, replace(definition, override=None), now)

    return await _apply(kit, at, id, change)


async def fire(kit: QueueKit, at: Entry, id: str, *, by: str | None = None) -> JobHandle[JSON]:
    """The job first, then the word about it: whoever dies between the two has fired."""
    found = await settled(kit, at, id)
    if found is None:
        raise JobNotFound(f"no schedule {id!r}: `queuekit schedules list` and kit.schedules.all() say which there are")
    record, begin = found.record, found.root
    now = await store_now(found.at, record.queue)
    spec = Definition.load(record.definition).job_by_hand(record.id, now, ids.job_id())
    with begin.at.lanes.op() as op:
        receipt = (await following.enqueue(begin.access, begin.at, record.queue, [spec], op))[0]
    mark = Mark(by=by or who(), at=now, job=receipt.id)

    def change(record: ScheduleRecord, definition: Definition, now: int) -> ScheduleRecord:
        after = replace(definition, by_hand=mark)
        return replace(rewritten(record, definition, after, now), last_job=receipt.id)

    try:
        await _apply(kit, at, f"{record.queue}/{record.id}", change)
    except (StoreError, Conflict) as error:  # the job is there, and must not look as if it were not
        _log.warning("schedule %s fired by hand, as job %s, which it does not say itself: %s", record.id, receipt.id,
                     redact(str(error)))  # fmt: skip
    return JobHandle.of(kit, record.queue, receipt.id, receipt.created, typed=False)


async def delete(kit: QueueKit, at: Entry, id: str) -> bool:
    """See `Schedules.delete`."""
    ways: Ways | None = None
    for _ in range(_TRIES):
        found = await settled(kit, at, id)
        if found is None:
            return False
        record, entry, ways = found.record, found.at, ways or Ways(found.root)
        try:
            await entry.ask(partial(scheduling(entry).delete_schedule, record.queue, record.id, record.rev))
        except Conflict:
            continue  # it fired, or somebody changed it, between
        except Moved as moved:
            await ways.on(record.queue, moved)
            continue
        _say_declared(kit, record.id)
        return True
    raise Conflict(f"schedule {id!r} changes all the time: {_TRIES} tries lost")


# ---------------------------------------------------------------- for these verbs and for declarations
async def settled(kit: QueueKit, at: Entry, id: str, *, sure: bool = True) -> Found | None:
    """The schedule; one that was on its way to another queue has arrived there. `sure`: see `finding.all_of`."""
    for _ in range(_TRIES):
        found = await finding.all_of(kit, at, id, sure=sure)
        underway = next((place for place in found if finding.passing(place.record)), None)
        if underway is None:
            return finding.only(found, id)
        with suppress(Conflict):  # then somebody else went on with it
            await passage.go_on(kit, at, underway)
    raise Conflict(f"schedule {id!r} is on its way between two queues: {_TRIES} tries lost")


async def edited(found: Found, change: Change) -> bool | None:
    """Whether an edit wrote anything; None: the schedule is gone, or on its way to another queue: look again."""
    try:
        record, written = await edit(found, change)
    except Passing:
        return None
    return None if record is None else written


async def created(
    kit: QueueKit, at: Entry, id: str, queue: str, make: Definition, *, at_once: bool = False, may_be_over: bool = False
) -> ScheduleRecord | None:
    """A new record; None: somebody else wrote one meanwhile. Raises InvalidOption where no slot is to come.

    It is written, then looked whether another queue has that id by now, and only then it fires.
    """
    begin = await root(kit, at, queue)
    entry, ways = begin.at, Ways(begin)
    while True:
        now = await store_now(entry, queue)
        anchor = now if at_once else now - now % 1000  # slots of `every` have names without a fraction
        next_at = make.timetable.first(now, anchor)
        if next_at is None and not may_be_over:
            raise InvalidOption(f"schedule {id!r} {over(make.timetable, 0)}")
        coming = Passage(queue="", next=now if at_once else next_at)
        begun = replace(make, anchor=anchor, coming=coming)
        record = ScheduleRecord(id=id, queue=queue, definition=begun.dump(), next=now + STRANDED)
        try:
            written = await entry.ask(partial(scheduling(entry).put_schedule, queue, record))
            return await passage.confirmed(kit, at, Found(begin, entry, written))
        except Conflict:
            return None
        except Moved as moved:
            entry = await ways.on(queue, moved)


async def _take_along(found: Found, queue: str) -> None:
    """Begin to bring a schedule to another queue; `settled` goes on with it."""
    if Definition.load(found.record.definition).declared is not None:
        raise _elsewhere(found.record.id, found.record.queue)
    await move(found, queue)


async def move(found: Found, queue: str) -> None:
    """Freeze the record for another queue, if nobody was faster."""
    try:
        await passage.leave(found, queue)
    except Conflict:
        return


def _elsewhere(id: str, queue: str) -> InvalidOption:
    return InvalidOption(
        f"schedule {id!r} is declared for queue {queue!r}, and its queue belongs to the declaration: change it there,"
        " or give this one another id"
    )


async def _apply(kit: QueueKit, at: Entry, id: str, change: Change) -> bool:
    """One edit of a schedule by id; whether anything was written."""
    for _ in range(_TRIES):
        found = await settled(kit, at, id)
        if found is None:
            return False
        try:
            return (await edit(found, change))[1]
        except Passing:
            continue
    raise Conflict(f"schedule {id!r} changes all the time: {_TRIES} tries lost")


def _say_declared(kit: QueueKit, id: str) -> None:
    declared = kit.declarations.get(id)
    if declared is not None:
        _log.warning("schedule %s is deleted, and the next worker that starts writes it again: %s declares it; take the"
                     " declaration out, or pause the schedule", id, declared.where)  # fmt: skip


def _put_over(layer: Layer, record: ScheduleRecord, before: Definition, now: int) -> ScheduleRecord | None:
    after = before.overridden(layer)
    if _content(before.override) == _content(after.override):
        return mended(record, before, now)
    wanted = rewritten(record, before, after, now)
    if wanted.next is None:
        would_be = wanted if fires(after) else rewritten(record, before, replace(after, paused=None), now)
        if would_be.next is None:
            raise InvalidOption(f"schedule {record.id!r} {over(after.timetable, record.fired)}")
    return wanted


def _content(layer: Layer | None) -> object:
    return None if layer is None else (layer.job, layer.rule)
