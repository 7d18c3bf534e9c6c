"""Ends: what becomes of a job when its run ended in one way or another."""

from __future__ import annotations

import pytest

from queuekit.domain.job import BATCH_MAX, ERRORS_KEPT, LOGS_KEPT
from queuekit.domain.outcome import Kind, Refusal
from queuekit.domain.query import Verb
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    Producer,
    Worker,
    change,
    counted,
    done,
    look,
    names,
    recover,
    spec,
    totals,
)

KINDS = [kind for kind in Kind if kind is not Kind.BLOCKED]


async def test_a_completed_run_ends_the_job_with_its_result(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job, result=b"j42", logs=(b"l",), progress=b"p"))

    record = await look(store, "a")
    assert (record.state, record.result, record.ended_at) == (State.COMPLETED, b"j42", answer.now)
    assert (record.token, record.lease_until, record.attempt) == (job.token, None, 1)
    assert (record.progress, record.logs, record.errors, record.reason) == (b"p", (b"l",), (), None)
    assert (await totals(store)).completed == 1


async def test_a_failed_run_ends_the_job_with_its_error_and_reason(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job, Kind.FAILED, error=b"boom", reason="attempts"))

    record = await look(store, "a")
    assert (record.state, record.errors, record.reason) == (State.FAILED, (b"boom",), "attempts")
    assert (record.failures, record.attempt, record.ended_at) == (0, 1, answer.now)
    assert (record.token, record.result) == (job.token, None)
    assert (await totals(store)).failed == 1


async def test_a_cancelled_run_ends_the_job_with_its_reason(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.CANCELLED, reason="no longer wanted")

    record = await look(store, "a")
    assert (record.state, record.reason) == (State.CANCELLED, "no longer wanted")
    assert record.ended_at is not None
    assert (await totals(store)).cancelled == 1


async def test_a_retry_waits_for_its_time_and_counts_a_failure(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job, Kind.RETRY, error=b"boom", delay=MINUTE))

    record = await look(store, "a")
    assert (record.state, record.run_at) == (State.DELAYED, answer.now + MINUTE)
    assert (record.failures, record.attempt, record.errors) == (1, 2, (b"boom",))
    assert (record.token, record.lease_until, record.ended_at) == (None, None, None)
    assert (await totals(store)).retried == 1


async def test_a_retry_may_name_a_moment(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    at = (await store.ping()).now + HOUR

    await worker.end(job, Kind.RETRY, at=at)

    record = await look(store, "a")
    assert (record.state, record.run_at) == (State.DELAYED, at)


@pytest.mark.parametrize("said", [{}, {"delay": 0}, {"at": 1}])
@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.SNOOZED])
async def test_a_retry_or_snooze_that_is_due_waits_at_the_back(
    store: JobStore, kind: Kind, said: dict[str, int]
) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    await worker.end(await worker.take("a"), kind, **said)

    record = await look(store, "a")
    assert (record.state, record.line) == (State.WAITING, Line.READY)
    assert names(await worker.claim(5)) == ["b", "a"]


