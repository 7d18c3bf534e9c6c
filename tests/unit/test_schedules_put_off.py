"""Schedules that a clock far ahead has put off: brought back when they are put, declared or resumed, and no others."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queuekit import QueueKit
from queuekit.domain.scheduled import Definition
from queuekit.producing.scheduling import declaring
from queuekit.store.direct import direct
from queuekit.testing import TestKit, VirtualClock
from tests.unit.test_schedules import declare, fire_slot, send, store, stored

NOW = datetime(2026, 11, 22, 9, 0, 1, tzinfo=UTC)
FAR = timedelta(days=730)
RULES: list[dict[str, Any]] = [
    {"every": "1h"},
    {"every": "1h", "start": NOW - timedelta(days=3, minutes=10), "jitter": "5m"},
    {"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"},
    {"cron": "0 9 * * *", "end": NOW + timedelta(days=365)},  # it was over, as it seemed
    {"every": "1 day", "count": 12, "missed": "skip"},
    {"trigger": {"calendar": {"months": 1, "hour": 9}}},
]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def kit(clock: VirtualClock) -> TestKit:
    kit = TestKit(clock=clock)

    @kit.task(queue="mail")
    def send(to: str = "team") -> None: ...

    return kit


def set_back(kit: TestKit, by: timedelta) -> None:
    """The store's clock was ahead by so much, and workers went by it."""
    kit.clock.travel(by)
    kit.drain()
    at = kit.clock.now() - by
    kit.world.now = lambda: round(at.timestamp() * 1000)


def next_of(kit: TestKit, id: str = "d") -> datetime | None:
    said = kit.schedules.get(id)
    assert said is not None
    return said.next_at


def compared(kit: QueueKit) -> declaring.Written:
    return kit.run(lambda at: declaring.compared(kit, at))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_put_a_declaration_and_a_resumption_bring_it_back(kit: TestKit, rule: dict[str, Any]) -> None:
    kit.schedule("declared", send(kit), **rule)
    declare(kit)
    for name in ("put", "resumed", "edited", "paused"):
        kit.schedules.put(name, send(kit), **rule)
    right = {one.id: one.next_at for one in kit.schedules.all()}
    set_back(kit, FAR)
    assert not [one.id for one in kit.schedules.all() if one.next_at == right[one.id]]

    kit.schedules.put("put", send(kit), **rule)
    assert compared(kit).written == ["declared"]
    assert declare(kit).written == ["declared"]
    assert kit.schedules.resume("resumed")
    kit.schedules.put("edited", send(kit), **{**rule, "missed": "all"})
    kit.schedules.pause("paused")
    kit.schedules.resume("paused")
    assert {one.id: one.next_at for one in kit.schedules.all()} == right

    before = {name: stored(kit, name) for name in right}
    kit.schedules.put("put", send(kit), **rule)
    assert not kit.schedules.resume("resumed")
    assert (compared(kit).unchanged, declare(kit).unchanged) == (["declared"], ["declared"])
    assert {name: stored(kit, name) for name in right} == before


def test_a_schedule_that_is_new_under_a_clock_far_ahead_begins_now(kit: TestKit) -> None:
    kit.world.now = lambda: round((NOW + FAR).timestamp() * 1000)
    kit.schedules.put("d", send(kit), every="1h")
    kit.schedules.put("c", send(kit), cron="30 * * * *")
    kit.world.now = lambda: round(NOW.timestamp() * 1000)
    said = kit.schedules.put("d", send(kit), every="1h")
    assert (said.next_at, said.anchor) == (NOW + timedelta(hours=1), NOW)
    assert kit.schedules.put("c", send(kit), cron="30 * * * *").next_at == NOW.replace(minute=30, second=0)


def test_a_clock_set_back_by_less_than_a_day_fires_no_slot_again(kit: TestKit) -> None:
    kit.schedule("d", send(kit), every="1h")
    declare(kit)
    set_back(kit, timedelta(hours=23))
    before = stored(kit, "d")
    kit.schedules.put("d", send(kit), every="1h")
    assert not kit.schedules.resume("d")
    assert declare(kit).unchanged == ["d"]
    assert stored(kit, "d") == before
    kit.schedules.pause("d")
    kit.schedules.resume("d")
    assert next_of(kit) == NOW + timedelta(hours=24)


