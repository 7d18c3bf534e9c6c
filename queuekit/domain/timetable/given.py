"""A rule as people give it, read and checked as a whole: exactly one cadence, and bounds that fit it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from queuekit.domain.duration import format_duration
from queuekit.domain.timetable.cadence import Cadence, Every, Once
from queuekit.domain.timetable.combined import Written
from queuekit.domain.timetable.cron import Cron
from queuekit.domain.timetable.objects import as_mapping
from queuekit.domain.timetable.triggers import read
from queuekit.domain.timetable.values import (
    SHORTEST,
    cron_text,
    moment_of,
    one_of,
    period_of,
    slot_name,
    span_of,
    whole,
    zone_name,
)
from queuekit.errors import InvalidOption

KINDS: Final = ("cron", "every", "at", "trigger")
KEYS: Final = (*KINDS, "timezone", "start", "end", "count", "jitter", "missed", "grace", "overlap")
COUNT_MAX: Final = 2**53
_SAMPLE: Final = 1_704_067_200_000  # 2024-01-01: where the distance of slots is looked at


def parsed(given: Mapping[str, Any], *, where: str, zone: str, check: bool) -> dict[str, Any]:
    """The attributes of a Timetable. `check`: also what takes longer, and a stored rule has passed."""
    given = {key: value for key, value in given.items() if value is not None}
    kind = _kind(given, where)
    own = zone_name(given["timezone"], where) if "timezone" in given else None
    start, end = (moment_of(given[key], key, where) if key in given else None for key in ("start", "end"))
    if start is not None and end is not None and end < start:
        raise InvalidOption(f"{where}: end={slot_name(end)} is before start={slot_name(start)}: swap them")
    if kind == "at" and (start is not None or end is not None or "count" in given):
        raise InvalidOption(f"{where}: at is one moment: leave start, end and count out")
    count = given.get("count")
    example = "leave it out, or use count=12"
    fields: dict[str, Any] = {
        "zone": own or (zone_name(zone, where) if kind == "cron" else "UTC"),
        "start": start,
        "end": end,
        "count": None if count is None else whole(count, "count", where, 1, COUNT_MAX, example),
        "jitter": span_of(given.get("jitter"), "jitter", where) or 0,
        "missed": one_of(given.get("missed"), "missed", ("once", "skip", "all"), where),
        "grace": span_of(given.get("grace"), "grace", where),
        "overlap": one_of(given.get("overlap"), "overlap", ("allow", "skip", "replace"), where),
    }
    fields["cadence"] = cadence = _cadence(kind, given[kind], where=where, own=own, zone=zone, start=start, check=check)
    if check and fields["grace"] is not None and fields["grace"] < SHORTEST:
        raise InvalidOption(f'{where}: grace={given["grace"]!r} would let nothing fire, a moment late: use "1m" or so')
    if check and fields["jitter"]:
        _jitter_fits(fields["jitter"], cadence, where)
    return fields


def _kind(given: Mapping[str, Any], where: str) -> str:
    for key in given:
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"a schedule takes {', '.join(KEYS)}"
            raise InvalidOption(f"{where}: it has no {key!r}: {hint}")
    kinds = [key for key in KINDS if key in given]
    if len(kinds) != 1:
        said = " and ".join(kinds) or "none of them"
        raise InvalidOption(f'{where}: give one of cron, every, at and trigger, not {said}: cron="0 9 * * mon-fri"')
    return kinds[0]


def _cadence(
    kind: str, value: Any, *, where: str, own: str | None, zone: str, start: int | None, check: bool
) -> Cadence:
    if kind == "cron":
        return Cron(cron_text(value, where, check=check), own or zone_name(zone, where))
    if kind == "every":
        period = period_of(value, "every", where)
        return Every(period, format_duration(period), start)
    if kind == "at":
        at = moment_of(value, "at", where)
        return Once(at, slot_name(at))
    plain = as_mapping(value, where, own)
    cadence = read(plain, where=f"{where}: trigger", zone=own or zone_name(zone, where), start=start, check=check)
    return Written(cadence, {"trigger": cadence.to_json()})


def _jitter_fits(jitter: int, cadence: Cadence, where: str) -> None:
    """A jitter longer than a period would mix up the jobs of different slots."""
    slots: list[int] = []
    slot = cadence.after(_SAMPLE, _SAMPLE)
    while slot is not None and len(slots) < 50:
        slots.append(slot)
        slot = cadence.after(slot, _SAMPLE)
    shortest = min((later - slot for slot, later in pairwise(slots)), default=None)
    if shortest is not None and jitter > shortest:
        raise InvalidOption(
            f"{where}: jitter={format_duration(jitter)} is longer than the {format_duration(shortest)} between two "
            f'slots, whose jobs would change places: use at most "{format_duration(shortest)}"'
        )
