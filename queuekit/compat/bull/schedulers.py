"""Job schedulers and repeatable jobs of one queue: Bull's answers over schedules of the kit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from queuekit import InvalidOption, NewJob, Schedule, clock
from queuekit.compat.bull.job import Job
from queuekit.compat.bull.options import parse_bull_options
from queuekit.compat.bull.repeat import Repeat, repeatable_key, repeatable_rule, scheduler_id, scheduler_rule
from queuekit.compat.door import Door
from queuekit.compat.moments import moment_of
from queuekit.domain.duration import parse_duration

if TYPE_CHECKING:
    from queuekit.compat.bull.queue import Queue

Options: TypeAlias = Mapping[str, Any]
_OF_A_JOB = ("job_id", "delay", "repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobScheduler:
    """A job scheduler or a repeatable job, as it stands. Times are milliseconds."""

    key: str  # what the verbs here take
    name: str  # of the jobs it makes
    next: int | None  # when the next one comes; None: it is paused, or over
    pattern: str | None = None
    every: int | None = None
    tz: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    limit: int | None = None
    iteration_count: int = 0  # jobs it has made
    paused: str | None = None  # why
    template: Mapping[str, Any] = field(default_factory=dict)  # data

    def to_json(self) -> dict[str, Any]:
        """JSON types only, with Bull's names in snake_case."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A schedule to be written, and the options its jobs were given."""

    id: str
    job: NewJob[Any]
    data: Any
    given: Mapping[str, Any]
    repeat: Repeat


def upserted(queue: Queue, id: str, repeat: Options, template: Options | None) -> Plan:
    """What `Queue.upsert_job_scheduler` writes. Raises InvalidOption."""
    said = dict(template or {})
    unknown = sorted(said.keys() - {"name", "data", "opts"})
    if unknown:
        raise InvalidOption(f"a template of a job scheduler has name, data and opts, not {', '.join(unknown)}")
    given = queue.given(said.get("opts"))
    for name in _OF_A_JOB:
        if name in given:
            raise InvalidOption(f"a job scheduler's opts have no {name!r}: it names and times its jobs itself")
    return _plan(queue, id, said.get("name", id), said.get("data"), given, scheduler_rule(repeat))


def repeated(queue: Queue, name: str, data: Any, given: Mapping[str, Any]) -> Plan:
    """What `Queue.add` writes where its options have a `repeat`. Raises InvalidOption."""
    repeat = repeatable_rule(given["repeat"])
    if given.get("delay"):
        raise InvalidOption("a repeated job's times are its rule's: leave 'delay' out, or say 'startDate'")
    own = {name: value for name, value in given.items() if name not in _OF_A_JOB}
    return _plan(queue, repeatable_key(name, repeat, given.get("job_id")), name, data, own, repeat)


def checked(repeat: Options, options: Options | None) -> None:
    """Raise InvalidOption for a rule or for options that cannot be. Zones and cron are read when they are written."""
    scheduler_rule(repeat)
    parse_bull_options(options)


def key_of(name: str, repeat: Options, job_id: str | None) -> str:
    """The key of a repeated job."""
    return repeatable_key(name, repeatable_rule(repeat), job_id)


async def write(door: Door, queue: Queue, plan: Plan, *, at_once: bool | None = None) -> Job[Any]:
    """Write a schedule; the next job of it, which is not there before its moment. Where none comes, since somebody
    paused it, the job's id is the schedule's.
    """
    from queuekit.domain.timetable import slot_name
    from queuekit.producing.scheduling import verbs

    begin = plan.repeat.at_once if at_once is None else at_once
    written, _ = await door.op(
        lambda at: verbs.ensure(door.kit, at, plan.id, plan.job, plan.repeat.rule, at_once=begin)
    )
    due = written.next_at
    coming = plan.id if due is None else f"{plan.id}@{slot_name(clock.to_ms(due))}"
    handle = door.kit.job(coming, queue=queue.name)
    return Job(handle, plan.job.task, plan.data, opts=plan.given, added=clock.now_ms())


async def get(door: Door, queue: Queue, key: str) -> JobScheduler | None:
    """One of the queue, by its key."""
    found = await _named(door, queue, key)
    return None if found is None else seen(queue, found)


async def listing(door: Door, queue: Queue, start: int, end: int, asc: bool) -> list[JobScheduler]:
    """Those from `start` to `end` (inclusive, -1: all) by their next moment: the latest first unless `asc`, and those
    that have none behind all others.
    """
    found = [seen(queue, one) for one in await door.schedules("all", queue.name)]
    found.sort(key=lambda one: (one.next or 0, one.key), reverse=not asc)
    found.sort(key=lambda one: one.next is None)
    return found[start : None if end < 0 else end + 1]


async def remove(door: Door, queue: Queue, key: str) -> bool:
    """Delete one of the queue, by its key; jobs it has made stay."""
    found = await _named(door, queue, key)
    return found is not None and bool(await door.schedules("delete", found.id))


async def _named(door: Door, queue: Queue, key: str) -> Schedule | None:
    """The queue's schedule of that key; one that code or a file declares goes by its own id."""
    for one in (scheduler_id(queue.name, key), key):
        found: Schedule | None = await door.schedules("get", one)
        if found is not None and found.queue == queue.name:
            return found
    return None


def seen(queue: Queue, schedule: Schedule) -> JobScheduler:
    """A schedule in Bull's words."""
    rule = dict(schedule.rule)

    def at(name: str) -> int | None:
        return None if name not in rule else clock.to_ms(moment_of(name, rule[name]))

    return JobScheduler(
        key=schedule.id.removeprefix(scheduler_id(queue.name, "")),
        name=schedule.task,
        next=None if schedule.next_at is None else clock.to_ms(schedule.next_at),
        pattern=_text(rule.get("cron")),
        every=None if "every" not in rule else parse_duration(str(rule["every"])),
        tz=_text(rule.get("timezone")),
        start_date=at("start"),
        end_date=at("end"),
        limit=rule.get("count"),  # type: ignore[arg-type]  # a whole number, as Timetable writes it
        iteration_count=schedule.fired,
        paused=schedule.paused,
        template={"data": schedule.payload},
    )


def _plan(queue: Queue, id: str, name: str, data: Any, given: Mapping[str, Any], repeat: Repeat) -> Plan:
    options = parse_bull_options(given)
    job = queue.queue.make(name, {} if data is None else data, **options)
    return Plan(id=scheduler_id(queue.name, id), job=job, data=data, given=given, repeat=repeat)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
