"""Schedules: what `kit.schedules` is and answers. What is done stands in queuekit.producing.scheduling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from queuekit import clock
from queuekit.domain.duration import Duration
from queuekit.domain.values import JSON
from queuekit.handle import JobHandle
from queuekit.producing.newjob import NewJob

if TYPE_CHECKING:
    from queuekit.domain.scheduled import Definition
    from queuekit.kit import QueueKit


class Rule(TypedDict, total=False):
    """When a schedule fires: exactly one of cron, every, at, trigger; the rest bounds it. docs/schedules.md has it."""

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
    """A stored schedule. A snapshot: it never talks to a store. Moments are aware UTC datetimes.

    `rule` is the one that holds, `task`, `payload` and `options` are of the job it makes. `declared` and `override` are
    the two layers they come from, each {"job", "rule", "by", "at"}: what code or file declares, what a person set.
    """

    id: str
    queue: str
    task: str
    rule: Mapping[str, JSON]
    origin: Literal["code", "file", "operator"]
    paused: str | None  # the reason, "" is one too
    next_at: datetime | None  # None: paused, or over
    last_job: str | None
    paused_by: str | None = None
    paused_at: datetime | None = None
    fired: int = 0  # jobs made; those of a firing by hand are not counted
    skipped: int = 0  # slots that made none: missed, or overlapping
    payload: JSON = None
    options: Mapping[str, JSON] = field(default_factory=dict)
    anchor: datetime | None = None  # `every` counts from here
    by_hand: Mapping[str, JSON] | None = None  # the last firing by a person: by, at, job
    declared: Mapping[str, JSON] | None = None
    override: Mapping[str, JSON] | None = None
    problem: str | None = None  # why this process cannot read it
    _definition: Definition | None = field(default=None, repr=False, compare=False)

    @property
    def ref(self) -> str:
        """ "queue/id"."""
        return f"{self.queue}/{self.id}"

    def preview(self, n: int = 5) -> list[datetime]:
        """The next `n` moments (1 to 1000), fewer where it ends; of a paused one, as if it were resumed now."""
        from queuekit.producing.scheduling.view import coming

        return coming(self, self._definition, n)

    @property
    def put_off(self) -> bool:
        """Whether the store's clock was far ahead for a while, so that it passed over slots that are still to come.

        By this host's clock. Putting, declaring or resuming it sets it right.
        """
        from queuekit.producing.scheduling.view import put_off

        return put_off(self, self._definition, clock.now_ms())

    def to_dict(self) -> dict[str, JSON]:
        """Plain JSON, datetimes as ISO 8601."""
        said: dict[str, JSON] = {}
        for one in fields(self):
            if not one.name.startswith("_"):
                value = getattr(self, one.name)
                said[one.name] = value.isoformat() if isinstance(value, datetime) else value
        return said


class Schedules:
    """Schedules at run time. Each call talks to the store at once, also inside a transaction that jobs wait for.

    A schedule is meant by its id, which is one in all queues, or by "queue/id". Each raises Unsupported where the store
    keeps no schedules, Conflict where two queues have the id, Moved while its queue is on its way to another store.
    """

    def __init__(self, kit: QueueKit) -> None:
        self._kit = kit

    def put(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule:
        """Write one now, over the one of that id. The same again changes nothing, whoever does it how often.

        Over a declared one it is an override: it survives deploys until `reset`, or until the declaration of the job or
        rule changes itself. Another queue takes the schedule along. Raises InvalidOption for a rule that cannot be, or
        has no slot to come; PayloadTooLarge; InvalidName.
        """
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.put(self._kit, at, id, job, rule))

    async def aput(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule:
        """See `put`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.put(self._kit, at, id, job, rule))

    def get(self, id: str) -> Schedule | None:
        """One by id, None where there is none."""
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.get(self._kit, at, id))

    async def aget(self, id: str) -> Schedule | None:
        """See `get`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.get(self._kit, at, id))

    def all(self, queue: str | None = None) -> list[Schedule]:
        """All, or those of a queue, by queue and id."""
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.every(self._kit, at, queue))

    async def aall(self, queue: str | None = None) -> list[Schedule]:
        """See `all`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.every(self._kit, at, queue))

    def pause(self, id: str, reason: str = "") -> bool:
        """Let it fire no more, over all deploys until `resume`. False: there is none, or it is paused already."""
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.pause(self._kit, at, id, reason))

    async def apause(self, id: str, reason: str = "") -> bool:
        """See `pause`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.pause(self._kit, at, id, reason))

    def resume(self, id: str) -> bool:
        """Let it go on with the next slot to come; those of the pause are not missed. False: it is not paused.

        One that is `put_off` goes on with its next slot too, paused or not.
        """
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.resume(self._kit, at, id))

    async def aresume(self, id: str) -> bool:
        """See `resume`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.resume(self._kit, at, id))

    def fire(self, id: str) -> JobHandle[JSON]:
        """Make its job now, also while it is paused; its slots and its count stay as they are.

        The job's id is `id@manual-…`. Raises JobNotFound where there is no such schedule, QueueFull.
        """
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.fire(self._kit, at, id))

    async def afire(self, id: str) -> JobHandle[JSON]:
        """See `fire`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.fire(self._kit, at, id))

    def delete(self, id: str) -> bool:
        """Remove it; its jobs stay. False: there is none. One that code still declares comes back with the next worker
        that starts, as a new one.
        """
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.delete(self._kit, at, id))

    async def adelete(self, id: str) -> bool:
        """See `delete`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.delete(self._kit, at, id))

    def reset(self, id: str) -> bool:
        """Drop what was put over a declaration; a pause stays until `resume`. False: nothing was."""
        from queuekit.producing.scheduling import verbs

        return self._kit.run(lambda at: verbs.reset(self._kit, at, id))

    async def areset(self, id: str) -> bool:
        """See `reset`."""
        from queuekit.producing.scheduling import verbs

        return await self._kit.arun(lambda at: verbs.reset(self._kit, at, id))

    def preview(self, n: int = 5, **rule: Unpack[Rule]) -> list[datetime]:
        """The next `n` moments of a rule that is not written: `preview(3, cron="0 9 * * mon")`. Asks no store."""
        from queuekit.producing.scheduling.view import trial

        return trial(rule, n, self._kit.settings.timezone, clock.now_ms())
