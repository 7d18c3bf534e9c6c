"""One job queue for Python, several stores. The names here are the public API; everything below may change."""

from typing import TYPE_CHECKING

from queuekit.context import Cancel, Fail, JobContext, Retry, Snooze, current_job
from queuekit.domain.backoff import Backoff
from queuekit.domain.duration import Duration
from queuekit.domain.events import Job, JobEvent, JobFact, JobFilter, Page, QueueHealth, Status
from queuekit.domain.state import State
from queuekit.domain.typed import JobOptions, QueueOptions, RunOptions, TaskOptions, WorkerOptions
from queuekit.domain.values import JSON, Group, Keep, Priority, Profile, Rate, Unique
from queuekit.errors import (
    Arriving,
    Cancelled,
    ConfigError,
    Conflict,
    DuplicateTask,
    EnqueueNotApplied,
    InvalidName,
    InvalidOption,
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    LeaseLost,
    MissingExtra,
    Moved,
    MoveStopped,
    NotReplicated,
    PayloadError,
    PayloadTooLarge,
    QueueFull,
    QueueKitError,
    ResultError,
    ResultGone,
    ResultTimeout,
    SchemaMismatch,
    Stale,
    StoreError,
    StoreUnavailable,
    UnknownProvider,
    Unsupported,
    WouldDeadlock,
)
from queuekit.handle import JobHandle
from queuekit.kit import Middleware, Processor, QueueKit
from queuekit.producing.access import SyncInAsyncWarning
from queuekit.producing.inject import Inject
from queuekit.producing.newjob import NewJob
from queuekit.producing.schedules import Rule, Schedule, Schedules
from queuekit.queue import Queue
from queuekit.settings import Settings
from queuekit.task import AsyncTask, SyncTask, Task, TaskDecorator

if TYPE_CHECKING:
    from queuekit.runtime.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "JSON",
    "Arriving",
    "AsyncTask",
    "Backoff",
    "Cancel",
    "Cancelled",
    "ConfigError",
    "Conflict",
    "DuplicateTask",
    "Duration",
    "EnqueueNotApplied",
    "Fail",
    "Group",
    "Inject",
    "InvalidName",
    "InvalidOption",
    "Job",
    "JobCancelled",
    "JobContext",
    "JobError",
    "JobEvent",
    "JobFact",
    "JobFailed",
    "JobFilter",
    "JobHandle",
    "JobNotFound",
    "JobOptions",
    "Keep",
    "LeaseLost",
    "Middleware",
    "MissingExtra",
    "MoveStopped",
    "Moved",
    "NewJob",
    "NotReplicated",
    "Page",
    "PayloadError",
    "PayloadTooLarge",
    "Priority",
    "Processor",
    "Profile",
    "Queue",
    "QueueFull",
    "QueueHealth",
    "QueueKit",
    "QueueKitError",
    "QueueOptions",
    "Rate",
    "ResultError",
    "ResultGone",
    "ResultTimeout",
    "Retry",
    "Rule",
    "RunOptions",
    "Schedule",
    "Schedules",
    "SchemaMismatch",
    "Settings",
    "Snooze",
    "Stale",
    "State",
    "Status",
    "StoreError",
    "StoreUnavailable",
    "SyncInAsyncWarning",
    "SyncTask",
    "Task",
    "TaskDecorator",
    "TaskOptions",
    "Unique",
    "UnknownProvider",
    "Unsupported",
    "Worker",
    "WorkerOptions",
    "WouldDeadlock",
    "current_job",
]


def __getattr__(name: str) -> object:
    """`Worker` when it is first asked for: a web process that only produces starts 30 ms sooner without it."""
    if name == "Worker":
        from queuekit.runtime.worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
