"""Every option once: name, type, default, who reads it, foreign names, help, how to read and write it.

The decorator, `.using`, `Queue.enqueue`, queuekit.toml, `-o key=value`, exports and the docs table derive from this
list; nothing here acts on an option.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from queuekit import clock
from queuekit.domain import names, readers
from queuekit.domain.backoff import Backoff, backoff_json, to_backoff
from queuekit.domain.duration import parse_duration
from queuekit.domain.job import VERSION_MAX
from queuekit.domain.limits import DEFAULT_LEASE, DEFAULT_MAX_CRASHES
from queuekit.domain.values import (
    JSON,
    duration_json,
    group_json,
    profile_json,
    rates_json,
    retention_json,
    to_group,
    to_priority,
    to_profile,
    to_rates,
    to_retention,
    to_unique,
    unique_json,
    whole,
)
from queuekit.errors import InvalidName, InvalidOption, QueueKitError

Scope: TypeAlias = Literal["job", "task", "queue", "kit"]
Executor: TypeAlias = Literal["auto", "async", "thread", "process"]
SCOPES: tuple[Scope, ...] = ("job", "task", "queue", "kit")


# ---------------------------------------------------------------- the list
@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `parse` reads what people, files and jobs say into the form the code uses; `dump` writes JSON that
    `parse` reads back. `reader` is who acts on it: enqueue (the producer), store, worker (when the job runs), consumer.
    """

    name: str
    type: str
    scopes: frozenset[Scope]
    reader: Literal["enqueue", "store", "worker", "consumer"]
    parse: Callable[[Any], object]
    help: str
    dump: Callable[[Any], JSON] = readers.itself
    default: object = None  # as parsed
    shown: str = "unset"  # the default as people read it
    aliases: Mapping[str, str] = field(default_factory=dict)  # foreign system -> its name for this
    literal: bool = False  # `-o name=value`: the text itself is the value

    @property
    def stored(self) -> bool:
        """Whether a job carries it in its options blob: what a worker reads when it runs."""
        return self.reader == "worker" and "job" in self.scopes


_TABLE: dict[Scope, dict[str, Option]] = {scope: {} for scope in SCOPES}


def register(option: Option) -> Option:
    """Put an option into the list, for the scopes it names."""
    for scope in option.scopes:
        if option.name in _TABLE[scope]:
            raise InvalidOption(f"option {option.name!r} exists already for {scope}")
    for scope in option.scopes:
        _TABLE[scope][option.name] = option
    return option


def withdraw(option: Option) -> None:
    """Take an option out of the list again; for tests that add one."""
    for scope in option.scopes:
        _TABLE[scope].pop(option.name, None)
    _policies.clear()


def options_of(scope: Scope) -> Mapping[str, Option]:
    """The options that may be set there, by name."""
    return _TABLE[scope]


