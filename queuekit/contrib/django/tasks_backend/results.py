"""From a job to the `TaskResult` that Django's users see, and the names of both: ids, priorities, states, errors."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from queuekit import JobError, State, clock, ids
from queuekit.contrib.django.tasks_backend.root import Task, TaskError, TaskResult, TaskResultStatus
from queuekit.domain import names
from queuekit.domain.events import Job
from queuekit.errors import InvalidName

LONGEST_ID = 63  # Django: "strings less than 64 characters"
_MARK = "@"  # neither in ids nor in names of queues, and plain in a URL
_UNKNOWN = "unknown"  # a worker whose name was not kept
_TOLERATED = timedelta(seconds=1)  # by which the clocks of caller and store may differ unnoticed
_NO_RUN = "UnknownTask"  # the error of a worker that had no handler
_STATUS = {
    State.WAITING: TaskResultStatus.READY,
    State.DELAYED: TaskResultStatus.READY,
    State.BLOCKED: TaskResultStatus.READY,
    State.ACTIVE: TaskResultStatus.RUNNING,
    State.COMPLETED: TaskResultStatus.SUCCESSFUL,
    State.FAILED: TaskResultStatus.FAILED,
    State.CANCELLED: TaskResultStatus.FAILED,
    State.PARKED: TaskResultStatus.FAILED,  # "was unable to start"
}
_PATHS = {  # errors whose class is not under the name that is kept
    "queuekit.TimedOut": "builtins.TimeoutError",
    "queuekit.UnfitResult": "builtins.TypeError",
    "queuekit.Unfit": "builtins.TypeError",
}
_WHY = {State.FAILED: "JobFailed", State.CANCELLED: "JobCancelled", State.PARKED: "PayloadError"}


def result_id(queue: str, job: str) -> str:
    """One text for both, as long as it may be; else the job's id alone, which is then looked for in all queues."""
    whole = f"{job}{_MARK}{queue}"
    return whole if len(whole) <= LONGEST_ID else job


def where(result: object) -> tuple[str | None, str] | None:
    """(queue or None, job id) of a result's id; None for what cannot be one."""
    if not isinstance(result, str):
        return None
    job, mark, queue = result.partition(_MARK)
    try:
        return (names.queue_name(queue) if mark else None), names.job_id(job)
    except InvalidName:
        return None


def to_priority(priority: int) -> int:
    """Django's -100 to 100, larger first, as ours, lower first: 200 to 0."""
    return 100 - int(priority)


def from_priority(priority: int) -> int:
    """And back. A person may have given the job one that Django has not."""
    return max(-100, 100 - priority)


def to_moment(run_after: datetime) -> datetime:
    """Aware. A naive one, where `USE_TZ` is off, is in the project's zone."""
    return run_after if timezone.is_aware(run_after) else timezone.make_aware(run_after)


def from_moment(at: datetime | None) -> datetime | None:
    """As Django shows times: naive, in the project's zone, where `USE_TZ` is off."""
    return at if at is None or settings.USE_TZ else timezone.make_naive(at)


def enqueued_at(job: str, created: datetime | None = None) -> datetime | None:
    """When `enqueue` was called, by its caller's clock; by the store's where that one goes wrong. Aware.

    The caller's time is in the job's id: so a result that was just enqueued equals the one that is read again.
    """
    made = ids.made_at(job)
    said = None if made is None else clock.to_datetime(made)
    return created if said is None or (created is not None and said > created + _TOLERATED) else said


def restored(task: Task[..., Any], **changes: object) -> Task[..., Any]:
    """A copy of a task as it was enqueued. Not validated: `QUEUES` may have changed since."""
    kind = type(task)
    copy = object.__new__(kind)
    for name in task.__dataclass_fields__:
        object.__setattr__(copy, name, changes.get(name, getattr(task, name)))
    return copy


def task_of(job: Job, task: Task[..., Any], backend: str) -> Task[..., Any]:
    """The task of a job's result."""
    return restored(
        task, priority=from_priority(job.priority), queue_name=job.queue, run_after=from_moment(job.run_at),
        backend=backend,
    )  # fmt: skip


def fresh(
    task: Task[..., Any], id: str, args: Any, kwargs: Any, *, backend: str, at: datetime | None
) -> TaskResult[..., Any]:
    """The result of a task that is being enqueued."""
    return TaskResult(
        task=task, id=id, status=TaskResultStatus.READY, enqueued_at=at, started_at=None, finished_at=None,
        last_attempted_at=None, args=args, kwargs=kwargs, backend=backend, errors=[], worker_ids=[],
    )  # fmt: skip


def result_of(
    job: Job, task: Task[..., Any], backend: str, *, error: JobError | None = None, at: datetime | None = None
) -> TaskResult[..., Any]:
    """The result as the job says. `error` and `at` are of an end that the snapshot does not know yet."""
    payload: Any = job.payload
    runs = [*job.errors, *(() if error is None else (error,))]
    runs = [one for one in runs if one.type != _NO_RUN]
    status = _STATUS[job.state]
    ended = status in (TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL)
    queued = enqueued_at(job.id, job.created_at)
    last = _not_before(queued, job.started_at)
    first = _not_before(queued, runs[0].at) if runs else last  # the start of a run that failed is not kept: its end is
    result: TaskResult[..., Any] = TaskResult(
        task=task_of(job, task, backend),
        id=result_id(job.queue, job.id),
        status=status,
        enqueued_at=from_moment(queued),
        started_at=from_moment(last if first is None or last is None else min(first, last)),
        finished_at=from_moment(_not_before(queued, job.finished_at or at)) if ended else None,
        last_attempted_at=from_moment(last),
        args=payload["args"],
        kwargs=payload["kwargs"],
        backend=backend,
        errors=list(_errors(job, runs)),
        worker_ids=_workers(job, runs),
    )
    if job.state is State.COMPLETED:
        object.__setattr__(result, "_return_value", job.result)
    return result


def carries_a_call(job: Job) -> bool:
    """Whether its payload is one of ours; a job of another kind may stand in the same queue."""
    payload = job.payload
    return (
        isinstance(payload, dict) and isinstance(payload.get("args"), list) and isinstance(payload.get("kwargs"), dict)
    )


def _not_before(queued: datetime | None, at: datetime | None) -> datetime | None:
    """A time by the store's clock, which may be a moment behind the caller's."""
    return at if queued is None or at is None else max(queued, at)


def _errors(job: Job, runs: Iterable[JobError]) -> Iterable[TaskError]:
    for one in runs:
        path = _PATHS.get(one.type, one.type)
        yield TaskError(
            exception_class_path=path if "." in path else f"builtins.{path}",
            traceback=one.traceback or f"{one.type}: {one.message}\n",
        )
    why = _WHY.get(job.state)
    if why is not None and not (job.state is State.FAILED and runs and job.reason != "crash_loop"):
        said = job.reason or job.state.value
        if job.reason == "crash_loop":
            said = f"crash_loop: {job.crashes} runs ended with a dead worker"
        yield TaskError(exception_class_path=f"queuekit.{why}", traceback=f"queuekit.{why}: {said}\n")


def _workers(job: Job, runs: list[JobError]) -> list[str]:
    """One for each run: those that failed, those that ended with a dead worker, and the one under way or the last."""
    known = [one.worker or _UNKNOWN for one in runs]
    lost = max(0, job.attempt - 1 - len(known)) + job.crashes
    last = [job.worker or _UNKNOWN] if job.state in (State.ACTIVE, State.COMPLETED) else []
    return [_UNKNOWN] * lost + known + last
