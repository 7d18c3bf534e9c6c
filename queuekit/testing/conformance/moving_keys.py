"""Moving in: what is in a parcel's way, and the unique keys that move."""

from __future__ import annotations

import pytest

from queuekit.domain.job import UniqueKey
from queuekit.domain.moving import Clash, HeldKey
from queuekit.domain.state import State
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.transit import ARRIVING, HERE, arrive, ids, leave
from queuekit.testing.conformance.unique import Until, free
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    Actor,
    Producer,
    Q,
    Worker,
    counted,
    look,
    spec,
    state,
)

UNTIL: list[Until] = ["finished", "started", "time"]


# ---- clashes


async def test_an_id_in_the_way_is_a_clash(mover: MovingStore) -> None:
    await Producer(mover).put(spec("b", body=b"here"))
    coming = await arrive(mover)
    parcels = [coming.parcel(name, body=b"there") for name in "abc"]
    assert await coming.take(*parcels) == [Clash(id="b", why="id", by="b")]
    assert [(await look(mover, name)).body for name in "abc"] == [b"there", b"here", b"there"]
    assert await mover.taken(Q, 1) == ["a", "c"]
    assert await counted(mover) == {State.WAITING: 3}


@pytest.mark.parametrize("each", [State.DELAYED, State.PARKED, State.COMPLETED, State.CANCELLED])
async def test_an_id_is_in_the_way_in_every_state(mover: MovingStore, each: State) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a", each))
    again = coming.parcel("a", each if each is State.COMPLETED else State.WAITING)
    assert await coming.take(again) == [Clash(id="a", why="id", by="a")]
    assert await counted(mover) == {each: 1}


async def test_the_first_of_two_parcels_with_one_id_comes_in(mover: MovingStore) -> None:
    coming = await arrive(mover)
    first, second = coming.parcel("a", body=b"1"), coming.parcel("a", body=b"2")
    assert await coming.take(first, second) == [Clash(id="a", why="id", by="a")]
    assert (await look(mover, "a")).body == b"1"
    assert await counted(mover) == {State.WAITING: 1}


@pytest.mark.parametrize("until", UNTIL)
async def test_a_key_in_the_way_is_a_clash(able: MovingStore, mover: MovingStore, until: Until) -> None:
    assert await free(mover, "here", until=until, ttl=HOUR if until == "time" else None)
    coming = await arrive(mover)
    key = UniqueKey("k", "finished")
    taken = coming.parcel("a", unique=key, holds=True)
    other = coming.parcel("b", unique=key, holds=False)
    assert await coming.take(taken, other) == [Clash(id="a", why="key", by="here")]
    assert [await state(mover, name) for name in "ab"] == [None, State.WAITING]
    assert await mover.taken(Q, 1) == ["b"]


async def test_of_two_parcels_with_one_key_the_first_holds_it(able: MovingStore, mover: MovingStore) -> None:
    coming = await arrive(mover)
    parcels = [coming.parcel(name, unique=UniqueKey("k"), holds=True) for name in "ab"]
    assert await coming.take(*parcels) == [Clash(id="b", why="key", by="a")]


# ---- keys


@pytest.mark.parametrize("until", UNTIL)
async def test_a_parcel_brings_the_key_it_holds(
    harness: Harness, able: MovingStore, mover: MovingStore, until: Until
) -> None:
    timed = until == "time"
    coming = await arrive(mover)
    unique = UniqueKey("k", until, "existing", HOUR if timed else None)
    key_expires = coming.standing.now + 2 * MINUTE if timed else None
    await coming.take(coming.parcel("a", unique=unique, holds=True, key_expires=key_expires))
    await coming.go(HERE, None)
    assert (await look(mover, "a")).unique == unique
    assert not await free(mover, "b")
    worker = Worker(mover)
    job = await worker.take("a")
    assert await free(mover, "b") is (until == "started")
    await worker.end(job)
    if timed:
        assert not await free(mover, "b")
        await harness.advance(3 * MINUTE)
    assert await free(mover, "c") is (until != "started")


