"""What a worker is told, checked and put together with what the kit and its queues say. Decides; does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from queuekit.domain import names
from queuekit.domain.duration import parse_duration
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.values import PROFILES, Profile
from queuekit.errors import InvalidOption, Unsupported
from queuekit.runtime.declare import declared
from queuekit.runtime.greenlets import refuse_patched

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

KNOWN = (
    "queues", "exclude", "type", "concurrency", "processes", "grace", "burst", "max_jobs", "max_rss", "wait_store",
    "app", "prepare", "health_port", "interruptible",
)  # fmt: skip
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)(i?)b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePlan:
    """One queue this worker consumes. `concurrency` None: nobody named one; `limits` None: nothing is declared."""

    queue: str
    weight: int = 1
    concurrency: int | None = None
    lease: int = 30_000
    check: int = 5_000
    limits: Limits | None = None

    def under(self, conf: QueueConf) -> QueuePlan:
        """With what is stored above what code says: a person may have changed it."""
        said = conf.effective
        return replace(self, concurrency=said.concurrency or self.concurrency, lease=said.lease or self.lease)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked set of worker options. Times in ms."""

    queues: tuple[QueuePlan, ...]
    strict: bool
    concurrency: int | None  # None: nobody said
    grace: int
    processes: int = 1
    burst: bool = False
    max_jobs: int | None = None
    max_rss: int | None = None
    wait_store: int = 30_000

    @property
    def size(self) -> int:
        """Slots of this process: what was said, else what the queues name, else one."""
        if self.concurrency is not None:
            return self.concurrency
        if all(queue.concurrency is None for queue in self.queues):
            return 1
        return sum(queue.concurrency or 1 for queue in self.queues)

    def cap(self, queue: QueuePlan) -> int:
        """Jobs of one queue at once; only a said `concurrency` bounds what the queue names."""
        return min(queue.concurrency or self.concurrency or 1, self.concurrency or queue.concurrency or 1)

    @property
    def shared(self) -> bool:
        """Whether queues compete for slots; else each gets a consumer of its own."""
        return len(self.queues) > 1 and self.size < sum(self.cap(queue) for queue in self.queues)


def plan(kit: QueueKit, options: Mapping[str, Any]) -> Plan:
    """The plan of a worker. Raises InvalidOption for what cannot be, ConfigError where no worker can."""
    refuse_patched()
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise InvalidOption(f"a worker has no option {', '.join(map(repr, unknown))}; known: {', '.join(KNOWN)}")
    if options.get("health_port") is not None or kit.settings.health_port is not None:
        raise Unsupported("health_port comes with queuekit 0.2; until then probe with `queuekit health`")
    for name, one in kit.definitions.items():
        if "rate" in one.options:
            raise Unsupported(f"task {name!r}: rates come with queuekit 0.2; leave rate out until then")
    settings = kit.settings
    given = {name: value for name, value in options.items() if value is not None}
    weights, strict = _queues(kit, given.get("queues"))
    excluded = {names.queue_name(name) for name in given.get("exclude", ())}
    said = settings.concurrency if "concurrency" in settings.given else None
    kind = str(given.get("type", settings.worker_type)).lower()
    queues = [_queue(kit, name, weight) for name, weight in weights.items() if name not in excluded]
    chosen = [
        queue for queue, profile in queues if kind == "all" or (profile is not None and profile.name.lower() == kind)
    ]
    if not chosen:
        raise InvalidOption(_nothing(weights, excluded, kind))
    return Plan(
        queues=tuple(chosen),
        strict=strict,
        concurrency=_whole("concurrency", given.get("concurrency", said)),
        grace=parse_duration(given["grace"]) if "grace" in given else settings.grace,
        processes=_whole("processes", given.get("processes", settings.processes)) or 1,
        burst=bool(given.get("burst", False)),
        max_jobs=_whole("max_jobs", given.get("max_jobs")),
        max_rss=_size(given.get("max_rss")),
        wait_store=parse_duration(given.get("wait_store", 30)),
    )


def _queues(kit: QueueKit, said: object) -> tuple[dict[str, int], bool]:
    """Weights by queue, in order, and whether the order is strict."""
    if said is None:
        tasks = {one.queue: 1 for one in kit.definitions.values() if one.fn is not None}
        return dict(sorted((tasks | dict.fromkeys((*kit.catch_all, *kit.finders.queues()), 1)).items())), False
    if isinstance(said, str):
        raise InvalidOption(f"queues={said!r}: give a list of names, or a mapping of names to weights")
    if isinstance(said, Mapping):
        return {
            names.queue_name(name): _whole(f"the weight of {name!r}", weight) or 1 for name, weight in said.items()
        }, False
    if isinstance(said, Sequence):
        return {names.queue_name(name): 1 for name in said}, True
    raise InvalidOption(f"queues={said!r}: give a list of names, or a mapping of names to weights")


def _queue(kit: QueueKit, name: str, weight: int) -> tuple[QueuePlan, Profile | None]:
    options = kit.queue_options.get(name, {})
    for part in ("group", "groups"):
        if part in options:
            raise Unsupported(f"queue {name!r}: groups come with queuekit 0.2; leave {part!r} out until then")
    profile = _profile(kit, name, options.get("profile"))
    limits = limits_of(kit, name)
    return QueuePlan(
        queue=name, weight=weight, concurrency=limits.concurrency if limits else None,
        lease=(limits.lease if limits else None) or kit.settings.lease,
        check=5000 if profile is None else parse_duration(profile.stalled_check), limits=limits,
    ), profile  # fmt: skip


def limits_of(kit: QueueKit, queue: str) -> Limits | None:
    """What code and file declare of a queue, for its store. Raises InvalidOption."""
    options = kit.queue_options.get(queue)
    return declared(options, _profile(kit, queue, (options or {}).get("profile")), kit.defaults)


def _profile(kit: QueueKit, queue: str, said: object) -> Profile | None:
    """A queue's profile: given itself, or by the name of one that is built in or stands in the file."""
    if said is None or isinstance(said, Profile):
        return said
    tables: Mapping[str, Any] = kit.settings.file_tables.get("profiles", {})
    for name, table in tables.items():
        if name.lower() == str(said).lower():
            fields: dict[str, Any] = {"concurrency": 1, "lease": kit.settings.lease / 1000, **table}
            return Profile(name=name, **fields)
    known = PROFILES.get(str(said).lower())
    if known is None:
        raise InvalidOption(f"queue {queue!r} has profile {said!r}; known: {', '.join([*PROFILES, *tables])}")
    return known


def _nothing(weights: Mapping[str, int], excluded: set[str], kind: str) -> str:
    if not weights:
        return "nothing to consume: the kit has no task with a handler; import their modules, or name queues"
    if kind != "all":
        return f"no queue of {', '.join(weights)} has the profile {kind!r}: name it in the queue's options"
    return f"nothing to consume: {', '.join(sorted(excluded))} excluded, and no other queue is left"


def _whole(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{name}={value!r}: use a whole number from 1")
    return value


def _size(value: object) -> int | None:
    """Bytes of a number or a text such as "512MB"."""
    if value is None:
        return None
    match = _SIZE.fullmatch(str(value).strip())
    if match is None or not float(match[1]):
        raise InvalidOption(f'max_rss={value!r}: use bytes, or text such as "512MB"')
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " kmg".index(match[2].lower() or " "))
