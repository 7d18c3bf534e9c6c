"""Produce: what enqueue keeps, what it refuses, and that a call is done wholly or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from queuekit.domain.job import BATCH_MAX, HARD_PAYLOAD_LIMIT, KEEP_ALL, KEEP_NOTHING, PRIORITY_MAX, Retention
from queuekit.domain.outcome import Kind, Refusal
from queuekit.domain.query import Verb
from queuekit.domain.state import Line, State
from queuekit.errors import ConfigError, InvalidOption, PayloadTooLarge, QueueFull, Unsupported
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    Producer,
    Q,
    Worker,
    bring,
    change,
    counted,
    created,
    done,
    look,
    names,
    receipts,
    set_limits,
    spec,
    specs,
    state,
    totals,
)


async def test_a_job_waits_with_all_that_its_producer_said(store: JobStore) -> None:
    said: dict[str, Any] = {
        "task": "billing:charge.card", "body": b"j[1]", "version": 7, "priority": 3, "options": b'{"attempts":5}',
        "keep_completed": Retention(5, HOUR), "keep_failed": KEEP_ALL, "trace": "00-4bf92f35-00f067aa-01",
    }  # fmt: skip
    answer = await Producer(store).put(spec("a", **said))

    record = await look(store, "a")
    assert answer.receipts == receipts(("a", True))
    assert {name: getattr(record, name) for name in said} == said
    assert (record.queue, record.id, record.ref) == (Q, "a", f"{Q}/a")
    assert (record.state, record.line, record.created_at) == (State.WAITING, Line.READY, answer.now)
    assert (record.claims, record.failures, record.snoozes, record.crashes, record.attempt) == (0, 0, 0, 0, 1)
    assert (record.token, record.worker, record.claimed_at, record.lease_until, record.cancel) == (None,) * 5
    assert (record.progress, record.result, record.reason, record.ended_at, record.keep) == (None,) * 5
    assert (record.logs, record.errors, record.unique, record.group, record.expires_at) == ((), (), None, None, None)


async def test_a_job_that_says_nothing_has_the_defaults(store: JobStore) -> None:
    await Producer(store).put("a")

    record = await look(store, "a")
    assert (record.version, record.priority, record.options, record.trace) == (1, 10, b"", None)
    assert (record.keep_completed, record.keep_failed) == (None, None)


@pytest.mark.parametrize("keep", [KEEP_NOTHING, KEEP_ALL, Retention(7), Retention(None, 5), Retention(3, 9)])
async def test_a_retention_comes_back_as_it_was_said(store: JobStore, keep: Retention) -> None:
    await Producer(store).put(spec("a", keep_completed=keep), spec("b", keep_failed=keep))
    first, second = await look(store, "a"), await look(store, "b")
    assert (first.keep_completed, first.keep_failed) == (keep, None)
    assert (second.keep_completed, second.keep_failed) == (None, keep)


async def test_a_delay_counts_from_the_clock_of_the_store(store: JobStore) -> None:
    answer = await Producer(store).put(spec("a", delay=HOUR))

    record = await look(store, "a")
    assert (record.state, record.run_at) == (State.DELAYED, answer.now + HOUR)


async def test_a_time_to_come_delays_the_job(store: JobStore) -> None:
    at = (await store.ping()).now + HOUR
    await Producer(store).put(spec("a", run_at=at))

    record = await look(store, "a")
    assert (record.state, record.run_at) == (State.DELAYED, at)


@pytest.mark.parametrize("said", [{"delay": 0}, {"run_at": 1}, {"run_at": 0}])
async def test_a_time_gone_by_is_now(store: JobStore, said: dict[str, int]) -> None:
    await Producer(store).put(spec("a", **said))

    assert (await look(store, "a")).state is State.WAITING
    assert names(await Worker(store).claim()) == ["a"]


async def test_a_job_may_expire_at_a_time_or_after_a_time(store: JobStore) -> None:
    at = (await store.ping()).now + HOUR
    answer = await Producer(store).put(spec("at", expires_at=at), spec("in", expires_in=MINUTE))

    assert (await look(store, "at")).expires_at == at
    assert (await look(store, "in")).expires_at == answer.now + MINUTE


async def test_a_call_without_jobs_does_nothing(store: JobStore) -> None:
    assert (await Producer(store).put()).receipts == []
    assert await counted(store) == {}


async def test_an_id_that_waits_is_not_overwritten(store: JobStore) -> None:
    await Producer(store).put(spec("a", body=b"first", priority=5))
    before = await look(store, "a")

    answer = await Producer(store).put(spec("a", body=b"second", priority=1, delay=HOUR), "b")

    assert answer.receipts == receipts(("a", False), ("b", True))
    assert await look(store, "a") == before
    assert (await totals(store)).enqueued == 2


@pytest.mark.parametrize("kept_as", [s for s in State if s is not State.BLOCKED])
async def test_an_id_exists_in_whatever_state_its_job_is(store: JobStore, kept_as: State) -> None:
    await bring(store, "a", kept_as)
    before = await look(store, "a")
    assert before.state is kept_as

    answer = await Producer(store).put(spec("a", body=b"second"))

    assert answer.receipts == receipts(("a", False))
    assert await look(store, "a") == before


async def test_of_two_equal_ids_in_a_call_the_second_exists_already(store: JobStore) -> None:
    answer = await Producer(store).put(spec("a", body=b"first"), "b", spec("a", body=b"second"))

    assert answer.receipts == receipts(("a", True), ("b", True), ("a", False))
    assert (await look(store, "a")).body == b"first"
    assert (await totals(store)).enqueued == 2


async def test_an_id_is_free_again_when_its_job_was_deleted(store: JobStore) -> None:
    await Producer(store).put("a")
    assert (await change(store, "a", Verb.DELETE)).ok

    answer = await Producer(store).put(spec("a", body=b"again"))

    assert created(answer) == [True]
    assert (await look(store, "a")).body == b"again"
    assert names(await Worker(store).claim(5)) == ["a"]


async def test_equal_ids_in_two_queues_are_two_jobs(store: JobStore) -> None:
    await Producer(store, "one").put(spec("a", body=b"1"))
    answer = await Producer(store, "two").put(spec("a", body=b"2"))

    assert created(answer) == [True]
    assert (await look(store, "a", "one")).body == b"1"
    (claim,) = await Worker(store, "two").claim(5)
    assert (claim.queue, claim.body) == ("two", b"2")
    assert await state(store, "a", "one") is State.WAITING


async def test_a_call_takes_as_many_jobs_as_a_batch_may_have(store: JobStore) -> None:
    ids = [f"j{i:04}" for i in range(BATCH_MAX)]
    answer = await Producer(store).put(*ids)

    assert [receipt.id for receipt in answer.receipts] == ids
    assert all(created(answer))
    assert names(await Worker(store).claim_all()) == ids


async def test_a_call_over_the_size_of_a_batch_is_refused(store: JobStore) -> None:
    with pytest.raises(InvalidOption):
        await Producer(store).put(*(f"j{i}" for i in range(BATCH_MAX + 1)))
    assert await counted(store) == {}


async def test_priorities_reach_from_0_to_the_highest(store: JobStore) -> None:
    await Producer(store).put(spec("last", priority=PRIORITY_MAX), spec("first", priority=0))
    claims = await Worker(store).claim(2)
    assert [(job.id, job.priority) for job in claims] == [("first", 0), ("last", PRIORITY_MAX)]


async def test_a_full_queue_refuses_the_whole_call(store: JobStore) -> None:
    await set_limits(store, max_size=3)
    await Producer(store).put("a", spec("b", delay=HOUR))

    with pytest.raises(QueueFull):
        await Producer(store).put("c", "d")

    assert await store.get(Q, ["c", "d"]) == [None, None]
    assert (await totals(store)).enqueued == 2
    assert created(await Producer(store).put("c")) == [True]


async def test_waiting_and_delayed_jobs_fill_a_queue_and_others_do_not(store: JobStore) -> None:
    await set_limits(store, max_size=2)
    await Producer(store).put("a", spec("b", delay=HOUR))
    with pytest.raises(QueueFull):
        await Producer(store).put("c")

    await Worker(store).take("a")

    assert created(await Producer(store).put("c")) == [True]
    with pytest.raises(QueueFull):
        await Producer(store).put(spec("d", delay=HOUR))


async def test_a_full_queue_still_answers_for_a_job_it_has(store: JobStore) -> None:
    await set_limits(store, max_size=1)
    await Producer(store).put("a")

    assert created(await Producer(store).put("a")) == [False]


async def test_a_full_queue_refuses_an_id_whose_job_was_removed(store: JobStore) -> None:
    await set_limits(store, max_size=1)
    worker, once = Worker(store), spec("a", keep_completed=KEEP_NOTHING)
    await Producer(store).put(once)
    await worker.end(await worker.take("a"))
    await Producer(store).put("b")

    for jobs in ([once], ["c", once], [once, "c"]):
        with pytest.raises(QueueFull):
            await Producer(store).put(*jobs)

    assert await store.get(Q, ["a", "c"]) == [None, None]
    await worker.end(await worker.take("b"))
    assert created(await Producer(store).put(once)) == [True]


async def test_a_full_queue_still_takes_jobs_back(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    worker = Worker(store)
    first, second, third = await worker.claim(3)
    await set_limits(store, max_size=1)
    await Producer(store).put("d")

    await worker.end(first, Kind.RELEASED)
    await worker.end(second, Kind.RETRY)
    await worker.end(third, Kind.SNOOZED, delay=HOUR)

    assert await counted(store) == {State.WAITING: 3, State.DELAYED: 1}


async def test_a_body_at_the_limit_is_kept_and_one_byte_more_is_refused(open_store: Open) -> None:
    small = await open_store(payload_limit=1000)
    body = b"\x00\xff" * 500
    await Producer(small).put(spec("a", body=body))
    assert (await look(small, "a")).body == body

    with pytest.raises(PayloadTooLarge):
        await Producer(small).put("fits", spec("b", body=body + b"!"))

    assert await small.get(Q, ["fits", "b"]) == [None, None]
    assert (await totals(small)).enqueued == 1


async def test_a_body_at_the_hard_limit_goes_through_a_whole_life(open_store: Open) -> None:
    """With a result as large, if the store can hold both; else that is refused and the run is still open."""
    large = await open_store(payload_limit=HARD_PAYLOAD_LIMIT)
    body, result = b"\x00\xff" * (HARD_PAYLOAD_LIMIT // 2), b"r" * HARD_PAYLOAD_LIMIT
    await Producer(large).put(spec("a", body=body))
    worker = Worker(large)
    (job,) = await worker.claim()
    assert job.body == body

    refused = (await worker.settle(done(job, result=result))).refused
    assert refused in ([], [("a", Refusal.TOO_LARGE)])
    if refused:
        await worker.end(job, result=b"small")

    record = await look(large, "a")
    assert (record.state, record.body == body) == (State.COMPLETED, True)
    assert record.result in (result, b"small")


async def test_a_group_is_refused_where_the_store_has_none(store: JobStore) -> None:
    if "groups" not in store.capabilities.parts:
        with pytest.raises(Unsupported):
            await Producer(store).put("a", spec("b", group="tenant-1"))
        assert await store.get(Q, ["a", "b"]) == [None, None]


async def test_within_takes_nothing_that_is_not_of_this_store(store: JobStore) -> None:
    """InvalidOption, or Unsupported where the store knows no `within` at all; both say it before anything happened."""
    producer = Producer(store)
    with pytest.raises(ConfigError):
        await store.enqueue(Q, specs(["a"]), producer.actor.op(), within=object())
    assert await store.get(Q, ["a"]) == [None]


@pytest.mark.parametrize("moment", [0, -5, -(2**40)])
async def test_a_moment_before_1970_is_over(store: JobStore, moment: int) -> None:
    """Zero and less are times like others: a job that is due since then runs, one that expired then never does."""
    await Producer(store).put(spec("due", run_at=moment), spec("late", expires_at=moment), spec("plain"))
    due = await look(store, "due")
    assert due.state is State.WAITING
    assert due.run_at is not None
    assert due.run_at <= 1
    assert names(await Worker(store).claim(5)) == ["due", "plain"]
    assert (await look(store, "late")).state is State.CANCELLED


async def test_created_jobs_are_counted_for_good(store: JobStore) -> None:
    producer, worker = Producer(store), Worker(store)
    await producer.put("a", spec("b", delay=HOUR), spec("c", keep_completed=KEEP_NOTHING))
    await producer.put("a")
    for job in await worker.claim(5):
        await worker.end(job)

    assert (await totals(store)).enqueued == 3
