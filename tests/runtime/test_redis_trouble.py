"""What only a Redis does to its users: no memory left, scripts that are gone. Nothing acknowledged is lost of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from queuekit_redis.keys import queue_keys
from queuekit_redis.port import AsyncPort, BlockingPort

from queuekit import JobContext, QueueFull, QueueKit, Task, ids
from queuekit.domain.outcome import Ask, Op
from queuekit.testing.servers import RedisServer
from tests.contract.cluster import cluster, refusals
from tests.runtime.conftest import WAIT, working

BODY = "x" * 8000


def size(client: Any, namespace: str) -> dict[str, int]:
    """How much stands in each key of the queue that an enqueue writes."""
    keys = queue_keys(namespace, "default")
    hashes = {name: client.hlen(keys[name]) for name in ("jobs", "run", "opts", "vars", "ops", "unique")}
    return hashes | {name: client.zcard(keys[name]) for name in ("ready", "delayed", "utime", "expiring", "marker")}


class Forms:
    """The ways to enqueue, and what was acknowledged through each."""

    def __init__(self, kit: QueueKit, work: Task[..., Any]) -> None:
        self.kit, self.work, self.n = kit, work, 0
        self.acknowledged: list[int] = []
        self.ways = (self.one, self.aone, self.many, self.amany, self.rich)

    def next(self, count: int) -> list[int]:
        self.n += count
        return list(range(self.n - count, self.n))

    async def one(self) -> list[int]:
        (n,) = self.next(1)
        await asyncio.to_thread(self.work.enqueue, n, BODY)
        return [n]

    async def aone(self) -> list[int]:
        (n,) = self.next(1)
        await self.work.aenqueue(n, BODY)
        return [n]

    async def many(self) -> list[int]:
        numbers = self.next(20)
        await asyncio.to_thread(self.kit.enqueue_many, [self.work.make(n, BODY) for n in numbers])
        return numbers

    async def amany(self) -> list[int]:
        numbers = self.next(20)
        await self.kit.aenqueue_many([self.work.make(n, BODY) for n in numbers])
        return numbers

    async def rich(self) -> list[int]:
        (n,) = self.next(1)
        await self.work.using(delay=0.01, unique=f"k{n}", expires="1h").aenqueue(n, BODY)
        return [n]

    async def put(self, way: Callable[[], Any]) -> None:
        self.acknowledged += await way()


async def test_a_full_server_refuses_producers_and_workers_drain_it() -> None:
    namespace = "t" + ids.nonce()[:8]
    with RedisServer(options={"maxmemory": "6mb"}) as server, redis.Redis.from_url(server.url) as client:
        kit = QueueKit(server.url, name=namespace, namespace=namespace)
        ran: Counter[int] = Counter()
        tick = asyncio.Event()

        @kit.task(attempts=2, backoff=0, keep_completed=0)
        async def work(ctx: JobContext, n: int, body: str) -> None:
            if n % 10 == 3 and ctx.attempt == 1:
                raise RuntimeError("once")
            ran[n] += 1
            tick.set()

        forms = Forms(kit, work)
        refused: set[str] = set()
        while len(refused) < len(forms.ways):
            for way in forms.ways:
                before = size(client, namespace)
                try:
                    await forms.put(way)
                except QueueFull:
                    refused.add(way.__name__)
                    assert size(client, namespace) == before, f"{way.__name__} wrote a half"
        store = await kit.async_store()
        assert (await store.count("default")).totals.enqueued == len(forms.acknowledged)

        client.config_set("maxmemory", client.info("memory")["used_memory"] - 500_000)  # far over it
        dead = await store.exchange("default", Op("dead", 1), [], Ask(want=5, lease=1))
        assert len(dead.claims) == 5
        recovered: list[str] = []
        while len(recovered) < 5:
            recovered += (await store.recover("default")).suspects
        async with working(kit, concurrency=8):
            async with asyncio.timeout(WAIT):
                while len(ran) < len(forms.acknowledged):
                    tick.clear()
                    await tick.wait()
            for way in forms.ways:
                await forms.put(way)
            async with asyncio.timeout(WAIT):
                while len(ran) < len(forms.acknowledged):
                    tick.clear()
                    await tick.wait()
        assert set(ran) == set(forms.acknowledged), "acknowledged jobs were lost"
        assert set(ran.values()) == {1}
        assert (await store.count("default")).totals.completed == len(ran)
        kit.close()
        await kit.aclose()


@contextmanager
def failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """What the ports' script calls raise, also where somebody above would repeat them."""
    seen: list[BaseException] = []
    for port in (AsyncPort, BlockingPort):
        real = port.script

        async def script(self: Any, *args: Any, _real: Any = real) -> Any:
            try:
                return await _real(self, *args)
            except Exception as error:
                seen.append(error)
                raise

        monkeypatch.setattr(port, "script", script)
    yield seen


