"""Batches on their way: out of the source, into the target, read back and compared, and only then removed.

Three lanes work at once: while the target takes one batch in, the source gives the next and forgets the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Clash, HeldKey, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.state import TERMINAL
from queuekit.errors import MoveStopped, PayloadTooLarge
from queuekit.move.end import End
from queuekit.move.note import Note
from queuekit.move.places import Places
from queuekit.move.records import digest
from queuekit.move.values import Options, QueueReport
from queuekit.store.retry import Waiter

A = TypeVar("A")
B = TypeVar("B")
CHUNK: Final = 4 * 1024 * 1024  # bytes of held jobs in one import
MOST: Final = 100  # batches that have arrived and wait for their removal
NAMED: Final = 20  # ids in a message; all are in its `ids`


@dataclass(slots=True)
class Batch:
    """What left the source under one number."""

    number: int
    parcels: list[Parcel]
    digests: list[bytes] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)  # ids to be removed at the source
    clashes: list[Clash] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # taken in, and not there: sent once more


class Pace:
    """At most so many jobs a second."""

    def __init__(self, rate: int | None, waiter: Waiter) -> None:
        self.rate, self._waiter, self._next = rate, waiter, 0.0

    async def spend(self, jobs: int) -> None:
        if self.rate is None:
            return
        now = self._waiter.monotonic()
        self._next = max(self._next, now) + jobs / self.rate
        if self._next > now:
            await self._waiter.sleep(self._next - now)


class Flow:
    """The batches of one queue. Numbers: even ones travel, odd ones are only taken in (held jobs, keys, notes)."""

    def __init__(self, source: End, target: End, options: Options, report: QueueReport, tell: Callable[[], None]):
        self.source, self.target, self.options, self.report, self._tell = source, target, options, report, tell
        self.note, self.places = Note(), Places(Note(), 0)
        self.number = 0  # the last even one used
        self.odd = 1
        self.clashing: dict[int, list[Clash]] = {}  # by batch: what stays out until the end
        self.confirmed: dict[int, int] = {}  # batches removed at the source by this process, and how many jobs
        self._resent: set[str] = set()
        self._pace = Pace(options.rate, source.waiter)
        self.limit = options.batch if options.rate is None else max(1, min(options.batch, options.rate))

    async def run(self, *, history: bool) -> None:
        """Until the source has no more to give."""
        done = deque[Batch]()  # arrived, and not removed yet
        again = False  # a batch that was not wholly there went back to its line, maybe behind the last look at it
        ahead = await self._take(history=history)
        while ahead is not None:
            give = both(self._take(history=history), self._settle_some(done))
            (following, missing), _ = await both(give, self.bring(ahead))
            done.append(ahead)
            again, ahead = again or missing, following
        while done:
            again = await self._settle_some(done, wait=True) or again
        if again:
            await self.run(history=history)

    async def _settle_some(self, done: deque[Batch], *, wait: bool = False) -> bool:
        """The first two, as soon as that may be; whether something of them was missing."""
        missing = False
        if self.source.is_settled or wait or len(done) >= MOST:
            for batch in [done.popleft() for _ in range(min(2, len(done)))]:
                await self.settle(batch)
                missing = missing or bool(batch.missing)
        return missing

    async def _take(self, *, history: bool) -> Batch | None:
        self.number += 2
        parcels = await self.source.checkout(self.number, self.limit, history=history)
        await self._pace.spend(len(parcels))
        return Batch(self.number, parcels) if parcels else None

    async def bring(self, batch: Batch) -> None:
        """Into the target, and compare what is there then."""
        batch.digests = [digest(parcel.record) for parcel in batch.parcels]
        for parcel, own in zip(batch.parcels, batch.digests, strict=True):
            self.note.count(parcel.record.state.value, own)
        between = self.places.seat(batch.parcels)
        self.note.pending |= {parcel.record.id: parcel.record.place for parcel in between}
        self.note.batch = batch.number
        try:
            clashes = await self.target.import_batch(batch.number, batch.parcels, (), self.note.dump())
        except PayloadTooLarge as error:
            raise MoveStopped(
                f"queue {self.target.queue}: {self.target.name} refuses a job that is larger than it allows: {error}."
                " Raise the payload limit (QUEUEKIT_PAYLOAD_LIMIT) for it, then --resume; or --abort",
                queue=self.target.queue,
            ) from error
        await self.compare(batch, clashes)
        again = {parcel.record.id: parcel.record.place for parcel in batch.parcels if not parcel.back}
        self.note.pending |= {name: again[name] for name in batch.missing if name in again}
        batch.parcels, batch.digests = [], []  # many may wait for their removal
        if between:
            await self.hold(between)

    async def compare(self, batch: Batch, clashes: Sequence[Clash], *, count: bool = True) -> None:
        """Read back what was taken in; fills `arrived`, `clashes`, `missing`. Raises MoveStopped for a difference."""
        batch.clashes = await self._clashing(batch, clashes)
        out, known = {clash.id for clash in batch.clashes}, {clash.id for clash in clashes}
        ids = [parcel.record.id for parcel in batch.parcels]
        found = await self.target.ask(self.target.store.get, self.target.queue, ids)
        wrong: list[str] = []
        for parcel, own, there in zip(batch.parcels, batch.digests, found, strict=True):
            job = parcel.record
            if job.id in out:
                self._back(job, own, count=count)
                continue
            if there is None and self._must_be_there(job):
                self._back(job, own, count=count)
                batch.missing.append(job.id)
                continue
            if there is not None and job.id not in known and digest(there) != own:
                if there.rev <= job.rev:
                    wrong.append(job.id)
                    continue
                if self.target.home is Home.ARRIVING and len(self.report.changed) < 1000:
                    self.report.changed.append(job.id)
            if count:
                self.note.arrive(own)
            batch.arrived.append(job.id)
            self.note.pending.pop(job.id, None)
        self.note.compared = max(self.note.compared, batch.number)
        twice = [name for name in batch.missing if name in self._resent]
        if wrong or twice:
            raise self._different(wrong or twice, "are not what was sent" if wrong else "are not there, twice over")

    def _must_be_there(self, job: JobRecord) -> bool:
        """Where nobody works yet, a live job cannot have ended and been removed."""
        quiet = self.target.home is Home.ARRIVING and job.state not in TERMINAL and job.expires_at is None
        return quiet or job.id in self._resent

    def _back(self, job: JobRecord, own: bytes, *, count: bool) -> None:
        if count:
            self.note.count(job.state.value, own, -1)

    async def _clashing(self, batch: Batch, clashes: Sequence[Clash]) -> list[Clash]:
        """Without those that are the very same job: it came before, and the source has it again."""
        ids = [clash.id for clash in clashes if clash.why == "id"]
        if not ids:
            return list(clashes)
        found = await self.target.ask(self.target.store.get, self.target.queue, ids)
        there = {job.id: job for job in found if job is not None}
        mine = {parcel.record.id: parcel.record for parcel in batch.parcels}
        real: list[Clash] = []
        for clash in clashes:
            job, copy = mine[clash.id], there.get(clash.id)
            if clash.why != "id" or copy is None or not _same(job, copy):
                real.append(clash)
            elif (job.claimed_at or 0) >= self.note.began and digest(job) != digest(copy):
                self.note.name(job.id)
        return real

    async def settle(self, batch: Batch) -> None:
        """Remove at the source what has arrived; what clashes stays out, what was missing goes back to its line."""
        number = batch.number
        if batch.clashes:
            self.clashing[number] = batch.clashes
            self.report.clashes += batch.clashes
            number = self._odd()  # not out: so that the batch stays out with what it has left
        answer = await self.source.confirm(number, batch.arrived)
        if batch.missing:
            self._resent.update(batch.missing)
            await self.source.restore(batch.number, batch.missing)
        self.confirmed[batch.number] = len(batch.arrived)
        for name in answer.active:
            self.note.name(name)
        self._tell()

    async def hold(self, parcels: Sequence[Parcel]) -> None:
        """Let jobs that run at the source occupy their ids and keys at the target, at their places."""
        for chunk in chunks(parcels, self.options.batch):
            for parcel in chunk:
                self.note.pending.pop(parcel.record.id, None)
            await self.write(chunk)
            ids = [parcel.record.id for parcel in chunk]
            for job in await self.target.ask(self.target.store.get, self.target.queue, ids):
                if job is not None and is_held(job):
                    self.places.held[job.id] = job.place

    async def write(self, parcels: Sequence[Parcel] = (), keys: Sequence[HeldKey] = ()) -> None:
        """Take in what does not travel, or only the note."""
        await self.target.import_batch(self._odd(), parcels, keys, self.note.dump())

    async def restore_clashes(self) -> None:
        """Back to the source's lines, where they are seen and can be changed; nobody claims them there any more."""
        for number in list(self.clashing):
            await self.source.restore(number)
            del self.clashing[number]

    def _odd(self) -> int:
        self.odd += 2
        return self.odd

    def _different(self, ids: Sequence[str], what: str) -> MoveStopped:
        named = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
        return MoveStopped(
            f"queue {self.target.queue}: {len(ids)} jobs read back at {self.target.name} {what}: {named}."
            " Nothing of their batch was removed at the source: look at one with `queuekit jobs show` on both sides;"
            " --resume compares again, --abort brings all back",
            queue=self.target.queue,
            ids=ids,
        )


