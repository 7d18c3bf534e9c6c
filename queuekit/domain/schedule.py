"""What a stored schedule is. The rules that compute its slots come with the schedules themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A rule that makes jobs, as kept. Times in ms."""

    id: str
    queue: str
    definition: bytes  # the rule and the job it makes, opaque to stores
    digest: str
    code_digest: str = ""  # of the declaration last seen in code
    rev: int = 0
    next: int | None = None
    fired: int = 0
    last_job: str | None = None
    paused: str | None = None
    origin: str = "code"  # code, file, operator
