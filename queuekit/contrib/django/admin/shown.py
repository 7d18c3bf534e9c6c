"""From a job or a queue to what its page prints: plain values only. Templates escape them; nothing here is markup."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from queuekit import Job, JobError, State, clock
from queuekit.contrib.django.admin.acts import Chosen
from queuekit.contrib.django.admin.base import local
from queuekit.domain.duration import format_duration
from queuekit.domain.job import JobRecord, Retention
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home
from queuekit.domain.query import Position, Verb
from queuekit.domain.state import TERMINAL
from queuekit.domain.values import JSON
from queuekit.producing.snapshot import log_line

SHOWN = 100_000  # characters of a payload, a result or a traceback that a page prints
ERROR = 120  # and of the last error, in a list
LINES = 200  # of a job's log, the last ones


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list."""

    chosen: Chosen
    job: Job
    attempt: str
    created: datetime | None
    finished: datetime | None
    error: str


def row(job: Job) -> Row:
    """What the list shows of a job: no payload."""
    last = f"{job.errors[-1].type}: {job.errors[-1].message}" if job.errors else job.reason or ""
    short = last if len(last) <= ERROR else f"{last[:ERROR]}…"
    return Row(Chosen.of(job), job, attempts(job), local(job.created_at), local(job.finished_at), short)


def attempts(job: Job) -> str:
    """ "2 of 5"; only "2" where this process does not know the task."""
    return f"{job.attempt} of {job.attempts}" if job.attempts_known else str(job.attempt)


def fields(job: Job, record: JobRecord) -> Iterator[tuple[str, object]]:
    """What is known of a job, but for its payload, result and errors; (name, value), empty ones left out."""
    said: dict[str, object] = {
        "Task": job.task,
        "State": job.state.value,
        "Reason": job.reason,
        "Cancel asked": record.cancel,
        "Attempt": attempts(job),
        "Crashes": job.crashes or None,
        "Snoozes": job.snoozes or None,
        "Priority": job.priority,
        "Created": local(job.created_at),
        "Due": local(job.run_at),
        "Started": local(job.started_at),
        "Parked" if job.state is State.PARKED else "Finished": local(job.finished_at),
        "Worker": job.worker,
        "Group": job.group,
        "Unique key": record.unique.key if record.unique is not None else None,
        "Tags": ", ".join(job.tags) or None,
    }
    yield from ((name, value) for name, value in said.items() if value is not None)


def waits(position: Position | None, workers: int) -> str:
    """Why a job does not run yet, "" for one that does not wait. `workers` is how many take its queue."""
    if position is None or position.state in TERMINAL or position.state is State.ACTIVE:
        return ""
    reasons = [reason for reason in position.reasons if reason != position.state.value]
    if not workers:
        reasons.append("no live worker takes its queue")
    if not reasons and position.state is State.WAITING:
        reasons.append(f"{position.ahead} jobs go before it" if position.ahead else "it is next")
    return "; ".join(reasons)


def verbs(state: State) -> list[str]:
    """The buttons of a job's page. What is refused all the same is refused by the store."""
    can: list[Verb] = []
    if state in TERMINAL or state is State.PARKED:
        can.append(Verb.RETRY)
    if state is State.DELAYED:
        can.append(Verb.PROMOTE)
    if state not in TERMINAL:
        can.append(Verb.CANCEL)
    return [verb.value for verb in can]


def progress(value: JSON) -> dict[str, object] | None:
    """A bar where the handler said a part of one, and its text."""
    if value is None:
        return None
    part = value.get("value") if isinstance(value, Mapping) else value
    message = value.get("message") if isinstance(value, Mapping) else None
    if isinstance(part, bool) or not isinstance(part, (int, float)) or not 0 <= part <= 1:
        return {"text": pretty(value)}
    rest = {k: v for k, v in value.items() if k not in ("value", "message")} if isinstance(value, Mapping) else {}
    return {"percent": round(part * 100), "text": message or "", "rest": pretty(rest) if rest else ""}


def pretty(value: JSON) -> str:
    """JSON as people read it, cut where it would make a page too long."""
    return cut(json.dumps(value, ensure_ascii=False, indent=2))


def cut(text: str) -> str:
    """`text`, or its beginning and how much is missing."""
    if len(text) <= SHOWN:
        return text
    return f"{text[:SHOWN]}\n… {len(text) - SHOWN} more characters: queuekit jobs show prints them"


def errors(found: tuple[JobError, ...]) -> list[dict[str, object]]:
    """Failed runs, the last one first."""
    return [
        {
            "type": one.type,
            "message": one.message,
            "traceback": cut(one.traceback),
            "attempt": one.attempt,
            "worker": one.worker,
            "at": local(one.at),
        }
        for one in reversed(found)
    ]


def lines(record: JobRecord) -> list[tuple[datetime | None, str]]:
    """The last lines that the handler logged, oldest first."""
    return [(local(clock.to_datetime(ms)), text) for ms, text in map(log_line, record.logs[-LINES:])]


def lives(conf: QueueConf) -> str:
    """Where a queue is that moves or has moved; "" of others."""
    said = {
        Home.MOVING: "here; it moves to {}",
        Home.ARRIVING: "in {}; it moves here",
        Home.GONE: "in {} now",
        Home.HERE: "here; its last jobs still come from {}",
    }
    return "" if conf.to is None else said[conf.home].format(conf.to)


def limits(layer: Limits) -> str:
    """What a layer of limits says, in the words of the options."""
    said = []
    for one in dataclasses.fields(layer):
        value = getattr(layer, one.name)
        if one.name in ("paused", "by", "at") or value is None or value == one.default:
            continue
        if isinstance(value, Retention):
            parts = (f"{value.count} jobs" if value.count is not None else "", value.age and format_duration(value.age))
            value = " or ".join(str(part) for part in parts if part) or "all"
        elif one.name == "lease":
            value = format_duration(value)
        said.append(f"{one.name} {value}")
    return ", ".join(said)
