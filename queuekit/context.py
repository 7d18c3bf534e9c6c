"""Inside a job: the context a handler is given, what it reports, and the four ways to end a run on purpose.

No store and no kit here: a report is collected by whoever runs the handler.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar, overload

from queuekit import clock, codec, ids
from queuekit.domain.duration import Duration, parse_duration
from queuekit.domain.events import Job
from queuekit.domain.job import LOGS_KEPT, JobRecord
from queuekit.domain.query import Note
from queuekit.domain.readers import moment
from queuekit.domain.state import State
from queuekit.domain.values import JSON
from queuekit.errors import Cancelled, InvalidOption, LeaseLost, Unsupported
from queuekit.producing.snapshot import job_from

P = ParamSpec("P")
T = TypeVar("T")
Slot: TypeAlias = Literal["async", "thread", "process", "local"]
_log = logging.getLogger("queuekit.job")
_LINE_MAX = 8192  # characters of one logged line


class Retry(Exception):
    """Raise it to run again: an attempt is used; after `after`, else after the task's backoff.

    With no attempt left the job fails. Raises InvalidOption for what is no duration.
    """

    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = None if after is None else parse_duration(after)  # ms


class Snooze(Exception):
    """Raise it to run later without using an attempt: after a duration, or at a moment (aware)."""

    def __init__(self, after: Duration | None = None, *, until: datetime | None = None) -> None:
        if (after is None) == (until is None):
            raise InvalidOption("Snooze takes a duration or until=, one of them")
        super().__init__(f"until {until.isoformat()}" if until is not None else f"after {after}")
        self.delay = None if after is None else parse_duration(after)  # ms
        self.at = None if until is None else moment(until)  # absolute ms


class Fail(Exception):
    """Raise it to fail for good, whatever attempts are left."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Cancel(Exception):
    """Raise it to end the job as cancelled: wanted no more, not a failure."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Report:
    """What a handler says while it runs, and what it is told. Thread-safe; taken by the lease keeper and at the end."""

    __slots__ = ("_cancel", "_lines", "_logs", "_lost", "_progress")
    _lock = threading.Lock()  # one for all: it is held for an append, and making one for each run costs more

    def __init__(self) -> None:
        self._progress: bytes | None = None
        self._logs: deque[bytes] = deque(maxlen=LOGS_KEPT)
        self._lines = 0  # ever added
        self._cancel: str | None = None
        self._lost = False

    @property
    def progress(self) -> bytes | None:
        """Progress that was not taken yet."""
        return self._progress

    @property
    def logs(self) -> tuple[bytes, ...]:
        """Lines that were not taken yet; beyond LOGS_KEPT the oldest are dropped."""
        with self._lock:
            return tuple(self._logs)

    @property
    def news(self) -> bool:
        """Whether anything was reported since the last `take`. Without the lock: asked at every run's end."""
        return self._progress is not None or bool(self._logs)

    @property
    def cancelled(self) -> str | None:
        """The reason of a cancel that was asked, None while nobody asked."""
        return self._cancel

    @property
    def lost(self) -> bool:
        """Whether this run no longer owns its job."""
        return self._lost

    def put_progress(self, data: bytes) -> None:
        """The newest progress replaces an older one."""
        with self._lock:
            self._progress = data

    def put_line(self, data: bytes) -> None:
        """Add a line."""
        with self._lock:
            self._logs.append(data)
            self._lines += 1

    def take(self) -> Note:
        """Everything reported since the last time, and forget it."""
        with self._lock:
            logs = tuple(self._logs)
            taken = Note(progress=self._progress, logs=logs, start=self._lines - len(logs) if logs else None)
            self._progress = None
            self._logs.clear()
        return taken

    def cancel(self, reason: str = "") -> None:
        """Somebody asked to cancel the job: `check_cancelled` raises from now on."""
        self._cancel = reason

    def lose(self) -> None:
        """The job is not this run's any more: `check_cancelled` raises from now on."""
        self._lost = True


def _in_child() -> None:
    """Another thread may have held it when this process was forked."""
    Report._lock = threading.Lock()  # noqa: SLF001  the hook is this module's


os.register_at_fork(after_in_child=_in_child)


