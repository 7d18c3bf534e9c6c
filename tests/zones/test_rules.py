"""Rules as people give them: what is taken, and that each refusal names its key and shows a right one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import AndTrigger, OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from queuekit.domain.timetable import Timetable, slot_name
from queuekit.errors import InvalidOption

BERLIN = "Europe/Berlin"
START = datetime(2026, 11, 22, 9, tzinfo=UTC)
NOW = int(START.timestamp() * 1000)


def table(**rule: Any) -> Timetable:
    return Timetable.parse(rule, where="schedule digest")


def slots(rule: Timetable, n: int = 3, anchor: int = NOW) -> list[str]:
    return [slot_name(slot) for slot in rule.moments(n, NOW, anchor)]


# -------------------------------------------------------------------------------------------------- what is taken
@pytest.mark.parametrize(
    ("named", "plain"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@weekly", "0 0 * * 7"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 jan *"),
        ("@Annually", "0 0 1 1 *"),
        ("0 9 * * 1-5", " 0  9 * *\tMON-FRI "),
        ("0 9 * * 5-7", "0 9 * * 5,6,0"),
        ("30 0 9 * * *", "30 0 9 * * 0-7"),
        ("5 9 * * 5-5/2", "5-5/3 9 * * Fri-fri/1"),
        ("5 9 * * 5", "5-5/3 9 * * 5"),
        ("5 15-15/2 * * *", "5 15 * * *"),
        ("5-45/20 9 * * *", "5,25,45 9 * * *"),
        ("50/5 9 * * *", "50,55 9 * * *"),
    ],
)
def test_spellings_of_a_cron_rule_give_the_same_slots(named: str, plain: str) -> None:
    assert slots(table(cron=named), 20) == slots(table(cron=plain), 20)


def test_seconds_come_first_of_six_fields() -> None:
    assert slots(table(cron="15 30 9 * * *"), 1) == ["2026-11-22T09:30:15Z"]


def test_every_counts_from_its_anchor_and_with_a_start_from_there() -> None:
    anchor = NOW - 7_000
    assert slots(table(every="10s"), 2, anchor) == ["2026-11-22T09:00:03Z", "2026-11-22T09:00:13Z"]
    later = START + timedelta(minutes=2)
    assert slots(table(every="3 minutes", start=later), 2) == ["2026-11-22T09:02:00Z", "2026-11-22T09:05:00Z"]
    assert table(every="10s").first(NOW, NOW) == NOW + 10_000


def test_a_cron_rule_with_a_start_begins_at_the_first_slot_from_there() -> None:
    assert slots(table(cron="@daily", start=datetime(2027, 1, 1, tzinfo=UTC)), 1) == ["2027-01-01T00:00:00Z"]


@pytest.mark.parametrize("rule", [{"at": START}, {"every": "1h", "start": START}, {"trigger": DateTrigger(START)}])
def test_a_start_of_the_last_minute_is_now_and_an_older_one_has_passed(rule: dict[str, Any]) -> None:
    assert table(**rule).first(NOW, NOW) == NOW
    assert table(**rule).first(NOW + 60_000, NOW) == NOW
    assert table(**rule).first(NOW + 60_001, NOW) != NOW


def test_the_kits_zone_holds_where_a_rule_names_none() -> None:
    rule = Timetable.parse({"cron": "0 9 * * *"}, where="x", zone=BERLIN)
    assert rule.to_json() == {"cron": "0 9 * * *", "timezone": BERLIN}
    assert Timetable.parse({"cron": "0 9 * * *", "timezone": "UTC"}, where="x", zone=BERLIN).zone == "UTC"
    assert Timetable.parse({"every": "1m"}, where="x", zone=BERLIN).to_json() == {"every": "1m"}
    assert table(cron="0 9 * * *", timezone=ZoneInfo(BERLIN)).zone == BERLIN


def test_moments_are_kept_in_utc() -> None:
    plus = timezone(timedelta(hours=1))
    assert table(at=datetime(2027, 1, 1, 0, 30, tzinfo=plus)).to_json() == {"at": "2026-12-31T23:30:00Z"}
    assert table(at="2027-01-01T00:30:00.5+01:00").to_json() == {"at": "2026-12-31T23:30:00.500Z"}


def test_a_name_that_only_this_machine_can_open_is_no_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As "europe/berlin" is where files are found whatever their case."""

    class Lenient(ZoneInfo):
        def __new__(cls, key: str) -> Lenient:
            return super().__new__(cls, BERLIN)

    monkeypatch.setattr("queuekit.domain.timetable.values.ZoneInfo", Lenient)
    with pytest.raises(InvalidOption, match="did you mean 'Europe/Berlin'"):
        table(cron="0 9 * * *", timezone="europe/berlin")
    assert table(cron="0 9 * * *", timezone=BERLIN).zone == BERLIN


