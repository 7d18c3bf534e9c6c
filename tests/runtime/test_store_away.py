"""A store that loses replies, refuses, vanishes and comes back: every job still ends once, and no outcome is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, State
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from queuekit.errors import StoreUnavailable
from queuekit.runtime import worker as worker_module
from queuekit.runtime.worker import GAVE_BACK, Worker
from queuekit.testing.servers import MongoServer, RedisServer, Server
from tests.runtime.conftest import WAIT, each_store, working

SECRET = "redis://:hunter2@queue.example:6379/0"


class Faulty:
    """A store whose exchanges go through `fault(n, call)`: it may raise before, after, or instead."""

    def __init__(
        self, store: Any, fault: Callable[[int, Callable[[], Awaitable[Exchange]]], Awaitable[Exchange]]
    ) -> None:
        self._store = store
        self._fault = fault
        self.asked: list[tuple[Op, tuple[str, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        self.asked.append((op, tuple(outcome.id for outcome in outcomes)))

        async def call() -> Exchange:
            reply: Exchange = await self._store.exchange(queue, op, outcomes, ask)
            return reply

        return await self._fault(len(self.asked), call)


async def put_between(kit: QueueKit, fault: Any) -> Faulty:
    """Let the kit's workers reach their store through faults; producers are left alone."""
    faulty = Faulty(await kit.async_store(), fault)

    async def store() -> Faulty:
        return faulty

    kit.async_store = store  # type: ignore[method-assign]  # what a worker opens
    return faulty


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.runtime.call.FIRST_PAUSE", 0.01)


@each_store
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_lost_replies_and_refusals_cost_nothing(kit: QueueKit, concurrency: int) -> None:
    ran: dict[int, int] = {}

    @kit.task
    async def counts(n: int) -> None:
        ran[n] = ran.get(n, 0) + 1

    async def fault(n: int, call: Callable[[], Awaitable[Exchange]]) -> Exchange:
        if n % 5 == 1:
            raise StoreUnavailable("refused", outcome="refused")
        reply = await call()
        if n % 3 == 0:
            raise StoreUnavailable("the reply was lost", outcome="unknown")
        return reply

    await kit.aenqueue_many([counts.make(n) for n in range(40)])
    faulty = await put_between(kit, fault)
    await asyncio.wait_for(Worker(kit, burst=True, concurrency=concurrency).arun(), WAIT * 2)
    counted = await faulty.count("default")
    assert ran == dict.fromkeys(range(40), 1)
    assert (counted.states[State.COMPLETED], counted.totals.crashed, counted.states[State.ACTIVE]) == (40, 0, 0)
    for (op, first), (again, second) in zip(faulty.asked, faulty.asked[1:], strict=False):
        assert again.n == op.n + 1 or (again, second) == (op, first), "a repeat is the same request"


async def test_outcomes_of_runs_that_end_while_the_store_is_away_are_handed_in_later(
    kit: QueueKit, caplog: pytest.LogCaptureFixture
) -> None:
    claimed = asyncio.Barrier(5)
    away = asyncio.Event()
    back = asyncio.Event()
    asked_while_away = asyncio.Event()
    runs: list[int] = []

    @kit.task
    async def finishes(n: int) -> int:
        await claimed.wait()
        await away.wait()
        runs.append(n)
        return n

    async def fault(n: int, call: Callable[[], Awaitable[Exchange]]) -> Exchange:
        if away.is_set() and not back.is_set():
            asked_while_away.set()
            raise StoreUnavailable(f"cannot reach {SECRET}", outcome="refused")
        return await call()

    handles = [await finishes.aenqueue(n) for n in range(4)]
    await put_between(kit, fault)
    with caplog.at_level(logging.INFO, logger="queuekit"):
        async with working(kit, concurrency=4):
            await asyncio.wait_for(claimed.wait(), WAIT)
            away.set()
            await asyncio.wait_for(asked_while_away.wait(), WAIT)
            await asyncio.sleep(0.1)  # several repeats
            assert [await handle.astatus() for handle in handles] == [State.ACTIVE] * 4
            back.set()
            assert [await handle.aresult(timeout=WAIT) for handle in handles] == [0, 1, 2, 3]
    assert sorted(runs) == [0, 1, 2, 3]
    said = [record.getMessage() for record in caplog.records if "unavailable" in record.getMessage()]
    assert len(said) == 1, "said once, however often it is repeated"
    assert "hunter2" not in caplog.text
    assert "store is back" in caplog.text


async def test_a_worker_that_must_end_while_the_store_is_away_ends(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "FLUSH", 0.2)
    away, over = asyncio.Event(), asyncio.Event()

    @kit.task
    async def finishes() -> None:
        away.set()
        over.set()

    async def fault(n: int, call: Callable[[], Awaitable[Exchange]]) -> Exchange:
        if away.is_set():
            raise StoreUnavailable("gone", outcome="refused")
        return await call()

    handle = await finishes.aenqueue()
    await put_between(kit, fault)
    async with working(kit) as worker:
        await asyncio.wait_for(over.wait(), WAIT)
        await asyncio.wait_for(worker.stop(), WAIT)
    assert worker.exit_code == GAVE_BACK
    assert await handle.astatus() is State.ACTIVE  # until its lease ends


async def test_a_store_that_is_not_there_at_the_start_is_waited_for_and_then_named(tmp_path: Path) -> None:
    kit = QueueKit("redis://:hunter2@127.0.0.1:1/0", name="nowhere")

    @kit.task
    async def never() -> None: ...

    with pytest.raises(StoreUnavailable) as raised:
        await asyncio.wait_for(Worker(kit, wait_store=0.3).arun(), WAIT)
    assert "hunter2" not in str(raised.value)
    assert "127.0.0.1" in str(raised.value)
    await kit.aclose()


async def test_a_worker_that_waits_for_its_store_can_be_stopped(tmp_path: Path) -> None:
    kit = QueueKit("redis://127.0.0.1:1/0", name="nowhere")

    @kit.task
    async def never() -> None: ...

    worker = Worker(kit, wait_store="1h")
    running = asyncio.create_task(worker.arun())
    while worker.plan is None:  # noqa: ASYNC110  a turn or two of the loop
        await asyncio.sleep(0)
    worker.ask_stop()
    await asyncio.wait_for(running, WAIT)
    assert worker.exit_code == 0
    await kit.aclose()


@pytest.mark.parametrize("make", [RedisServer, MongoServer], ids=["redis", "mongo"])
async def test_workers_go_on_after_the_server_was_killed_and_started_again(
    make: type[Server], request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("redis_url" if make is RedisServer else "mongo_url")  # skips where there is none
    server = RedisServer(options={"appendonly": "yes"}) if make is RedisServer else MongoServer()
    with server:
        kit = QueueKit(server.url, name="restarted")
        ran: dict[int, int] = {}
        half = asyncio.Event()

        @kit.task
        async def counts(n: int) -> None:
            await asyncio.sleep(0.002)
            ran[n] = ran.get(n, 0) + 1
            if len(ran) == 200:
                half.set()

        handles = await kit.aenqueue_many([counts.make(n) for n in range(400)])
        async with working(kit, concurrency=10):
            await asyncio.wait_for(half.wait(), WAIT)
            await asyncio.to_thread(server.kill9)
            await asyncio.to_thread(server.restart)
            for handle in handles:
                await handle.aresult(timeout=60)
        store = await kit.async_store()
        counted = await store.count("default")
        assert ran == dict.fromkeys(range(400), 1)
        assert (counted.states[State.COMPLETED], counted.totals.crashed) == (400, 0)
        await kit.aclose()
