"""Retention: how long ended jobs are kept, by count and by age, and that a limit removes only jobs that carry it."""

from __future__ import annotations

import pytest

from queuekit.domain.job import KEEP_ALL, KEEP_NOTHING, Retention
from queuekit.domain.outcome import Kind, Outcome
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    change,
    counted,
    done,
    listed,
    look,
    recover,
    set_limits,
    settled,
    spec,
    state,
    tidy,
    totals,
)

KINDS = {State.COMPLETED: Kind.COMPLETED, State.FAILED: Kind.FAILED, State.CANCELLED: Kind.CANCELLED}
SAID = {State.COMPLETED: "keep_completed", State.FAILED: "keep_failed", State.CANCELLED: "keep_failed"}
ENDED = list(KINDS)


async def finish(
    harness: Harness, store: JobStore, *ids: str, to: State = State.COMPLETED, keep: Retention | None = None,
    own: Retention | None = None,
) -> None:  # fmt: skip
    """Jobs that end one after the other; `keep` as the worker says, `own` as their caller said."""
    producer, worker = Producer(store), Worker(store)
    for name in ids:
        await producer.put(spec(name, **({} if own is None else {SAID[to]: own})))
        await worker.end(await worker.take(name), KINDS[to], keep=keep)
        await harness.advance(5)


async def kept(store: JobStore, to: State = State.COMPLETED) -> list[str]:
    """What is still there, oldest first."""
    await settled(store)
    return (await listed(store, to))[::-1]


# ---- by count


@pytest.mark.parametrize("to", ENDED)
async def test_the_queue_keeps_the_newest_of_its_count(harness: Harness, store: JobStore, to: State) -> None:
    await set_limits(store, Q, **{SAID[to]: Retention(count=3)})
    await finish(harness, store, *"abcdefg", to=to)
    assert await kept(store, to) == ["e", "f", "g"]
    assert await counted(store) == {to: 3}
    assert await state(store, "a") is None


async def test_completed_and_failed_jobs_are_kept_apart(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_completed=Retention(count=2), keep_failed=Retention(count=1))
    await finish(harness, store, *"abc", to=State.COMPLETED)
    await finish(harness, store, *"def", to=State.FAILED)
    await finish(harness, store, *"ghi", to=State.CANCELLED)
    assert [await kept(store, to) for to in ENDED] == [["b", "c"], ["f"], ["i"]]


async def test_by_default_a_thousand_completed_jobs_are_kept_and_all_failed(harness: Harness, store: JobStore) -> None:
    producer, worker = Producer(store), Worker(store)
    for call in range(3):
        await producer.put(*(spec(f"j{call}-{i:03}") for i in range(400)))
    for call in range(3):
        claims = await worker.claim(400)
        from_here = [job for job in claims if job.id.startswith(f"j{call}")]
        assert len(from_here) == 400
        await worker.settle(*(done_or_failed(job.id, job.token or "") for job in claims))
        await harness.advance(5)
    await settled(store)
    counts = await counted(store)
    assert counts == {State.COMPLETED: 1000, State.FAILED: 120}


def done_or_failed(id: str, token: str) -> Outcome:
    return Outcome(id, token, Kind.FAILED if id.endswith("0") else Kind.COMPLETED)


async def test_a_smaller_count_removes_what_is_over_it(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, *"abcde")
    await set_limits(store, keep_completed=Retention(count=2))
    await tidy(store)
    assert await kept(store) == ["d", "e"]


async def test_a_removed_job_leaves_its_mark_on_the_totals(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "a", "b", own=KEEP_NOTHING)
    await finish(harness, store, "c", to=State.FAILED, own=KEEP_NOTHING)
    sums = await totals(store)
    assert (sums.enqueued, sums.completed, sums.failed) == (3, 2, 1)


@pytest.mark.parametrize("to", ENDED)
async def test_a_job_that_is_not_kept_is_gone_at_once(harness: Harness, store: JobStore, to: State) -> None:
    await finish(harness, store, "a", to=to, own=KEEP_NOTHING)
    await finish(harness, store, "b", to=to, keep=KEEP_NOTHING)
    assert await store.get(Q, ["a", "b"]) == [None, None]
    assert await counted(store) == {}