@pytest.mark.parametrize("until", UNTIL)
async def test_a_parcel_that_does_not_hold_its_key_leaves_it_free(
    able: MovingStore, mover: MovingStore, until: Until
) -> None:
    coming = await arrive(mover)
    unique = UniqueKey("k", until, "existing", HOUR if until == "time" else None)
    ended = State.COMPLETED if until == "finished" else State.WAITING
    await coming.take(coming.parcel("a", ended, unique=unique))
    await coming.go(HERE, None)
    assert await free(mover, "b")


async def test_a_parcel_of_a_held_key_takes_new_content(able: MovingStore, mover: MovingStore) -> None:
    coming = await arrive(mover)
    unique = UniqueKey("k", "finished", "replace")
    await coming.take(coming.parcel("a", unique=unique, holds=True))
    await coming.go(HERE, None)
    answer = await Producer(mover).put(spec("b", unique=unique, body=b"new", priority=3))
    assert [(r.id, r.created) for r in answer.receipts] == [("a", False)]
    assert ((await look(mover, "a")).body, (await look(mover, "a")).priority) == (b"new", 3)


async def test_a_key_that_ran_out_on_the_way_is_not_brought(able: MovingStore, mover: MovingStore) -> None:
    """Whoever took it meanwhile is not in the way."""
    assert await free(mover, "here")
    coming = await arrive(mover)
    late = coming.parcel(
        "a", unique=UniqueKey("k", "time", "existing", HOUR), holds=True, key_expires=coming.standing.now - 1
    )
    assert await coming.take(late) == []
    await coming.go(HERE, None)
    assert not await free(mover, "b")
    assert await state(mover, "a") is State.WAITING


async def test_keys_whose_job_is_gone_are_held_for_their_time(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    assert await free(mover, "here", "taken")
    coming = await arrive(mover)
    now = coming.standing.now
    keys = [
        HeldKey(key="k", id="gone", expires=now + 2 * MINUTE), HeldKey(key="over", id="gone", expires=now - 1),
        HeldKey(key="taken", id="gone", expires=now + HOUR),
    ]  # fmt: skip
    assert await coming.take(keys=keys) == []
    await coming.go(HERE, None)
    answer = await Producer(mover).put(spec("a", unique=UniqueKey("k")), spec("b", unique=UniqueKey("taken")))
    assert [(r.id, r.created) for r in answer.receipts] == [("gone", False), ("here", False)]
    assert await free(mover, "c", "over")
    await harness.advance(3 * MINUTE)
    assert await free(mover, "d", "k")


async def test_a_job_of_the_id_that_holds_a_key_for_a_time_takes_it(able: MovingStore, mover: MovingStore) -> None:
    coming = await arrive(mover)
    now = coming.standing.now
    await coming.take(keys=[HeldKey(key="k", id="a", expires=now + HOUR)])
    unique = UniqueKey("k", "time", "existing", HOUR)
    ended = coming.parcel("a", State.COMPLETED, unique=unique, holds=True, key_expires=now + HOUR)
    assert await coming.take(ended) == []
    await coming.go(HERE, None)
    assert not await free(mover, "b")


async def test_a_checked_out_holder_of_a_key_takes_no_new_content(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    """Its parcel may be in the other store already. The call is told of the holder, as where it runs."""
    unique = UniqueKey("k", "finished", "replace")
    await Producer(mover).put(spec("a", unique=unique, body=b"old"))
    leaving = await leave(harness, mover)
    assert ids(await leaving.out()) == ["a"]
    await leaving.go(ARRIVING)
    new = spec("b", unique=unique, body=b"new", priority=3)
    answer = await mover.enqueue(Q, [new], Actor().op(), asked=True)
    assert [(r.id, r.created) for r in answer.receipts] == [("a", False)]
    assert [parcel.record.body for parcel in await leaving.out(batch=1)] == [b"old"]
    assert await leaving.restore(batch=1) == 1
    assert ((await look(mover, "a")).body, await state(mover, "b")) == (b"old", None)
