"""What `queuekit migrate` says of schedules, to people and to scripts; how they move is tried in tests/move."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from queuekit.cli import moves
from queuekit.move import Phase, Plan, QueuePlan, QueueReport, QueueVerdict, Report, Standing, Verdict

if TYPE_CHECKING:
    from queuekit.cli.session import Session
    from queuekit.cli.sides import Pair

PAIR = cast("Pair", SimpleNamespace(source="sqlite:///a", source_by="--from", target="sqlite:///b", target_by="--to"))


def session(*, json: bool = False) -> Session:
    return cast("Session", SimpleNamespace(json=json, quiet=False))


def test_a_plan_tells_how_many_schedules_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    mine = QueuePlan(queue="mail", standing=Standing.HERE, schedules=1200, schedules_at_target=2)
    plan = Plan(source="a", target="b", queues=[mine, QueuePlan(queue="none", standing=Standing.HERE)])
    assert moves.tell_plan(session(), PAIR, plan) == 0
    told = "".join(capsys.readouterr())
    assert "mail: 1,200 schedules, 2 at the target already" in told
    assert "none: " not in told
    moves.tell_plan(session(json=True), PAIR, plan)
    said = json.loads(capsys.readouterr().out)["queues"]["mail"]
    assert (said["schedules"], said["schedules_at_target"]) == (1200, 2)


def test_a_report_tells_how_many_came_along_and_which_were_apart(capsys: pytest.CaptureFixture[str]) -> None:
    mine = QueueReport(queue="mail", phase=Phase.DONE, schedules=3)
    report = Report(source="a", target="b", queues=[mine])
    assert moves.tell_report(session(), report) == 0
    assert ["mail", "schedules", "3", "-", "-", "-"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    mine.schedules_apart = ["digest"]
    assert moves.tell_report(session(), report) == 1
    told = "".join(capsys.readouterr())
    assert "mail/digest: this schedule was another at each side: the one that was written last stayed" in told
    assert "both sides do NOT agree" in told
    assert moves.tell_report(session(json=True), report) == 1
    said = json.loads(capsys.readouterr().out)["queues"]["mail"]
    assert (said["schedules"], said["schedules_apart"], said["agrees"]) == (3, ["digest"], False)


def test_a_comparison_shows_both_numbers_and_names_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    mine = QueueVerdict(queue="mail", standing=Standing.MOVED, target_schedules=3)
    verdict = Verdict(source="a", target="b", queues=[mine])
    assert moves.tell_verdict(session(), verdict) == 0
    assert ["mail", "schedules", "0", "3"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    mine.source_schedules, mine.schedules_apart, mine.differences = 1, ["digest"], 1
    assert moves.tell_verdict(session(), verdict) == 1
    told = "".join(capsys.readouterr())
    assert "mail/digest: this schedule differs, is missing, or was left behind" in told
    assert "both sides do NOT agree: 1 differences" in told
