"""A few minutes of schedules in seconds: what CI runs of `python -m tests.torture.hour`."""

from __future__ import annotations

import json

import pytest

from tests.torture.conftest import FULL, each_store
from tests.torture.hour import Found, Hour, _one_at_once, judge, run

SMALL = Hour(seconds=4.0, times=60, workers=3, editors=3, every=0.4, longest=0.4, absence=0.3)


@each_store
@pytest.mark.timeout(400)
def test_no_slot_fires_twice_and_none_is_missed_whoever_is_killed_or_paused(store: str) -> None:
    hour = Hour(times=20 if store == "mongo" else 60) if FULL else SMALL
    breaches, figures = run(store, hour, seed=39)
    print(json.dumps(figures))
    assert not breaches, "\n".join(breaches[:20])


def test_the_judge_sees_what_is_not_there() -> None:
    breaches = judge(Found(twice=["each@2026-11-22T09:00:00Z"]), 0)
    assert "each@2026-11-22T09:00:00Z was fired twice" in breaches
    assert "cron is gone" in breaches


@pytest.mark.parametrize(
    ("first", "second", "breaches"),
    [
        ((1000, 8000), (7000, 9000), 1),
        ((1000, 6500), (7000, 9000), 0),
        ((9500, 6500), (7000, 9700), 0),  # who fired the first was paused, and heard of it when all was over
    ],
)
def test_slots_that_skip_are_compared_in_their_order(
    first: tuple[int, int], second: tuple[int, int], breaches: int
) -> None:
    names = "alone@2026-11-22T09:00:00Z", "alone@2026-11-22T09:00:06Z"
    found = Found(jobs={"alone": {name: {} for name in names}})
    for name, (fired, ended) in zip(names, (first, second), strict=True):
        found.fired[name] = fired
        found.ends[name] = [ended]
    assert len(_one_at_once("alone", found)) == breaches
