"""The mover dies before and after each of its calls, with clients at work on both sides; the next one ends the move."""

from __future__ import annotations

import os

import pytest

from queuekit.move import abort, move, resume
from tests.move.sim import Mover, Plan, Scene

SEEDS = range(int(os.environ.get("QUEUEKIT_MOVES", "1")))  # each seed kills at every call: 5 s


async def _crossed(seed: int, plan: Plan) -> tuple[Scene, Mover]:
    scene = Scene(seed)
    scene.fill(30)
    mover = Mover(scene, plan)
    report = await mover.run(move)
    if report is None:
        again = Mover(scene, Plan(faults=0.05))
        report = await again.run(resume)
    assert report is not None
    assert report.agrees, report
    scene.drain()
    return scene, mover


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_queue_moves_while_everybody_works(seed: int) -> None:
    scene, mover = await _crossed(seed, Plan())
    scene.judge()
    moved = [call for call in mover.calls if call == "here.confirm"]
    assert len(moved) > 4


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_next_mover_ends_what_a_killed_one_began(seed: int, after: bool) -> None:
    _, whole = await _crossed(seed, Plan())
    kills = 0
    for at in range(len(whole.calls)):
        scene, mover = await _crossed(seed, Plan(at=at, after=after))
        try:
            scene.judge()
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}, killed {'after' if after else 'before'} call {at}: {mover.calls[-1]}: {error}"
            ) from error
        kills += mover.dead
    assert kills > 40


async def _turned(seed: int, at: int, plan: Plan) -> tuple[Scene, Mover | None]:
    """A move that died before it opened, aborted by a mover that may die as well."""
    scene = Scene(seed)
    scene.fill(30)
    if await Mover(scene, Plan(at=at)).run(move) is not None or scene.opened():
        return scene, None
    turning = Mover(scene, plan)
    report = await turning.run(abort)
    if report is None:
        report = await Mover(scene, Plan(faults=0.05)).run(abort)
    assert report is not None
    assert report.agrees, report
    scene.drain()
    return scene, turning


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_abort_brings_everything_back_from_wherever_the_move_was(seed: int) -> None:
    turned = 0
    for at in range(100):
        scene, turning = await _turned(seed, at, Plan())
        if scene.opened():
            break
        if turning is not None:
            scene.judge("here", begun=at > 0)
            turned += 1
    assert turned > 20


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_row_of_killed_movers_ends_somewhere_and_so_do_the_jobs(seed: int) -> None:
    """Killed again and again, requests and replies lost, resumed, or aborted where that may still be."""
    died = aborted = 0
    for n in range(25):
        scene = Scene(1000 * seed + n)
        scene.fill(30)
        draw, begun, final = scene.random, move, "there"
        for _ in range(draw.randrange(2, 6)):
            mover = Mover(scene, Plan(at=draw.randrange(60), after=draw.random() < 0.5, faults=0.05))
            report = await mover.run(begun)
            if report is not None:
                break
            died += 1
            begun = resume
        else:
            if draw.random() < 0.5 and not scene.opened() and scene.arriving():
                begun, final = abort, "here"
                aborted += 1
            report = await Mover(scene, Plan(faults=0.05)).run(begun)
        assert report is not None
        assert report.agrees, (scene.seed, report)
        scene.drain()
        try:
            scene.judge(final)
        except AssertionError as error:
            raise AssertionError(f"seed {scene.seed}: {error}") from error
    assert died > 20
    assert aborted > 0
