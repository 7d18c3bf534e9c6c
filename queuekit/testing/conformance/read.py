"""Read: looking at jobs one by one, in pages, and counted. Nothing here changes anything."""

from __future__ import annotations

import pytest

from queuekit.domain.outcome import Kind
from queuekit.domain.query import SCAN_MAX, Position, Verb, Where
from queuekit.domain.state import State
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
    listed,
    look,
    names,
    pages,
    recover,
    set_limits,
    spec,
)

LISTED = [state for state in State if state is not State.BLOCKED]
ENDED = (State.COMPLETED, State.FAILED, State.CANCELLED)
KINDS = {
    State.COMPLETED: Kind.COMPLETED, State.FAILED: Kind.FAILED, State.CANCELLED: Kind.CANCELLED,
    State.PARKED: Kind.PARKED,
}  # fmt: skip


async def fill(store: JobStore, state: State, ids: list[str], *, task: str = "mail.send") -> None:
    """Jobs of one state, in this order of coming to it, one call each."""
    producer, worker = Producer(store), Worker(store)
    for turn, name in enumerate(ids):
        delay = HOUR + turn if state is State.DELAYED else None
        await producer.put(spec(name, task=task, delay=delay, priority=10 if state is State.WAITING else 0))
        if state in (State.WAITING, State.DELAYED):
            continue
        job = await worker.take(name)
        if state in KINDS:
            await worker.end(job, KINDS[state])


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


# ---- find


@pytest.mark.parametrize("state", LISTED)
async def test_pages_put_together_are_the_whole_state_once(store: JobStore, state: State) -> None:
    ids = [f"j{i:02}" for i in range(23)]
    await fill(store, state, ids)
    if state is not State.WAITING:
        await Producer(store).put("other")

    whole = await listed(store, state, limit=100)
    assert sorted(whole) == ids
    for limit in (1, 5, 23, 24):
        assert await listed(store, state, limit=limit) == whole


@pytest.mark.parametrize("state", LISTED)
async def test_found_jobs_are_whole_records(store: JobStore, state: State) -> None:
    await fill(store, state, ["a", "b"])
    found = await store.find(Q, Where(state=state))
    assert found.records == [r for r in await store.get(Q, names(found.records)) if r is not None]
    assert {record.state for record in found.records} == {state}


@pytest.mark.parametrize("state", LISTED)
async def test_jobs_that_stay_are_found_once_while_others_come_and_go(
    harness: Harness, store: JobStore, state: State
) -> None:
    """Between any two pages one job that was shown and one that was not go away, and another comes."""
    ids = [f"j{i:02}" for i in range(30)]
    await fill(store, state, ids)
    order = await listed(store, state)
    gone = {order[1], order[28], order[5], order[24], order[9], order[20]}
    doomed = [(order[1], order[28]), (order[5], order[24]), (order[9], order[20])]
    stay = set(ids) - gone

    seen: list[str] = []
    turn = 0
    async for found in pages(store, Where(state=state, limit=4)):
        seen += names(found.records)
        if turn < len(doomed):
            await leave(store, state, doomed[turn])
            await fill(store, state, [f"k{turn}"])
        turn += 1

    assert sorted(name for name in seen if name in stay) == sorted(stay)
    assert len(set(seen)) == len(seen)


async def leave(store: JobStore, state: State, ids: tuple[str, ...]) -> None:
    """Take jobs out of a state."""
    for name in ids:
        if state is State.ACTIVE:
            await Worker(store).end(await look(store, name), Kind.PARKED)
        else:
            assert (await change(store, name, Verb.DELETE)).ok


async def test_suspects_are_listed_before_those_that_are_ready(harness: Harness, store: JobStore) -> None:
    await Producer(store).put("a", "b")
    await Worker(store).claim(2)
    await harness.advance(LEASE + SECOND)
    await recover(store)
    await Producer(store).put(spec("urgent", priority=0))
    for limit in (1, 2, 9):
        assert await listed(store, State.WAITING, limit=limit) == ["a", "b", "urgent"]


async def test_delayed_jobs_are_listed_by_their_times_then_ids(store: JobStore) -> None:
    at = (await store.ping()).now + HOUR
    await Producer(store).put(
        spec("z", run_at=at), spec("late", run_at=at + 9), spec("a", run_at=at), spec("soon", run_at=at - 1)
    )
    for limit in (1, 9):
        assert await listed(store, State.DELAYED, limit=limit) == ["soon", "a", "z", "late"]


