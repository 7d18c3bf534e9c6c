"""The words of the schedule tests: records, firings, and putting, reading and firing one schedule.

Nothing here asserts a promise of a store, but for the few that a helper needs to go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from queuekit.domain.job import JobSpec
from queuekit.domain.schedule import Fired, Firing, NoFire, ScheduleRecord
from queuekit.store.parts import SchedulingStore
from queuekit.testing.conformance.words import Q, spec


def schedule(id: str = "s", **said: Any) -> ScheduleRecord:
    """A schedule that says only what the test says."""
    return ScheduleRecord(**({"id": id, "queue": Q, "definition": b"every minute"} | said))


async def kept(store: SchedulingStore, id: str = "s", *, queue: str = Q, **said: Any) -> ScheduleRecord:
    """Put a new schedule."""
    return await store.put_schedule(queue, schedule(id, queue=queue, **said))


async def read(store: SchedulingStore, id: str = "s", *, queue: str = Q) -> ScheduleRecord:
    """One schedule, which must be there."""
    (record,) = await store.get_schedules(queue, [id])
    assert record is not None, f"no schedule {id}"
    return record


def firing(record: ScheduleRecord, *jobs: JobSpec | str, next_at: int | None = None, skipped: int = 0) -> Firing:
    """What is to become of a schedule as it was read; a bare name is a job that says nothing else."""
    specs = tuple(spec(job) if isinstance(job, str) else job for job in jobs)
    return Firing(id=record.id, rev=record.rev, next_at=next_at, jobs=specs, skipped=skipped)


async def fire(
    store: SchedulingStore, record: ScheduleRecord, *jobs: JobSpec | str, queue: str = Q, **said: Any
) -> Fired:
    """Fire one schedule."""
    (answer,) = await store.fire(queue, [firing(record, *jobs, **said)])
    return answer


async def due(store: SchedulingStore, *, queue: str = Q) -> list[str]:
    """The ids of the schedules that are due, in order."""
    return titles((await store.due(queue)).records)


async def now(store: SchedulingStore) -> int:
    """The store's clock."""
    return (await store.due("unused")).now


def titles(records: Iterable[ScheduleRecord]) -> list[str]:
    return [record.id for record in records]


def refusals(answers: Sequence[Fired]) -> list[NoFire | None]:
    return [answer.no for answer in answers]
