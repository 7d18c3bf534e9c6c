"""Writing and withdrawing scheduled jobs: ids of one's own, reminders as a set. Each verb once, through a door."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from queuekit import JSON, JobHandle, PayloadError, QueueKit, QueueKitError, State, clock
from queuekit.compat.agenda.border import When, dates_as_text, snake, to_ours, when_options
from queuekit.compat.door import Blocking, Door
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Change, Verb
from queuekit.domain.redact import redact
from queuekit.producing import seeking
from queuekit.producing.access import Entry
from queuekit.producing.newjob import Later, later_of
from queuekit.recipes import JOB_TYPES, Booking, BookingReminder, EmailNotification, PaymentReminder, typed
from queuekit.store.direct import direct

log = logging.getLogger("queuekit.compat")


async def schedule(
    door: Door, queue: str, id: str | None, when: When, type: str, data: Any, priority: Any, **options: Any
) -> JobHandle[JSON]:
    """See `JobProcessor.schedule_job`; `options` are a job's."""
    options |= when_options(when)
    if priority is not None:
        options["priority"] = to_ours(priority)
    payload = payload_of(type, data)
    if id is None:
        return await door.enqueue(queue, type, payload, **options)
    cancelled = await door.op(lambda at: _cancelled(door, at, queue, id))
    if cancelled is not None and await door.opened() is None:
        await door.op(lambda at: _free(door, at, cancelled))
    handle = await door.enqueue(queue, type, payload, **options, id=id)
    later = None if cancelled is None else later_of(handle)
    if later is not None and cancelled is not None:  # a rollback leaves it
        later.first = partial(_free_behind, door.kit, cancelled)
    return handle


async def email(
    door: Door, queue: str, id: str | None, when: When, message: EmailNotification | Mapping[str, Any]
) -> JobHandle[JSON]:
    """See `JobProcessor.schedule_email_notification`."""
    priority = None
    if isinstance(message, Mapping):
        said = snake(message)
        priority = said.pop("priority", None)
        message = typed(EmailNotification, said)
    return await schedule(door, queue, id, when, "email_notification", message, priority)


async def payment(door: Door, queue: str, notice: int, given: PaymentReminder | Mapping[str, Any]) -> JobHandle[JSON]:
    """See `JobProcessor.schedule_payment_reminders`."""
    due = typed(PaymentReminder, snake(given) if isinstance(given, Mapping) else given)
    moment = _aware("due_date", due.due_date)
    own = f"payment_reminder:{due.booking_id}:{_stamp(moment)}"
    return await schedule(door, queue, own, moment - timedelta(milliseconds=notice), "payment_reminder", due, None)


# ---------------------------------------------------------------- the reminders of a booking
async def reminders(
    door: Door, queue: str, offsets: Mapping[str, int], given: Booking | Mapping[str, Any]
) -> list[JobHandle[JSON]]:
    """See `JobProcessor.schedule_booking_reminders`."""
    booking = _booking(given)
    now = clock.to_datetime((await door.op(lambda at: at.ask(partial(at.store.count, queue)))).now)
    made = []
    for label, ms in offsets.items():
        moment = booking.booking_date - timedelta(milliseconds=ms)
        if moment > now:
            reminder = BookingReminder(**dataclasses.asdict(booking), before=label)
            own = _id(booking, label)
            # behind the booking nobody wants it any more: a worker that was away so long sends none
            until = {"expires": booking.booking_date}
            made.append(await schedule(door, queue, own, moment, "booking_reminder", reminder, None, **until))
    return made


async def cancel(door: Door, queue: str, offsets: Mapping[str, int], given: Booking | Mapping[str, Any]) -> int:
    """See `JobProcessor.cancel_booking_reminders`."""
    booking = _booking(given)
    return await _withdraw(door, queue, [_id(booking, label) for label in offsets], "the booking was cancelled")