# ------------------------------------------------------------------------------------------------------- triggers
@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (lambda: IntervalTrigger(hours=2), {"interval": {"hours": 2}}),
        (lambda: IntervalTrigger(minutes=90, start_date=START), {"interval": {"minutes": 90, "start_date": START}}),
        (
            lambda: CalendarIntervalTrigger(months=1, hour=9, timezone=BERLIN),
            {"calendar": {"months": 1, "hour": 9, "timezone": BERLIN}},
        ),
        (
            lambda: CalendarIntervalTrigger(weeks=2, start_date=date(2026, 1, 31), timezone="UTC"),
            {"calendar": {"weeks": 2, "start_date": "2026-01-31"}},
        ),
        (lambda: DateTrigger(START), {"date": {"run_date": START}}),
        (
            lambda: OrTrigger([IntervalTrigger(hours=2), DateTrigger(START)]),
            {"or": [{"interval": {"hours": 2}}, {"date": {"run_date": START}}]},
        ),
        (
            lambda: AndTrigger([IntervalTrigger(hours=2), IntervalTrigger(hours=3)]),
            {"and": [{"interval": {"hours": 2}}, {"interval": {"hours": 3}}]},
        ),
    ],
)
def test_a_trigger_and_its_plain_form_are_one_rule(made: Callable[[], BaseTrigger], plain: dict[str, Any]) -> None:
    assert table(trigger=made()) == table(trigger=plain)
    assert table(trigger=made()).to_json() == table(trigger=made()).to_json()


def test_the_zone_of_the_rule_holds_for_a_trigger_object() -> None:
    made = CalendarIntervalTrigger(days=1, hour=9, timezone="America/New_York")
    assert table(trigger=made, timezone=BERLIN) == table(trigger={"calendar": {"days": 1, "hour": 9}}, timezone=BERLIN)


STEPS: list[dict[str, int]] = [
    {"months": 1, "hour": 9}, {"months": 1, "hour": 2, "minute": 30}, {"years": 1}, {"months": 5, "days": 3},
    {"days": 1, "hour": 2, "minute": 30}, {"weeks": 2, "hour": 23}, {"years": 1, "weeks": 1}, {"days": 3},
    {"months": 12, "second": 1},
]  # fmt: skip


