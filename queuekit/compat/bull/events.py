"""Bull's events over the hooks of a kit: what is told, and with which arguments. Of this process only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from queuekit import InvalidOption, JobEvent, JobFact, QueueKit
from queuekit import Job as Snapshot
from queuekit.compat.bull.job import Job
from queuekit.errors import JobError
from queuekit.producing.hooks import Hook

Arguments: TypeAlias = Callable[[Job[Any] | None, JobFact], tuple[Any, ...]]


@dataclass(slots=True)
class Listener:
    """Who is told of what, until `end()`."""

    event: str
    fn: Callable[..., object]
    active: bool = True
    hooked: list[tuple[QueueKit, JobEvent, Hook]] = field(default_factory=list)

    def end(self) -> None:
        """Tell it no more."""
        self.active = False
        for kit, event, hook in self.hooked:
            kit.hooks.remove(event, hook)
        self.hooked.clear()


def _error(job: Job[Any] | None, fact: JobFact) -> JobError:
    if fact.error is not None:
        return fact.error
    reason = (fact.job.reason if fact.job else None) or "failed"
    said = f"{fact.job.crashes} runs ended with a dead worker" if fact.job and reason == "crash_loop" else reason
    return JobError(type=reason, message=said, traceback="", attempt=0, worker="", at=fact.at)


# Bull's event -> ours, and what its listeners are called with
_EVENTS: Mapping[str, tuple[tuple[JobEvent, ...], Arguments]] = {
    "active": (("active",), lambda job, fact: (job,)),
    "completed": (("completed",), lambda job, fact: (job, job and job.returnvalue)),
    "failed": (("failed", "retrying"), lambda job, fact: (job, _error(job, fact))),
    "progress": (("progress",), lambda job, fact: (job, job and job.progress)),
    "stalled": (("stalled",), lambda job, fact: (job and job.id,)),
    "error": (("error",), lambda job, fact: (_error(job, fact),)),
    "drained": (("drained",), lambda job, fact: ()),
    "paused": (("paused",), lambda job, fact: ()),
    "resumed": (("resumed",), lambda job, fact: ()),
    "cancelled": (("cancelled",), lambda job, fact: (job,)),
    "parked": (("parked",), lambda job, fact: (job,)),
}
CLOSED = "closed"


def checked(event: str) -> str:
    """The event itself. Raises InvalidOption for one there is not, or that only another process could tell."""
    if event.startswith("global:"):
        raise InvalidOption(f"{event!r}: a process hears what happens in itself; listen where the worker runs")
    if event not in _EVENTS and event != CLOSED:
        raise InvalidOption(f"no event {event!r}; there are: {', '.join([*_EVENTS, CLOSED])}")
    return event


def listen(kit: QueueKit, queue: str, listener: Listener) -> None:
    """Tell a listener of its event where it happens to a queue's jobs. Raises InvalidOption."""
    if checked(listener.event) == CLOSED:
        return  # told by the worker that closes
    ours, arguments = _EVENTS[listener.event]

    def tell(fact: JobFact) -> Awaitable[None] | None:
        if fact.queue != queue or not listener.active:
            return None
        job = None if fact.job is None else Job.seen(kit.job(fact.job.ref), _after(fact.job, fact))
        return cast("Awaitable[None] | None", listener.fn(*arguments(job, fact)))

    for event in ours:
        kit.on(event, tell)
        listener.hooked.append((kit, event, tell))


def _after(job: Snapshot, fact: JobFact) -> Snapshot:
    """The job as it is behind the run that the fact ends: a failed one is counted, its error is the last."""
    if fact.error is not None:
        job = replace(job, errors=(*job.errors, fact.error))
    return replace(job, attempt=job.attempt + 1) if fact.event == "retrying" else job
