"""Schedules: put, delete, read, and which are due; where the store has the part. Firing is `schedules_fire`."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from queuekit.domain.schedule import NoFire
from queuekit.errors import Conflict, PayloadTooLarge
from queuekit.store.parts import SchedulingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import woken
from queuekit.testing.conformance.slots import due, fire, kept, now, read, schedule, titles
from queuekit.testing.conformance.words import HOUR, MINUTE, Producer, Q, set_limits, specs, tidy

END_OF_TIME = 253_402_300_799_999  # the last ms of the year 9999


async def test_a_schedule_is_kept_as_it_was_put(open_store: Open, scheduling: SchedulingStore) -> None:
    moment = await now(scheduling)
    whole = schedule(
        definition=bytes(range(256)), next=END_OF_TIME, fired=7, skipped=2**40, last_job="digest@2026-11-22T09:00:00Z"
    )
    first = await scheduling.put_schedule(Q, whole)
    bare = await kept(scheduling, "bare", definition=b"")
    assert first == replace(whole, rev=first.rev)
    assert min(first.rev, bare.rev) >= moment
    assert whole.rev == 0
    other = cast("SchedulingStore", await open_store())
    assert await other.get_schedules(Q, ["none", "s", "bare", "s"]) == [None, first, bare, first]
    assert await other.schedules(Q) == [bare, first]
    first.definition = b"changed"
    assert (await read(scheduling)).definition == bytes(range(256))


async def test_each_write_gives_a_higher_rev(harness: Harness, scheduling: SchedulingStore) -> None:
    revs = [(await kept(scheduling)).rev]
    for n in range(3):
        record = await read(scheduling)
        revs.append((await scheduling.put_schedule(Q, replace(record, next=n))).rev)
        await fire(scheduling, await read(scheduling), f"j{n}")
        revs.append((await read(scheduling)).rev)
    assert revs == sorted(set(revs))
    await harness.advance(HOUR)
    moment = await now(scheduling)
    assert (await scheduling.put_schedule(Q, await read(scheduling))).rev >= moment > revs[-1]


async def test_a_put_of_what_somebody_changed_is_refused(scheduling: SchedulingStore) -> None:
    with pytest.raises(Conflict):
        await kept(scheduling, rev=5)
    first = await kept(scheduling)
    second = await scheduling.put_schedule(Q, replace(first, definition=b"second"))
    for late in (replace(first, definition=b"late"), replace(second, definition=b"late", rev=second.rev + 1)):
        with pytest.raises(Conflict):
            await scheduling.put_schedule(Q, late)
    with pytest.raises(Conflict):
        await kept(scheduling, definition=b"new")
    assert await scheduling.schedules(Q) == [second]


async def test_a_put_whose_answer_was_lost_is_answered_again(open_store: Open, scheduling: SchedulingStore) -> None:
    other = cast("SchedulingStore", await open_store())
    first = await kept(scheduling, next=1)
    assert await kept(other, next=1) == first
    edit = replace(first, definition=b"edit", next=None)
    second = await scheduling.put_schedule(Q, edit)
    assert await other.put_schedule(Q, edit) == second
    assert await read(scheduling) == second


@pytest.mark.parametrize("between", ["fired", "edited", "deleted"])
async def test_a_put_that_comes_again_after_another_write_is_refused(scheduling: SchedulingStore, between: str) -> None:
    """It would undo what came between."""
    edit = replace(await kept(scheduling, next=1), definition=b"edit", next=2)
    record = await scheduling.put_schedule(Q, edit)
    if between == "fired":
        assert (await fire(scheduling, record, "a", next_at=3)).no is None
    elif between == "edited":
        await scheduling.put_schedule(Q, replace(record, definition=b"edited"))
    else:
        assert await scheduling.delete_schedule(Q, "s")
    before = await scheduling.schedules(Q)
    with pytest.raises(Conflict):
        await scheduling.put_schedule(Q, edit)
    assert await scheduling.schedules(Q) == before


async def test_a_schedule_is_deleted_once_and_by_who_knows_it(scheduling: SchedulingStore) -> None:
    assert await scheduling.delete_schedule(Q, "s") is False
    assert await scheduling.delete_schedule(Q, "s", 5) is False
    first = await kept(scheduling)
    second = await scheduling.put_schedule(Q, replace(first, definition=b"second"))
    with pytest.raises(Conflict):
        await scheduling.delete_schedule(Q, "s", first.rev)
    assert await read(scheduling) == second
    assert [await scheduling.delete_schedule(Q, "s", second.rev) for _ in range(2)] == [True, False]
    await kept(scheduling)
    assert await scheduling.delete_schedule(Q, "s") is True
    assert await scheduling.schedules(Q) == []


async def test_a_schedule_deleted_and_put_again_is_another_one(scheduling: SchedulingStore) -> None:
    """However soon, and with a rev ahead of the clock: who knows an old one neither fires nor changes the new."""
    other = await kept(scheduling, "other")
    await scheduling.take_schedules(Q, 0, [schedule(rev=await now(scheduling) + HOUR, next=1)])
    old = [await read(scheduling)]
    for _ in range(4):
        old.append(await scheduling.put_schedule(Q, replace(old[-1], next=1)))
    assert await scheduling.delete_schedule(Q, "s")
    new = await kept(scheduling, next=1)
    assert new.rev > old[-1].rev
    for record in old:
        assert (await fire(scheduling, record, "a")).no is NoFire.CHANGED
        with pytest.raises(Conflict):
            await scheduling.delete_schedule(Q, "s", record.rev)
        with pytest.raises(Conflict):
            await scheduling.put_schedule(Q, replace(record, next=2))
    assert await scheduling.schedules(Q) == [other, new]


async def test_schedules_of_two_queues_and_namespaces_do_not_meet(
    open_store: Open, scheduling: SchedulingStore
) -> None:
    far = cast("SchedulingStore", await open_store(suffix="x"))
    here = await kept(scheduling, next=1)
    there = await kept(scheduling, queue="other", definition=b"other", next=END_OF_TIME)
    away = await kept(far, definition=b"far")
    assert (here.queue, there.queue, away.queue) == (Q, "other", Q)
    assert await scheduling.delete_schedule("other", "t") is False
    assert await far.delete_schedule(Q, "s") is True
    assert (await scheduling.schedules(Q), await scheduling.schedules("other")) == ([here], [there])
    assert (await due(scheduling), await due(scheduling, queue="other"), await far.schedules(Q)) == (["s"], [], [])


async def test_schedules_are_listed_by_id_in_pages(scheduling: SchedulingStore) -> None:
    ids = [
        "a",
        "B",
        "a.b",
        "$x",
        "{k}",
        "a/b:c",
        'quote"\\',
        "ключ",
        "\U0001f552",
        "ｚ",
        "line\nbreak",
        "nul\x00",
        "x" * 500,
    ]
    for name in ids:
        await kept(scheduling, name, next=5)
    ids.sort(key=str.encode)
    assert titles(await scheduling.schedules(Q)) == ids
    found, after = list[str](), ""
    while page := titles(await scheduling.schedules(Q, after, 4)):
        assert len(page) <= 4
        found += page
        after = page[-1]
    assert found == ids
    assert titles(await scheduling.schedules(Q, "a", 1)) == ["a.b"]
    assert await due(scheduling) == ids
    assert [await scheduling.delete_schedule(Q, name) for name in ids] == [True] * len(ids)


async def test_answers_stay_small_where_definitions_are_large(open_store: Open, scheduling: SchedulingStore) -> None:
    large = cast("SchedulingStore", await open_store(payload_limit=3 * 1024 * 1024))
    sizes = {"a": 3_000_000, "b": 1_000_000, "c": 1_000_000, "d": 6_000_000}
    for name, size in sizes.items():
        await kept(large, name, next=7, definition=b"x" * size)
    pages = [titles(await large.schedules(Q, after)) for after in ("", "b", "c", "d")]
    assert pages == [["a", "b"], ["c"], ["d"], []]
    answer = await large.due(Q)
    assert (titles(answer.records), answer.next_at) == (["a", "b"], 7)
    assert len((await read(large, "d")).definition) == sizes["d"]


async def test_a_definition_over_the_limit_is_refused(open_store: Open, scheduling: SchedulingStore) -> None:
    small = cast("SchedulingStore", await open_store(payload_limit=1000))
    first = await kept(small, definition=b"x" * 2000)
    for late in (schedule("t", definition=b"x" * 2001), replace(first, definition=b"x" * 2001)):
        with pytest.raises(PayloadTooLarge):
            await small.put_schedule(Q, late)
    assert await small.schedules(Q) == [first]


async def test_schedules_whose_next_has_come_are_due_in_order(harness: Harness, scheduling: SchedulingStore) -> None:
    moment = await now(scheduling)
    slots = {"b": moment - 5, "a": moment - 5, "c": moment - HOUR, "d": moment + MINUTE, "e": None, "f": moment + HOUR}
    for name, slot in slots.items():
        await kept(scheduling, name, next=slot)
    answer = await scheduling.due(Q)
    assert (titles(answer.records), answer.next_at) == (["c", "a", "b"], moment + MINUTE)
    assert answer.records == [await read(scheduling, name) for name in "cab"]
    await harness.advance(2 * MINUTE)
    assert await due(scheduling) == ["c", "a", "b", "d"]
    answer = await scheduling.due(Q, 3)
    assert (titles(answer.records), answer.next_at) == (["c", "a", "b"], moment + MINUTE)
    answer = await scheduling.due(Q, 0)
    assert (answer.records, answer.next_at) == ([], moment - HOUR)
    await harness.advance(HOUR)
    answer = await scheduling.due(Q)
    assert (titles(answer.records), answer.next_at) == (["c", "a", "b", "d", "f"], None)
    assert answer.now >= moment + HOUR


async def test_who_is_due_follows_each_write(scheduling: SchedulingStore) -> None:
    record = await kept(scheduling, next=END_OF_TIME)
    assert (await scheduling.due(Q)).next_at == END_OF_TIME
    record = await scheduling.put_schedule(Q, replace(record, next=1))
    assert await due(scheduling) == ["s"]
    record = await scheduling.put_schedule(Q, replace(record, next=None))
    assert await due(scheduling) == []
    assert (await scheduling.due(Q)).next_at is None
    record = await scheduling.put_schedule(Q, replace(record, next=2))
    assert (await fire(scheduling, record, next_at=3)).no is None
    assert [one.next for one in (await scheduling.due(Q)).records] == [3]
    assert await scheduling.delete_schedule(Q, "s")
    answer = await scheduling.due(Q)
    assert (answer.records, answer.next_at) == ([], None)


async def test_a_put_schedule_wakes_a_waiting_worker(
    contended: None, open_store: Open, scheduling: SchedulingStore
) -> None:
    """Whoever waits for the next slot has another one now."""
    other = cast("SchedulingStore", await open_store())
    await kept(scheduling, "older")
    assert await woken(scheduling, other, lambda _: kept(other, next=END_OF_TIME)) == [Q]


async def test_reading_schedules_makes_no_queue(scheduling: SchedulingStore) -> None:
    answer = await scheduling.due(Q)
    assert (answer.records, answer.next_at) == ([], None)
    assert (await scheduling.schedules(Q), await scheduling.get_schedules(Q, ["s"])) == ([], [None])
    assert await scheduling.get_schedules(Q, []) == []
    assert await scheduling.delete_schedule(Q, "s") is False
    assert await scheduling.queues() == []


async def test_a_queue_may_have_nothing_but_schedules(scheduling: SchedulingStore) -> None:
    record = await kept(scheduling, next=1)
    assert await tidy(scheduling) == 0
    assert await scheduling.queues() == [Q]
    assert await scheduling.schedules(Q) == [record]
    await set_limits(scheduling, paused="night")
    assert await due(scheduling) == ["s"]


async def test_schedules_go_with_an_obliterated_queue(scheduling: SchedulingStore) -> None:
    """With the first call: one that is left would make jobs until the last."""
    other = await kept(scheduling, queue="other")
    for jobs in (0, 3):
        record = await kept(scheduling, next=1)
        await Producer(scheduling).put(*specs(f"j{n}" for n in range(jobs)))
        assert await scheduling.obliterate(Q, limit=2) == (min(jobs, 2), jobs > 2)
        assert await scheduling.schedules(Q) == []
        assert await due(scheduling) == []
        assert (await fire(scheduling, record, "a")).no is NoFire.CHANGED
    assert await scheduling.obliterate(Q) == (1, False)
    assert await scheduling.schedules("other") == [other]
    assert await scheduling.queues() == ["other"]
