"""The parts of the contract that a store may add later, each named in `Capabilities.parts`. Signatures only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord
from queuekit.store.protocol import JobStore


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
    """What schedulers and people ask. Any worker fires; each slot makes its jobs once, whoever does (decision 136).

    put_schedule, delete_schedule and fire *raise* Moved unless the queue is HERE: nothing fires while it moves or
    arrives. What is stored is compared by `rev` alone: each write gives a schedule max(now, rev + 1), the first one
    max(now, D + 1), D being the highest rev of those that were deleted from the queue. So no rev comes twice.
    `obliterate` removes a queue's schedules with its first call, `prune` none; `queues` names whose only have these.
    """

    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        """*Effect* stored as it is, `rev` but for, if its rev is the stored one (0: none is stored); answered with the
        new rev. Wakes workers. *Atomic* yes. *Raises* Conflict (another rev), PayloadTooLarge
        (domain.schedule.definition_error), Moved.
        Repeating the call that was written last: its answer, nothing done twice."""

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        """*Effect* removed, if its rev is the stored one (None: whatever it is); False where there is none.
        *Raises* Conflict (another rev), Moved."""

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        """*Effect* none. Those with an id bytewise after `after`, by id; fewer over about 4 MiB, then never none."""

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        """*Effect* none. In the order asked, None where there is none. *Cost* one round trip."""

    async def due(self, queue: str, limit: int = 100) -> Due:
        """*Effect* none. Up to `limit` schedules whose next has come, by (next, id); fewer over about 4 MiB.
        *Cost* one round trip, O(limit · log n) whatever the number of schedules. None are due while the queue is not
        HERE, and `next_at` is None then."""

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        """*Effect* of each whose rev is the stored one: its jobs are enqueued as by `enqueue` (an id that exists makes
        none; a unique key that is held makes none, or replaces; "error" is taken as "existing"), next becomes next_at,
        fired grows by the number of its jobs, made or not, and skipped; last_job is the last receipt's id. Whether it
        was due is not looked at. Wakes workers as enqueue does. A paused queue takes them. A schedule stands in one
        call once. *Atomic* each firing, its jobs with it, whoever dies when.
        *Raises* PayloadTooLarge, InvalidOption (over FIRE_MAX jobs in one firing or BATCH_MAX in all; nothing applied).
        *Cost* a few round trips whatever the number of firings. A repeat, and who comes second, is told CHANGED."""

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        """*Effect* the mover's: each is kept as it is, rev included, unless one of that id has a rev at least as high.
        Queues that are HERE wake their workers. *Atomic* each. *Raises* Conflict (another epoch), PayloadTooLarge
        (nothing written). With the queue's home GONE all its schedules are dropped."""


class SchedulingStore(JobStore, Schedules, Protocol):
    """A core with the part `schedules`."""


class Relay(Protocol):
    async def outbox(self, queue: str, acked: Sequence[str], limit: int) -> list[tuple[str, bytes]]:
        """*Effect* forgets acked entries, answers up to `limit` others."""

    async def deliver(self, queue: str, entries: Sequence[Ended]) -> list[bool]:
        """*Effect* removes each child from its parent's pending set; True where it was there."""


class Mover(Protocol):
    """What `queuekit migrate` asks of both sides; docs/decisions/080 tells the whole move.

    Every verb that changes something carries the mover's epoch and *raises* Conflict where the queue has another one,
    so that a mover that was forgotten, or whose store rolled back, finds out. All may be repeated.
    A mover takes a higher epoch for each change of home, so that a late twin of an earlier call has no effect.
    Jobs checked out are on no line: `find` and `count` leave them out, `get` answers them, `change` says MOVED.
    Held jobs (active, token and lease_until None) are in `find` (before the other active ones), `get` and `count`;
    nothing recovers, renews, settles or prunes them; `change` says MOVED.
    """

    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        """*Effect* iff epoch is higher than the stored one, or equal and `by` (the mover's nonce) wrote it: home, to
        and epoch change. With `room`: so many places are set free before all. With `add`: added to the totals.
        HERE without `to`, or GONE: the journal of what was taken in is dropped. GONE: keys and marks are dropped, op
        records stay. Wakes workers.
        A call that changes nothing (same epoch, by, home, to) adds nothing and makes no room: the same answer.
        Until `Standing.settles_at` calls may go by what they knew before. A mover confirms nothing before that of its
        source, whose ids and keys would be free for them, and stops the source only behind that of its target.
        *Raises* Conflict (a higher epoch, or an equal one of another mover; HERE without `to` while jobs are out)."""

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        """*Effect* up to `limit` jobs (fewer over about 4 MiB) leave their lines under `batch`: waiting ones in order
        (line, priority, place, id), then delayed by (run_at, id), parked; with `history` the ended ones too, oldest
        first, after them. Of a batch that is out already: exactly its jobs, whatever `limit`.
        *Cost* one round trip, O(log n) a job."""

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        """*Effect* none. Active jobs (held ones not) with an id bytewise after `after`, by id."""

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        """*Effect* none. Keys held for a time that has not run out, whose job no `checkout` or `running` would show
        as their holder; bytewise after `after`, by key."""

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        """*Effect* every parcel becomes a job in its real state, rev, counters and times as they are, `epoch` the
        mover's; an active one is held. A held job of that id gives way to the parcel, with its key. A key in the way is
        a clash too; one held for a time that has run out is not taken. Keys without a job are held as long as nobody
        else does. The batch and `note` are journaled. No max_size, no retention. Queues that are HERE wake their
        workers; who watches a job that came in ended is told.
        *Atomic* the whole call (moves "live"); else its repeat completes it. *Raises* PayloadTooLarge (a body or result
        over this store's limit; nothing written). A batch taken in before: its clashes again, nothing done."""

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        """*Effect* the jobs of `ids` that are checked out, or on a line again (the source rolled back), are removed
        with the keys they hold; not the active ones. `batch` is out no more: those of it that `ids` leaves out go back
        to their lines and places. Who watches is told. A call that made one of them is still answered as before when
        repeated."""

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        """*Effect* what is out under `batch` (only `ids`, if given) goes back to its line and old place; how many."""

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        """*Effect* held jobs (only `ids`, at most 1,000, if given: ended at the source without a trace) are removed
        with their keys; with `lose` they go to the suspect line at their place as from a dead worker, none counted as
        a crash; a cancel that was asked stays asked. At most 1,000 a call, by id: their ids."""

    async def journal(self, queue: str) -> Journal | None:
        """*Effect* none. None where no batch was ever taken in or checked out since the last move ended."""

    async def taken(self, queue: str, batch: int) -> list[str]:
        """*Effect* none. The ids of a batch taken in, clashes left out, in the order of the call."""

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        """*Effect* none. Which of the ids are jobs here (checked-out ones too), and who holds which key. None while the
        queue takes jobs (HERE, ARRIVING) or before `Standing.settles_at`: one that is not here could still come."""


class MovingStore(JobStore, Mover, Protocol):
    """A core with the part `mover`: what a queue can move from and to."""


class Events(Protocol):
    async def publish(self, channel: str, data: bytes) -> None:
        """*Effect* whoever subscribes now receives it once; nobody else."""

    async def subscribe(self, channel: str, timeout: int) -> bytes | None:
        """*Effect* the next data published on the channel, None after `timeout` ms."""

    async def follow(self, queue: str, cursor: str | None, limit: int, ttl: int) -> Followed:
        """*Effect* registers a listener for `ttl` ms, answers what came after `cursor`."""