class JobContext:
    """The job of a run: first parameter of a handler, annotated JobContext, or `current_job()` anywhere below it.

    All methods are plain calls: progress and lines are kept and sent with the next lease renewal (at most one a
    second, at once when the run ends), so the same object serves coroutines, threads and processes.
    """

    __slots__ = ("_attempts", "_job", "_logger", "_options", "_record", "_report", "slot")

    def __init__(
        self,
        record: JobRecord,
        report: Report | None = None,
        *,
        attempts: int = 1,
        slot: Slot = "async",
        options: tuple[Mapping[str, object], Mapping[str, object], Mapping[str, object]] = ({}, {}, {}),
    ) -> None:
        self._record = record
        self._report = Report() if report is None else report
        self._attempts = attempts
        self._options = options  # of task, queue and kit, parsed
        self._job: Job | None = None
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None
        self.slot = slot

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        if self._job is None:
            self._job = job_from(self._record, *self._options)
        return self._job

    @property
    def attempt(self) -> int:
        """The number of this run, from 1."""
        return self._record.attempt

    @property
    def last_attempt(self) -> bool:
        """Whether a failure of this run is the end."""
        return self._record.attempt >= self._attempts

    @property
    def token(self) -> str:
        """The claim's token: equal for one claim, never for two; hand it to resources that must be fenced."""
        return self._record.token or ""

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """The logger `queuekit.job`, with job, queue, task and attempt in `extra`."""
        if self._logger is None:
            said = {"job": self._record.ref, "task": self._record.task, "attempt": self.attempt}
            self._logger = logging.LoggerAdapter(_log, said)
        return self._logger

    def progress(self, value: float, message: str = "", **extra: JSON) -> None:
        """Say how far the job is, 0…1 by custom. Raises PayloadError for what JSON cannot carry."""
        said: dict[str, JSON] = {"value": value}
        if message:
            said["message"] = message
        self._report.put_progress(codec.encode(said | extra))

    def log(self, line: str) -> None:
        """Keep a line with the job; the last 1,000 are kept."""
        self._report.put_line(codec.encode([clock.now_ms(), str(line)[:_LINE_MAX]]))

    def check_cancelled(self) -> None:
        """Raise Cancelled if somebody asked to cancel the job, LeaseLost if it is another worker's by now."""
        if self._report.lost:
            raise LeaseLost(f"job {self._record.ref} is no longer this run's: stop, whatever it writes is refused")
        if self._report.cancelled is not None:
            raise Cancelled(self._report.cancelled or f"job {self._record.ref} was cancelled")

    @overload
    def step(
        self, name: str, fn: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def step(self, name: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def step(self, name: str, fn: Callable[..., object], *args: object, **kwargs: object) -> object:
        """Run `fn` once per job, whatever is retried. Raises Unsupported: steps come with queuekit 0.3."""
        raise Unsupported(f"step {name!r}: steps come with queuekit 0.3; until then call the function itself")

    def children(self) -> Mapping[str, JSON]:
        """Results of the job's children. Raises Unsupported: flows come with queuekit 0.3."""
        raise Unsupported("children: flows come with queuekit 0.3")


_current: ContextVar[JobContext | None] = ContextVar("queuekit_job", default=None)


def current_job() -> JobContext | None:
    """The context of the job that runs here, None outside of one."""
    return _current.get()


def make_current(ctx: JobContext) -> None:
    """`current_job()` is `ctx` in this context from now on; for a runner, inside a context of the job's own."""
    _current.set(ctx)


@contextmanager
def running(ctx: JobContext) -> Iterator[JobContext]:
    """`current_job()` is `ctx` inside the block."""
    before = _current.set(ctx)
    try:
        yield ctx
    finally:
        _current.reset(before)


def local_context(task: str, queue: str) -> JobContext:
    """The context of a task that is called directly: nothing is stored."""
    now = clock.now_ms()
    record = JobRecord(
        queue=queue, id=ids.job_id(), task=task, body=b"j{}", state=State.ACTIVE, created_at=now, claimed_at=now,
        token=f"{ids.nonce()}:1", worker="local",
    )  # fmt: skip
    return JobContext(record, slot="local")
