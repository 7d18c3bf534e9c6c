"""A job as stores see it: what a producer sends (JobSpec) and what is kept (JobRecord).

Payloads, options, results and errors are opaque bytes here; times are milliseconds of the store's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from queuekit.domain.state import Line, State

PRIORITY_MAX: Final = 1000
VERSION_MAX: Final = 65_535  # of a payload's shape; stores have two bytes for it
BATCH_MAX: Final = 1000  # jobs or outcomes a call; a Lua unpack fails at 8,000 (reliability.md 3.1)
HARD_PAYLOAD_LIMIT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retention:
    """How long ended jobs are kept; whichever limit is met first. None is no limit, count 0 is not at all.

    A limit removes only jobs that carry it: `label` names the class in which `count` is counted.
    """

    count: int | None = None
    age: int | None = None  # ms

    @property
    def label(self) -> str:
        return f"{'' if self.count is None else self.count}/{'' if self.age is None else self.age}"

    @classmethod
    def parse(cls, label: str) -> Retention:
        count, _, age = label.partition("/")
        return cls(int(count) if count else None, int(age) if age else None)


KEEP_NOTHING: Final = Retention(count=0)
KEEP_ALL: Final = Retention()


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """At most one job of a queue holds `key`: until it finished, until it started, or for `ttl` ms from enqueue."""

    key: str
    until: Literal["finished", "started", "time"] = "finished"
    on_conflict: Literal["existing", "replace", "error"] = "existing"
    ttl: int | None = None
    max_wait: int | None = None  # with replace: run at the latest this long after the first


@dataclass(slots=True, kw_only=True)
class JobSpec:
    """What a producer asks a store to keep. Treat as immutable (not frozen: freezing costs 2 us a job)."""

    id: str
    task: str
    body: bytes
    version: int = 1
    priority: int = 10
    run_at: int | None = None  # absolute ms; at most one of run_at and delay
    delay: int | None = None  # ms from the store's now
    lifo: bool = False
    options: bytes = b""  # what the caller set, opaque
    keep_completed: Retention | None = None  # set by the caller only
    keep_failed: Retention | None = None
    unique: UniqueKey | None = None
    group: str | None = None
    expires_at: int | None = None  # absolute ms; at most one of the two
    expires_in: int | None = None
    trace: str | None = None


@dataclass(slots=True, kw_only=True)
class JobRecord:
    """A job as kept. A snapshot: changing it changes nothing in the store."""

    queue: str
    id: str
    task: str
    body: bytes
    version: int = 1
    priority: int = 10
    options: bytes = b""
    state: State = State.WAITING
    line: Line | None = None  # of a waiting job; of an active one the line it was claimed from
    place: int = 0  # FIFO rank inside the queue; only comparisons inside one store mean anything
    created_at: int = 0
    run_at: int | None = None  # when it is or was due; None: at once
    rev: int = 0
    epoch: int = 0
    claims: int = 0
    failures: int = 0
    snoozes: int = 0
    crashes: int = 0
    token: str | None = None  # "actor:n" of the current claim; kept on an ended job as the one that ended it
    worker: str | None = None  # the name the last claiming worker gave
    claimed_at: int | None = None
    lease_until: int | None = None
    cancel: str | None = None  # reason of a cancel that was asked while active
    progress: bytes | None = None
    logs: tuple[bytes, ...] = ()
    errors: tuple[bytes, ...] = ()  # oldest first, at most ERRORS_KEPT
    result: bytes | None = None
    reason: str | None = None  # why failed, cancelled or parked
    ended_at: int | None = None  # or parked
    keep: str | None = None  # Retention.label it ended with; None: the queue's
    keep_completed: Retention | None = None
    keep_failed: Retention | None = None
    unique: UniqueKey | None = None
    group: str | None = None
    expires_at: int | None = None
    trace: str | None = None

    @property
    def attempt(self) -> int:
        """The run under way or, on an ended job, the run that ended it; 1 before the first."""
        return self.failures + 1

    @property
    def ref(self) -> str:
        return f"{self.queue}/{self.id}"


ERRORS_KEPT: Final = 20
LOGS_KEPT: Final = 1000


def limits_error(body: bytes, limit: int) -> str | None:
    """What is wrong with the size of a payload or result, or None."""
    bound = min(limit, HARD_PAYLOAD_LIMIT)
    return (
        None
        if len(body) <= bound
        else f"{len(body)} bytes are over the limit of {bound}; store the data elsewhere and pass its id"
    )
