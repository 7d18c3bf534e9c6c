"""Schedulers, people and movers that die between two calls, or are cancelled at a wait: every slot has its job once.

Each firing names its jobs anew, so that nothing but the schedule's rev keeps a slot from being fired twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, cast

import pytest
import pytest_asyncio

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Home
from queuekit.domain.query import Where
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import StoreUnavailable
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.testing import Faults, faulty_store
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.servers import MongoServer
from tests.contract import harness_mongo, harness_redis, harness_sqlite
from tests.faults.engine import FULL
from tests.unit.test_mongo_store import Standalone

STORES: Final = ("sqlite", "redis", "mongo", "standalone")
STEP: Final = 10_000  # ms between two slots
ROUNDS: Final = 30
DEATHS: Final = ("lost request", "lost reply", "late", "partial")
SEEDS: Final = range(1, 41) if FULL else (1,)
Made = Callable[[], Awaitable[SchedulingStore]]


@pytest.fixture(scope="module")
def standalone(request: pytest.FixtureRequest) -> Iterator[str]:
    """A mongod without a replica set, so without transactions."""
    server: MongoServer = request.getfixturevalue("mongo_server")
    with Standalone(binary=server.binary) as started:
        yield started.url


@pytest_asyncio.fixture(params=[pytest.param(name, marks=[pytest.mark.store(name)]) for name in STORES])
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    made: Harness
    if request.param == "standalone":
        made = harness_mongo.MongoHarness(request.getfixturevalue("standalone"))
    else:
        made = {"sqlite": harness_sqlite, "redis": harness_redis, "mongo": harness_mongo}[request.param].make(request)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def opened(harness: Harness) -> Made:
    """Opens one more store."""

    async def opener() -> SchedulingStore:
        store = await harness.open_store()
        if "schedules" not in store.capabilities.parts:
            pytest.skip("the store declares no schedules")
        return cast("SchedulingStore", store)

    return opener


class Slots:
    """Schedules of a queue whose slots are all due, and schedulers who fire them as their definitions say."""

    def __init__(self, queue: str, many: int = 3) -> None:
        self.queue, self.many, self.turns = queue, many, 0
        self.start = clock.now_ms() - (many + 1) * STEP

    async def begin(self, store: SchedulingStore) -> None:
        """`one` fires one slot a turn, `all` every one at once, `skip` none."""
        for name in ("one", "all", "skip"):
            record = ScheduleRecord(id=name, queue=self.queue, definition=name.encode(), next=self.start)
            await store.put_schedule(self.queue, record)

    def firing(self, record: ScheduleRecord) -> Firing:
        assert record.next is not None
        at = (record.next - self.start) // STEP
        to = at + 1 if record.definition == b"one" else self.many
        slots = () if record.definition == b"skip" else range(at, to)
        names = [f"{record.id}@{slot}" for slot in slots]
        jobs = tuple(JobSpec(id=f"{name}.{self.turns}", task="t", body=name.encode()) for name in names)
        next_at = None if to == self.many else self.start + to * STEP
        return Firing(id=record.id, rev=record.rev, next_at=next_at, jobs=jobs, skipped=to - at - len(jobs))

    async def turn(self, store: SchedulingStore) -> bool:
        """What a scheduler does when it wakes; False where nothing was due."""
        self.turns += 1
        due = await store.due(self.queue)
        if due.records:
            await store.fire(self.queue, [self.firing(record) for record in due.records])
        return bool(due.records)

    async def finish(self, store: SchedulingStore, harness: Harness) -> None:
        """Another scheduler goes on until nothing is due."""
        for _ in range(self.many + ROUNDS):
            if not await self.turn(store):
                return
            await harness.advance(STEP)  # what a dead one began may be left alone for a while
        raise AssertionError(f"still due: {await store.schedules(self.queue)}")

    async def wrong(self, store: SchedulingStore) -> list[str]:
        """What is not as it must be in the end."""
        pages = [await store.find(self.queue, Where(state=state, limit=1000)) for state in State]
        jobs = [job for page in pages for job in page.records]
        slots = [f"{name}@{slot}" for name in ("all", "one") for slot in range(self.many)]
        told = sorted(job.body.decode() for job in jobs)
        wrong = [] if told == sorted(slots) else [f"jobs: {told}"]
        ids = {job.id for job in jobs}
        for record in await store.schedules(self.queue):
            fired = 0 if record.id == "skip" else self.many
            last = (record.last_job in ids and str(record.last_job).startswith(f"{record.id}@{self.many - 1}.")) or (
                record.last_job is None and not fired
            )
            if (record.next, record.fired, record.skipped, last) != (None, fired, self.many - fired, True):
                wrong.append(f"{record}")
        return wrong


def points(faults: Faults) -> list[tuple[int, str]]:
    """Every call of a run without faults, with every way to die at it."""
    return [
        (point, how)
        for point, call in enumerate(faults.trace, 1)
        for how in DEATHS
        if how != "partial" or call.statements > 1
    ]


def die(faults: Faults, point: int, how: str) -> None:
    """The plan: at this call the caller dies."""
    faults.clear()
    if how == "lost request":
        faults.lose_request("*", nth=point)
    elif how == "lost reply":
        faults.lose_reply("*", nth=point)
    elif how == "late":
        faults.late("*", nth=point, after=None)
    else:
        faults.partial("*", nth=1)


def later(n: int) -> int:
    """How long after a death the next one comes: at once, now and then, when a store may have to wait for the dead."""
    return STEP if n % (2 if FULL else 8) else 0


async def arrived(faults: Faults, store: SchedulingStore) -> None:
    """What a dead caller had sent is on its way no longer."""
    faults.release()
    with faults.suspended():
        await store.conf("unused")


async def test_who_dies_between_two_calls_of_a_firing_leaves_every_slot_to_be_fired_once(
    harness: Harness, opened: Made
) -> None:
    faults, other = Faults(), await opened()
    mortal = cast("SchedulingStore", faulty_store(await opened(), faults))
    first = Slots("plain")
    await first.begin(other)
    await first.turn(mortal)
    await first.finish(other, harness)
    assert await first.wrong(other) == []
    faults.clear()
    second = Slots("warm")
    await second.begin(other)
    await second.turn(mortal)  # as those that follow: what is done once a store is done
    deaths, wrong = points(faults), []
    assert len(deaths) >= len(DEATHS) - 1

    for n, (point, how) in enumerate(deaths):
        slots = Slots(f"q{n}")
        await slots.begin(other)
        die(faults, point, how)
        with suppress(StoreUnavailable):
            await slots.turn(mortal)
        assert faults.injected, f"call {point} was never made"
        await harness.advance(later(n))
        await slots.finish(other, harness)
        wrong += [f"{faults.injected[0].call.label} {how}: {what}" for what in await slots.wrong(other)]
        await arrived(faults, mortal)
        await slots.finish(other, harness)
        wrong += [f"{faults.injected[0].call.label} {how}, arrived: {what}" for what in await slots.wrong(other)]

    assert wrong == []


class Cut:
    """Awaits a call whose task is cancelled when it waits for the `at`-th time."""

    def __init__(self, call: Coroutine[Any, Any, Any], at: int) -> None:
        self.call, self.at, self.waits = call, at, 0

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.call.__await__()
        step: Callable[[Any], Any] = inner.send
        said: Any = None
        while True:
            try:
                waiter = step(said)
            except StopIteration as end:
                return end.value
            self.waits += 1
            task = asyncio.current_task()
            if self.waits == self.at and task is not None:
                task.cancel()
            try:
                said, step = (yield waiter), inner.send
            except BaseException as error:
                said, step = error, inner.throw


async def cancelled(call: Coroutine[Any, Any, Any], at: int) -> bool:
    """Whether the call was still running when it was cancelled at its `at`-th wait."""

    async def run() -> None:
        await Cut(call, at)

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if task.cancelled():
        return True
    task.result()
    return False


async def test_who_is_cancelled_at_any_wait_of_a_firing_leaves_every_slot_to_be_fired_once(
    harness: Harness, opened: Made
) -> None:
    mortal, other = await opened(), await opened()
    at, went_on, wrong = 0, True, list[str]()
    while went_on:
        at += 1 if FULL else 1 + at // 4
        slots = Slots(f"q{at}")
        await slots.begin(other)
        went_on = await cancelled(slots.turn(mortal), at)
        await harness.advance(later(at))
        await slots.finish((other, mortal)[at % 2], harness)
        wrong += [f"cancelled at wait {at}: {what}" for what in await slots.wrong(other)]
    assert at > 1
    assert wrong == []


@pytest.mark.parametrize("seed", SEEDS)
async def test_schedulers_over_lossy_drivers_fire_every_slot_once(harness: Harness, opened: Made, seed: int) -> None:
    faults, plain, slots = Faults(seed=seed), await opened(), Slots("q", many=8)
    mortals = [cast("SchedulingStore", faulty_store(await opened(), faults)) for _ in range(3)]
    await slots.begin(plain)
    faults.chaos(0.15)

    async def schedule(store: SchedulingStore) -> None:
        for _ in range(ROUNDS):
            with suppress(StoreUnavailable):
                await slots.turn(store)

    await asyncio.gather(*(schedule(store) for store in mortals))
    for store in mortals:
        await arrived(faults, store)
    await slots.finish(plain, harness)
    assert faults.injected
    assert await slots.wrong(plain) == []


async def kept(store: SchedulingStore, queue: str) -> list[ScheduleRecord]:
    """What is there, after a look whether every way to read says the same."""
    found = await store.schedules(queue)
    ids = [record.id for record in found]
    assert await store.get_schedules(queue, ids) == found
    due = await store.due(queue)
    coming = sorted((record.next, record.id) for record in found if record.next is not None)
    assert [(record.next, record.id) for record in due.records] == [one for one in coming if one[0] <= due.now]
    return found


async def test_who_dies_while_putting_or_deleting_leaves_the_old_or_the_new(harness: Harness, opened: Made) -> None:
    faults, other = Faults(), await opened()
    mortal = cast("SchedulingStore", faulty_store(await opened(), faults))

    async def begin(queue: str) -> ScheduleRecord:
        with faults.suspended():
            record = ScheduleRecord(id="s", queue=queue, definition=b"old", next=5)
            return await other.put_schedule(queue, record)

    async def edit(record: ScheduleRecord) -> None:
        await mortal.put_schedule(record.queue, replace(record, definition=b"new" * 1000, next=None, fired=9))

    async def remove(record: ScheduleRecord) -> None:
        await mortal.delete_schedule(record.queue, "s", record.rev)

    for name, act in (("put", edit), ("delete", remove)):
        await act(await begin(f"{name}-plain"))
        faults.clear()
        await act(await begin(f"{name}-warm"))
        deaths = points(faults)
        assert deaths
        for n, (point, how) in enumerate(deaths):
            record = await begin(f"{name}{n}")
            die(faults, point, how)
            with suppress(StoreUnavailable):
                await act(record)
            assert faults.injected
            await harness.advance(later(n))
            found = [replace(one, rev=0) for one in await kept(other, record.queue)]
            new = replace(record, definition=b"new" * 1000, next=None, fired=9, rev=0)
            assert found in ([replace(record, rev=0)], [new] if name == "put" else []), (name, point, how)
            there = await other.get_schedules(record.queue, ["s"])
            edited = replace(there[0] or replace(record, rev=0), definition=b"edited")
            last = await other.put_schedule(record.queue, edited)
            await arrived(faults, mortal)
            assert await kept(other, record.queue) == [last], (name, point, how)


async def test_a_mover_that_dies_while_schedules_come_is_followed_by_one_who_brings_them(
    harness: Harness, opened: Made
) -> None:
    faults, other = Faults(), await opened()
    mortal = cast("SchedulingStore", faulty_store(await opened(), faults))
    rev = clock.now_ms() + 1000

    async def take(store: SchedulingStore, queue: str) -> list[ScheduleRecord]:
        with faults.suspended():
            await cast("MovingStore", other).authority(queue, 3, "mover", Home.ARRIVING, "far")
        records = [
            ScheduleRecord(id=f"s{n}", queue=queue, definition=b"x" * n * 1000, rev=rev + n, next=n or None, fired=n)
            for n in range(5)
        ]
        await store.take_schedules(queue, 3, records)
        return records

    whole = [replace(one, queue="") for one in await take(mortal, "plain")]
    faults.clear()
    await take(mortal, "warm")
    for n, (point, how) in enumerate(points(faults)):
        queue = f"q{n}"
        die(faults, point, how)
        with suppress(StoreUnavailable):
            await take(mortal, queue)
        assert faults.injected
        assert [one for one in await other.schedules(queue) if replace(one, queue="") not in whole] == []
        brought = await take(other, queue)
        assert await other.schedules(queue) == brought
        await arrived(faults, mortal)
        assert await other.schedules(queue) == brought, (point, how)
    await harness.advance(STEP)
