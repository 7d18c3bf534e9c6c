"""What a worker does by itself: wake-ups are hints, and none of these tests has any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from queuekit import QueueKit
from queuekit.runtime.listener import Listener
from queuekit.runtime.worker import Worker
from tests.runtime.conftest import WAIT, working


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch, unpolled: None) -> None:
    """No wake-up ever arrives, and no queue is asked for having gone unasked."""

    async def run(self: Listener) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Listener, "run", run)


async def test_a_delayed_job_comes_in_time_beside_jobs_that_were_claimed_and_still_run(kit: QueueKit) -> None:
    over = asyncio.Event()

    @kit.task
    async def long() -> None:
        await over.wait()

    @kit.task
    async def later() -> str:
        return "came"

    await long.aenqueue()
    handle = await later.using(delay=0.3).aenqueue()
    async with working(kit, concurrency=4):
        try:
            assert await handle.aresult(timeout=WAIT) == "came"
        finally:
            over.set()


async def test_an_end_is_handed_in_while_the_jobs_claimed_with_it_go_on(kit: QueueKit) -> None:
    over = asyncio.Event()

    @kit.task
    async def long() -> None:
        await over.wait()

    @kit.task
    async def quick() -> str:
        return "done"

    handle = await quick.aenqueue()
    for _ in range(3):
        await long.aenqueue()
    async with working(kit, concurrency=4):
        try:
            assert await handle.aresult(timeout=WAIT) == "done"
        finally:
            over.set()


@pytest.mark.parametrize("own", [True, False], ids=["slots of their own", "shared slots"])
async def test_burst_runs_what_another_queues_last_job_made(own: bool, new_kit: Callable[..., QueueKit]) -> None:
    kit = new_kit(queues={name: {"concurrency": 2} for name in ("first", "second")} if own else {})
    ran: list[str] = []

    @kit.task(queue="first")
    async def follow(n: int) -> None:
        ran.append(f"follow {n}")
        if n:
            await lead.aenqueue(n - 1)

    @kit.task(queue="second")
    async def lead(n: int) -> None:
        await asyncio.sleep(0.1)  # the other queue has been asked, and found empty
        ran.append(f"lead {n}")
        await follow.aenqueue(n)

    await lead.aenqueue(1)
    queues = None if own else ["first", "second"]
    await asyncio.wait_for(Worker(kit, burst=True, concurrency=4, queues=queues).arun(), WAIT)
    assert ran == ["lead 1", "follow 1", "lead 0", "follow 0"]
