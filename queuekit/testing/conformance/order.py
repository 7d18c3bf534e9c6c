"""Order: (priority, place, id) across calls, delays that are never early, and what keeps or loses its place."""

from __future__ import annotations

import random
from typing import Any

import pytest

from queuekit.domain.outcome import Kind
from queuekit.domain.query import Change, Verb
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Actor,
    Producer,
    Q,
    Worker,
    change,
    counted,
    done,
    listed,
    look,
    names,
    recover,
    spec,
)

PROMOTED = 500


async def test_jobs_run_in_the_order_they_came(store: JobStore) -> None:
    """The ids sort the other way round: it is not they who decide."""
    producer = Producer(store)
    await producer.put("z", "y")
    await producer.put("x")
    await producer.put("w", "v")
    assert names(await Worker(store).claim(9)) == ["z", "y", "x", "w", "v"]


async def test_the_order_holds_across_claims(store: JobStore) -> None:
    producer, worker = Producer(store), Worker(store)
    await producer.put("z", "y", "x")
    first = await worker.claim(2)
    await producer.put("w")
    assert names(first + await worker.claim(2)) == ["z", "y", "x", "w"]


async def test_a_lower_priority_number_goes_first(store: JobStore) -> None:
    producer = Producer(store)
    await producer.put(spec("n1"), spec("low", priority=15), spec("crit", priority=1))
    await producer.put(spec("high", priority=5), spec("n2"), spec("zero", priority=0), spec("n3", priority=11))
    assert names(await Worker(store).claim(9)) == ["zero", "crit", "high", "n1", "n2", "n3", "low"]


async def test_the_order_of_many_is_by_priority_then_arrival(store: JobStore) -> None:
    dice = random.Random(7)  # noqa: S311  a test that must repeat
    producer, worker = Producer(store), Worker(store)
    arrived: list[tuple[int, str]] = []
    for call in range(20):
        batch = [(dice.choice([0, 1, 10, 999, 1000]), f"{dice.randrange(10**6):06}-{call}-{i}") for i in range(15)]
        arrived += batch
        await producer.put(*(spec(name, priority=priority) for priority, name in batch))

    claimed: list[str] = []
    while claims := await worker.claim(dice.randrange(1, 40)):
        claimed += names(claims)

    assert claimed == [name for _, name in sorted(arrived, key=lambda pair: pair[0])]


async def test_waiting_jobs_are_listed_in_the_order_they_will_run(store: JobStore) -> None:
    await Producer(store).put("c", spec("late", priority=99), "a", spec("soon", priority=1), "b")
    order = await listed(store, State.WAITING)
    assert order == ["soon", "c", "a", "b", "late"]
    assert names(await Worker(store).claim(9)) == order


async def test_a_lifo_job_goes_before_all_of_its_priority(store: JobStore) -> None:
    producer = Producer(store)
    await producer.put("a", spec("high", priority=5))
    await producer.put(spec("last", lifo=True))
    await producer.put(spec("later", lifo=True), "b")
    assert names(await Worker(store).claim(9)) == ["high", "later", "last", "a", "b"]


async def test_lifo_jobs_of_one_call_stand_each_before_the_one_before(store: JobStore) -> None:
    await Producer(store).put("a")
    await Producer(store).put(spec("x", lifo=True), spec("y", lifo=True), spec("z", lifo=True))
    assert names(await Worker(store).claim(9)) == ["z", "y", "x", "a"]


