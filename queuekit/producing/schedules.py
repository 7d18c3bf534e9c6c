"""Schedules: the names of the API, which say when they come. Nothing is stored yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NoReturn, TypedDict, Unpack

from queuekit.domain.duration import Duration
from queuekit.domain.values import JSON
from queuekit.errors import Unsupported
from queuekit.handle import JobHandle
from queuekit.producing.newjob import NewJob


class Rule(TypedDict, total=False):
    """When a schedule fires: exactly one of cron, every, at, trigger; the rest bounds it."""

    cron: str
    every: Duration
    at: datetime
    trigger: object
    timezone: str
    start: datetime
    end: datetime
    count: int
    jitter: Duration
    missed: Literal["skip", "once", "all"]
    grace: Duration
    overlap: Literal["allow", "skip", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A stored schedule."""

    id: str
    queue: str
    task: str
    rule: Mapping[str, JSON]
    origin: Literal["code", "file", "operator"]
    paused: str | None
    next_at: datetime | None
    last_job: str | None

    def preview(self, n: int = 5) -> list[datetime]:
        """The next moments. Raises Unsupported: schedules come with queuekit 0.2."""
        _later()


class Schedules:
    """Schedules at run time; each call raises Unsupported: schedules come with queuekit 0.2."""

    def put(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule:
        """Write one now."""
        _later()

    async def aput(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule:
        """See `put`."""
        _later()

    def get(self, id: str) -> Schedule | None:
        """One by id."""
        _later()

    async def aget(self, id: str) -> Schedule | None:
        """See `get`."""
        _later()

    def all(self, queue: str | None = None) -> list[Schedule]:
        """All, or those of a queue."""
        _later()

    async def aall(self, queue: str | None = None) -> list[Schedule]:
        """See `all`."""
        _later()

    def pause(self, id: str, reason: str = "") -> bool:
        """Let it fire no more."""
        _later()

    async def apause(self, id: str, reason: str = "") -> bool:
        """See `pause`."""
        _later()

    def resume(self, id: str) -> bool:
        """Let it fire again."""
        _later()

    async def aresume(self, id: str) -> bool:
        """See `resume`."""
        _later()

    def fire(self, id: str) -> JobHandle[JSON]:
        """Make its job now."""
        _later()

    async def afire(self, id: str) -> JobHandle[JSON]:
        """See `fire`."""
        _later()

    def delete(self, id: str) -> bool:
        """Remove it."""
        _later()

    async def adelete(self, id: str) -> bool:
        """See `delete`."""
        _later()


def _later() -> NoReturn:
    raise Unsupported("schedules come with queuekit 0.2; until then enqueue with run_at, or from a cron job")