@pytest.mark.parametrize("start", [date(2020, 1, 31), date(2020, 2, 29), date(2023, 12, 30), date(2024, 6, 1)])
@pytest.mark.parametrize("zone", [BERLIN, "Africa/Cairo", "Australia/Lord_Howe", "America/Havana"])
def test_a_calendar_gives_what_apscheduler_gives_from_the_start(start: date, zone: str) -> None:
    for steps in STEPS:
        plain = steps | {"start_date": start, "timezone": zone}
        engine = CalendarIntervalTrigger(**plain)
        expected, slot = [], engine.get_next_fire_time(None, START)
        while slot.year < 2031:
            expected.append(int(slot.timestamp()) * 1000)
            slot = engine.get_next_fire_time(slot, slot)
        rule = table(trigger={"calendar": plain})
        begin = int(datetime(start.year - 1, 1, 1, tzinfo=UTC).timestamp()) * 1000
        picked = expected[:: max(1, len(expected) // 100)]
        assert [rule.after(slot - 1, NOW) for slot in picked] == picked
        assert all(rule.after(slot, NOW) == later for slot, later in pairwise(expected[:50]))
        assert rule.after(begin, NOW) == expected[0]


def test_triggers_that_agree_once_in_a_while_are_found() -> None:
    rule = table(
        trigger={"and": [{"cron": "0 9 * * *"}, {"calendar": {"weeks": 2, "hour": 9, "start_date": "2026-11-23"}}]}
    )
    assert slots(rule) == ["2026-11-23T09:00:00Z", "2026-12-07T09:00:00Z", "2026-12-21T09:00:00Z"]


def test_any_of_two_triggers_fires_a_common_moment_once() -> None:
    rule = table(trigger={"or": [{"cron": "0 9 * * *"}, {"cron": "0 9,10 * * *"}]})
    assert slots(rule) == ["2026-11-22T10:00:00Z", "2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z"]


def test_an_end_of_a_trigger_ends_it() -> None:
    rule = table(trigger={"interval": {"hours": 1, "start_date": START, "end_date": "2026-11-22T10:30:00Z"}})
    assert slots(rule) == ["2026-11-22T10:00:00Z"]


# ------------------------------------------------------------------------------------------------ what is refused
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "cron, every, at and trigger", 'cron="0 9 * * mon-fri"'),
    ({"cron": "@daily", "every": "1h"}, "not cron and every", 'cron="0 9'),
    ({"cron": "@daily", "at": START, "trigger": {}}, "not cron and at and trigger", 'cron="0 9'),
    ({"evry": "1h"}, "'evry'", "'every'"),
    ({"every": "1h", "colour": "red"}, "'colour'", "timezone"),
    ({"cron": "61 * * * *"}, "cron='61 * * * *': its minute", "0-59"),
    ({"cron": "0 24 * * *"}, "its hour", "0-23"),
    ({"cron": "0 0 32 * *"}, "its day-of-month", "1-31"),
    ({"cron": "0 0 31 2 *"}, "its day-of-month", "its months do not have"),
    ({"cron": "0 0 1 13 *"}, "its month", "jan-dec"),
    ({"cron": "0 0 * * 8"}, "its day-of-week", "sun-sat"),
    ({"cron": "0 0 * * fri-mon"}, "its day-of-week", '"0 9 * * mon-fri"'),
    ({"cron": "* * * *"}, "has 4 fields", '"0 9 * * mon-fri"'),
    ({"cron": ""}, "has 0 fields", '"0 9 * * mon-fri"'),
    ({"cron": 5}, "cron=5", '"0 9 * * mon-fri"'),
    ({"cron": "1" * 300}, "cron='111", '"0 9 * * mon-fri"'),
    ({"cron": "@reboot"}, "cron='@reboot'", "@daily"),
    ({"cron": "@every 5m"}, "cron='@every 5m'", "every="),
    ({"cron": "0 9 * * *", "timezone": "Europe/Berln"}, "timezone='Europe/Berln'", "'Europe/Berlin'"),
    ({"cron": "0 9 * * *", "timezone": "europe/berlin"}, "timezone='europe/berlin'", "'Europe/Berlin'"),
    ({"cron": "0 9 * * *", "timezone": "+02:00"}, "timezone='+02:00'", '"Europe/Berlin"'),
    ({"cron": "0 9 * * *", "timezone": "localtime"}, "timezone='localtime'", "time zone"),
    ({"cron": "0 9 * * *", "timezone": "../../etc/passwd"}, "timezone=", '"Europe/Berlin"'),
    ({"cron": "0 9 * * *", "timezone": 5}, "timezone=5", '"Europe/Berlin"'),
    ({"every": 0.5}, "every=0.5", '"1s"'),
    ({"every": "often"}, "every='often'", "30 seconds"),
    ({"every": "-5m"}, "every='-5m'", "30 seconds"),
    ({"every": "1 month"}, "every='1 month'", "'calendar': {'months': 1"),
    ({"every": "2 years"}, "every='2 years'", "'calendar'"),
    ({"at": datetime(2026, 1, 1)}, "at=2026-01-01 00:00:00", '"2026-01-01T00:00:00Z"'),
    ({"at": "2026-01-01T09:00"}, "at=2026-01-01T09:00", '"2026-01-01T09:00:00Z"'),
    ({"at": date(2026, 1, 1)}, "is a day", '"2026-11-22T09:00:00Z"'),
    ({"at": "tomorrow"}, "at='tomorrow'", '"2026-11-22T09:00:00Z"'),
    ({"at": "9999-12-31T23:59:59Z"}, "out of reach", "1970 to 9998"),
    ({"every": "1h", "start": "0999-01-01T00:00:00Z"}, "start=0999", "1970 to 9998"),
    ({"trigger": {"interval": {"weeks": 1e10}}}, "weeks=10000000000.0", '{"interval": {"hours": 2}}'),
    ({"trigger": {"calendar": {"days": 1, "start_date": "0001-01-01"}}}, "start_date=", '"2026-11-22"'),
    ({"cron": "*/90 * * * *"}, "its minute steps by 90", 'every="90 minutes"'),
    ({"cron": "0 0,*/25 * * *"}, "its hour steps by 25", 'every="25 hours"'),
    ({"cron": "0 0 1 */13 *"}, "its month steps by 13", "name the ones"),
    ({"at": START, "count": 1}, "at is one moment", "leave"),
    ({"every": "1h", "count": 0}, "count=0", "from 1"),
    ({"every": "1h", "count": True}, "count=True", "from 1"),
    ({"every": "1h", "count": "3"}, "count='3'", "from 1"),
    ({"every": "1h", "start": START, "end": START - timedelta(1)}, "end=2026-11-21T09:00:00Z is before start", "swap"),
    ({"every": "1h", "end": datetime(2026, 1, 1)}, "end=2026-01-01 00:00:00", "Z"),
    ({"every": "1h", "jitter": "2h"}, "jitter=2h", '"1h"'),
    ({"cron": "*/5 9 * * *", "jitter": "6m"}, "jitter=6m", '"5m"'),
    ({"every": "1h", "jitter": "some"}, "jitter='some'", "30 seconds"),
    ({"every": "1h", "grace": "-1s"}, "grace=", "30 seconds"),
    ({"every": "1h", "grace": 0}, "grace=0", '"1m"'),
    ({"every": "1h", "grace": "500ms"}, "grace='500ms'", '"1m"'),
    ({"every": "1h", "missed": "never"}, "missed='never'", "'once', 'skip', 'all'"),
    ({"every": "1h", "overlap": "wait"}, "overlap='wait'", "'allow', 'skip', 'replace'"),
    ({"trigger": "interval"}, "trigger='interval'", '{"interval": {"hours": 2}}'),
    ({"trigger": CronTrigger(hour=9)}, "Monday", 'cron="0 9 * * mon-fri"'),
    ({"trigger": OrTrigger([CronTrigger(hour=9)])}, "Monday", '{"cron": "…"}'),
    ({"trigger": IntervalTrigger(hours=1, jitter=5)}, "jitter", 'jitter="30s"'),
    ({"trigger": {"interval": {"hours": 1, "jitter": 5}}}, "jitter", 'jitter="30s"'),
    ({"trigger": {"calender": {"months": 1}}}, "trigger: give one of", '{"calendar": {"months": 1'),
    ({"trigger": {"interval": {"hour": 1}}}, "'hour'", "'hours'"),
    ({"trigger": {"interval": {"hours": "2"}}}, "hours='2'", '{"interval": {"hours": 2}}'),
    ({"trigger": {"interval": {}}}, "shorter than a second", '{"interval": {"hours": 2}}'),
    ({"trigger": {"interval": 2}}, "trigger: interval: 2", '{"interval": {"hours": 2}}'),
    ({"trigger": {"calendar": {"hour": 9}}}, "steps by", '"months": 1'),
    ({"trigger": {"calendar": {"days": 1, "hour": 24}}}, "hour=24", "0 to 23"),
    ({"trigger": {"calendar": {"months": -1}}}, "months=-1", "0 to 1200"),
    ({"trigger": {"calendar": {"days": 1, "start_date": "22.11.2026"}}}, "start_date=", '"2026-11-22"'),
    ({"trigger": {"calendar": {"days": 1, "timezone": "Mars"}}}, "timezone='Mars'", "time zone"),
    ({"trigger": {"date": {}}}, "run_date=None", '"2026-11-22T09:00:00Z"'),
    ({"trigger": {"and": []}}, "trigger: and", '{"and": [{"cron"'),
    ({"trigger": {"or": [5]}}, "trigger: or", '{"or": ['),
    ({"trigger": {"or": [{"cron": "x"}]}}, "trigger: or 1: cron='x'", '"0 9 * * mon-fri"'),
    ({"trigger": {"and": [{"cron": "0 9 * * *"}, {"cron": "0 8 * * *"}]}}, "never agree", '{"and": [{"cron"'),
    ({"trigger": {"and": [{"cron": "0 9 * * *"}, {"interval": {"hours": 2}}]}}, "start_date", '"2026-11-22T09:00:00Z"'),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "named", "right"), REFUSED, ids=lambda value: value if type(value) is str else None)
def test_a_refusal_names_its_key_and_shows_a_right_one(rule: dict[str, Any], named: str, right: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        table(**rule)
    message = str(refused.value)
    assert message.startswith("schedule digest: ")
    assert named in message
    assert right in message


def test_a_class_of_its_own_is_no_trigger_that_a_worker_could_rebuild() -> None:
    class Own(IntervalTrigger):  # type: ignore[misc]  # apscheduler has no types
        pass

    with pytest.raises(InvalidOption, match="is no trigger"):
        table(trigger=Own(hours=1))


def test_a_rule_that_never_agrees_any_more_is_over_and_not_a_loop() -> None:
    plain = {"and": [{"cron": "0 9 * * *", "timezone": "UTC"}, {"cron": "0 8 * * *", "timezone": "UTC"}]}
    assert Timetable.from_json({"trigger": plain}).after(NOW, NOW) is None
