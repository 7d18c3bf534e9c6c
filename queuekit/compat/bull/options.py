"""Options as Bull and BullMQ write them, to ours: milliseconds become seconds, "remove" becomes "keep".

Both spellings of a name are read, `removeOnComplete` and `remove_on_complete`. Nothing here talks to a queue.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from queuekit import Backoff, InvalidOption, JobOptions, Keep, Profile, QueueOptions, Rate, Unique, Unsupported
from queuekit.domain.job import PRIORITY_MAX
from queuekit.domain.values import to_priority, to_profile

log = logging.getLogger("queuekit.compat")
_UNCAPPED = "3650d"  # Bull's exponential delays grow without a limit
_STALLED_INTERVAL = 30_000
_FLOWS = "flows come with queuekit 0.3; until then add what follows from the processor"
_REFUSED: Mapping[str, str] = {
    "repeat": "it is no option of one job: Queue.add(name, data, {'repeat': …}) and upsert_job_scheduler take it",
    "repeat_job_key": "leave it out: a repeated job's id begins with its schedule's",
    "parent": _FLOWS, "fail_parent_on_failure": _FLOWS, "ignore_dependency_on_failure": _FLOWS,
    "remove_dependency_on_failure": _FLOWS, "continue_parent_on_failure": _FLOWS,
    "keep_logs": "leave it out: the last 1,000 lines of a job are kept",
    "stack_trace_limit": "leave it out: the tracebacks of the last 20 runs are kept",
    "size_limit": "leave it out: QUEUEKIT_PAYLOAD_LIMIT bounds every payload",
    "timestamp": "leave it out: the store's clock says when a job was added",
}  # fmt: skip
_REFUSED_WORKER: Mapping[str, str] = {
    "lock_renew_time": "leave it out: a lease is renewed by itself, three times in its length",
    "connection": "the kit knows its store: REDIS_URL, QUEUEKIT_URL or QueueKit(url)",
    "redis": "the kit knows its store: REDIS_URL, QUEUEKIT_URL or QueueKit(url)",
    "prefix": "the kit knows its namespace: QUEUEKIT_NAMESPACE or QueueKit(namespace=…)",
    "skip_stalled_check": "leave it out: every worker looks for stalled jobs of its queues",
    "skip_lock_renewal": "leave it out: a lease is renewed by itself",
    "drain_delay": "leave it out: a worker is woken by the store",
    "guard_interval": "leave it out: a worker is woken by the store",
    "retry_process_delay": "leave it out: a store that is away is asked again with a growing pause",
    "run_retry_delay": "leave it out: a store that is away is asked again with a growing pause",
    "backoff_strategies": "give a task Backoff.custom(fn), by the public API: no job stores a function",
    "metrics": "leave it out: `queuekit stats` comes with queuekit 0.2",
    "use_worker_threads": "leave it out: plain functions run in threads by themselves",
}
_told: set[int] = set()


# ---------------------------------------------------------------- options of a job
def parse_bull_options(options: Mapping[str, Any] | None) -> JobOptions:
    """A Bull job's options as ours, for `Queue.enqueue` and `Task.using`. Unset stays unset: task and queue decide.

    Raises InvalidOption with the nearest name for an unknown one, Unsupported for what comes later (`parent`).
    """
    parsed: dict[str, Any] = {}
    for name, value in _named(options, _JOB, _REFUSED, "Bull job option").items():
        if value is not None:  # undefined in JavaScript
            parsed.update(_tried(name, value, _JOB[name]))
    return cast("JobOptions", parsed)


def _attempts(value: Any) -> Mapping[str, Any]:
    return {"attempts": max(1, _whole(value))}  # Bull's 0 is one run, too


def _backoff(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        return {"backoff": Backoff.fixed(_seconds(value))}
    unknown = sorted(value.keys() - {"type", "delay", "jitter"})
    if unknown:
        raise InvalidOption(f"a backoff has type, delay and jitter, not {', '.join(map(str, unknown))}")
    kind, delay, jitter = value.get("type", "fixed"), _seconds(value.get("delay", 0)), float(value.get("jitter", 0))
    if kind == "exponential":
        return {"backoff": Backoff.exponential(delay, cap=_UNCAPPED, jitter=jitter)}
    if kind != "fixed":
        raise InvalidOption(f"backoff type {kind!r}: use 'fixed' or 'exponential'; Backoff.custom(fn) goes to the task")
    if jitter:
        return {"backoff": Backoff.exponential(delay, factor=1, cap=_UNCAPPED, jitter=jitter)}
    return {"backoff": Backoff.fixed(delay)}


def _delay(value: Any) -> Mapping[str, Any]:
    return {} if value <= 0 else {"delay": _seconds(value)}  # a moment that has passed by is now, as in Bull


def _priority(value: Any) -> Mapping[str, Any]:
    if value == 0 and not isinstance(value, bool):
        return {}
    if isinstance(value, int) and value > PRIORITY_MAX:
        if value not in _told and len(_told) < 100:
            _told.add(value)
            log.warning("priority %d is above %d, which is used: lower runs first, as in Bull", value, PRIORITY_MAX)
        return {"priority": PRIORITY_MAX}
    return {"priority": to_priority(value)}


def _keep(value: Any) -> bool | int | Keep:
    """What "remove" leaves: true removes, false keeps all, n keeps n; an age is in seconds, in Bull as well."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Mapping):
        unknown = sorted(value.keys() - {"count", "age"})
        if unknown:
            raise InvalidOption(f"here go count and age (in seconds), not {', '.join(map(str, unknown))}")
        return Keep(count=value.get("count"), age=value.get("age"))
    return Keep(count=_whole(value))


