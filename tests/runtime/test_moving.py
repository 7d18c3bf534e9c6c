"""Workers of a queue that moves: they end what they run, claim nothing more, and are there when it opens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from queuekit import JobContext, QueueKit, State
from queuekit.domain.outcome import Home
from queuekit.runtime import source
from queuekit.runtime.worker import Worker
from queuekit.store.direct import direct
from tests.runtime.conftest import WAIT, working
from tests.two_stores import Worlds


@pytest.fixture
async def worlds(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worlds]:
    """Two model stores; workers look by themselves so seldom that only a wake-up can be what woke them."""
    monkeypatch.setattr(source, "POLL", 1000.0)
    made = Worlds(real=True)
    yield made
    for kit in made.kits:
        await kit.aclose()
        kit.close()


class Work:
    """A task that says when it runs, and may be held."""

    def __init__(self, kit: QueueKit) -> None:
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.ran: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

        @kit.task("t", attempts=3, backoff=0.01)
        async def t(ctx: JobContext, n: int = 0) -> int:
            self.began.put_nowait(ctx.job.id)
            await self.gate.wait()
            self.ran.append(ctx.job.id)
            return n

        self.task = t

    async def one(self) -> str:
        """The next that begins."""
        return await asyncio.wait_for(self.began.get(), WAIT)


async def until(true: Callable[[], object]) -> None:
    async def look() -> None:
        while not true():  # noqa: ASYNC110  what is waited for rings no bell
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), WAIT)


def lines(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if what in record.getMessage()]


def asking(worker: Any) -> list[Any]:
    """The exchanges a worker makes from now on."""
    calls: list[Any] = []
    for one in worker._consumers:
        real = one.caller.store.exchange

        async def exchange(*args: Any, real: Any = real) -> Any:
            calls.append(args)
            return await real(*args)

        one.caller.store.exchange = exchange
    return calls


# ---------------------------------------------------------------- the store it leaves


async def test_an_old_worker_ends_what_it_runs_and_claims_no_more(
    worlds: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    kit, move = worlds.kit(), worlds.move("default")
    work = Work(kit)
    work.gate.clear()
    with caplog.at_level(logging.INFO, "queuekit"):
        async with working(kit, concurrency=1):
            running = await work.task.aenqueue(1)
            assert await work.one() == running.id
            waiting = await work.task.aenqueue(2)
            move.begin()
            work.gate.set()
            await until(lambda: lines(caplog, "moves to blue"))
            assert await running.astatus() == "completed"
            assert await waiting.astatus() == "waiting"
            assert await running.aresult(timeout=WAIT) == 1
            move.carry()
            move.open().gone()
            await until(lambda: lines(caplog, "lives in blue now"))
        assert work.ran == [running.id]
    (moving,) = lines(caplog, "moves to blue")
    assert moving == "queue default moves to blue: what runs ends here, and no more is claimed from this store"
    assert lines(caplog, "lives in blue now: this worker") == [
        "queue default lives in blue now: this worker gets no more of it until it is pointed there"
    ]


async def test_what_runs_at_the_source_is_renewed_and_told_of_a_cancel(worlds: Worlds) -> None:
    kit, move = worlds.kit(lease=2000), worlds.move("default")
    done = asyncio.Event()

    @kit.task("long", queue="default")
    async def long() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            done.set()

    new = worlds.kit("blue://")
    async with working(kit):
        handle = await long.aenqueue()
        await until(lambda: worlds.store("red").peek("default").of(State.ACTIVE))
        move.begin().hold().open()
        there = new.job(handle.id, queue="default")
        assert await there.astatus() == "active"
        assert await there.acancel("enough") is True, "asked of the store where it runs"
        await asyncio.wait_for(done.wait(), WAIT)
        await until(lambda: worlds.store("red").peek("default").of(State.CANCELLED))
    move.carry()
    move.gone().end()
    assert await there.astatus() == "cancelled"
    assert worlds.ids("blue", "default") == {handle.id}


async def test_a_run_that_fails_while_the_queue_moves_waits_for_its_next_one_in_the_new_store(worlds: Worlds) -> None:
    old, new, move = worlds.kit(), worlds.kit("blue://"), worlds.move("default")
    runs: list[str] = []
    gate = asyncio.Event()

    def register(kit: QueueKit, name: str) -> None:
        @kit.task("flaky", queue="default", attempts=3, backoff=0.01)
        async def flaky() -> str:
            runs.append(name)
            await gate.wait()
            if len(runs) == 1:
                raise ValueError("once")
            return name

    register(old, "old")
    register(new, "new")
    async with working(old), working(new):
        handle = await old.queue("default").aenqueue("flaky", {})
        await until(lambda: runs)
        move.begin().hold().open()
        gate.set()
        await until(lambda: worlds.store("red").peek("default").of(State.DELAYED))
        assert move.carry() == 1
        move.gone().end()
        assert await handle.aresult(timeout=WAIT) == "new"
    assert runs == ["old", "new"]
    found = await new.aget(handle.id, queue="default")
    assert found is not None
    assert found.attempt == 2


# ---------------------------------------------------------------- the store it comes to


async def test_a_worker_of_the_new_store_waits_and_wakes_when_the_queue_opens(
    worlds: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    old, new, move = worlds.kit(), worlds.kit("blue://"), worlds.move("default")
    first = await old.queue("default").aenqueue("t", {"n": 1})
    move.begin()
    work = Work(new)
    with caplog.at_level(logging.INFO, "queuekit"):
        async with working(new):
            await until(lambda: lines(caplog, "arrives from red"))
            second = await work.task.aenqueue(2)
            while move.carry():
                continue
            assert work.began.empty()
            move.open()
            assert {await work.one(), await work.one()} == {first.id, second.id}
            await until(lambda: len(work.ran) == 2)
            move.gone().end()
    assert lines(caplog, "lives here now") == ["queue default lives here now: its jobs are claimed"]
    assert work.ran == [first.id, second.id], "what was there before goes first"


async def test_an_aborted_move_wakes_the_old_worker(worlds: Worlds) -> None:
    kit, move = worlds.kit(), worlds.move("default")
    work = Work(kit)
    async with working(kit) as worker:
        move.begin()
        await until(lambda: worker._consumers[0].sources[0].away)
        handle = await work.task.aenqueue()
        assert worlds.ids("blue", "default") == {handle.id}
        back = move.back()
        back.say(back.source, Home.MOVING, "red")
        back.arrive()
        back.carry()
        back.open()
        back.gone()
        back.end()
        assert await work.one() == handle.id


@pytest.mark.parametrize("home", ["moving", "arriving", "gone"])
async def test_a_queue_that_is_away_costs_no_more_than_a_paused_one(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    """However often the store rings: what is there cannot be claimed."""
    kit, move = worlds.kit("blue://" if home == "arriving" else "red://"), worlds.move("default")
    Work(kit)
    steps = {"moving": move.begin, "arriving": move.begin, "gone": move.through}
    steps[home]()
    async with working(kit) as worker:
        (one,) = worker._consumers
        await until(lambda: one.sources[0].away)
        calls = asking(worker)
        for _ in range(200):
            one.sources[0].wake()
            one.wake()
            await asyncio.sleep(0)
        assert len(calls) <= source._CALM + 3
        assert worker.running() == []


@pytest.mark.parametrize("home", ["moving", "arriving", "gone"])
async def test_a_burst_ends_on_a_queue_that_is_away(worlds: Worlds, home: str) -> None:
    kit, move = worlds.kit("blue://" if home == "arriving" else "red://"), worlds.move("default")
    Work(kit)
    await worlds.kit().queue("default").aenqueue("t")
    await worlds.kit().queue("default").aenqueue("t", delay=0.001)
    await asyncio.sleep(0.01)  # due, and not promoted
    if home == "gone":
        move.through()
    else:
        move.begin()
    await asyncio.wait_for(Worker(kit, burst=True).arun(), WAIT)


async def test_a_burst_runs_what_other_queues_have(worlds: Worlds) -> None:
    kit = worlds.kit()
    work = Work(kit)
    worlds.move("gone").through()
    handle = await work.task.aenqueue()
    await asyncio.wait_for(Worker(kit, burst=True, queues=["gone", "default"]).arun(), WAIT)
    assert work.ran == [handle.id]


@pytest.mark.parametrize("home", ["moving", "arriving", "gone"])
async def test_declaring_the_configuration_of_a_queue_that_is_away_is_no_crash(
    worlds: Worlds, home: str, caplog: pytest.LogCaptureFixture
) -> None:
    kit, move = worlds.kit("blue://" if home == "arriving" else "red://"), worlds.move("default")
    Work(kit)
    kit._configuration.declare("default", {"max_size": 10})
    if home == "gone":
        move.through()
    else:
        move.begin()
    async with working(kit) as worker:
        await until(lambda: worker._consumers[0].sources[0].away)
    here = worlds.store("blue" if home == "arriving" else "red")
    written = direct(here.conf("default")).declared.max_size
    assert written == (10 if home == "arriving" else None)
    assert bool(lines(caplog, "is not written here")) == (home != "arriving")


# ---------------------------------------------------------------- all of it


async def test_nobody_restarts_at_one_moment_and_every_job_runs_once(worlds: Worlds) -> None:
    """Old and new producers, old and new workers, one move: each job runs exactly once, whoever made it."""
    old, new, move = worlds.kit(), worlds.kit("blue://"), worlds.move("default")
    ran: list[tuple[str, str]] = []

    def register(kit: QueueKit, name: str) -> None:
        @kit.task("t", queue="default")
        async def t(ctx: JobContext) -> str:
            await asyncio.sleep(0)
            ran.append((name, ctx.job.id))
            return name

    register(old, "old")
    register(new, "new")
    made: list[Any] = []
    stop = asyncio.Event()

    async def produce(kit: QueueKit, name: str) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            queue = kit.queue("default")
            made.append(await (queue.aenqueue("t", id=f"{name}-{n}") if n % 2 else queue.aenqueue("t")))
            await asyncio.sleep(0.001)

    async with working(old), working(new):
        producers = [asyncio.create_task(produce(old, "old")), asyncio.create_task(produce(new, "new"))]
        producers[1].cancel()  # the new program is deployed behind the begin of the move
        await until(lambda: len(ran) > 20)
        move.begin()
        producers[1] = asyncio.create_task(produce(new, "new"))
        for _ in range(3):
            move.carry(5)
            await asyncio.sleep(0.01)
        while move.carry(50):
            continue
        move.hold().open()
        before = len(ran)
        await until(lambda: len(ran) > before + 20)
        await until(lambda: not worlds.store("red").peek("default").of(State.ACTIVE))
        while move.carry():
            continue
        move.gone().end()
        before = len(ran)
        await until(lambda: len(ran) > before + 20)
        stop.set()
        await asyncio.gather(*producers)
        results = [await handle.aresult(timeout=WAIT) for handle in made]
    assert sorted(job for _, job in ran) == sorted(handle.id for handle in made)
    assert {"old", "new"} == set(results)
    assert all(handle.created for handle in made)
    assert worlds.ids("red", "default") == set()


async def test_a_result_is_waited_for_across_the_move(worlds: Worlds) -> None:
    old, new, move = worlds.kit(), worlds.kit("blue://"), worlds.move("default")
    work = Work(new)
    handle = await old.queue("default").aenqueue("t", {"n": 5})
    waiting = asyncio.create_task(handle.aresult(timeout=WAIT))
    await until(lambda: worlds.store("red").peek("default").awaited)
    move.begin()
    parcels = move.out()
    assert [parcel.awaited for parcel in parcels] == [True]
    move.bring(parcels)
    move.forget(parcels)
    await until(lambda: worlds.store("blue").peek("default").awaited)
    work.gate.set()
    async with working(new):
        move.open().gone().end()
        assert await waiting == 5


async def test_a_handler_of_an_old_worker_enqueues_where_the_queue_went(worlds: Worlds) -> None:
    kit, move = worlds.kit(), worlds.move("default")
    gate = asyncio.Event()

    @kit.task("parent", queue="default")
    async def parent() -> str:
        await gate.wait()
        return (await kit.queue("default").aenqueue("child")).id

    async with working(kit):
        handle = await parent.aenqueue()
        await until(lambda: worlds.store("red").peek("default").of(State.ACTIVE))
        move.begin()
        gate.set()
        child = await handle.aresult(timeout=WAIT)
    assert worlds.ids("blue", "default") == {child}
