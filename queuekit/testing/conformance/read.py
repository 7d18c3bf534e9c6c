"""Read: looking at jobs one by one, in pages, and counted. Nothing here changes anything."""

from __future__ import annotations

from queuekit.domain.query import Position, Verb
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.find import fill
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
    listed,
    look,
    recover,
    set_limits,
    spec,
)

# ---- get, locate


async def test_get_answers_in_the_order_asked_with_none_for_what_is_not(store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    found = await store.get(Q, ["c", "nobody", "a", "c"])
    assert [record and record.id for record in found] == ["c", None, "a", "c"]
    assert await store.get(Q, []) == []
    assert await store.get("never-seen", ["a"]) == [None]


async def test_a_record_is_a_snapshot(store: JobStore) -> None:
    await Producer(store).put("a")
    record = await look(store, "a")
    record.state, record.body = State.FAILED, b"changed"
    assert (await look(store, "a")).state is State.WAITING
    (claim,) = await Worker(store).claim()
    claim.token = "other"
    assert (await look(store, "a")).token != "other"


async def test_an_id_is_located_in_every_queue_that_has_it(store: JobStore) -> None:
    await Producer(store, "b-queue").put("x", "y")
    await Producer(store, "a-queue").put("x")
    await Worker(store, "a-queue").take("x")

    assert sorted((r.queue, r.id, r.state) for r in await store.locate("x")) == [
        ("a-queue", "x", State.ACTIVE),
        ("b-queue", "x", State.WAITING),
    ]
    assert await store.locate("nobody") == []


async def test_reading_changes_nothing(store: JobStore) -> None:
    await Producer(store).put("a", spec("b", delay=HOUR))
    before = await store.get(Q, ["a", "b"])
    await store.count(Q)
    await store.locate("a")
    await store.position(Q, "a")
    await store.queues()
    await listed(store, State.WAITING)
    assert await store.get(Q, ["a", "b"]) == before
    await store.get("never-seen", ["a"])
    await store.count("never-seen")
    await store.conf("never-seen")
    assert await store.queues() == [Q]


# ---- count


async def test_every_state_is_counted(harness: Harness, store: JobStore) -> None:
    await fill(store, State.COMPLETED, ["a", "b"])
    await fill(store, State.FAILED, ["c"])
    await fill(store, State.CANCELLED, ["d"])
    await fill(store, State.PARKED, ["e"])
    await fill(store, State.ACTIVE, ["f", "g", "h"])
    await fill(store, State.DELAYED, ["i"])
    await fill(store, State.WAITING, ["j", "k"])

    counts = await store.count(Q)

    assert {state: n for state, n in counts.states.items() if n} == {
        State.COMPLETED: 2, State.FAILED: 1, State.CANCELLED: 1, State.PARKED: 1, State.ACTIVE: 3, State.DELAYED: 1,
        State.WAITING: 2,
    }  # fmt: skip
    assert set(counts.states) == set(State)
    assert (counts.suspect, counts.held, counts.paused) == (0, 0, None)


async def test_suspects_are_counted_among_those_that_wait(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    await Worker(store).claim(2)
    await harness.advance(LEASE + SECOND)
    await recover(store)

    counts = await store.count(Q)
    assert (counts.states[State.WAITING], counts.suspect, counts.states[State.ACTIVE]) == (3, 2, 0)
    await Worker(store).claim(1)
    assert (await store.count(Q)).suspect == 1


async def test_an_empty_queue_counts_nothing(store: JobStore) -> None:
    counts = await store.count("never-seen")
    assert not any(counts.states.values())
    assert (counts.oldest_waiting, counts.suspect, counts.paused) == (None, 0, None)
    assert counts.totals.enqueued == 0


async def test_the_longest_wait_is_told(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", spec("d", delay=2 * HOUR))
    await harness.advance(HOUR)
    await Producer(store).put("b")

    oldest = (await store.count(Q)).oldest_waiting
    assert oldest is not None
    assert HOUR <= oldest < HOUR + MINUTE
    await Worker(store).take("a")
    oldest = (await store.count(Q)).oldest_waiting
    assert oldest is not None
    assert oldest < MINUTE


async def test_a_job_put_before_all_hides_no_longer_wait(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("first", lifo=True), spec("a"))
    await harness.advance(HOUR)
    await Producer(store).put(spec("second", lifo=True))

    for gone in ("second", "first"):
        oldest = (await store.count(Q)).oldest_waiting
        assert oldest is not None
        assert HOUR <= oldest < HOUR + MINUTE
        await Worker(store).take(gone)


async def test_a_job_that_was_delayed_waits_since_it_was_due(harness: Harness, store: JobStore) -> None:
    await Producer(store).put(spec("a", delay=HOUR))
    await harness.advance(HOUR + MINUTE)
    await Worker(store).exchange((), 0)
    oldest = (await store.count(Q)).oldest_waiting
    assert oldest is not None
    assert MINUTE <= oldest < 3 * MINUTE


async def test_counts_tell_of_a_pause(store: JobStore) -> None:
    await Producer(store).put("a")
    await set_limits(store, paused="night")
    assert (await store.count(Q)).paused == "night"
    await set_limits(store)
    assert (await store.count(Q)).paused is None


async def test_totals_never_go_down(harness: Harness, store: JobStore) -> None:
    await fill(store, State.COMPLETED, ["a", "b"])
    await fill(store, State.FAILED, ["c"])
    for name in ("a", "b", "c"):
        await change(store, name, Verb.DELETE)

    assert await counted(store) == {}
    sums = (await store.count(Q)).totals
    assert (sums.enqueued, sums.completed, sums.failed) == (3, 2, 1)


# ---- position, queues


async def test_a_position_counts_those_that_go_before(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("urgent", priority=1), spec("low", priority=20))
    assert [await ahead(store, name) for name in ("urgent", "a", "b", "low")] == [0, 1, 2, 3]
    await Worker(store).take("urgent")
    assert await ahead(store, "b") == 1


async def ahead(store: JobStore, id: str) -> int | None:
    found = await store.position(Q, id)
    assert found is not None
    return found.ahead


async def test_a_position_says_why_a_job_does_not_run(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("suspect", "asked", "running")
    worker = Worker(store)
    await worker.take("suspect")
    await harness.advance(LEASE + SECOND)
    await recover(store)
    await worker.claim(2, suspect=False)
    await change(store, "asked", Verb.CANCEL)
    await Producer(store).put("waiting", spec("later", delay=DAY_AND_MORE), spec("late", expires_in=MINUTE))
    await harness.advance(2 * MINUTE)

    assert (await place(store, "suspect")).reasons == ["suspect"]
    assert (await place(store, "later")).reasons == ["delayed"]
    assert (await place(store, "late")).reasons == ["expired"]
    assert (await place(store, "asked")).reasons == ["cancel asked"]
    assert (await place(store, "waiting")).reasons == []
    assert (await place(store, "running")).state is State.ACTIVE
    assert (await place(store, "running")).ahead is None

    await set_limits(store, paused="deploy")
    assert (await place(store, "waiting")).reasons == ["paused: deploy"]
    assert set((await place(store, "suspect")).reasons) == {"suspect", "paused: deploy"}


DAY_AND_MORE = 25 * HOUR


async def place(store: JobStore, id: str) -> Position:
    found = await store.position(Q, id)
    assert found is not None
    return found


async def test_a_job_that_is_not_has_no_position(store: JobStore) -> None:
    assert await store.position(Q, "nobody") is None
    assert await store.position("never-seen", "a") is None


async def test_queues_with_jobs_or_a_configuration_are_known_in_order(store: JobStore) -> None:
    assert await store.queues() == []
    await Producer(store, "b").put("x")
    await set_limits(store, "c", paused="")
    await Producer(store, "a").put(spec("x", delay=HOUR))
    await Producer(store, "A").put("x")
    assert await store.queues() == ["A", "a", "b", "c"]


async def test_a_queue_whose_jobs_ended_is_still_known(store: JobStore) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    await worker.end(await worker.take("a"))
    assert await store.queues() == [Q]
