"""Repeats: a lost reply costs nothing. The same op has the effect of one call; an older one has none."""

from __future__ import annotations

import pytest

from queuekit.domain.job import KEEP_NOTHING
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.errors import Stale
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
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
    receipts,
    recover,
    set_limits,
    spec,
    specs,
    state,
    totals,
)

ASK = Ask(want=2, lease=LEASE)


# ---- enqueue


async def test_a_repeated_enqueue_answers_the_same_and_creates_nothing(store: JobStore) -> None:
    await Producer(store).put("b")
    op = Actor().op()
    jobs = specs(["a", "b", "c", "a"])

    first = await store.enqueue(Q, jobs, op)
    again = await store.enqueue(Q, jobs, op)

    assert again.receipts == first.receipts == receipts(("a", True), ("b", False), ("c", True), ("a", False))
    assert await counted(store) == {State.WAITING: 3}
    assert (await totals(store)).enqueued == 3


async def test_a_repeated_enqueue_through_another_store_answers_the_same(open_store: Open, store: JobStore) -> None:
    op = Actor().op()
    first = await store.enqueue(Q, specs(["a", "b"]), op)
    again = await (await open_store()).enqueue(Q, specs(["a", "b"]), op)
    assert again.receipts == first.receipts == receipts(("a", True), ("b", True))


async def test_a_repeated_enqueue_knows_its_job_where_a_removed_one_had_been_named_twice(
    open_store: Open, store: JobStore
) -> None:
    await store.enqueue(Q, specs(["b", "a", "a"]), Actor().op())
    for name in ("a", "b"):
        await change(store, name, Verb.DELETE)
    op = Actor().op()
    first = await store.enqueue(Q, specs(["c", "b", "d", "a"]), op)

    again = await (await open_store()).enqueue(Q, specs(["c", "b", "d", "a"]), op)

    assert again.receipts == first.receipts == receipts(("c", True), ("b", True), ("d", True), ("a", True))
    assert names(await Worker(store).claim(5)) == ["c", "b", "d", "a"]


async def test_a_repeated_enqueue_does_not_bring_back_a_job_that_ran(store: JobStore) -> None:
    op = Actor().op()
    jobs = specs(["a", "b"])
    await store.enqueue(Q, jobs, op)
    worker = Worker(store)
    await worker.end(await worker.take("a"))
    after = await look(store, "a")

    assert created(await store.enqueue(Q, jobs, op)) == [True, True]
    assert await look(store, "a") == after
    assert names(await worker.claim(5)) == ["b"]


@pytest.mark.parametrize("later", [0, 90 * SECOND])
async def test_a_repeated_enqueue_does_not_bring_back_a_job_that_was_removed_at_its_end(
    harness: Harness, store: JobStore, open_store: Open, later: int
) -> None:
    op = Actor().op()
    jobs = [spec("a", keep_completed=KEEP_NOTHING), spec("b", keep_failed=KEEP_NOTHING)]
    await store.enqueue(Q, jobs, op)
    worker = Worker(store)
    a, b = await worker.claim(2)
    await worker.settle(done(a), done(b, Kind.FAILED))
    assert await store.get(Q, ["a", "b"]) == [None, None]
    await harness.advance(later)
    await store.prune(Q)  # somebody tidies up

    again = await (await open_store()).enqueue(Q, jobs, op)

    assert again.receipts == receipts(("a", True), ("b", True))
    assert await store.get(Q, ["a", "b"]) == [None, None]
    assert await counted(store) == {}
    assert await worker.claim(5) == []
    assert (await totals(store)).enqueued == 2


async def test_what_was_removed_at_its_end_is_nowhere_to_be_seen(store: JobStore) -> None:
    await Producer(store).put(spec("a", keep_completed=KEEP_NOTHING))
    worker = Worker(store)
    await worker.end(await worker.take("a"))

    assert await store.get(Q, ["a"]) == [None]
    assert await store.locate("a") == []
    assert await store.position(Q, "a") is None
    assert await counted(store) == {}
    for verb in (Verb.RETRY, Verb.CANCEL, Verb.DELETE):
        assert (await change(store, "a", verb)).ok is False
    assert await worker.claim(5) == []


async def test_a_refused_enqueue_may_be_sent_again_when_there_is_room(store: JobStore) -> None:
    """The refusal wrote nothing, so the lane goes on with its next op."""
    producer = Producer(store)
    await producer.put("a")
    assert created(await producer.put("a", "b")) == [False, True]
    assert created(await producer.put("a", "b", "c")) == [False, False, True]


