"""Schedules on the model store under trouble: a few thousand slots of what `python -m tests.torture.slots` does."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from queuekit.runtime import firing
from queuekit.testing.model import schedules
from tests.torture.slots import Size, run

SMALL = Size(slots=8000, schedulers=5, editors=2, schedules=16)
LEAST = Size(slots=2000, schedulers=3, editors=2, schedules=12)


@pytest.mark.parametrize("seed", [1, 2])
def test_every_slot_fires_once_whoever_dies_and_edits_meanwhile(seed: int) -> None:
    breaches, figures = run(SMALL, seed)
    print(json.dumps(figures))
    assert not breaches, "\n".join(breaches[:20])
    assert int(str(figures["of_fire"])) > 10


def test_the_judge_sees_a_slot_that_fires_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = schedules.Schedules._fire

    def blind(self: Any, q: Any, one: Any) -> Any:
        stored = q.schedules.get(one.id)
        return plain(self, q, one if stored is None else replace(one, rev=stored.rev))

    monkeypatch.setattr(schedules.Schedules, "_fire", blind)
    breaches, _ = run(LEAST, 1)
    assert any("before its time" in breach or "no such slot" in breach for breach in breaches)


def test_the_judge_sees_a_slot_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = firing.Firer._fill

    def careless(self: Any, plans: Any) -> None:
        plain(self, plans)
        for plan in plans:
            plan.jobs = plan.jobs[:50]

    monkeypatch.setattr(firing.Firer, "_fill", careless)
    breaches, _ = run(LEAST, 1)
    assert any("goes on at" in breach for breach in breaches)
