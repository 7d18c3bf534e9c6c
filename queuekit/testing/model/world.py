"""What the model store keeps: plain records in dicts under one lock, and who waits for a change."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from queuekit import clock, ids
from queuekit.domain.job import JobRecord, Retention, UniqueKey
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Clash
from queuekit.domain.outcome import Op
from queuekit.domain.query import Totals, WorkerBeat
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import LIVE, Line, State
from queuekit.errors import Stale

OPS_KEPT: Final = 86_400_000  # ms an actor is remembered after its last call
_LINES = {Line.SUSPECT: 0, Line.READY: 1, Line.HELD: 2}


@dataclass(slots=True)
class OpRecord:
    """The last call of an actor and what was answered."""

    n: int
    seen: int
    answer: object


@dataclass(slots=True)
class Held:
    """Who holds a unique key, and until when."""

    id: str
    until: str
    expires: int | None = None


@dataclass(slots=True)
class QueueData:
    """All of one queue."""

    name: str
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    conf: QueueConf = field(default_factory=QueueConf)
    totals: Totals = field(default_factory=Totals)
    ops: dict[str, OpRecord] = field(default_factory=dict)
    unique: dict[str, Held] = field(default_factory=dict)
    schedules: dict[str, ScheduleRecord] = field(default_factory=dict)
    deleted: int = 0  # the highest rev of a schedule that was deleted: a new one gets a higher one
    awaited: set[str] = field(default_factory=set)
    taken: dict[str, tuple[str | None, int]] = field(default_factory=dict)  # claim, and lines it reported, by job
    last: int = 0  # places given at the back
    first: int = 0  # and before all
    mover: str = ""  # the nonce of who wrote the epoch
    mark: int = 0  # `last` when the queue began to move
    base: int = 0  # the first place of the room made for what arrives
    out: dict[int, list[str]] = field(default_factory=dict)  # checked out, by batch
    taken_in: dict[int, tuple[list[str], list[Clash]]] = field(default_factory=dict)  # ids, clashes by batch
    note: bytes = b""  # the mover's own
    seen: int | None = None  # the last recover
    pace: int | None = None  # the least cadence of it since the last absence
    grace_until: int | None = None
    marker: bool = False

    def back(self) -> int:
        """A new place behind all."""
        self.last += 1
        return self.last

    def front(self) -> int:
        """A new place before all."""
        self.first -= 1
        return self.first

    @property
    def absent(self) -> set[str]:
        """Ids of the jobs that are checked out."""
        return {name for out in self.out.values() for name in out}

    @property
    def present(self) -> list[JobRecord]:
        """The jobs that are not checked out."""
        absent = self.absent
        return [job for job in self.jobs.values() if job.id not in absent]

    def of(self, state: State) -> list[JobRecord]:
        """The jobs of a state in the order `find` promises."""
        return sorted((job for job in self.present if job.state is state), key=order_of(state))

    def held(self, key: str, now: int) -> Held | None:
        """The holder of a unique key, if it is held now."""
        holder = self.unique.get(key)
        if holder is None:
            return None
        if holder.until == "time":
            return holder if (holder.expires or 0) > now else None
        job = self.jobs.get(holder.id)
        open_states = LIVE if holder.until == "finished" else LIVE - {State.ACTIVE}
        return holder if job is not None and job.unique is not None and job.state in open_states else None

    def take(self, key: UniqueKey, id: str, now: int) -> None:
        """Let `id` hold a key."""
        self.unique[key.key] = Held(id, key.until, None if key.ttl is None else now + key.ttl)

    def free(self, job: JobRecord, at: str) -> None:
        """Give a job's key back when it started or finished, unless it is held by time."""
        key = job.unique
        if key is None:
            return
        holder = self.unique.get(key.key)
        if (
            holder is not None
            and holder.id == job.id
            and holder.until != "time"
            and (at == "finished" or holder.until == at)
        ):
            del self.unique[key.key]

    def recall(self, op: Op) -> OpRecord | None:
        """The record of this very op if it is repeated. Raises Stale for an older one."""
        record = self.ops.get(op.actor)
        if record is None or op.n > record.n:
            return None
        if op.n < record.n:
            raise Stale(f"call {op.n} of {op.actor} comes after its call {record.n}: it had no effect")
        return record

    def remember(self, op: Op, now: int, answer: object) -> None:
        """Keep what was answered to an op."""
        self.ops[op.actor] = OpRecord(op.n, now, answer)

    def kept(self, job: JobRecord) -> Retention:
        """The retention an ended job is under."""
        if job.keep is not None:
            return Retention.parse(job.keep)
        return self.conf.keep_completed if job.state is State.COMPLETED else self.conf.keep_failed


class ModelWorld:
    """The data that all model stores of one test share, and the clock they read (ms)."""

    def __init__(self, now: Callable[[], int] = clock.now_ms) -> None:
        self.now = now
        self.lock = threading.RLock()
        self.queues: dict[tuple[str, str], QueueData] = {}
        self.workers: dict[tuple[str, str], tuple[WorkerBeat, int]] = {}
        self.store_id = ids.nonce()
        self.listeners: dict[object, Callable[[], None]] = {}

    def queue(self, namespace: str, name: str) -> QueueData:
        """A queue's data, made when first written to."""
        return self.queues.setdefault((namespace, name), QueueData(name))

    def peek(self, namespace: str, name: str) -> QueueData:
        """A queue's data to look at; not kept where there is none."""
        return self.queues.get((namespace, name)) or QueueData(name)

    def changed(self) -> None:
        """Tell everybody who waits that something did."""
        for tell in list(self.listeners.values()):
            tell()


def order_of(state: State) -> Callable[[JobRecord], tuple[int | str, ...]]:
    """The sort key of a state's jobs; ended ones newest first, so their numbers are negated."""
    if state is State.WAITING:
        return lambda j: (_LINES[j.line or Line.READY], j.priority, j.place, j.id)
    if state is State.DELAYED:
        return lambda j: (j.run_at or 0, j.id)
    if state is State.ACTIVE:
        return lambda j: (j.lease_until or 0, j.id)
    if state in (State.PARKED, State.BLOCKED):
        return lambda j: (j.ended_at or j.created_at, j.id)
    return lambda j: (-(j.ended_at or 0), _down(j.id))


def by_age(jobs: Iterable[JobRecord]) -> list[JobRecord]:
    """Oldest ended first."""
    return sorted(jobs, key=lambda j: (j.ended_at or 0, j.id))


def _down(text: str) -> str:
    """A text that sorts the other way round, for ids of one length and prefix rules alike."""
    return "".join(chr(0x10FFFF - ord(c)) for c in text) + chr(0x10FFFF)
