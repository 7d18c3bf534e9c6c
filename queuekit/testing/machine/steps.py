"""The steps of a run: one call of the seam each, or something that happens to those who call. Plain data.

A step says everything it does, so that a list of steps can be printed, kept and run again. Times in a step are
milliseconds since the run's beginning, converted by the side that runs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Op, Outcome, Recovery, Renewal
from queuekit.domain.query import Change, Changed, Note, WorkerBeat
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore

if TYPE_CHECKING:
    from queuekit.testing.machine.side import Side

Q = "orders"


class Trouble(StrEnum):
    """What happens to a call on its way, besides being made."""

    NONE = ""
    TWICE = "twice"  # its answer was lost behind the store, so it is made again
    LOSE_REQUEST = "lose_request"  # the rest: at the k-th call to the driver; then the verb is repeated
    LOSE_REPLY = "lose_reply"
    PARTIAL = "partial"
    DUPLICATE = "duplicate"
    LATE = "late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What every step has: which of the stores makes the call, and what goes wrong."""

    host: int = 0
    trouble: Trouble = Trouble.NONE
    nth: int = 1  # the driver call the trouble meets
    reborn: bool = False  # its process ends before the repeat, and a new one makes it

    async def call(self, side: Side, store: JobStore) -> object:
        """Make the call, on one side. What is no call does nothing here."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Put(Step):
    op: Op
    jobs: tuple[JobSpec, ...]
    asked: bool = False

    async def call(self, side: Side, store: JobStore) -> Enqueued:
        jobs = [replace(job, run_at=side.at(job.run_at), expires_at=side.at(job.expires_at)) for job in self.jobs]
        return await store.enqueue(Q, jobs, self.op, None, self.asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Step):
    op: Op
    outcomes: tuple[Outcome, ...] = ()
    ask: Ask = field(default_factory=Ask)

    async def call(self, side: Side, store: JobStore) -> Exchange:
        outcomes = [replace(outcome, at=side.at(outcome.at)) for outcome in self.outcomes]
        return await store.exchange(Q, self.op, outcomes, self.ask)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew(Step):
    holds: tuple[Hold, ...]
    lease: int
    actor: str = ""
    upto: int = 0

    async def call(self, side: Side, store: JobStore) -> Renewal:
        return await store.renew(Q, list(self.holds), self.lease, self.actor, self.upto)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recover(Step):
    limit: int = 100
    every: int

    async def call(self, side: Side, store: JobStore) -> Recovery:
        return await store.recover(Q, self.limit, self.every)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alter(Step):
    op: Op
    changes: tuple[Change, ...]

    async def call(self, side: Side, store: JobStore) -> list[Changed]:
        return await store.change(Q, [replace(one, run_at=side.at(one.run_at)) for one in self.changes], self.op)


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotate(Step):
    id: str
    token: str
    note: Note

    async def call(self, side: Side, store: JobStore) -> bool:
        return await store.annotate(Q, self.id, self.token, self.note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Configure(Step):
    """`off` is what the rev is wrong by."""

    declared: Limits | None = None
    override: Limits | None = None
    off: int = 0

    async def call(self, side: Side, store: JobStore) -> QueueConf:
        rev = side.rev if side.rev is not None else (await store.conf(Q)).rev
        side.rev = rev  # a repeat makes the same call
        conf = await store.conf(Q)
        return await store.configure(
            Q,
            replace(
                conf,
                rev=max(0, rev + self.off),
                declared=self.declared or conf.declared,
                override=self.override or conf.override,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune(Step):
    state: State | None = None
    older_than: int = 0
    limit: int = 1000

    async def call(self, side: Side, store: JobStore) -> tuple[int, bool]:
        return await store.prune(Q, state=self.state, older_than=self.older_than, limit=self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obliterate(Step):
    """Until nothing more is left: which jobs go first is the store's choice."""

    force: bool = False
    limit: int = 1000

    async def call(self, side: Side, store: JobStore) -> int:
        gone, more = await store.obliterate(Q, force=self.force, limit=self.limit)
        while more:
            removed, more = await store.obliterate(Q, force=self.force, limit=self.limit)
            gone += removed
        return gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Step):
    id: str

    async def call(self, side: Side, store: JobStore) -> JobRecord | None:
        return await store.watch(Q, self.id, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Step):
    name: str
    ttl: int

    async def call(self, side: Side, store: JobStore) -> int:
        beat = WorkerBeat(id=self.name, host="h", pid=1, queues=(Q,), concurrency=2, started_at=1)
        return await store.beat(beat, self.ttl)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Step):
    """Time goes by."""

    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart(Step):
    """The process behind a store ends, and another begins: what it remembered is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skew(Step):
    """From now on the client's own clock is wrong by so much."""

    ms: int
