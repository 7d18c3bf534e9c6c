"""`every` as schedules of the kit, one for each type. Each verb once, through a door."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from queuekit import InvalidOption, JobOptions
from queuekit.compat.agenda.border import every_rule, to_ours
from queuekit.compat.agenda.scheduling import payload_of
from queuekit.compat.door import Door
from queuekit.domain import names

Interval: TypeAlias = int | float | str | timedelta
Options: TypeAlias = Mapping[str, Any] | None
Types: TypeAlias = list[str] | tuple[str, ...]


async def every(
    door: Door, queue: str, interval: Interval, type: str | Types, data: Any, options: Options
) -> str | list[str]:
    """See `JobProcessor.every`. Of several types each is written by itself, in their order."""
    if not isinstance(type, str):
        return [await _one(door, queue, interval, one, data, options) for one in type]
    return await _one(door, queue, interval, type, data, options)


async def _one(door: Door, queue: str, interval: Interval, type: str, data: Any, options: Options) -> str:
    from queuekit.producing.scheduling import verbs

    given = dict(options or {})
    priority = given.pop("priority", None)
    rule, at_once = every_rule(interval, given)
    own: JobOptions = {} if priority is None else {"priority": to_ours(priority)}
    job = door.kit.queue(queue).make(type, payload_of(type, data), **own)
    await door.op(lambda at: verbs.ensure(door.kit, at, type, job, rule, at_once=at_once))
    return type


async def switch(door: Door, queue: str, type: str, *, on: bool) -> bool:
    """See `JobProcessor.disable` and `enable`."""
    if not await _there(door, queue, type):
        return False
    if on:
        await door.schedules("resume", type)
    else:
        await door.schedules("pause", type, "disabled")
    return True


async def cancel(door: Door, queue: str, type: str) -> bool:
    """See `JobProcessor.cancel_every`."""
    return await _there(door, queue, type) and bool(await door.schedules("delete", type))


async def _there(door: Door, queue: str, type: str) -> bool:
    """Whether there is a schedule of that name, and it is this facade's. Raises InvalidOption for another queue's."""
    found = await door.schedules("get", names.task_name(type))
    if found is not None and found.queue != queue:
        raise InvalidOption(f"schedule {type!r} is one of queue {found.queue!r}, not of {queue!r}")
    return found is not None
