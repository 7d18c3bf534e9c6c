"""What bounds a queue: pause, size, crashes, retention, lease; in two layers, declared by code and set by people.

The merge rules live here; a store only keeps a QueueConf and compares its `rev`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

from queuekit.domain.job import KEEP_ALL, Retention
from queuekit.domain.outcome import Home
from queuekit.errors import InvalidOption

DEFAULT_KEEP_COMPLETED: Final = Retention(count=1000, age=3_600_000)
DEFAULT_KEEP_FAILED: Final = KEEP_ALL
DEFAULT_MAX_CRASHES: Final = 3
DEFAULT_LEASE: Final = 30_000
AWAITED_COUNT: Final = 10_000
AWAITED_AGE: Final = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """One layer; None says nothing. Times in ms; a rate is (count, per ms)."""

    paused: str | None = None  # reason, "" is a reason too
    lease: int | None = None
    concurrency: int | None = None  # a worker process
    cap: int | None = None  # over all workers
    rates: tuple[tuple[int, int], ...] | None = None
    max_size: int | None = None  # waiting and delayed jobs
    max_crashes: int | None = None
    keep_completed: Retention | None = None
    keep_failed: Retention | None = None
    by: str = ""  # who wrote the layer, and when
    at: int = 0

    def to_json(self) -> str:
        """Compact JSON of what the layer says."""
        said: dict[str, object] = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value is not None and value != f.default:
                said[f.name] = value.label if isinstance(value, Retention) else value
        return json.dumps(said, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Limits:
        """What `to_json` wrote; names of a newer queuekit are ignored."""
        said = json.loads(text or "{}")
        known = {f.name for f in dataclasses.fields(cls)}
        values = {k: v for k, v in said.items() if k in known}
        for name in ("keep_completed", "keep_failed"):
            if name in values:
                values[name] = Retention.parse(values[name])
        if "rates" in values:
            values["rates"] = tuple((int(n), int(per)) for n, per in values["rates"])
        return cls(**values)

    @property
    def digest(self) -> str:
        """Of what it says, not of who said it."""
        return hashlib.sha256(dataclasses.replace(self, by="", at=0).to_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConf:
    """A queue's stored configuration and authority. `rev` grows with every write."""

    rev: int = 0
    home: Home = Home.HERE
    to: str | None = None  # where it went or comes from
    epoch: int = 0
    declared: Limits = field(default_factory=Limits)
    override: Limits = field(default_factory=Limits)

    @property
    def effective(self) -> Limits:
        """The override over the declaration."""
        values = {}
        for f in dataclasses.fields(Limits):
            over = getattr(self.override, f.name)
            values[f.name] = getattr(self.declared, f.name) if over is None or over == f.default else over
        return Limits(**values)

    @property
    def keep_completed(self) -> Retention:
        return self.effective.keep_completed or DEFAULT_KEEP_COMPLETED

    @property
    def keep_failed(self) -> Retention:
        """For failed and cancelled jobs."""
        return self.effective.keep_failed or DEFAULT_KEEP_FAILED

    @property
    def max_crashes(self) -> int:
        return self.effective.max_crashes or DEFAULT_MAX_CRASHES


def redeclare(conf: QueueConf, declared: Limits) -> QueueConf:
    """Put a new declaration in. An override falls only where the declaration of that very field changed.

    A pause set by a person never falls: a deploy must not start what somebody stopped at night.
    """
    if declared.digest == conf.declared.digest:
        return conf
    dropped = {
        f.name: f.default
        for f in dataclasses.fields(Limits)
        if f.name not in ("paused", "by", "at") and getattr(declared, f.name) != getattr(conf.declared, f.name)
    }
    return dataclasses.replace(conf, declared=declared, override=dataclasses.replace(conf.override, **dropped))  # type: ignore[arg-type]  # fields of Limits by name


def checked(limits: Limits) -> Limits:
    """`limits` itself if every value can be; raises InvalidOption."""
    for name, least in (("lease", 100), ("concurrency", 1), ("cap", 1), ("max_size", 1), ("max_crashes", 1)):
        value = getattr(limits, name)
        if value is not None and value < least:
            raise InvalidOption(f"{name}={value} is below {least}")
    return limits


def kept_awaited(keep: Retention) -> Retention:
    """Retention of a job somebody waits for: at least a minute, whatever was said."""
    if keep.count == 0:
        return Retention(None, AWAITED_AGE)
    count = None if keep.count is None else max(keep.count, AWAITED_COUNT)
    return Retention(count, None if keep.age is None else max(keep.age, AWAITED_AGE))
