"""What becomes of a schedule that is due: which slots fire, which are missed, and what comes next."""

from __future__ import annotations

from typing import Any

import pytest

from queuekit.domain.schedule import FIRE_MAX
from queuekit.domain.timetable import Timetable, Turn
from queuekit.domain.timetable.table import SKIPPED_MAX

MINUTE = 60_000
NOW = 29_883_333 * MINUTE


def turn(next: int, fired: int = 0, **rule: Any) -> Turn:
    """Of a rule of every minute whose slot `next` minutes before now is due; half a minute behind the latest slot."""
    table = Timetable.parse({"every": "1m"} | rule, where="a test")
    return table.turn(NOW - next * MINUTE, fired, NOW + MINUTE // 2, NOW - 1_000_000 * MINUTE)


def ago(*minutes: int) -> tuple[int, ...]:
    return tuple(NOW - minute * MINUTE for minute in minutes)


@pytest.mark.parametrize(
    ("next", "fired", "rule", "slots", "next_at", "skipped"),
    [
        (-1, 0, {}, (), -1, 0),  # not due yet
        (0, 0, {}, (0,), -1, 0),
        (5, 0, {}, (0,), -1, 5),
        (5, 0, {"missed": "skip"}, (0,), -1, 5),  # half a minute is not too late
        (5, 0, {"missed": "skip", "grace": "20s"}, (), -1, 6),
        (5, 0, {"grace": "20s"}, (), -1, 6),
        (5, 0, {"grace": "30s"}, (0,), -1, 5),
        (5, 0, {"missed": "all"}, (5, 4, 3, 2, 1, 0), -1, 0),
        (5, 0, {"missed": "all", "grace": "2m"}, (1, 0), -1, 4),
        (5, 0, {"missed": "all", "grace": "20s"}, (), -1, 6),
        (5, 0, {"missed": "all", "count": 3}, (5, 4, 3), None, 0),
        (5, 2, {"missed": "all", "count": 3}, (5,), None, 0),
        (0, 2, {"count": 3}, (0,), None, 0),
        (0, 1, {"count": 3}, (0,), -1, 0),
        (0, 3, {"count": 3}, (), None, 0),
        (0, 4, {"count": 3}, (), None, 0),
        (5, 0, {"missed": "skip", "grace": "20s", "count": 1}, (), -1, 6),  # a slot that is missed is not counted
        (500, 0, {}, (0,), -1, SKIPPED_MAX),
        (500, 0, {"missed": "all"}, tuple(range(500, 400, -1)), 400, 0),
    ],
)
def test_a_turn(
    next: int, fired: int, rule: dict[str, Any], slots: tuple[int, ...], next_at: int | None, skipped: int
) -> None:
    following = None if next_at is None else NOW - next_at * MINUTE
    assert turn(next, fired, **rule) == Turn(slots=ago(*slots), next_at=following, skipped=skipped)
    assert len(slots) <= FIRE_MAX


def test_a_slot_at_the_end_fires_though_the_end_has_passed_and_is_the_last() -> None:
    table = Timetable.parse({"cron": "* * * * *", "end": "2026-10-26T21:33:00Z"}, where="a test")
    end = table.end
    assert end is not None
    assert table.turn(end - MINUTE, 0, end + 90 * MINUTE, 0) == Turn(slots=(end,), next_at=None, skipped=1)


def test_one_moment_fires_once_however_late() -> None:
    table = Timetable.parse({"at": "2026-10-26T21:33:00Z"}, where="a test")
    slot = table.after(0, 0)
    assert slot is not None
    assert table.turn(slot, 0, slot + 10**9, 0) == Turn(slots=(slot,), next_at=None, skipped=0)


def test_a_moment_that_is_no_slot_of_the_rule_fires_and_the_rule_goes_on() -> None:
    """As with a schedule that begins at once, or whose rule was changed by an older process."""
    table = Timetable.parse({"cron": "0 * * * *"}, where="a test")
    odd = 495_000 * 60 * MINUTE + 12_345
    assert table.turn(odd, 0, odd + 5, 0) == Turn(slots=(odd,), next_at=495_001 * 60 * MINUTE, skipped=0)


def test_an_outage_of_a_year_of_seconds_is_found_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Timetable.parse({"cron": "* * * * * *"}, where="a test")
    asked = 0
    after = Timetable.after

    def counted(self: Timetable, moment: int, anchor: int) -> int | None:
        nonlocal asked
        asked += 1
        return after(self, moment, anchor)

    monkeypatch.setattr(Timetable, "after", counted)
    assert table.turn(NOW - 365 * 86_400_000, 0, NOW + 5, 0).slots == (NOW,)
    assert asked < SKIPPED_MAX + 100
