"""A worker on a Redis Cluster: ordinary work, scripts that vanish from the server, a slot that moves under it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest
import redis
from queuekit_redis.keys import queue_keys
from queuekit_redis.scripts import SCRIPTS, Script
from redis.crc import key_slot

from queuekit import JobContext, QueueKit
from queuekit.errors import StoreError
from queuekit.store.direct import direct
from tests.contract.cluster import cluster, move_slot, refusals, strict
from tests.runtime.conftest import WAIT, working


@pytest.fixture
def store_kind() -> str:
    return "redis_cluster"


@pytest.fixture
def _strictly(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in strict(store_url).items():
        monkeypatch.setitem(SCRIPTS, name, script)


@pytest.mark.usefixtures("_strictly")
async def test_a_key_that_no_header_declares_fails_on_the_strict_server(kit: QueueKit) -> None:
    port, keys = kit.blocking_store()._port, queue_keys("n", "q")  # type: ignore[attr-defined]  # every Redis store has one
    declared = SCRIPTS["get"].keys
    assert "marker" not in declared
    for hidden, why in ((keys["marker"], "undeclared key"), (b"{elsewhere}:x", "undeclared key")):
        text = SCRIPTS["get"].text.replace(b"local k_jobs", b"redis.call('HGET', '%b', 'x')\nlocal k_jobs" % hidden)
        script = Script("get", text, b"0" * 40, declared, "")
        with pytest.raises(StoreError, match=why):
            direct(port.script(script, [keys[key] for key in declared], []))


@pytest.mark.usefixtures("_strictly")
async def test_a_worker_does_its_work_on_strict_scripts(kit: QueueKit) -> None:
    ran: Counter[str] = Counter()
    done = asyncio.Event()

    @kit.task(attempts=2, backoff=0)
    async def work(ctx: JobContext, name: str) -> str:
        ran[name] += 1
        if name == "fails once" and ctx.attempt == 1:
            raise RuntimeError("once")
        if sum(ran.values()) == 33:
            done.set()
        return name

    handles = [await work.aenqueue(str(n)) for n in range(20)]
    handles += await kit.aenqueue_many([work.make(f"many{n}") for n in range(10)])
    handles.append(await work.using(delay=0.05).aenqueue("later"))
    handles.append(await work.aenqueue("fails once"))
    unwanted = await work.using(delay=3600).aenqueue("never")
    async with working(kit):
        await asyncio.wait_for(done.wait(), WAIT)
        assert await handles[0].aresult(timeout=WAIT) == "0"
        assert await handles[-1].aresult(timeout=WAIT) == "fails once"
        assert await unwanted.acancel("not wanted")
    assert ran["fails once"] == 2
    assert all(count == 1 for name, count in ran.items() if name != "fails once")
    assert (await (await kit.async_store()).count("default")).totals.completed == 32
    assert await unwanted.astatus() == "cancelled"


async def test_a_slot_that_moves_while_jobs_run_loses_none() -> None:
    """Both servers refuse every script of the queue until the slot has a home again; nothing else is seen of it."""
    with cluster(2) as nodes:
        kit = QueueKit(nodes[0].cluster_url, name="moving", namespace="n")
        idle = QueueKit(nodes[0].cluster_url, name="idle", namespace="n")  # knows where the slot was
        await idle.queue("default").aenqueue("work", {"n": -1})
        slot = key_slot(queue_keys("n", "default")["jobs"])
        source, target = nodes if slot < 8192 else reversed(nodes)
        ran: Counter[int] = Counter()
        acknowledged: list[int] = []
        stop, tick = False, asyncio.Event()

        async def until(met: Callable[[], bool]) -> None:
            async with asyncio.timeout(WAIT):
                while not met():
                    tick.clear()
                    await tick.wait()

        @kit.task
        async def work(n: int) -> None:
            await asyncio.sleep(0.002)
            ran[n] += 1
            tick.set()

        async def produce(k: int) -> None:
            n = k
            while not stop:
                await work.aenqueue(n)
                acknowledged.append(n)
                tick.set()
                n += 4
                await asyncio.sleep(0.002)

        async with working(kit, concurrency=8):
            producers = [asyncio.create_task(produce(k)) for k in range(4)]
            await until(lambda: len(ran) >= 50)
            before = len(acknowledged)
            await asyncio.to_thread(move_slot, slot, source, target)
            await until(lambda: len(acknowledged) >= before + 100)
            moved = refusals(source, "MOVED")
            await idle.queue("default").aenqueue("work", {"n": -2})
            assert refusals(source, "MOVED") == moved + 1
            acknowledged += [-1, -2]
            stop = True
            await asyncio.gather(*producers)
            await until(lambda: len(ran) >= len(acknowledged))
        assert set(ran) == set(acknowledged), "an acknowledged job was lost"
        assert set(ran.values()) == {1}, "a job ran twice"
        assert (await (await kit.async_store()).count("default")).totals.completed == len(acknowledged)
        assert refusals(source, "ASK")
        with redis.Redis.from_url(target.url) as client:
            assert client.exists(queue_keys("n", "default")["vars"])
        await idle.aclose()
        await kit.aclose()
