"""A worker and its producers over drivers that lose, repeat and delay: every job ends once, and runs as it should."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from queuekit import JobContext, QueueKit, State, clock, ids
from queuekit.domain.timetable import slot_name
from queuekit.producing.snapshot import log_line
from queuekit.runtime.worker import Worker
from queuekit.store.parts import SchedulingStore
from queuekit.testing import Faults, faulty
from queuekit.testing.proxy import Proxy
from queuekit.testing.servers import RedisServer
from tests.faults.engine import FULL

JOBS = 120
SLOTS = 12  # of each schedule
HOUR = 3_600_000
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


@pytest.mark.parametrize("seed", SEEDS)
async def test_two_workers_fire_every_slot_once_whatever_their_drivers_lose(kit: QueueKit, seed: int) -> None:
    runs: Counter[str] = Counter()
    slots, ran = set[str](), asyncio.Event()
    other = QueueKit(kit.settings.url, name="other", namespace=kit.settings.namespace)

    async def work(ctx: JobContext) -> None:
        runs[ctx.job.id] += 1
        if slots <= runs.keys():
            ran.set()

    mine, _ = (one.task("work")(work) for one in (kit, other))
    store = cast("SchedulingStore", await kit.async_store())
    if "schedules" not in store.capabilities.parts:
        pytest.skip("the store declares no schedules")
    begun = clock.now() - timedelta(hours=2 * SLOTS + 0.5)  # the next slot is far away
    for name in ("a", "b", "c"):
        await kit.schedules.aput(name, mine.make(), every="1 hour", start=begun, missed="all")
        (record,) = await store.get_schedules("default", [name])
        assert record is not None
        assert record.next is not None
        first = record.next - SLOTS * HOUR  # nobody was there since
        await store.put_schedule("default", replace(record, next=first))
        slots |= {f"{name}@{slot_name(first + n * HOUR)}" for n in range(SLOTS)}

    faults = Faults(seed=seed)  # of both; the first firing is done without an answer, or comes when others have fired
    (faults.lose_reply if seed % 2 else faults.late)("fire", nth=1)
    faults.chaos(0.3, "fire").chaos(0.3, "due").chaos(0.05)
    async with (
        faulty(kit, faults), faulty(other, faults),
        Worker(kit, concurrency=4, grace=5), Worker(other, concurrency=4, grace=5),
        asyncio.timeout(WAIT),
    ):  # fmt: skip
        await ran.wait()
        for slot in sorted(slots):
            await store.watch("default", slot, WAIT * 1000)
    await other.aclose()

    assert runs == Counter(slots), str(faults)
    for record in await store.schedules("default"):
        assert (record.fired, record.skipped) == (SLOTS, 0)
        assert record.last_job in slots
    counts = await store.count("default")
    assert {state: n for state, n in counts.states.items() if n} == {State.COMPLETED: len(slots)}


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
