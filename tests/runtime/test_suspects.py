"""A worker and jobs that may have killed another worker: one of them at a time, whatever else runs beside it."""

from __future__ import annotations

import asyncio

from queuekit import QueueKit
from queuekit.domain.outcome import Ask, Op
from tests.runtime.conftest import WAIT, each_store, working

DAY = 86_400_000


@each_store
async def test_a_worker_runs_one_suspect_at_a_time_and_others_beside_it(kit: QueueKit) -> None:
    begun: dict[str, asyncio.Event] = {name: asyncio.Event() for name in ("s1", "s2", "plain")}
    ran: list[str] = []
    go = asyncio.Event()

    @kit.task
    async def work(name: str) -> None:
        ran.append(name)
        begun[name].set()
        if name != "plain":
            await go.wait()

    await kit.aenqueue_many([work.using(id=name).make(name=name) for name in ("s1", "s2")])
    store = await kit.async_store()
    await store.exchange("default", Op("dead", 1), [], Ask(want=2, lease=-1))
    assert sorted((await store.recover("default", every=DAY)).suspects) == ["s1", "s2"]
    async with working(kit, concurrency=4):
        await asyncio.wait_for(begun["s1"].wait(), WAIT)
        await work.aenqueue(name="plain")
        await asyncio.wait_for(begun["plain"].wait(), WAIT)  # so the worker has asked for more
        assert ran == ["s1", "plain"]
        go.set()
        await asyncio.wait_for(begun["s2"].wait(), WAIT)
    assert ran == ["s1", "plain", "s2"]
