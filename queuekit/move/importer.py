"""Brings the jobs of an export into a store, which goes on working meanwhile: batch by batch, each read back.

What a file holds, and that it is whole, is known from `contents`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from queuekit.domain.job import JobRecord
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.moving import Clash, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import Conflict, Moved, PayloadTooLarge, Unsupported
from queuekit.move.contents import About, Batch, Contents, Lines, batches
from queuekit.move.contents import schedules as schedules_of
from queuekit.move.reading import parsed
from queuekit.move.records import Digests, compact, digest, schedule_digest
from queuekit.move.values import SCHEDULES
from queuekit.store.parts import MovingStore, Schedules
from queuekit.store.protocol import JobStore

Told = Callable[[str, int, int], None]  # queue, jobs so far, jobs in all


@dataclass(slots=True, kw_only=True)
class Planned:
    """What of a file's schedules is in a store."""

    new: int = 0
    same: int = 0  # as in the file, or fired on since
    differ: list[str] = field(default_factory=list)  # "queue/id"; they stay as they are

    def add(self, mine: ScheduleRecord, there: ScheduleRecord | None) -> None:
        """Count one of the file's."""
        if there is None:
            self.new += 1
        elif there.definition == mine.definition and there.rev >= mine.rev:
            self.same += 1
        else:
            self.differ.append(f"{mine.queue}/{mine.id}")


@dataclass(slots=True, kw_only=True)
class Compared:
    """What of a file is in a store."""

    new: int = 0
    same: int = 0
    differ: list[str] = field(default_factory=list)  # "queue/id"


@dataclass(slots=True, kw_only=True)
class Imported:
    """What became of a file."""

    taken: dict[str, Digests] = field(default_factory=dict)  # by queue: jobs that came in, in the state they got
    same: int = 0  # jobs that were there already, exactly so
    clashes: list[tuple[str, Clash]] = field(default_factory=list)  # (queue, what is in the way); not taken in
    damaged: list[str] = field(default_factory=list)  # "queue/id" of jobs that do not read back as they were written
    again: int = 0  # jobs that ran at the time of the export, and will run again
    kept: list[str] = field(default_factory=list)  # queues whose own configuration stayed
    schedules: Planned = field(default_factory=Planned)  # `new`: that came in

    @property
    def jobs(self) -> int:
        return sum(one.total for one in self.taken.values())

    @property
    def agrees(self) -> bool:
        return not self.clashes and not self.damaged and not self.schedules.differ


async def compare(
    store: JobStore, lines: Lines, contents: Contents, queues: Collection[str] = ()
) -> dict[str, Compared]:
    """Which jobs of a checked file are in the store, by queue."""
    found: dict[str, Compared] = {}
    for batch in batches(lines, contents, queues):
        mine = found.setdefault(batch.queue, Compared())
        for parcel, there in zip(batch.parcels, await _get(store, batch), strict=True):
            if there is None:
                mine.new += 1
            elif _alike(there, parcel):
                mine.same += 1
            else:
                mine.differ.append(f"{batch.queue}/{parcel.record.id}")
    return found


async def compare_schedules(
    store: JobStore, lines: Lines, contents: Contents, queues: Collection[str] = ()
) -> dict[str, Planned]:
    """Which schedules of a checked file are in the store, by queue."""
    found: dict[str, Planned] = {}
    chosen = [name for name in contents.schedules if not queues or name in queues]
    for page in schedules_of(lines, chosen) if chosen else ():
        mine = found.setdefault(page[0].queue, Planned())
        for record, there in zip(page, await _get_schedules(store, page), strict=True):
            mine.add(record, there)
    return found


