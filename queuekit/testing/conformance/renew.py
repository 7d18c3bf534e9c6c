"""Renew and annotate: keeping a claim, hearing of its end, and reporting from a running job."""

from __future__ import annotations

import pytest

from queuekit.domain.job import LOGS_KEPT
from queuekit.domain.outcome import Hold, Kind, Outcome
from queuekit.domain.query import Note, Verb
from queuekit.domain.state import State
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
    change,
    hold,
    look,
    names,
    recover,
    state,
)


async def test_a_renewed_claim_outlives_its_first_lease(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, _ = await worker.claim(2)
    await harness.advance(LEASE - 5 * SECOND)

    renewal = await store.renew(Q, [hold(a)], LEASE)

    assert (renewal.lost, renewal.cancels) == ([], {})
    assert renewal.lease_until == renewal.now + LEASE
    assert (await look(store, "a")).lease_until == renewal.lease_until
    await harness.advance(10 * SECOND)
    assert (await recover(store)).suspects == ["b"]
    await worker.end(a)


async def test_a_renewal_may_shorten_the_lease(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store, lease=HOUR).take("a")
    await store.renew(Q, [hold(job)], LEASE)
    await harness.advance(LEASE)
    assert (await recover(store)).suspects == ["a"]


async def test_a_claim_may_be_renewed_after_its_lease_while_nobody_recovered_it(
    harness: Harness, store: JobStore
) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    await harness.advance(LEASE + MINUTE)

    assert (await store.renew(Q, [hold(job)], LEASE)).lost == []
    assert (await recover(store)).suspects == []


async def test_a_claim_that_is_no_longer_held_is_lost(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("recovered", "settled", "deleted", "held", "waiting")
    worker = Worker(store)
    claims = {job.id: job for job in await worker.claim(4)}
    await worker.end(claims["settled"])
    await worker.end(claims["deleted"])
    await change(store, "deleted", Verb.DELETE)
    await store.renew(Q, [hold(claims["held"])], HOUR)
    await harness.advance(LEASE + SECOND)
    assert (await recover(store)).suspects == ["recovered"]

    holds = [hold(job) for job in claims.values()]
    renewal = await store.renew(Q, [*holds, Hold(id="waiting", token="x:1"), Hold(id="nobody", token="x:1")], LEASE)

    assert sorted(renewal.lost) == ["deleted", "nobody", "recovered", "settled", "waiting"]


async def test_a_wrong_token_renews_and_reports_nothing(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")

    wrong = Hold(id="a", token="other:1", progress=b"no", logs=(b"no",))
    assert (await store.renew(Q, [wrong], HOUR)).lost == ["a"]

    record = await look(store, "a")
    assert (record.lease_until, record.progress, record.logs) == (job.lease_until, None, ())


async def test_a_claim_of_the_run_before_is_lost_while_the_next_one_runs(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a")
    old = await Worker(store).take("a")
    await harness.advance(LEASE + SECOND)
    await recover(store)
    new = await Worker(store).take("a")

    assert (await store.renew(Q, [hold(old)], HOUR)).lost == ["a"]
    assert (await store.renew(Q, [hold(new)], HOUR)).lost == []


@pytest.mark.parametrize("turn", [1, -1])
async def test_a_worker_may_name_a_job_with_the_claim_it_lost_and_the_one_it_has(
    harness: Harness, store: JobStore, turn: int
) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    old = await worker.take("a")
    await harness.advance(LEASE)
    await recover(store)
    new = await worker.take("a")
    await harness.advance(LEASE - SECOND)

    renewal = await store.renew(Q, [hold(old), hold(new)][::turn], LEASE)

    assert renewal.lost == ["a"]
    assert (await look(store, "a")).lease_until == renewal.lease_until


async def test_renewing_nothing_tells_the_time(store: JobStore) -> None:
    renewal = await store.renew(Q, [], LEASE)
    assert (renewal.lost, renewal.cancels, renewal.strays) == ([], {}, [])
    assert renewal.lease_until == renewal.now + LEASE


async def test_a_renewal_tells_of_a_cancel_each_time_until_the_run_ends(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, b = await worker.claim(2)
    await change(store, "a", Verb.CANCEL, reason="changed my mind")

    for _ in range(2):
        renewal = await store.renew(Q, [hold(a), hold(b)], LEASE)
        assert (renewal.cancels, renewal.lost) == ({"a": "changed my mind"}, [])

    await worker.end(a, Kind.CANCELLED)
    assert (await store.renew(Q, [hold(a), hold(b)], LEASE)).cancels == {}


async def test_a_cancel_without_a_reason_is_told_too(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    await change(store, "a", Verb.CANCEL)
    assert (await store.renew(Q, [hold(job)], LEASE)).cancels == {"a": ""}


async def test_a_renewal_carries_progress_and_logs(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")

    await store.renew(Q, [hold(job, progress=b"10%", logs=(b"one", b"two"))], LEASE)
    await store.renew(Q, [hold(job, logs=(b"three",))], LEASE)

    record = await look(store, "a")
    assert (record.progress, record.logs) == (b"10%", (b"one", b"two", b"three"))


async def test_a_note_is_kept_at_once(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    assert job.token is not None

    assert await store.annotate(Q, "a", job.token, Note(progress=b"99%", logs=(b"nearly",))) is True
    assert await store.annotate(Q, "a", job.token, Note(logs=(b"there",))) is True

    record = await look(store, "a")
    assert (record.progress, record.logs) == (b"99%", (b"nearly", b"there"))
    assert record.lease_until == job.lease_until


async def test_a_note_without_the_token_is_refused(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    job = await worker.take("a")
    await worker.end(job)
    assert job.token is not None

    for name, token in (("a", job.token), ("a", "x:1"), ("b", "x:1"), ("nobody", "x:1")):
        assert await store.annotate(Q, name, token, Note(progress=b"p", logs=(b"l",))) is False

    record = await look(store, "a")
    assert (record.progress, record.logs, record.state) == (None, (), State.COMPLETED)


async def test_notes_keep_the_last_lines_only(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    assert job.token is not None
    lines = tuple(b"%d" % i for i in range(LOGS_KEPT))
    await store.annotate(Q, "a", job.token, Note(logs=lines))
    await store.renew(Q, [hold(job, logs=(b"last",))], LEASE)
    assert (await look(store, "a")).logs == (*lines[1:], b"last")


async def test_lines_reported_again_are_kept_once(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    assert job.token is not None
    first = hold(job, logs=(b"1", b"2"), start=0)

    await store.renew(Q, [first], LEASE)
    await store.renew(Q, [first], LEASE)  # its answer was lost
    await store.renew(Q, [hold(job, logs=(b"1", b"2", b"3"), start=0)], LEASE)  # again, and one more since
    for _ in range(2):
        assert await store.annotate(Q, "a", job.token, Note(logs=(b"3", b"4"), start=2)) is True
    await store.renew(Q, [first], LEASE)  # arrives at last

    assert (await look(store, "a")).logs == (b"1", b"2", b"3", b"4")


@pytest.mark.parametrize("kind", [Kind.COMPLETED, Kind.RETRY, Kind.RELEASED])
async def test_an_outcome_brings_no_line_that_was_reported(store: JobStore, kind: Kind) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    job = await worker.take("a")
    await store.renew(Q, [hold(job, logs=(b"1", b"2"), start=0)], LEASE)

    outcome = Outcome(job.id, str(job.token), kind, logs=(b"1", b"2", b"3"), start=0)
    assert (await worker.settle(outcome)).refused == []

    assert (await look(store, "a")).logs == (b"1", b"2", b"3")


async def test_each_claim_counts_its_own_lines(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    for run in (b"1", b"2"):
        job = await worker.take("a")
        await store.renew(Q, [hold(job, logs=(run, run), start=0)], LEASE)
        await worker.end(job, Kind.RELEASED)
    assert (await look(store, "a")).logs == (b"1", b"1", b"2", b"2")


async def test_lines_behind_a_gap_are_kept_and_so_are_uncounted_ones(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    await store.renew(Q, [hold(job, logs=(b"1",))], LEASE)
    await store.renew(Q, [hold(job, logs=(b"1", b"2"), start=0)], LEASE)
    await store.renew(Q, [hold(job, logs=(b"9",), start=8)], LEASE)  # the worker dropped some
    await store.renew(Q, [hold(job, logs=(b"9", b"10"), start=8)], LEASE)
    await store.renew(Q, [hold(job, logs=(b"9",))], LEASE)
    assert (await look(store, "a")).logs == (b"1", b"2", b"9", b"10", b"9")


async def test_many_claims_are_renewed_in_one_call(store: JobStore) -> None:
    await Producer(store).put(*(f"j{i}" for i in range(200)))
    claims = await Worker(store).claim(200)

    renewal = await store.renew(Q, [hold(job, progress=job.id.encode()) for job in claims], HOUR)

    assert renewal.lost == []
    records = [r for r in await store.get(Q, names(claims)) if r is not None]
    assert [(r.lease_until, r.progress) for r in records] == [(renewal.lease_until, job.id.encode()) for job in claims]


async def test_claims_that_a_worker_does_not_name_are_strays(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c", "d")
    worker, other = Worker(store), Worker(store)
    a, b = await worker.claim(2)
    await other.take("c")
    (d,) = await worker.claim(1)

    renewal = await store.renew(Q, [hold(a)], LEASE, worker.actor.name, 1)
    both = await store.renew(Q, [hold(a)], LEASE, worker.actor.name, 2)
    none = await store.renew(Q, [hold(a), hold(b), hold(d)], LEASE, worker.actor.name, 2)

    if store.capabilities.strays:
        assert renewal.strays == [("b", b.token)]
        assert sorted(both.strays) == [("b", b.token), ("d", d.token)]
    else:
        assert renewal.strays == both.strays == []
    assert none.strays == []
    assert await state(store, "b") is State.ACTIVE


async def test_an_unnamed_actor_has_no_strays(store: JobStore) -> None:
    await Producer(store).put("a")
    await Worker(store).take("a")
    assert (await store.renew(Q, [], LEASE)).strays == []
