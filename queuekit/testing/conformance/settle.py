"""Settle: whose outcome is accepted, once, and that a bad one spoils nothing."""

from __future__ import annotations

import pytest

from queuekit.domain.job import KEEP_NOTHING
from queuekit.domain.outcome import Ask, Kind, Outcome, Refusal
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
    counted,
    done,
    look,
    names,
    recover,
    spec,
    state,
    totals,
)

KINDS = [kind for kind in Kind if kind is not Kind.BLOCKED]


async def test_an_outcome_is_of_one_queue(store: JobStore) -> None:
    await Producer(store, "one").put("a")
    await Producer(store, "two").put("a")
    job = await Worker(store, "one").take("a")
    other = await Worker(store, "two").take("a")

    assert (await Worker(store, "three").settle(done(job))).refused == [("a", Refusal.GONE)]
    assert (await Worker(store, "two").settle(done(job))).refused == [("a", Refusal.LOST)]

    assert await look(store, "a", "one") == job
    assert await look(store, "a", "two") == other


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_token_settles_nothing(store: JobStore, kind: Kind) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    wrong = Outcome("a", f"{worker.actor.name}:2", kind, result=b"stolen" if kind is Kind.COMPLETED else None)

    assert (await Worker(store).settle(wrong)).refused == [("a", Refusal.LOST)]
    assert (await worker.settle(wrong)).refused == [("a", Refusal.LOST)]

    assert await look(store, "a") == job
    sums = await totals(store)
    assert (sums.completed, sums.failed, sums.retried, sums.released) == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_repeat_through_another_store_refuses_nothing_that_was_accepted(
    open_store: Open, store: JobStore, kind: Kind
) -> None:
    """The reply was lost and the process restarted its store: the same call, and nothing in memory to answer it."""
    await Producer(store).put("a")
    worker = Worker(store)
    outcome = done(await worker.take("a"), kind)
    op = worker.actor.op()
    assert (await store.exchange(Q, op, [outcome], Ask())).refused == []
    after, sums = await look(store, "a"), await totals(store)

    again = await (await open_store()).exchange(Q, op, [outcome], Ask())

    assert (again.refused, again.claims) == ([], [])
    assert await look(store, "a") == after
    assert await totals(store) == sums


async def test_anybody_who_names_the_token_may_settle(open_store: Open, store: JobStore) -> None:
    """The token is the right, not the actor: finished outcomes are handed in after a restart of the consumer."""
    await Producer(store).put("a")
    job = await Worker(store).take("a")

    assert (await Worker(await open_store()).settle(done(job))).refused == []
    assert await state(store, "a") is State.COMPLETED


async def test_a_job_that_is_not_there_is_gone(store: JobStore) -> None:
    answer = await Worker(store).settle(Outcome("nobody", "x:1", Kind.COMPLETED))
    assert answer.refused == [("nobody", Refusal.GONE)]


async def test_a_job_that_waits_cannot_be_settled(store: JobStore) -> None:
    await Producer(store).put("a", spec("b", delay=HOUR))
    answer = await Worker(store).settle(
        Outcome("a", "x:1", Kind.COMPLETED), Outcome("a", "", Kind.COMPLETED), Outcome("b", "x:1", Kind.FAILED)
    )
    assert sorted(answer.refused) == [("a", Refusal.LOST), ("a", Refusal.LOST), ("b", Refusal.LOST)]
    assert await counted(store) == {State.WAITING: 1, State.DELAYED: 1}


@pytest.mark.parametrize("first", KINDS)
async def test_a_run_ends_once(store: JobStore, first: Kind) -> None:
    """Each job is named by the kind of the end that comes too late."""
    await Producer(store).put(*KINDS)
    worker = Worker(store)
    claims = await worker.claim(len(KINDS))
    await worker.settle(*(done(job, first, result=b"1", error=b"1") for job in claims))
    after = await store.get(Q, KINDS)

    answer = await worker.settle(*(done(job, Kind(job.id), result=b"2", error=b"2") for job in claims))

    assert sorted(answer.refused) == sorted((kind.value, Refusal.LOST) for kind in KINDS)
    assert await store.get(Q, KINDS) == after
    assert None not in after


