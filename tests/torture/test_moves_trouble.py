"""What else may happen in the middle of a move, on whichever stores it can happen to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from queuekit.testing.faults import Faults
from tests.torture.conftest import FULL
from tests.torture.moves.ground import ModelGround, RealGround, grounds
from tests.torture.moves.judge import SOURCE, TARGET, Rule
from tests.torture.moves.kill import Played, one_move, play
from tests.torture.moves.load import GIVEN_BACK, LONG
from tests.torture.moves.sites import Aim, Site
from tests.torture.moves.trouble import (
    STEPS,
    Replicated,
    at,
    contended,
    fails_over,
    kits_contend,
    server_dies,
    worker_dies,
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)


def verdict(played: Played) -> list[str]:
    return [str(breach) for breach in played.breaches]


async def test_jobs_that_run_across_the_move_end_where_they_began() -> None:
    """The one arrives completed; the other, given back as its worker ends, arrives waiting and runs at the target."""
    played = await one_move(ModelGround(), "q", "move", None, 1)
    assert verdict(played) == []
    runs = {LONG + "0": [SOURCE], GIVEN_BACK: [SOURCE, TARGET]}
    assert {job: [run.side for run in played.load.history.runs if run.job == job] for job in runs} == runs


async def test_a_job_of_a_dead_worker_comes_back_and_runs_at_the_target() -> None:
    ground = ModelGround()
    played = await play(ground, "q", 1, worker_dies(ground))
    assert verdict(played) == []
    crashed = {run.job for run in played.load.history.runs if run.crashed}
    assert crashed
    again = {run.job for run in played.load.history.runs if run.job in crashed and run.side == TARGET}
    assert again == crashed
    assert {one.crashes for one in played.load.history.final if one.job in crashed} == {1}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scenario", ["move", "abort"])
async def test_a_mover_over_lost_late_and_doubled_calls_moves_everything(scenario: str, seed: int) -> None:
    faults = Faults(seed=seed)
    if seed == 0:
        faults.lose_reply(every=2)
    elif seed == 1:
        faults.late(every=3, after=2)
    elif seed == 2:
        faults.duplicate(every=2, answer="last")
    else:
        faults.chaos(0.2)
    played = await one_move(ModelGround(faults), "q", scenario, None, seed)
    faults.check(10)
    assert verdict(played) == [], faults


@pytest.mark.parametrize("by", ["stores", "kits"])
async def test_one_id_and_one_key_asked_for_at_both_sides_at_once_are_one_job(by: str) -> None:
    done: list[int] = []
    async with grounds(["sqlite-redis"]) as made:
        ground = made["sqlite-redis"]
        ground.rate = 3 if FULL else 30
        contest = contended if by == "stores" else kits_contend
        played = await play(ground, "q", 1, contest(ground, 4000 if FULL else 300, done))
    assert verdict(played) == []
    asked = Counter(one.job for one in played.load.history.asked if one.job.startswith("cx"))
    assert done[0] > 30
    assert set(asked.values()) == {2}
    receipts = [(one.side, one.created) for one in played.load.history.asked if one.job.startswith("cx")]
    assert {(SOURCE, True), (TARGET, False)} & set(receipts)


@pytest.mark.parametrize("aim", STEPS if FULL else STEPS[3:7:2], ids=str)
@pytest.mark.parametrize("side", [SOURCE, TARGET])
async def test_a_server_that_dies_in_the_middle_costs_time_only(side: str, aim: Aim) -> None:
    name = "redis-sqlite" if side == SOURCE else "sqlite-redis"
    async with grounds([name]) as made:
        ground = made[name]
        server = ground.servers[side]
        played = await play(ground, "q", 1, server_dies(ground, server, aim))
    assert verdict(played) == []


async def test_a_mover_killed_inside_a_transaction_keeps_the_next_one_out_for_no_time() -> None:
    """The server would hold what it wrote for 60 to 90 s; the next mover gives up after 30."""
    inside = Aim(Site(TARGET, "import_batch", "flow.bring", "bulk", 2), after=False)
    async with grounds(["redis-mongo"]) as made:
        played = await one_move(made["redis-mongo"], "q", "move", inside, 1)
    assert [one for one in verdict(played) if Rule.OVERTAKEN.value not in one] == []  # order: `make torture-move`
    assert [life.killed for life in played.lives] == [True, False]


UNTOLD = at(SOURCE, "authority.moving.to", after=False)
TOLD = at(SOURCE, "authority.moving.to")


@pytest.mark.parametrize(
    ("cut", "stop"),
    [
        pytest.param(TOLD, at(SOURCE, "confirm", 3), id="told"),
        pytest.param(UNTOLD, at(SOURCE, "confirm", 3), id="untold"),
        pytest.param(UNTOLD, at(SOURCE, "checkout.history"), id="untold-and-open"),
    ],
)
async def test_a_source_that_fails_over_to_a_replica_without_the_tail_loses_nothing(
    cut: Aim, stop: Aim, tmp_path: Path
) -> None:
    """Told of the move, the new primary gives nothing out. Untold, it gives jobs out again: where the target has run
    them too, they are named. Where it has not, the source's run is the one that counts."""
    with Replicated() as redis:
        urls = {SOURCE: redis.primary.url, TARGET: f"sqlite:///{tmp_path}/target.db"}
        ground = RealGround("redis-sqlite", urls, tmp_path, "failover")
        await ground.open()
        try:
            script = fails_over(ground, redis, cut, stop, works_between=cut is UNTOLD)
            played = await play(ground, "q", 1, script)
        finally:
            await ground.close()
    last, opened = played.lives[-1], stop.site.step != "confirm"
    assert [one for one in verdict(played) if Rule.AGREED.value not in one] == [], last
    assert last.agreed is not opened, last
    assert bool(last.doubled) is opened
    both = {
        run.job
        for run in played.load.history.runs
        if run.side == SOURCE and run.given > played.load.failed_over
        for other in played.load.history.runs
        if other.job == run.job and other.side == TARGET and other.given < played.load.failed_over
    }
    assert bool(both) is opened, "a failover that makes nothing run twice proves nothing"
    assert both <= last.doubled
