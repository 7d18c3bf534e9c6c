"""An outcome that the store answers with an error each time holds up no other, and its job ends with a reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from queuekit import QueueKit
from queuekit.domain.outcome import Ask, Exchange, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.errors import StoreError, StoreUnavailable
from queuekit.runtime.worker import Worker
from tests.runtime.conftest import WAIT, working

JOBS = 6
Strange = Callable[[Sequence[Outcome]], Exception | None]


def spoil(kit: QueueKit, strange: Strange) -> list[int]:
    """Let exchanges fail as `strange` says; how many outcomes each failed one carried."""
    failed: list[int] = []
    real = kit.async_store

    async def store() -> Any:
        made = await real()
        exchange = made.exchange

        async def spoiled(queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
            error = strange(outcomes)
            if error is not None:
                failed.append(len(outcomes))
                raise error
            reply: Exchange = await exchange(queue, op, outcomes, ask)
            return reply

        made.exchange = spoiled  # type: ignore[method-assign]
        return made

    kit.async_store = store  # type: ignore[method-assign]
    return failed


async def states(kit: QueueKit) -> dict[str, State | None]:
    found = await (await kit.async_store()).get("default", [f"j{n}" for n in range(JOBS)])
    return {job.id: job.state for job in found if job is not None}


async def ran(kit: QueueKit, bad: str) -> list[str]:
    """Run the jobs in one claim; the result of `bad` is one the store cannot take."""
    done: list[str] = []

    @kit.task(keep_completed=True, keep_failed=True)
    async def work(name: str) -> str:
        done.append(name)
        return "bad" if name == bad else "good"

    await kit.aenqueue_many([work.using(id=f"j{n}").make(name=f"j{n}") for n in range(JOBS)])
    async with working(kit, concurrency=JOBS) as worker:
        await _until(worker, lambda: len(done) == JOBS and idle(worker))
    return done


def idle(worker: Worker) -> bool:
    return all(not c.slots.occupied and not c._unsettled() and c._request is None for c in worker._consumers)


async def _until(worker: Worker, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not true():  # noqa: ASYNC110  no event tells it
            await asyncio.sleep(0.01)


async def test_one_outcome_the_store_cannot_take_fails_its_job_and_no_other(kit: QueueKit) -> None:
    def strange(outcomes: Sequence[Outcome]) -> Exception | None:
        return StoreError("no such bytes") if any(o.result and b"bad" in o.result for o in outcomes) else None

    failed = spoil(kit, strange)
    assert sorted(await ran(kit, "j2")) == [f"j{n}" for n in range(JOBS)]
    assert await states(kit) == {f"j{n}": State.FAILED if n == 2 else State.COMPLETED for n in range(JOBS)}
    assert len(set(failed[:3])) == 1
    assert failed[0] > 1
    assert failed[3:] == [1] * 3
    (job,) = await (await kit.async_store()).get("default", ["j2"])
    assert job is not None
    assert b"no such bytes" in job.errors[-1]


async def test_an_outcome_the_store_takes_in_no_form_is_given_up_loudly(
    kit: QueueKit, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "queuekit")
    failed = spoil(kit, lambda outcomes: ValueError("odd") if any(o.id == "j2" for o in outcomes) else None)
    await ran(kit, "")
    assert await states(kit) == {f"j{n}": State.ACTIVE if n == 2 else State.COMPLETED for n in range(JOBS)}
    assert failed[0] > 1
    assert failed[3:] == [1] * 6
    assert [record.levelname for record in caplog.records if "default/j2" in record.getMessage()] == ["CRITICAL"]


@pytest.mark.parametrize("error", [StoreError("the server is broken"), StoreUnavailable("away", outcome="unknown")])
async def test_a_store_that_answers_nobody_gets_the_same_request_until_it_does(kit: QueueKit, error: Exception) -> None:
    kinds: list[Kind] = []
    tries = 0

    def strange(outcomes: Sequence[Outcome]) -> Exception | None:
        nonlocal tries
        kinds.extend(outcome.kind for outcome in outcomes)
        tries += 1 if outcomes else 0
        return error if 0 < tries < 6 else None  # the empty exchange fails as well

    failed = spoil(kit, strange)
    await ran(kit, "")
    assert await states(kit) == {f"j{n}": State.COMPLETED for n in range(JOBS)}
    carried = [n for n in failed if n]
    assert carried == carried[:1] * 5
    assert carried[0] > 1
    assert set(kinds) == {Kind.COMPLETED}
