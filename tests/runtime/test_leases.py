"""Who owns a job while it runs: leases kept under a blocked loop, lost and ended leases, cancels, progress."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from queuekit import JobContext, QueueKit, State, clock
from queuekit.domain.absence import LEAST_GRACE
from queuekit.domain.outcome import Ask, Exchange, Hold, Kind, Op, Outcome, Renewal
from queuekit.errors import StoreUnavailable
from queuekit.runtime import call, lease_keeper
from queuekit.store.direct import direct
from tests.runtime.conftest import WAIT, each_store, working

HOUR = 3600.0
LEASE = 3.0  # seconds; several times what a busy machine may be held up


@each_store
@pytest.mark.usefixtures("brisk")
async def test_a_handler_that_blocks_the_event_loop_keeps_its_lease(new_kit: Callable[..., QueueKit]) -> None:
    kit, other = new_kit(queues={"default": {"lease": LEASE}}), new_kit()
    recovered: list[str] = []
    entered, gone = threading.Event(), threading.Event()

    @kit.task
    async def blocks() -> str:
        entered.set()
        time.sleep(LEASE + 0.5)  # noqa: ASYNC251  that is the point
        return "kept"

    def watch() -> None:
        """Another worker looks for expired leases all the while, from its own thread."""
        store = other.blocking_store()
        entered.wait(WAIT)
        while not gone.is_set():
            said = direct(store.recover("default", every=50))
            recovered.extend(said.suspects + said.crashed)
            gone.wait(0.1)

    handle = await blocks.aenqueue()
    watcher = threading.Thread(target=watch)
    watcher.start()
    async with working(kit):
        assert await handle.aresult(timeout=WAIT) == "kept"
    gone.set()
    await asyncio.to_thread(watcher.join, WAIT)
    assert recovered == []


@each_store
@pytest.mark.usefixtures("brisk")
async def test_a_run_whose_job_was_taken_over_is_stopped_and_its_end_dropped(new_kit: Callable[..., QueueKit]) -> None:
    kit, thief = new_kit(), new_kit()
    started, stopped = asyncio.Event(), asyncio.Event()

    @kit.task
    async def robbed() -> str:
        started.set()
        try:
            await asyncio.sleep(WAIT * 10)
        finally:
            stopped.set()
        return "never"

    handle = await robbed.aenqueue()
    async with working(kit, concurrency=1) as worker:  # no free slot to claim it back
        await asyncio.wait_for(started.wait(), WAIT)
        claim = worker.running()[0]
        store = await thief.async_store()
        # Somebody else holds the job now: given back with the token, claimed under another.
        await store.exchange(
            "default", Op("thief", 1), [Outcome(claim.id, claim.token, Kind.RELEASED)], Ask(want=1, lease=60_000)
        )
        await asyncio.wait_for(stopped.wait(), WAIT)
        assert await handle.astatus() is State.ACTIVE
        reply = await store.renew("default", [Hold(id=handle.id, token="thief:1")], 60_000)
        assert reply.lost == [], "the first worker must not have touched the thief's claim"
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.attempt) == (State.ACTIVE, 1)


async def test_without_a_renewal_for_a_lease_the_run_is_fenced_and_the_job_given_back(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_keeper, "_TICK", 0.05)
    started, stopped, runs = asyncio.Event(), asyncio.Event(), 0

    @kit.task(attempts=1)
    async def fenced(ctx: JobContext) -> str:
        nonlocal runs
        runs += 1
        if runs == 1:
            started.set()
            try:
                await asyncio.sleep(WAIT * 10)
            finally:
                stopped.set()
        return "second run"

    handle = await fenced.aenqueue()
    async with working(kit) as worker:
        lost = StoreUnavailable("cut off", outcome="refused")

        def away() -> None:
            raise lost

        keeper = worker._keeper
        await asyncio.wait_for(started.wait(), WAIT)
        real, keeper._store = keeper._store, away  # type: ignore[assignment]  # renewals cannot reach the store
        (claim,) = worker.running()
        assert not stopped.is_set()
        claim.lease_end = clock.monotonic()  # its lease has ended; not at the store, whose workers would recover it
        await asyncio.wait_for(stopped.wait(), WAIT)
        keeper._store = real
        assert await handle.aresult(timeout=WAIT) == "second run"
    job = await handle.aget()
    assert job is not None
    assert (job.attempt, job.crashes, job.errors) == (1, 0, ())


@each_store
@pytest.mark.usefixtures("brisk")
async def test_a_cancel_stops_a_running_coroutine(kit: QueueKit) -> None:
    started = asyncio.Event()
    cancelled = asyncio.Event()
    kit.on("cancelled", lambda fact: cancelled.set())

    @kit.task
    async def endless() -> None:
        started.set()
        await asyncio.sleep(WAIT * 10)

    handle = await endless.aenqueue()
    async with working(kit):
        await asyncio.wait_for(started.wait(), WAIT)
        assert await handle.acancel("changed my mind")
        await asyncio.wait_for(cancelled.wait(), WAIT)
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.reason, job.errors) == (State.CANCELLED, "changed my mind", ())


@pytest.mark.usefixtures("brisk")
async def test_a_thread_sees_a_cancel_through_its_context(kit: QueueKit) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    kit.on("cancelled", lambda fact: cancelled.set())

    @kit.task
    def endless(ctx: JobContext) -> None:
        loop.call_soon_threadsafe(started.set)
        while True:
            ctx.check_cancelled()
            time.sleep(0.01)

    handle = await endless.aenqueue()
    async with working(kit):
        await asyncio.wait_for(started.wait(), WAIT)
        assert await handle.acancel("enough")
        await asyncio.wait_for(cancelled.wait(), WAIT)
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.reason) == (State.CANCELLED, "enough")


@pytest.mark.usefixtures("brisk")
async def test_a_cancel_that_comes_too_late_changes_nothing(kit: QueueKit) -> None:
    started = asyncio.Event()

    @kit.task
    async def finishes_anyway() -> str:
        started.set()
        try:
            await asyncio.sleep(WAIT)
        except asyncio.CancelledError:
            return "done all the same"
        return "nobody cancelled"

    handle = await finishes_anyway.aenqueue()
    async with working(kit):
        await asyncio.wait_for(started.wait(), WAIT)
        await handle.acancel()
        assert await handle.aresult(timeout=WAIT) == "done all the same"


@each_store
async def test_progress_and_lines_arrive_while_the_job_runs_and_at_its_end(kit: QueueKit) -> None:
    go = asyncio.Event()
    facts: asyncio.Queue[object] = asyncio.Queue()
    kit.on("progress", lambda fact: facts.put_nowait(fact.job.progress if fact.job else None))

    @kit.task
    async def reports(ctx: JobContext) -> None:
        ctx.progress(0.5, "half", step=1)
        ctx.log("first line")
        await go.wait()
        ctx.log("last line")
        ctx.progress(1.0)

    handle = await reports.aenqueue()
    async with working(kit):
        assert await asyncio.wait_for(facts.get(), WAIT) == {"value": 0.5, "message": "half", "step": 1}
        store = await kit.async_store()
        (running,) = await store.get("default", [handle.id])
        assert running is not None
        assert running.state is State.ACTIVE
        assert [line.split(b",", 1)[1] for line in running.logs] == [b'"first line"]']
        go.set()
        await handle.aresult(timeout=WAIT)
        (ended,) = await store.get("default", [handle.id])
    assert ended is not None
    assert [line.split(b",", 1)[1] for line in ended.logs] == [b'"first line"]', b'"last line"]']
    assert ended.progress == b'j{"value":1.0}'


class Counting:
    """A store that counts what is asked of it."""

    def __init__(self, store: object) -> None:
        self._store = store
        self.calls: dict[str, int] = {}

    def __getattr__(self, name: str) -> object:
        self.calls[name] = self.calls.get(name, 0) + 1
        return getattr(self._store, name)


@pytest.mark.usefixtures("brisk")
async def test_an_idle_worker_renews_nothing_and_asks_little(kit: QueueKit) -> None:
    ran = asyncio.Event()

    @kit.task
    async def once() -> None:
        ran.set()

    async with working(kit) as worker:
        handle = await once.aenqueue()
        await handle.aresult(timeout=WAIT)
        blocking = Counting(kit.blocking_store())
        worker._keeper._store = lambda: blocking  # type: ignore[assignment,return-value]  # a store to its users
        spying = [Counting(consumer.caller.store) for consumer in worker._consumers]
        for consumer, spy in zip(worker._consumers, spying, strict=True):
            consumer.caller.store = spy  # type: ignore[assignment]  # as above
        await asyncio.sleep(1.5)  # not for something to come: for nothing to come
        assert blocking.calls == {}
        assert sum(sum(spy.calls.values()) for spy in spying) <= 1


async def test_claims_that_never_reached_the_worker_are_given_back(kit: QueueKit) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    @kit.task
    async def holds() -> None:
        started.set()
        await go.wait()

    @kit.task
    async def stray() -> str:
        return "found its way"

    first = await holds.aenqueue()
    async with working(kit, concurrency=1) as worker:
        await asyncio.wait_for(started.wait(), WAIT)
        lost = await stray.aenqueue()
        store = await kit.async_store()
        reply = await store.exchange("default", Op("ghost", 1), [], Ask(want=1, lease=3_600_000))
        assert [claim.id for claim in reply.claims] == [lost.id]
        source, renewal = worker._consumers[0].sources[0], Renewal(now=0, lease_until=1)
        renewal.strays = [(lost.id, "ghost:1"), (first.id, worker.running()[0].token)]
        worker._keeper._answered(source, [], renewal, 0.0)
        go.set()
        assert await lost.aresult(timeout=WAIT) == "found its way"
        await first.aresult(timeout=WAIT)
        counts = await store.count("default")
    assert (counts.totals.released, counts.totals.completed) == (1, 2), "what the worker knows of is no stray"


async def test_a_claim_whose_answer_came_too_late_is_given_back_unrun(
    kit: QueueKit, ahead: Callable[[float], None]
) -> None:
    runs: list[int] = []
    late = [HOUR, 0.0]  # how long the answers with claims were on their way

    @kit.task
    async def runs_once(ctx: JobContext) -> None:
        runs.append(ctx.attempt)

    store = await kit.async_store()

    class Slow(Counting):
        async def exchange(self, queue: str, op: Op, outcomes: list[Outcome], ask: Ask) -> Exchange:
            reply = await store.exchange(queue, op, outcomes, ask)
            if reply.claims:
                ahead(late.pop(0))
            return reply

    async def slow_store() -> object:
        return Slow(store)

    kit.async_store = slow_store  # type: ignore[method-assign,assignment]  # what a worker opens
    handle = await runs_once.aenqueue()
    async with working(kit):
        await handle.aresult(timeout=WAIT)
    counts = await store.count("default")
    assert runs == [1]
    assert (counts.totals.released, counts.totals.crashed) == (1, 0)


async def test_a_worker_that_got_nothing_but_late_claims_stops_at_once(
    kit: QueueKit, ahead: Callable[[float], None]
) -> None:
    """Nothing runs, so there is nothing to wait a grace for."""
    store, late = await kit.async_store(), asyncio.Event()

    class Slow(Counting):
        async def exchange(self, queue: str, op: Op, outcomes: list[Outcome], ask: Ask) -> Exchange:
            reply = await store.exchange(queue, op, outcomes, replace(ask, want=0) if late.is_set() else ask)
            if reply.claims:
                ahead(HOUR)
                late.set()
            return reply

    async def slow_store() -> object:
        return Slow(store)

    @kit.task
    async def unrun() -> None:
        raise AssertionError("it came too late")

    kit.async_store = slow_store  # type: ignore[method-assign,assignment]  # what a worker opens
    handle = await unrun.aenqueue()
    async with working(kit) as worker:
        await asyncio.wait_for(late.wait(), WAIT)
        await asyncio.wait_for(worker.stop("1h"), WAIT)
    assert await handle.astatus() is State.WAITING


@pytest.mark.usefixtures("brisk")
async def test_a_handler_that_blocks_the_loop_is_named(
    kit: QueueKit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queuekit.runtime.pulse._LATE", 0.1)
    said = "task blocks blocks the event loop"

    @kit.task
    async def blocks() -> None:
        await asyncio.sleep(0)
        patience = clock.monotonic() + WAIT
        while said not in caplog.text and clock.monotonic() < patience:
            time.sleep(0.01)  # noqa: ASYNC251  that is the point

    async with working(kit):
        await (await blocks.aenqueue()).aresult(timeout=2 * WAIT)
    assert said in caplog.text


def test_whoever_lives_has_asked_twice_within_the_shortest_grace() -> None:
    """Else a store that came back would hand a live worker's jobs to others (decision 074)."""
    assert 2 * call.LONGEST_PAUSE * 1000 < LEAST_GRACE
    assert 2 * lease_keeper._TICK * 1000 < LEAST_GRACE
