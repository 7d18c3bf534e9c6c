"""The values people write options with: priority, retention, uniqueness, rates, groups, profiles."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Literal, TypeAlias

from queuekit.domain.duration import Duration, format_duration, parse_duration
from queuekit.domain.job import KEEP_ALL, KEEP_NOTHING, PRIORITY_MAX, Retention, UniqueKey
from queuekit.errors import InvalidOption

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

UNIQUE_KEY_MAX = 500


class Priority(IntEnum):
    """Lower runs first. Any whole number from 0 to 1000 will do, and these names wherever a priority is taken."""

    CRITICAL = 1
    HIGH = 5
    NORMAL = 10
    LOW = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long ended jobs are kept: the last `count`, for `age` after their end; whichever limit is met first."""

    count: int | None = None
    age: Duration | None = None

    def __post_init__(self) -> None:
        if self.count is not None and (type(self.count) is not int or self.count < 0):
            raise InvalidOption(f"Keep(count={self.count!r}): a count is a whole number from 0")
        if self.age is not None:
            parse_duration(self.age)


@dataclass(frozen=True, slots=True)
class Unique:
    """At most one job of the queue holds `key`.

    `until`: "finished" (default), "started", or a duration counted from enqueue, after which the key is free even if
    the job still lives. `on_conflict`: "existing" answers the job that holds the key (`created` False), "replace" gives
    that job the new payload and time unless it runs (with a delay: debounce), "error" raises Conflict.
    """

    key: str
    until: Literal["finished", "started"] | Duration = "finished"
    on_conflict: Literal["existing", "replace", "error"] = "existing"
    scope: Literal["queue"] = "queue"
    max_wait: Duration | None = None  # with replace: run at the latest this long after the first

    def __post_init__(self) -> None:
        if type(self.key) is not str or not 1 <= len(self.key) <= UNIQUE_KEY_MAX:
            raise InvalidOption(f"unique key {self.key!r:.80}: use a text of 1 to {UNIQUE_KEY_MAX} characters")
        try:
            self.key.encode()
        except UnicodeEncodeError as error:
            raise InvalidOption(f"unique key {self.key!r:.80} holds half a surrogate pair: use plain text") from error
        if self.on_conflict not in ("existing", "replace", "error"):
            raise InvalidOption(f"on_conflict={self.on_conflict!r}: use 'existing', 'replace' or 'error'")
        if self.scope != "queue":
            raise InvalidOption(f"scope={self.scope!r}: a key is unique within its queue ('queue')")
        if self.max_wait is not None and self.on_conflict != "replace":
            raise InvalidOption("max_wait bounds a debounce: it needs on_conflict='replace'")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts in any `per`: Rate(10, per=1) is ten a second."""

    count: int
    per: Duration

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            raise InvalidOption(f"Rate(count={self.count!r}): a count is a whole number from 1")
        if parse_duration(self.per) < 1:
            raise InvalidOption(f"Rate(per={self.per!r}): a period is longer than nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How the groups of a queue share it: `cap` jobs of one group at once (1: one after the other, in order)."""

    weight: int = 1
    cap: int | None = None
    rate: Rate | Sequence[Rate] | None = None

    def __post_init__(self) -> None:
        if type(self.weight) is not int or self.weight < 1:
            raise InvalidOption(f"Group(weight={self.weight!r}): a weight is a whole number from 1")
        if self.cap is not None and (type(self.cap) is not int or self.cap < 1):
            raise InvalidOption(f"Group(cap={self.cap!r}): a cap is a whole number from 1")
        if self.rate is not None:
            to_rates(self.rate)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A kind of work: how many jobs at once in a worker process, how long a claim is held, how often it is checked."""

    name: str
    concurrency: int
    lease: Duration
    stalled_check: Duration = 5
    LIGHT: ClassVar[Profile]
    MEDIUM: ClassVar[Profile]
    HEAVY: ClassVar[Profile]

    def __post_init__(self) -> None:
        if type(self.concurrency) is not int or self.concurrency < 1:
            raise InvalidOption(f"profile {self.name}: concurrency={self.concurrency!r} is no whole number from 1")
        if parse_duration(self.lease) < 100:
            raise InvalidOption(f"profile {self.name}: a lease of {self.lease!r} is below 100 ms")
        parse_duration(self.stalled_check)


Profile.LIGHT = Profile(name="light", concurrency=50, lease="30s")
Profile.MEDIUM = Profile(name="medium", concurrency=10, lease="5m")
Profile.HEAVY = Profile(name="heavy", concurrency=1, lease="1h", stalled_check="5m")
PROFILES: Mapping[str, Profile] = {p.name: p for p in (Profile.LIGHT, Profile.MEDIUM, Profile.HEAVY)}


def to_priority(value: object) -> int:
    """0…1000 from a number, a Priority or its name in any case. Raises InvalidOption."""
    if isinstance(value, str):
        named = Priority.__members__.get(value.strip().upper())
        if named is not None:
            return int(named)
        if value.strip().isdecimal():
            value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= PRIORITY_MAX:
        return int(value)
    names = ", ".join(f"{p.name.lower()}={p.value}" for p in Priority)
    raise InvalidOption(f"priority {value!r}: use 0 to {PRIORITY_MAX} (lower runs first) or {names}")


def to_retention(value: object) -> Retention:
    """True keeps all, False nothing, n the last n, Keep (or a table of count and age) what it says."""
    if isinstance(value, bool):
        return KEEP_ALL if value else KEEP_NOTHING
    if isinstance(value, int):
        return Retention(count=Keep(count=value).count)
    if isinstance(value, Mapping) and set(value) <= {"count", "age"}:
        value = Keep(**value)
    if isinstance(value, Keep):
        return Retention(value.count, None if value.age is None else parse_duration(value.age))
    if isinstance(value, Retention):
        return value
    raise InvalidOption(f'{value!r}: use true, false, how many to keep, or Keep(count=…, age="1h")')


def to_unique(value: object) -> UniqueKey:
    """A key, or Unique (or a table of its fields)."""
    if isinstance(value, str):
        value = Unique(value)
    elif isinstance(value, Mapping):
        try:
            value = Unique(**value)
        except TypeError as error:
            raise InvalidOption(f"unique={value!r}: {error}") from error
    if isinstance(value, UniqueKey):
        return value
    if not isinstance(value, Unique):
        raise InvalidOption(f"unique={value!r}: use a key or Unique(key, until=…, on_conflict=…)")
    wait = None if value.max_wait is None else parse_duration(value.max_wait)
    for moment in ("finished", "started"):
        if value.until == moment:
            return UniqueKey(value.key, moment, value.on_conflict, None, wait)
    ttl = parse_duration(value.until)
    if ttl < 1:
        raise InvalidOption(f"unique until={value.until!r}: use 'finished', 'started' or a duration above zero")
    return UniqueKey(value.key, "time", value.on_conflict, ttl, wait)


def to_rates(value: object) -> tuple[tuple[int, int], ...]:
    """((count, per in ms), …) from "10/s", Rate, a table of count and per, or several of these."""
    if isinstance(value, str):
        count, slash, per = value.partition("/")
        if slash and count.strip().isdecimal():
            per = per.strip()
            return to_rates(Rate(int(count), per if per[:1].isdigit() else f"1{per}"))
    elif isinstance(value, Rate):
        return ((value.count, parse_duration(value.per)),)
    elif isinstance(value, Mapping) and set(value) == {"count", "per"}:
        return to_rates(Rate(**value))
    elif isinstance(value, Sequence) and value:
        return tuple(rate for one in value for rate in to_rates(one))
    raise InvalidOption(f'rate {value!r}: use "10/s", "100/5m", Rate(10, per=1) or a list of these')


def to_group(value: object) -> Group:
    """Group, or a table of its fields; its rates in one form."""
    if isinstance(value, Mapping) and set(value) <= {"weight", "cap", "rate"}:
        value = Group(**value)
    if not isinstance(value, Group):
        raise InvalidOption(f"group {value!r}: use Group(weight=…, cap=…, rate=…)")
    if value.rate is None:
        return value
    rates = tuple(Rate(count, per / 1000) for count, per in to_rates(value.rate))
    return Group(weight=value.weight, cap=value.cap, rate=rates)


def to_profile(value: object) -> Profile | str:
    """A Profile; a name that is not built in stays a name, which the settings file may explain."""
    if isinstance(value, Profile):
        return value
    if isinstance(value, str) and value.strip():
        return PROFILES.get(value.strip().lower(), value.strip())
    raise InvalidOption(f"profile {value!r}: use Profile.LIGHT, MEDIUM, HEAVY, a Profile or the name of one")


def duration_json(ms: int) -> str:
    """Milliseconds as text that `parse_duration` reads back."""
    return format_duration(ms)


def retention_json(keep: Retention) -> JSON:
    """What `to_retention` reads back."""
    if keep == KEEP_ALL:
        return True
    if keep == KEEP_NOTHING:
        return False
    if keep.age is None:
        return keep.count
    age = duration_json(keep.age)
    return {"age": age} if keep.count is None else {"count": keep.count, "age": age}


def unique_json(key: UniqueKey) -> JSON:
    """What `to_unique` reads back."""
    said: dict[str, JSON] = {"key": key.key}
    if key.until == "time" and key.ttl is not None:
        said["until"] = duration_json(key.ttl)
    elif key.until != "finished":
        said["until"] = key.until
    if key.on_conflict != "existing":
        said["on_conflict"] = key.on_conflict
    if key.max_wait is not None:
        said["max_wait"] = duration_json(key.max_wait)
    return key.key if len(said) == 1 else said


def rates_json(rates: tuple[tuple[int, int], ...]) -> JSON:
    """What `to_rates` reads back."""
    return [f"{count}/{duration_json(per)}" for count, per in rates]


def group_json(group: Group) -> JSON:
    """What `to_group` reads back."""
    said: dict[str, JSON] = {"weight": group.weight}
    if group.cap is not None:
        said["cap"] = group.cap
    if group.rate is not None:
        said["rate"] = rates_json(to_rates(group.rate))
    return said


def profile_json(profile: Profile | str) -> JSON:
    """The name of a profile."""
    return profile if isinstance(profile, str) else profile.name


def whole(least: int, most: float = math.inf) -> _Whole:
    """A parser of whole numbers between two bounds."""
    return _Whole(least, most)


@dataclass(frozen=True, slots=True)
class _Whole:
    least: int
    most: float

    def __call__(self, value: object) -> int:
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return int(value)
        upto = "" if self.most == math.inf else f" to {self.most:.0f}"
        raise InvalidOption(f"{value!r} is no whole number from {self.least}{upto}")