async def take_in(
    store: MovingStore,
    lines: Lines,
    contents: Contents,
    *,
    queues: Collection[str] = (),
    merge: bool = False,
    schedules: bool = True,
    told: Told | None = None,
) -> Imported:
    """Bring the jobs of a checked file into the store, in the order they had, behind those that wait there, and the
    schedules that are not there: they fire from then on.

    Repeat it where it was killed: every job comes in once. Without `merge` it refuses to begin where the store has some
    of the jobs and lacks others, for those may have run and been removed. Raises Conflict then; Moved, Unsupported.
    """
    if "mover" not in store.capabilities.parts:
        raise Unsupported("this store takes no jobs in from files: it lacks the part mover")
    chosen = [name for name in contents.queues if not queues or name in queues]
    planned = _planned(store, contents, chosen) if schedules else []
    notes = {name: await _begun(store, name, contents) for name in chosen}
    over = {name for note in notes.values() if note is not None for name in note.over}
    anew = [name for name in chosen if notes[name] is None and name not in over]
    if anew and not merge:
        for name, there in (await compare(store, lines, contents, anew)).items():
            _refuse_a_part(name, there)
    done, read, total = Imported(), 0, sum(contents.queues[name].total for name in chosen)
    begun: dict[str, _Queue] = {}
    for batch in batches(lines, contents, chosen):
        if batch.queue in over:
            done.same += len(batch.parcels)
        else:
            if batch.queue not in begun:
                begun[batch.queue] = _Queue(store, batch.about, contents, done)
                await begun[batch.queue].begin(notes[batch.queue])
            await begun[batch.queue].take(batch)
        read += len(batch.parcels)
        if told is not None:
            told(batch.queue, read, total)
    planned = [name for name in planned if name in begun]
    for page in schedules_of(lines, planned) if planned else ():  # behind the jobs: a slot that made one makes no other
        await begun[page[0].queue].plan(page)
    for queue in begun.values():
        await queue.say_over(tuple(begun))
    for name in chosen:
        note = notes[name] if name in over else begun[name].note
        if note is not None:
            await _give_back(store, name, contents, note)
    return done