def _job_id(value: Any) -> Mapping[str, Any]:
    return {"id": str(value)}


def _lifo(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, bool):
        raise InvalidOption(f"{value!r}: use True or False")
    return {"lifo": value}


def _timeout(value: Any) -> Mapping[str, Any]:
    return {"timeout": _seconds(value)}


def _deduplication(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or "id" not in value or value.keys() - {"id", "ttl", "replace"}:
        raise InvalidOption(f"{value!r:.80}: use {{'id': …}}, with 'ttl' in ms or 'replace' where you want them")
    ttl = value.get("ttl")
    return {
        "unique": Unique(
            str(value["id"]),
            until="finished" if ttl is None else _seconds(ttl),
            on_conflict="replace" if value.get("replace") else "existing",
        )
    }


_JOB: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "attempts": _attempts,
    "backoff": _backoff,
    "delay": _delay,
    "priority": _priority,
    "remove_on_complete": lambda value: {"keep_completed": _keep(value)},
    "remove_on_fail": lambda value: {"keep_failed": _keep(value)},
    "job_id": _job_id,
    "lifo": _lifo,
    "timeout": _timeout,
    "deduplication": _deduplication,
    "debounce": _deduplication,
}


# ---------------------------------------------------------------- options of a worker
def parse_bull_worker_options(options: Mapping[str, Any] | Profile | str | None) -> QueueOptions:
    """A Bull worker's options as options of its queue; a profile, or the name of one, will do.

    `maxStalledCount` n lets a job be taken back n times: the run after that may not end with a dead worker, so that
    `max_crashes` is n + 1. Raises InvalidOption, Unsupported.
    """
    if isinstance(options, Profile | str):
        options = {"profile": options}
    said = dict(options or {})
    nested = said.pop("settings", None)
    if isinstance(nested, Mapping):
        said = {**nested, **said}
    given = _named(said, _WORKER, _REFUSED_WORKER, "Bull worker option")
    parsed: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None and name != "stalled_interval":
            parsed.update(_tried(name, value, _WORKER[name]))
    every = given.get("stalled_interval")
    if every is not None:
        parsed.update(_tried("stalled_interval", every, lambda ms: _checked_every(parsed, ms)))
    return cast("QueueOptions", parsed)