@pytest.mark.parametrize(
    "rule",
    [
        {"at": NOW + timedelta(days=3)},
        {"every": "1 day", "count": 1},
        {"cron": "0 0 1 1 *"},
        {"every": "365 days", "start": NOW + timedelta(days=300)},
        {"trigger": {"date": {"run_date": "2028-01-01T00:00:00Z"}}},
    ],
    ids=str,
)
def test_what_comes_seldom_or_is_over_stays_as_it_is(kit: TestKit, rule: dict[str, Any]) -> None:
    kit.schedule("d", send(kit), **rule)
    declare(kit)
    for _ in range(3):
        before = stored(kit, "d")
        kit.schedules.put("d", send(kit), **rule)
        assert (compared(kit).unchanged, declare(kit).unchanged) == (["d"], ["d"])
        assert stored(kit, "d") == before
        kit.run_for(days=2)


def test_a_single_moment_that_fired_too_early_does_not_fire_again(kit: TestKit) -> None:
    kit.schedules.put("d", send(kit), at=NOW + timedelta(days=3))
    set_back(kit, FAR)
    kit.schedules.put("d", send(kit), at=NOW + timedelta(days=3))
    assert not kit.schedules.resume("d")
    assert (next_of(kit), stored(kit, "d").fired) == (None, 1)
    said = kit.schedules.put("d", send(kit), at=NOW + timedelta(days=3), overlap="skip")
    assert said.next_at == NOW + timedelta(days=3)  # somebody wants it


def test_a_pause_and_a_count_that_is_reached_stay(kit: TestKit) -> None:
    kit.schedules.put("d", send(kit), every="1h", count=1)
    kit.schedules.put("p", send(kit), every="1h")
    kit.schedules.pause("p")
    set_back(kit, FAR)
    rules: dict[str, dict[str, Any]] = {"d": {"count": 1}, "p": {}}
    for name, more in rules.items():
        before = stored(kit, name)
        kit.schedules.put(name, send(kit), every="1h", **more)
        assert stored(kit, name) == before


def test_a_slot_that_fires_at_that_very_moment_is_not_undone(kit: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who mends has read the record; before he writes, somebody else has mended it, and it has fired."""
    kit.schedules.put("d", send(kit), every="1h")
    fire_slot(kit, "d", NOW + FAR)
    real, calls = store(kit).put_schedule, 0

    async def beaten(queue: str, record: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            await real(queue, replace(stored(kit, "d"), next=record.next))
            kit.world.now = lambda: round((NOW + timedelta(hours=1)).timestamp() * 1000)
            fire_slot(kit, "d", NOW + timedelta(hours=2))
        return await real(queue, record)

    monkeypatch.setattr(store(kit), "put_schedule", beaten)
    said = kit.schedules.put("d", send(kit), every="1h")
    assert (said.next_at, said.fired, calls) == (NOW + timedelta(hours=2), 2, 1)


def test_a_listing_says_that_one_was_put_off(kit: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.clock.now_ms", lambda: round(NOW.timestamp() * 1000))
    kit.schedules.put("d", send(kit), every="1h")
    kit.schedules.put("yearly", send(kit), cron="0 0 1 1 *")
    assert [one.put_off for one in kit.schedules.all()] == [False, False]
    fire_slot(kit, "d", NOW + FAR)
    assert [one.put_off for one in kit.schedules.all()] == [True, False]
    kit.schedules.pause("d")
    assert [one.put_off for one in kit.schedules.all()] == [False, False]


def test_one_that_this_queuekit_cannot_read_is_left_alone(kit: TestKit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    record = stored(kit, "d")
    definition = Definition.load(record.definition)
    assert definition.override is not None
    newer = replace(definition, override=replace(definition.override, rule={"tides": "high"}))
    ahead = round((NOW + FAR).timestamp() * 1000)
    written = direct(store(kit).put_schedule("mail", replace(record, definition=newer.dump(), next=ahead)))
    assert not kit.schedules.resume("d")
    assert stored(kit, "d") == written
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.problem is None, said.put_off) == (False, False)
