"""A store of the move loses its last writes, as in a failover to a replica that had not heard of them."""

from __future__ import annotations

import os
import random

import pytest

from queuekit.move import Phase, move, resume
from tests.move.sim import Mover, Plan, Scene

SEEDS = range(int(os.environ.get("QUEUEKIT_MOVES", "1")) * 40)


@pytest.mark.parametrize("killed", [False, True])
async def test_what_a_source_has_again_after_a_failover_does_not_run_twice(killed: bool) -> None:
    rolled = 0
    for seed in SEEDS:
        draw = random.Random(seed)
        scene = Scene(seed, traceless=0)  # what runs and leaves nothing behind in that moment, nobody can name
        scene.fill(30)
        keep = draw.randrange(8, 50)
        roll = keep + draw.randrange(1, 70)
        mover = Mover(scene, Plan(keep=keep, roll=roll, at=roll if killed else None, after=True))
        report = await mover.run(move)
        if report is None:
            report = await Mover(scene, Plan(faults=0.03)).run(resume)
        assert report is not None
        if scene.ended_behind_the_mover() or report.queues[0].phase is Phase.SWEEP:
            continue  # it rolled back when all was over
        queue, scene.resting = report.queues[0], ""
        # The source gave a key or an id away again, or fired a slot again that it had fired and forgotten.
        clashes = {
            clash.id
            for clash in queue.clashes
            if clash.why == "key" or clash.id.startswith(("often@", "seldom@", "own"))
        }
        scene.drain(clashes)
        rolled += mover.rolled
        for name in queue.ran_on_both:
            assert {run.store for run in scene.history.runs[name]} == {"here", "there"}, (seed, name)
        try:
            scene.judge(both={*queue.ran_on_both, *clashes}, exact=not mover.rolled)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, kept at {keep}, rolled at {roll}: {report}\n{error}") from error
    assert rolled > 15
