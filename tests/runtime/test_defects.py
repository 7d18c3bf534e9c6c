"""A defect of ours, of a driver or of a store that was set back: it costs no job, no end and no worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from queuekit import QueueKit, State
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from queuekit.errors import Stale
from queuekit.runtime.agent import Agent
from queuekit.runtime.runner import Runner
from tests.runtime.conftest import WAIT, working

Plain = Callable[[str, Op, Sequence[Outcome], Ask], Any]


async def through(kit: QueueKit, wrap: Callable[[Plain, str, Op, Sequence[Outcome], Ask], Any]) -> None:
    """Let every exchange of the kit's workers go through `wrap`."""
    store: Any = await kit.async_store()
    plain = store.exchange

    async def exchange(queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        reply: Exchange = await wrap(plain, queue, op, outcomes, ask)
        return reply

    store.exchange = exchange


async def test_whatever_an_exchange_raises_the_ends_it_carries_are_kept(kit: QueueKit) -> None:
    ran, raised = 0, 0

    @kit.task
    async def work() -> str:
        nonlocal ran
        ran += 1
        return "done"

    async def broken(plain: Plain, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        nonlocal raised
        if outcomes and raised < 2:
            raised += 1
            raise RuntimeError("a driver that breaks in a way nobody thought of")
        reply: Exchange = await plain(queue, op, outcomes, ask)
        return reply

    await through(kit, broken)
    async with working(kit):
        handle = await work.aenqueue()
        assert await asyncio.wait_for(handle.aresult(), WAIT) == "done"
    assert (ran, raised) == (1, 2)


async def test_a_store_that_was_set_back_is_served_by_a_new_actor(kit: QueueKit) -> None:
    """It knows a later call of this worker than the worker made: a backup was restored, or time went backwards."""
    actors: list[str] = []

    @kit.task
    async def work() -> str:
        return "done"

    async def stale(plain: Plain, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        if op.actor not in actors:
            actors.append(op.actor)
        if op.actor == actors[0]:
            await asyncio.sleep(0.01)
            raise Stale("comes after its call 900")
        reply: Exchange = await plain(queue, op, outcomes, ask)
        return reply

    await through(kit, stale)
    async with working(kit):
        handle = await work.aenqueue()
        assert await asyncio.wait_for(handle.aresult(), WAIT) == "done"
    assert len(actors) == 2


async def test_an_agent_outlives_its_errors() -> None:
    turns: list[int] = []
    enough = asyncio.Event()

    class Clumsy(Agent):
        name = "clumsy"

        async def act(self) -> None:
            turns.append(1)
            if len(turns) == 3:
                enough.set()
            raise RuntimeError("each time")

    task = asyncio.create_task(Clumsy(0.001).run())
    await asyncio.wait_for(enough.wait(), WAIT)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_listener_that_broke_listens_again(kit: QueueKit) -> None:
    store: Any = await kit.async_store()
    plain, waits = store.wait, 0
    again = asyncio.Event()

    @kit.task
    async def work() -> str:
        return "done"

    async def wait(queues: Sequence[str], timeout: int) -> Any:
        nonlocal waits
        waits += 1
        if waits == 1:
            raise RuntimeError("once")
        again.set()
        return await plain(queues, timeout)

    store.wait = wait
    async with working(kit):
        await asyncio.wait_for(again.wait(), WAIT)
        handle = await work.aenqueue()
        assert await asyncio.wait_for(handle.aresult(), WAIT) == "done"


async def test_jobs_that_never_wait_leave_the_event_loop_its_turns(kit: QueueKit) -> None:
    """Forty claimed together, each 20 ms without letting go: beside them everything else has its turn in between."""
    stretches: list[int] = []  # how many ran between two turns of somebody else
    ran = 0
    done = asyncio.Event()

    @kit.task
    async def busy() -> None:
        nonlocal ran
        time.sleep(0.02)  # noqa: ASYNC251  that is the point
        ran += 1
        if ran == 40:
            done.set()

    async def tick() -> None:
        while not done.is_set():
            before = ran
            await asyncio.sleep(0)
            stretches.append(ran - before)

    await kit.aenqueue_many(busy.make() for _ in range(40))
    ticking = asyncio.create_task(tick())
    async with working(kit, concurrency=40):
        await asyncio.wait_for(done.wait(), WAIT)
    await ticking
    assert max(stretches) < 20


async def test_a_defect_of_the_runner_ends_the_job_and_neither_slot_nor_worker(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain: Any = Runner._resolved

    def resolved(self: Runner, record: Any, definition: Any) -> Any:
        if record.task == "bad":
            raise RuntimeError("a defect of ours")
        return plain(self, record, definition)

    monkeypatch.setattr(Runner, "_resolved", resolved)

    @kit.task
    async def bad() -> None: ...

    @kit.task
    async def good() -> str:
        return "done"

    async with working(kit, concurrency=1):
        broken = await bad.aenqueue()
        handle = await good.aenqueue()
        assert await asyncio.wait_for(handle.aresult(), WAIT) == "done"
        snapshot = await broken.aget()
        assert snapshot is not None
        assert (snapshot.state, snapshot.attempt) == (State.DELAYED, 2)  # a failed run like any other
        assert "a defect of ours" in snapshot.errors[-1].message
    assert "a defect of queuekit broke the run of job" in caplog.text
