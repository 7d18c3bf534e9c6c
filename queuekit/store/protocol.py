"""The store contract on one page: six core families, then the parts a store may lack and say so.

Every method names its *Effect · Atomic · Raises · Cost*. Besides the errors named, every method may raise
StoreUnavailable. Methods are coroutines over a driver port; over a blocking port they never suspend.
Times are milliseconds of the store's own clock. Names reach a store checked (`domain.names`).
The model store in `queuekit.testing.model` is the executable form of this page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import QueueConf
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Op, Outcome, Recovery, Renewal
from queuekit.domain.query import Change, Changed, Counts, Found, Note, Pong, Position, Where, WorkerBeat
from queuekit.domain.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can; callers and the conformance suite ask this, never the store's name."""

    parts: frozenset[str] = frozenset()  # unique usage within groups limits schedules relay mover events
    order_skew: int = 0  # ms within which jobs of different producers may swap places
    strays: bool = False  # `renew` reports claims that were not named
    counted_at: str = "settle"  # "settle": retention by count at once; "prune": by the next prune
    totals: str = "exact"  # "late": at most a call late; a call whose reply was lost, or that came late, may miscount
    moves: str = "live"  # part mover: "offline": only while no worker and no producer runs
    floor: int = 5000  # ms after which a caller that waits looks by itself: what `wait` may miss comes no later
    wake: str = "notify"  # "notify": `wait` returns at once; "poll": after its store's poll interval


class Life(Protocol):
    @property
    def capabilities(self) -> Capabilities:
        """What this store can; fixed once it is open."""

    async def open(self) -> None:
        """*Effect* connects; makes what is missing (schema, indexes, store_id); checks the schema version.
        *Atomic* repeatable by many at once. *Raises* SchemaMismatch, ConfigError (an evicting server).
        *Cost* a few round trips, once a process or loop."""

    async def close(self) -> None:
        """*Effect* gives back connections. Idempotent; never raises for a server that is away."""

    async def ping(self) -> Pong:
        """*Effect* none. *Cost* one round trip, and what the server tells of itself."""


class Produce(Protocol):
    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        """Keep jobs.

        *Effect* each spec becomes a waiting or delayed job at the back of its priority (`lifo`: before all), unless
        its id exists (receipt: created False, nothing overwritten) or its unique key is held (existing: receipt with
        the holder's id; replace: a holder that is not active takes the new body, options, priority and time; an
        active one is left, the new job is refused as existing; error: Conflict, whole call refused).
        The second of two equal ids in one call exists already. Wakes workers.
        *Atomic* the whole call (at most BATCH_MAX jobs).
        *Raises* QueueFull (more than max_size would wait or be delayed; nothing written), PayloadTooLarge,
        Conflict, Moved (the queue is moving or gone), Arriving (jobs are still coming from `to`, and not `asked`: the
        caller must first ask that store for ids of his own and keys, Mover.known), Stale, Unsupported, InvalidOption
        (over BATCH_MAX; within of another store's kind).
        With `within` (the part of that name) the jobs are written when the caller's transaction is, or never: receipts
        have created None, or False where another job holds the key. What refuses is looked at now, and raises now;
        no call is repeated, since a broken transaction is its owner's to begin anew.
        *Cost* one round trip; O(log n) a job. Repeating the same op: the recorded receipts."""


class HotPath(Protocol):
    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        """Settle, then claim.

        *Effect* 1. each outcome whose token is its job's current claim is applied (else refused: lost, gone, illegal);
        retry, snoozed, released and parked become cancelled where a cancel was asked meanwhile;
        while the queue is not HERE nothing more happens;
        2. due delayed jobs are promoted in order (run_at, id), at most 500; 3. unless paused, up to `ask.want` jobs
        (fewer where the reply would grow too large: then `more`) become active in order (priority, place, id), first
        at most one of the suspect line where `ask.suspect`;
        jobs whose `expires_at` has passed are cancelled ("expired") on the way, not claimed.
        A claim sets token = op.token, lease_until = now + lease, claims + 1. A settle after the lease's end is
        accepted as long as nobody recovered the job. Wakes others while ready work remains.
        *Atomic* each outcome, each claim; not together. *Raises* Stale, InvalidOption (over BATCH_MAX).
        *Cost* one round trip, O(log n) a job.
        Repeating the same op: settles are not applied twice, the same claims again as far as still held."""

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        """Extend claims and deliver what handlers reported.

        *Effect* each hold whose token is current: lease_until = now + lease, progress and logs kept; else its id is in
        `lost`. Lines that the claim reported before (`Hold.start`, as in a `Note` and an `Outcome`) are not kept
        twice; of progress the last that arrived counts. `cancels` names those whose cancel was asked. Where the store
        has strays: claims of `actor` with n <= upto that were not named are in `strays`.
        *Atomic* each hold. *Cost* one round trip."""

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        """Take jobs from workers that went silent; called by anybody about each `every` ms.

        *Effect* if the last call was longer than three paces ago (pace: the least `every` told since the last absence),
        it was an absence of the store or of all workers: only sets a grace of max(2·every, 5 s), in which they renew,
        and the pace to `every`; while a grace is noted only one longer than a grace counts. In a grace, nothing; the
        first call after it ends it. Else of each expired lease: cancel asked -> cancelled; else
        the crash counts if the job was claimed from the suspect line or had no crash yet; crashes >= max_crashes ->
        failed "crash_loop"; else suspect line at its old place, lease and token gone.
        *Atomic* each job. *Cost* one round trip, O(limit · log n)."""