async def test_a_snooze_uses_no_attempt(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    answer = await worker.settle(done(await worker.take("a"), Kind.SNOOZED, delay=MINUTE))

    record = await look(store, "a")
    assert (record.state, record.run_at) == (State.DELAYED, answer.now + MINUTE)
    assert (record.snoozes, record.failures, record.attempt) == (1, 0, 1)
    assert (await totals(store)).retried == 0


async def test_a_release_uses_nothing_up(store: JobStore) -> None:
    await Producer(store).put("a")
    before = await look(store, "a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RELEASED)

    record = await look(store, "a")
    assert (record.state, record.line, record.place) == (State.WAITING, Line.READY, before.place)
    assert (record.failures, record.snoozes, record.crashes, record.claims) == (0, 0, 0, 1)
    assert (record.token, record.lease_until) == (None, None)
    assert (await totals(store)).released == 1


async def test_a_parked_job_waits_for_a_person(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.PARKED, reason="unknown task", error=b"e")

    record = await look(store, "a")
    assert (record.state, record.reason, record.errors) == (State.PARKED, "unknown task", (b"e",))
    assert (record.failures, record.token, record.lease_until) == (0, None, None)
    await harness.advance(24 * HOUR)
    assert (await recover(store)).suspects == []
    assert await worker.claim() == []


async def test_a_block_is_illegal_where_the_store_has_no_flows(store: JobStore) -> None:
    if "relay" not in store.capabilities.parts:
        await Producer(store).put("a")
        worker = Worker(store)
        job = await worker.take("a")

        assert (await worker.settle(done(job, Kind.BLOCKED))).refused == [("a", Refusal.ILLEGAL)]
        assert await look(store, "a") == job


async def test_every_end_raises_the_revision(store: JobStore) -> None:
    worker = Worker(store)
    for kind in KINDS:
        await Producer(store).put(spec(kind))
        before = await look(store, kind)
        job = await worker.take(kind)
        await worker.end(job, kind, delay=HOUR if kind in (Kind.RETRY, Kind.SNOOZED) else None)
        assert before.rev < job.rev < (await look(store, kind)).rev
        if kind is Kind.RELEASED:
            assert (await change(store, kind, Verb.DELETE)).ok


async def test_the_last_errors_are_kept_oldest_first(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    for run in range(ERRORS_KEPT + 2):
        await worker.end(await worker.take("a"), Kind.RETRY, error=b"e%d" % run)

    record = await look(store, "a")
    assert record.errors == tuple(b"e%d" % run for run in range(2, ERRORS_KEPT + 2))
    assert record.failures == ERRORS_KEPT + 2


async def test_the_last_log_lines_are_kept(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    lines = [b"%d" % i for i in range(LOGS_KEPT + 5)]
    job = await worker.take("a")
    await worker.end(job, Kind.RELEASED, logs=tuple(lines[:10]))
    await worker.end(await worker.take("a"), logs=tuple(lines[10:]))

    assert (await look(store, "a")).logs == tuple(lines[5:])


async def test_progress_stays_until_there_is_other_progress(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RELEASED, progress=b"half")
    await worker.end(await worker.take("a"), Kind.RELEASED)
    assert (await look(store, "a")).progress == b"half"
    await worker.end(await worker.take("a"), Kind.RELEASED, progress=b"")
    assert (await look(store, "a")).progress == b""


async def test_jobs_settled_by_a_call_may_be_claimed_by_it(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, b = await worker.claim(2)

    answer = await worker.exchange([done(a, Kind.RETRY), done(b, Kind.RELEASED)], 5)

    assert names(answer.claims) == ["b", "a"]
    assert [job.claims for job in answer.claims] == [2, 2]


async def test_many_outcomes_and_claims_go_in_one_call(store: JobStore) -> None:
    first, second = [f"a{i:03}" for i in range(300)], [f"b{i:03}" for i in range(300)]
    await Producer(store).put(*first)
    await Producer(store).put(*second)
    worker = Worker(store)

    claims = (await worker.exchange((), 300)).claims
    answer = await worker.exchange([done(job, result=job.id.encode()) for job in claims], 300)

    assert (names(claims), names(answer.claims), answer.refused) == (first, second, [])
    assert await counted(store) == {State.COMPLETED: 300, State.ACTIVE: 300}
    assert (await look(store, "a299")).result == b"a299"


async def test_a_call_claims_and_settles_as_many_jobs_as_a_batch_may_have(store: JobStore) -> None:
    ids = [f"j{i:04}" for i in range(BATCH_MAX)]
    await Producer(store).put(*ids)
    worker = Worker(store)

    claims = await worker.claim(BATCH_MAX)
    answer = await worker.settle(*(done(job, Kind.FAILED, error=b"e") for job in claims))

    assert (names(claims), answer.refused) == (ids, [])
    assert await counted(store) == {State.FAILED: BATCH_MAX}


async def test_a_call_over_the_size_of_a_batch_settles_and_claims_nothing(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    job = await worker.take("a")
    with pytest.raises(InvalidOption):
        await worker.exchange([done(job)] * (BATCH_MAX + 1), 1)
    with pytest.raises(InvalidOption):
        await worker.exchange([done(job)], BATCH_MAX + 1)
    assert await counted(store) == {State.ACTIVE: 1, State.WAITING: 1}


async def test_a_snooze_may_name_a_moment(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    at = (await store.ping()).now + HOUR
    await worker.end(job, Kind.SNOOZED, at=at)
    assert (await look(store, "a")).run_at == at
