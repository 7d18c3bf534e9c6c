"""One queue from one store to the other: the steps of docs/decisions/080 in their order, each safe to repeat.

Every start, and every surprise, goes through `takeover`: what is true stands in the two stores, never here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from typing import Final, TypeVar

from queuekit import ids
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import HeldKey, Journal, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals, Where
from queuekit.domain.state import State
from queuekit.errors import Conflict, MoveStopped
from queuekit.move import schedules
from queuekit.move.end import End, Epochs, Fenced
from queuekit.move.flow import Batch, Flow, is_held
from queuekit.move.layers import carry
from queuekit.move.note import Note, minus
from queuekit.move.places import Places
from queuekit.move.records import digest
from queuekit.move.rollback import reclaim
from queuekit.move.telling import Telling
from queuekit.move.values import Options, Phase, Side
from queuekit.store.retry import Waiter

R = TypeVar("R")
PAGE: Final = 200  # running jobs a call
KEYS: Final = 1000
ROOM: Final = 100_000  # places more than jobs that were counted
RECOVER: Final = 5.0  # seconds between two looks for dead workers at the source


class Crossing:
    """The move of one queue by this process."""

    def __init__(
        self, source: Side, target: Side, queue: str, *, options: Options, waiter: Waiter, telling: Telling
    ) -> None:
        epochs, by = Epochs(), ids.nonce()
        self.queue, self.waiter, self.telling, self.report = queue, waiter, telling, telling.report
        self.source = End(source, queue, by=by, epochs=epochs, waiter=waiter, patience=options.patience)
        self.target = End(target, queue, by=by, epochs=epochs, waiter=waiter, patience=options.patience)
        self.flow = Flow(self.source, self.target, options, self.report, lambda: telling.batch(self.flow.note))
        self._began = False
        self._room = 0  # places that this process had set free
        self.returns = False  # an abort: its source was the target
        self.rolled = False  # the source lost writes, and what moved is not confirmed anew yet
        self._seen = False  # all that runs at the source is held at the target
        self._recovered = -RECOVER

    async def steadily(self, step: Callable[[], Awaitable[R]], *, first: bool = False) -> R:
        """A step; behind a takeover if it is the first, and as often as a store rolls back. Raises Conflict for
        another mover."""
        behind = first
        while True:
            try:
                if behind:
                    await self.takeover()
                return await step()
            except Fenced as fenced:
                await self.fenced(fenced)
                behind = True

    async def fenced(self, fenced: Fenced) -> None:
        """Tell a store that rolled back from another mover, which is left alone."""
        end = fenced.end
        conf = await end.conf()
        if conf.epoch > end.epoch:
            raise Conflict(
                f"queue {self.queue}: another mover took over at {end.name}; this one stops. Nothing is lost: let the"
                " other end, or --resume to take over from it"
            ) from fenced.__cause__
        if conf.epoch == end.epoch:
            raise MoveStopped(
                f"queue {self.queue}: {end.name} refused: {fenced.__cause__}. --resume goes on", queue=self.queue
            ) from fenced.__cause__
        self.report.notes.append(f"{end.name} lost its last writes (a failover?): what had moved was compared anew")
        self.rolled = self.rolled or end is self.source

    async def takeover(self) -> None:
        """Take both sides under new epochs, the target first, and put in order what a mover before left on its way."""
        source, target = await self.source.conf(), await self.target.conf()
        counts = await self.source.ask(self.source.store.count, self.queue)
        total = sum(counts.states.values())
        if target.home is Home.GONE:
            await self._returning(target)
        elif target.home is Home.HERE and target.to is None and (await self.target.journal()).taken:
            await self.target.become(Home.HERE, None)  # an import was not ended: its journal is no move's
        if target.home is Home.HERE and (target.to == self.source.name or source.home is Home.GONE):
            await self.target.become(Home.HERE, self.source.name)
        else:
            made = target.home is Home.ARRIVING and Note.load((await self.target.journal()).note).room
            room = 0 if made else 2 * total + ROOM  # a mover that died before it noted its room seated nobody in it
            await self.target.become(Home.ARRIVING, self.source.name, room=room)
            self._room = room or self._room
        if source.home is Home.HERE:  # who knew the target from before asks the source for ids and keys from now on
            await self.target.settled()
        away = source.home is Home.GONE and self.target.home is Home.HERE
        await self.source.become(Home.GONE if away else Home.MOVING, self.target.name)
        if source.home is Home.HERE:
            self.telling.paused()
        own, theirs = await self.target.journal(), await self.source.journal()
        self.go_on(own, theirs, source.epoch, unmoved=source.home is Home.HERE)
        self.flow.note.total = self.flow.note.total or total
        if self.target.home is Home.ARRIVING:
            await carry(self.source, self.target, returned=self.flow.note.returned)
        await self._put_in_order(own, theirs)

    async def _returning(self, target: QueueConf) -> None:
        """Note that the target gave this queue away once: what it counted and was told then is old."""
        counts = await self.target.ask(self.target.store.count, self.queue)
        note = Note(owed=asdict(counts.totals), returned=True)
        taken = (await self.target.journal()).taken
        self.target.epoch = target.epoch
        await self.target.import_batch(max(taken, default=-1) // 2 * 2 + 3, (), (), note.dump())

    def go_on(self, own: Journal, theirs: Journal, epoch: int, *, unmoved: bool = False) -> None:
        """The note of the mover before, brought up to now; `epoch` and `unmoved` are what the source was before."""
        note = Note.load(own.note)
        if not own.note and theirs.note:  # an abort: its source was the target
            note.owed = Note.load(theirs.note).owed
        note.both += [name for name in self.flow.note.both if name not in note.both]
        travelled = [n for n in own.taken if n % 2 == 0]
        self.rolled = self.rolled or epoch < note.source_epoch or (unmoved and bool(travelled))
        taken = set(own.taken)
        lost = sum(jobs for n, jobs in self.flow.confirmed.items() if n not in taken)
        if lost:
            raise MoveStopped(
                f"queue {self.queue}: {self.target.name} lost {lost} jobs that it had acknowledged and shown; they were"
                f" removed at {self.source.name} on its word. Look for them in its backups; --resume brings the rest",
                queue=self.queue,
            )
        if self.target.home is Home.ARRIVING:
            note.base = self.target.stand.base
        note.room = self._room or note.room or ROOM
        note.began, note.arriving = note.began or self.source.stand.now, note.arriving or self.target.stand.now
        note.source_epoch = self.source.epoch
        mark = self.source.stand.mark
        if self.returns:  # what came into being over there goes behind all that never left
            there = Note.load(theirs.note)
            mark = min(mark, there.base + there.room)
        self.flow.note, self.flow.places = note, Places(note, mark)
        if not self._began:
            self._began, self.report.before = True, sum(note.moved.values())
        self.flow.clashing.clear()
        self.report.clashes.clear()
        self._seen = False

    async def _put_in_order(self, own: Journal, theirs: Journal) -> None:
        flow = self.flow
        flow.number = max(flow.number, *(n for n in (*own.taken, *theirs.out, 0) if n % 2 == 0))
        flow.odd = max(flow.odd, *(n for n in (*own.taken, 1) if n % 2))
        await self._find_held(n for n in own.taken if n % 2)
        if self.rolled:
            await self.source.settled()
            for number in own.taken:
                if number % 2 == 0:
                    await reclaim(flow, number, await self.target.taken(number))
            if self.target.home is Home.HERE:
                await schedules.name_late(flow)
            self.rolled = False
        if flow.note.batch not in theirs.out:
            flow.note.arrived = flow.note.left  # it was removed at the source, so it had been compared
        await self.finish_out(own, theirs)
        await self._hold_running()
        self.telling.sum_up(flow.note)

    async def finish_out(self, own: Journal, theirs: Journal) -> None:
        """Batches that left the source and were not removed there: the target has them, or it gets them now."""
        for number in theirs.out:
            parcels = await self.source.checkout(number, self.flow.limit)
            if not parcels:
                if number == self.flow.note.batch:  # it was removed at the source, so it had been compared
                    self.flow.note.arrived = self.flow.note.left
                continue
            batch = Batch(number, parcels)
            if number in own.taken:
                await self._compare_again(batch)
            else:
                await self.flow.bring(batch)
            await self.flow.settle(batch)

    async def finish_taken(self, number: int) -> None:
        """Compare and remove what the target has taken in of a batch."""
        batch = Batch(number, await self.source.checkout(number, self.flow.limit))
        await self._compare_again(batch)
        await self.flow.settle(batch)

    async def _compare_again(self, batch: Batch) -> None:
        """What was not taken in goes back to its line when the batch is settled, and is tried anew."""
        note, arrived = self.flow.note, set(await self.target.taken(batch.number))
        counted = batch.number == note.batch != note.compared
        for parcel in batch.parcels:
            if counted and parcel.record.id not in arrived:
                note.count(parcel.record.state.value, digest(parcel.record), -1)
        batch.parcels = [parcel for parcel in batch.parcels if parcel.record.id in arrived]
        batch.digests = [digest(parcel.record) for parcel in batch.parcels]
        if counted:  # all else had been compared, also what was removed of this one before its mover died
            note.arrived = note.left
            for own in batch.digests:
                note.arrive(own, -1)
        await self.flow.compare(batch, (), count=counted)

    async def _find_held(self, numbers: Iterable[int]) -> None:
        """What a mover before has held at the target."""
        for number in numbers:
            taken = await self.target.taken(number)
            if not taken:
                continue
            for job in await self.target.ask(self.target.store.get, self.queue, taken):
                if job is not None and is_held(job):
                    self.flow.places.held[job.id] = job.place

    async def _hold_running(self) -> int:
        """Learn what runs at the source; hold what stood before jobs that are there already. How many that were."""
        after, late = "", list[Parcel]()
        while True:
            page = await self.source.ask(self.source.store.running, self.queue, after, PAGE)
            late += self.flow.places.run(page)
            if self.target.home is Home.HERE:
                late += self.flow.places.rest()
            if len(page) < PAGE:
                break
            after = page[-1].record.id
        await self.flow.hold(late)
        return len(late)

    async def jobs(self) -> None:
        """Live jobs, then the commit point. From here on the target works."""
        if self.target.home is not Home.ARRIVING:
            return
        self.telling.enter(Phase.JOBS)
        early = not self.source.is_settled
        await schedules.carry(self.flow)  # first of all: what has come is there, should the source be lost
        await self.flow.run(history=False)
        await self._hold_running()
        await self.flow.hold(self.flow.places.rest())
        self.telling.enter(Phase.OPEN)
        await carry(self.source, self.target, returned=self.flow.note.returned)
        if early:
            await self.source.settled()
            await schedules.carry(self.flow)
        await self._keys()
        note = self.flow.note
        note.carried = asdict(minus(await self._totals(), note.owed))
        await self.flow.write()
        await self.target.become(Home.HERE, self.source.name, add=Totals(**note.carried))
        self.telling.opened()

    async def history(self) -> None:
        """What had ended, while the target works."""
        self.telling.enter(Phase.HISTORY)
        if self.source.home is not Home.GONE:
            await self.flow.run(history=True)

    async def look(self) -> bool:
        """One look at what still runs at the source; True when the queue has moved."""
        await self.jobs()
        if self.source.home is not Home.GONE and not await self._emptied():
            return False
        return await self._sweep()

    async def _emptied(self) -> bool:
        """Take what has ended; once nothing runs and nothing can come any more, the source is told so."""
        self.telling.enter(Phase.TAIL)
        await self._recover()
        await self.flow.run(history=True)
        counts = await self.source.ask(self.source.store.count, self.queue)
        active = counts.states.get(State.ACTIVE, 0)
        await self._vanished(active)
        if active:
            self.telling.tail(self.flow.note, counts, await self._since())
            return False
        await self.source.settled()
        await self.flow.run(history=True)
        if await self._hold_running():
            return False
        await self._keys()
        await self.source.become(Home.GONE, self.target.name)
        return True

    async def _sweep(self) -> bool:
        """The last look at a source that is gone; False where something came up all the same."""
        self.telling.enter(Phase.SWEEP)
        await self.source.settled()
        await self.flow.run(history=True)
        theirs = await self.source.journal()
        theirs.out = [number for number in theirs.out if number not in self.flow.clashing]
        if theirs.out:  # the late twin of a checkout
            await self.finish_out(await self.target.journal(), theirs)
            return False
        if await self._hold_running():
            await self.source.become(Home.MOVING, self.target.name)
            return False
        await self.target.unhold()
        await self.flow.restore_clashes()
        note = self.flow.note
        await self.target.become(Home.HERE, None, add=minus(await self._totals(), note.owed, note.carried))
        self.telling.sum_up(note)
        self.telling.enter(Phase.DONE)
        return True

    async def _totals(self) -> Totals:
        return (await self.source.ask(self.source.store.count, self.queue)).totals

    async def _keys(self) -> None:
        """Unique keys held for a time by jobs that are gone."""
        after = ""
        while True:
            page: list[HeldKey] = await self.source.ask(self.source.store.timed_keys, self.queue, after, KEYS)
            if page:
                await self.flow.write(keys=page)
            if len(page) < KEYS:
                return
            after = page[-1].key

    async def _recover(self) -> None:
        """The source's workers may be gone: then nobody else calls this."""
        now = self.waiter.monotonic()
        if now - self._recovered < RECOVER:
            return
        self._recovered, more = now, True
        while more:
            every = int(RECOVER * 1000)
            more = (await self.source.ask(self.source.store.recover, self.queue, every=every)).more

    async def _vanished(self, active: int) -> None:
        """Held jobs that ended at the source without a trace: nothing comes to replace them."""
        held = list(self.flow.places.held)
        if len(held) <= active:
            return
        for at in range(0, len(held), KEYS):
            some = held[at : at + KEYS]
            found = await self.source.ask(self.source.store.get, self.queue, some)
            gone = [name for name, job in zip(some, found, strict=True) if job is None]
            if gone:
                await self.target.unhold(gone)
            for name in gone:
                del self.flow.places.held[name]

    async def _since(self) -> int | None:
        where = Where(state=State.ACTIVE, limit=100)
        found = await self.source.ask(self.source.store.find, self.queue, where)
        return min((job.claimed_at for job in found.records if job.claimed_at is not None), default=None)
