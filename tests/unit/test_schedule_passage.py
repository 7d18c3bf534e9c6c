"""A schedule that changes its queue: at no moment do two fire, and whoever dies where, the next one goes on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.scheduled import STRANDED, Definition, Passage
from queuekit.errors import Conflict, InvalidOption, QueueFull
from queuekit.producing.access import Loop
from queuekit.producing.scheduling import declaring
from queuekit.producing.scheduling.finding import passing
from queuekit.store.direct import direct
from queuekit.testing import TestKit, VirtualClock
from queuekit.testing.model import ModelStore
from tests.unit.test_schedules import declare, fire_slot

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
WRITES = ("put_schedule", "delete_schedule")


class Died(BaseException):
    """A process that was killed: nothing catches it."""


class Version:
    """One version of an application, over the store of the others."""

    def __init__(self, world: TestKit, queue: str, every: str = "1h") -> None:
        self.kit = TestKit()  # a clock of its own: that of the world declares nothing when it goes on
        self.kit.world, self.kit.access = world.world, world.access

        @self.kit.task(queue=queue)
        def send(to: str = "team") -> None: ...

        self.kit.schedule("d", send.make(), every=every)


@pytest.fixture
def world() -> TestKit:
    return TestKit(clock=VirtualClock(NINE))


def records(world: TestKit) -> list[ScheduleRecord]:
    store = world.blocking_store()
    return [one for queue in direct(store.queues()) for one in direct(store.schedules(queue))]  # type: ignore[attr-defined]  # the model has the part


def alive(world: TestKit) -> list[str]:
    """Queues in which it fires."""
    return [one.queue for one in records(world) if one.next is not None and not passing(one)]


def dies(monkeypatch: pytest.MonkeyPatch, at: int, *, written: bool) -> list[str]:
    """Let the process die at its write number `at`, before or behind it; the writes it began."""
    begun: list[str] = []

    def deadly(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        real = getattr(ModelStore, name)

        async def call(self: ModelStore, *args: Any, **kwargs: Any) -> Any:
            begun.append(name)
            if len(begun) == at and not written:
                raise Died
            said = await real(self, *args, **kwargs)
            if len(begun) == at:
                raise Died
            return said

        return call

    for name in WRITES:
        monkeypatch.setattr(ModelStore, name, deadly(name))
    return begun


def dead(world: TestKit, monkeypatch: pytest.MonkeyPatch, at: int, *, written: bool) -> None:
    """A version that declares the queue `new` was started, and its process has died at its write number `at`."""
    with monkeypatch.context() as patch:
        dies(patch, at, written=written)
        with pytest.raises(Died):
            declare(Version(world, "new").kit, "new")


def begin(world: TestKit, *, paused: bool = False) -> ScheduleRecord:
    """One that has fired once, and whose second slot is due."""
    first = Version(world, "old")
    declare(first.kit)
    world.clock.travel(hours=1)
    fire_slot(first.kit, "d", NINE + timedelta(hours=2), "old")
    if paused:
        first.kit.schedules.pause("d", "night")
    world.clock.travel(minutes=61)
    return records(world)[0]


STEPS = 4  # writes of a passage


def test_a_declaration_for_another_queue_takes_its_schedule_along(world: TestKit) -> None:
    before = begin(world)
    new = Version(world, "new")
    assert declare(new.kit, "new").written == ["d"]
    (after,) = records(world)
    assert (after.queue, after.next, after.fired, after.last_job) == ("new", before.next, 1, before.last_job)
    assert Definition.load(after.definition).anchor == Definition.load(before.definition).anchor
    assert declare(new.kit, "new").unchanged == ["d"]


def test_a_passage_is_so_many_writes(world: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(world)
    begun = dies(monkeypatch, 0, written=False)
    declare(Version(world, "new").kit, "new")
    assert begun == ["put_schedule", "put_schedule", "delete_schedule", "put_schedule"]
    assert len(begun) == STEPS


@pytest.mark.parametrize("paused", [False, True], ids=["firing", "paused"])
@pytest.mark.parametrize("written", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_whoever_dies_where_nothing_fires_twice_and_the_next_one_goes_on(
    world: TestKit, monkeypatch: pytest.MonkeyPatch, step: int, written: bool, paused: bool
) -> None:
    before = begin(world, paused=paused)
    dead(world, monkeypatch, step, written=written)
    assert len(alive(world)) <= 1
    said = world.schedules.get("d")
    assert said is not None
    assert (said.next_at is None) == (alive(world) == [])
    next_one = Version(world, "new")
    declare(next_one.kit, "new")
    (after,) = records(world)
    assert (after.queue, after.next, after.fired) == ("new", before.next, 1)
    definition = Definition.load(after.definition)
    assert (definition.leaving, definition.coming) == (None, None)
    assert (definition.paused is not None) == paused


@pytest.mark.parametrize("written", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
@pytest.mark.parametrize("verb", ["pause", "fire", "put", "delete", "old version"])
def test_any_verb_goes_on_with_a_passage_somebody_left(
    world: TestKit, monkeypatch: pytest.MonkeyPatch, step: int, written: bool, verb: str
) -> None:
    before = begin(world)
    dead(world, monkeypatch, step, written=written)
    old = Version(world, "old")
    job = old.kit.tasks()["send"].using(queue=records(world)[-1].queue).make()
    if verb == "pause":
        assert world.schedules.pause("d")
    elif verb == "fire":
        assert world.schedules.fire("d").created
    elif verb == "delete":
        assert world.schedules.delete("d")
        assert records(world) == []
        return
    elif verb == "put":
        plain = TestKit(clock=world.clock)
        plain.world, plain.access = world.world, world.access
        with suppress(InvalidOption):  # it goes on, and is told that the queue belongs to the declaration
            plain.schedules.put("d", job, every="2h")
    else:
        declare(old.kit, "old")
    (after,) = records(world)
    assert after.fired == 1
    if verb == "old version":
        assert (after.queue, after.next) == ("old", before.next)
    elif verb == "pause":
        assert after.next is None
    elif verb == "fire":
        assert after.next == before.next


def test_one_that_is_there_already_stays_and_the_other_is_dropped(
    world: TestKit, caplog: pytest.LogCaptureFixture
) -> None:
    begin(world)
    record = records(world)[0]
    store = world.blocking_store()
    assert isinstance(store, ModelStore)
    direct(store.put_schedule("new", ScheduleRecord(id="d", queue="new", definition=record.definition, next=7)))
    with pytest.raises(Conflict, match="say which"):
        world.schedules.get("d")
    declare(Version(world, "new").kit, "new")
    assert [one.queue for one in records(world)] == ["new", "old"]  # it is in its queue: nobody looked elsewhere
    assert world.schedules.delete("old/d")
    assert [one.queue for one in records(world)] == ["new"]


@pytest.mark.parametrize("dead", [False, True], ids=["through", "dead"])
@pytest.mark.parametrize("queues", [("a", "b"), ("b", "a")], ids=["a first", "b first"])
def test_two_that_put_one_id_on_two_queues_at_once_end_as_one(
    world: TestKit, monkeypatch: pytest.MonkeyPatch, queues: tuple[str, str], dead: bool
) -> None:
    """The second one comes between the look of the first and its write, and goes through or dies behind its own."""
    ours, theirs = (Version(world, queue).kit for queue in queues)
    real, begun = ModelStore.put_schedule, list[str]()

    async def put(self: ModelStore, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        begun.append(queue)
        number = len(begun)
        if number == 1:
            with suppress(Died):
                theirs.schedules.put("e", theirs.tasks()["send"].make(), every="1h")
        said = await real(self, queue, schedule)
        if dead and number == 2:
            raise Died
        return said

    monkeypatch.setattr(ModelStore, "put_schedule", put)
    ours.schedules.put("e", ours.tasks()["send"].make(), every="1h")
    assert begun[:2] == list(queues)
    assert [one.queue for one in records(world)] == alive(world) == [queues[0]]


def bystander(world: TestKit) -> TestKit:
    """A worker of both queues that declares nothing."""
    plain = TestKit()
    plain.world, plain.access = world.world, world.access

    @plain.task(queue="new")
    def send(to: str = "team") -> None: ...

    return plain


@pytest.mark.parametrize("paused", [False, True], ids=["firing", "paused"])
@pytest.mark.parametrize("written", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_what_a_dead_process_began_is_ended_by_a_worker(
    world: TestKit, monkeypatch: pytest.MonkeyPatch, step: int, written: bool, paused: bool
) -> None:
    before = begin(world, paused=paused)
    dead(world, monkeypatch, step, written=written)
    left = [one for one in records(world) if passing(one)]
    assert bool(left) == ((step, written) not in ((1, False), (STEPS, True)))
    worker, ran = bystander(world), list[str]()
    for _ in range(2):
        ran += [job.id for job in worker.drain()]
        assert [passing(one) for one in records(world)].count(True) in (0, len(left))
        world.clock.travel(seconds=STRANDED / 1000)
    (after,) = records(world)
    assert (after.queue, passing(after)) == ("old" if (step, written) == (1, False) else "new", False)
    assert Definition.load(after.definition).anchor == Definition.load(before.definition).anchor
    assert sorted(ran) == ["d@2026-11-22T10:00:00Z", *([] if paused else ["d@2026-11-22T11:00:00Z"])]
    assert (after.fired, after.next is None) == ((1, True) if paused else (2, False))


@pytest.mark.parametrize("paused", [False, True], ids=["firing", "paused"])
def test_nobody_goes_on_with_what_its_writer_has_hardly_begun(
    world: TestKit, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    begin(world, paused=paused)
    dead(world, monkeypatch, 1, written=True)
    before = records(world)
    world.clock.travel(seconds=STRANDED / 1000 - 1)
    assert [job.id for job in bystander(world).drain()] == ["d@2026-11-22T10:00:00Z"]  # that had fired before
    assert records(world) == before


def test_a_new_schedule_whose_writer_died_is_ended_by_a_worker(world: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(world, monkeypatch, 1, written=True)
    worker = bystander(world)
    worker.drain()
    assert alive(world) == []
    world.clock.travel(seconds=STRANDED / 1000)
    assert worker.drain() == []
    assert alive(world) == ["new"]
    world.clock.travel(hours=1)
    assert [job.id for job in worker.drain()] == ["d@2026-11-22T10:00:00Z"]


def test_one_that_cannot_be_ended_stops_no_other(world: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    dead(world, monkeypatch, 1, written=True)
    worker = bystander(world)
    worker.schedules.put("e", worker.tasks()["send"].make(), every="1h")
    tries = list[str]()

    async def away(self: ModelStore, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        tries.append(schedule.id)
        raise QueueFull("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(ModelStore, "put_schedule", away)
        world.clock.travel(hours=1)
        assert [job.id for job in worker.drain()] == ["e@2026-11-22T10:00:00Z"]
    assert tries == ["d"]
    assert alive(world) == ["new"]
    world.clock.travel(seconds=STRANDED / 1000)
    worker.drain()
    assert alive(world) == ["new", "new"]


class Slow:
    """The store of one process, each call of which comes when it comes; never may two schedules fire."""

    def __init__(self, world: TestKit, chance: random.Random, store: Any) -> None:
        self._world, self._chance, self._store = world, chance, store

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in (*WRITES, "get_schedules", "queues", "due", "fire", "schedules"):
            return real

        async def call(*args: Any, **kwargs: Any) -> Any:
            for _ in range(self._chance.randrange(4)):
                await asyncio.sleep(0)
            said = await real(*args, **kwargs)
            assert len(alive(self._world)) <= 1
            return said

        return call


async def starts(world: TestKit, chance: random.Random, queue: str) -> None:
    """Workers of one version start, one after the other."""
    kit = Version(world, queue).kit
    at = Loop(cast("Any", Slow(world, chance, await world.async_store())), 5.0)
    for _ in range(3):
        await declaring.declare_schedules(kit, at, [queue])


async def fires(world: TestKit, chance: random.Random, fired: list[int]) -> None:
    """What is due, with jobs that nobody keeps: only the record stands between a slot and its second firing."""
    store = Slow(world, chance, await world.async_store())
    while True:
        world.clock.travel(minutes=31)
        for queue in ("old", "new"):
            for record in (await store.due(queue)).records:
                if passing(record):
                    continue
                firing = Firing(id="d", rev=record.rev, next_at=record.next + 3_600_000, jobs=())
                if (await store.fire(queue, [firing]))[0].no is None:
                    fired.append(record.next)
        await asyncio.sleep(0)


async def test_two_versions_that_deploy_against_each_other_never_fire_a_slot_twice() -> None:
    for seed in range(40):
        chance = random.Random(seed)
        world = TestKit(clock=VirtualClock(NINE))
        first = Version(world, "old").kit
        await declaring.declare_schedules(first, await first.access.asynchronous())
        fired = list[int]()
        scheduler = asyncio.create_task(fires(world, chance, fired))
        await asyncio.gather(*(starts(world, chance, queue) for queue in ("old", "new", "old", "new")))
        await starts(world, chance, "new")
        for _ in range(60):
            await asyncio.sleep(0)
        scheduler.cancel()
        with suppress(asyncio.CancelledError):
            await scheduler
        assert [one.queue for one in records(world)] == alive(world) == ["new"], f"seed {seed}"
        assert len(fired) > 3
        assert fired == [fired[0] + n * 3_600_000 for n in range(len(fired))], f"seed {seed}"


def test_what_an_earlier_passage_left_behind_is_not_taken_for_the_one_that_leaves(world: TestKit) -> None:
    """A process that slept through a whole way there and back wrote what it had read before it: an old slot."""
    declare(Version(world, "mail").kit)
    (record,) = records(world)
    definition, store = Definition.load(record.definition), cast("ModelStore", world.blocking_store())
    assert record.next is not None
    late = replace(definition, coming=Passage(queue="mail", rev=record.rev - 1, next=record.next - 3_600_000))
    direct(store.put_schedule("sums", replace(record, rev=0, queue="sums", definition=late.dump(), next=None)))
    leaves = replace(definition, leaving=Passage(queue="sums", next=record.next))
    direct(store.put_schedule("mail", replace(record, definition=leaves.dump(), next=None, fired=3)))
    declare(Version(world, "sums").kit)
    (arrived,) = records(world)
    assert (arrived.queue, arrived.next, arrived.fired) == ("sums", record.next, 3)


def test_a_new_schedule_whose_writer_died_says_so(world: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    version = Version(world, "mail")
    with monkeypatch.context() as patch:
        dies(patch, 1, written=True)
        with pytest.raises(Died):
            declare(version.kit)
    (said,) = world.schedules.all()
    assert (said.next_at, said.paused) == (None, "not written to the end")
    declare(version.kit)
    (said,) = world.schedules.all()
    assert (said.next_at is None, said.paused) == (False, None)
