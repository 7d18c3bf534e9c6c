"""Recover: jobs of silent workers run again, those that kill workers do not for ever, and nobody hurries."""

from __future__ import annotations

import pytest

from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Ask, Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import Line, State
from queuekit.store.protocol import JobStore
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
    hold,
    look,
    names,
    recover,
    set_limits,
    spec,
    state,
    totals,
)


async def die(harness: Harness, store: JobStore, want: int = 1, *, suspect: bool = True) -> list[JobRecord]:
    """A worker claims, falls silent, and its jobs are recovered: what it had claimed."""
    claims = await Worker(store).claim(want, suspect=suspect)
    await harness.advance(LEASE + SECOND)
    await recover(store)
    return claims


async def test_a_job_whose_lease_ended_waits_again_as_a_suspect(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    before = await look(store, "a")
    await Worker(store).take("a")
    await harness.advance(LEASE)

    answer = await recover(store)

    assert (answer.suspects, answer.crashed, answer.cancelled) == (["a"], [], [])
    assert (answer.grace_until, answer.more) == (None, False)
    record = await look(store, "a")
    assert (record.state, record.line, record.place) == (State.WAITING, Line.SUSPECT, before.place)
    assert (record.crashes, record.claims, record.failures) == (1, 1, 0)
    assert (record.token, record.lease_until) == (None, None)
    assert (await totals(store)).crashed == 1


async def test_a_job_whose_lease_runs_is_left_alone(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", spec("b", delay=HOUR), "c")
    claim = await Worker(store).take("a")
    await harness.advance(LEASE - 10 * SECOND)

    assert (await recover(store)).suspects == []
    assert await look(store, "a") == claim


async def test_each_claim_is_judged_by_its_own_lease(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("long", "short")
    await Worker(store, lease=HOUR).take("long")
    await Worker(store, lease=MINUTE).take("short")
    await harness.advance(2 * MINUTE)
    assert (await recover(store)).suspects == ["short"]
    await harness.advance(HOUR)
    assert (await recover(store)).suspects == ["long"]


async def test_a_worker_gets_one_suspect_a_call_and_first(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    await die(harness, store, 3)
    await Producer(store).put(spec("urgent", priority=1))

    worker = Worker(store)
    first = await worker.claim(5)
    assert [(job.id, job.line) for job in first] == [("a", Line.SUSPECT), ("urgent", Line.READY)]
    assert names(await worker.claim(5)) == ["b"]


async def test_a_repeat_that_gives_a_suspect_again_promises_no_other(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await die(harness, store, 2)
    await recover(store)
    op, ask = Actor().op(), Ask(want=2, lease=LEASE)

    first, again = await store.exchange(Q, op, [], ask), await store.exchange(Q, op, [], ask)

    assert names(first.claims) == names(again.claims) == ["a"]
    assert (first.more, again.more) == (False, False)


async def test_a_worker_that_holds_a_suspect_gets_no_other(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await die(harness, store, 2)
    await Producer(store).put("c")
    worker = Worker(store)

    assert names(await worker.claim(5)) == ["a", "c"]
    assert await worker.claim(5, suspect=False) == []
    await Producer(store).put("d")
    assert names(await worker.claim(5, suspect=False)) == ["d"]
    assert names(await worker.claim(5)) == ["b"]


async def test_a_second_suspect_is_no_more_work_for_who_got_one(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await die(harness, store, 2)
    await recover(store)
    worker = Worker(store)

    answer = await worker.exchange((), 5)

    assert (names(answer.claims), answer.more) == (["a"], False)
    assert (await worker.exchange((), 0, suspect=False)).more is False
    assert (await Worker(store).exchange((), 0)).more is True


async def test_suspects_stand_in_the_order_of_their_old_places(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", priority=1))
    await die(harness, store, 3)
    worker = Worker(store)
    assert [names(await worker.claim(5)) for _ in range(3)] == [["c"], ["a"], ["b"]]


async def test_only_the_poison_of_a_claim_is_put_away(harness: Harness, store: JobStore) -> None:
    """Twenty jobs were claimed together and one of them kills its worker each time."""
    everyone = {f"j{i:02}" for i in range(20)}
    await Producer(store).put(*sorted(everyone))
    ended: set[str] = set()
    for _ in range(40):
        worker = Worker(store)
        claims = await worker.claim(20)
        if not claims:
            break
        if "j07" in names(claims):
            await harness.advance(LEASE + SECOND)
            await recover(store)
        else:
            for job in claims:
                await worker.end(job)
                ended.add(job.id)

    assert ended == everyone - {"j07"}
    poison = await look(store, "j07")
    assert (poison.state, poison.reason, poison.crashes) == (State.FAILED, "crash_loop", 3)


async def test_a_job_that_crashed_too_often_fails(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    for crashes in (1, 2):
        await die(harness, store)
        assert (await look(store, "a")).crashes == crashes
    job = await Worker(store).take("a")
    await harness.advance(LEASE + SECOND)

    answer = await recover(store)

    assert (answer.crashed, answer.suspects) == (["a"], [])
    record = await look(store, "a")
    assert (record.state, record.reason, record.crashes) == (State.FAILED, "crash_loop", 3)
    assert (record.failures, record.claims, record.lease_until) == (0, 3, None)
    assert record.ended_at is not None
    assert ((await totals(store)).crashed, (await totals(store)).failed) == (3, 1)
    assert (await store.renew(Q, [hold(job)], LEASE)).lost == ["a"]


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_the_queue_says_how_many_crashes_are_too_many(harness: Harness, store: JobStore, most: int) -> None:
    await set_limits(store, max_crashes=most)
    await Producer(store).put("a")
    for _ in range(most - 1):
        await die(harness, store)
        assert await state(store, "a") is State.WAITING
    await die(harness, store)
    assert (await look(store, "a")).reason == "crash_loop"


async def test_an_innocent_is_not_counted_again(harness: Harness, store: JobStore) -> None:
    """A suspect that ended its run in whatever way is none any more; a crash beside others does not count then."""
    await Producer(store).put("a")
    await die(harness, store)
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RETRY)

    record = await look(store, "a")
    assert (record.line, record.crashes) == (Line.READY, 1)
    for _ in range(2):
        (job,) = await worker.claim()
        await worker.end(job, Kind.SNOOZED)
        await die(harness, store)
        assert ((await look(store, "a")).line, (await look(store, "a")).crashes) == (Line.SUSPECT, 1)
        await worker.end(await worker.take("a"), Kind.RETRY)
    assert (await totals(store)).crashed == 1


async def test_a_suspect_that_is_retried_later_comes_back_unsuspected(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    await die(harness, store)
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RETRY, delay=MINUTE)
    await harness.advance(2 * MINUTE)

    (job,) = await worker.claim(1, suspect=False)
    assert (job.line, job.crashes) == (Line.READY, 1)


async def test_a_released_suspect_is_still_a_suspect_at_its_old_place(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await die(harness, store, 2)
    before = await look(store, "a")
    worker = Worker(store)
    await worker.end(await worker.take("a"), Kind.RELEASED)

    record = await look(store, "a")
    assert (record.line, record.place, record.crashes) == (Line.SUSPECT, before.place, 1)
    assert await worker.claim(5, suspect=False) == []
    assert names(await worker.claim(5)) == ["a"]


async def test_a_job_whose_cancel_was_asked_is_cancelled_when_its_worker_dies(
    harness: Harness, store: JobStore
) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    await change(store, "a", Verb.CANCEL, reason="user")
    await harness.advance(LEASE + SECOND)

    answer = await recover(store)

    assert (answer.cancelled, answer.suspects, answer.crashed) == (["a"], [], [])
    record = await look(store, "a")
    assert (record.state, record.reason, record.crashes) == (State.CANCELLED, "user", 0)
    assert ((await totals(store)).cancelled, (await totals(store)).crashed) == (1, 0)


async def test_recovery_is_bounded_and_says_that_there_is_more(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    await Worker(store).claim(3)
    await harness.advance(LEASE + SECOND)

    first, second = await recover(store, limit=2), await recover(store, limit=2)

    assert (len(first.suspects), first.more) == (2, True)
    assert (len(second.suspects), second.more) == (1, False)
    assert sorted(first.suspects + second.suspects) == ["a", "b", "c"]


async def test_recovering_twice_recovers_once(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    await die(harness, store)
    after = await look(store, "a")
    assert (await recover(store)).suspects == []
    assert await look(store, "a") == after


async def test_a_queue_without_jobs_has_nothing_to_recover(store: JobStore) -> None:
    answer = await store.recover("never-seen")
    assert (answer.suspects, answer.crashed, answer.cancelled, answer.more) == ([], [], [], False)


async def test_a_suspect_may_be_cancelled_and_ends(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await die(harness, store, 2)
    await change(store, "a", Verb.CANCEL)
    worker = Worker(store)
    await worker.end(await worker.take("b"))

    assert await counted(store) == {State.CANCELLED: 1, State.COMPLETED: 1}
    assert (await store.count(Q)).suspect == 0
    assert await worker.claim(5) == []
