"""Every change of a clock, times a list of rules, against the minute walk. All of them with QUEUEKIT_ZONES=full."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

import pytest

from queuekit.domain.timetable import Timetable
from tests.zones.changes import Turning, turnings
from tests.zones.crontab import Change, Entry, Tick, ticks, walk

FULL = os.environ.get("QUEUEKIT_ZONES") == "full"
# One for every shape of change there is from 2020 to 2035: by 30 minutes to three hours, at midnight and around it.
SAMPLE = (
    "Africa/Cairo", "Africa/Casablanca", "America/Adak", "America/Godthab", "America/Havana", "America/Santiago",
    "Antarctica/Casey", "Antarctica/Troll", "Antarctica/Vostok", "Asia/Beirut", "Asia/Famagusta", "Atlantic/Canary",
    "Australia/Lord_Howe", "Chile/EasterIsland", "Europe/Berlin", "Pacific/Chatham",
)  # fmt: skip
DENSE = ("* * * * *", "*/5 * * * *", "* 1-3 * * *", "0-59 2 * * *")
RULES = (
    "*/17 * * * *", "30 * * * *", "@hourly", "0 */2 * * *", "5 */3 * * *", "*/10 2 * * *", "*/15 0 * * *",
    "*/20 0,3 * * *", "*/30 23 * * *", "0 0 * * *", "0 1 * * *", "0 2 * * *", "30 2 * * *", "0 3 * * *", "30 0 * * *",
    "30 1 * * *", "59 23 * * *", "30 23 * * *", "15,45 1-3 * * *", "7,37 22,23,0-4 * * *", "0 12 * * *", "@daily",
    "0 0 * * 0", "0 2 * * sun", "30 1 * * 7", "45 2 * * 5-7", "0 0 1 * *", "15 2 29 * *", "30 0 1,15 * mon",
    "30 0 */2 * *", "0 4 * 3,4,10,11 *", "30 2 * mar-nov sat,sun",
)  # fmt: skip
SECONDS = ("30 15 2 * * *", "*/20 30 2 * * *", "0 0 0 * * *", "15 */30 * * * *", "*/30 * 1-3 * * *", "5 0 0,3 * * *")


@pytest.mark.timeout(3600 if FULL else 120)
def test_every_changed_clock_fires_as_the_minute_walk_says() -> None:
    compared = slots = 0
    for number, turning in enumerate(chosen()):
        some = list(cases()) if FULL else list(cases())[number % 2 :: 2]
        for rule, reach, step in some:
            expected = _walked(rule, turning.change, reach, step)
            assert fired(rule, turning, reach) == list(expected), (rule, turning)
            compared, slots = compared + 1, slots + len(expected)
    print(f"{compared} comparisons, {slots} slots")
    assert slots > 15_000


def test_the_sample_has_every_shape_of_change() -> None:
    shapes = {turning.shape for turning in chosen()}
    assert {timedelta(minutes=30), timedelta(minutes=-30), timedelta(hours=-3)} <= {size for size, _ in shapes}
    assert {"00:00", "23:00", "02:00"} <= {f"{time:%H:%M}" for size, time in shapes if size > timedelta(0)}
    if FULL:
        sampled = {turning.shape for turning in turnings(SAMPLE)}
        assert sampled == shapes, "the sample lacks a shape that a new edition of the zones has"


def test_cronsim_alone_would_lose_slots_where_half_an_hour_is_skipped() -> None:
    """What the walk is good for: it finds fault with a walk that goes from hour to hour."""
    from cronsim import CronSim

    turning = next(one for one in turnings(["Australia/Lord_Howe"], 2020, 2020))
    reach, rule = timedelta(hours=30), "*/10 2 * * *"
    begin = datetime.fromtimestamp(turning.at, UTC) - reach - timedelta(seconds=1)
    end = begin + 2 * reach
    slots = list(takewhile(lambda slot: slot <= end, CronSim(rule, begin.astimezone(ZoneInfo(turning.zone)))))
    assert len(slots) < len(_walked(rule, turning.change, reach, timedelta(minutes=1)))


def cases() -> Iterator[tuple[str, timedelta, timedelta]]:
    """The rule, how far around a change it is looked at, and how often."""
    minute, second = timedelta(minutes=1), timedelta(seconds=5)
    yield from ((rule, timedelta(hours=4), minute) for rule in DENSE)
    yield from ((rule, timedelta(hours=30), minute) for rule in RULES)
    yield from ((rule, timedelta(hours=3, minutes=30), second) for rule in SECONDS)


@cache
def chosen() -> list[Turning]:
    if FULL:
        return list(turnings(sorted(available_timezones())))
    by_shape: dict[object, Turning] = {}
    for turning in turnings(SAMPLE):
        by_shape.setdefault(turning.shape, turning)
    return list(by_shape.values())


def fired(rule: str, turning: Turning, reach: timedelta) -> list[timedelta]:
    """What the timetable says, from the change."""
    table = Timetable.parse({"cron": rule, "timezone": turning.zone}, where="a test")
    at, ms = turning.at * 1000, timedelta(milliseconds=1)
    found: list[timedelta] = []
    slot = table.after(at - reach // ms - 1, 0)
    while slot is not None and slot <= at + reach // ms:
        found.append((slot - at) * ms)
        slot = table.after(slot, 0)
    return found


@cache
def _walked(rule: str, change: Change, reach: timedelta, step: timedelta) -> tuple[timedelta, ...]:
    return tuple(walk(Entry.read(rule), _clock(change, reach, step)))


@lru_cache(4)
def _clock(change: Change, reach: timedelta, step: timedelta) -> list[Tick]:
    return ticks(change, reach, step)
