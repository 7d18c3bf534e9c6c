"""A handler that cancels its own task and does not wait: the cancel ends with its run."""

from __future__ import annotations

import asyncio

import pytest

from queuekit import QueueKit
from queuekit.domain.state import State
from tests.runtime.conftest import WAIT, working


def cancel_me() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("raises", [False, True])
async def test_a_cancel_of_ones_own_does_not_reach_the_next_job(kit: QueueKit, *, waits: bool, raises: bool) -> None:
    ran: list[int] = []
    over = asyncio.Event()

    @kit.task(attempts=1)
    async def hasty() -> None:
        if waits:
            await asyncio.sleep(0)
        cancel_me()
        if raises:
            raise ValueError("after the cancel")

    @kit.task(attempts=1)
    async def other(number: int) -> None:
        await asyncio.sleep(0.01)
        ran.append(number)
        if len(ran) == 5:
            over.set()

    first = await hasty.aenqueue()
    others = [await other.aenqueue(number=number) for number in range(5)]
    async with working(kit, concurrency=6):  # one call claims them all: the same slot goes on to another
        await asyncio.wait_for(over.wait(), WAIT)
    ended = [await handle.aget() for handle in (first, *others)]
    assert [job and job.state for job in ended] == [State.FAILED if raises else State.COMPLETED] + [State.COMPLETED] * 5
    assert sorted(ran) == [0, 1, 2, 3, 4]
