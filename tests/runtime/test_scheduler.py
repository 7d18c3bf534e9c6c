"""When a worker looks at schedules, who goes first, and what it does at its start and its end; in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from queuekit import clock
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import Fired, NoFire
from queuekit.errors import StoreUnavailable
from queuekit.runtime import scheduler as module
from queuekit.runtime.agent import end
from queuekit.runtime.firing import Firer
from queuekit.runtime.scheduler import BARE_FLOOR, FLOOR, Scheduler
from queuekit.runtime.source import Source
from queuekit.runtime.worker import Worker
from queuekit.testing import TestKit, VirtualClock
from queuekit.testing.model import ModelStore, ModelWorld
from tests.guard.virtual import VirtualLoop
from tests.runtime.schedules import record


class Ticking(VirtualClock):
    """The store's time is the loop's."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop, self._begun, self._from = loop, self._ms, loop.time()

    def ms(self) -> int:
        return self._begun + int((self._loop.time() - self._from) * 1000)


class Counting(ModelStore):
    """Counts what it is asked, and when each slot fired."""

    def __init__(self, world: ModelWorld) -> None:
        super().__init__(world)
        self.asked: Counter[str] = Counter()
        self.late: list[int] = []
        self.takes = 0.0  # seconds of a call, half of it before it has an effect

    async def due(self, queue: str, limit: int = 100) -> Any:
        self.asked["due"] += 1
        await asyncio.sleep(self.takes / 2)
        said = await super().due(queue, limit)
        await asyncio.sleep(self.takes / 2)
        return said

    async def fire(self, queue: str, firings: Any) -> list[Fired]:
        self.asked["fire"] += 1
        await asyncio.sleep(self.takes / 2)
        stored = await self.get_schedules(queue, [one.id for one in firings])
        said = await super().fire(queue, firings)
        for fired, before in zip(said, stored, strict=True):
            self.asked["changed"] += fired.no is NoFire.CHANGED
            if fired.no is None and before is not None and before.next is not None:
                self.late.append(self.world.now() - before.next)
        await asyncio.sleep(self.takes / 2)
        return said


