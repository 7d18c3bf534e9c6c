"""A worker and its producers over drivers that lose, repeat and delay: every job ends once, and runs as it should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from queuekit import JobContext, QueueKit, State, ids
from queuekit.producing.snapshot import log_line
from queuekit.runtime.worker import Worker
from queuekit.testing import Faults, faulty
from queuekit.testing.proxy import Proxy
from queuekit.testing.servers import RedisServer
from tests.faults.engine import FULL

JOBS = 120
SEEDS = range(1, 21) if FULL else (1, 2)
WAIT = 40  # seconds


@pytest.fixture(params=["sqlite", "redis", "mongo"])
async def kit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueKit]:
    request.node.user_properties.append(("store", request.param))
    url = (
        f"sqlite:///{tmp_path}/jobs.db"
        if request.param == "sqlite"
        else request.getfixturevalue(f"{request.param}_url")
    )
    kit = QueueKit(url, name=f"test-{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:12]}")
    yield kit
    await kit.aclose()


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_job_ends_once_whatever_the_driver_loses(kit: QueueKit, seed: int) -> None:
    runs: Counter[int] = Counter()

    @kit.task(attempts=3, backoff="10ms")
    async def work(ctx: JobContext, n: int) -> int:
        runs[n] += 1
        ctx.progress(0.5)
        ctx.log(f"run {ctx.attempt}")
        await asyncio.sleep(0.03 if n % 10 == 0 else 0)  # some are renewed while they run
        if n % 4 == 0 and ctx.attempt == 1:
            raise ConnectionError("try again")
        return n

    faults = Faults(seed=seed).chaos(0.05)
    async with faulty(kit, faults, least=5), Worker(kit, concurrency=8, grace=5):
        singly = [await work.aenqueue(n) for n in range(JOBS // 3)]
        batch = await kit.aenqueue_many([work.make(n) for n in range(JOBS // 3, 2 * JOBS // 3)])
        plain = await asyncio.to_thread(lambda: [work.enqueue(n) for n in range(2 * JOBS // 3, JOBS)])
        handles = [*singly, *batch, *plain]
        async with asyncio.timeout(WAIT):
            results = [await handle.aresult() for handle in handles]

    assert results == list(range(JOBS))
    assert {n: count for n, count in runs.items() if count != (2 if n % 4 == 0 else 1)} == {}, str(faults)
    store = await kit.async_store()
    jobs = [job for job in await store.get("default", [handle.id for handle in handles]) if job is not None]
    assert {job.state for job in jobs} == {State.COMPLETED}
    lines = [tuple(log_line(line)[1] for line in job.logs) for job in jobs]
    assert lines == [("run 1", "run 2") if n % 4 == 0 else ("run 1",) for n in range(JOBS)]
    counts = await store.count("default")
    assert {state: n for state, n in counts.states.items() if n} == {State.COMPLETED: JOBS}
    if not kit.settings.url.startswith("mongodb"):  # whose totals are statistics: a duplicate of the driver's counts
        totals = counts.totals
        assert (totals.enqueued, totals.completed, totals.retried, totals.crashed) == (JOBS, JOBS, JOBS // 4, 0)


async def test_a_slow_network_loses_no_lease(redis_url: str, redis_server: RedisServer) -> None:
    """As long as a round trip takes less than a sixth of the lease."""
    with Proxy(redis_server.port) as proxy:
        kit = QueueKit(proxy.url(redis_url), namespace=f"t{ids.nonce()[:12]}")
        runs: Counter[int] = Counter()

        @kit.task(attempts=1)
        async def work(n: int) -> int:
            runs[n] += 1
            await asyncio.sleep(4.5)  # longer than the lease
            return n

        await kit.queue("default").aconfigure(lease="4s")
        handles = [await work.aenqueue(n) for n in range(4)]
        proxy.delay = 0.25
        async with Worker(kit, concurrency=4, grace=5):
            async with asyncio.timeout(WAIT):
                assert [await handle.aresult() for handle in handles] == [0, 1, 2, 3]
        counts = await (await kit.async_store()).count("default")
        assert (counts.totals.crashed, runs) == (0, Counter(range(4)))
        proxy.delay = 0
        await kit.aclose()
