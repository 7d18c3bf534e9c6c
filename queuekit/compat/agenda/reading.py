"""What the facade answers: a job's status, a page of jobs, a queue's health. Reading only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from queuekit import JSON, InvalidOption, Job, State
from queuekit.compat.door import Door
from queuekit.domain.redact import redact

PAGE = 1000
COUNTED = 10_000  # jobs of one type that a listing counts; beyond it `exact` is False
PAGES = 50  # and pages it reads: of a rare type each is a scan of some thousand jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """How a job stands. `exists` is False for one that never was or is no longer kept; then the rest says nothing."""

    id: str
    exists: bool
    status: str = "unknown"  # "scheduled", "waiting", "active", "completed", "failed", "cancelled", "parked"
    type: str | None = None
    data: JSON = None
    result: JSON = None
    error: str | None = None
    attempts_made: int = 0
    run_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobList:
    """A page. `total` is of all pages; with `exact` False there are at least as many."""

    jobs: list[JobStatus]
    total: int
    exact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:
    """`healthy` says that the store answers; else `error` says why not."""

    healthy: bool
    error: str | None = None
    job_counts: dict[str, int] = field(default_factory=dict)


def status_of(id: str, job: Job | None) -> JobStatus:
    """A snapshot in the facade's words."""
    if job is None:
        return JobStatus(id=id, exists=False)
    ended = job.state in (State.COMPLETED, State.FAILED)
    return JobStatus(
        id=job.id,
        exists=True,
        status="scheduled" if job.state is State.DELAYED else job.state.value,
        type=job.task,
        data=job.payload,
        result=job.result,
        error=job.errors[-1].message if job.errors else job.reason,
        attempts_made=job.attempt if ended else job.attempt - 1,
        run_at=job.run_at,
        finished_at=job.finished_at,
    )


async def listing(door: Door, queue: str, *, status: str | None, type: str | None, limit: int, offset: int) -> JobList:
    """Jobs of a queue from `offset` on. Reads all before `offset`; with a type it counts on, up to COUNTED jobs."""
    whole("limit", limit, 1)
    whole("offset", offset, 0)
    where: dict[str, Any] = {"queue": queue}
    where |= {"state": _state(status)} if status is not None else {}
    where |= {"task": type} if type is not None else {}
    jobs: list[JobStatus] = []
    seen, ended, end, pages = 0, False, offset + limit, 0
    while not ended and (seen < end if type is None else max(end, COUNTED) > seen and pages < PAGES):
        page = await door.find(**where, limit=PAGE if type is not None else max(1, min(PAGE, end - seen)))
        jobs += [status_of(job.id, job) for n, job in enumerate(page.jobs, seen) if offset <= n < end]
        seen, ended, pages = seen + len(page.jobs), page.cursor is None, pages + 1
        where["cursor"] = page.cursor or ""
    if type is not None:
        return JobList(jobs=jobs, total=seen, exact=ended)
    return JobList(jobs=jobs, total=page.total)


async def health(door: Door, queue: str) -> QueueHealth:
    """How the queue stands, whatever happens: a store that is away is an answer."""
    try:
        found = await door.health(queue)
    except Exception as error:  # noqa: BLE001  a monitor asks this to learn of errors
        return QueueHealth(healthy=False, error=redact(str(error)) or type(error).__name__)
    names = ("waiting", "active", "completed", "failed", "delayed")
    return QueueHealth(healthy=True, job_counts={name: getattr(found, name) for name in names})


def _state(status: str) -> State:
    try:
        return State(status)
    except ValueError:
        words = ("scheduled" if state is State.DELAYED else state.value for state in State)
        raise InvalidOption(f"no state {status!r}; there are: {', '.join(words)}") from None


def whole(name: str, value: object, least: int) -> None:
    """Raises InvalidOption for what is no whole number, or one below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidOption(f"{name}={value!r}: use a whole number from {least}")