async def test_a_queue_that_keeps_nothing_keeps_nothing(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_completed=KEEP_NOTHING)
    await finish(harness, store, "a")
    assert await state(store, "a") is None
    await finish(harness, store, "b", to=State.FAILED)
    assert await state(store, "b") is State.FAILED


# ---- by age


@pytest.mark.parametrize("to", ENDED)
async def test_an_age_ends_the_time_of_a_job(harness: Harness, store: JobStore, to: State) -> None:
    await set_limits(store, Q, **{SAID[to]: Retention(age=HOUR)})
    await finish(harness, store, "old", to=to)
    await harness.advance(30 * MINUTE)
    await finish(harness, store, "young", to=to)
    await tidy(store)
    assert await kept(store, to) == ["old", "young"]

    await harness.advance(30 * MINUTE)
    assert await tidy(store) in (0, 1)
    assert await kept(store, to) == ["young"]
    await harness.advance(30 * MINUTE)
    await tidy(store)
    assert await counted(store) == {}


async def test_completed_jobs_are_kept_for_an_hour_by_default(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "a")
    await finish(harness, store, "b", to=State.FAILED)
    await harness.advance(HOUR - MINUTE)
    await tidy(store)
    assert await state(store, "a") is State.COMPLETED
    await harness.advance(2 * MINUTE)
    await tidy(store)
    assert await state(store, "a") is None
    assert await state(store, "b") is State.FAILED


async def test_what_has_not_ended_has_no_age(harness: Harness, store: JobStore) -> None:
    everything = Retention(count=1, age=1)
    await set_limits(store, keep_completed=everything, keep_failed=everything)
    await Producer(store).put("parked", "active", spec("delayed", delay=4 * DAY), "waiting")
    worker = Worker(store, lease=10 * DAY)
    await worker.end(await worker.take("parked"), Kind.PARKED)
    await worker.take("active")
    await harness.advance(3 * DAY)
    assert await tidy(store) == 0
    assert await counted(store) == {State.PARKED: 1, State.ACTIVE: 1, State.DELAYED: 1, State.WAITING: 1}


async def test_pruning_by_age_is_bounded(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_failed=Retention(age=MINUTE))
    await finish(harness, store, *"abcde", to=State.FAILED)
    await harness.advance(HOUR)
    first, more = await store.prune(Q, limit=2)
    assert first <= 2
    assert more is True
    await tidy(store)
    assert await counted(store) == {}


# ---- whose word counts


async def test_what_the_caller_said_counts_before_the_worker_and_the_queue(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_completed=KEEP_NOTHING)
    await finish(harness, store, "caller", own=Retention(age=DAY), keep=KEEP_NOTHING)
    await finish(harness, store, "worker", keep=Retention(age=DAY))
    await finish(harness, store, "queue")
    assert await kept(store) == ["caller", "worker"]


async def test_a_caller_may_say_less_than_the_worker(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "a", own=KEEP_NOTHING, keep=KEEP_ALL)
    assert await state(store, "a") is None


async def test_an_ended_job_names_the_retention_it_is_under(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "caller", own=Retention(5, DAY), keep=Retention(6, None))
    await finish(harness, store, "worker", keep=Retention(6, None))
    await finish(harness, store, "queue")
    records = [await look(store, name) for name in ("caller", "worker", "queue")]
    assert [record.keep for record in records] == ["5/86400000", "6/", None]


async def test_a_job_carries_one_retention_for_each_end(harness: Harness, store: JobStore) -> None:
    worker = Worker(store)
    await Producer(store).put(spec("a", keep_completed=KEEP_NOTHING), spec("b", keep_failed=KEEP_NOTHING))
    a, b = await worker.claim(2)
    await worker.end(a, Kind.FAILED)
    await worker.end(b, Kind.COMPLETED)
    assert await counted(store) == {State.FAILED: 1, State.COMPLETED: 1}