async def test_a_lifo_job_goes_before_one_that_was_released(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    await Producer(store).put(spec("x", lifo=True))
    await worker.end(job, Kind.RELEASED)
    assert names(await worker.claim(9)) == ["x", "a"]


async def test_a_released_job_comes_before_those_that_came_later(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    worker = Worker(store)
    a, b = await worker.claim(2)
    await Producer(store).put("d")

    await worker.settle(done(b, Kind.RELEASED), done(a, Kind.RELEASED))

    assert names(await worker.claim(9)) == ["a", "b", "c", "d"]


async def test_a_recovered_job_has_its_old_place_among_the_suspects(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await Worker(store, lease=HOUR).take("a")
    await Worker(store, lease=LEASE).take("b")
    await harness.advance(MINUTE)
    assert (await recover(store)).suspects == ["b"]
    await harness.advance(HOUR)
    assert (await recover(store)).suspects == ["a"]

    worker = Worker(store)
    assert [names(await worker.claim(5)) for _ in range(2)] == [["a"], ["b"]]


async def test_a_retried_job_goes_to_the_back(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RETRY)
    await Producer(store).put("c")
    assert names(await worker.claim(9)) == ["b", "a", "c"]


async def test_a_job_retried_by_a_person_goes_to_the_back(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.FAILED)
    await change(store, "a", Verb.RETRY)
    await Producer(store).put("c")
    assert names(await worker.claim(9)) == ["b", "a", "c"]


async def test_a_promoted_job_goes_to_the_back_of_its_priority(store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR), "b", spec("low", priority=15))
    await change(store, "a", Verb.PROMOTE)
    await Producer(store).put("c")
    assert names(await Worker(store).claim(9)) == ["b", "a", "c", "low"]


@pytest.mark.parametrize("said", [{"priority": 10}, {"delay": 0}, {"run_at": 1}])
async def test_a_rescheduled_job_that_waits_goes_to_the_back(store: JobStore, said: dict[str, Any]) -> None:
    await Producer(store).put("a", "b")
    await change(store, "a", Verb.RESCHEDULE, **said)
    await Producer(store).put("c")
    assert names(await Worker(store).claim(9)) == ["b", "a", "c"]


async def test_a_new_priority_is_one_in_every_line(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=HOUR))
    await change(store, "b", Verb.RESCHEDULE, priority=1)
    await change(store, "c", Verb.RESCHEDULE, priority=0, delay=0)
    claims = await Worker(store).claim(9)
    assert [(job.id, job.priority) for job in claims] == [("c", 0), ("b", 1), ("a", 10)]


async def test_equal_times_of_different_producers_are_fair_within_the_skew(
    harness: Harness, open_store: Open, store: JobStore
) -> None:
    """What came more than `order_skew` later never goes first, whoever brought it."""
    producers = [Producer(store), Producer(await open_store()), Producer(await open_store())]
    expected: list[str] = []
    for call in range(9):
        name = f"{9 - call}"
        await producers[call % 3].put(name)
        expected.append(name)
        await harness.advance(store.capabilities.order_skew + 1)
    assert names(await Worker(store).claim(9)) == expected


# ---- delays


async def test_a_delayed_job_does_not_run_before_its_time(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR), "b")
    worker = Worker(store)
    assert names(await worker.claim(5)) == ["b"]
    await harness.advance(HOUR - MINUTE)
    early = await worker.exchange((), 5)
    assert (early.claims, early.more) == ([], False)
    await harness.advance(MINUTE)

    answer = await worker.exchange((), 5)

    (job,) = answer.claims
    assert job.id == "a"
    assert job.run_at is not None
    assert job.run_at <= answer.now


async def test_no_delayed_job_is_ever_early(harness: Harness, store: JobStore) -> None:
    """Claims are asked for in small steps around the moments when jobs become due."""
    await Producer(store).put(*(spec(f"j{i:02}", delay=1000 + 7 * i) for i in range(60)))
    await harness.advance(950)
    worker, seen = Worker(store), 0
    for _ in range(300):
        answer = await worker.exchange((), 100)
        assert all(job.run_at is not None and job.run_at <= answer.now for job in answer.claims)
        seen += len(answer.claims)
        if seen == 60:
            break
        await harness.advance(3)
    assert seen == 60