async def test_of_two_outcomes_of_one_run_in_a_call_the_first_counts(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job, result=b"1"), done(job, Kind.FAILED, error=b"2"))

    assert answer.refused == [("a", Refusal.LOST)]
    record = await look(store, "a")
    assert (record.state, record.result, record.errors) == (State.COMPLETED, b"1", ())
    assert ((await totals(store)).completed, (await totals(store)).failed) == (1, 0)


async def test_the_second_outcome_of_a_run_that_left_nothing_meets_no_job(store: JobStore) -> None:
    await Producer(store).put(spec("a", keep_completed=KEEP_NOTHING))
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job), done(job, Kind.FAILED))

    assert answer.refused == [("a", Refusal.GONE)]
    assert ((await totals(store)).completed, (await totals(store)).failed) == (1, 0)


async def test_a_bad_outcome_does_not_spoil_the_others(open_store: Open) -> None:
    small = await open_store(payload_limit=100)
    await Producer(small).put("a", "b", "c", "d")
    worker = Worker(small)
    a, b, c = await worker.claim(3)

    answer = await worker.exchange(
        [
            Outcome("nobody", "x:1", Kind.COMPLETED),
            done(a),
            Outcome("b", "x:1", Kind.COMPLETED),
            done(c, result=b"x" * 101),
            done(b, Kind.FAILED),
        ],
        1,
    )

    assert sorted(answer.refused) == [("b", Refusal.LOST), ("c", Refusal.TOO_LARGE), ("nobody", Refusal.GONE)]
    assert [await state(small, name) for name in "abcd"] == [
        State.COMPLETED, State.FAILED, State.ACTIVE, State.ACTIVE,
    ]  # fmt: skip
    assert names(answer.claims) == ["d"]


async def test_a_result_over_the_limit_leaves_the_run_open(open_store: Open) -> None:
    small = await open_store(payload_limit=100)
    await Producer(small).put("a")
    worker = Worker(small)
    job = await worker.take("a")

    assert (await worker.settle(done(job, result=b"x" * 101))).refused == [("a", Refusal.TOO_LARGE)]
    assert await look(small, "a") == job
    assert (await worker.settle(done(job, result=b"x" * 100))).refused == []
    assert (await look(small, "a")).result == b"x" * 100


async def test_a_settle_after_the_lease_is_accepted_while_nobody_recovered_the_job(
    harness: Harness, store: JobStore
) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store, lease=LEASE)
    a, b = await worker.claim(2)
    await harness.advance(10 * LEASE)

    await worker.end(a, result=b"late")
    await worker.end(b, Kind.RETRY, delay=HOUR)

    assert (await look(store, "a")).result == b"late"
    assert await state(store, "b") is State.DELAYED


@pytest.mark.parametrize("kind", KINDS)
async def test_a_settle_after_recovery_is_refused(harness: Harness, store: JobStore, kind: Kind) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    await harness.advance(LEASE + SECOND)
    assert (await recover(store)).suspects == ["a"]
    after = await look(store, "a")

    assert (await worker.settle(done(job, kind))).refused == [("a", Refusal.LOST)]
    assert await look(store, "a") == after


@pytest.mark.parametrize("kind", [Kind.COMPLETED, Kind.RETRY, Kind.RELEASED])
async def test_a_settle_of_the_run_before_is_refused_while_the_next_one_runs(
    harness: Harness, store: JobStore, kind: Kind
) -> None:
    await Producer(store).put("a")
    slow, quick = Worker(store), Worker(store)
    old = await slow.take("a")
    await harness.advance(LEASE + SECOND)
    await recover(store)
    new = await quick.take("a")

    assert (await slow.settle(done(old, kind))).refused == [("a", Refusal.LOST)]
    await quick.end(new, result=b"new")
    assert (await slow.settle(done(old, kind))).refused == [("a", Refusal.LOST)]

    assert (await look(store, "a")).result == b"new"
    assert (await totals(store)).completed == 1
