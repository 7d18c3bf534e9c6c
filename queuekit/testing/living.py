"""Living through time instead of jumping over it: a virtual clock that stops at every slot and every delayed job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queuekit import clock
from queuekit.domain.events import Job
from queuekit.domain.state import State
from queuekit.testing.drain import drain

if TYPE_CHECKING:
    from queuekit.testing.kit import TestKit


async def live(kit: TestKit, until: int, queue: str | None = None) -> list[Job]:
    """Run what comes due until `until` (ms, included), each at its moment; the jobs that ran, in order."""
    ran = await drain(kit, queue)
    while (moment := _next(kit, queue)) is not None and moment <= until:
        kit.clock.travel(to=clock.to_datetime(moment))
        ran += await drain(kit, queue)
    kit.clock.travel(to=clock.to_datetime(until))
    return ran


def _next(kit: TestKit, queue: str | None) -> int | None:
    """When the next job or slot is due."""
    now, world = kit.clock.ms(), kit.world
    with world.lock:
        kept = [data for data in world.queues.values() if queue is None or data.name == queue]
        jobs = [job.run_at for data in kept for job in data.jobs.values() if job.state is State.DELAYED]
        slots = [schedule.next for data in kept for schedule in data.schedules.values()]
    return min((moment for moment in (*jobs, *slots) if moment is not None and moment > now), default=None)
