"""Schedules of a queue that moves: nothing fires while it does, and each slot is one side's; where the store can."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from queuekit.domain.job import UniqueKey
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import NoFire, ScheduleRecord
from queuekit.errors import Conflict, Moved, PayloadTooLarge
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import woken
from queuekit.testing.conformance.slots import due, fire, firing, kept, now, read, schedule, titles
from queuekit.testing.conformance.transit import ARRIVING, BY, FAR, GONE, HERE, Pair, arrive, leave, settled_down
from queuekit.testing.conformance.words import HOUR, Q, Worker, counted, names, spec


async def refused(store: SchedulingStore, record: ScheduleRecord, to: str | None = FAR) -> None:
    """Everything that changes a schedule is refused, and says where the queue is."""
    before = await store.schedules(Q)
    for call in (
        store.put_schedule(Q, dataclasses.replace(record, definition=b"another")),
        store.put_schedule(Q, schedule("new")),
        store.delete_schedule(Q, record.id),
        store.delete_schedule(Q, "none"),
        store.fire(Q, [firing(record, "a", next_at=9)]),
    ):
        with pytest.raises(Moved) as told:
            await call
        assert told.value.to == to
    answer = await store.due(Q)
    assert (answer.records, answer.next_at) == ([], None)
    assert (await store.schedules(Q), await store.get_schedules(Q, ["a"])) == (before, [None])


async def test_nothing_fires_while_a_queue_leaves(
    harness: Harness, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    record = await kept(scheduling, next=5)
    leaving = await leave(harness, mover)
    await refused(scheduling, record)
    assert await scheduling.schedules(Q) == await scheduling.get_schedules(Q, ["s"]) == [record]
    await leaving.go(HERE, None)
    assert await due(scheduling) == ["s"]
    assert (await fire(scheduling, record, "a", next_at=9)).no is None
    assert names(await Worker(scheduling).claim(9)) == ["a"]


async def test_nothing_fires_while_a_queue_arrives(mover: MovingStore, scheduling: SchedulingStore) -> None:
    """Its schedules stand in both stores: in this one they fire as soon as it opens."""
    coming = await arrive(mover)
    await scheduling.take_schedules(Q, 1, [schedule(next=5, rev=3), schedule("t", rev=4)])
    await refused(scheduling, await read(scheduling))
    await coming.go()
    assert await due(scheduling) == ["s"]
    assert (await fire(scheduling, await read(scheduling), "a", next_at=9)).no is None
    assert await counted(mover) != {}


async def test_a_queue_that_is_gone_has_no_schedules(
    harness: Harness, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    record = await kept(scheduling, next=5)
    other = await kept(scheduling, queue="other")
    leaving = await leave(harness, mover)
    await settled_down(harness, await leaving.go(GONE))
    await refused(scheduling, record)
    assert (await scheduling.schedules(Q), await scheduling.get_schedules(Q, ["s"])) == ([], [None])
    assert await scheduling.schedules("other") == [other]
    coming = await arrive(mover, epoch=5)
    await coming.go(HERE, None)
    assert (await scheduling.schedules(Q), await due(scheduling)) == ([], [])
    await kept(scheduling)


async def test_an_open_queue_fires_though_jobs_still_come(mover: MovingStore, scheduling: SchedulingStore) -> None:
    coming = await arrive(mover)
    await coming.go()
    record = await kept(scheduling, next=5)
    record = await scheduling.put_schedule(Q, dataclasses.replace(record, definition=b"another"))
    assert (await fire(scheduling, record, "a", next_at=6)).no is None
    assert await scheduling.delete_schedule(Q, "s") is True
    assert names(await Worker(scheduling).claim(9)) == ["a"]


async def test_a_unique_key_waits_until_all_jobs_came(
    able: MovingStore, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    """A job that is still to come may hold it. The others of the call are fired."""
    coming = await arrive(mover)
    await coming.go()
    one, two = await kept(scheduling, "one", next=5), await kept(scheduling, "two", next=5)
    keyed = firing(one, "a", spec("b", unique=UniqueKey("k")), next_at=6)
    answers = await scheduling.fire(Q, [keyed, firing(two, "c", next_at=6)])
    assert [answer.no for answer in answers] == [NoFire.LATER, None]
    assert (await read(scheduling, "one"), await due(scheduling)) == (one, ["one", "two"])
    assert await mover.get(Q, ["a", "b"]) == [None, None]
    await coming.go(HERE, None)
    (answer,) = await scheduling.fire(Q, [keyed])
    assert [receipt.created for receipt in answer.receipts] == [True, True]


async def test_schedules_are_taken_as_they_are(mover: MovingStore, scheduling: SchedulingStore) -> None:
    coming = await arrive(mover)
    whole = schedule("b", queue="elsewhere", definition=bytes(range(256)), rev=7, next=2**42, fired=3, skipped=4)
    records = [whole, schedule("a", rev=2, last_job="a@1", next=None)]
    for _ in range(2):
        await scheduling.take_schedules(Q, 1, records)
    kept_now = await scheduling.schedules(Q)
    assert kept_now == [records[1], dataclasses.replace(whole, queue=Q)]
    await scheduling.take_schedules(Q, 1, [])
    await coming.go(HERE, None)
    assert (await scheduling.schedules(Q), (await scheduling.due(Q)).next_at) == (kept_now, 2**42)


async def test_of_two_records_of_a_schedule_the_later_one_stays(
    mover: MovingStore, scheduling: SchedulingStore
) -> None:
    await arrive(mover)
    for rev, stays in ((5, 5), (4, 5), (5, 5), (6, 6), (1, 6)):
        record = schedule(rev=rev, definition=b"%d %d" % (rev, stays), next=rev, fired=rev)
        await scheduling.take_schedules(Q, 1, [record, schedule("t", rev=1)])
        assert (await read(scheduling)).rev == (await read(scheduling)).next == stays
    assert (await read(scheduling)).definition == b"6 6"


async def test_a_schedule_taken_from_a_store_whose_clock_is_ahead_goes_on(
    mover: MovingStore, scheduling: SchedulingStore
) -> None:
    ahead = await now(scheduling) + HOUR
    coming = await arrive(mover)
    await scheduling.take_schedules(Q, 1, [schedule(rev=ahead, next=1)])
    await coming.go(HERE, None)
    assert (await fire(scheduling, await read(scheduling), "a", next_at=2)).no is None
    record = await read(scheduling)
    assert record.rev > ahead
    assert (await scheduling.put_schedule(Q, record)).rev > record.rev


async def test_schedules_are_taken_of_the_last_mover_only(mover: MovingStore, scheduling: SchedulingStore) -> None:
    """A call that comes late brings back nothing that was deleted after the queue opened."""
    coming = await arrive(mover)
    record = schedule(rev=3, next=5)
    await scheduling.take_schedules(Q, 1, [record])
    await coming.go(HERE, None)
    assert await scheduling.delete_schedule(Q, "s") is True
    for epoch in (0, 1, 3):
        with pytest.raises(Conflict):
            await scheduling.take_schedules(Q, epoch, [record])
    assert await scheduling.schedules(Q) == []


async def test_a_definition_too_large_for_this_store_is_not_taken(
    open_store: Open, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    small = cast("SchedulingStore", await open_store(payload_limit=1000))
    await arrive(mover)
    with pytest.raises(PayloadTooLarge):
        await small.take_schedules(Q, 1, [schedule("a", rev=1), schedule("b", rev=1, definition=b"x" * 2001)])
    assert await small.schedules(Q) == []


async def test_schedules_taken_by_an_open_queue_wake_its_workers(
    contended: None, open_store: Open, mover: MovingStore, scheduling: SchedulingStore
) -> None:
    await mover.authority(Q, 1, BY, Home.HERE, None)
    other = cast("SchedulingStore", await open_store())
    assert await woken(mover, other, lambda _: other.take_schedules(Q, 1, [schedule(rev=1, next=2**42)])) == [Q]


async def test_no_slot_is_lost_or_fired_twice_by_a_move_that_turns_round(
    pair: Pair, scheduling: SchedulingStore
) -> None:
    """The first move ends before the target opens, the second goes through: each record is one side's at a time."""
    source, target = cast("SchedulingStore", pair.source), cast("SchedulingStore", pair.target)
    for name in "ab":
        await kept(source, name, next=5)
    assert (await fire(source, await read(source, "a"), "a5", next_at=6)).no is None
    leaving = await leave(pair.harness, pair.source)
    coming = await arrive(pair.target)
    await target.take_schedules(Q, coming.epoch, await source.schedules(Q))
    await settled_down(pair.harness, await coming.go(GONE))
    await leaving.go(HERE, None)
    assert await due(source) == ["b", "a"]
    assert (await fire(source, await read(source, "b"), "b5", next_at=7)).no is None

    leaving = await leave(pair.harness, pair.source, epoch=leaving.epoch + 1)
    coming = await arrive(pair.target, epoch=coming.epoch + 1)
    moved = await source.schedules(Q)
    await target.take_schedules(Q, coming.epoch, moved)
    await coming.go(ARRIVING)
    await settled_down(pair.harness, await leaving.go(GONE))
    await coming.go()
    assert (await source.schedules(Q), await target.schedules(Q)) == ([], moved)
    assert [(r.id, r.next, r.fired, r.last_job) for r in moved] == [("a", 6, 1, "a5"), ("b", 7, 1, "b5")]
    assert titles((await target.due(Q)).records) == ["a", "b"]
    assert (await fire(target, moved[0], "a6", next_at=8)).no is None
    assert (await fire(target, moved[0], "a6", next_at=8)).no is NoFire.CHANGED
