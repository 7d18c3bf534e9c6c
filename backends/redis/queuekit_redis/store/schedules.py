"""put_schedule, delete_schedule, schedules, get_schedules, due, fire, take_schedules: jobs that come by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from queuekit.domain.job import BATCH_MAX, limits_error
from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord, checked, definition_error
from queuekit.errors import Conflict, PayloadTooLarge, Unsupported
from queuekit_redis.replies import moved
from queuekit_redis.store.base import Base

_TAKEN: Final = 4 * 1024 * 1024  # bytes of definitions in one call of take_schedules.lua
_CHANGED: Final = "schedule {}/{} was changed meanwhile; read it again"


class Schedules(Base):
    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        """One script; see put_schedule.lua. The first of a queue names it on the list of all, once more behind it."""
        from queuekit_redis.schedules import pack_schedule

        self._fits(schedule)
        await self._announce_if_room((queue,))
        reply = await self._call("put_schedule", queue, [self._moved(), *pack_schedule(schedule)])
        if reply[0] == 2:
            raise moved(queue, reply[1], reply[2])
        if reply[0]:
            raise Conflict(_CHANGED.format(queue, schedule.id))
        if reply[2]:
            await self._announce_if_room((queue,), anew=True)
        return replace(schedule, queue=queue, rev=reply[1])

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        """One script; see delete_schedule.lua."""
        reply = await self._call("delete_schedule", queue, [id.encode(), b"" if rev is None else rev])
        if reply[0] == 2:
            raise moved(queue, reply[1], reply[2])
        if reply[0]:
            raise Conflict(_CHANGED.format(queue, id))
        return bool(reply[1])

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        """One script; see schedules.lua."""
        from queuekit_redis.schedules import unpack_schedules

        return unpack_schedules(queue, await self._call("schedules", queue, [after.encode(), max(0, limit)]))

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        """One script; see get_schedules.lua."""
        from queuekit_redis.schedules import unpack_schedule

        if not ids:
            return []
        said = await self._call("get_schedules", queue, [name.encode() for name in ids])
        found = zip(ids, said[::2], said[1::2], strict=True)
        return [None if slot is None else unpack_schedule(queue, name, slot, rule) for name, slot, rule in found]

    async def due(self, queue: str, limit: int = 100) -> Due:
        """One script; see due.lua."""
        from queuekit_redis.schedules import unpack_due

        return unpack_due(queue, await self._call("due", queue, [self._moved(), max(0, limit)]))

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        """One script for the whole call, which applies each firing or not; see fire.lua."""
        from queuekit_redis.schedules import pack_firings, unpack_fired

        checked(firings)
        for spec in (spec for firing in firings for spec in firing.jobs):
            if spec.group is not None:
                raise Unsupported("this store has no groups: leave `group` unset")
            if len(spec.body) > self._limit:
                raise PayloadTooLarge(f"job {spec.id}: {limits_error(spec.body, self._limit)}")
        await self._announce_if_room((queue,))
        reply = await self._call("fire", queue, [self._moved(), *pack_firings(firings)])
        if reply[0]:
            raise moved(queue, reply[1], reply[2])
        return [unpack_fired(firing, said) for firing, said in zip(firings, reply[1], strict=True)]

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        """A script for every 4 MiB, and one at least; see take_schedules.lua."""
        from queuekit_redis.schedules import pack_schedule

        for record in records:
            self._fits(record)
        await self._announce_if_room((queue,), anew=True)
        calls: list[list[bytes | int]] = [[]]
        size = 0
        for record in records:
            size += len(record.definition)
            if calls[-1] and (size > _TAKEN or len(calls[-1]) >= 5 * BATCH_MAX):
                calls.append([])
                size = len(record.definition)
            calls[-1] += pack_schedule(record)
        for args in calls:
            code, *other = await self._call("take_schedules", queue, [epoch, *args])
            if code:
                raise Conflict(f"queue {queue}: its epoch is {int(other[0])}, this mover's {epoch}")

    def _fits(self, schedule: ScheduleRecord) -> None:
        wrong = definition_error(schedule.definition, self._limit)
        if wrong is not None:
            raise PayloadTooLarge(f"schedule {schedule.id}: {wrong}")
