"""Notify: waking on work, and hearing of one job's end. Hints: early and late are allowed, silence is not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from queuekit import clock
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    SECOND,
    Producer,
    Q,
    Worker,
    change,
    names,
    recover,
    set_limits,
    spec,
    state,
)

LONG = 30 * SECOND  # a wait that ends sooner was woken
SOON = 10.0  # seconds a wake-up may take on a loaded machine


async def quiet(store: JobStore, *queues: str) -> None:
    """Wait until no hint of before is left, looking for work after each, as a worker would; there must be none."""
    for _ in range(20):
        hinted = await store.wait(queues or [Q], 50)
        if not hinted:
            return
        for queue in hinted:
            await Worker(store, queue).exchange()
    raise AssertionError("the queue is never quiet")


async def woken(store: JobStore, other: JobStore, act: Callable[[JobStore], Awaitable[object]]) -> list[str]:
    """What a wait answers when `act` happens meanwhile, through another store; it is a failure not to wake soon."""
    await quiet(store)
    waiting = asyncio.ensure_future(store.wait([Q], LONG))
    await asyncio.wait({waiting}, timeout=0.2)  # the waiter is most likely inside; an earlier hint is kept anyway
    await act(other)
    return await asyncio.wait_for(waiting, SOON)


async def test_new_work_wakes_a_waiting_worker(contended: None, open_store: Open, store: JobStore) -> None:
    assert await woken(store, await open_store(), lambda other: Producer(other).put("a")) == [Q]
    assert names(await Worker(store).claim()) == ["a"]


async def test_work_that_came_before_the_wait_wakes_it(contended: None, open_store: Open, store: JobStore) -> None:
    await quiet(store)
    await Producer(await open_store()).put("a")
    assert await asyncio.wait_for(store.wait([Q], LONG), SOON) == [Q]


async def test_a_promoted_job_wakes_a_waiting_worker(contended: None, open_store: Open, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR))
    assert await woken(store, await open_store(), lambda other: change(other, "a", Verb.PROMOTE)) == [Q]


async def test_a_job_retried_by_a_person_wakes_a_waiting_worker(
    contended: None, open_store: Open, store: JobStore
) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.FAILED)
    assert await woken(store, await open_store(), lambda other: change(other, "a", Verb.RETRY)) == [Q]


async def test_a_resumed_queue_wakes_a_waiting_worker(contended: None, open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a")
    await set_limits(store, paused="night")
    assert (await Worker(store).exchange((), 1)).claims == []
    assert await woken(store, await open_store(), set_limits) == [Q]


async def test_a_configured_queue_wakes_a_waiting_worker(contended: None, open_store: Open, store: JobStore) -> None:
    """Its lease or its concurrency may be another now."""
    await Producer(store).put("a")
    await Worker(store).take("a")
    assert await woken(store, await open_store(), lambda other: set_limits(other, lease=99_000)) == [Q]


async def test_a_job_that_is_delayed_wakes_whoever_must_set_a_timer(
    contended: None, open_store: Open, store: JobStore
) -> None:
    """The earliest due time moved forward: a waiting worker must hear of it, or the job is late by a poll."""
    assert await woken(store, await open_store(), lambda other: Producer(other).put(spec("a", delay=100))) == [Q]


async def test_a_released_job_wakes_a_waiting_worker(contended: None, open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    async def release(other: JobStore) -> None:
        await Worker(other).end(job, Kind.RELEASED)

    assert await woken(store, await open_store(), release) == [Q]


async def test_a_recovered_job_wakes_a_waiting_worker(
    contended: None, harness: Harness, open_store: Open, store: JobStore
) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(LEASE + SECOND)
    assert await woken(store, await open_store(), recover) == [Q]


async def test_work_that_is_left_wakes_the_next_worker(contended: None, open_store: Open, store: JobStore) -> None:
    """One of many took a job and left others: the exchange passes the hint on."""
    other = await open_store()
    await Producer(store).put("a", "b")
    assert await asyncio.wait_for(store.wait([Q], LONG), SOON) == [Q]
    await Worker(store).take("a")
    assert await asyncio.wait_for(other.wait([Q], LONG), SOON) == [Q]


async def test_a_wait_ends_at_its_timeout_with_nothing(contended: None, store: JobStore) -> None:
    await quiet(store, "silent")
    before = clock.monotonic()
    assert await store.wait(["silent"], 100) == []
    assert 0.05 <= clock.monotonic() - before < SOON


async def test_a_wait_may_be_for_many_queues(contended: None, open_store: Open, store: JobStore) -> None:
    queues = ["one", "two", "three"]
    await quiet(store, *queues)
    waiting = asyncio.ensure_future(store.wait(queues, LONG))
    await asyncio.wait({waiting}, timeout=0.2)
    await Producer(await open_store(), "two").put("a")
    found = await asyncio.wait_for(waiting, SOON)
    assert "two" in found
    assert set(found) <= set(queues)


async def test_every_waiting_worker_gets_to_the_work(contended: None, open_store: Open, store: JobStore) -> None:
    """Two wait, two jobs come: both are claimed without anybody's poll, for a claim that leaves work passes it on."""
    other, third = await open_store(), await open_store()
    await quiet(store)

    async def work(mine: JobStore) -> list[str]:
        worker, got = Worker(mine), list[str]()
        while not got:
            await mine.wait([Q], LONG)
            got = names(await worker.claim(1))
        return got

    workers = [asyncio.ensure_future(work(mine)) for mine in (store, other)]
    await asyncio.wait(workers, timeout=0.2)
    await Producer(third).put("a", "b")
    got = await asyncio.wait_for(asyncio.gather(*workers), 2 * SOON)
    assert sorted(got) == [["a"], ["b"]]


