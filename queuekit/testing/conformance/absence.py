"""Absences, as `recover` sees them: after one, live workers have a grace to renew in, and nobody takes their jobs.

How jobs are taken is in `recover`; here is when.
"""

from __future__ import annotations

import random

from queuekit.domain.absence import Watch
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import HOUR, MINUTE, SECOND, Producer, Q, Worker, hold

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