async def test_next_at_is_the_earliest_time_to_come(harness: Harness, store: JobStore) -> None:
    worker = Worker(store)
    answer = await Producer(store).put(spec("a", delay=2 * HOUR), spec("b", delay=HOUR), "c")
    assert (await worker.exchange((), 5)).next_at == answer.now + HOUR

    await harness.advance(HOUR)
    assert (await worker.exchange((), 5)).next_at == answer.now + 2 * HOUR
    await harness.advance(HOUR)
    assert (await worker.exchange((), 5)).next_at is None


async def test_due_jobs_go_on_in_the_order_of_their_times_then_ids(harness: Harness, store: JobStore) -> None:
    at = (await store.ping()).now + HOUR
    await Producer(store).put(spec("x", run_at=at + 2), spec("b", run_at=at), spec("a", run_at=at + 1))
    await Producer(store).put(spec("c", run_at=at), spec("B", run_at=at), spec("a-1", run_at=at))
    await harness.advance(2 * HOUR)
    assert names(await Worker(store).claim(9)) == ["B", "a-1", "b", "c", "a", "x"]


async def test_due_jobs_stand_behind_those_that_wait_and_before_those_that_come(
    harness: Harness, store: JobStore
) -> None:
    await Producer(store).put(spec("due", delay=MINUTE), spec("urgent", delay=MINUTE, priority=1))
    await Producer(store).put("before")
    await harness.advance(2 * MINUTE)
    await Worker(store).exchange((), 0)
    await Producer(store).put("after")
    assert names(await Worker(store).claim(9)) == ["urgent", "before", "due", "after"]


async def test_promotion_is_bounded_a_call_and_says_that_there_is_more(harness: Harness, store: JobStore) -> None:
    ids = [f"j{i:04}" for i in range(PROMOTED + 100)]
    await Producer(store).put(*(spec(name, delay=MINUTE) for name in ids))
    await harness.advance(2 * MINUTE)
    worker = Worker(store)

    first = await worker.exchange((), 0)
    assert await counted(store) == {State.WAITING: PROMOTED, State.DELAYED: 100}
    assert first.more is True
    assert first.next_at is not None
    assert first.next_at <= first.now

    second = await worker.exchange((), 0)
    assert await counted(store) == {State.WAITING: PROMOTED + 100}
    assert (second.more, second.next_at) == (True, None)
    assert names(await worker.claim_all()) == ids


async def test_a_bounded_promotion_does_not_let_claims_go_out_of_order(harness: Harness, store: JobStore) -> None:
    ids = [f"j{i:04}" for i in range(PROMOTED + 100)]
    await Producer(store).put(*(spec(name, delay=MINUTE) for name in ids))
    await harness.advance(2 * MINUTE)
    worker = Worker(store)

    first = await worker.exchange((), PROMOTED + 50)
    assert (names(first.claims), first.more) == (ids[:PROMOTED], True)
    second = await worker.exchange((), PROMOTED + 50)
    assert (names(second.claims), second.more) == (ids[PROMOTED:], False)


async def test_a_lifo_job_with_a_delay_waits_for_its_time(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", spec("x", lifo=True, delay=MINUTE))
    worker = Worker(store)
    assert names(await worker.claim(5)) == ["a"]
    await harness.advance(MINUTE + SECOND)
    assert names(await worker.claim(5)) == ["x"]


async def test_a_place_is_not_given_twice(store: JobStore) -> None:
    producer, worker = Producer(store), Worker(store)
    places: list[int] = []
    for call in range(10):
        await producer.put(f"a{call}", spec(f"x{call}", lifo=True))
        places += [(await look(store, f"a{call}")).place, (await look(store, f"x{call}")).place]
        for job in await worker.claim(2):
            await worker.end(job)
    assert len(set(places)) == len(places)


async def test_changes_of_one_call_give_places_in_their_order(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    verbs = [Change(id=name, verb=Verb.RESCHEDULE) for name in ("a", "a", "b")]

    await store.change(Q, verbs, Actor().op())

    assert names(await Worker(store).claim(5)) == ["a", "b"]