def _checked_every(parsed: Mapping[str, Any], ms: Any) -> Mapping[str, Any]:
    """A profile says how often leases are looked at; one of ours keeps its name, so that WORKER_TYPE still finds it."""
    base = parsed.get("profile")
    if isinstance(base, str):
        raise InvalidOption(f"profile {base!r} says it already: set stalled_check in its table")
    if base is None:
        base = Profile(name="bull", concurrency=1, lease=_STALLED_INTERVAL / 1000)
    return {
        "profile": replace(
            base,
            concurrency=parsed.get("concurrency", base.concurrency),
            lease=parsed.get("lease", base.lease),
            stalled_check=_seconds(ms),
        )
    }


def _limiter(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and {"groupKey", "group_key"} & value.keys():
        raise Unsupported("groups come with queuekit 0.2; until then give each group a queue of its own")
    if not isinstance(value, Mapping) or value.keys() != {"max", "duration"}:
        raise InvalidOption(f"{value!r:.80}: use {{'max': jobs, 'duration': ms}}")
    return {"rate": Rate(_whole(value["max"]), per=_seconds(value["duration"]))}


def _autorun(value: Any) -> Mapping[str, Any]:
    if value:
        raise InvalidOption("a worker starts when you say so: leave it out and call run(), or use `async with`")
    return {}


_WORKER: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "concurrency": lambda value: {"concurrency": _whole(value)},
    "lock_duration": lambda value: {"lease": _seconds(value)},
    "stalled_interval": lambda value: {},
    "max_stalled_count": lambda value: {"max_crashes": _whole(value) + 1},
    "limiter": _limiter,
    "profile": lambda value: {"profile": to_profile(value)},
    "autorun": _autorun,
    "remove_on_complete": _JOB["remove_on_complete"],
    "remove_on_fail": _JOB["remove_on_fail"],
}


# ---------------------------------------------------------------- options of a queue
def parse_default_job_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The `defaultJobOptions` of a Bull queue's options, as said; checked. Raises InvalidOption, Unsupported."""
    given = _named(options, {"default_job_options": None}, _REFUSED_WORKER, "Bull queue option")
    defaults = given.get("default_job_options") or {}
    if not isinstance(defaults, Mapping):
        raise InvalidOption(f"Bull queue option 'default_job_options': {defaults!r:.80} is no mapping of options")
    parse_bull_options(defaults)
    return snake(defaults)


def snake(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options with their names in snake_case."""
    return {_snake(name): value for name, value in (options or {}).items()}


# ---------------------------------------------------------------- reading
def _named(
    options: Mapping[str, Any] | None, known: Mapping[str, Any], refused: Mapping[str, str], what: str
) -> dict[str, Any]:
    """Options by their names in snake_case; each of them is known."""
    found: dict[str, Any] = {}
    for said, value in (options or {}).items():
        name = _snake(said)
        if name in refused:
            later = "come with queuekit" in refused[name]
            raise (Unsupported if later else InvalidOption)(f"{what} {said!r}: {refused[name]}")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InvalidOption(f"unknown {what} {said!r}: {hint}")
        if name in found:
            raise InvalidOption(f"{what} {name!r} is given in both spellings")
        found[name] = value
    return found


def _tried(name: str, value: Any, parse: Callable[[Any], Mapping[str, Any]]) -> Mapping[str, Any]:
    try:
        return parse(value)
    except Unsupported as error:
        raise Unsupported(f"Bull option {name!r}: {error}") from None
    except (InvalidOption, TypeError, ValueError, AttributeError) as error:
        raise InvalidOption(f"Bull option {name!r}: {error}") from None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def _seconds(ms: Any) -> float:
    if isinstance(ms, bool) or not isinstance(ms, int | float):
        raise InvalidOption(f"{ms!r}: Bull's times are numbers of milliseconds")
    return ms / 1000


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidOption(f"{value!r} is no whole number from 0")
    return int(value)
