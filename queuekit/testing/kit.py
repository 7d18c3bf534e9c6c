"""`TestKit`: a kit over the model store and a virtual clock, with what a test wants to do to jobs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from queuekit import QueueKit, Settings, Task
from queuekit.codec import JSON
from queuekit.domain.duration import Duration
from queuekit.domain.events import Job
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Enqueued, Op
from queuekit.domain.schedule import Fired
from queuekit.producing.access import Access
from queuekit.producing.scheduling.declaring import declare_schedules
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.testing.clock import VirtualClock
from queuekit.testing.drain import drain, firing
from queuekit.testing.living import live
from queuekit.testing.model import ModelStore, ModelWorld


class TestKit(QueueKit):
    """A QueueKit whose jobs live in memory and whose time is `clock`; nothing outside is read or written.

    Register tasks on it as on any kit, or take those of an application with `isolated(its_kit)`.
    """

    __test__ = False  # pytest: no test class
    clock: VirtualClock
    world: ModelWorld

    def __init__(self, *, clock: VirtualClock | None = None, name: str = "test", **given: Any) -> None:
        given.setdefault("settings", Settings(url="model://", chosen_by="TestKit"))
        super().__init__(name=name, **given)
        self.clock = clock or VirtualClock()
        self.world = ModelWorld(self.clock.ms)
        self.access: Access = _ModelAccess(self, self.world)
        self.clock.leaving.append(self._declare)

    def _declare(self) -> None:
        """Write declared schedules before time moves: they begin when the test does, as with a worker that started."""
        entry = self.access.blocking(warn=False)
        direct(declare_schedules(self, entry))

    def drain(self, queue: str | None = None) -> list[Job]:
        """Run what is due, in this thread, until nothing is; the jobs that ran, as they are afterwards.

        Schedules whose slot has come by the store's clock fire first. A job that fails with attempts left waits for
        its backoff: travel, and drain again. Raises RuntimeError inside a running event loop: there
        `await kit.adrain()`.
        """
        if _loop_runs():
            raise RuntimeError("drain() inside a running event loop: await kit.adrain() instead")
        return asyncio.run(drain(self, queue))

    async def adrain(self, queue: str | None = None) -> list[Job]:
        """See `drain`."""
        return await drain(self, queue)

    def run_for(
        self,
        by: Duration | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
        queue: str | None = None,
    ) -> list[Job]:
        """Live through a time: run what comes due in it, each job and each slot at its moment; the jobs that ran.

        The clock stops at every slot and every delayed job on the way, so that an hour of every="10m" gives six jobs.
        (`clock.travel` jumps: what came due meanwhile is late, as after an outage.) Raises ValueError for going back,
        RuntimeError inside a running event loop: there `await kit.arun_for(…)`.
        """
        if _loop_runs():
            raise RuntimeError("run_for() inside a running event loop: await kit.arun_for(…) instead")
        until = self.clock.ahead(by, days=days, hours=hours, minutes=minutes, seconds=seconds, to=to)
        return asyncio.run(live(self, until, queue))

    async def arun_for(
        self,
        by: Duration | None = None,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        to: datetime | None = None,
        queue: str | None = None,
    ) -> list[Job]:
        """See `run_for`."""
        until = self.clock.ahead(by, days=days, hours=hours, minutes=minutes, seconds=seconds, to=to)
        return await live(self, until, queue)

    def jobs(self, task: Task[..., Any] | str | None = None, *, queue: str | None = None) -> list[Job]:
        """Every job that is kept, in the order they were made."""
        name = task.name if isinstance(task, Task) else task
        with self.world.lock:
            records = [record for data in self.world.queues.values() for record in data.jobs.values()]
        records.sort(key=lambda record: (record.created_at, record.id))
        return [
            self.snapshot(record)
            for record in records
            if (name is None or record.task == name) and (queue is None or record.queue == queue)
        ]

    def assert_enqueued(
        self,
        task: Task[..., Any] | str,
        payload: Mapping[str, JSON] | None = None,
        *,
        queue: str | None = None,
        times: int | None = None,
    ) -> list[Job]:
        """The jobs of a task whose payload holds at least `payload`, whatever became of them since.

        Raises AssertionError where there is none, or not as many as `times` (0: none at all).
        """
        found = [job for job in self.jobs(task, queue=queue) if _holds(job.payload, payload or {})]
        if (times is None and found) or (times is not None and len(found) == times):
            return found
        name = task.name if isinstance(task, Task) else task
        wanted = f"{'at least one job' if times is None else f'{times} jobs'} of task {name!r}"
        if payload:
            wanted += f" with {dict(payload)!r}"
        there = "\n".join(f"  {job.ref} {job.task} {job.state.value} {job.payload!r}" for job in self.jobs())
        raise AssertionError(f"expected {wanted}, found {len(found)}; jobs there are:\n{there or '  none'}")


@contextmanager
def isolated(kit: QueueKit, clock: VirtualClock | None = None) -> Iterator[TestKit]:
    """A TestKit with an application's tasks, hooks and options; the application's own calls go to its memory too.

    Inside the block `kit` talks to no other store. Not for two threads at once.
    """
    with _swapped(kit, _world(clock)) as test:
        yield test


@contextmanager
def inline(kit: QueueKit, clock: VirtualClock | None = None) -> Iterator[TestKit]:
    """Inside the block every enqueue runs its job at once, through codec and validation, before it returns.

    Delayed jobs and retries wait, as ever; what a job raised is told by its handle's `result()`.
    """
    with _swapped(kit, _world(clock), inline=True) as test:
        yield test


def _world(given: VirtualClock | None) -> VirtualClock:
    return given or VirtualClock()


@contextmanager
def _swapped(kit: QueueKit, clock: VirtualClock, *, inline: bool = False) -> Iterator[TestKit]:
    test = object.__new__(TestKit)
    test.__dict__.update(kit.concrete(latest=True).__dict__)
    test.clock, test.world = clock, ModelWorld(clock.ms)
    if isinstance(kit, TestKit):
        test.clock, test.world = kit.clock, kit.world
    test.access = _ModelAccess(test, test.world, inline=inline)
    test.clock.leaving.append(test._declare)
    try:
        with kit.through(test.access):
            yield test
    finally:
        test.clock.leaving.remove(test._declare)


class _ModelAccess(Access):
    """Opens model stores of one world."""

    def __init__(self, kit: QueueKit, world: ModelWorld, *, inline: bool = False) -> None:
        super().__init__(lambda: kit.settings)
        self._kit = kit
        self._world = world
        self._inline = inline

    def _make(self, settings: Settings, *, blocking: bool) -> JobStore:
        kind = _InlineStore if self._inline else ModelStore
        store = kind(self._world, namespace=settings.namespace, blocking=blocking, limit=settings.payload_limit)
        if isinstance(store, _InlineStore):
            store.kit = self._kit
        return store


class _InlineStore(ModelStore):
    """Runs what is due behind every enqueue."""

    kit: QueueKit

    async def enqueue(
        self, queue: str, jobs: Any, op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        specs: list[JobSpec] = list(jobs)
        answer = await super().enqueue(queue, specs, op, within, asked)
        await self._run(queue)
        return answer

    async def fire(self, queue: str, firings: Any) -> list[Fired]:
        answer = await super().fire(queue, list(firings))
        if not firing.get():  # by a person; a drain runs them itself
            await self._run(queue)
        return answer

    async def _run(self, queue: str) -> None:
        if self.blocking:
            _in_thread(self.kit, queue)  # this coroutine is stepped by `direct`: it must not suspend
        else:
            await drain(self.kit, queue)


def _in_thread(kit: QueueKit, queue: str) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(drain(kit, queue))
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="queuekit-inline")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _holds(whole: JSON, part: JSON) -> bool:
    """Whether `whole` has everything `part` has."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(key in whole and _holds(whole[key], part[key]) for key in part)
    return whole == part
