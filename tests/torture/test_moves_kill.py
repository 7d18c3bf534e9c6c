"""A mover killed before and after each of its calls, with producers and workers on both sides, and taken up again.

`make torture-move` does it for every pair of stores and prints the table; here the model store does it whole, and a
pair of real ones, another each day, at a few points.
"""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from tests.torture.moves.__main__ import matrix
from tests.torture.moves.ground import PAIRS, ModelGround
from tests.torture.moves.kill import MODES, Table, names, record, strike

pytestmark = pytest.mark.timeout(300)
TODAY = dt.datetime.now(tz=dt.UTC).toordinal()
VERBS = {"authority.arriving.to", "authority.moving.to", "checkout", "import_batch", "confirm", "authority.gone.to"}


@pytest.mark.parametrize("scenario", sorted(MODES))
async def test_on_the_model_every_call_is_survived(scenario: str) -> None:
    ground, table, name = ModelGround(), Table(calls=3), names(scenario)
    await record(ground, table, [scenario], name)
    aims = table.points_of(ground.name, scenario)
    assert {aim.site.step for aim in aims} >= (VERBS if scenario == "move" else {"import_batch"})
    await strike(ground, table, [(scenario, aim) for aim in aims], name, lanes=6)
    assert [str(breach[-1]) for breach in table.breaches] == []
    assert table.missed() == []
    assert len(table.hit) == len(aims) > 40
    print(table)


def test_between_real_stores_some_calls_are_survived() -> None:
    """Some points of one pair; which, the day decides. A move with MongoDB works as long as two without."""
    pair, scenario = PAIRS[TODAY % 6], sorted(MODES)[TODAY // 6 % 3]
    most, movers = (3, 1) if "mongo" in pair else (8, 3)
    print(pair, scenario, TODAY)
    table = asyncio.run(matrix([pair], [scenario], lanes=4, most=most, movers=movers, seed=TODAY // 18))
    assert [str(breach[-1]) for breach in table.breaches] == []
    assert table.missed() == []
    assert len(table.hit) == most