class Virtual:
    """A loop in virtual time, and what lives on it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop, self.clock = loop, Ticking(loop)
        self.store = Counting(ModelWorld(self.clock.ms))

    def run(self, act: Coroutine[Any, Any, Any]) -> None:
        self.loop.run_until_complete(act)

    def scheduler(self, **said: Any) -> tuple[Scheduler, Source]:
        source = Source("default", cap=1, lease=30_000)
        return Scheduler(Firer(self.store, "default"), source, **said), source

    async def put(self, name: str, **rule: Any) -> None:
        await self.store.put_schedule("default", record(name, self.clock.ms(), **rule))

    def kit(self) -> TestKit:
        """A kit whose store is this one."""
        kit = TestKit(clock=self.clock)
        kit.world = self.store.world

        async def opened() -> Any:
            return self.store

        kit.async_store = opened  # type: ignore[method-assign]  # what a worker opens
        kit.blocking_store = lambda: self.store  # type: ignore[method-assign]
        kit.access._make = lambda settings, *, blocking: self.store  # type: ignore[method-assign]

        @kit.task
        async def noop() -> None: ...

        return kit


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> Iterator[Virtual]:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        monkeypatch.setattr(clock, "monotonic", loop.time)
        yield Virtual(loop)


async def during(seconds: float, *tasks: Coroutine[Any, Any, Any]) -> None:
    """Let agents live for so long."""
    running = [asyncio.ensure_future(task) for task in tasks]
    await asyncio.sleep(seconds)
    for task in running:
        if task.done():
            task.result()
    await end(running)


def test_a_queue_without_schedules_is_looked_at_rarely(virtual: Virtual) -> None:
    virtual.run(during(600, virtual.scheduler()[0].run()))
    assert 600 / (BARE_FLOOR * 1.1) - 1 <= virtual.store.asked["due"] <= 600 / (BARE_FLOOR * 0.9) + 2


def test_where_the_store_wakes_nobody_a_new_schedule_is_found_in_a_few_seconds(virtual: Virtual) -> None:
    virtual.run(during(600, virtual.scheduler(told=False)[0].run()))
    assert virtual.store.asked["due"] >= 600 / (FLOOR * 1.1) - 1


def test_a_queue_with_a_slot_far_ahead_is_looked_at_every_few_seconds(virtual: Virtual) -> None:
    virtual.run(virtual.put("s", every="1d"))
    virtual.run(during(600, virtual.scheduler()[0].run()))
    assert 600 / (FLOOR * 1.1) - 1 <= virtual.store.asked["due"] <= 600 / (FLOOR * 0.9) + 2


def test_a_slot_costs_a_look_and_a_firing_and_is_not_late(virtual: Virtual) -> None:
    virtual.run(virtual.put("s", every="1s"))
    virtual.run(during(60.5, virtual.scheduler()[0].run()))
    assert len(virtual.store.late) == 60
    assert max(virtual.store.late) <= 1
    assert virtual.store.asked["due"] <= 62


def test_of_eight_one_goes_first_and_the_others_try_no_more(virtual: Virtual) -> None:
    virtual.run(virtual.put("s", every="1s"))
    virtual.run(during(100.5, *(virtual.scheduler()[0].run() for _ in range(8))))
    assert len(virtual.store.late) == 100
    assert virtual.store.asked["changed"] <= 7
    assert max(virtual.store.late) <= 1


def test_when_the_first_goes_away_another_is_a_moment_late_once(virtual: Virtual) -> None:
    async def play() -> None:
        await virtual.put("s", every="1s")
        tasks = [asyncio.ensure_future(virtual.scheduler()[0].run()) for _ in range(4)]
        fires = [0.0] * 4
        plain = Firer._call

        async def noted(self: Firer, batch: Any) -> Any:
            said = await plain(self, batch)
            if any(fired.no is None for fired, _ in said):
                task = asyncio.current_task()
                assert task is not None
                fires[tasks.index(task)] = virtual.loop.time()
            return said

        Firer._call = noted  # type: ignore[method-assign]
        try:
            await asyncio.sleep(10.5)
            first = fires.index(max(fires))
            await end([tasks[first]])
            await asyncio.sleep(10)
        finally:
            Firer._call = plain  # type: ignore[method-assign]
            await end(tasks)

    virtual.run(play())
    assert len(virtual.store.late) == 20
    assert sum(late > 1 for late in virtual.store.late) <= 2
    assert max(virtual.store.late) <= 26


def test_two_thousand_at_once_are_not_fought_for(virtual: Virtual) -> None:
    async def play() -> None:
        for n in range(2000):
            await virtual.put(f"s{n}", every="10s")
        virtual.store.takes = 0.004
        tasks = [asyncio.ensure_future(virtual.scheduler()[0].run()) for _ in range(8)]
        await asyncio.sleep(10.9)
        assert len(virtual.store.late) == 2000
        first = virtual.store.asked["changed"]
        await asyncio.sleep(10)
        await end(tasks)
        assert len(virtual.store.late) == 4000
        assert first <= 3000  # all eight begin as equals
        assert virtual.store.asked["changed"] - first <= 2000

    virtual.run(play())


def test_whoever_is_left_alone_with_much_that_is_due_is_soon_as_fast_as_the_first(virtual: Virtual) -> None:
    async def play() -> None:
        for n in range(20):
            await virtual.put(f"s{n}", every="1s", missed="all")
        await asyncio.sleep(1000)
        virtual.store.takes = 0.004
        tasks = [asyncio.ensure_future(virtual.scheduler()[0].run()) for _ in range(4)]
        await asyncio.sleep(0.05)
        await end(tasks[1:])
        await asyncio.sleep(0.95)
        await end(tasks[:1])

    virtual.run(play())
    with virtual.store.world.lock:
        (queue,) = virtual.store.world.queues.values()
    assert len(queue.jobs) >= 19_000


def test_a_schedule_put_while_the_worker_sleeps_is_seen_at_once(virtual: Virtual) -> None:
    async def play() -> None:
        async with Worker(virtual.kit(), queues=["default"], concurrency=2):
            await asyncio.sleep(7.3)
            await virtual.put("s", every="1s")
            await asyncio.sleep(3.5)

    virtual.run(play())
    assert len(virtual.store.late) == 3
    assert max(virtual.store.late) <= 1


def test_jobs_that_come_one_by_one_cost_no_look_each(virtual: Virtual) -> None:
    async def play() -> None:
        kit = virtual.kit()
        async with Worker(kit, queues=["default"], concurrency=2):
            await asyncio.sleep(1)
            before = virtual.store.asked["due"]
            for _ in range(100):
                await kit.queue("default").aenqueue("noop")
                await asyncio.sleep(0.2)
            virtual.store.asked["due"] -= before

    virtual.run(play())
    assert virtual.store.asked["due"] <= 20 / module.SOON + 1


def test_nothing_is_asked_where_schedules_fire_in_another_store(virtual: Virtual) -> None:
    here: list[bool] = []

    async def allowed() -> bool:
        return bool(here)

    async def play() -> None:
        await virtual.put("s", every="1s")
        task = asyncio.ensure_future(virtual.scheduler(allowed=allowed)[0].run())
        await asyncio.sleep(20)
        assert virtual.store.asked["due"] == 0
        here.append(True)
        await asyncio.sleep(20)
        await end([task])

    virtual.run(play())
    assert len(virtual.store.late) >= 12


def test_what_could_not_be_declared_while_the_queue_moved_is_declared_when_it_is_back(virtual: Virtual) -> None:
    async def play() -> None:
        kit = virtual.kit()
        kit.schedule("s", kit.queue("default").make("noop"), every="1s")
        await virtual.store.authority("default", 1, "m", Home.MOVING, "other")
        async with Worker(kit, queues=["default"]):
            await asyncio.sleep(30)
            assert await virtual.store.schedules("default") == []
            await virtual.store.authority("default", 2, "m", Home.HERE, None)
            await asyncio.sleep(10)

    virtual.run(play())
    assert len(virtual.store.late) >= 3


def test_a_burst_fires_what_is_due_at_its_start_and_waits_for_no_slot(virtual: Virtual) -> None:
    async def play() -> None:
        kit, ran = virtual.kit(), []

        @kit.task
        async def slow() -> None:
            ran.append(virtual.loop.time())
            await asyncio.sleep(5)

        await virtual.put("s", every="1s", task="slow")
        await asyncio.sleep(3.5)
        await Worker(kit, queues=["default"], burst=True).arun()
        assert len(ran) == 1

    virtual.run(play())
    assert len(virtual.store.late) == 1


def test_a_burst_that_is_stopped_while_the_store_is_away_ends(virtual: Virtual) -> None:
    async def play() -> None:
        kit = virtual.kit()

        async def away(queue: str, limit: int = 100) -> Any:
            raise StoreUnavailable("gone")

        virtual.store.due = away  # type: ignore[method-assign]
        worker = Worker(kit, queues=["default"], burst=True)
        task = asyncio.ensure_future(worker.arun())
        await asyncio.sleep(5)
        assert not task.done()
        await worker.stop()
        await task

    virtual.run(play())


def test_nothing_fires_after_a_stop_was_asked(virtual: Virtual) -> None:
    async def play() -> None:
        kit = virtual.kit()

        @kit.task
        async def slow() -> None:
            await asyncio.sleep(60)

        await virtual.put("s", every="1s")
        async with Worker(kit, queues=["default"], grace=30, concurrency=4) as worker:
            await kit.queue("default").aenqueue("slow")
            await asyncio.sleep(3.5)
            before = len(virtual.store.late)
            assert before == 3
            worker.ask_stop()
            await asyncio.sleep(20)
            assert len(virtual.store.late) == before

    virtual.run(play())


def test_a_store_that_is_away_is_told_once_and_then_all_goes_on(
    virtual: Virtual, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    plain = virtual.store.due

    async def away(queue: str, limit: int = 100) -> Any:
        raise StoreUnavailable("redis://app:hunter2@host is gone")

    async def play() -> None:
        await virtual.put("s", every="1s", missed="all")
        task = asyncio.ensure_future(virtual.scheduler()[0].run())
        await asyncio.sleep(2.5)
        virtual.store.due = away  # type: ignore[method-assign]
        await asyncio.sleep(10)
        virtual.store.due = plain  # type: ignore[method-assign]
        await asyncio.sleep(3)
        await end([task])
        (kept,) = await virtual.store.schedules("default")
        assert kept.fired >= 14

    virtual.run(play())
    assert sum("store unavailable" in line.getMessage() for line in caplog.records) == 1
    assert "hunter2" not in caplog.text


def test_an_error_of_any_kind_does_not_end_the_agent(virtual: Virtual, caplog: pytest.LogCaptureFixture) -> None:
    plain: Callable[..., Any] = virtual.store.due
    wrong = [RuntimeError("once")]

    async def due(queue: str, limit: int = 100) -> Any:
        if wrong:
            raise wrong.pop()
        return await plain(queue, limit)

    virtual.store.due = due  # type: ignore[method-assign]
    virtual.run(virtual.put("s", every="1s"))
    virtual.run(during(12, virtual.scheduler()[0].run()))
    assert len(virtual.store.late) >= 5
    assert any("firing schedules of queue default failed" in line.getMessage() for line in caplog.records)


def test_a_store_without_the_part_has_no_scheduler(virtual: Virtual) -> None:
    async def play() -> None:
        from dataclasses import replace

        plain = virtual.store.capabilities
        without = replace(plain, parts=plain.parts - {"schedules"})
        type(virtual.store).capabilities = property(lambda self: without)  # type: ignore[assignment]
        try:
            async with Worker(virtual.kit(), queues=["default"]):
                await asyncio.sleep(60)
        finally:
            del type(virtual.store).capabilities

    virtual.run(play())
    assert virtual.store.asked["due"] == 0
