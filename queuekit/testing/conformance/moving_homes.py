"""Moving: what callers of the core are told while their queue leaves, comes or is gone."""

from __future__ import annotations

import pytest

from queuekit.domain.outcome import Ask, Home, Kind, Op, Refusal
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.state import State
from queuekit.errors import Arriving, Moved
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.fixtures import Begin
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.transit import ARRIVING, BY, FAR, GONE, HERE, MOVING, arrive, ids, leave
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
    created,
    done,
    hold,
    look,
    names,
    recover,
    spec,
    specs,
    state,
    totals,
)

AWAY = [(MOVING, FAR), (GONE, FAR)]
UNSETTLED = [(MOVING, FAR), (ARRIVING, FAR), (HERE, FAR)]


# ---- produce


@pytest.mark.parametrize(("home", "to"), AWAY)
async def test_no_job_is_kept_where_the_queue_leaves(mover: MovingStore, home: Home, to: str) -> None:
    await mover.authority(Q, 1, BY, home, to)
    with pytest.raises(Moved) as moved:
        await Producer(mover).put("a")
    assert (moved.value.to, isinstance(moved.value, Arriving)) == (to, False)
    with pytest.raises(Moved):
        await mover.enqueue(Q, specs(["a"]), Actor().op(), asked=True)
    assert await mover.get(Q, ["a"]) == [None]
    assert (await totals(mover)).enqueued == 0


@pytest.mark.parametrize(("home", "to"), [(ARRIVING, FAR), (HERE, FAR)])
async def test_while_jobs_still_come_the_other_store_must_be_asked_first(
    mover: MovingStore, home: Home, to: str
) -> None:
    await mover.authority(Q, 1, BY, home, to)
    with pytest.raises(Arriving) as coming:
        await Producer(mover).put("a")
    assert coming.value.to == to
    assert await mover.get(Q, ["a"]) == [None]
    assert created(await mover.enqueue(Q, specs(["a"]), Actor().op(), asked=True)) == [True]
    assert await state(mover, "a") is State.WAITING


async def test_a_queue_that_has_arrived_takes_jobs_unasked(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.go()
    await coming.go(HERE, None)
    await Producer(mover).put("a")
    assert names(await Worker(mover).claim()) == ["a"]


@pytest.mark.parametrize(("home", "to"), [*AWAY, (ARRIVING, FAR), (HERE, FAR)])
async def test_a_repeated_enqueue_is_answered_wherever_the_queue_is(mover: MovingStore, home: Home, to: str) -> None:
    op = Actor().op()
    first = await mover.enqueue(Q, specs(["a", "b"]), op)
    await mover.authority(Q, 1, BY, home, to)
    assert (await mover.enqueue(Q, specs(["a", "b"]), op)).receipts == first.receipts
    assert (await totals(mover)).enqueued == 2


async def test_a_repeated_enqueue_that_was_asked_is_answered_later(harness: Harness, mover: MovingStore) -> None:
    coming = await arrive(mover)
    op = Actor().op()
    first = await mover.enqueue(Q, specs(["a"]), op, asked=True)
    await coming.go()
    assert (await mover.enqueue(Q, specs(["a"]), op, asked=True)).receipts == first.receipts


async def test_a_job_within_a_transaction_is_refused_where_the_queue_leaves(mover: MovingStore, begin: Begin) -> None:
    await mover.authority(Q, 1, BY, MOVING, FAR)
    transaction = await begin()
    with pytest.raises(Moved):
        await mover.enqueue(Q, specs(["a"]), Actor().op(), transaction.within)
    await transaction.abort()
    assert await mover.get(Q, ["a"]) == [None]


async def test_a_job_within_a_transaction_asks_where_jobs_still_come(mover: MovingStore, begin: Begin) -> None:
    await mover.authority(Q, 1, BY, ARRIVING, FAR)
    transaction = await begin()
    with pytest.raises(Arriving):
        await mover.enqueue(Q, specs(["a"]), Actor().op(), transaction.within)
    await transaction.abort()
    transaction = await begin()
    await mover.enqueue(Q, specs(["a"]), Actor().op(), transaction.within, True)
    await transaction.commit()
    assert await state(mover, "a") is State.WAITING


# ---- exchange, renew, recover


@pytest.mark.parametrize(("home", "to"), [*AWAY, (ARRIVING, FAR)])
async def test_a_queue_that_is_not_here_gives_nothing(
    harness: Harness, mover: MovingStore, home: Home, to: str
) -> None:
    await Producer(mover).put("a", spec("b", delay=MINUTE))
    await mover.authority(Q, 1, BY, home, to)
    await harness.advance(2 * MINUTE)

    reply = await Worker(mover).exchange((), 9)

    assert (reply.claims, reply.more, reply.home, reply.to) == ([], False, home, to)
    assert await counted(mover) == {State.WAITING: 1, State.DELAYED: 1}


async def test_a_queue_that_leaves_takes_what_ended_and_promotes_nothing(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", spec("b", delay=MINUTE))
    worker = Worker(mover)
    job = await worker.take("a")
    await leave(harness, mover)
    await harness.advance(2 * MINUTE)

    reply = await worker.exchange([done(job)], 9)

    assert (reply.claims, reply.more, reply.home) == ([], False, MOVING)
    assert await counted(mover) == {State.COMPLETED: 1, State.DELAYED: 1}


async def test_a_queue_that_is_open_gives_work_while_jobs_still_come(mover: MovingStore) -> None:
    await Producer(mover).put("a", "b")
    await mover.authority(Q, 1, BY, HERE, FAR)
    reply = await Worker(mover).exchange((), 1)
    assert (names(reply.claims), reply.more, reply.home, reply.to) == (["a"], True, HERE, FAR)


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        (Kind.COMPLETED, State.COMPLETED), (Kind.FAILED, State.FAILED), (Kind.CANCELLED, State.CANCELLED),
        (Kind.RETRY, State.WAITING), (Kind.SNOOZED, State.WAITING), (Kind.RELEASED, State.WAITING),
        (Kind.PARKED, State.PARKED),
    ],
)  # fmt: skip
async def test_a_run_ends_where_it_began_though_the_queue_leaves(
    harness: Harness, mover: MovingStore, kind: Kind, after: State
) -> None:
    await Producer(mover).put("a", "b")
    worker = Worker(mover)
    job = await worker.take("a")
    await leave(harness, mover)
    reply = await worker.exchange([done(job, kind)], 9)
    assert (reply.refused, reply.claims) == ([], [])
    assert await state(mover, "a") is after