async def test_an_enqueue_older_than_the_last_of_its_lane_creates_nothing_again(store: JobStore) -> None:
    lane = Actor()
    old, new = lane.op(), lane.op()
    await store.enqueue(Q, [spec("a", keep_completed=KEEP_NOTHING)], old)
    await store.enqueue(Q, specs(["b"]), new)
    worker = Worker(store)
    await worker.end(await worker.take("a"))

    try:
        late = await store.enqueue(Q, [spec("a", keep_completed=KEEP_NOTHING)], old)
    except Stale:
        pass  # the store keeps a record a lane
    else:
        assert [receipt.id for receipt in late.receipts] == ["a"]  # the store keeps a trace of the job
    assert await store.get(Q, ["a"]) == [None]
    assert names(await worker.claim(5)) == ["b"]


async def test_ops_of_two_lanes_are_two_calls(store: JobStore) -> None:
    one, two = Actor(), Actor()
    assert created(await store.enqueue(Q, specs(["a"]), one.op())) == [True]
    assert created(await store.enqueue(Q, specs(["b"]), two.op())) == [True]
    assert created(await store.enqueue(Q, specs(["b"]), one.op())) == [False]


# ---- exchange


async def test_a_repeated_exchange_gives_the_same_claims(open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a", "b", "c", "d")
    op = Actor().op()

    first = await store.exchange(Q, op, [], ASK)
    again = await (await open_store()).exchange(Q, op, [], ASK)

    assert again.claims == first.claims
    assert names(again.claims) == ["a", "b"]
    assert again.replayed is True
    assert [job.claims for job in again.claims] == [1, 1]
    assert await counted(store) == {State.ACTIVE: 2, State.WAITING: 2}
    assert again.more is True


async def test_a_repeated_exchange_settles_nothing_twice(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c", "d", "e")
    worker = Worker(store)
    a, b, c = await worker.claim(3)
    outcomes = [
        done(a, result=b"1"), done(b, Kind.RETRY, error=b"e", delay=HOUR), done(c, Kind.RELEASED),
        Outcome("nobody", "x:1", Kind.COMPLETED),
    ]  # fmt: skip
    op = worker.actor.op()

    first = await store.exchange(Q, op, outcomes, ASK)
    kept = await store.get(Q, ["a", "b", "c", "d", "e"])
    await store.prune(Q)
    again = await store.exchange(Q, op, outcomes, ASK)

    assert names(first.claims) == names(again.claims) == ["c", "d"]
    assert [job.token for job in again.claims] == [op.token] * 2
    assert await store.get(Q, ["a", "b", "c", "d", "e"]) == kept
    sums = await totals(store)
    assert (sums.completed, sums.retried, sums.released) == (1, 1, 1)
    assert {name for name, _ in again.refused} <= {"nobody"}
    assert [name for name, _ in first.refused] == ["nobody"]


async def test_a_repeat_of_a_call_whose_settles_were_accepted_does_not_refuse_them(store: JobStore) -> None:
    await Producer(store).put(*specs(["a", "b"], keep_completed=KEEP_NOTHING), "c")
    worker = Worker(store)
    claims = await worker.claim(3)
    op = worker.actor.op()
    await store.exchange(Q, op, [done(job) for job in claims], Ask())

    again = await store.exchange(Q, op, [done(job) for job in claims], Ask())

    assert (again.refused, again.claims) == ([], [])
    assert (await totals(store)).completed == 3


async def test_a_repeated_exchange_leaves_out_claims_that_were_lost(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    op = Actor().op()
    first = await store.exchange(Q, op, [], ASK)
    await store.renew(Q, [hold(first.claims[1])], HOUR)
    await harness.advance(LEASE + SECOND)
    assert (await recover(store)).suspects == ["a"]

    again = await store.exchange(Q, op, [], ASK)

    assert names(again.claims) == ["b"]
    assert (await look(store, "a")).token is None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.BLOCKED])
async def test_a_repeated_exchange_leaves_out_claims_that_were_settled(store: JobStore, kind: Kind) -> None:
    """An ended job keeps the token that ended it, and yet is claimed by nobody."""
    await Producer(store).put("a", "b")
    op = Actor().op()
    first = await store.exchange(Q, op, [], ASK)
    await Worker(store).end(first.claims[0], kind)
    after = await look(store, "a")

    again = await store.exchange(Q, op, [], ASK)

    assert names(again.claims) == ["b"]
    assert await look(store, "a") == after


async def test_a_repeated_exchange_gives_its_claims_though_the_queue_was_paused_since(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    op = Actor().op()
    await store.exchange(Q, op, [], ASK)
    await set_limits(store, paused="stop")
    again = await store.exchange(Q, op, [], ASK)
    assert (names(again.claims), again.paused) == (["a", "b"], "stop")


async def test_a_repeated_enqueue_is_answered_though_the_queue_is_full_since(store: JobStore) -> None:
    op = Actor().op()
    first = await store.enqueue(Q, specs(["a", "b"]), op)
    await set_limits(store, max_size=1)
    assert (await store.enqueue(Q, specs(["a", "b"]), op)).receipts == first.receipts


async def test_a_repeated_exchange_that_got_nothing_may_not_take_what_came_since_twice(store: JobStore) -> None:
    """Whether a repeat of an empty answer claims is the store's affair; that the claim is this op's is not."""
    op = Actor().op()
    assert (await store.exchange(Q, op, [], ASK)).claims == []
    await Producer(store).put("a")

    second = await store.exchange(Q, op, [], ASK)
    third = await store.exchange(Q, op, [], ASK)

    assert names(second.claims) == names(third.claims)
    assert all(job.token == op.token for job in second.claims)
    assert (await state(store, "a")) is (State.ACTIVE if second.claims else State.WAITING)


async def test_an_exchange_older_than_the_last_has_no_lasting_effect(store: JobStore) -> None:
    """Stale, or, where the store keeps no record of its callers, claims that `renew` names as strays."""
    await Producer(store).put("a", "b", "c", "d", "e")
    actor = Actor()
    old, new = actor.op(), actor.op()
    await store.exchange(Q, old, [], Ask(want=1))
    held = (await store.exchange(Q, new, [], Ask(want=1))).claims

    try:
        late = (await store.exchange(Q, old, [], Ask(want=3))).claims
    except Stale:
        assert await counted(store) == {State.ACTIVE: 2, State.WAITING: 3}
    else:
        assert store.capabilities.strays
        renewal = await store.renew(Q, [hold(job) for job in held], LEASE, actor.name, new.n)
        assert {job.id for job in late} <= {name for name, _ in renewal.strays}


async def test_an_old_exchange_settles_nothing_again(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, _ = await worker.claim(2)
    old = worker.actor.op()
    outcomes = [done(a, Kind.RETRY, error=b"e")]
    await store.exchange(Q, old, outcomes, Ask())
    await worker.exchange((), 0)
    after = await look(store, "a")

    try:
        late = await store.exchange(Q, old, outcomes, Ask())
    except Stale:
        pass
    else:
        assert [name for name, _ in late.refused] in ([], ["a"])
    assert await look(store, "a") == after


async def test_a_number_is_not_compared_between_actors(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    first, second = Actor(), Actor()
    for _ in range(5):
        await store.exchange(Q, first.op(), [], Ask())
    assert names((await store.exchange(Q, second.op(), [], Ask(want=1))).claims) == ["a"]


async def test_numbers_may_be_left_out(store: JobStore) -> None:
    """An op whose call was never sent leaves a gap."""
    await Producer(store).put("a", "b")
    actor = Actor()
    await store.exchange(Q, Op(actor.name, 1), [], Ask(want=1))
    assert names((await store.exchange(Q, Op(actor.name, 7), [], Ask(want=1))).claims) == ["b"]


async def test_one_actor_may_serve_two_queues(store: JobStore) -> None:
    await Producer(store, "one").put("a")
    await Producer(store, "two").put("b")
    actor = Actor()
    assert names((await store.exchange("one", actor.op(), [], ASK)).claims) == ["a"]
    assert names((await store.exchange("two", actor.op(), [], ASK)).claims) == ["b"]


# ---- renew, annotate


async def test_renewing_twice_is_renewing(store: JobStore) -> None:
    await Producer(store).put("a")
    job = await Worker(store).take("a")
    first = await store.renew(Q, [hold(job)], HOUR)
    again = await store.renew(Q, [hold(job)], HOUR)
    assert first.lost == again.lost == []
    assert (await look(store, "a")).lease_until == again.lease_until
