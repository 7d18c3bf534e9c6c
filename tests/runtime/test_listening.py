"""A worker of several queues hears of work for each of them at once, whatever it listened for a moment before."""

from __future__ import annotations

import asyncio

import pytest

from queuekit import QueueKit
from tests.runtime.conftest import WAIT, each_store, working


@each_store
@pytest.mark.usefixtures("unpolled")
async def test_a_queue_that_had_work_is_heard_beside_one_that_has_none(kit: QueueKit) -> None:
    ran = asyncio.Event()

    @kit.task(queue="busy")
    async def quick() -> None:
        ran.set()

    async with working(kit, queues=["busy", "quiet"], concurrency=4):
        for _ in range(4):
            ran.clear()
            await quick.aenqueue()
            await asyncio.wait_for(ran.wait(), WAIT)  # woken: nothing else would do it
            await asyncio.sleep(0.3)  # the worker rests again