async def test_active_jobs_are_listed_by_the_end_of_their_lease_then_ids(store: JobStore) -> None:
    await Producer(store).put("z", "a", "m", "long", "short")
    await Worker(store, lease=HOUR).claim(3)
    await Worker(store, lease=2 * HOUR).claim(1)
    await Worker(store, lease=MINUTE).claim(1)
    for limit in (1, 2, 9):
        assert await listed(store, State.ACTIVE, limit=limit) == ["short", "a", "m", "z", "long"]


async def test_parked_jobs_are_listed_oldest_first(harness: Harness, store: JobStore) -> None:
    for name in ("z", "a", "m"):
        await fill(store, State.PARKED, [name])
        await harness.advance(SECOND)
    for limit in (1, 9):
        assert await listed(store, State.PARKED, limit=limit) == ["z", "a", "m"]


@pytest.mark.parametrize("state", ENDED)
async def test_ended_jobs_are_listed_newest_first(harness: Harness, store: JobStore, state: State) -> None:
    for name in ("z", "a", "m"):
        await fill(store, state, [name])
        await harness.advance(SECOND)
    for limit in (1, 9):
        assert await listed(store, state, limit=limit) == ["m", "a", "z"]


@pytest.mark.parametrize("state", ENDED)
async def test_jobs_that_ended_together_are_all_listed(store: JobStore, state: State) -> None:
    ids = [f"j{i:02}" for i in range(20)]
    await Producer(store).put(*ids)
    worker = Worker(store)
    await worker.settle(*(done(job, KINDS[state]) for job in await worker.claim(20)))
    for limit in (3, 20):
        assert sorted(await listed(store, state, limit=limit)) == ids


@pytest.mark.parametrize("state", LISTED)
async def test_a_search_may_be_for_one_task(store: JobStore, state: State) -> None:
    await fill(store, state, ["a", "b"], task="one")
    await fill(store, state, ["c"], task="two")
    await fill(store, state, ["d"], task="one")
    for limit in (1, 9):
        assert sorted(await listed(store, state, task="one", limit=limit)) == ["a", "b", "d"]
        assert await listed(store, state, task="two", limit=limit) == ["c"]
        assert await listed(store, state, task="three", limit=limit) == []


async def test_a_search_ends_with_no_cursor(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    assert (await store.find(Q, Where(state=State.WAITING, limit=3))).cursor is None
    empty = await store.find("never-seen", Where(state=State.FAILED))
    assert (empty.records, empty.cursor) == ([], None)


async def test_a_page_looks_at_a_bounded_number_of_records(store: JobStore) -> None:
    """Rare jobs behind many others are found, if not on the first page."""
    producer = Producer(store)
    for call in range(6):
        await producer.put(*(spec(f"j{call}-{i:03}") for i in range(1000)))
    await producer.put(spec("needle", task="rare"))

    first = await store.find(Q, Where(state=State.WAITING, task="rare"))
    assert 0 < first.scanned <= SCAN_MAX
    assert first.records == []
    assert first.cursor is not None
    assert await listed(store, State.WAITING, task="rare") == ["needle"]


@pytest.mark.parametrize("state", LISTED)
async def test_a_total_is_exact_or_not_told(store: JobStore, state: State) -> None:
    await fill(store, state, ["a", "b", "c"], task="one")
    await fill(store, state, ["d"], task="two")
    assert (await store.find(Q, Where(state=state, limit=1))).total in (None, 4)
    assert (await store.find(Q, Where(state=state, limit=1, task="one"))).total in (None, 3)


async def test_a_cursor_that_is_not_of_this_search_is_refused(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=HOUR), spec("d", delay=HOUR))
    cursor = (await store.find(Q, Where(state=State.DELAYED, limit=1))).cursor
    assert cursor is not None
    for foreign in ("nonsense", "", "0", "[]", "{}", "null", cursor):
        with pytest.raises(InvalidOption):
            await store.find(Q, Where(state=State.WAITING, cursor=foreign))


async def test_a_cursor_serves_another_store_object(open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a", "b", "c")
    first = await store.find(Q, Where(state=State.WAITING, limit=2))
    rest = await (await open_store()).find(Q, Where(state=State.WAITING, limit=2, cursor=first.cursor))
    assert names(rest.records) == ["c"]


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
