"""Agenda's intervals and `every` options, Bull's `repeat` and job schedulers: what they become. No store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queuekit import InvalidOption
from queuekit.compat.agenda.border import every_rule, interval_ms
from queuekit.compat.agenda.draft import _daily
from queuekit.compat.bull.repeat import repeatable_key, repeatable_rule, scheduler_rule

MINUTE = timedelta(minutes=1)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "ms"),
    [
        ("30 seconds", 30_000), ("3 minutes", 180_000), ("three minutes", 180_000), ("one hour", 3_600_000),
        ("a day", 86_400_000), ("minute", 60_000), ("2 minutes and 30 seconds", 150_000), ("1.5 minutes", 90_000),
        ("1 hour, 5 minutes", 3_900_000), ("5m", 300_000), (5000, 5000), (1500.5, 1501), (MINUTE, 60_000),
        ("1 Week", 604_800_000),
    ],
)  # fmt: skip
def test_an_interval_is_read_as_agenda_has_it(said: Any, ms: int) -> None:
    assert interval_ms(said) == ms


@pytest.mark.parametrize(
    "said", ["every day", "1 month", "", "and", "3", "1.5", "-1 minutes", True, None, -5, "minutes 3"]
)
def test_what_is_no_interval_is_refused_with_one_that_is(said: Any) -> None:
    with pytest.raises(InvalidOption, match=r"3 minutes|below zero"):
        interval_ms(said)


@pytest.mark.parametrize(
    ("interval", "options", "rule", "at_once"),
    [
        ("3 minutes", {}, {"every": 3 * MINUTE}, True),
        ("2 minutes and 30 seconds", {}, {"every": 2.5 * MINUTE}, True),
        (60_000, {"skipImmediate": True}, {"every": MINUTE}, False),
        (60_000, {"skip_immediate": False}, {"every": MINUTE}, True),
        ("1 day", {"startDate": NEW_YEAR}, {"every": timedelta(days=1), "start": NEW_YEAR}, False),
        ("1 day", {"endDate": "2027-01-01T00:00:00Z"}, {"every": timedelta(days=1), "end": NEW_YEAR}, True),
        (
            "0 9 * * mon-fri",
            {"timezone": "Europe/Berlin"},
            {"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"},
            False,
        ),
        ("0 0 9 * * 1-5", {"startDate": 1_798_761_600_000}, {"cron": "0 0 9 * * 1-5", "start": NEW_YEAR}, False),
        ("@daily", {"timezone": None}, {"cron": "@daily"}, False),
    ],
)
def test_every_becomes_a_rule(interval: Any, options: dict[str, Any], rule: dict[str, Any], at_once: bool) -> None:
    assert every_rule(interval, options) == ({**rule, "overlap": "skip"}, at_once)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"skipDays": [0, 6]}, "mon-fri"),
        ({"forkMode": True}, "threads"),
        ({"timeZone": "UTC"}, "time_zone.*there are: timezone"),
        ({"startDate": datetime(2027, 1, 1)}, "start_date.*aware"),
        ({"endDate": "tomorrow"}, "end_date.*2026-12-01T09:00:00Z"),
        ({"endDate": 10**30}, "end_date"),
        ({"endDate": True}, "end_date"),
    ],
)
def test_an_option_of_every_that_cannot_be_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        every_rule("1 day", options)


@pytest.mark.parametrize(
    ("said", "cron"),
    [
        ("15:30", "30 15"),
        ("3:30pm", "30 15"),
        ("at 3pm", "0 15"),
        ("12am", "0 0"),
        ("noon", "0 12"),
        ("at midnight", "0 0"),
    ],
)
def test_a_time_of_day_is_a_rule(said: str, cron: str) -> None:
    assert _daily(said) == f"{cron} * * *"


@pytest.mark.parametrize("said", ["25:00", "13pm", "0am", "12:60", "tea time", ""])
def test_what_is_no_time_of_day_is_refused(said: str) -> None:
    with pytest.raises(InvalidOption, match="15:30"):
        _daily(said)


# ---------------------------------------------------------------- Bull
def test_a_job_scheduler_counts_from_its_first_job_and_a_repeated_job_from_1970() -> None:
    scheduler, repeated = scheduler_rule({"every": 60_000}), repeatable_rule({"every": 60_000})
    assert (scheduler.rule, scheduler.at_once) == ({"every": MINUTE}, True)
    assert (repeated.rule, repeated.at_once) == ({"every": MINUTE, "start": datetime(1970, 1, 1, tzinfo=UTC)}, False)
    assert repeatable_rule({"every": 60_000, "immediately": True}).at_once
    later = NEW_YEAR + timedelta(seconds=1)
    assert repeatable_rule({"every": 60_000, "startDate": later}).rule["start"] == NEW_YEAR + MINUTE
    assert repeatable_rule({"every": 60_000, "startDate": NEW_YEAR}).rule["start"] == NEW_YEAR
    assert scheduler_rule({"every": 60_000, "startDate": later}).rule["start"] == later
    shifted = scheduler_rule({"every": 60_000, "offset": 5000})
    assert (shifted.rule["start"], shifted.at_once) == (datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC), False)


def test_a_repeat_becomes_a_rule_in_both_spellings() -> None:
    rule = {"cron": "0 9 * * 1-5", "timezone": "Europe/Berlin", "start": NEW_YEAR, "end": NEW_YEAR + MINUTE, "count": 7}
    end = (NEW_YEAR + MINUTE).isoformat()
    for said in (
        {
            "pattern": "0 9 * * 1-5",
            "tz": "Europe/Berlin",
            "startDate": NEW_YEAR,
            "endDate": end,
            "limit": 10,
            "count": 3,
        },
        {"cron": "0 9 * * 1-5", "tz": "Europe/Berlin", "start_date": 1_798_761_600_000, "end_date": end, "limit": 7.0},
    ):
        assert (scheduler_rule(said).rule, scheduler_rule(said).at_once) == (rule, False)
        assert repeatable_rule(said).rule == rule
    assert scheduler_rule({"pattern": "0 9 * * 1-5", "immediately": True}).at_once


@pytest.mark.parametrize(
    ("repeat", "said"),
    [
        ({}, "either 'pattern'"),
        ({"pattern": "0 9 * * *", "every": 5}, "either 'pattern'"),
        ({"pattern": "0 9 * * *", "cron": "0 9 * * *"}, "one option"),
        ({"every": 0}, "every 0 is no whole number from 1"),
        ({"every": 0.5}, "every"),
        ({"every": "1 minute"}, "every"),
        ({"every": True}, "every"),
        ({"every": 5000, "limit": 0}, "limit 0"),
        ({"every": 5000, "limit": 3, "count": 3}, "limit 3 is reached"),
        ({"every": 5000, "timezone": "UTC"}, "timezone; known: .*tz"),
        ({"every": 5000, "immediately": True, "startDate": NEW_YEAR}, "both say when it begins"),
        ({"pattern": "0 9 * * *", "offset": 5}, "offset"),
        ({"every": 5000, "endDate": "soon"}, "endDate"),
        ("0 9 * * *", "use {'pattern'"),
    ],
)
def test_a_repeat_that_cannot_be_says_what_can(repeat: Any, said: str) -> None:
    for read in (scheduler_rule, repeatable_rule):
        with pytest.raises(InvalidOption, match=said):
            read(repeat)


def test_the_same_repeat_is_the_same_schedule_and_another_one_is_another() -> None:
    def key(repeat: dict[str, Any], job_id: str | None = None, name: str = "sync prices") -> str:
        return repeatable_key(name, repeatable_rule(repeat), job_id)

    assert key({"every": 5000}) == key({"every": 5000, "limit": 9, "immediately": True})
    others = {
        key({"every": 5000}), key({"every": 6000}), key({"pattern": "* * * * *"}), key({"every": 5000}, "7"),
        key({"pattern": "* * * * *", "tz": "Asia/Tokyo"}), key({"every": 5000}, name="x"),
    }  # fmt: skip
    assert len(others) == 6
    assert key({"every": 5000}, "7") == key({"every": 5000, "jobId": "7"})
    assert key({"every": 5000}).startswith("sync-prices:")
    assert key({"every": 5000, "key": "mine"}) == "mine"
