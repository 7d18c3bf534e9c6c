"""Options as Bull writes them: every shape, both spellings, and what is refused."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from queuekit import (
    Backoff,
    InvalidOption,
    JobOptions,
    Keep,
    Priority,
    Profile,
    QueueOptions,
    Rate,
    Unique,
    Unsupported,
)
from queuekit.compat.bull import QueuePriority, QueueProfile, parse_bull_options, parse_bull_worker_options
from queuekit.domain import options
from queuekit.domain.duration import parse_duration
from queuekit.testing import TestKit

SHAPES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"attempts": 5}, {"attempts": 5}),
    ({"attempts": 0}, {"attempts": 1}),
    ({"backoff": 2000}, {"backoff": Backoff.fixed(2)}),
    ({"backoff": {"type": "fixed", "delay": 60_000}}, {"backoff": Backoff.fixed(60)}),
    ({"backoff": {"delay": 1500}}, {"backoff": Backoff.fixed(1.5)}),
    ({"backoff": {"type": "exponential", "delay": 1000}}, {"backoff": Backoff.exponential(1, cap="3650d")}),
    (
        {"backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5}},
        {"backoff": Backoff.exponential(1, cap="3650d", jitter=0.5)},
    ),
    (
        {"backoff": {"type": "fixed", "delay": 1000, "jitter": 0.5}},
        {"backoff": Backoff.exponential(1, factor=1, cap="3650d", jitter=0.5)},
    ),
    ({"delay": 5000}, {"delay": 5.0}),
    ({"delay": 0}, {}),
    ({"delay": -40}, {}),
    ({"priority": 1}, {"priority": 1}),
    ({"priority": 0}, {}),
    ({"priority": QueuePriority.LOW}, {"priority": 15}),
    ({"priority": 2_000_000}, {"priority": 1000}),
    ({"removeOnComplete": True}, {"keep_completed": False}),
    ({"removeOnComplete": False}, {"keep_completed": True}),
    ({"removeOnComplete": 50}, {"keep_completed": Keep(count=50)}),
    ({"removeOnComplete": 0}, {"keep_completed": Keep(count=0)}),
    ({"removeOnComplete": {"count": 100}}, {"keep_completed": Keep(count=100)}),
    ({"removeOnComplete": {"age": 3600}}, {"keep_completed": Keep(age=3600)}),
    ({"removeOnComplete": {"age": 3600, "count": 7}}, {"keep_completed": Keep(count=7, age=3600)}),
    ({"removeOnFail": True}, {"keep_failed": False}),
    ({"removeOnFail": False}, {"keep_failed": True}),
    ({"removeOnFail": 25}, {"keep_failed": Keep(count=25)}),
    ({"removeOnFail": {"age": 60}}, {"keep_failed": Keep(age=60)}),
    ({"jobId": "order-7"}, {"id": "order-7"}),
    ({"jobId": 7}, {"id": "7"}),
    ({"lifo": True}, {"lifo": True}),
    ({"timeout": 20_000}, {"timeout": 20.0}),
    ({"deduplication": {"id": "k"}}, {"unique": Unique("k")}),
    ({"deduplication": {"id": "k", "ttl": 5000}}, {"unique": Unique("k", until=5.0)}),
    ({"deduplication": {"id": "k", "replace": True}}, {"unique": Unique("k", on_conflict="replace")}),
    ({"debounce": {"id": "k", "ttl": 1}}, {"unique": Unique("k", until=0.001)}),
    ({"attempts": None, "delay": None}, {}),
]


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


@pytest.mark.parametrize(("said", "ours"), SHAPES, ids=[json.dumps(said, default=str) for said, _ in SHAPES])
def test_every_shape_parses_in_both_spellings_to_what_enqueue_takes(said: dict[str, Any], ours: dict[str, Any]) -> None:
    for given in (said, {_snake(name): value for name, value in said.items()}):
        parsed = parse_bull_options(given)
        assert parsed == ours
        options.parse("job", parsed)  # and queuekit itself takes each of them
        assert parsed.keys() <= get_type_hints(JobOptions).keys()


def test_no_options_are_none() -> None:
    assert parse_bull_options(None) == {}


def test_exponential_delays_have_no_limit_as_in_bull() -> None:
    backoff = parse_bull_options({"backoff": {"type": "exponential", "delay": 1000}})["backoff"]
    assert isinstance(backoff, Backoff)
    assert [backoff.delay(n) for n in (1, 2, 3, 15)] == [timedelta(seconds=s) for s in (1, 2, 4, 2**14)]


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"removeOnCompleted": True}, "did you mean 'remove_on_complete'"),
        ({"atempts": 1}, "did you mean 'attempts'"),
        ({"zzz": 1}, "known: attempts, backoff"),
        ({"jobId": "a", "job_id": "b"}, "both spellings"),
        ({"attempts": "3"}, "'attempts'"),
        ({"attempts": -1}, "'attempts'"),
        ({"attempts": True}, "'attempts'"),
        ({"delay": "5s"}, "'delay'"),
        ({"timeout": "5s"}, "milliseconds"),
        ({"priority": -1}, "0 to 1000"),
        ({"priority": True}, "'priority'"),
        ({"priority": "urgent"}, "critical=1"),
        ({"backoff": {"type": "linear", "delay": 1}}, "'fixed' or 'exponential'"),
        ({"backoff": {"typ": "fixed"}}, "type, delay and jitter"),
        ({"backoff": "1s"}, "milliseconds"),
        ({"removeOnComplete": "yes"}, "whole number"),
        ({"removeOnComplete": -1}, "whole number"),
        ({"removeOnComplete": {"max": 1}}, "count and age"),
        ({"removeOnFail": {"age": 60, "limit": 3}}, "count and age"),
        ({"lifo": 1}, "True or False"),
        ({"deduplication": "k"}, "'id'"),
        ({"deduplication": {"id": "k", "extend": True}}, "'id'"),
        ({"keepLogs": 5}, "1,000 lines"),
        ({"timestamp": 1}, "store's clock"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(said: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidOption, match=match):
        parse_bull_options(said)


@pytest.mark.parametrize("said", [{"parent": {"id": "1"}}, {"failParentOnFailure": True}])
def test_what_comes_later_says_so(said: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=r"come with queuekit 0\.[23]; until then"):
        parse_bull_options(said)


def test_what_repeats_is_no_option_of_one_job() -> None:
    for said in ({"repeat": {"every": 1000}}, {"repeatJobKey": "k"}):
        with pytest.raises(InvalidOption, match=r"upsert_job_scheduler|leave it out"):
            parse_bull_options(said)


def test_a_priority_beyond_ours_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "queuekit.compat"):
        for _ in range(3):
            assert parse_bull_options({"priority": 54_321}) == {"priority": 1000}
    assert ["54321" in record.getMessage() for record in caplog.records] == [True]


# ---------------------------------------------------------------- workers
WORKER_SHAPES: list[tuple[Any, dict[str, Any]]] = [
    (None, {}),
    ({"concurrency": 5, "lockDuration": 60_000}, {"concurrency": 5, "lease": 60.0}),
    ({"lock_duration": 30_000, "max_stalled_count": 1}, {"lease": 30.0, "max_crashes": 2}),
    ({"maxStalledCount": 0}, {"max_crashes": 1}),
    ({"limiter": {"max": 10, "duration": 1000}}, {"rate": Rate(10, per=1.0)}),
    ({"removeOnComplete": {"count": 9}}, {"keep_completed": Keep(count=9)}),
    ({"remove_on_fail": False}, {"keep_failed": True}),
    (QueueProfile.HEAVY, {"profile": Profile.HEAVY}),
    ("light", {"profile": Profile.LIGHT}),
    ({"profile": "video"}, {"profile": "video"}),
    ({"autorun": False}, {}),
    ({"settings": {"lockDuration": 1000}, "concurrency": 2}, {"lease": 1.0, "concurrency": 2}),
    (
        {"concurrency": 1, "lockDuration": 3_600_000, "stalledInterval": 300_000, "maxStalledCount": 1},
        {
            "concurrency": 1, "lease": 3600.0, "max_crashes": 2,
            "profile": Profile(name="bull", concurrency=1, lease=3600.0, stalled_check=300.0),
        },
    ),
    (
        {"profile": QueueProfile.LIGHT, "stalledInterval": 30_000},
        {"profile": Profile(name="light", concurrency=50, lease="30s", stalled_check=30.0)},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("said", "ours"), WORKER_SHAPES, ids=str)
def test_worker_options_are_options_of_the_queue(said: Any, ours: dict[str, Any]) -> None:
    parsed = parse_bull_worker_options(said)
    assert parsed == ours
    options.parse("queue", parsed)
    assert parsed.keys() <= get_type_hints(QueueOptions).keys()


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"concurency": 5}, "did you mean 'concurrency'"),
        ({"autorun": True}, r"call run\(\)"),
        ({"lockRenewTime": 15_000}, "renewed by itself"),
        ({"connection": {}}, "REDIS_URL"),
        ({"prefix": "x"}, "QUEUEKIT_NAMESPACE"),
        ({"lockDuration": "60s"}, "milliseconds"),
        ({"limiter": {"max": 1}}, "'duration'"),
        ({"concurrency": 0.5}, "whole number"),
        ({"profile": "video", "stalledInterval": 1000}, "stalled_check"),
    ],
)
def test_worker_options_that_cannot_be_are_refused(said: Any, match: str) -> None:
    with pytest.raises(InvalidOption, match=match):
        parse_bull_worker_options(said)


def test_limits_of_groups_come_later() -> None:
    with pytest.raises(Unsupported, match=r"queuekit 0\.2"):
        parse_bull_worker_options({"limiter": {"max": 1, "duration": 1, "groupKey": "user"}})


def test_the_names_of_priorities_and_profiles_are_ours() -> None:
    assert QueuePriority is Priority
    assert QueueProfile is Profile
    assert {p.name: (p.concurrency, parse_duration(p.lease)) for p in (Profile.LIGHT, Profile.HEAVY)} == {
        "light": (50, 30_000), "heavy": (1, 3_600_000),
    }  # fmt: skip


def test_the_options_hold_when_the_job_runs() -> None:
    with TestKit() as kit:

        @kit.task("fails", queue="q")
        def fails() -> None:
            raise ValueError("no")

        said = parse_bull_options({"attempts": 2, "backoff": {"type": "exponential", "delay": 2000}, "delay": 1000})
        job = kit.queue("q").enqueue("fails", **said)
        assert kit.drain() == []
        kit.clock.travel(seconds=1)
        kit.drain()
        found = job.get()
        assert found is not None
        assert found.run_at == kit.clock.now() + timedelta(seconds=2)
        kit.clock.travel(seconds=2)
        kit.drain()
        assert job.status() == "failed"