async def test_an_end_is_refused_where_the_job_is_gone(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a")
    worker = Worker(mover)
    job = await worker.take("a")
    leaving = await leave(harness, mover)
    await worker.end(job)
    await leaving.out(history=True)
    await leaving.confirm("a")
    await leaving.go(GONE)
    reply = await worker.exchange([done(job, Kind.FAILED)], 1)
    assert (reply.refused, reply.home) == ([("a", Refusal.GONE)], GONE)


async def test_a_repeated_exchange_gives_its_claims_though_the_queue_leaves(
    harness: Harness, mover: MovingStore
) -> None:
    await Producer(mover).put("a", "b")
    op, ask = Actor().op(), Ask(want=1, lease=LEASE)
    first = await mover.exchange(Q, op, [], ask)
    await leave(harness, mover)
    again = await mover.exchange(Q, op, [], ask)
    assert names(again.claims) == names(first.claims) == ["a"]


async def test_running_jobs_are_renewed_noted_and_recovered_while_the_queue_leaves(
    harness: Harness, mover: MovingStore
) -> None:
    await Producer(mover).put("a", "b")
    worker = Worker(mover)
    a, b = await worker.claim(2)
    await recover(mover)
    await leave(harness, mover)
    assert (await mover.renew(Q, [hold(a, progress=b"9")], HOUR)).lost == []
    await harness.advance(LEASE + SECOND)
    assert (await recover(mover)).suspects == ["b"]
    assert (await mover.renew(Q, [hold(b)], HOUR)).lost == ["b"]
    assert (await look(mover, "a")).progress == b"9"


# ---- change


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize(("home", "to"), [*AWAY, (ARRIVING, FAR), (HERE, FAR)])
async def test_of_a_job_that_is_not_here_the_other_store_knows(
    mover: MovingStore, home: Home, to: str, verb: Verb
) -> None:
    await mover.authority(Q, 1, BY, home, to)
    answer = await change(mover, "a", verb, body=b"new" if verb is Verb.REPLACE else None)
    assert (answer.ok, answer.no, answer.state) == (False, No.MOVED, None)


async def test_of_a_job_that_is_not_here_nobody_else_knows_once_the_queue_arrived(mover: MovingStore) -> None:
    await arrive(mover)
    await mover.authority(Q, 2, BY, HERE, None)
    assert (await change(mover, "a", Verb.CANCEL)).no is No.GONE


async def test_people_change_what_was_not_checked_out_yet(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b", spec("c", delay=HOUR))
    leaving = await leave(harness, mover)
    assert (await change(mover, "a", Verb.CANCEL)).state is State.CANCELLED
    assert (await change(mover, "b", Verb.REPLACE, body=b"new")).ok
    assert (await change(mover, "c", Verb.PROMOTE)).ok
    assert ids(await leaving.out(history=True)) == ["b", "c", "a"]


async def test_a_repeated_change_is_answered_though_the_job_left(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a")
    op, changes = Op("person", 1), [Change(id="a", verb=Verb.REPLACE, body=b"new")]
    first = await mover.change(Q, changes, op)
    leaving = await leave(harness, mover)
    await leaving.out()
    assert await mover.change(Q, changes, op) == first