@pytest.mark.parametrize("to", ENDED)
async def test_a_count_removes_only_jobs_that_carry_it(harness: Harness, store: JobStore, to: State) -> None:
    await finish(harness, store, "queue1", "queue2", to=to)
    await finish(harness, store, "ten1", "ten2", to=to, own=Retention(count=10))
    await finish(harness, store, "two1", "two2", "two3", "two4", to=to, own=Retention(count=2))
    await finish(harness, store, "one1", "one2", to=to, keep=Retention(count=1))
    await tidy(store)
    assert await kept(store, to) == ["queue1", "queue2", "ten1", "ten2", "two3", "two4", "one2"]


@pytest.mark.parametrize("to", ENDED)
async def test_the_queues_count_does_not_count_jobs_with_their_own(
    harness: Harness, store: JobStore, to: State
) -> None:
    await set_limits(store, Q, **{SAID[to]: Retention(count=2)})
    await finish(harness, store, "own1", "own2", "own3", to=to, own=Retention(count=100))
    await finish(harness, store, "q1", "q2", "q3", to=to)
    await tidy(store)
    assert await kept(store, to) == ["own1", "own2", "own3", "q2", "q3"]


@pytest.mark.parametrize("to", ENDED)
async def test_the_queues_age_does_not_end_jobs_with_their_own(harness: Harness, store: JobStore, to: State) -> None:
    await set_limits(store, Q, **{SAID[to]: Retention(age=MINUTE)})
    await finish(harness, store, "own", to=to, own=Retention(age=DAY))
    await finish(harness, store, "all", to=to, own=KEEP_ALL)
    await finish(harness, store, "queue", to=to)
    await harness.advance(HOUR)
    await tidy(store)
    assert await kept(store, to) == ["own", "all"]
    await harness.advance(DAY)
    await tidy(store)
    assert await kept(store, to) == ["all"]


async def test_a_new_configuration_is_for_jobs_that_ended_before_too(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "a", "b", to=State.FAILED)
    await finish(harness, store, "own", to=State.FAILED, own=KEEP_ALL)
    await set_limits(store, keep_failed=Retention(age=MINUTE))
    await harness.advance(HOUR)
    await tidy(store)
    assert await kept(store, State.FAILED) == ["own"]


async def test_whichever_limit_is_met_first_ends_the_time(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_completed=Retention(count=2, age=HOUR))
    await finish(harness, store, "a", "b", "c")
    assert await kept(store) == ["b", "c"]
    await harness.advance(2 * HOUR)
    await tidy(store)
    assert await counted(store) == {}


# ---- other ends than a run's


@pytest.mark.parametrize("how", ["cancel", "expire", "lose"])
async def test_jobs_cancelled_without_a_run_are_kept_as_failed_ones(
    harness: Harness, store: JobStore, how: str
) -> None:
    await set_limits(store, keep_failed=Retention(count=1), keep_completed=KEEP_NOTHING)
    for name in ("a", "b"):
        await Producer(store).put(spec(name, expires_in=MINUTE))
        if how == "cancel":
            await change(store, name, Verb.CANCEL)
        elif how == "lose":
            await Worker(store).take(name)
            await change(store, name, Verb.CANCEL)
        await harness.advance(2 * MINUTE)
        if how == "expire":
            assert await Worker(store).claim() == []
        elif how == "lose":
            assert (await recover(store)).cancelled == [name]
    await tidy(store)
    assert await kept(store, State.CANCELLED) == ["b"]


async def test_a_job_cancelled_while_it_waits_may_be_gone_at_once(store: JobStore) -> None:
    await Producer(store).put(spec("a", keep_failed=KEEP_NOTHING))
    answer = await change(store, "a", Verb.CANCEL)
    assert (answer.ok, answer.state) == (True, None)
    assert await state(store, "a") is None


async def test_a_job_that_crashed_too_often_is_kept_as_a_failed_one(harness: Harness, store: JobStore) -> None:
    await set_limits(store, max_crashes=1, keep_failed=KEEP_NOTHING)
    await Producer(store).put("a", spec("b", keep_failed=KEEP_ALL))
    await Worker(store).claim(2)
    await harness.advance(LEASE + SECOND)
    assert sorted((await recover(store)).crashed) == ["a", "b"]
    assert [await state(store, name) for name in ("a", "b")] == [None, State.FAILED]


