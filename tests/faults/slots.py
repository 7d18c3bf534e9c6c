"""The changing verbs of the part `schedules` as scenes: what stands before, the call, and what comes before a late one.

A schedule's rev is what keeps a late request of an earlier reader out; jobs have names of their own for each firing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import Fired, Firing, ScheduleRecord
from queuekit.store.parts import SchedulingStore
from tests.faults import scenes
from tests.faults.ground import HOUR, MINUTE, STEP, Call, Ground, spec
from tests.faults.moves import BY, FAR, go, mixed, mover
from tests.faults.scenes import SCENES, drain_away, nothing

PART: Final = "schedules"
VERBS: Final = ("put_schedule", "delete_schedule", "fire", "take_schedules")
SLOT: Final = 2 * STEP
__all__ = ["PART", "SCENES", "VERBS"]
scene: Final = partial(scenes.scene, needs=(PART,))


def part(g: Ground) -> SchedulingStore:
    return cast("SchedulingStore", g.store)


def plan(g: Ground, id: str = "s", **said: Any) -> ScheduleRecord:
    fields: dict[str, Any] = {"id": id, "queue": g.queue, "definition": b"d", "next": g.start - SLOT}
    return ScheduleRecord(**(fields | said))


async def keep(g: Ground, id: str = "s", **said: Any) -> ScheduleRecord:
    """A schedule that is there, a slot of which is due."""
    return await part(g).put_schedule(g.queue, plan(g, id, **said))


async def read(g: Ground, id: str = "s") -> ScheduleRecord:
    (record,) = await part(g).get_schedules(g.queue, [id])
    assert record is not None
    return record


def firing(g: Ground, record: ScheduleRecord, *jobs: JobSpec, slots: int = 1, **said: Any) -> Firing:
    fields: dict[str, Any] = {"id": record.id, "rev": record.rev, "next_at": g.start + slots * SLOT, "jobs": jobs}
    return Firing(**(fields | said))


# ---------------------------------------------------------------------- what may come next


async def edit_on(g: Ground) -> None:
    """A person changes the definition of what there is."""
    await part(g).put_schedule(g.queue, replace(await read(g), definition=b"edited", next=g.start + HOUR))


async def edit_with_the_answer(g: Ground) -> None:
    """Who put it changes it again, by the rev that was answered."""
    assert g.answered is not None
    await part(g).put_schedule(g.queue, replace(g.answered, definition=b"edited"))


async def fire_on(g: Ground) -> list[Fired]:
    """Another worker fires the next slot."""
    return await part(g).fire(g.queue, [firing(g, await read(g), spec("f"), slots=9)])


async def fire_and_drain(g: Ground) -> None:
    """The next slot is fired too, all jobs are done, and none of them is kept."""
    await fire_on(g)
    await drain_away(g)


async def put_anew(g: Ground) -> None:
    """It is deleted, if it is there yet, and put again as it was at first."""
    await part(g).delete_schedule(g.queue, "s")
    await keep(g)


async def opened_and_fired(g: Ground) -> None:
    """The mover opens the queue, and a worker fires what came."""
    await go(g, 9, Home.HERE, None)
    await fire_on(g)


# ---------------------------------------------------------------------- put_schedule


def puts(g: Ground, record: ScheduleRecord) -> Call:
    async def put() -> ScheduleRecord:
        g.answered = await part(g).put_schedule(g.queue, record)
        return g.answered

    return put


@scene("put_schedule: a new one", nothing, edit_with_the_answer, fire_on)
async def _(g: Ground) -> Call:
    return puts(g, plan(g, definition=b"x" * 5000))


@scene("put_schedule: over another", nothing, edit_with_the_answer, edit_on, fire_and_drain, put_anew)
async def _(g: Ground) -> Call:
    record = await keep(g)
    await keep(g, "other")
    return puts(g, replace(record, definition=b"new", next=g.start + HOUR, fired=3, skipped=2, last_job="s@1"))


@scene("put_schedule: paused", nothing, edit_with_the_answer)
async def _(g: Ground) -> Call:
    return puts(g, replace(await keep(g), definition=b"paused", next=None))


@scene("put_schedule: where one was deleted", nothing, edit_on)
async def _(g: Ground) -> Call:
    await keep(g)
    await part(g).delete_schedule(g.queue, "s")
    return puts(g, plan(g, definition=b"new"))


@scene("put_schedule: of another rev", nothing)
async def _(g: Ground) -> Call:
    record = await keep(g)
    await edit_on(g)
    return puts(g, replace(record, definition=b"new"))


@scene("put_schedule: refused, while the queue leaves", nothing)
async def _(g: Ground) -> Call:
    record = await keep(g)
    await go(g, 3, Home.MOVING)
    return puts(g, replace(record, definition=b"new"))


# ---------------------------------------------------------------------- delete_schedule


def deletes(name: str, rev: Callable[[ScheduleRecord], int | None], *nexts: Any, same: bool) -> None:
    @scene(f"delete_schedule: {name}", nothing, *nexts, same=same)
    async def play(g: Ground) -> Call:
        known = rev(await keep(g))
        await keep(g, "other")
        return lambda: part(g).delete_schedule(g.queue, "s", known)


deletes("as it was read", lambda record: record.rev, put_anew, same=False)
deletes("whatever it is", lambda _: None, same=False)
deletes("of another rev", lambda record: record.rev - 1, edit_on, same=True)


@scene("delete_schedule: none", nothing)
async def _(g: Ground) -> Call:
    await keep(g, "other")
    return lambda: part(g).delete_schedule(g.queue, "s", 5)


@scene("delete_schedule: refused, while the queue leaves", nothing)
async def _(g: Ground) -> Call:
    record = await keep(g)
    await go(g, 3, Home.MOVING)
    return lambda: part(g).delete_schedule(g.queue, "s", record.rev)


# ---------------------------------------------------------------------- fire


def fires(
    name: str, *jobs: JobSpec, nexts: tuple[Any, ...] = (nothing, fire_and_drain), before: Any = nothing, **said: Any
) -> None:
    @scene(f"fire: {name}", *nexts, same=False)
    async def play(g: Ground) -> Call:
        await before(g)
        one = firing(g, await keep(g), *jobs, **said)
        return lambda: part(g).fire(g.queue, [one])


async def held_key(g: Ground) -> None:
    await g.put(spec("b", unique=UniqueKey("k"), body=b"old"))


async def same_id(g: Ground) -> None:
    await g.put(spec("a", body=b"old"))


fires("a slot", spec("a"), nexts=(nothing, fire_on, fire_and_drain, edit_on, put_anew))
fires("several slots", spec("a"), spec("b", delay=MINUTE), spec("c", lifo=True), spec("d", priority=1), skipped=2)
fires("the last slot", spec("a"), nexts=(nothing, drain_away, edit_on), next_at=None)
fires("slots without a job", skipped=3, nexts=(nothing, fire_on))
fires("a unique key", spec("a", unique=UniqueKey("k")))
fires("a key that is held", spec("a", unique=UniqueKey("k"), body=b"new"), before=held_key)
fires(
    "a key that is held, replacing",
    spec("a", unique=UniqueKey("k", on_conflict="replace"), body=b"new"),
    spec("c"),
    before=held_key,
)
fires("an id that is there", spec("a", body=b"new"), spec("c"), before=same_id)


@scene("fire: several schedules", nothing, fire_and_drain, same=False)
async def _(g: Ground) -> Call:
    records = [await keep(g, name) for name in ("s", "t", "u")]
    await part(g).put_schedule(g.queue, replace(records[1], definition=b"edited"))
    jobs = [spec("abc"[n], priority=n) for n in range(3)]  # which of several schedules is first is left open
    calls = [firing(g, one, job) for one, job in zip(records, jobs, strict=True)]
    return lambda: part(g).fire(g.queue, [*calls, firing(g, plan(g, "none", rev=5), spec("d"))])


@scene("fire: what is due, read anew", nothing, fire_and_drain, same=False)
async def _(g: Ground) -> Call:
    """As a scheduler goes on whose call failed: it asks what is due, and fires that."""
    jobs = {"s": spec("a"), "t": spec("b", priority=1)}
    for name in jobs:
        await keep(g, name)

    async def turn() -> None:
        due = await part(g).due(g.queue)
        await part(g).fire(g.queue, [firing(g, one, jobs[one.id]) for one in due.records])

    return turn


@scene("fire: over the size", nothing, fire_on)
async def _(g: Ground) -> Call:
    await g.limit(max_size=2)
    await g.put(spec("c"))
    record, other = await keep(g), await keep(g, "t")
    calls = [firing(g, record, spec("a"), spec("b")), firing(g, other, skipped=1)]
    return lambda: _without(g, calls, other.id)


async def _without(g: Ground, calls: list[Firing], id: str) -> list[Fired]:
    """The answers but that of one schedule, which a repeat finds changed by the first try."""
    return [said for said in await part(g).fire(g.queue, calls) if said.id != id]


def refused_firing(name: str, before: Callable[[Ground, ScheduleRecord], Awaitable[Any]]) -> None:
    @scene(f"fire: {name}", nothing)
    async def play(g: Ground) -> Call:
        record = await keep(g)
        await before(g, record)
        one = firing(g, record, spec("a"))
        return lambda: part(g).fire(g.queue, [one])


refused_firing("of another rev", lambda g, _: edit_on(g))
refused_firing("one that was deleted", lambda g, record: part(g).delete_schedule(g.queue, record.id))
refused_firing("one that was put anew", lambda g, _: put_anew(g))
refused_firing("refused, while the queue leaves", lambda g, _: go(g, 3, Home.MOVING))


@scene("fire: while jobs still come from elsewhere", nothing, fire_on, same=False)
async def _(g: Ground) -> Call:
    record, other = await keep(g), await keep(g, "t")
    await go(g, 3, Home.HERE)
    calls = [firing(g, record, spec("a")), firing(g, other, spec("b", unique=UniqueKey("k")))]
    return lambda: part(g).fire(g.queue, calls)


# ---------------------------------------------------------------------- with a queue that moves


@scene("take_schedules: into a queue that arrives", nothing, opened_and_fired)
async def _(g: Ground) -> Call:
    older = await keep(g, "t", definition=b"older")
    newer = await keep(g, "u", definition=b"newer")
    await go(g, 3, Home.ARRIVING)
    rev = older.rev + 1
    records = [
        plan(g, definition=b"x" * 3000, rev=rev, fired=7, last_job="s@1"), plan(g, "t", definition=b"new", rev=rev),
        plan(g, "u", definition=b"old", rev=newer.rev - 1), plan(g, "v", next=None, rev=1),
    ]  # fmt: skip
    return lambda: part(g).take_schedules(g.queue, 3, records)


@scene("take_schedules: into a queue that is here", nothing, fire_on)
async def _(g: Ground) -> Call:
    await go(g, 3, Home.HERE, None)
    return lambda: part(g).take_schedules(g.queue, 3, [plan(g, rev=5), plan(g, "t", rev=6)])


@scene("take_schedules: of another mover", nothing)
async def _(g: Ground) -> Call:
    await go(g, 3, Home.ARRIVING)
    return lambda: part(g).take_schedules(g.queue, 2, [plan(g, rev=5)])


@scene("authority: a queue with schedules is gone", nothing)
async def _(g: Ground) -> Call:
    await keep(g)
    await mixed(g)
    await go(g, 3, Home.MOVING)
    return lambda: mover(g).authority(g.queue, 4, BY, Home.GONE, FAR)


@scene("obliterate: a queue with schedules", nothing, same=False)
async def _(g: Ground) -> Call:
    await keep(g)
    await g.put(spec("a"))
    return lambda: g.store.obliterate(g.queue)
