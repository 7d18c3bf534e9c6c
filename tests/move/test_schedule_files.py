"""Schedules in an export: all that is kept of them, behind the jobs they made, and never over one that is there."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast

import pytest

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Op
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.domain.timetable.cadence import LAST_MOMENT
from queuekit.errors import PayloadTooLarge, Unsupported
from queuekit.move.exporter import export
from queuekit.move.importer import Planned, compare_schedules
from queuekit.move.lines import Damaged
from queuekit.testing.model import ModelStore, ModelWorld
from tests.move.sim import Clock
from tests.move.test_files import Fragile, Killed, Text, bring, exported, resummed
from tests.move.test_schedules import Without

Q, OTHER = "mail", "empty"


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store(clock: Clock) -> ModelStore:
    return ModelStore(ModelWorld(clock.now))


async def filled(clock: Clock) -> ModelStore:
    """A queue with jobs, one of which a slot made, and one with only a schedule."""
    made = store(clock)
    await made.enqueue(Q, [JobSpec(id=f"j{n}", task="t", body=b"") for n in range(5)], Op("p", 1))
    digest = await made.put_schedule(Q, _record("digest", next=clock.ms))
    jobs = (JobSpec(id=f"digest@{clock.ms}", task="t", body=b""),)
    await made.fire(Q, [Firing(id="digest", rev=digest.rev, next_at=clock.ms + 1000, jobs=jobs, skipped=3)])
    await made.put_schedule(Q, _record("paused", next=None, definition=b"\xff\x00"))
    await made.put_schedule(OTHER, _record("alone", queue=OTHER))
    return made


def _record(name: str, **said: Any) -> ScheduleRecord:
    return ScheduleRecord(**{"id": name, "queue": Q, "definition": b'{"every":"5m"}', "next": Clock().ms + 500, **said})


async def test_schedules_go_through_a_file_and_come_back_as_they_were(clock: Clock) -> None:
    one, two = await filled(clock), store(clock)
    text, done = await exported(one)
    assert (done.schedules, done.changed, json.loads(text.all[0])["header"]["v"]) == (3, [], 2)
    assert text.contents.schedules == {OTHER: 1, Q: 2}
    took = await bring(two, text)
    assert took.agrees
    assert took.schedules == Planned(new=3)
    for queue in (Q, OTHER):
        assert await two.schedules(queue) == await one.schedules(queue)
    clock.ms += 10_000  # a slot that came meanwhile is late, and due
    assert [record.id for record in (await two.due(Q)).records] == ["digest"]


async def test_a_file_without_schedules_is_one_that_every_queuekit_reads(clock: Clock) -> None:
    one = await filled(clock)
    for how in ({"schedules": False}, {"states": tuple(State)}, {"states": [State.WAITING]}):
        text, done = await exported(one, **how)
        assert (done.schedules, json.loads(text.all[0])["header"]["v"]) == (0, 1)
        assert not any(b'{"schedule"' in line for line in text.all)
        assert "schedules" not in json.loads(text.all[-1])["end"]
    for queue in (Q, OTHER):
        for record in await one.schedules(queue):
            await one.delete_schedule(queue, record.id)
    assert json.loads((await exported(one))[0].all[0])["header"]["v"] == 1


async def test_only_the_schedules_of_chosen_queues(clock: Clock) -> None:
    one, two, three = await filled(clock), store(clock), store(clock)
    text, done = await exported(one, queues=[OTHER])
    assert done.schedules == 1
    text, _ = await exported(one)
    assert (await bring(two, text, queues=[OTHER])).schedules == Planned(new=1)
    assert (await two.schedules(Q), len(await two.schedules(OTHER))) == ([], 1)
    assert (await bring(three, text, schedules=False)).schedules == Planned()
    assert await three.schedules(Q) == []


async def test_a_schedule_that_is_there_stays(clock: Clock) -> None:
    one, two = await filled(clock), store(clock)
    text, _ = await exported(one)
    other = await two.put_schedule(Q, _record("digest", definition=b"another"))
    found = await compare_schedules(two, text, text.contents)
    assert found == {OTHER: Planned(new=1), Q: Planned(new=1, differ=["mail/digest"])}
    took = await bring(two, text)
    assert took.schedules == Planned(new=2, differ=["mail/digest"])
    assert not took.agrees
    assert await two.get_schedules(Q, ["digest"]) == [other]


async def test_a_second_import_neither_adds_a_schedule_nor_sets_one_back(clock: Clock) -> None:
    one, two = await filled(clock), store(clock)
    text, _ = await exported(one)
    await bring(two, text)
    clock.ms += 10_000
    (record,) = await two.get_schedules(Q, ["digest"])
    assert record is not None
    await two.fire(Q, [Firing(id="digest", rev=record.rev, next_at=clock.ms + 1)])
    before = await two.schedules(Q)
    took = await bring(two, text)
    assert took.agrees
    assert took.schedules == Planned(same=3)
    assert await two.schedules(Q) == before


async def test_an_import_killed_at_any_call_ends_with_every_schedule_once(clock: Clock) -> None:
    text, _ = await exported(await filled(clock))
    whole = Fragile(store(clock), 0, after=False)
    await bring(cast("Any", whole), text)
    calls = -whole.left
    for at, after in [(at, after) for at in range(1, calls + 1) for after in (False, True)]:
        two = store(clock)
        with pytest.raises(Killed):
            await bring(cast("Any", Fragile(two, at, after=after)), text)
        took = await bring(two, text)
        assert took.agrees
        assert [one.id for one in await two.schedules(Q)] == ["digest", "paused"], (at, after)
        assert len(await two.schedules(OTHER)) == 1, (at, after)


async def test_a_slot_that_fires_while_it_is_exported_makes_its_job_once(clock: Clock) -> None:
    one, two = await filled(clock), store(clock)
    clock.ms += 1000

    text = Text()

    class Between:
        """A scheduler fires between the look at the schedules and the one at the jobs."""

        def __getattr__(self, name: str) -> Any:
            return getattr(one, name)

        async def find(self, queue: str, where: Any) -> Any:
            (record,) = await one.get_schedules(Q, ["digest"])
            if record is not None and record.fired == 1:
                jobs = (JobSpec(id=f"digest@{record.next}", task="t", body=b""),)
                firing = Firing(id="digest", rev=record.rev, next_at=clock.ms + 5000, jobs=jobs)
                await one.fire(Q, [firing])
            return await one.find(queue, where)

    done = await export(cast("Any", Between()), text.write, namespace="t", queues=[Q])
    assert done.changed == [Q]
    await bring(two, text)
    (due,) = (await two.due(Q)).records
    jobs = (JobSpec(id=f"digest@{due.next}", task="t", body=b""),)
    (fired,) = await two.fire(Q, [Firing(id="digest", rev=due.rev, next_at=None, jobs=jobs)])
    assert [receipt.created for receipt in fired.receipts] == [False]


async def test_a_schedule_that_was_written_meanwhile_is_told(clock: Clock) -> None:
    one = await filled(clock)

    class Meanwhile:
        def __getattr__(self, name: str) -> Any:
            return getattr(one, name)

        async def timed_keys(self, *args: Any) -> Any:
            await one.delete_schedule(Q, "paused")
            return await one.timed_keys(*args)

    _, done = await exported(cast("Any", Meanwhile()), queues=[Q])
    assert done.changed == [Q]


async def test_more_than_a_page_goes_through(clock: Clock) -> None:
    one, two = store(clock), store(clock)
    for n in range(1100):
        await one.put_schedule(Q, _record(f"s{n:04}", definition=b"x" * 50_000 if n % 50 == 0 else b"x"))
    text, done = await exported(one)
    assert (await bring(two, text)).schedules == Planned(new=1100)
    assert done.schedules == 1100
    assert await two.schedules(Q, limit=5000) == await one.schedules(Q, limit=5000)


async def test_a_store_that_keeps_no_schedules_refuses_the_file_before_any_of_it_comes_in(clock: Clock) -> None:
    text, _ = await exported(await filled(clock))
    two = store(clock)
    target = cast("Any", Without(two))
    with pytest.raises(Unsupported, match="keeps no schedules, and the file has some: --no-schedules"):
        await bring(target, text)
    assert await two.queues() == []
    assert await compare_schedules(target, text, text.contents) == {OTHER: Planned(new=1), Q: Planned(new=2)}
    assert (await bring(target, text, schedules=False)).jobs == 6
    _, done = await exported(target)
    assert done.schedules == 0


async def test_a_schedule_too_large_for_the_store_is_named_and_comes_in_later(clock: Clock) -> None:
    one = store(clock)
    await one.put_schedule(Q, _record("digest", definition=b"x" * 5000))
    text, _ = await exported(one)
    world = ModelWorld(clock.now)
    with pytest.raises(PayloadTooLarge, match=r"queue mail: schedule digest.*import again"):
        await bring(ModelStore(world, limit=1000), text)
    assert (await bring(ModelStore(world), text)).schedules == Planned(new=1)


async def test_what_a_store_does_not_give_back_is_damaged(clock: Clock) -> None:
    text, _ = await exported(await filled(clock))
    two = store(clock)

    class Garbling:
        def __getattr__(self, name: str) -> Any:
            return getattr(two, name)

        async def take_schedules(self, queue: str, epoch: int, records: list[ScheduleRecord]) -> None:
            await two.take_schedules(queue, epoch, [replace(one, skipped=9) for one in records if one.id != "alone"])

    took = await bring(cast("Any", Garbling()), text)
    assert took.damaged == ["empty/alone (schedule)", "mail/digest (schedule)", "mail/paused (schedule)"]
    assert not took.agrees


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"colour": 1}, "unknown field 'colour'"),
        ({"rev": -1}, "rev is -1, not a moment"),
        ({"rev": 0}, "rev is 0, not a moment"),  # none is stored
        ({"rev": 2**53 - 2}, "rev is 9007199254740990, not a moment before the year 9999"),
        ({"rev": 2**60}, "rev is .*, not a whole number below"),
        ({"rev": 1.5}, "rev is 1.5, not a whole number"),
        ({"next": -1}, "next is -1, not a moment"),
        ({"next": LAST_MOMENT + 1}, "next is 253370764800001, not a moment before the year 9999"),
        ({"next": "soon"}, "next is 'soon', not a whole number"),
        ({"definition": 5}, "definition is 5, not text"),
        ({"queue": "b"}, "of the queue 'b', but stands under empty"),
        ({"rev": None}, "rev is None"),
        ({"id": "mail/a"}, "schedule id"),  # no verb could name it, so that nobody could delete it
    ],
)
async def test_a_line_that_another_program_wrote_is_refused(clock: Clock, change: dict[str, Any], says: str) -> None:
    text, _ = await exported(await filled(clock))
    said = [json.loads(one) for one in text.all]
    (line,) = (n for n, one in enumerate(said) if one.get("schedule", {}).get("id") == "alone")
    said[line]["schedule"] |= change
    with pytest.raises(Damaged, match=f"^line {line + 1}: .*{says}"):
        Text(resummed([json.dumps(one).encode() for one in said])).contents  # noqa: B018


async def test_what_a_clock_far_ahead_wrote_comes_in(clock: Clock) -> None:
    one, two = store(clock), store(clock)
    clock.ms += 2 * 365 * 86_400_000
    await one.put_schedule(Q, _record("ahead", next=clock.ms))
    await one.put_schedule(Q, _record("last", next=LAST_MOMENT))
    text, _ = await exported(one)
    clock.ms -= 2 * 365 * 86_400_000
    assert (await bring(two, text)).schedules == Planned(new=2)
    assert await two.schedules(Q) == await one.schedules(Q)


@pytest.mark.parametrize("field", ["id", "definition", "rev"])
async def test_a_line_that_says_too_little_is_refused(clock: Clock, field: str) -> None:
    text, _ = await exported(await filled(clock))
    said = [json.loads(one) for one in text.all]
    (line,) = (n for n, one in enumerate(said) if one.get("schedule", {}).get("id") == "alone")
    del said[line]["schedule"][field]
    with pytest.raises(Damaged, match=f"^line {line + 1}: '{field}' is missing"):
        Text(resummed([json.dumps(one).encode() for one in said])).contents  # noqa: B018


async def test_a_schedule_left_out_with_new_sums_is_missed_at_the_end(clock: Clock) -> None:
    text, _ = await exported(await filled(clock))
    lines = [line for line in text.all if b'"alone"' not in line]
    with pytest.raises(Damaged, match="it tells of 3 schedules, and there are 2"):
        Text(resummed(lines)).contents  # noqa: B018
