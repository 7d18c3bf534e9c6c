"""Records of jobs claimed for the first time: what a run needs is read at once, the rest when somebody asks.

A whole record costs 6 us to build, and of most jobs that a worker drains nobody looks at the rest.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from queuekit.domain.job import JobRecord
from queuekit.domain.state import Line, State
from queuekit_redis.records import place_of, read_entry

Common: TypeAlias = "tuple[str, int, int, str]"  # token, now, lease end, worker: the same for all claims of a call
_FIELDS: Final = tuple(JobRecord.__dataclass_fields__)
_ACTIVE: Final = State.ACTIVE
_READY: Final = Line.READY
_NEW: Final = JobRecord.__new__


class Fresh(JobRecord):
    """A JobRecord that sets its other fields at the first look at one of them."""

    __slots__ = ("parts",)
    parts: tuple[int, int, bytes, Common]  # created, run_at or 0, score, common

    def __getattr__(self, name: str) -> Any:
        """Called for a slot that was never set."""
        if name not in _FIELDS:
            raise AttributeError(name)
        created, run_at, score, (token, now, until, worker) = self.parts
        whole = JobRecord(
            queue=self.queue, id=self.id, task=self.task, body=self.body, version=self.version, priority=self.priority,
            state=_ACTIVE, line=_READY, place=place_of(score), created_at=created, run_at=run_at or None, rev=2,
            claims=1, token=token, worker=worker, claimed_at=now, lease_until=until,
        )  # fmt: skip
        for field in _FIELDS:
            try:
                object.__getattribute__(self, field)  # what somebody has changed stays
            except AttributeError:
                setattr(self, field, getattr(whole, field))
        return object.__getattribute__(self, name)

    def __eq__(self, other: object) -> bool:
        """Equal to any record that says the same."""
        if not isinstance(other, JobRecord):
            return NotImplemented
        return all(getattr(self, field) == getattr(other, field) for field in _FIELDS)

    __hash__ = None  # type: ignore[assignment]  # as a JobRecord


def fresh(queue: str, id: str, entry: bytes, score: bytes, common: Common) -> JobRecord:
    """The record of a claim of which the server said no more than this."""
    job = _NEW(Fresh)
    created, run_at, job.priority, job.version, job.task, job.body = read_entry(entry)
    job.queue = queue
    job.id = id
    job.options = b""
    job.state = _ACTIVE
    job.line = _READY
    job.failures = 0
    job.token = common[0]
    job.lease_until = common[2]
    job.parts = created, run_at, score, common
    return job
