"""`SchedulerService`: the scheduled tasks of an application in one place, switched on and off by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from queuekit import InvalidOption, QueueKit
from queuekit.compat.bull import schedulers
from queuekit.compat.bull.job import Job
from queuekit.compat.bull.options import snake
from queuekit.compat.bull.queue import Queue, get_queue
from queuekit.compat.bull.repeat import scheduler_id
from queuekit.compat.bull.schedulers import JobScheduler
from queuekit.compat.door import Awaiting, Blocking, Door
from queuekit.store.direct import direct

Tasks: TypeAlias = Mapping[str, Mapping[str, Any]]
OFF = "switched off in its configuration"
_OWN = ("type", "data", "options", "enabled")  # of a task; the rest is a repeat's


class SchedulerService:
    """Tasks by name, each `{cron or every, tz, …, type, data, options, enabled}`: a repeat, and the envelope of the job
    it makes, whose type is the task's name unless given. Making one asks nothing; `start()` writes them.

    What fires is any worker of the queue, and what it makes are jobs as all others. Every verb that asks the store has
    a twin with an "a" in front. Raises InvalidOption for a task that cannot be.
    """

    def __init__(self, tasks: Tasks, *, queue: str | Queue = "default", kit: QueueKit | None = None) -> None:
        self.queue = queue if isinstance(queue, Queue) else get_queue(queue, kit=kit)
        self._tasks = {name: snake(task) for name, task in tasks.items()}
        for name, task in self._tasks.items():
            try:
                schedulers.checked(_repeat(task), task.get("options"))
            except InvalidOption as error:
                raise InvalidOption(f"scheduled task {name!r}: {error}") from None

    def start(self) -> list[str]:
        """Write the tasks, each as one step; their names. Said again it changes what has changed, and nothing else: a
        task that somebody paused stays so. With `enabled` False a task is there, and rests.
        """
        return direct(self._start(self._blocking))

    async def astart(self) -> list[str]:
        """See `start`."""
        return await self._start(self._awaiting)

    def tasks(self) -> list[JobScheduler]:
        """All schedules of the queue, the next one first; those that are no longer configured, too."""
        return direct(schedulers.listing(self._blocking, self.queue, 0, -1, asc=True))

    async def atasks(self) -> list[JobScheduler]:
        """See `tasks`."""
        return await schedulers.listing(self._awaiting, self.queue, 0, -1, asc=True)

    def disable(self, name: str, reason: str = "") -> bool:
        """Let a task rest, over restarts too; False where there is none, or it rests already."""
        return direct(self._switch(self._blocking, "pause", name, reason))

    async def adisable(self, name: str, reason: str = "") -> bool:
        """See `disable`."""
        return await self._switch(self._awaiting, "pause", name, reason)

    def enable(self, name: str) -> bool:
        """Let a task go on, with the next moment to come; False where there is none, or it goes on already."""
        return direct(self._switch(self._blocking, "resume", name))

    async def aenable(self, name: str) -> bool:
        """See `enable`."""
        return await self._switch(self._awaiting, "resume", name)

    def trigger(self, name: str) -> Job[Any]:
        """Make a task's job now, besides its moments. Raises JobNotFound."""
        return direct(self._trigger(self._blocking, name))

    async def atrigger(self, name: str) -> Job[Any]:
        """See `trigger`."""
        return await self._trigger(self._awaiting, name)

    async def _start(self, door: Door) -> list[str]:
        for name, task in self._tasks.items():
            template = {"name": task.get("type", name), "data": task.get("data"), "opts": task.get("options")}
            off = task.get("enabled") is False
            plan = schedulers.upserted(self.queue, name, _repeat(task), template)
            await schedulers.write(door, self.queue, plan, at_once=False if off else None)
            written = await door.schedules("get", plan.id)
            if written is None:
                continue  # somebody has deleted it by now
            if off and written.paused is None:
                await door.schedules("pause", plan.id, OFF)
            elif not off and written.paused == OFF:
                await door.schedules("resume", plan.id)
        return list(self._tasks)

    async def _switch(self, door: Door, verb: str, name: str, *reason: str) -> bool:
        return bool(await door.schedules(verb, scheduler_id(self.queue.name, name), *reason))

    async def _trigger(self, door: Door, name: str) -> Job[Any]:
        handle = await door.schedules("fire", scheduler_id(self.queue.name, name))
        task = self._tasks.get(name, {})
        return Job(handle, task.get("type", name), task.get("data"))

    @property
    def _blocking(self) -> Blocking:
        return Blocking(self.queue.kit)

    @property
    def _awaiting(self) -> Awaiting:
        return Awaiting(self.queue.kit)


def _repeat(task: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name not in _OWN}
