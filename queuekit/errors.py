"""Every error queuekit raises, as one tree. No logic that decides when to raise lives here.

QueueKitError
├── ConfigError              wrong before anything happened
│   ├── UnknownProvider      no such QUEUE_PROVIDER or URL scheme
│   ├── MissingExtra         a package is not installed; the message is the install line
│   ├── InvalidName          a queue, task, namespace or job id outside the grammar
│   ├── InvalidOption        an option or a combination that cannot be
│   ├── DuplicateTask        one name registered twice in one kit
│   └── Unsupported          this store lacks a capability the call needs
├── PayloadError             .errors: one entry a field
│   └── PayloadTooLarge
├── StoreError
│   ├── StoreUnavailable     .outcome: "refused" (nothing happened) or "unknown"
│   ├── QueueFull            max_size reached, or the server is out of memory
│   ├── NotReplicated        written, but not confirmed by a replica in time
│   ├── EnqueueNotApplied    your own transaction was applied, the job in it was not: .jobs
│   ├── Moved                this queue lives elsewhere now: .to
│   │   └── Arriving         jobs of this queue are still coming from .to: ask there first
│   ├── MoveStopped          a move stopped where it can go on: .queue, .ids
│   ├── SchemaMismatch       data written by an incompatible queuekit
│   └── Stale                a call older than the last one of its actor: no effect
├── Conflict                 an id, key or revision that somebody else holds
├── JobNotFound
├── LeaseLost                this run no longer owns its job
├── Cancelled                raised inside a handler whose job was cancelled
└── ResultError
    ├── JobFailed            .error: type, message, traceback of the run
    ├── JobCancelled
    ├── ResultGone           finished, but no longer kept
    ├── ResultTimeout        (also a TimeoutError)
    └── WouldDeadlock        waiting for a result inside a job
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """One failed run as text: never a class, so that reading it runs nothing."""

    type: str
    message: str
    traceback: str
    attempt: int
    worker: str
    at: datetime


class QueueKitError(Exception):
    """The root: `except QueueKitError` catches all that queuekit raises on purpose."""


class ConfigError(QueueKitError):
    """Settings, options or names that are wrong before anything happened."""


class UnknownProvider(ConfigError):
    """No installed backend has this provider name or URL scheme."""


class MissingExtra(ConfigError):
    """A package is missing; the message carries the exact install line."""


class InvalidName(ConfigError):
    """A name outside the grammar of `queuekit.domain.names`."""


class InvalidOption(ConfigError):
    """An option whose value, type or combination cannot be."""


class DuplicateTask(ConfigError):
    """A task name registered a second time in one kit."""


class Unsupported(ConfigError):
    """The store declares no capability for what was asked; nothing was written."""


class PayloadError(QueueKitError):
    """Arguments that do not fit the task; `errors` has one line a field."""

    def __init__(self, message: str, errors: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class PayloadTooLarge(PayloadError):
    """A payload or result over the limit, in bytes as encoded."""


class StoreError(QueueKitError):
    """The store refused, or could not be asked."""


class StoreUnavailable(StoreError):
    """The store could not be reached. Repeating the same call with the same op is safe.

    `outcome` is "refused" where the store surely did nothing, "unknown" where a reply was lost;
    `op` names the call ("actor:n") where it had one.
    """

    def __init__(
        self, message: str, *, outcome: Literal["refused", "unknown"] = "unknown", op: str | None = None
    ) -> None:
        super().__init__(message)
        self.outcome: Literal["refused", "unknown"] = outcome
        self.op = op


class QueueFull(StoreError):
    """The queue's `max_size` is reached, or the server has no memory left; nothing was written."""


class NotReplicated(StoreError):
    """Written on the primary, not confirmed by a replica in time: the outcome is unknown."""


class EnqueueNotApplied(StoreError):
    """The caller's own transaction was applied, but not the jobs in it: enqueue them again, with the same ids.

    `jobs` are their references ("queue/id"). Two ways lead here: a store without rollback with which something is wrong
    (docs/within.md), and a store that is away after the commit that jobs waited for (docs/django.md).
    """

    def __init__(self, message: str, *, jobs: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.jobs = tuple(jobs)


class Moved(StoreError):
    """The queue lives in another store now; `to` is that store's configured name."""

    def __init__(self, message: str, *, to: str | None = None) -> None:
        super().__init__(message)
        self.to = to


class Arriving(Moved):
    """Jobs of this queue are still on their way from `to`: whether an id or a key is free is known there."""


class MoveStopped(StoreError):
    """A move between stores stopped before something could be lost; `ids` are the jobs it is about, where it is jobs.

    What has moved has moved, the rest is where it was. The message says what to do; then the move is resumed.
    """

    def __init__(self, message: str, *, queue: str = "", ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.queue = queue
        self.ids = tuple(ids)


class SchemaMismatch(StoreError):
    """The store was written by a queuekit this one cannot work beside."""


class Stale(StoreError):
    """A call older than the last one its actor made: it had no effect."""


class Conflict(QueueKitError):
    """An id, a unique key or a revision that somebody else holds."""


class JobNotFound(QueueKitError):
    """No job with this reference, or it is no longer kept."""


class LeaseLost(QueueKitError):
    """This run no longer owns its job; whatever it writes is refused."""


class Cancelled(QueueKitError):
    """Raised inside a handler whose job was cancelled."""


class ResultError(QueueKitError):
    """Why `.result()` has no value to return."""


class JobFailed(ResultError):
    """The job failed for good; `error` is the last error as text, never its class."""

    def __init__(self, message: str, *, error: JobError) -> None:
        super().__init__(message)
        self.error = error


class JobCancelled(ResultError):
    """The job was cancelled."""


class ResultGone(ResultError):
    """The job finished, but its result is no longer kept."""


class ResultTimeout(ResultError, TimeoutError):
    """The job did not finish in time; it goes on."""


class WouldDeadlock(ResultError):
    """Waiting for a result inside a running job would block the slot it may need."""