async def test_jobs_that_expired_unclaimed_are_cancelled_by_prune(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", expires_in=MINUTE), spec("b", expires_in=MINUTE, delay=HOUR), "c")
    await harness.advance(2 * MINUTE)
    await tidy(store)
    assert await counted(store) == {State.CANCELLED: 2, State.WAITING: 1}
    assert (await look(store, "a")).reason == "expired"


async def test_a_retried_job_takes_its_place_in_the_count_again(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_failed=Retention(count=2))
    await finish(harness, store, "a", "b", to=State.FAILED)
    await change(store, "a", Verb.RETRY)
    worker = Worker(store)
    await finish_claimed(worker, "a")
    await harness.advance(5)
    assert await kept(store, State.FAILED) == ["b", "a"]
    await finish(harness, store, "c", to=State.FAILED)
    assert await kept(store, State.FAILED) == ["a", "c"]


async def finish_claimed(worker: Worker, id: str) -> None:
    await worker.end(await worker.take(id), Kind.FAILED)


async def test_jobs_that_expired_while_they_run_keep_no_prune_busy(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(*(spec(f"j{i}", expires_in=MINUTE) for i in range(12)))
    assert len(await Worker(store, lease=HOUR).claim(12)) == 12
    await harness.advance(2 * MINUTE)
    assert await store.prune(Q, limit=1) == (0, False)


async def test_each_of_many_retentions_has_its_end(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(*(spec(f"j{i}", keep_completed=Retention(age=DAY + i)) for i in range(220)), "short")
    worker = Worker(store)
    jobs = await worker.claim(300)
    await worker.settle(*(done(job) for job in jobs[:-1]), done(jobs[-1], Kind.FAILED, keep=Retention(age=MINUTE)))
    await harness.advance(HOUR)

    answers = [await store.prune(Q) for _ in range(4)]

    assert await state(store, "short") is None
    assert (sum(removed for removed, _ in answers), answers[-1]) == (1, (0, False))


# ---- awaited


@pytest.mark.parametrize("own", [KEEP_NOTHING, Retention(age=SECOND)])
async def test_a_job_somebody_waits_for_is_kept_a_minute(harness: Harness, store: JobStore, own: Retention) -> None:
    await Producer(store).put(spec("a", keep_completed=own))
    seen = await store.watch(Q, "a", 1)
    assert seen is not None
    worker = Worker(store)
    await worker.end(await worker.take("a"), result=b"42")
    await harness.advance(30 * SECOND)
    await tidy(store)

    ended = await store.watch(Q, "a", 1)
    assert ended is not None
    assert (ended.state, ended.result) == (State.COMPLETED, b"42")
    await harness.advance(MINUTE)
    await tidy(store)
    assert await state(store, "a") is None


async def test_a_job_somebody_waits_for_is_not_pushed_out_by_others(harness: Harness, store: JobStore) -> None:
    await set_limits(store, keep_completed=Retention(count=1))
    await Producer(store).put("awaited")
    await store.watch(Q, "awaited", 1)
    worker = Worker(store)
    await worker.end(await worker.take("awaited"))
    await harness.advance(5)
    await finish(harness, store, "b", "c")
    assert await kept(store) == ["awaited", "c"]


async def test_a_prune_that_removes_all_there_is_names_no_more(harness: Harness, store: JobStore) -> None:
    await finish(harness, store, "a", "b")
    assert await store.prune(Q, state=State.COMPLETED, limit=2) == (2, False)


async def test_a_job_that_is_kept_long_enough_is_kept_as_it_would_be(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", keep_completed=Retention(age=DAY)))
    await store.watch(Q, "a", 1)
    worker = Worker(store)
    await worker.end(await worker.take("a"))
    assert (await look(store, "a")).keep == "/86400000"
    await harness.advance(DAY)
    await tidy(store)
    assert await state(store, "a") is None
