"""The real mover under kits that follow: producers and workers of both stores while a queue moves between them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from queuekit import JobContext, QueueKit
from queuekit.move import Side, move
from queuekit.settings import side_names
from tests.runtime.conftest import WAIT, working
from tests.runtime.test_moving_stores import Pair, each_pair, pair

__all__ = ["pair"]
JOBS = 40  # a producer


class Life:
    """Two producers and two workers, one of each store, and what became of their jobs."""

    def __init__(self, pair: Pair) -> None:
        self.old, self.new = pair.old(), pair.new()
        self.names = side_names(*pair.urls)
        self.ran: list[tuple[str, str]] = []
        self.made: list[Any] = []
        self.begun = asyncio.Event()
        for kit, name in ((self.old, "old"), (self.new, "new")):
            self._register(kit, name)

    def _register(self, kit: QueueKit, name: str) -> None:
        @kit.task("t", queue="default")
        async def t(ctx: JobContext) -> str:
            self.ran.append((name, ctx.job.id))
            return name

    async def produce(self, kit: QueueKit, name: str) -> None:
        """Jobs with ids of its own and without, alone and together, until all are in."""
        queue = kit.queue("default")
        for n in range(JOBS):
            if n % 3 == 0:
                self.made.append(await queue.aenqueue("t", id=f"{name}-{n}"))
            elif n % 3 == 1:
                self.made.append(await queue.aenqueue("t"))
            else:
                self.made += await kit.aenqueue_many([queue.make("t", id=f"{name}-{n}"), queue.make("t")])
            if n == JOBS // 4:
                self.begun.set()
            await asyncio.sleep(0.002)

    async def sides(self) -> tuple[Side, Side]:
        """What the mover is told."""
        source: Any = await self.old.async_store()
        target: Any = await self.new.async_store()
        return Side(store=source, name=self.names[0]), Side(store=target, name=self.names[1])


@pytest.fixture
async def life(pair: Pair) -> Life:
    return Life(pair)


@each_pair
async def test_a_live_move_loses_nothing_and_runs_nothing_twice(life: Life) -> None:
    async with working(life.old), working(life.new):
        first = asyncio.create_task(life.produce(life.old, "old"))
        await asyncio.wait_for(life.begun.wait(), WAIT)
        moving = asyncio.create_task(move(*await life.sides(), ["default"]))
        second = asyncio.create_task(life.produce(life.old, "late"))
        report = await moving
        await asyncio.gather(first, second, life.produce(life.new, "new"))
        results = [await handle.aresult(timeout=WAIT) for handle in life.made]
    assert report.agrees
    assert all(handle.created for handle in life.made)
    assert sorted(job for _, job in life.ran) == sorted(handle.id for handle in life.made)
    assert set(results) <= {"old", "new"}
    assert results[-1] == "new"