class Read(Protocol):
    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        """*Effect* none. Whole records, in the order asked, None where there is none. *Cost* one round trip."""

    async def locate(self, id: str) -> list[JobRecord]:
        """*Effect* none. The jobs of this id in all known queues. *Cost* O(queues)."""

    async def find(self, queue: str, where: Where) -> Found:
        """*Effect* none. A page of one state: waiting by (line: suspect, ready, held; priority, place, id), delayed by
        (run_at, id), active by (lease_until, id), parked by (ended_at, id), ended newest first (ended_at, id).
        Looks at SCAN_MAX records at most; a page may be short and still have a cursor. Jobs that stay where they are
        during the paging appear exactly once. *Raises* InvalidOption for a foreign cursor."""

    async def count(self, queue: str) -> Counts:
        """*Effect* none. *Cost* O(states · log n); without counters, index keys of the jobs (seam.md)."""

    async def position(self, queue: str, id: str) -> Position | None:
        """*Effect* none. Why a job does not run yet; None where it is not."""

    async def queues(self) -> list[str]:
        """*Effect* none. Names of queues with jobs, schedules, a configuration or an epoch, sorted."""

    async def workers(self) -> list[WorkerBeat]:
        """*Effect* none. Workers whose beat has not run out, by id."""


class Alter(Protocol):
    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        """Do what a person asks.

        *Effect* by verb. Cancel: not active -> cancelled; active -> the reason is stored, `renew` tells the worker
        (ok True: asked). Retry: ended -> waiting or delayed at a new place, failures, crashes, snoozes 0, result,
        reason, ended_at, expires_at gone, errors kept; parked is reopened too. Promote: delayed -> waiting, new place.
        Reschedule: waiting or delayed -> the given time (none: as it is) and priority, new place, same line.
        Replace: waiting, delayed, parked: new body. Reopen: parked -> waiting, new place.
        Delete: any but active -> no record. What waits at once by a verb has run_at = now.
        A job that is checked out or held by a mover, or that is not here while the queue is not HERE or still has a
        `to`: No.MOVED, to be asked of the other store.
        *Atomic* each change. *Raises* Stale, PayloadTooLarge. *Cost* one round trip.
        Repeating the same op: the recorded answers, nothing done twice."""

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        """*Effect* progress and logs of a running job, at once. False where the token is not current."""


class Control(Protocol):
    async def conf(self, queue: str) -> QueueConf:
        """*Effect* none. The stored configuration; defaults (rev 0) where nothing was stored."""

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        """*Effect* declared and override layers replaced if `conf.rev` is the stored rev; rev + 1 in the answer. Wakes
        workers. *Raises* Conflict (another rev), Moved (moving or gone), Unsupported (cap or rates without
        the part limits).
        Repeating the call that was written last: its answer, nothing done twice."""

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        """*Effect* state None: applies retention, cancels what expired unstarted, the store's own housekeeping. Else
        removes jobs of that state whose ended_at (ended, parked) or created_at (waiting, delayed, blocked) is at least
        `older_than` ms ago; where `limit` cuts, ended and parked ones oldest first; active: InvalidOption.
        Answers (removed, more)."""

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        """*Effect* removes every job, then the queue's own records; (removed, more): call until more is False.
        Where a queue is GONE its home, to and epoch stay. *Raises* Conflict where jobs are active and not `force`, and
        while the queue is moving, arriving or has a `to`; nothing removed then."""

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        """*Effect* the worker is known for `ttl` ms more; 0 forgets it. Answers the store's now."""


class Notify(Protocol):
    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        """*Effect* returns when one of the queues may have work (its names, or all), or [] after `timeout` ms.
        A hint, never a promise: it may be early, late or lost; callers keep a poll floor. Delayed jobs wake nobody
        when they become due: callers keep a timer for `Exchange.next_at`. Cancelling it is safe."""

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        """*Effect* marks a live job awaited (kept at least a minute after its end) and returns its record when it has
        ended, or as it is after `timeout` ms; None where there is none."""


@runtime_checkable
class JobStore(Life, Produce, HotPath, Read, Alter, Control, Notify, Protocol):
    """A whole core. Parts (store/parts.py) come beside it, named in `capabilities.parts`."""
