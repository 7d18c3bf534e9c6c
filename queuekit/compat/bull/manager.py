"""`QueueManager`: jobs by one envelope, `{type, data, options}`, on one queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from queuekit import InvalidOption, QueueKit
from queuekit.compat.bull.job import Job
from queuekit.compat.bull.queue import Queue, get_queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A job to be added: its type is the job's name."""

    type: str
    data: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


class QueueManager:
    """Adds jobs to one queue; `queue` has Bull's other verbs."""

    def __init__(self, queue: str | Queue = "default", *, kit: QueueKit | None = None) -> None:
        self.queue = queue if isinstance(queue, Queue) else get_queue(queue, kit=kit)

    def add_job(self, job: Envelope | Mapping[str, Any]) -> Job[Any]:
        """Add `{type, data, options}`. Raises InvalidOption for other keys, and what `Queue.add` raises."""
        one = _envelope(job)
        return self.queue.add(one.type, one.data, one.options)

    async def aadd_job(self, job: Envelope | Mapping[str, Any]) -> Job[Any]:
        """See `add_job`."""
        one = _envelope(job)
        return await self.queue.aadd(one.type, one.data, one.options)


def _envelope(job: Envelope | Mapping[str, Any]) -> Envelope:
    if isinstance(job, Envelope):
        return job
    unknown = sorted(job.keys() - {"type", "data", "options"})
    if unknown or "type" not in job:
        raise InvalidOption(f"a job is {{type, data, options}}; {', '.join(unknown) or 'type'} is not as it should be")
    return Envelope(type=job["type"], data=job.get("data"), options=job.get("options") or {})
