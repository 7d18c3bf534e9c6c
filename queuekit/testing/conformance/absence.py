"""Absences, as `recover` sees them: after one, live workers have a grace to renew in, and nobody takes their jobs.

How jobs are taken is in `recover`; here is when. A server's clock that is put forward looks like one; one that is put
back holds up what waits for a time, for as long as it was put back, and nothing else.
"""

from __future__ import annotations

import random

from queuekit.domain.absence import Watch
from queuekit.domain.outcome import Refusal
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    done,
    hold,
    look,
    names,
    recover,
    spec,
)  # fmt: skip

EVERY = 5 * SECOND


async def test_the_first_recovery_of_all_needs_no_grace(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(HOUR)
    answer = await store.recover(Q, every=EVERY)
    assert (answer.suspects, answer.grace_until) == (["a"], None)


async def test_after_an_absence_workers_have_time_to_renew(harness: Harness, store: JobStore) -> None:
    await store.recover(Q, every=MINUTE)
    await Producer(store).put("renewed", "silent")
    renewed, _ = await Worker(store).claim(2)
    await harness.advance(HOUR)

    away = await store.recover(Q, every=MINUTE)
    assert away.suspects == []
    assert away.grace_until == away.now + 2 * MINUTE
    assert (await store.renew(Q, [hold(renewed)], HOUR)).lost == []

    await harness.advance(MINUTE)
    during = await store.recover(Q, every=MINUTE)
    assert (during.suspects, during.grace_until) == ([], away.grace_until)

    await harness.advance(MINUTE)
    after = await store.recover(Q, every=MINUTE)
    assert (after.suspects, after.grace_until) == (["silent"], None)


async def test_a_pause_between_recoveries_of_up_to_three_times_is_no_absence(harness: Harness, store: JobStore) -> None:
    await store.recover(Q, every=MINUTE)
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(2 * MINUTE)
    assert (await store.recover(Q, every=MINUTE)).suspects == ["a"]


async def test_a_grace_that_nobody_saw_is_set_again(harness: Harness, store: JobStore) -> None:
    """Away, back for a moment, and away again: workers get their time once more."""
    await store.recover(Q, every=MINUTE)
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(HOUR)
    first = await store.recover(Q, every=MINUTE)
    await harness.advance(HOUR)
    second = await store.recover(Q, every=MINUTE)
    assert second.suspects == []
    assert first.grace_until is not None
    assert second.grace_until == second.now + 2 * MINUTE


async def test_a_grace_is_long_enough_for_every_worker_however_short_the_cadence(
    harness: Harness, store: JobStore
) -> None:
    """With a lease of two seconds workers look every third of a second; an outcome may wait longer for its repeat."""
    await store.recover(Q, every=300)
    await Producer(store).put("a")
    await Worker(store, lease=2 * SECOND).take("a")
    await harness.advance(10 * SECOND)

    away = await store.recover(Q, every=300)
    assert away.grace_until == away.now + 5 * SECOND
    await harness.advance(4 * SECOND)
    assert (await store.recover(Q, every=300)).suspects == []
    await harness.advance(SECOND)
    assert (await store.recover(Q, every=300)).suspects == ["a"]


async def test_the_quickest_caller_says_what_an_absence_is(harness: Harness, store: JobStore) -> None:
    """A slow one that comes first after an outage must not take what the leases of the quick ones lost in it."""
    await store.recover(Q, every=MINUTE)
    await store.recover(Q, every=SECOND)
    await store.recover(Q, every=MINUTE)
    await Producer(store).put("a")
    job = await Worker(store, lease=5 * SECOND).take("a")
    await harness.advance(30 * SECOND)

    away = await store.recover(Q, every=MINUTE)
    assert (away.suspects, away.grace_until) == ([], away.now + 2 * MINUTE)
    assert (await store.renew(Q, [hold(job)], HOUR)).lost == []
    assert (await store.recover(Q, every=SECOND)).grace_until == away.grace_until


async def test_a_slow_caller_goes_on_alone_after_one_grace(harness: Harness, store: JobStore) -> None:
    await store.recover(Q, every=SECOND)
    await Producer(store).put("a")
    await Worker(store, lease=5 * SECOND).take("a")
    answers = []
    for _ in range(4):
        await harness.advance(MINUTE + SECOND)
        answers.append(await store.recover(Q, every=MINUTE))
    assert [answer.suspects for answer in answers] == [[], [], ["a"], []]
    assert [answer.grace_until is None for answer in answers] == [False, False, True, True]


async def test_callers_that_are_always_late_recover_all_the_same(harness: Harness, store: JobStore) -> None:
    """Four cadences between the calls, each time: a grace that every late call prolonged would never end."""
    await store.recover(Q, every=SECOND)
    await Producer(store).put("a")
    await Worker(store, lease=5 * SECOND).take("a")
    answers = []
    for _ in range(3):
        await harness.advance(4 * SECOND)
        answers.append(await store.recover(Q, every=SECOND))
    assert [answer.suspects for answer in answers] == [[], [], ["a"]]


async def test_whatever_callers_come_and_stay_away_one_rule_tells_absences(harness: Harness, store: JobStore) -> None:
    rng, watch = random.Random(74), Watch()  # noqa: S311  a walk, no secret
    graces = 0
    for _ in range(60):
        await harness.advance(rng.choice((100, 900, 4 * SECOND, 16 * SECOND, 10 * MINUTE)))
        every = rng.choice((333, SECOND, 5 * SECOND, 5 * MINUTE))
        answer = await store.recover(Q, every=every)
        watch = watch.called(answer.now, every)
        assert answer.grace_until == watch.grace
        graces += watch.grace is not None
    assert 0 < graces < 60


async def test_a_grace_of_one_queue_is_not_that_of_another(harness: Harness, store: JobStore) -> None:
    await store.recover("other", every=MINUTE)
    await Producer(store).put("a")
    await Worker(store).take("a")
    await harness.advance(HOUR)
    assert (await store.recover("other", every=MINUTE)).grace_until is not None
    assert (await store.recover(Q, every=MINUTE)).suspects == ["a"]


async def test_a_clock_put_forward_takes_no_job_from_who_renews_and_each_other_once(
    harness: Harness, store: JobStore
) -> None:
    await store.recover(Q, every=EVERY)
    await Producer(store).put("living", "dead")
    worker, gone = Worker(store), Worker(store)
    living, dead = await worker.take("living"), await gone.take("dead")
    await harness.advance(HOUR)
    assert (await store.recover(Q, every=EVERY)).suspects == []
    assert (await store.renew(Q, [hold(living)], LEASE)).lost == []
    found = []
    for _ in range(8):
        await harness.advance(EVERY)
        found += (await store.recover(Q, every=EVERY)).suspects
        assert (await store.renew(Q, [hold(living)], LEASE)).lost == []
    assert found == ["dead"]
    again = await worker.take("dead")
    assert (again.claims, again.crashes) == (2, 1)
    assert [no for _, no in (await gone.settle(done(dead))).refused] == [Refusal.LOST]
    await worker.end(again)
    await worker.end(living)


async def test_a_clock_put_back_holds_up_no_work_that_waits_for_no_time(harness: Harness, store: JobStore) -> None:
    producer, worker = Producer(store), Worker(store)
    await producer.put("held", "before")
    held = await worker.take("held")
    await harness.advance(-2 * HOUR)
    await producer.put("behind")
    assert (await store.renew(Q, [hold(held)], LEASE)).lost == []
    assert sorted(names(await worker.claim(5))) == ["before", "behind"]
    await worker.end(held)
    for name in ("before", "behind"):
        job = await look(store, name)
        assert job.lease_until is not None
        assert job.lease_until - (await store.ping()).now <= LEASE
        await worker.end(job)


async def test_what_dies_after_a_clock_was_put_back_is_recovered_in_time(harness: Harness, store: JobStore) -> None:
    """Also where the last recovery, and a grace, were by the clock of before."""
    await store.recover(Q, every=EVERY)
    await harness.advance(HOUR)
    assert (await store.recover(Q, every=EVERY)).grace_until is not None
    await harness.advance(2 * EVERY)
    assert (await store.recover(Q, every=EVERY)).grace_until is None
    await harness.advance(-2 * HOUR)
    await Producer(store).put("a")
    await Worker(store).take("a")
    found = []
    for _ in range(8):
        await harness.advance(EVERY)
        found += (await store.recover(Q, every=EVERY)).suspects
    assert found == ["a"]


async def test_what_waited_for_a_time_waits_as_much_longer_as_a_clock_was_put_back(
    harness: Harness, store: JobStore
) -> None:
    """A lease of before and a delayed job: late by the jump, never early, and once."""
    await Producer(store).put("dead", spec("later", delay=MINUTE))
    await Worker(store).take("dead")
    await harness.advance(-2 * HOUR)
    worker = Worker(store)
    for ahead in (0, HOUR, HOUR - MINUTE):
        await harness.advance(ahead)
        assert (await recover(store)).suspects == []
        assert await worker.claim(5) == []
    await harness.advance(2 * MINUTE)
    assert (await recover(store)).suspects == ["dead"]
    assert (await recover(store)).suspects == []
    assert sorted(names(await worker.claim(5))) == ["dead", "later"]
