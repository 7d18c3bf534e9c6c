"""Change: what a person may do to a job in each state, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from queuekit.domain.outcome import Kind
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.state import Line, Move, State, allowed
from queuekit.errors import PayloadTooLarge
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
    bring,
    change,
    counted,
    hold,
    look,
    names,
    recover,
    spec,
    state,
    totals,
)

STATES = [kept_as for kept_as in State if kept_as is not State.BLOCKED]
MOVES = {
    Verb.CANCEL: Move.CANCEL, Verb.RETRY: Move.REVIVE, Verb.PROMOTE: Move.PROMOTE, Verb.RESCHEDULE: Move.RESCHEDULE,
    Verb.REOPEN: Move.REOPEN,
}  # fmt: skip
SAID: dict[Verb, dict[str, Any]] = {
    Verb.CANCEL: {"reason": "r"}, Verb.REPLACE: {"body": b"new"}, Verb.RESCHEDULE: {"delay": HOUR},
}  # fmt: skip
BECOMES = {
    Verb.CANCEL: State.CANCELLED, Verb.RETRY: State.WAITING, Verb.PROMOTE: State.WAITING,
    Verb.RESCHEDULE: State.DELAYED, Verb.REOPEN: State.WAITING,
}  # fmt: skip


def legal(verb: Verb, from_: State) -> State | None:
    """The state that a verb leads to by the one table; None where it is illegal."""
    if verb is Verb.REPLACE:
        return from_ if from_ in (State.WAITING, State.DELAYED, State.PARKED) else None
    if verb is Verb.CANCEL and from_ is State.ACTIVE:
        return State.ACTIVE  # asked: the run ends it
    if verb is Verb.RETRY and from_ is State.PARKED:
        return State.WAITING  # a person's retry reopens it too
    return BECOMES[verb] if BECOMES[verb] in allowed(from_, MOVES[verb]) else None


@pytest.mark.parametrize("from_", STATES)
async def test_a_verb_does_what_the_table_of_states_says(store: JobStore, from_: State) -> None:
    for verb in (verb for verb in Verb if verb is not Verb.DELETE):
        await bring(store, verb, from_)
        before = await look(store, verb)

        answer = await change(store, verb, verb, **SAID.get(verb, {}))

        after, expected = await look(store, verb), legal(verb, from_)
        if expected is None:
            assert (answer.ok, answer.no, answer.state) == (False, No.ILLEGAL, from_), verb
            assert after == before
        else:
            assert (answer.ok, answer.no, answer.state) == (True, None, expected), verb
            assert after.state is expected
            assert after.rev > before.rev
        await change(store, verb, Verb.DELETE)  # an active one stays, and is in nobody's way


@pytest.mark.parametrize("from_", STATES)
async def test_any_job_but_an_active_one_may_be_deleted(store: JobStore, from_: State) -> None:
    await bring(store, "a", from_)

    answer = await change(store, "a", Verb.DELETE)

    if from_ is State.ACTIVE:
        assert (answer.ok, answer.no, answer.state) == (False, No.ILLEGAL, State.ACTIVE)
        assert await state(store, "a") is State.ACTIVE
    else:
        assert (answer.ok, answer.no, answer.state) == (True, None, None)
        assert await state(store, "a") is None
        assert await counted(store) == {}
        assert await Worker(store).claim(5) == []


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_job_that_is_not_there_is_not_changed(store: JobStore, verb: Verb) -> None:
    answer = await change(store, "nobody", verb, **SAID.get(verb, {}))
    assert (answer.id, answer.ok, answer.no, answer.state) == ("nobody", False, No.GONE, None)
    assert await state(store, "nobody") is None


@pytest.mark.parametrize("verb", [Verb.CANCEL, Verb.RESCHEDULE, Verb.REPLACE, Verb.DELETE])
async def test_a_change_of_another_revision_is_not_made(store: JobStore, verb: Verb) -> None:
    await Producer(store).put("a")
    old = await look(store, "a")
    await change(store, "a", Verb.REPLACE, body=b"second")
    before = await look(store, "a")

    answer = await change(store, "a", verb, rev=old.rev, **SAID.get(verb, {}))

    assert (answer.ok, answer.no, answer.state) == (False, No.CHANGED, State.WAITING)
    assert await look(store, "a") == before
    assert (await change(store, "a", verb, rev=before.rev, **SAID.get(verb, {}))).ok


async def test_a_claim_is_another_revision(store: JobStore) -> None:
    await Producer(store).put("a")
    rev = (await look(store, "a")).rev
    await Worker(store).take("a")
    answer = await change(store, "a", Verb.CANCEL, rev=rev)
    assert (answer.no, (await look(store, "a")).cancel) == (No.CHANGED, None)


async def test_changes_of_one_call_are_answered_in_order_and_one_by_one(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=HOUR))
    answers = await store.change(
        Q,
        [
            Change(id="c", verb=Verb.PROMOTE),
            Change(id="nobody", verb=Verb.DELETE),
            Change(id="a", verb=Verb.PROMOTE),
            Change(id="b", verb=Verb.CANCEL),
            Change(id="b", verb=Verb.RETRY),
        ],
        Actor().op(),
    )

    assert [(answer.id, answer.ok, answer.no) for answer in answers] == [
        ("c", True, None), ("nobody", False, No.GONE), ("a", False, No.ILLEGAL), ("b", True, None), ("b", True, None),
    ]  # fmt: skip
    assert names(await Worker(store).claim(5)) == ["a", "c", "b"]


async def test_no_changes_are_no_answers(store: JobStore) -> None:
    assert await store.change(Q, [], Actor().op()) == []


# ---- cancel


@pytest.mark.parametrize("delay", [None, HOUR])
async def test_a_cancelled_job_says_why_and_when(store: JobStore, delay: int | None) -> None:
    await Producer(store).put(spec("a", delay=delay))
    now = (await store.ping()).now
    await change(store, "a", Verb.CANCEL, reason="customer left")

    record = await look(store, "a")
    assert (record.state, record.reason, record.line) == (State.CANCELLED, "customer left", None)
    assert record.ended_at is not None
    assert now <= record.ended_at <= now + MINUTE
    assert (await totals(store)).cancelled == 1


async def test_a_cancel_of_an_active_job_is_asked_and_kept(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")

    answer = await change(store, "a", Verb.CANCEL, reason="user")

    assert (answer.ok, answer.state) == (True, State.ACTIVE)
    record = await look(store, "a")
    assert (record.cancel, record.token, record.ended_at) == ("user", job.token, None)
    assert (await totals(store)).cancelled == 0
    await worker.end(job)
    assert (await look(store, "a")).cancel is None


async def test_a_cancel_may_be_asked_again_with_another_reason(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    await change(store, "a", Verb.CANCEL, reason="first")
    assert (await change(store, "a", Verb.CANCEL, reason="second")).ok
    assert (await store.renew(Q, [hold(job)], LEASE)).cancels == {"a": "second"}


async def test_a_cancelled_delayed_job_never_becomes_due(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=MINUTE))
    await change(store, "a", Verb.CANCEL)
    await harness.advance(HOUR)
    answer = await Worker(store).exchange((), 5)
    assert (answer.claims, answer.next_at) == ([], None)


# ---- retry


async def test_a_retry_by_a_person_starts_anew_and_keeps_the_errors(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", body=b"j1", options=b"o", priority=3, expires_in=HOUR))
    worker = Worker(store)
    await worker.take("a")
    await harness.advance(LEASE + SECOND)
    await recover(store)
    await worker.end(await worker.take("a"), Kind.SNOOZED)
    await worker.end(await worker.take("a"), Kind.RETRY, error=b"e1")
    await worker.end(await worker.take("a"), Kind.FAILED, error=b"e2", reason="no")
    before = await look(store, "a")
    assert (before.failures, before.snoozes, before.crashes, before.claims) == (1, 1, 1, 4)

    assert (await change(store, "a", Verb.RETRY)).state is State.WAITING

    record = await look(store, "a")
    assert (record.failures, record.snoozes, record.crashes, record.attempt) == (0, 0, 0, 1)
    assert (record.result, record.reason, record.ended_at, record.keep, record.expires_at) == (None,) * 5
    assert (record.errors, record.line, record.claims) == ((b"e1", b"e2"), Line.READY, 4)
    assert (record.body, record.options, record.priority) == (b"j1", b"o", 3)
    assert record.rev > before.rev
    (job,) = await worker.claim()
    assert (job.id, job.claims) == ("a", 5)


async def test_a_retry_of_a_completed_job_forgets_its_result(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), result=b"1")
    await change(store, "a", Verb.RETRY)
    assert (await look(store, "a")).result is None
    await worker.end(await worker.take("a"), result=b"2")
    assert (await look(store, "a")).result == b"2"
    assert (await totals(store)).completed == 2


async def test_a_retry_of_an_expired_job_does_not_expire_again(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", expires_in=MINUTE))
    await harness.advance(HOUR)
    worker = Worker(store)
    assert await worker.claim() == []
    await change(store, "a", Verb.RETRY)
    assert names(await worker.claim()) == ["a"]


@pytest.mark.parametrize("from_", [State.COMPLETED, State.FAILED, State.CANCELLED])
async def test_a_retry_may_be_for_later(harness: Harness, store: JobStore, from_: State) -> None:
    await bring(store, "a", from_)
    await bring(store, "b", from_)
    now = (await store.ping()).now

    assert (await change(store, "a", Verb.RETRY, delay=HOUR)).state is State.DELAYED
    assert (await change(store, "b", Verb.RETRY, run_at=now + 2 * HOUR)).state is State.DELAYED

    run_at = (await look(store, "a")).run_at
    assert run_at is not None
    assert now + HOUR <= run_at <= now + HOUR + MINUTE
    assert (await look(store, "b")).run_at == now + 2 * HOUR
    worker = Worker(store)
    assert await worker.claim(5) == []
    await harness.advance(HOUR + MINUTE)
    assert names(await worker.claim(5)) == ["a"]


async def test_a_job_that_crashed_too_often_may_be_retried_and_crash_again(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    for _ in range(3):
        await Worker(store).take("a")
        await harness.advance(LEASE + SECOND)
        await recover(store)
    assert (await look(store, "a")).reason == "crash_loop"
    await change(store, "a", Verb.RETRY)

    (job,) = await Worker(store).claim(1, suspect=False)
    assert (job.crashes, job.line) == (0, Line.READY)
    await harness.advance(LEASE + SECOND)
    assert (await recover(store)).suspects == ["a"]


# ---- promote, reschedule, replace, reopen


async def test_a_promoted_job_runs_now(store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR))
    assert (await change(store, "a", Verb.PROMOTE)).state is State.WAITING
    answer = await Worker(store).exchange((), 1)
    assert (names(answer.claims), answer.next_at) == (["a"], None)


async def test_a_rescheduled_job_runs_at_its_new_time(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("waits", spec("sooner", delay=2 * HOUR), spec("later", delay=MINUTE))
    now = (await store.ping()).now
    await change(store, "waits", Verb.RESCHEDULE, run_at=now + HOUR)
    await change(store, "sooner", Verb.RESCHEDULE, delay=MINUTE)
    await change(store, "later", Verb.RESCHEDULE, run_at=now + 2 * HOUR)
    worker = Worker(store)

    assert await worker.claim(5) == []
    assert (await look(store, "waits")).run_at == now + HOUR
    await harness.advance(2 * MINUTE)
    assert names(await worker.claim(5)) == ["sooner"]
    await harness.advance(HOUR)
    assert names(await worker.claim(5)) == ["waits"]
    await harness.advance(HOUR)
    assert names(await worker.claim(5)) == ["later"]


@pytest.mark.parametrize("said", [{"delay": 0}, {"run_at": 0}])
async def test_a_delayed_job_rescheduled_to_now_waits(store: JobStore, said: dict[str, Any]) -> None:
    await Producer(store).put(spec("a", delay=HOUR))
    assert (await change(store, "a", Verb.RESCHEDULE, **said)).state is State.WAITING
    assert names(await Worker(store).claim()) == ["a"]


async def test_a_delayed_job_may_get_a_priority_and_keep_its_time(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR), "b")
    run_at = (await look(store, "a")).run_at
    assert (await change(store, "a", Verb.RESCHEDULE, priority=1)).state is State.DELAYED
    record = await look(store, "a")
    assert (record.priority, record.run_at) == (1, run_at)
    await harness.advance(HOUR)
    assert names(await Worker(store).claim(5)) == ["a", "b"]


@pytest.mark.parametrize("from_", [State.WAITING, State.DELAYED, State.PARKED])
async def test_a_replaced_body_is_what_runs(harness: Harness, store: JobStore, from_: State) -> None:
    await bring(store, "a", from_)
    assert (await change(store, "a", Verb.REPLACE, body=b"new")).state is from_
    if from_ is State.PARKED:
        await change(store, "a", Verb.REOPEN)
    await harness.advance(2 * HOUR)
    (job,) = await Worker(store).claim()
    assert job.body == b"new"


async def test_a_replaced_job_keeps_its_place(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await change(store, "a", Verb.REPLACE, body=b"new")
    assert names(await Worker(store).claim(5)) == ["a", "b"]


async def test_a_body_over_the_limit_replaces_nothing(open_store: Open) -> None:
    small = await open_store(payload_limit=100)
    await Producer(small).put("a", "b")
    with pytest.raises(PayloadTooLarge):
        await small.change(
            Q,
            [
                Change(id="b", verb=Verb.REPLACE, body=b"fits"),
                Change(id="a", verb=Verb.REPLACE, body=b"x" * 101),
            ],
            Actor().op(),
        )
    assert [(await look(small, name)).body for name in ("a", "b")] == [b"j{}", b"j{}"]
    assert (await change(small, "a", Verb.REPLACE, body=b"x" * 100)).ok


@pytest.mark.parametrize("verb", [Verb.REOPEN, Verb.RETRY])
async def test_a_reopened_job_runs_again_behind_the_others(store: JobStore, verb: Verb) -> None:
    await bring(store, "a", State.PARKED)
    await Producer(store).put("b")
    await change(store, "a", verb)
    record = await look(store, "a")
    assert (record.state, record.line, record.reason) == (State.WAITING, Line.READY, None)
    assert names(await Worker(store).claim(5)) == ["b", "a"]


async def test_a_suspect_may_be_moved_to_another_time(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(LEASE + SECOND)
    await recover(store)

    assert (await change(store, "a", Verb.RESCHEDULE, delay=HOUR)).state is State.DELAYED

    assert ((await look(store, "a")).line, (await store.count(Q)).suspect) == (None, 0)
    assert await Worker(store).claim(5) == []
    await harness.advance(HOUR + MINUTE)
    assert names(await Worker(store).claim(5)) == ["a"]


async def test_a_suspect_with_another_priority_is_still_a_suspect(harness: Harness, store: JobStore) -> None:
    """It has not ended a run since."""
    await Producer(store).put("a", "b")
    await Worker(store).claim(2)
    await harness.advance(LEASE + SECOND)
    await recover(store)

    assert (await change(store, "b", Verb.RESCHEDULE, priority=1)).ok

    assert ((await look(store, "b")).line, (await store.count(Q)).suspect) == (Line.SUSPECT, 2)
    assert await Worker(store).claim(5, suspect=False) == []
    worker = Worker(store)
    assert [names(await worker.claim(5)) for _ in range(2)] == [["b"], ["a"]]
