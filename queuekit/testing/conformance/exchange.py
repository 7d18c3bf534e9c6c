"""Exchange: how runs end, who is accepted, and what a claim is. Order has a family of its own."""

from __future__ import annotations

import pytest

from queuekit.domain.job import BATCH_MAX, ERRORS_KEPT, LOGS_KEPT, JobRecord
from queuekit.domain.outcome import Kind, Outcome, Refusal
from queuekit.domain.query import Verb
from queuekit.domain.state import Line, State
from queuekit.errors import InvalidOption
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
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
    look,
    names,
    recover,
    set_limits,
    spec,
    state,
    totals,
)

ENDS = {Kind.COMPLETED: State.COMPLETED, Kind.FAILED: State.FAILED, Kind.CANCELLED: State.CANCELLED}
KINDS = [kind for kind in Kind if kind is not Kind.BLOCKED]


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


# ---- how runs end


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


# ---- who is accepted


async def test_an_outcome_is_of_one_queue(store: JobStore) -> None:
    await Producer(store, "one").put("a")
    await Producer(store, "two").put("a")
    job = await Worker(store, "one").take("a")
    other = await Worker(store, "two").take("a")

    assert (await Worker(store, "three").settle(done(job))).refused == [("a", Refusal.GONE)]
    assert (await Worker(store, "two").settle(done(job))).refused == [("a", Refusal.LOST)]

    assert await look(store, "a", "one") == job
    assert await look(store, "a", "two") == other


async def test_a_wrong_token_settles_nothing(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    wrong = Outcome("a", f"{worker.actor.name}:2", Kind.COMPLETED, result=b"stolen")

    assert (await Worker(store).settle(wrong)).refused == [("a", Refusal.LOST)]
    assert (await worker.settle(wrong)).refused == [("a", Refusal.LOST)]

    assert await look(store, "a") == job
    assert (await totals(store)).completed == 0


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


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
async def test_a_run_ends_once(store: JobStore, first: Kind, second: Kind) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    await worker.end(job, first, result=b"1", error=b"1")
    after = await look(store, "a")

    answer = await worker.settle(done(job, second, result=b"2", error=b"2"))

    assert answer.refused == [("a", Refusal.LOST)]
    assert await look(store, "a") == after


async def test_of_two_outcomes_of_one_run_in_a_call_the_first_counts(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await worker.settle(done(job, result=b"1"), done(job, Kind.FAILED, error=b"2"))

    assert answer.refused == [("a", Refusal.LOST)]
    record = await look(store, "a")
    assert (record.state, record.result, record.errors) == (State.COMPLETED, b"1", ())
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


async def test_a_settle_of_the_run_before_is_refused_while_the_next_one_runs(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    slow, quick = Worker(store), Worker(store)
    old = await slow.take("a")
    await harness.advance(LEASE + SECOND)
    await recover(store)
    new = await quick.take("a")

    assert (await slow.settle(done(old, result=b"old"))).refused == [("a", Refusal.LOST)]
    await quick.end(new, result=b"new")
    assert (await slow.settle(done(old, result=b"old"))).refused == [("a", Refusal.LOST)]

    assert (await look(store, "a")).result == b"new"
    assert (await totals(store)).completed == 1


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
