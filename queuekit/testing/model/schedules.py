"""Model: schedules. A schedule is one record; firing it compares its rev and enqueues under the same lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from queuekit.domain.outcome import Home
from queuekit.domain.schedule import (
    Due,
    Fired,
    Firing,
    NoFire,
    ScheduleRecord,
    checked,
    definition_error,
    lenient,
)
from queuekit.errors import Conflict, Moved, PayloadTooLarge, QueueFull
from queuekit.testing.model.produce import Produce
from queuekit.testing.model.world import QueueData

BYTES_READ = 4 * 1024 * 1024  # of definitions in one answer


class Schedules(Produce):
    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            self._fits(schedule)
            _here(q)
            stored = q.schedules.get(schedule.id)
            if (
                stored is not None
                and replace(schedule, queue=queue, rev=stored.rev) == stored
                and stored.rev > schedule.rev
            ):
                return replace(stored)  # by this very call, whose answer was lost
            if schedule.rev != (0 if stored is None else stored.rev):
                raise Conflict(f"schedule {queue}/{schedule.id} was changed meanwhile; read it again")
            before = q.deleted if stored is None else stored.rev
            q.schedules[schedule.id] = kept = replace(schedule, queue=queue, rev=max(now, before + 1))
            self.wake(q)
            return replace(kept)

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        with self.world.lock:
            q = self.peek(queue)
            _here(q)
            stored = q.schedules.get(id)
            if stored is None:
                return False
            if rev is not None and rev != stored.rev:
                raise Conflict(f"schedule {queue}/{id} was changed meanwhile; read it again")
            del q.schedules[id]
            q.deleted = max(q.deleted, stored.rev)
            return True

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        with self.world.lock:
            kept = self.peek(queue).schedules
            names = sorted((name for name in kept if name.encode() > after.encode()), key=str.encode)
            return _bounded([kept[name] for name in names[:limit]])

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        with self.world.lock:
            kept = self.peek(queue).schedules
            return [replace(kept[name]) if name in kept else None for name in ids]

    async def due(self, queue: str, limit: int = 100) -> Due:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            if q.conf.home is not Home.HERE:
                return Due(now=now)
            coming = sorted((s.next, s.id.encode(), s) for s in q.schedules.values() if s.next is not None)
            found = _bounded([record for next_at, _, record in coming if next_at <= now][:limit])
            rest = coming[len(found) :]
            return Due(now=now, records=found, next_at=rest[0][0] if rest else None)

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        with self.world.lock:
            q = self.queue(queue)
            checked(firings)
            self._fit([spec for firing in firings for spec in firing.jobs])
            _here(q)
            return [self._fire(q, firing) for firing in firings]

    def _fire(self, q: QueueData, firing: Firing) -> Fired:
        stored, now = q.schedules.get(firing.id), self.world.now()
        if stored is None or stored.rev != firing.rev:
            return Fired(id=firing.id, no=NoFire.CHANGED)
        jobs = [lenient(spec) for spec in firing.jobs]
        if q.conf.to is not None and any(spec.unique is not None for spec in jobs):
            return Fired(id=firing.id, no=NoFire.LATER)
        try:
            self._check(q, jobs, now)
        except QueueFull:
            return Fired(id=firing.id, no=NoFire.FULL)
        receipts = tuple(self._add(q, spec, now) for spec in jobs)
        q.schedules[firing.id] = replace(
            stored, rev=max(now, stored.rev + 1), next=firing.next_at, fired=stored.fired + len(jobs),
            skipped=stored.skipped + firing.skipped, last_job=receipts[-1].id if receipts else stored.last_job,
        )  # fmt: skip
        if any(receipt.created for receipt in receipts):
            self.wake(q)
        return Fired(id=firing.id, receipts=receipts)

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        with self.world.lock:
            q = self.queue(queue)
            if q.conf.epoch != epoch:
                raise Conflict(f"queue {queue}: its epoch is {q.conf.epoch}, this mover's {epoch}")
            for record in records:
                self._fits(record)
            for record in records:
                stored = q.schedules.get(record.id)
                if stored is None or stored.rev < record.rev:
                    q.schedules[record.id] = replace(record, queue=queue)
            self.wake(q)

    def _fits(self, schedule: ScheduleRecord) -> None:
        wrong = definition_error(schedule.definition, self.limit)
        if wrong is not None:
            raise PayloadTooLarge(f"schedule {schedule.id}: {wrong}")


def _here(q: QueueData) -> None:
    if q.conf.home is not Home.HERE:
        raise Moved(f"queue {q.name} is {q.conf.home}: it lives in {q.conf.to}", to=q.conf.to)


def _bounded(records: Sequence[ScheduleRecord]) -> list[ScheduleRecord]:
    """Copies of the first ones that fit into one answer, at least one."""
    found: list[ScheduleRecord] = []
    size = 0
    for record in records:
        size += len(record.definition)
        if found and size > BYTES_READ:
            break
        found.append(replace(record))
    return found
