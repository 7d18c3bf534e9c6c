"""The real mover under kits that follow: producers and workers of both stores while a queue moves between them.

A mover that dies is tried between a few pairs each way; QUEUEKIT_EVERY_PAIR=1 tries all.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from queuekit import JobContext, QueueKit
from queuekit.move import Options, Phase, Progress, Side, abort, move, resume
from queuekit.settings import side_names
from tests.runtime.conftest import WAIT, working
from tests.runtime.test_moving_stores import PAIRS, Pair, each_pair, pair

__all__ = ["pair"]
JOBS = 16  # a producer


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


class _Killed(Exception):
    """The mover dies here."""


ROUND = [("redis", "mongo"), ("mongo", "sqlite"), ("sqlite", "redis")]
ENDS = [
    pytest.param(source, target, then, id=f"{source}-{target}-{then.__name__}")
    for source, target in PAIRS
    for then in (abort, resume)
    if "QUEUEKIT_EVERY_PAIR" in os.environ or ((source, target) if then is abort else (target, source)) in ROUND
]


@pytest.mark.parametrize(("source_kind", "target_kind", "then"), ENDS)
async def test_a_mover_that_dies_in_the_middle_strands_nobody(life: Life, then: Any) -> None:
    """Producers of both stores go on meanwhile, by whichever store takes their jobs."""

    def dies(told: Progress) -> None:
        if told.phase is Phase.JOBS and told.moved >= 40:
            raise _Killed

    queue = life.old.queue("default")
    life.made += await life.old.aenqueue_many([queue.make("t", id=f"before-{n}") for n in range(120)])
    sides = await life.sides()
    with pytest.raises(_Killed):
        await move(*sides, ["default"], options=Options(batch=10), on_progress=dies)
    await life.produce(life.old, "old")
    await life.produce(life.new, "new")
    async with working(life.old), working(life.new):
        again = asyncio.create_task(then(*sides, ["default"]))
        await asyncio.gather(life.produce(life.old, "old-again"), life.produce(life.new, "new-again"))
        await again
        await asyncio.gather(life.produce(life.old, "old-after"), life.produce(life.new, "new-after"))
        results = [await handle.aresult(timeout=WAIT) for handle in life.made]
    assert all(handle.created for handle in life.made)
    assert sorted(job for _, job in life.ran) == sorted(handle.id for handle in life.made)
    assert set(results) == {"old" if then is abort else "new"}
