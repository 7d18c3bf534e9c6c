"""The options as type checkers see them, one TypedDict a place. A test compares them with `domain.options`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict

from queuekit.domain.backoff import Backoff
from queuekit.domain.duration import Duration
from queuekit.domain.values import Group, Keep, Priority, Profile, Rate, Unique

Executor: TypeAlias = Literal["auto", "async", "thread", "process"]


class RunOptions(TypedDict, total=False):
    """Unset is inherited: job > task > queue > kit, resolved by the worker when it runs (priority: at enqueue)."""

    priority: int | Priority | str
    attempts: int
    backoff: Backoff | Duration
    retry_on: tuple[type[Exception], ...]
    fail_on: tuple[type[Exception], ...]
    max_crashes: int
    timeout: Duration | None
    keep_completed: bool | int | Keep
    keep_failed: bool | int | Keep
    tags: Sequence[str]


class TaskOptions(RunOptions, total=False):
    """What `@kit.task` and `kit.declare` take."""

    queue: str
    executor: Executor
    version: int
    concurrency: int
    rate: Rate | Sequence[Rate]


class JobOptions(RunOptions, total=False):
    """What `.using` and `Queue.enqueue` take."""

    id: str
    queue: str
    delay: Duration
    run_at: datetime
    expires: Duration | datetime
    lifo: bool
    group: str
    unique: str | Unique
    within: object


class QueueOptions(RunOptions, total=False):
    """What `QueueKit(queues=…)`, `kit.processor` and `Queue.configure` take."""

    profile: Profile | str
    lease: Duration
    concurrency: int
    global_concurrency: int
    rate: Rate | Sequence[Rate]
    max_size: int
    group: Group
    groups: Mapping[str, Group]


class WorkerOptions(TypedDict, total=False):
    """What `kit.worker` takes."""

    queues: Sequence[str] | Mapping[str, int]
    exclude: Sequence[str]
    type: str
    concurrency: int
    processes: int
    grace: Duration
    wait_store: Duration
    app: str
    prepare: Callable[[Any], None]
    burst: bool
    max_jobs: int
    max_rss: str
    health_port: int
