"""Moving: who has the authority over a queue; its places, totals and configuration while it moves."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest

from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Home, Kind
from queuekit.domain.query import Totals
from queuekit.domain.state import State
from queuekit.errors import Conflict, Moved
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import LONG, SOON, quiet, woken
from queuekit.testing.conformance.transit import ARRIVING, BY, FAR, GONE, HERE, MOVING, arrive, leave
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    SECOND,
    Actor,
    Producer,
    Q,
    Worker,
    counted,
    listed,
    look,
    names,
    set_limits,
    spec,
    totals,
)

AWAY = [(MOVING, FAR), (GONE, FAR)]
UNSETTLED = [(MOVING, FAR), (ARRIVING, FAR), (HERE, FAR)]


# ---- authority


@pytest.mark.parametrize("home", [MOVING, ARRIVING, GONE, HERE])
async def test_authority_is_stored_and_answered(mover: MovingStore, home: Home) -> None:
    before = await set_limits(mover, max_size=7)

    standing = await mover.authority(Q, 5, BY, home, FAR)

    wanted = dataclasses.replace(before, home=home, to=FAR, epoch=5)
    assert standing.conf == wanted
    assert await mover.conf(Q) == wanted


async def test_authority_tells_the_stores_time(harness: Harness, mover: MovingStore) -> None:
    await harness.advance(HOUR)
    earliest = (await mover.count(Q)).now
    standing = await mover.authority(Q, 1, BY, MOVING, FAR)
    assert earliest <= standing.now <= (await mover.count(Q)).now
    assert standing.settles_at <= standing.now + 10 * SECOND


async def test_another_movers_epoch_is_refused(mover: MovingStore) -> None:
    await mover.authority(Q, 5, BY, MOVING, FAR)
    for epoch, by in ((4, BY), (5, "mover-2"), (4, "mover-2")):
        with pytest.raises(Conflict):
            await mover.authority(Q, epoch, by, HERE, None)
    conf = await mover.conf(Q)
    assert (conf.home, conf.to, conf.epoch) == (MOVING, FAR, 5)


async def test_a_higher_epoch_takes_over(mover: MovingStore) -> None:
    await mover.authority(Q, 5, BY, MOVING, FAR)
    await mover.authority(Q, 6, "mover-2", MOVING, "third")
    conf = await mover.conf(Q)
    assert (conf.home, conf.to, conf.epoch) == (MOVING, "third", 6)
    with pytest.raises(Conflict):
        await mover.authority(Q, 5, BY, HERE, None)


async def test_the_same_mover_goes_on_under_its_epoch(mover: MovingStore) -> None:
    await mover.authority(Q, 5, BY, ARRIVING, FAR)
    await mover.authority(Q, 5, BY, HERE, FAR)
    assert (await mover.authority(Q, 5, BY, HERE, None)).conf.to is None


async def test_a_queue_that_was_never_here_may_arrive(mover: MovingStore) -> None:
    assert await mover.queues() == []
    await mover.authority(Q, 1, BY, ARRIVING, FAR)
    assert await mover.queues() == [Q]
    assert await counted(mover) == {}


async def test_totals_are_added_once(mover: MovingStore) -> None:
    await Producer(mover).put("a")
    await arrive(mover)
    more = Totals(enqueued=10, completed=1, failed=2, retried=3, crashed=4, cancelled=5, released=6)
    for _ in range(3):
        await mover.authority(Q, 2, BY, HERE, FAR, add=more)
    assert await totals(mover) == dataclasses.replace(more, enqueued=11)
    for _ in range(2):
        await mover.authority(Q, 3, BY, HERE, None, add=Totals(completed=9))
    assert await totals(mover) == dataclasses.replace(more, enqueued=11, completed=10)


async def test_a_refused_authority_adds_nothing(mover: MovingStore) -> None:
    await arrive(mover, epoch=4)
    with pytest.raises(Conflict):
        await mover.authority(Q, 3, BY, HERE, None, room=9, add=Totals(enqueued=5))
    assert (await totals(mover)).enqueued == 0


async def test_room_is_made_once_and_before_all(mover: MovingStore) -> None:
    await Producer(mover).put("a", spec("lifo", lifo=True))
    first = await mover.authority(Q, 1, BY, ARRIVING, FAR, room=50)
    again = await mover.authority(Q, 1, BY, ARRIVING, FAR, room=50)
    resumed = await mover.authority(Q, 2, BY, ARRIVING, FAR)
    assert first.base == again.base == resumed.base
    assert first.base + 50 <= min((await look(mover, "a")).place, (await look(mover, "lifo")).place)


async def test_what_goes_before_all_goes_before_the_room_too(mover: MovingStore) -> None:
    await Producer(mover).put("a")
    coming = await arrive(mover, room=2)
    await mover.enqueue(Q, [spec("lifo", lifo=True), spec("later")], Actor().op(), asked=True)
    await coming.take(coming.parcel("m1"), coming.parcel("m2"))
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["lifo", "m1", "m2", "a", "later"]


async def test_a_second_room_is_before_the_first(mover: MovingStore) -> None:
    first = await mover.authority(Q, 1, BY, ARRIVING, FAR, room=50)
    await mover.authority(Q, 2, BY, HERE, None)
    second = await mover.authority(Q, 3, BY, ARRIVING, FAR, room=20)
    assert second.base + 20 <= first.base


async def test_the_mark_parts_old_places_from_new_ones(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b")
    worker = Worker(mover)
    a = await worker.take("a")
    leaving = await leave(harness, mover)
    await worker.end(a, Kind.RETRY)
    mark = leaving.standing.mark
    assert (await look(mover, "b")).place <= mark < (await look(mover, "a")).place
    assert (await mover.authority(Q, 2, BY, MOVING, FAR)).mark == mark
    assert (await mover.authority(Q, 3, BY, GONE, FAR)).mark == mark


async def test_a_given_back_job_is_on_the_old_side_of_the_mark(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b")
    worker = Worker(mover)
    a = await worker.take("a")
    leaving = await leave(harness, mover)
    await worker.end(a, Kind.RELEASED)
    assert (await look(mover, "a")).place <= leaving.standing.mark


async def test_a_queue_with_jobs_out_does_not_come_home(harness: Harness, mover: MovingStore) -> None:
    """They would be on no line for ever."""
    await Producer(mover).put("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    with pytest.raises(Conflict):
        await mover.authority(Q, 2, BY, HERE, None)
    assert (await mover.conf(Q)).home is MOVING
    assert await leaving.restore() == 1
    await leaving.go(HERE, None)
    assert names(await Worker(mover).claim()) == ["a"]


@pytest.mark.parametrize("verb", ["checkout", "import_batch", "confirm", "restore", "unhold"])
@pytest.mark.parametrize("epoch", [4, 6])
async def test_verbs_of_another_movers_epoch_have_no_effect(
    harness: Harness, mover: MovingStore, verb: str, epoch: int
) -> None:
    await Producer(mover).put("a", "b")
    coming = await arrive(mover, epoch=4)
    await coming.take(coming.parcel("held", State.ACTIVE))
    leaving = await leave(harness, mover, epoch=5)
    await leaving.out(1)
    before = await counted(mover), await mover.get(Q, ["a", "b", "held"]), await mover.journal(Q)

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "checkout": lambda: mover.checkout(Q, epoch, 1, 10),
        "import_batch": lambda: mover.import_batch(Q, epoch, 9, [coming.parcel("new")], [], b"n"),
        "confirm": lambda: mover.confirm(Q, epoch, 1, ["a", "b"]),
        "restore": lambda: mover.restore(Q, epoch, 1),
        "unhold": lambda: mover.unhold(Q, epoch),
    }
    with pytest.raises(Conflict):
        await calls[verb]()

    assert (await counted(mover), await mover.get(Q, ["a", "b", "held"]), await mover.journal(Q)) == before


async def test_an_opened_queue_wakes_its_workers(contended: None, open_store: Open, mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"))
    assert await woken(mover, await open_store(), lambda _: coming.go()) == [Q]
    assert names(await Worker(mover).claim()) == ["a"]


async def test_workers_hear_that_their_queue_leaves(contended: None, open_store: Open, mover: MovingStore) -> None:
    assert await woken(mover, await open_store(), lambda _: mover.authority(Q, 1, BY, MOVING, FAR)) == [Q]


# ---- control


@pytest.mark.parametrize(("home", "to"), AWAY)
async def test_a_queue_that_leaves_is_not_configured(mover: MovingStore, home: Home, to: str) -> None:
    await set_limits(mover, max_size=3)
    await mover.authority(Q, 1, BY, home, to)
    before = await mover.conf(Q)
    with pytest.raises(Moved) as moved:
        await set_limits(mover, max_size=9)
    assert moved.value.to == to
    assert await mover.conf(Q) == before


@pytest.mark.parametrize(("home", "to"), [(ARRIVING, FAR), (HERE, FAR)])
async def test_a_queue_that_comes_is_configured(mover: MovingStore, home: Home, to: str) -> None:
    await mover.authority(Q, 3, BY, home, to)
    conf = await mover.configure(Q, dataclasses.replace(await mover.conf(Q), declared=Limits(max_size=9)))
    assert (conf.declared.max_size, conf.home, conf.to, conf.epoch) == (9, home, to, 3)
    assert await mover.conf(Q) == conf


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("home", "to"), UNSETTLED)
async def test_a_queue_on_the_move_is_not_obliterated(mover: MovingStore, home: Home, to: str, force: bool) -> None:
    await Producer(mover).put("a")
    await mover.authority(Q, 1, BY, home, to)
    with pytest.raises(Conflict):
        await mover.obliterate(Q, force=force)
    assert await counted(mover) == {State.WAITING: 1}
    assert (await mover.conf(Q)).home is home


async def test_an_obliterated_queue_that_left_still_points_to_where_it_went(mover: MovingStore) -> None:
    await set_limits(mover, max_size=3)
    await Producer(mover).put("a", "b")
    await mover.authority(Q, 7, BY, GONE, FAR)
    gone = 0
    more = True
    while more:
        removed, more = await mover.obliterate(Q, limit=1)
        gone += removed
    conf = await mover.conf(Q)
    assert (gone, conf.home, conf.to, conf.epoch, conf.effective.max_size) == (2, GONE, FAR, 7, None)
    assert await mover.queues() == [Q]
    with pytest.raises(Moved):
        await Producer(mover).put("a")
    with pytest.raises(Conflict):
        await mover.authority(Q, 6, BY, HERE, None)


async def test_a_queue_may_come_back_where_it_was_obliterated(mover: MovingStore) -> None:
    await Producer(mover).put("a")
    await mover.authority(Q, 7, BY, GONE, FAR)
    await mover.obliterate(Q)
    coming = await arrive(mover, epoch=8)
    assert await coming.take(coming.parcel("a", body=b"back")) == []
    await coming.go(HERE, None)
    assert (await Worker(mover).take("a")).body == b"back"


async def test_a_pause_is_told_and_stays_while_a_queue_moves(mover: MovingStore) -> None:
    await set_limits(mover, paused="night")
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"))
    await coming.go(HERE, None)
    reply = await Worker(mover).exchange((), 1)
    assert (reply.claims, reply.paused) == ([], "night")


async def test_what_is_over_is_pruned_while_a_queue_leaves(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put(spec("a", expires_in=MINUTE), "b")
    await leave(harness, mover)
    await harness.advance(2 * MINUTE)
    assert await mover.prune(Q) == (0, False)
    assert await listed(mover, State.CANCELLED) == ["a"]
    assert await mover.prune(Q, state=State.WAITING) == (1, False)
    assert await counted(mover) == {State.CANCELLED: 1}


async def test_other_queues_go_on(harness: Harness, mover: MovingStore) -> None:
    await leave(harness, mover)
    await Producer(mover, "still").put("a")
    assert names(await Worker(mover, "still").claim()) == ["a"]
    assert (await mover.conf("still")).epoch == 0


async def test_two_movers_at_once_have_one_winner(contended: None, open_store: Open, mover: MovingStore) -> None:
    async def claim(by: str) -> bool:
        try:
            await mover.authority(Q, 3, by, MOVING, by)
        except Conflict:
            return False
        return True

    await quiet(mover)
    won = await asyncio.wait_for(asyncio.gather(*(claim(f"m{n}") for n in range(4))), max(SOON, LONG / 1000))
    assert sum(won) == 1
    assert (await mover.conf(Q)).to == f"m{won.index(True)}"
