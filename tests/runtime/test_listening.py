"""A worker of several queues hears of work for each of them at once, whatever it listened for a moment before."""

from __future__ import annotations

import asyncio
from contextlib import suppress

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


async def test_no_call_outlives_the_worker_that_listens(kit: QueueKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB's driver closes a cursor first when it is cancelled: whoever cancels again must not cut that off."""
    kit.task(queue="quiet")(_nothing)
    store, began, ended = await kit.async_store(), asyncio.Event(), asyncio.Event()
    before = asyncio.all_tasks()

    async def wait(queues: list[str], timeout: int) -> list[str]:
        began.set()
        for _ in range(2):
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        ended.set()
        return []

    monkeypatch.setattr(store, "wait", wait)
    async with kit.worker():
        await asyncio.wait_for(began.wait(), WAIT)
    assert ended.is_set()
    assert asyncio.all_tasks() == before


def _nothing() -> None:
    return