def _planned(store: JobStore, contents: Contents, queues: Collection[str]) -> list[str]:
    """The queues that a file has schedules of. Raises Unsupported where the store keeps none."""
    planned = [name for name in queues if contents.schedules.get(name)]
    if planned and SCHEDULES not in store.capabilities.parts:
        raise Unsupported("this store keeps no schedules, and the file has some: --no-schedules leaves them out")
    return planned


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What the journal of a queue says beside its batches."""

    add: dict[str, int] = field(default_factory=dict)  # totals, for a queue that had nothing: it counts on from these
    over: tuple[str, ...] = ()  # queues that all of the file's jobs have come into

    @property
    def bytes(self) -> bytes:
        return compact({"add": self.add, "over": list(self.over)})


@dataclass
class _Queue:
    """One queue that a file comes into."""

    store: MovingStore
    about: About
    contents: Contents
    done: Imported
    epoch: int = 0
    note: _Note = field(default_factory=_Note)
    number: int = 0

    @property
    def name(self) -> str:
        return self.about.name

    async def begin(self, note: _Note | None) -> None:
        """Take the authority, unless this very file has it from a try before: then its journal holds."""
        conf = await _here(self.store, self.name)
        if note is not None:
            self.epoch, self.note = conf.epoch, note
        else:
            self.epoch = conf.epoch + 1
            counts = await self.store.count(self.name)
            fresh = counts.totals == Totals() and not any(counts.states.values())
            self.note = _Note(add=asdict(self.about.totals) if fresh else {})
            await self.store.authority(self.name, self.epoch, _by(self.contents), Home.HERE, None)
        if conf.rev == 0 and (self.about.declared, self.about.override) != (Limits(), Limits()):
            layers = QueueConf(rev=0, declared=self.about.declared, override=self.about.override)
            await self.store.configure(self.name, layers)
        elif (conf.declared, conf.override) != (self.about.declared, self.about.override):
            self.done.kept.append(self.name)
        self.done.taken.setdefault(self.name, Digests())

    async def take(self, batch: Batch) -> None:
        """Bring a batch in, and read it back."""
        self.number += 1
        try:
            clashes = await self.store.import_batch(
                self.name, self.epoch, self.number, batch.parcels, batch.keys, self.note.bytes
            )
        except PayloadTooLarge as error:
            raise PayloadTooLarge(
                f"queue {self.name}: {error}. What came before it is in; raise QUEUEKIT_PAYLOAD_LIMIT and import again"
            ) from error
        clashing = {clash.id: clash for clash in clashes}
        for parcel, there in zip(batch.parcels, await _get(self.store, batch), strict=True):
            job, clash = parcel.record, clashing.get(parcel.record.id)
            alike = there is not None and _alike(there, parcel)
            if clash is None:
                self.done.taken[self.name].add(job)
                if there is not None and not alike and there.rev <= job.rev:
                    self.done.damaged.append(f"{self.name}/{job.id}")
            elif clash.why == "id" and alike:
                self.done.same += 1
            else:
                self.done.clashes.append((self.name, clash))
        self.done.again += batch.ran

    async def plan(self, page: Sequence[ScheduleRecord]) -> None:
        """Bring schedules in that are not there, and read them back."""
        new: list[ScheduleRecord] = []
        for record, there in zip(page, await _get_schedules(self.store, page), strict=True):
            self.done.schedules.add(record, there)
            new += [record] if there is None else []
        if not new:
            return
        try:
            await cast("Schedules", self.store).take_schedules(self.name, self.epoch, new)
        except PayloadTooLarge as error:
            raise PayloadTooLarge(
                f"queue {self.name}: {error}. What came before it is in; raise QUEUEKIT_PAYLOAD_LIMIT and import again"
            ) from error
        for record, there in zip(new, await _get_schedules(self.store, new), strict=True):
            if there is None or (there.rev <= record.rev and schedule_digest(there) != schedule_digest(record)):
                self.done.damaged.append(f"{self.name}/{record.id} (schedule)")

    async def say_over(self, names: tuple[str, ...]) -> None:
        """Journal that all of `names` is in: who goes on from here has only to give the authority back."""
        self.note = replace(self.note, over=names)
        await self.store.import_batch(self.name, self.epoch, self.number + 1, [], [], self.note.bytes)


async def _give_back(store: MovingStore, name: str, contents: Contents, note: _Note) -> None:
    """Give the authority back, and with it the journal."""
    epoch = (await store.conf(name)).epoch + 1
    await store.authority(name, epoch, _by(contents), Home.HERE, None, add=Totals(**note.add) if note.add else None)


def _by(contents: Contents) -> str:
    return f"import {contents.id}"


async def _here(store: JobStore, name: str) -> QueueConf:
    conf = await store.conf(name)
    if conf.home is not Home.HERE or conf.to is not None:
        raise Moved(
            f"queue {name} is {conf.home}, the other side is {conf.to}: import where it lives, or after the move",
            to=conf.to,
        )
    return conf


async def _begun(store: MovingStore, name: str, contents: Contents) -> _Note | None:
    """What the journal says, if a try before of this very file has the authority."""
    conf, journal = await _here(store, name), await store.journal(name)
    if journal is None:
        return None
    try:
        await store.authority(name, conf.epoch, _by(contents), Home.HERE, None)
    except Conflict:
        return None
    said = parsed(journal.note)
    return _Note(add=said["add"], over=tuple(said["over"]))


async def _get(store: JobStore, batch: Batch) -> Sequence[JobRecord | None]:
    return await store.get(batch.queue, [parcel.record.id for parcel in batch.parcels]) if batch.parcels else []


async def _get_schedules(store: JobStore, page: Sequence[ScheduleRecord]) -> list[ScheduleRecord | None]:
    if SCHEDULES not in store.capabilities.parts:
        return [None] * len(page)
    return await cast("Schedules", store).get_schedules(page[0].queue, [record.id for record in page])


def _alike(there: JobRecord, parcel: Parcel) -> bool:
    return digest(there) == digest(parcel.record)


def _refuse_a_part(name: str, there: Compared) -> None:
    """Raises Conflict where some of the file's jobs are in the queue and others are not."""
    here, some = there.same + len(there.differ), ", ".join(there.differ[:5])
    if there.new and here:
        changed = f" ({len(there.differ)} changed since: {some}{', …' if len(there.differ) > 5 else ''})"
        raise Conflict(
            f"queue {name}: {here} of the file's jobs are in the store already{changed if some else ''}, "
            f"{there.new} are not: they may have been there, run, and been removed. "
            "Say --merge to bring those in; the others stay as they are"
        )
