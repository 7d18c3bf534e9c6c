"""What a worker does by itself: wake-ups are hints, and none of these tests has any."""

from __future__ import annotations

import asyncio

import pytest

from queuekit import QueueKit
from queuekit.runtime.listener import Listener
from tests.runtime.conftest import working


@pytest.fixture(autouse=True)
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wake-up ever arrives."""

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
            assert await handle.aresult(timeout=3) == "came"
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
            assert await handle.aresult(timeout=3) == "done"
        finally:
            over.set()
