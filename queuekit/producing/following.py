"""Enqueue where a queue went: with the same ids and op, after the store its jobs come from was asked for both.

Written once for plain and awaited calls; which store a name means is decided in elsewhere.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Op, Receipt
from queuekit.domain.state import State
from queuekit.errors import Arriving, Conflict, Moved, StoreUnavailable
from queuekit.producing import elsewhere
from queuekit.producing.access import Access, Entry
from queuekit.producing.elsewhere import Place
from queuekit.store.parts import Mover

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25  # seconds


async def enqueue(
    access: Access, at: Entry, queue: str, specs: Sequence[JobSpec], op: Op, *, asked: bool = False,
    first: StoreUnavailable | Moved | None = None, within: object | None = None,
) -> list[Receipt]:  # fmt: skip
    """What became of the specs, in their order. `first` is what the own store answered, None where it was not asked.

    Raises Moved and Arriving where the other store cannot be asked or does not settle within the time of a call, and
    what `enqueue` raises of the store it ends in. Then nothing was enqueued, unless an error says it may have been.
    """
    trip = _Trip(access, at, queue, within)
    try:
        return await trip.enqueue(specs, op, asked, first)
    except StoreUnavailable as error:
        if trip.doubtful:
            error.outcome = "unknown"
        if trip.here is not trip.home:
            error.add_note(f"queue {queue!r} lives in {trip.here.road.name} now (by {trip.here.road.origin})")
        raise
    except Moved as error:
        error.args = (f"{error}. {trip.written(specs)}",)
        raise


class _Trip:
    """One call's way from store to store."""

    def __init__(self, access: Access, at: Entry, queue: str, within: object | None) -> None:
        self.access = access
        self.at = at
        self.queue = queue
        self.within = within
        self.home = self.here = elsewhere.own(access, at)
        self.came: Place | None = None
        self.seen = {self.here.road.url}
        self.doubtful = False
        self.deadline: float | None = None
        self.pause = _FIRST_PAUSE
        self.missed = set[str]()  # holders of keys that were not at the source when it was looked for them

    async def enqueue(
        self, specs: Sequence[JobSpec], op: Op, asked: bool, first: StoreUnavailable | Moved | None
    ) -> list[Receipt]:
        if first is None:
            await self._take_the_road()
        said = await self._begin(specs, op, asked, first)
        while isinstance(said, Moved):
            if isinstance(said, Arriving):
                said = await self._arriving(specs, op, said)
            else:
                await self._go(said)
                said = await self._try(specs, op, asked=False)  # an earlier try may be a job on its way
        if self.here is not self.home and self.access.roads.of(self.queue) != self.here.road:
            self.access.roads.keep(self.queue, self.here.road)
            elsewhere.tell(self.access, self.queue, self.here.road)
        return said

    def written(self, specs: Sequence[JobSpec]) -> str:
        """What the caller of a call that led nowhere must know."""
        if not self.doubtful:
            return "Nothing was enqueued"
        what = f"{self.queue}/{specs[0].id}" + (f" and {len(specs) - 1} more" if len(specs) > 1 else "")
        return f"An earlier try got no answer and may have written {what}: enqueue with the same id again is safe"

    async def _begin(
        self, specs: Sequence[JobSpec], op: Op, asked: bool, first: StoreUnavailable | Moved | None
    ) -> list[Receipt] | Moved:
        if isinstance(first, Moved):
            return first
        if first is None:
            return await self._try(specs, op, asked=asked)
        self.doubtful = first.outcome == "unknown"
        return await self._try(specs, op, asked=asked, first=first)

    async def _try(
        self, specs: Sequence[JobSpec], op: Op, *, asked: bool, first: StoreUnavailable | None = None
    ) -> list[Receipt] | Moved:
        """The receipts of the store where we are, or where it sends us."""
        entry = self.here.entry
        call = partial(entry.store.enqueue, self.queue, specs, op, self.within, asked)
        try:
            if self.within is not None:  # a broken transaction is its owner's to begin anew
                return (await call()).receipts
            return (await (entry.ask(call) if first is None else entry.go_on(first, call))).receipts
        except Moved as error:
            return error
        except StoreUnavailable as error:
            self.doubtful = self.doubtful or error.outcome == "unknown"
            raise

    # ------------------------------------------------------------ to the next store
    async def _take_the_road(self) -> None:
        """Begin where the queue was found a moment ago."""
        road = self.access.roads.of(self.queue)
        if road is not None:
            entry = await self.at.ask(partial(self.access.beside(road.url, road.origin).opened, self.at))
            self.came, self.here = self.home, Place(entry, road)
            self.seen.add(road.url)

    async def _go(self, said: Moved) -> None:
        """To the store that `said` names. Raises Moved where that cannot be, or leads round in circles."""
        if self.within is not None:
            raise elsewhere.not_within(self.access, self.queue, said) from said
        self.access.roads.forget(self.queue)
        there = await elsewhere.other(self.access, self.at, self.queue, said, self.here, self.came)
        if there.road.url in self.seen:
            await self._wait(said, "between two stores that both say moved")
        elif (await there.entry.ask(partial(there.entry.store.conf, self.queue))).epoch == 0:
            raise elsewhere.lost(
                self.access, self.queue, said, f"but the store that {there.road.origin} names knows of no move"
            ) from said
        self.seen.add(there.road.url)
        self.came, self.here = self.here, there

    # ------------------------------------------------------------ where jobs still come
    async def _arriving(self, specs: Sequence[JobSpec], op: Op, said: Arriving) -> list[Receipt] | Moved:
        """Ask the store the jobs come from, and enqueue here what it does not know."""
        source = await elsewhere.other(self.access, self.at, self.queue, said, self.here, self.came)
        found = await self._found(specs, source, said)
        if found is None:  # not yet; the move may have turned round meanwhile
            return await self._try(specs, op, asked=False)
        rest = [n for n in range(len(specs)) if n not in found]
        if rest:
            receipts = await self._try([specs[n] for n in rest], op, asked=True)
            if isinstance(receipts, Moved):
                return receipts
            found.update(zip(rest, receipts, strict=True))
        return [found[n] for n in range(len(specs))]

    async def _found(self, specs: Sequence[JobSpec], source: Place, said: Arriving) -> dict[int, Receipt] | None:
        """Receipts of the specs whose id or key the source has, by index. Raises Conflict as a store would.

        None after a pause: the source cannot say yet, or a job that is to be replaced has to come over first.
        """
        ids = [spec.id for spec in specs]
        keys = sorted({spec.unique.key for spec in specs if spec.unique is not None})
        if "mover" not in source.entry.store.capabilities.parts:
            raise elsewhere.lost(self.access, self.queue, said, f"but {source.road.origin} names one that cannot tell")
        mover = cast("Mover", source.entry.store)
        known = await source.entry.ask(partial(mover.known, self.queue, ids, keys))
        if known is None:
            await self._wait(
                said, f"and {said.to} cannot say yet what it has: its mover has just begun, or stands still"
            )
            return None
        found, replaced = dict[int, Receipt](), set[str]()
        for n, spec in enumerate(specs):
            if spec.id in known.ids:
                found[n] = Receipt(spec.id, False)
            elif spec.unique is not None and (holder := known.keys.get(spec.unique.key)) is not None:
                if spec.unique.on_conflict == "error":
                    raise Conflict(
                        f"job {spec.id}: the unique key {spec.unique.key!r} is held by {holder}, still in {said.to}"
                    )
                found[n] = Receipt(holder, False)
                if spec.unique.on_conflict == "replace":
                    replaced.add(holder)
        coming = await self._coming(sorted(replaced), source) if replaced else None
        if coming:
            await self._wait(said, f"and job {min(coming)}, which is to be replaced, has not come over")
            return None
        return found

    async def _coming(self, holders: list[str], source: Place) -> set[str]:
        """Those that can be replaced once they have come over: they wait at the source, or left it just now."""
        records = await source.entry.ask(partial(source.entry.store.get, self.queue, holders))
        waiting = {r.id for r in records if r is not None and r.state in (State.WAITING, State.DELAYED)}
        gone = {holder for holder, record in zip(holders, records, strict=True) if record is None}
        left = gone - self.missed  # one that is missed twice is gone for good, and only its key is held for a time
        self.missed |= gone
        return waiting | left

    async def _wait(self, said: Moved, why: str) -> None:
        """A little, and longer each time. Raises what the caller gets once the time of a call is over."""
        now = clock.monotonic()
        if self.deadline is None:
            self.deadline = now + self.at.within
        if now >= self.deadline:
            raise elsewhere.undecided(self.queue, said, why) from said
        await self.at.sleep(min(self.pause, self.deadline - now))
        self.pause = min(self.pause * 2, _LONGEST_PAUSE)