def is_held(job: JobRecord) -> bool:
    """Whether a job only stands for one that runs at the source."""
    return job.token is None and job.state.value == "active"


def chunks(parcels: Sequence[Parcel], limit: int) -> list[list[Parcel]]:
    """Pieces of at most `limit` jobs and about 4 MiB."""
    pieces: list[list[Parcel]] = []
    size = 0
    for parcel in parcels:
        own = len(parcel.record.body)
        if not pieces or len(pieces[-1]) >= limit or size + own > CHUNK:
            pieces.append([])
            size = 0
        pieces[-1].append(parcel)
        size += own
    return pieces


def _same(mine: JobRecord, there: JobRecord) -> bool:
    """Whether two records are one job, and the one at the target knows all that this one does."""
    alike = (mine.created_at, mine.task, mine.version, mine.body) == (
        there.created_at, there.task, there.version, there.body
    )  # fmt: skip
    return alike and there.rev >= mine.rev


async def both(first: Coroutine[None, None, A], second: Coroutine[None, None, B]) -> tuple[A, B]:
    """Two at once; when one fails the other is waited for, so that nothing is under way afterwards. Who is cancelled
    cancels both: a store that is away would be waited for as long as it may be."""
    beside = asyncio.create_task(first)
    try:
        own = await second
    except asyncio.CancelledError:
        beside.cancel()
        await asyncio.wait((beside,))
        raise
    except BaseException:
        await asyncio.wait((beside,))
        if not beside.cancelled():
            beside.exception()  # the first to be told is enough
        raise
    return await beside, own
