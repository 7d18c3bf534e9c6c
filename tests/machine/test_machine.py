"""Each store against the model, and stores against each other: random steps, with faults below the verbs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from queuekit.testing.machine import replay
from queuekit.testing.machine.duel import Plan, Tally
from tests.machine.budget import PATIENCE, TRIES, compare
from tests.machine.kept import KEPT
from tests.machine.sides import duels, maker

pytestmark = pytest.mark.timeout(PATIENCE)


@dataclass(frozen=True, slots=True)
class Case:
    """One machine, and its runs in CI."""

    stores: tuple[str, ...]
    runs: int
    blocking: bool = True
    moving: bool = False

    @property
    def name(self) -> str:
        return "-".join(self.stores) + ("" if self.blocking else "-async") + ("-moving" if self.moving else "")


CASES = (
    Case(("sqlite",), 30), Case(("redis",), 30), Case(("mongo",), 8), Case(("redis", "mongo"), 4),
    Case(("redis", "sqlite"), 10), Case(("redis",), 6, blocking=False), Case(("mongo",), 3, blocking=False),
    Case(("sqlite",), 4, blocking=False), Case(("sqlite",), 10, moving=True), Case(("redis",), 10, moving=True),
    Case(("mongo",), 3, moving=True),
)  # fmt: skip
STORES = ("sqlite", "redis", "mongo")


def cases() -> list[Any]:
    return [pytest.param(case, id=case.name, marks=pytest.mark.store(case.stores[-1])) for case in CASES]


@pytest.mark.parametrize("case", cases())
def test_random_steps_have_one_meaning(case: Case, request: pytest.FixtureRequest) -> None:
    makers = [maker(name, request) for name in case.stores]
    compare(lambda tally: duels(makers, tally, blocking=case.blocking), case.name, case.runs, moving=case.moving)


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("store", [pytest.param(name, marks=pytest.mark.store(name)) for name in STORES])
def test_a_run_that_once_showed_a_difference_shows_none(store: str, name: str, request: pytest.FixtureRequest) -> None:
    tally = Tally()
    for _ in range(2 * TRIES):  # a run that was too slow is made again
        replay(duels([maker(store, request)], tally)(Plan().tidy), KEPT[name])
        if tally.given_up < tally.runs:
            return
    pytest.fail(f"this machine is too slow to compare times: {tally}")
