"""Reading and changing a job that is not in this process's store because its queue moved, or still does.

A job is always in one of the two; one that was in neither when both were asked is asked for once more where we began.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

from queuekit import clock
from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Home
from queuekit.domain.query import Change, Changed, No
from queuekit.errors import Arriving, Moved
from queuekit.producing import elsewhere
from queuekit.producing.access import Access, Entry
from queuekit.producing.elsewhere import Place
from queuekit.producing.roads import REMEMBERED, Road

_HOPS = 4  # stores one call looks at
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds


async def records(access: Access, at: Entry, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
    """Whole records, in the order asked, from wherever they are. Raises Moved where the other store cannot be asked."""
    found = await at.ask(partial(at.store.get, queue, ids))
    if all(record is not None for record in found):
        return found
    others = [place async for place in trail(access, at, queue)]
    for place in [*others, elsewhere.own(access, at)] if others else []:
        missing = [n for n, record in enumerate(found) if record is None]
        if missing:
            asked = [ids[n] for n in missing]
            more = await place.entry.ask(partial(place.entry.store.get, queue, asked))
            for n, record in zip(missing, more, strict=True):
                found[n] = record
    return found


async def record(access: Access, at: Entry, queue: str, id: str) -> JobRecord | None:
    """One of them."""
    return (await records(access, at, queue, [id]))[0]


async def watch(access: Access, at: Entry, queue: str, id: str, timeout: int) -> JobRecord | None:
    """The job when it has ended, wherever that is, or as it is after `timeout` ms; awaited in the store it is in."""
    deadline = clock.monotonic() + timeout / 1000
    found = await at.ask(partial(at.store.watch, queue, id, timeout))
    if found is not None:
        return found
    others = [place async for place in trail(access, at, queue)]
    for place in others:
        left = max(0, round((deadline - clock.monotonic()) * 1000))
        found = await place.entry.ask(partial(place.entry.store.watch, queue, id, left))
        if found is not None:
            return found
    return (await at.ask(partial(at.store.get, queue, [id])))[0] if others else None


async def change(access: Access, at: Entry, queue: str, one: Change) -> Changed:
    """One change, in the store that has the job. Raises Moved for a job that is on its way all the time of a call."""
    deadline, pause = clock.monotonic() + at.within, _FIRST_PAUSE
    while True:
        answer = await _changed(at, queue, one)
        if answer.no is not No.MOVED:
            return answer
        async for place in trail(access, at, queue):
            there = await _changed(place.entry, queue, one)
            if there.no is not No.MOVED:
                return there
        if await record(access, at, queue, one.id) is None:
            return Changed(id=one.id, ok=False, no=No.GONE)
        if clock.monotonic() >= deadline:
            raise Moved(f"job {queue}/{one.id} is on its way between two stores: nothing was done, try again")
        await at.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def home(access: Access, at: Entry, queue: str) -> Entry:
    """The store that a queue of the own one is configured in: where it lives, or where it goes. Raises Moved."""
    here = at
    async for place in trail(access, at, queue):
        here = place.entry
        if (await here.ask(partial(here.store.conf, queue))).home in (Home.HERE, Home.ARRIVING):
            return here
    raise Moved(f"queue {queue!r} is between two stores: nothing was changed, try again")


async def locate(access: Access, at: Entry, id: str) -> list[JobRecord]:
    """The jobs of a bare id in all known queues; where none has it, in the stores that queues of ours moved to."""
    found = await at.ask(partial(at.store.locate, id))
    if found:
        return found
    for place in await linked(access, at):
        found += await place.entry.ask(partial(place.entry.store.locate, id))
    return found


async def _changed(at: Entry, queue: str, one: Change) -> Changed:
    """Under an op of a lane of that store: an answer of before would be repeated else."""
    with at.lanes.op() as op:
        return (await at.ask(partial(at.store.change, queue, [one], op)))[0]


async def trail(access: Access, at: Entry, queue: str) -> AsyncIterator[Place]:
    """The stores a queue went to or comes from, beginning behind the own one."""
    here, came, seen = elsewhere.own(access, at), None, {access.settings.url}
    for _ in range(_HOPS):
        conf = await here.entry.ask(partial(here.entry.store.conf, queue))
        if conf.to is None:
            return
        said = (Moved if conf.home in (Home.MOVING, Home.GONE) else Arriving)("", to=conf.to)
        there = await elsewhere.other(access, at, queue, said, here, came)
        if there.road.url in seen:
            return
        seen.add(there.road.url)
        yield there
        here, came = there, here


async def linked(access: Access, at: Entry) -> list[Place]:
    """Every store that a queue of the own one went to or comes from. *Cost* O(queues), once in a few seconds."""
    known = access.roads.links
    if known is None or clock.monotonic() >= known[0]:
        roads = dict[str, Road]()
        for queue in await at.ask(at.store.queues):
            async for place in trail(access, at, queue):
                roads.setdefault(place.road.url, place.road)
        known = access.roads.links = (clock.monotonic() + REMEMBERED, tuple(roads.values()))
    return [Place(await access.beside(road.url, road.origin).opened(at), road) for road in known[1]]