async def test_a_wait_may_be_cancelled_and_the_store_goes_on(contended: None, store: JobStore, port: str) -> None:
    if port == "async":
        await quiet(store)
        for _ in range(5):
            waiting = asyncio.ensure_future(store.wait([Q], LONG))
            await asyncio.wait({waiting}, timeout=0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await Producer(store).put("a")
        assert await asyncio.wait_for(store.wait([Q], LONG), SOON) == [Q]
        assert names(await Worker(store).claim()) == ["a"]


async def test_a_watch_returns_when_its_job_ends(contended: None, open_store: Open, store: JobStore) -> None:
    other = await open_store()
    for kind in (Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED):
        await Producer(store).put(spec(kind))
        watching = asyncio.ensure_future(store.watch(Q, kind, LONG))
        await asyncio.wait({watching}, timeout=0.1)
        worker = Worker(other)
        await worker.end(await worker.take(kind), kind, result=b"r" if kind is Kind.COMPLETED else None)
        ended = await asyncio.wait_for(watching, SOON)
        assert ended is not None
        assert (ended.id, ended.state.value) == (kind.value, kind.value)
        assert ended.result == (b"r" if kind is Kind.COMPLETED else None)


async def test_a_watch_sees_a_job_through_its_retries(contended: None, open_store: Open, store: JobStore) -> None:
    other = await open_store()
    await Producer(store).put("a")
    watching = asyncio.ensure_future(store.watch(Q, "a", LONG))
    await asyncio.wait({watching}, timeout=0.1)
    worker = Worker(other)
    await worker.end(await worker.take("a"), Kind.RETRY)
    await asyncio.wait({watching}, timeout=0.1)
    assert not watching.done()
    await worker.end(await worker.take("a"), result=b"2")
    ended = await asyncio.wait_for(watching, SOON)
    assert ended is not None
    assert (ended.state, ended.result) == (State.COMPLETED, b"2")


async def test_a_watch_returns_when_its_job_is_cancelled_by_a_person(
    contended: None, open_store: Open, store: JobStore
) -> None:
    await Producer(store).put("a")
    watching = asyncio.ensure_future(store.watch(Q, "a", LONG))
    await asyncio.wait({watching}, timeout=0.1)
    await change(await open_store(), "a", Verb.CANCEL, reason="r")
    ended = await asyncio.wait_for(watching, SOON)
    assert ended is not None
    assert (ended.state, ended.reason) == (State.CANCELLED, "r")


async def test_a_watch_of_an_ended_job_returns_at_once(contended: None, store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), result=b"1")
    ended = await asyncio.wait_for(store.watch(Q, "a", LONG), SOON)
    assert ended is not None
    assert ended.result == b"1"


async def test_a_watch_ends_at_its_timeout_with_the_job_as_it_is(contended: None, store: JobStore) -> None:
    await Producer(store).put("a")
    seen = await asyncio.wait_for(store.watch(Q, "a", 50), SOON)
    assert seen is not None
    assert (seen.id, seen.state) == ("a", State.WAITING)
    assert await state(store, "a") is State.WAITING


async def test_a_watch_of_a_job_that_is_not_is_none(contended: None, store: JobStore) -> None:
    assert await asyncio.wait_for(store.watch(Q, "nobody", LONG), SOON) is None


async def test_a_watch_ends_when_its_job_is_deleted(contended: None, open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a")
    watching = asyncio.ensure_future(store.watch(Q, "a", 5 * SECOND))
    await asyncio.wait({watching}, timeout=0.1)
    await change(await open_store(), "a", Verb.DELETE)
    assert await asyncio.wait_for(watching, 2 * SOON) is None