@pytest.mark.parametrize("clustered", [False, True])
async def test_scripts_forgotten_under_load_fail_no_call(clustered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster() as (node,), RedisServer() as single, failures(monkeypatch) as seen:
        server: RedisServer = node if clustered else single
        url = node.cluster_url if clustered else single.url
        kit = QueueKit(url, name="noscript", namespace="n")
        ran: Counter[int] = Counter()
        acknowledged: list[int] = []
        over, tick, flushes = threading.Event(), asyncio.Event(), 0

        @kit.task
        async def work(n: int) -> None:
            ran[n] += 1
            tick.set()

        def flush() -> None:
            nonlocal flushes
            with redis.Redis.from_url(server.url) as client:
                while not over.is_set():
                    client.script_flush()
                    flushes += 1
                    time.sleep(0.002)

        def produce_blocking() -> None:
            for n in range(1000, 1150):
                work.enqueue(n)
                acknowledged.append(n)

        def produce_in_multi() -> None:
            with redis.Redis.from_url(server.url) as client:
                for n in range(2000, 2050):
                    with client.pipeline() as pipe:
                        pipe.set("mine", n)
                        work.using(within=pipe).enqueue(n)
                        pipe.execute()
                    acknowledged.append(n)

        async def produce(first: int) -> None:
            for n in range(first, first + 150, 3):
                await work.aenqueue(n)
                await kit.aenqueue_many([work.make(n + 1), work.make(n + 2)])
                acknowledged.extend((n, n + 1, n + 2))

        async with working(kit, concurrency=8):
            flusher = asyncio.create_task(asyncio.to_thread(flush))
            producers = [produce(0), produce(200), asyncio.to_thread(produce_blocking)]
            await asyncio.gather(*producers, *([] if clustered else [asyncio.to_thread(produce_in_multi)]))
            async with asyncio.timeout(WAIT):
                while len(ran) < len(acknowledged):
                    tick.clear()
                    await tick.wait()
            over.set()
            await flusher
        assert flushes >= 20
        assert refusals(server, "NOSCRIPT") >= 20, "the flushes hit nothing"
        assert seen == []
        assert set(ran) == set(acknowledged)
        assert set(ran.values()) == {1}
        kit.close()
        await kit.aclose()


async def test_a_restarted_server_knows_no_script_and_no_call_fails_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with RedisServer(options={"appendonly": "yes"}) as server, failures(monkeypatch) as seen:
        kit = QueueKit(server.url, name="restarted", namespace="n")
        queue = kit.queue("q")
        for n in range(3):
            await asyncio.to_thread(queue.enqueue, "work", {}, id=f"blocking{n}")
            await queue.aenqueue("work", {}, id=f"async{n}")
            await asyncio.to_thread(server.restart)
        store = await kit.async_store()
        claims = (await store.exchange("q", Op("w", 1), [], Ask(want=10))).claims
        assert [job.id for job in claims] == [f"{kind}{n}" for n in range(3) for kind in ("blocking", "async")]
        assert refusals(server, "NOSCRIPT") == 1  # that exchange, on a fresh server
        assert not [error for error in seen if "NOSCRIPT" in str(error)]
        kit.close()
        await kit.aclose()
