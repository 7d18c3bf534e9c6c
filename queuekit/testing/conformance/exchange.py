"""Exchange: what a claim is, and what keeps a job from being claimed: a pause, its expiry, a cancel."""

from __future__ import annotations

import pytest

from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    change,
    counted,
    done,
    look,
    names,
    set_limits,
    spec,
    state,
    totals,
)

ENDS = {Kind.COMPLETED: State.COMPLETED, Kind.FAILED: State.FAILED, Kind.CANCELLED: State.CANCELLED}


# ---- claims


async def test_a_claim_says_who_holds_the_job_and_until_when(store: JobStore) -> None:
    await Producer(store).put(spec("a", body=b"j7"))
    worker = Worker(store, lease=40 * SECOND, name="web-1")

    answer = await worker.exchange((), 1)

    (claim,) = answer.claims
    assert (claim.id, claim.body, claim.queue) == ("a", b"j7", Q)
    assert (claim.state, claim.claims, claim.worker) == (State.ACTIVE, 1, "web-1")
    assert claim.token == f"{worker.actor.name}:1"
    assert (claim.claimed_at, claim.lease_until) == (answer.now, answer.now + 40 * SECOND)
    assert answer.refused == []
    assert answer.replayed is False
    assert await look(store, "a") == claim


async def test_every_claim_of_a_call_has_the_token_of_its_op(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    worker = Worker(store)

    assert [job.token for job in await worker.claim(2)] == [f"{worker.actor.name}:1"] * 2
    assert [job.token for job in await worker.claim(2)] == [f"{worker.actor.name}:2"]


async def test_a_claimed_job_is_nobody_elses(open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")

    assert await Worker(store).claim(5) == []
    assert await Worker(await open_store()).claim(5) == []


async def test_who_wants_nothing_gets_nothing(store: JobStore) -> None:
    await Producer(store).put("a")
    answer = await Worker(store).exchange((), 0)
    assert (answer.claims, answer.more) == ([], True)


async def test_who_wants_more_than_there_is_gets_all(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    answer = await Worker(store).exchange((), 1000)
    assert (names(answer.claims), answer.more) == (["a", "b"], False)


async def test_more_tells_that_ready_work_is_left(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("later", delay=HOUR))
    worker = Worker(store)
    assert (await worker.exchange((), 1)).more is True
    assert (await worker.exchange((), 1)).more is False


async def test_an_unknown_queue_is_an_empty_one(store: JobStore) -> None:
    answer = await Worker(store, "never-seen").exchange((), 5)
    assert (answer.claims, answer.refused, answer.more, answer.next_at, answer.paused) == ([], [], False, None, None)


async def test_each_claim_is_counted(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    for run in (1, 2, 3):
        job = await worker.take("a")
        assert (job.claims, job.attempt) == (run, 1)
        await worker.end(job, Kind.RELEASED)


async def test_claims_come_with_the_history_of_the_job(store: JobStore) -> None:
    await Producer(store).put(spec("a", options=b"opts", trace="t", priority=4, version=2))
    worker = Worker(store)
    job = await worker.take("a")
    await worker.end(job, Kind.RETRY, error=b"e1", progress=b"50%", logs=(b"one",))

    again = await worker.take("a")

    assert (again.errors, again.progress, again.logs) == ((b"e1",), b"50%", (b"one",))
    assert (again.options, again.trace, again.priority, again.version) == (b"opts", "t", 4, 2)
    assert (again.failures, again.attempt, again.claims) == (1, 2, 2)
    assert again == await look(store, "a")


# ---- pause


async def test_a_paused_queue_settles_and_promotes_but_gives_no_claims(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=MINUTE))
    worker = Worker(store)
    job = await worker.take("a")
    await set_limits(store, paused="deploy")
    await harness.advance(2 * MINUTE)

    answer = await worker.exchange([done(job)], 5)

    assert (answer.claims, answer.refused, answer.paused) == ([], [], "deploy")
    assert await counted(store) == {State.COMPLETED: 1, State.WAITING: 2}


async def test_a_pause_without_a_reason_is_a_pause(store: JobStore) -> None:
    await Producer(store).put("a")
    await set_limits(store, paused="")
    answer = await Worker(store).exchange((), 5)
    assert (answer.claims, answer.paused) == ([], "")


async def test_a_resumed_queue_gives_claims_again(store: JobStore) -> None:
    await Producer(store).put("a")
    await set_limits(store, paused="deploy")
    await set_limits(store)
    answer = await Worker(store).exchange((), 5)
    assert (names(answer.claims), answer.paused) == (["a"], None)


# ---- expiry


async def test_a_job_not_started_in_time_is_cancelled_on_the_way(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("late", expires_in=MINUTE), "fresh", spec("kept", expires_in=HOUR))
    await harness.advance(MINUTE)

    claims = await Worker(store).claim(5)

    assert names(claims) == ["fresh", "kept"]
    record = await look(store, "late")
    assert (record.state, record.reason, record.claims) == (State.CANCELLED, "expired", 0)
    assert record.ended_at is not None
    assert (await totals(store)).cancelled == 1


async def test_expired_jobs_do_not_use_up_what_a_worker_wants(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(*(spec(f"late{i}", expires_in=MINUTE) for i in range(5)), "a", "b", "c")
    await harness.advance(MINUTE)
    assert names(await Worker(store).claim(2)) == ["a", "b"]


async def test_a_delayed_job_that_expired_is_cancelled_when_due(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR, expires_in=MINUTE), spec("b", delay=HOUR, expires_in=2 * HOUR))
    await harness.advance(HOUR)

    assert names(await Worker(store).claim(5)) == ["b"]
    record = await look(store, "a")
    assert (record.state, record.reason) == (State.CANCELLED, "expired")


async def test_a_delayed_job_that_expired_is_cancelled_when_due_though_nobody_claims(
    harness: Harness, store: JobStore
) -> None:
    """The queue is paused: what expired must not stand among those that wait until somebody resumes it."""
    await Producer(store).put(spec("a", delay=HOUR, expires_in=MINUTE), spec("b", delay=HOUR))
    await set_limits(store, paused="deploy")
    await harness.advance(HOUR)

    await Worker(store).exchange((), 5)

    assert await counted(store) == {State.CANCELLED: 1, State.WAITING: 1}
    assert (await look(store, "a")).reason == "expired"


async def test_a_job_promoted_by_a_person_too_late_is_cancelled(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR, expires_in=MINUTE))
    await harness.advance(2 * MINUTE)
    await change(store, "a", Verb.PROMOTE)
    assert await Worker(store).claim() == []
    assert (await look(store, "a")).reason == "expired"


async def test_a_job_between_two_runs_may_expire(harness: Harness, store: JobStore) -> None:
    """Not started in time is what it says of each start."""
    await Producer(store).put(spec("a", expires_in=MINUTE))
    worker = Worker(store, lease=HOUR)
    await worker.end(await worker.take("a"), Kind.RETRY, delay=HOUR)
    await harness.advance(2 * HOUR)
    assert await worker.claim() == []
    assert (await look(store, "a")).reason == "expired"


async def test_a_job_that_has_started_does_not_expire(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", expires_in=MINUTE))
    worker = Worker(store, lease=HOUR)
    job = await worker.take("a")
    await harness.advance(2 * MINUTE)
    await worker.end(job)
    assert await state(store, "a") is State.COMPLETED


# ---- cancel against claim


async def test_a_cancelled_job_is_not_claimed(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await change(store, "a", Verb.CANCEL)
    assert names(await Worker(store).claim(5)) == ["b"]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.PARKED, Kind.CANCELLED])
async def test_a_run_that_gives_way_after_a_cancel_was_asked_ends_cancelled(store: JobStore, kind: Kind) -> None:
    job = await asked_to_cancel(store)
    worker = Worker(store)
    assert (await worker.settle(done(job, kind, reason="user" if kind is Kind.CANCELLED else None))).refused == []

    record = await look(store, "a")
    assert (record.state, record.reason) == (State.CANCELLED, "user")
    assert await worker.claim(5) == []
    assert (await totals(store)).cancelled == 1


@pytest.mark.parametrize("kind", [Kind.COMPLETED, Kind.FAILED])
async def test_a_run_that_ended_before_it_heard_of_the_cancel_counts(store: JobStore, kind: Kind) -> None:
    job = await asked_to_cancel(store)
    await Worker(store).end(job, kind)
    assert await state(store, "a") is ENDS[kind]


async def asked_to_cancel(store: JobStore) -> JobRecord:
    """A claimed job whose cancel was asked."""
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    asked = await change(store, "a", Verb.CANCEL, reason="user")
    assert (asked.ok, asked.state) == (True, State.ACTIVE)
    return job
