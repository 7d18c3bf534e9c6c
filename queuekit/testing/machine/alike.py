"""What two stores must agree on, made comparable: times on one scale, places as ranks, errors by name.

A run's clock moves by whole units and every duration in it ends in a half unit or a quarter, so that no comparison of
two times is decided by the milliseconds a call takes: times are rounded to quarters, and then compared exactly.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Parcel, Standing
from queuekit.domain.outcome import Exchange
from queuekit.domain.schedule import Due, ScheduleRecord
from queuekit.domain.state import State

UNIT: Final = 3400  # ms; 60 s, 120 s, an hour and a day, ages that stores have of their own, are far from its multiples
HALF: Final = UNIT // 2
QUARTER: Final = UNIT // 4
MOMENTS: Final = frozenset({
    "created_at", "run_at", "claimed_at", "lease_until", "ended_at", "expires_at", "now", "next_at", "grace_until",
    "seen", "key_expires", "expires", "next",
})  # fmt: skip
LENGTHS: Final = frozenset({"oldest_waiting"})
UNLIKE: Final = {"place": 0, "epoch": 0}  # of a record: they mean something only in their own store
SHOWN: Final = 12  # differences in a message


def plain(value: Any, base: int) -> Any:
    """A reply as dicts, lists and plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        told: dict[str, Any] = {}
        for name, field in value.__dataclass_fields__.items():
            if not field.compare:
                continue
            one = getattr(value, name)
            if one is not None and name in MOMENTS:
                one = round((one - base) / QUARTER) / 4
            elif one is not None and name in LENGTHS:
                one = round(one / QUARTER) / 4
            elif not isinstance(one, (str, int, bytes, type(None))):
                one = plain(one, base)
            told[name] = one
        return told
    if isinstance(value, (list, tuple)):
        return [plain(one, base) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one, base) for name, one in value.items()}
    return value


def answer(value: object, base: int) -> Any:
    """A reply; the places in it mean something only beside others of their store."""
    told = plain(value, base)
    if isinstance(value, JobRecord):
        told |= UNLIKE
    if isinstance(value, ScheduleRecord):
        told["rev"] = 0  # a moment, or one more than the last: compared on each side by itself
    if isinstance(value, Due):
        told["records"] = [answer(one, base) for one in value.records]
        told["now"] = 0  # of the moment it was asked, which is as late as the looks before it were slow
    if isinstance(value, Standing):
        told |= {"mark": 0, "base": 0, "settles_at": 0}
    if isinstance(value, list):
        for one, parcel in zip(told, value, strict=True):
            if isinstance(parcel, Parcel):
                one["record"] |= UNLIKE
    if isinstance(value, Exchange):
        told["refused"].sort(key=lambda refusal: refusal[0])  # in order for each job; that is all a worker can use
        for claim in told["claims"]:
            claim |= UNLIKE
    if isinstance(value, int) and not isinstance(value, bool) and value > base // 2:
        return round((value - base) / QUARTER) / 4  # `beat` answers the time itself
    return told


def answers(found: Iterable[object], base: int) -> list[Any]:
    """A list of replies."""
    return [answer(one, base) for one in found]


def records(found: Iterable[JobRecord | None], base: int) -> dict[str, Any]:
    """Jobs by id, the places of those that wait or may come back as ranks."""
    jobs = [job for job in found if job is not None]
    standing = [job for job in jobs if job.state in (State.WAITING, State.ACTIVE)]
    rank = {job.id: n for n, job in enumerate(sorted(standing, key=lambda job: job.place))}
    told = {job.id: plain(job, base) for job in jobs}
    for name, one in told.items():
        one |= UNLIKE | {"place": rank.get(name)}
    return told


def sorted_by(job: JobRecord, base: int) -> float | None:
    """The time by which jobs of its state are listed, None for those that wait."""
    moment = {State.WAITING: None, State.DELAYED: job.run_at, State.ACTIVE: job.lease_until}.get(
        job.state, job.ended_at
    )
    return None if moment is None else round((moment - base) / QUARTER) / 4


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Where two plain values differ, one line each."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [
            line
            for name in sorted({*a, *b}, key=str)
            for line in differences(a.get(name, "nothing"), b.get(name, "nothing"), f"{path}.{name}")
        ]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for n, (x, y) in enumerate(zip(a, b, strict=True)) for line in differences(x, y, f"{path}[{n}]")]
    same = a == b and (type(a) is type(b) or isinstance(a, (int, float)))
    return [] if same else [f"{path}: {a!r} | {b!r}"]
