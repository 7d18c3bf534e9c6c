"""What people see of jobs and queues: snapshots, pages, health, and the facts hooks are told. Pure data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypedDict, get_args

from queuekit.domain.duration import Duration
from queuekit.domain.state import State
from queuekit.domain.values import JSON
from queuekit.errors import JobError

JobEvent: TypeAlias = Literal[
    "active", "completed", "failed", "retrying", "stalled", "progress", "cancelled", "parked", "drained", "paused",
    "resumed", "error",
]  # fmt: skip
JOB_EVENTS: tuple[str, ...] = get_args(JobEvent)
Status: TypeAlias = State | Literal["unknown", "uncommitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A snapshot. Pure data: it never talks to a store, and changing nothing in it changes anything there.

    `attempt` is the run under way or, on an ended job, the run that ended it; `attempts` and `tags` are what holds as
    far as this process knows the task. `run_at` is when it is or was due, None: at once.
    """

    id: str
    queue: str
    task: str
    state: State
    payload: JSON
    result: JSON
    attempt: int
    attempts: int
    crashes: int
    priority: int
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: JSON
    errors: tuple[JobError, ...]
    group: str | None
    parent: str | None
    tags: tuple[str, ...]
    reason: str | None = None  # why it failed, was cancelled or parked
    snoozes: int = 0
    attempts_known: bool = True  # False: this process knows no such task, and `attempts` is only the default

    @property
    def ref(self) -> str:
        """ "queue/id": what to keep in tables of your own."""
        return f"{self.queue}/{self.id}"

    def to_dict(self) -> dict[str, JSON]:
        """JSON types only: moments as ISO 8601 text; `attempts` is null where only the task's own process knows it."""
        said = {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "attempts_known"}
        return said if self.attempts_known else {**said, "attempts": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFact:
    """What a hook is told. `job` is None for facts of a queue (drained, paused, resumed)."""

    event: JobEvent
    at: datetime
    queue: str
    job: Job | None = None
    error: JobError | None = None


class JobFilter(TypedDict, total=False):
    """What `find` takes. `since`: a moment or an age; of ended jobs their end counts, of others when they were made.

    `text` is looked for in id, task, payload, reason and errors, case aside; `tag`, `since` and `text` are looked at
    above the store, within a bounded scan a call.
    """

    queue: str
    state: State | str
    task: str
    tag: str
    since: datetime | Duration
    text: str
    limit: int
    cursor: str


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs. `cursor` is for the next page, None at the end; a page may be short and still have one.

    `total` is exact where only queue and state are asked for, else how many this page holds.
    """

    jobs: tuple[Job, ...]
    total: int
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:
    """How a queue stands. `paused` is the reason, None while it runs; `workers` beat within their time."""

    name: str
    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int
    blocked: int
    parked: int
    paused: str | None
    oldest_waiting: timedelta | None
    workers: int


def _plain(value: object) -> JSON:
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, State):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value  # type: ignore[return-value]  # what is left are JSON scalars
