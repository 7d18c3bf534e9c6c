"""Schedulers on both sides of a move, and somebody who edits: over the seam alone, every slot that was missed too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

from queuekit.domain.schedule import FIRE_MAX, Firing, ScheduleRecord
from queuekit.errors import Conflict, Moved
from queuekit.store.parts import Schedules
from tests.torture.moves.judge import OTHER, SOURCE, Asked, Kept, Rhythm
from tests.torture.moves.load import PRODUCERS, Load

EVERY = {"often": 70, "seldom": 300}  # ms


def able(load: Load) -> bool:
    """Whether both sides keep schedules."""
    return all("schedules" in store.capabilities.parts for store in load.stores.values())


async def begin(load: Load) -> None:
    """Schedules at the source, before anything moves."""
    store = _store(load, SOURCE)
    for name, every in EVERY.items() if able(load) else ():
        start = (await store.due(load.queue)).now
        record = ScheduleRecord(id=name, queue=load.queue, definition=b"0", next=start)
        await store.put_schedule(load.queue, record)
        load.history.rhythms[name] = Rhythm(start=start, every=every, definition="0")


async def schedule(load: Load, side: str) -> None:
    """Fire what is due at one side until told to be quiet."""
    while able(load) and not load.quiet.is_set():
        due = await load.let(side, PRODUCERS, lambda: _store(load, side).due(load.queue))
        firings = [_firing(load, record, due.now) for record in due.records]
        for spec in (spec for firing in firings for spec in firing.jobs):
            load.history.asked.append(
                Asked(
                    call=0, side=side, job=spec.id, body=spec.body.decode(), priority=spec.priority,
                    invoked=load.moment(), delayed=True,
                )
            )  # fmt: skip
        await _fire(load, side, firings)
        await asyncio.sleep(max(load.pace, 0.04))


async def _fire(load: Load, side: str, firings: list[Firing]) -> None:
    if not firings:
        return
    try:
        await load.let(side, PRODUCERS, lambda: _store(load, side).fire(load.queue, firings))
    except Moved:
        pass  # the other side's schedulers do


def _firing(load: Load, record: ScheduleRecord, now: int) -> Firing:
    assert record.next is not None
    slots = range(record.next, now + 1, EVERY[record.id])[:FIRE_MAX]
    jobs = tuple(load.spec(f"{record.id}@{slot}") for slot in slots)
    return Firing(id=record.id, rev=record.rev, next_at=slots[-1] + EVERY[record.id], jobs=jobs)


async def edit(load: Load) -> None:
    """Write another definition again and again, where the queue lives, over what was read."""
    side, n = SOURCE, 0
    while able(load) and not load.quiet.is_set():
        n += 1
        name = list(EVERY)[n % len(EVERY)]
        try:
            await _edit(load, side, name, str(n))
        except Moved:
            side = OTHER[side]
        await asyncio.sleep(0.1)


async def _edit(load: Load, side: str, name: str, text: str) -> None:
    """Raises Moved."""
    while True:
        (before,) = await load.let(side, PRODUCERS, lambda: _store(load, side).get_schedules(load.queue, [name]))
        if before is None:
            raise Moved("it is not here", to=None)
        wanted = replace(before, definition=text.encode())
        try:
            await load.let(side, PRODUCERS, lambda: _store(load, side).put_schedule(load.queue, wanted))  # noqa: B023
        except Conflict:
            continue
        load.history.rhythms[name].definition = text
        return


async def final(load: Load) -> None:
    """Write down what both stores keep."""
    for side in OTHER if able(load) else ():
        for one in await _store(load, side).schedules(load.queue):
            load.history.kept.append(
                Kept(
                    side=side, id=one.id, next=one.next, fired=one.fired, skipped=one.skipped,
                    definition=one.definition.decode(),
                )
            )  # fmt: skip


def _store(load: Load, side: str) -> Schedules:
    return cast("Schedules", load.stores[side])
