"""Find: one state in pages that miss nothing, show nothing twice, and keep to an order."""

from __future__ import annotations

import pytest

from queuekit.domain.outcome import Kind
from queuekit.domain.query import SCAN_MAX, Verb, Where
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
    done,
    listed,
    look,
    names,
    pages,
    recover,
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
async def test_jobs_that_ended_together_are_listed_by_their_ids_backwards(store: JobStore, state: State) -> None:
    ids = [f"j{i:02}" for i in range(20)]
    await Producer(store).put(*ids)
    worker = Worker(store)
    await worker.settle(*(done(job, KINDS[state]) for job in await worker.claim(20)))
    for limit in (3, 20):
        assert await listed(store, state, limit=limit) == ids[::-1]


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
