"""The steps of schedules: put, deleted, fired, taken in. Which record one is made of is said by its age.

Revs are each side's own, since they come of its clock: a side keeps every version that was seen, and a step names one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from queuekit.domain.job import JobSpec
from queuekit.domain.schedule import Fired, Firing, ScheduleRecord
from queuekit.store.parts import SchedulingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.machine.steps import Q, Step

if TYPE_CHECKING:
    from queuekit.testing.machine.side import Side

PLANS: Final = ("s", "S.1", "a")  # ids


def version(side: Side, id: str, age: int) -> ScheduleRecord:
    """A schedule as it was last seen (0), as it was before (1 …), or one that nobody has put (-1, or none was seen)."""
    seen = side.plans.get(id, [])
    if age < 0 or not seen:
        return ScheduleRecord(id=id, queue=Q, definition=b"")
    return seen[max(0, len(seen) - 1 - age)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Step):
    """Put a schedule: what is said, the rest as in the version it is made of."""

    id: str
    age: int = 0
    definition: bytes = b"d"
    next: int | None = None

    async def call(self, side: Side, store: JobStore) -> ScheduleRecord:
        record = replace(version(side, self.id, self.age), definition=self.definition, next=side.at(self.next))
        return await cast("SchedulingStore", store).put_schedule(Q, record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unschedule(Step):
    """`age` None: whatever there is."""

    id: str
    age: int | None = None

    async def call(self, side: Side, store: JobStore) -> bool:
        rev = None if self.age is None else version(side, self.id, self.age).rev
        return await cast("SchedulingStore", store).delete_schedule(Q, self.id, rev)


@dataclass(frozen=True, slots=True)
class Shot:
    """One firing."""

    id: str
    age: int = 0
    jobs: tuple[JobSpec, ...] = ()
    next: int | None = None
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire(Step):
    shots: tuple[Shot, ...]

    async def call(self, side: Side, store: JobStore) -> list[Fired]:
        firings = [
            Firing(
                id=shot.id, rev=version(side, shot.id, shot.age).rev, next_at=side.at(shot.next), skipped=shot.skipped,
                jobs=tuple(
                    replace(job, run_at=side.at(job.run_at), expires_at=side.at(job.expires_at)) for job in shot.jobs
                ),
            )
            for shot in self.shots
        ]  # fmt: skip
        return await cast("SchedulingStore", store).fire(Q, firings)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeSchedules(Step):
    """What a mover brings: versions of before, `later` by so much than they were."""

    epoch: int
    those: tuple[tuple[str, int], ...] = ()  # ids and ages
    later: int = 0

    async def call(self, side: Side, store: JobStore) -> None:
        records = [version(side, name, age) for name, age in self.those]
        records = [replace(one, rev=one.rev + self.later) for one in records if one.rev]
        await cast("SchedulingStore", store).take_schedules(Q, self.epoch, records)
