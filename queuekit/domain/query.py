"""What is asked of a store, and its answers: counts, pages, positions, workers, changes. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from queuekit.domain.job import JobRecord
from queuekit.domain.state import State

SCAN_MAX = 5000  # records one `find` looks at


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """One state of a queue, optionally one task."""

    state: State
    task: str | None = None
    limit: int = 100
    cursor: str | None = None  # of the answer before; opaque


@dataclass(slots=True, kw_only=True)
class Found:
    """One page. `cursor` None: the end was reached. `total` only where the store knows it exactly."""

    records: list[JobRecord]
    cursor: str | None = None
    scanned: int = 0
    total: int | None = None


@dataclass(slots=True, kw_only=True)
class Totals:
    """Counted since the queue exists; never go down."""

    enqueued: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    crashed: int = 0
    cancelled: int = 0
    released: int = 0


@dataclass(slots=True, kw_only=True)
class Counts:
    """How many jobs of a queue are in each state now."""

    now: int
    states: dict[State, int]
    suspect: int = 0  # of the waiting
    held: int = 0
    oldest_waiting: int | None = None  # ms since the longest-waiting of those in front could have run
    paused: str | None = None
    totals: Totals = field(default_factory=Totals)


@dataclass(slots=True, kw_only=True)
class Position:
    """Why a job does not run yet. `ahead` counts jobs of its line that go before it."""

    state: State
    ahead: int | None = None
    reasons: list[str] = field(default_factory=list)  # "paused: …", "delayed", "suspect", "expired", "cancel asked"


@dataclass(slots=True, kw_only=True)
class WorkerBeat:
    """What a worker process tells about itself, every `ttl`/3 or so."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    concurrency: int
    started_at: int
    running: int = 0
    done: int = 0
    version: str = ""
    rss: int = 0  # bytes
    lag: float = 0.0  # seconds the event loop was late
    seen: int = 0  # set by the store
    info: str = "{}"  # JSON for people


class Verb(StrEnum):
    """What a person does to a job."""

    CANCEL = "cancel"
    RETRY = "retry"
    PROMOTE = "promote"
    RESCHEDULE = "reschedule"
    REPLACE = "replace"
    REOPEN = "reopen"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One verb on one job; applies only if `rev` (where given) is the job's."""

    id: str
    verb: Verb
    rev: int | None = None
    reason: str | None = None  # cancel
    run_at: int | None = None  # retry, reschedule: absolute ms
    delay: int | None = None  # retry, reschedule: ms from the store's now
    priority: int | None = None  # reschedule
    body: bytes | None = None  # replace


class No(StrEnum):
    """Why a change was not made."""

    GONE = "gone"
    ILLEGAL = "illegal"  # not in this state
    CHANGED = "changed"  # another rev
    HELD = "held"  # its unique key belongs to another job now
    MOVED = "moved"  # it is, or may be, in the store that the queue moves to or comes from


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of one change. `state` is the job's state afterwards, None where it is gone."""

    id: str
    ok: bool
    no: No | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a running handler reports of its job."""

    progress: bytes | None = None
    logs: tuple[bytes, ...] = ()
    start: int | None = None  # lines of this claim reported before logs[0]; None: these are new


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """The answer to `ping`."""

    now: int
    server: str  # "redis 7.0.15", "mongod 6.0.5", "sqlite 3.40.1"
    store_id: str  # random, made with the store; another id is another store
    schema: int
    warnings: tuple[str, ...] = ()  # "appendonly is off", "standalone: no change streams" …
    where: str = ""  # redacted address or absolute path
