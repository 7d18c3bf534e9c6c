"""The parts of the contract that a store may add later, each named in `Capabilities.parts`. Signatures only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import QueueConf
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import ScheduleRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A child's end, on its way to the parent's queue."""

    parent: str  # "queue/id"
    child: str
    state: str
    result: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a job, in the queue's total order."""

    id: str  # the cursor behind it
    name: str
    job: str
    at: int
    fields: bytes = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A page of events; `reset` means a gap: read the counts anew."""

    events: tuple[Event, ...]
    cursor: str
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What the server counts of itself. None where it does not."""

    bytes: int  # of everything it keeps here, indexes included
    commands: int | None = None  # since its start, of all clients; those inside scripts too
    requests: int | None = None  # reads from clients' sockets: about one a round trip


class Usage(Protocol):
    async def usage(self) -> Used:
        """*Effect* none. For bench and doctor: differences of two answers mean something, one alone does not.
        *Cost* a few round trips."""


class Schedules(Protocol):
    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        """*Effect* stored if its rev is the stored one or its digest is new. *Raises* Conflict, Moved."""

    async def schedules(self, queue: str) -> list[ScheduleRecord]:
        """*Effect* none. All of a queue, by id."""

    async def fire(
        self, queue: str, id: str, rev: int, slot: int, next_at: int | None, jobs: Sequence[JobSpec]
    ) -> bool:
        """*Effect* enqueues `jobs` and moves `next` to next_at, iff rev and slot are the stored ones."""


class Relay(Protocol):
    async def outbox(self, queue: str, acked: Sequence[str], limit: int) -> list[tuple[str, bytes]]:
        """*Effect* forgets acked entries, answers up to `limit` others."""

    async def deliver(self, queue: str, entries: Sequence[Ended]) -> list[bool]:
        """*Effect* removes each child from its parent's pending set; True where it was there."""


class Mover(Protocol):
    async def authority(self, queue: str, home: Home, to: str | None, epoch: int) -> QueueConf:
        """*Effect* the queue's home changes iff `epoch` is higher than the stored one. *Raises* Conflict."""

    async def checkout(self, queue: str, batch: int, limit: int) -> list[JobRecord]:
        """*Effect* up to `limit` jobs that are not active leave the lines under `batch`; repeating it: the same."""

    async def import_batch(self, queue: str, batch: int, epoch: int, records: Sequence[JobRecord]) -> list[str]:
        """*Effect* inserts records in their real state with the journal entry; answers clashing ids."""

    async def confirm(self, queue: str, batch: int) -> int:
        """*Effect* removes what was checked out under `batch`; answers how many."""


class Events(Protocol):
    async def publish(self, channel: str, data: bytes) -> None:
        """*Effect* whoever subscribes now receives it once; nobody else."""

    async def subscribe(self, channel: str, timeout: int) -> bytes | None:
        """*Effect* the next data published on the channel, None after `timeout` ms."""

    async def follow(self, queue: str, cursor: str | None, limit: int, ttl: int) -> Followed:
        """*Effect* registers a listener for `ttl` ms, answers what came after `cursor`."""