# ---------------------------------------------------------------- reading and writing
def parse(scope: Scope, given: Mapping[str, Any], where: str = "") -> dict[str, object]:
    """Options as said, in the form the code uses. Raises InvalidOption, with the nearest name for an unknown one."""
    table, parsed = _TABLE[scope], {}
    for name, value in given.items():
        option = table.get(name)
        if option is None:
            raise _unknown(scope, name, where)
        try:
            parsed[name] = option.parse(value)
        except QueueKitError as error:
            at = f" of {where}" if where else ""
            kind = InvalidName if isinstance(error, InvalidName) else InvalidOption
            raise kind(f"option {name!r}{at}: {error}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise InvalidOption(f"option {name!r} is {option.type}, not {value!r:.80}: {error}") from error
    if "delay" in parsed and "run_at" in parsed:
        raise InvalidOption("delay and run_at say the same thing twice: give one of them")
    return parsed


def parse_pairs(scope: Scope, pairs: Iterable[str], where: str = "-o") -> dict[str, object]:
    """Options from "key=value" texts of a command line, parsed. A value is JSON where it is, else the text itself."""
    said: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise InvalidOption(f"{where} {pair!r}: write key=value")
        option = _TABLE[scope].get(name)
        said[name] = text if option is not None and option.literal else _json_or_text(text)
    return parse(scope, said, where)


def dump(scope: Scope, parsed: Mapping[str, Any]) -> dict[str, JSON]:
    """Parsed options as JSON that `parse` reads back."""
    return {name: _TABLE[scope][name].dump(value) for name, value in parsed.items() if name in _TABLE[scope]}


def pack(parsed: Mapping[str, Any]) -> bytes:
    """The options blob of a job: what its caller set and a worker will read; b"" where that is nothing."""
    table = _TABLE["job"]
    said = {name: table[name].dump(value) for name, value in parsed.items() if table[name].stored}
    return b"j" + json.dumps(said, separators=(",", ":")).encode() if said else b""  # "j": codec.decode reads it


def unpack(blob: bytes) -> dict[str, object]:
    """The parsed options of a blob. Names and values of a newer queuekit are left out: its tasks' own apply."""
    if not blob:
        return {}
    try:
        said = json.loads(blob[1:])
    except ValueError:
        return {}
    parsed: dict[str, object] = {}
    for name, value in said.items() if isinstance(said, dict) else ():
        option = _TABLE["job"].get(name)
        if option is not None:
            try:
                parsed[name] = option.parse(value)
            except (QueueKitError, TypeError, ValueError, AttributeError):
                continue
    return parsed


def docs_table(scope: Scope) -> str:
    """The options of one scope as a Markdown table."""
    lines = ["| option | type | default | read by | elsewhere called | meaning |", "|---|---|---|---|---|---|"]
    for option in _TABLE[scope].values():
        others = ", ".join(f"{system}: `{name}`" for system, name in option.aliases.items())
        cells = (f"`{option.name}`", f"`{option.type}`", option.shown, option.reader, others, option.help)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


# ---------------------------------------------------------------- resolving, when a job runs
@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for one run, after job > task > queue > kit. `values` has every worker option by name."""

    attempts: int
    backoff: Backoff
    retry_on: tuple[str, ...] | None
    fail_on: tuple[str, ...]
    timeout_ms: int | None
    keep_completed: Any  # Retention, or None: the queue's
    keep_failed: Any
    max_crashes: int
    tags: tuple[str, ...]
    values: Mapping[str, object]

    def retries(self, error: BaseException) -> bool:
        """Whether this error may be run again: not one of `fail_on`, and one of `retry_on` where that is set."""
        if self.fail_on and matches(self.fail_on, error):
            return False
        return self.retry_on is None or matches(self.retry_on, error)


def matches(patterns: Sequence[str], error: BaseException) -> bool:
    """Whether the error's class, or one it descends from, is named "module.Class" in `patterns`."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in patterns for kind in type(error).__mro__)


_policies: dict[tuple[bytes, int, int, int], tuple[Policy, object, object, object]] = {}
_POLICIES_KEPT = 4096


def resolve(
    set_by_caller: bytes, task: Mapping[str, object], queue: Mapping[str, object], kit: Mapping[str, object]
) -> Policy:
    """The policy of a run. The mappings are parsed options, and must not change afterwards: answers are kept."""
    key = (set_by_caller, id(task), id(queue), id(kit))
    known = _policies.get(key)
    if known is not None:
        return known[0]
    layers = (unpack(set_by_caller), task, queue, kit)
    values: dict[str, object] = {}
    for option in _TABLE["kit"].values():
        layer = next((layer for layer in layers if option.name in layer), None)
        values[option.name] = option.default if layer is None else layer[option.name]
    policy = _policy(values)
    if len(_policies) >= _POLICIES_KEPT:
        _policies.clear()
    _policies[key] = (policy, task, queue, kit)  # holding the mappings keeps their ids from being used again
    return policy


def _policy(values: dict[str, Any]) -> Policy:
    return Policy(
        attempts=values["attempts"],
        backoff=values["backoff"],
        retry_on=values["retry_on"],
        fail_on=values["fail_on"],
        timeout_ms=values["timeout"],
        keep_completed=values["keep_completed"],
        keep_failed=values["keep_failed"],
        max_crashes=values["max_crashes"],
        tags=values["tags"],
        values=values,
    )


def _json_or_text(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _unknown(scope: Scope, name: str, where: str) -> InvalidOption:
    table = _TABLE[scope]
    at = f" of {where}" if where else ""
    for option in table.values():
        if name in option.aliases.values():
            return InvalidOption(f"unknown option {name!r}{at}: here it is called {option.name!r} ({option.help})")
    near = difflib.get_close_matches(name, table, n=1)
    elsewhere = [other for other in SCOPES if name in _TABLE[other]]
    if elsewhere:
        hint = f"it is an option of a {' or '.join(elsewhere)}, not of a {scope}"
    elif near:
        hint = f"did you mean {near[0]!r}?"
    else:
        hint = f"known: {', '.join(sorted(table))}"
    return InvalidOption(f"unknown option {name!r}{at}: {hint}")


_RUN: frozenset[Scope] = frozenset(SCOPES)
_TASK: frozenset[Scope] = frozenset({"task"})
_JOB: frozenset[Scope] = frozenset({"job"})
_QUEUE: frozenset[Scope] = frozenset({"queue"})

# fmt: off
for _option in (
    Option(name="priority", type="int | Priority | str", scopes=_RUN, reader="enqueue", parse=to_priority,
           default=10, shown="10", aliases={"bull": "priority", "celery": "priority"},
           help="0 to 1000, lower runs first; or critical, high, normal, low. Resolved at enqueue"),
    Option(name="attempts", type="int", scopes=_RUN, reader="worker", parse=whole(1, 1_000_000),
           default=3, shown="3", aliases={"bull": "attempts", "celery": "max_retries"},
           help="runs in all, the first included"),
    Option(name="backoff", type="Backoff | Duration", scopes=_RUN, reader="worker", parse=to_backoff, dump=backoff_json,
           default=Backoff(), shown="exponential from 1 s",
           aliases={"bull": "backoff", "celery": "default_retry_delay"},
           help="the wait before the next run; a duration is a fixed one"),
    Option(name="retry_on", type="tuple[type[Exception], ...]", scopes=_RUN, reader="worker", parse=readers.errors,
           shown="every error", aliases={"celery": "autoretry_for"}, help="only these errors are run again"),
    Option(name="fail_on", type="tuple[type[Exception], ...]", scopes=_RUN, reader="worker", parse=readers.errors,
           default=(), shown="none", help="these errors end the job at once; goes before retry_on"),
    Option(name="max_crashes", type="int", scopes=_RUN, reader="worker", parse=whole(1, 1000),
           default=DEFAULT_MAX_CRASHES, shown="3", aliases={"bull": "maxStalledCount"},
           help="runs that may end with a dead worker; the queue's counts for lost leases"),
    Option(name="timeout", type="Duration | None", scopes=_RUN, reader="worker", parse=readers.timeout,
           dump=lambda ms: None if ms is None else duration_json(ms), shown="none",
           aliases={"bull": "timeout", "celery": "time_limit"}, help="longest run; None is no limit"),
    Option(name="keep_completed", type="bool | int | Keep", scopes=_RUN, reader="store", parse=to_retention,
           dump=retention_json, shown="the last 1000, for 1 h", aliases={"bull": "removeOnComplete"},
           help="how long completed jobs are kept: true, false, how many, or Keep"),
    Option(name="keep_failed", type="bool | int | Keep", scopes=_RUN, reader="store", parse=to_retention,
           dump=retention_json, shown="all", aliases={"bull": "removeOnFail"},
           help="how long failed and cancelled jobs are kept"),
    Option(name="tags", type="Sequence[str]", scopes=_RUN, reader="worker", parse=readers.tags, dump=list, default=(),
           shown="none", help="words to find jobs by"),
    Option(name="queue", type="str", scopes=_TASK | _JOB, reader="enqueue", parse=names.queue_name,
           shown="default", aliases={"celery": "queue"}, literal=True, help="where the job waits"),
    Option(name="executor", type="auto | async | thread | process", scopes=_TASK, reader="worker",
           parse=readers.executor, default="auto", shown="auto", literal=True,
           help="auto: coroutines on the event loop, functions in threads"),
    Option(name="version", type="int", scopes=_TASK, reader="worker", parse=whole(1, VERSION_MAX), default=1,
           shown="1", help="of the payload's shape; raise it when the shape changes"),
    Option(name="concurrency", type="int", scopes=_TASK | _QUEUE, reader="consumer", parse=whole(1, 100_000),
           shown="1", aliases={"bull": "concurrency"}, help="jobs at once in one worker process"),
    Option(name="rate", type="Rate | Sequence[Rate]", scopes=_TASK | _QUEUE, reader="consumer", parse=to_rates,
           dump=rates_json, shown="none", aliases={"bull": "limiter", "celery": "rate_limit"},
           help='starts in a time: Rate(10, per=1) or "10/s"'),
    Option(name="id", type="str", scopes=_JOB, reader="enqueue", parse=names.chosen_id, shown="a new one",
           aliases={"bull": "jobId", "celery": "task_id"}, literal=True,
           help="identity is (queue, id): the same id again is the same job, nothing is overwritten"),
    Option(name="delay", type="Duration", scopes=_JOB, reader="enqueue", parse=parse_duration, dump=duration_json,
           shown="none", aliases={"bull": "delay", "celery": "countdown"},
           help="wait before the first run, from enqueue"),
    Option(name="run_at", type="datetime", scopes=_JOB, reader="enqueue", parse=readers.moment,
           dump=lambda ms: clock.to_datetime(ms).isoformat(), shown="at once", aliases={"celery": "eta"}, literal=True,
           help="the moment of the first run; aware, never naive"),
    Option(name="expires", type="Duration | datetime", scopes=_JOB, reader="store", parse=readers.expiry,
           dump=readers.expiry_json, shown="never", aliases={"celery": "expires"}, literal=True,
           help="no run starts after this; then it is cancelled (expired)"),
    Option(name="lifo", type="bool", scopes=_JOB, reader="store", parse=readers.flag, default=False, shown="false",
           aliases={"bull": "lifo"}, help="before all others of its priority"),
    Option(name="group", type="str", scopes=_JOB, reader="store", parse=names.job_id, shown="none",
           literal=True, help="a tenant, account … with its own order and limits inside the queue"),
    Option(name="unique", type="str | Unique", scopes=_JOB, reader="store", parse=to_unique, dump=unique_json,
           shown="none", aliases={"bull": "deduplication"}, help="at most one job of the queue holds this key"),
    Option(name="within", type="object", scopes=_JOB, reader="store", parse=readers.itself,
           dump=readers.in_process, shown="none",
           help="a pymongo session or redis pipeline: written with the caller's own write"),
    Option(name="profile", type="Profile | str", scopes=_QUEUE, reader="consumer", parse=to_profile, dump=profile_json,
           shown="none", literal=True, help="light, medium, heavy or one of your own: concurrency and lease"),
    Option(name="lease", type="Duration", scopes=_QUEUE, reader="consumer", parse=readers.lease, dump=duration_json,
           shown="30s", default=DEFAULT_LEASE, aliases={"bull": "lockDuration", "celery": "visibility_timeout"},
           help="a silent worker's jobs run again after this"),
    Option(name="global_concurrency", type="int", scopes=_QUEUE, reader="store", parse=whole(1, 1_000_000),
           shown="none", help="jobs at once over all workers"),
    Option(name="max_size", type="int", scopes=_QUEUE, reader="store", parse=whole(1), shown="none",
           help="waiting and delayed jobs; beyond it enqueue raises QueueFull"),
    Option(name="group", type="Group", scopes=_QUEUE, reader="store", parse=to_group, dump=group_json, shown="none",
           help="how every group of the queue is bounded"),
    Option(name="groups", type="Mapping[str, Group]", scopes=_QUEUE, reader="store", parse=readers.groups,
           dump=readers.groups_json, shown="none", help="groups with bounds of their own"),
):
    register(_option)
# fmt: on