async def change(
    door: Door,
    queue: str,
    offsets: Mapping[str, int],
    before: Booking | Mapping[str, Any],
    after: Booking | Mapping[str, Any],
) -> list[JobHandle[JSON]]:
    """See `JobProcessor.reschedule_booking_reminders`. Killed in between it leaves a reminder too many, never none."""
    old, new = _booking(before), _booking(after)
    made = await reminders(door, queue, offsets, new)
    outdated = [_id(old, label) for label in offsets]
    details = {_id(new, label): BookingReminder(**dataclasses.asdict(new), before=label) for label in offsets}
    register = await door.opened()
    if register is None:
        await _outdate(door, queue, outdated, made, details)
        return made
    later = Later(door.kit, ())  # the new ones wait for a transaction: so do the old ones, which a rollback leaves
    later.written = lambda: _outdate_behind(door.kit, queue, outdated, made, details)
    register(later)
    return made


async def _outdate(
    door: Door, queue: str, outdated: list[str], made: list[JobHandle[JSON]], details: Mapping[str, BookingReminder]
) -> None:
    """Cancel the reminders of before; where the date is the same, what stands gets the new details instead."""
    kept = {handle.id for handle in made}
    for same in kept.intersection(outdated):
        await door.do(door.kit.job(same, queue=queue), "replace", details[same])
    await _withdraw(door, queue, [one for one in outdated if one not in kept], "the booking was changed")


def _outdate_behind(
    kit: QueueKit, queue: str, outdated: list[str], made: list[JobHandle[JSON]], details: Mapping[str, BookingReminder]
) -> None:
    """The same behind a commit, which an error must not spoil; nothing where the new ones could not be written."""
    try:
        if all(handle.created is not None for handle in made):
            direct(_outdate(Blocking(kit), queue, outdated, made, details))
    except QueueKitError as error:
        log.error("reminders of a changed booking are left: %s: %s", ", ".join(outdated), redact(str(error)))


async def _withdraw(door: Door, queue: str, ids: list[str], reason: str) -> int:
    return sum([await door.do(door.kit.job(one, queue=queue), "cancel", reason) for one in ids])


async def _cancelled(door: Door, at: Entry, queue: str, id: str) -> JobRecord | None:
    """The id's job, where it was cancelled."""
    record = await seeking.record(door.kit.access, at, queue, id)
    return record if record is not None and record.state is State.CANCELLED else None


async def _free(door: Door, at: Entry, seen: JobRecord) -> None:
    """Make room. Only the very job that was seen cancelled goes: by its revision."""
    await seeking.change(door.kit.access, at, seen.queue, Change(id=seen.id, verb=Verb.DELETE, rev=seen.rev))


def _free_behind(kit: QueueKit, seen: JobRecord) -> None:
    """The same behind a commit, which an error must not spoil: the new job is then not made."""
    door = Blocking(kit)
    try:
        direct(door.op(lambda at: _free(door, at, seen)))
    except QueueKitError as error:
        log.error("cancelled job %s/%s is left in a new one's place: %s", seen.queue, seen.id, redact(str(error)))


def _booking(given: Booking | Mapping[str, Any]) -> Booking:
    booking = typed(Booking, snake(given) if isinstance(given, Mapping) else given)
    _aware("booking_date", booking.booking_date)
    return booking


def _id(booking: Booking, label: str) -> str:
    return f"booking_reminder:{booking.booking_id}:{label}:{_stamp(booking.booking_date)}"


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _aware(name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        problem = f"{name}: {moment} has no timezone: say which, for example datetime(…, tzinfo=UTC)"
        raise PayloadError(problem, [problem])
    return moment


def payload_of(type: str, data: Any) -> Any:
    """The data, checked where the type is one of the six; else what JSON carries, with dates as text."""
    kind = JOB_TYPES.get(type)
    if kind is not None:
        return typed(kind, snake(data) if isinstance(data, Mapping) else data)
    return {} if data is None else dates_as_text(data)
