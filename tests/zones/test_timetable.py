"""What holds for every timetable: no slot twice, none lost, the latest is the latest, JSON keeps it all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from queuekit.domain.schedule import FIRE_MAX
from queuekit.domain.timetable import Timetable, slot_name
from queuekit.domain.timetable.table import SKIPPED_MAX
from queuekit.errors import InvalidOption
from tests.zones.crontab import Entry, ticks, walk
from tests.zones.test_zones import SAMPLE, chosen, fired

NOW = 1_793_000_000_000  # October 2026, three weeks before clocks change
DAY = 86_400_000
EPOCH = datetime(1970, 1, 1)
SECOND = 1000


def _field(least: int, most: int) -> st.SearchStrategy[str]:
    numbers = st.integers(least, most)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    wide = st.integers(1, min(20, most - least))  # a step over the end is refused
    steps = st.builds(lambda base, step: f"{base}/{step}", st.one_of(st.just("*"), ranges), wide)
    lists = st.lists(numbers.map(str), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), lists, ranges, steps)


FIELDS = st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), _field(1, 12), _field(0, 7))
CRONS = FIELDS.map(" ".join)
MOMENTS = st.integers(NOW - 400 * DAY, NOW + 400 * DAY)
STEPS = st.fixed_dictionaries(
    {}, optional={"years": st.integers(0, 2), "months": st.integers(0, 14), "weeks": st.integers(0, 9),
                  "days": st.integers(1, 40), "hour": st.integers(0, 23), "minute": st.integers(0, 59)}
).filter(
    lambda plain: (  # of one kind: a walk by both cannot be cut short, and here it is walked a thousand times
        bool(plain.get("years") or plain.get("months")) != bool(plain.get("weeks") or plain.get("days"))
    )
)  # fmt: skip
CALENDARS = st.builds(lambda plain, zone: {"calendar": plain | {"timezone": zone}}, STEPS, st.sampled_from(SAMPLE))
INTERVALS = st.integers(1, 10**6).map(lambda seconds: {"interval": {"seconds": seconds}})
TRIGGERS = st.one_of(
    CALENDARS, INTERVALS, st.lists(st.one_of(CALENDARS, INTERVALS), min_size=1, max_size=3).map(lambda ts: {"or": ts})
)
CADENCES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.integers(1, 10**6).map(lambda seconds: {"every": seconds}),
    st.builds(lambda cron, zone: {"cron": cron, "timezone": zone}, CRONS, st.sampled_from(SAMPLE)),
    TRIGGERS.map(lambda trigger: {"trigger": trigger}),
)
BOUNDS = st.fixed_dictionaries(
    {}, optional={"start": MOMENTS.map(slot_name), "count": st.integers(1, 300), "end": st.integers(
        NOW + 400 * DAY, NOW + 1000 * DAY).map(slot_name), "grace": st.integers(1, 10**6)}
)  # fmt: skip
RULES = st.builds(lambda cadence, bounds: cadence | bounds, CADENCES, BOUNDS)


def _table(rule: dict[str, Any]) -> Timetable:
    return Timetable.parse(rule, where="a test")


@settings(max_examples=30, deadline=None)
@given(rule=RULES, moment=MOMENTS, part=st.floats(0, 1, exclude_max=True))
def test_the_next_slot_is_the_same_from_every_moment_before_it(rule: dict[str, Any], moment: int, part: float) -> None:
    table = _table(rule)
    slot = table.after(moment, NOW)
    if slot is not None:
        assert slot > moment
        assert table.after(moment + int((slot - moment) * part), NOW) == slot
        assert table.after(slot - 1, NOW) == slot
        assert table.start is None or slot >= table.start
        assert table.end is None or slot <= table.end


@settings(max_examples=30, deadline=None)
@given(rule=RULES, gaps=st.lists(st.integers(0, 220), min_size=1, max_size=2), odd=st.integers(0, 999))
def test_with_missed_all_no_slot_is_fired_twice_and_none_is_lost(
    rule: dict[str, Any], gaps: list[int], odd: int
) -> None:
    table = _table({key: value for key, value in rule.items() if key != "grace"} | {"missed": "all"})
    coming, fired_slots, now = table.first(NOW, NOW), list[int](), NOW
    expected = table.moments(600, (table.first(NOW, NOW) or NOW) - 1, NOW)
    for gap in gaps:
        ahead = [slot for slot in expected if slot > now]
        now = ahead[min(gap, len(ahead) - 1)] + odd if ahead else now
        while coming is not None and coming <= now:
            turn = table.turn(coming, len(fired_slots), now, NOW)
            assert len(turn.slots) <= FIRE_MAX
            assert not turn.skipped
            fired_slots += turn.slots
            coming = turn.next_at
    assert fired_slots == [slot for slot in expected if slot <= now]


@settings(max_examples=30, deadline=None)
@given(rule=RULES, gap=st.integers(0, 90), part=st.floats(0, 1), missed=st.sampled_from(["once", "skip"]))
def test_of_missed_slots_the_latest_is_fired_unless_it_is_too_late(
    rule: dict[str, Any], gap: int, part: float, missed: str
) -> None:
    table = _table(rule | {"missed": missed})
    coming = table.first(NOW, NOW)
    if coming is None:
        return
    expected = table.moments(gap + 1, coming - 1, NOW)
    following = table.after(expected[-1], NOW) or expected[-1] + 3_600_000
    now = expected[-1] + int(part * (following - expected[-1] - 1))
    passed = [
        slot
        for slot in Timetable.from_json(table.to_json() | {"count": None}).moments(400, coming - 1, NOW)
        if slot <= now
    ]
    turn = table.turn(coming, 0, now, NOW)
    late = now - passed[-1]
    grace = table.grace if table.grace is not None else 60 * SECOND if missed == "skip" else late
    assert turn.slots == ((passed[-1],) if late <= grace else ())
    assert turn.skipped == min(len(passed) - len(turn.slots), SKIPPED_MAX)
    spent = table.count is not None and len(turn.slots) >= table.count
    assert turn.next_at == (None if spent else table.after(passed[-1], NOW))


@settings(max_examples=30, deadline=None)
@given(rule=RULES, gap=st.integers(0, 220), odd=st.integers(0, 999), grace=st.integers(1, 10**6))
def test_with_missed_all_slots_within_the_grace_are_fired(rule: dict[str, Any], gap: int, odd: int, grace: int) -> None:
    table = _table({key: value for key, value in rule.items() if key != "count"} | {"missed": "all", "grace": grace})
    coming = table.first(NOW, NOW)
    if coming is None:
        return
    now = table.moments(gap + 1, coming - 1, NOW)[-1] + odd
    passed = [slot for slot in table.moments(400, coming - 1, NOW) if slot <= now]
    in_time = [slot for slot in passed if now - slot <= grace * SECOND]
    turn = table.turn(coming, 0, now, NOW)
    assert list(turn.slots) == in_time[:FIRE_MAX]
    assert turn.skipped == min(len(passed) - len(in_time), SKIPPED_MAX)
    assert turn.next_at == (in_time[FIRE_MAX] if len(in_time) > FIRE_MAX else table.after(now, NOW))


@settings(max_examples=30, deadline=None)
@given(rule=RULES)
def test_json_keeps_a_rule_and_says_equal_rules_alike(rule: dict[str, Any]) -> None:
    table = _table(rule)
    assert Timetable.from_json(table.to_json()) == table
    assert Timetable.from_json(table.to_json()).to_json() == table.to_json()


@settings(max_examples=30, deadline=None)
@given(fields=FIELDS, place=st.integers(0, 10**6))
def test_any_cron_rule_fires_as_the_minute_walk_says(fields: tuple[str, ...], place: int) -> None:
    turning, reach = chosen()[place % len(chosen())], timedelta(hours=5)
    rule = " ".join((*fields[:2], "*", "*", fields[4]))
    expected = walk(Entry.read(rule), ticks(turning.change, reach, timedelta(minutes=1)))
    assert fired(rule, turning, reach) == expected


@settings(max_examples=30, deadline=None)
@given(cron=CRONS, moment=MOMENTS)
def test_any_cron_rule_comes_on_the_day_that_it_names(cron: str, moment: int) -> None:
    entry, table = Entry.read(cron), _table({"cron": cron})
    slot = table.after(moment, 0)
    days = range(moment // DAY, (moment + 800 * DAY if slot is None else slot) // DAY)
    assert not any(_comes(entry, day * DAY) for day in days[1:])
    assert slot is None or _comes(entry, slot)


def _comes(entry: Entry, moment: int) -> bool:
    wall = EPOCH + timedelta(milliseconds=moment)
    return entry.fits(wall.replace(minute=min(entry.minutes), hour=min(entry.hours)))


@settings(max_examples=30, deadline=None)
@given(jitter=st.integers(1, 10**6), slot=MOMENTS, id=st.text("abc", min_size=1, max_size=5))
def test_jitter_is_the_same_each_time_and_within_its_bounds(jitter: int, slot: int, id: str) -> None:
    table = Timetable.from_json({"every": "30d", "jitter": f"{jitter}ms"})
    assert table.jitter_of(id, slot) == table.jitter_of(id, slot)
    assert 0 <= table.jitter_of(id, slot) <= jitter
    assert not _table({"every": "30d"}).jitter_of(id, slot)


NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(-3, 70))
WORDS = st.one_of(
    st.text(max_size=12),
    st.text("0123456789*/-,L#W sunmojafb@", max_size=14),
    st.sampled_from(["UTC", "1h", "P1D", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "Europe/Berlin", "skip"]),
)
VALUES = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.datetimes(), st.datetimes(timezones=st.timezones()))
INNER = st.dictionaries(
    st.sampled_from(["weeks", "days", "hours", "seconds", "months", "years", "hour", "minute", "second", "run_date",
                     "start_date", "end_date", "timezone", "jitter", "x"]), VALUES, max_size=4
)  # fmt: skip
NESTED = st.recursive(
    st.dictionaries(
        st.sampled_from(["interval", "calendar", "date", "cron", "timezone"]), st.one_of(VALUES, INNER), max_size=2
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["and", "or"]), st.one_of(VALUES, st.lists(inner, max_size=3)), max_size=1
    ),
    max_leaves=3,
)
ANY = st.dictionaries(
    st.sampled_from(["cron", "every", "at", "trigger", "timezone", "start", "end", "count", "jitter", "missed", "grace",
                     "overlap", "x"]), st.one_of(VALUES, NESTED), max_size=4
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(rule=st.one_of(ANY, st.fixed_dictionaries({"cron": WORDS}), st.fixed_dictionaries({"trigger": NESTED}),
                      st.builds(lambda more: {"every": "1h"} | more, ANY)))  # fmt: skip
def test_whatever_is_given_is_a_rule_or_refused(rule: dict[str, Any]) -> None:
    try:
        table = _table(rule)
    except InvalidOption:
        return
    assert Timetable.from_json(json.loads(json.dumps(table.to_json()))) == table
    coming = table.first(NOW, NOW)
    assert coming is None or table.turn(coming, 0, coming, NOW).slots == (coming,)
    assert all(slot_name(slot) for slot in table.moments(2, NOW, NOW))
