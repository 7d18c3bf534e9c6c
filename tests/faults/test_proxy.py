"""Below the port: what redis-py and pymongo do when replies are lost, cut, late or in pieces, and calls cancelled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pymongo
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from queuekit import QueueKit, StoreUnavailable, clock, ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Op
from queuekit.domain.query import WorkerBeat
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions, backend
from queuekit.testing.conformance.harness import Blocking
from queuekit.testing.proxy import Proxy

T = TypeVar("T")
Q = "q"
TIMEOUT = 400  # ms
PATIENT = 3000  # ms: pymongo looks at a server that failed no sooner than half a second later
STEPS = 90
STORES = ("redis", "mongo")
WRITE = {"redis": b"EVALSHA", "mongo": b"insert"}  # what the request of an enqueue contains


def spec(id: str) -> JobSpec:
    return JobSpec(id=id, task="t", body=b"j{}")


class Site:
    """A store behind a proxy."""

    def __init__(self, kind: str, url: str, proxy: Proxy, port: str) -> None:
        self.kind, self.url, self.proxy, self.port = kind, url, proxy, port
        self.options = StoreOptions(namespace=f"t{ids.nonce()[:11]}")
        self._opened: list[JobStore] = []

    async def open(self, url: str | None = None, *, timeout: int = TIMEOUT) -> JobStore:
        """An open store, which takes the way through the proxy unless a URL is given."""
        where = self.proxy.url(self.url) if url is None else url
        options = replace(self.options, timeout=timeout)
        if self.port == "blocking":
            store: JobStore = Blocking(backend(where).blocking(where, options))
        else:
            store = backend(where).asynchronous(where, options)
        await store.open()
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()

    def writes(self) -> int:
        """How often the server ran what an enqueue sends."""
        if self.kind == "redis":
            with redis.Redis.from_url(self.url) as client:
                return int(client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))
        with pymongo.MongoClient[Any](self.url) as client:
            return int(client.admin.command("serverStatus")["metrics"]["commands"]["insert"]["total"])


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    request.node.user_properties.append(("store", request.param))
    return str(request.param)


@pytest.fixture
def proxy(kind: str, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    with Proxy(request.getfixturevalue(f"{kind}_server").port) as proxy:
        yield proxy


@pytest.fixture(params=["async", "blocking"])
async def site(kind: str, proxy: Proxy, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    site = Site(kind, request.getfixturevalue(f"{kind}_url"), proxy, request.param)
    yield site
    proxy.silent = False
    await site.close()


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeated until it has its answer, which a busy machine may not give within a short time-out."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                continue


async def unanswered(call: Callable[[], Awaitable[object]]) -> StoreUnavailable:
    """What it raises instead of an answer, and in time: of three tries, for the machine may be held up in one."""
    took = []
    for _ in range(3):
        began = clock.monotonic()
        with pytest.raises(StoreUnavailable) as caught:
            await call()
        took.append(clock.monotonic() - began)
        if took[-1] < 3 * TIMEOUT / 1000:  # it waits for its connection, or for its answer
            return caught.value
    raise AssertionError(f"left after {took} s, each time")


async def test_a_swallowed_reply_makes_no_driver_send_twice(site: Site) -> None:
    store = await site.open()
    await answered(lambda: store.enqueue(Q, [spec("before")], Op("p", 1)))
    before = site.writes()
    tries = 0

    async def swallowed() -> None:
        nonlocal tries
        tries += 1
        site.proxy.drop_reply(WRITE[site.kind])
        await store.enqueue(Q, [spec(f"a{tries}")], Op("p", 1 + tries))

    assert (await unanswered(swallowed)).outcome == "unknown"
    assert (site.proxy.hit, site.writes() - before) == (tries, tries)
    answer = await answered(lambda: store.enqueue(Q, [spec(f"a{tries}")], Op("p", 1 + tries)))
    assert [(receipt.id, receipt.created) for receipt in answer.receipts] == [(f"a{tries}", True)]
    counts = await answered(lambda: store.count(Q))
    assert counts.states["waiting"] == 1 + tries  # type: ignore[index]  # a state is its word


async def test_a_reply_cut_anywhere_is_one_error_and_the_next_call_is_fresh(site: Site) -> None:
    store, direct_way = await site.open(timeout=PATIENT), await site.open(site.url, timeout=PATIENT)
    await store.enqueue(Q, [spec("a"), spec("b")], Op("p", 1))
    read = b"EVALSHA" if site.kind == "redis" else b"find"
    for n, after in enumerate((0, 1, 2, 3, 5, 16, 30, 40), 1):
        site.proxy.cut_reply(after, read)
        with pytest.raises(StoreUnavailable) as caught:
            await store.get(Q, ["a"])
        assert caught.value.outcome == "unknown"
        assert site.proxy.hit == n
        (there,) = await store.get(Q, ["b"])
        assert there is not None
        assert there.id == "b"
    assert (await direct_way.count(Q)).states["waiting"] == 2  # type: ignore[index]  # a state is its word
    assert site.proxy.open <= 8, "connections that were cut are not kept"


async def test_a_request_cut_in_the_middle_did_nothing(site: Site) -> None:
    store = await site.open(timeout=PATIENT)
    await store.enqueue(Q, [spec("before")], Op("p", 1))
    large = replace(spec("a"), body=b"j" + b"x" * 200_000)
    for n, after in enumerate((1, 20, 1000), 1):
        site.proxy.cut_request(after, WRITE[site.kind])
        with pytest.raises(StoreUnavailable):
            await store.enqueue(Q, [large], Op("p", 2))
        assert site.proxy.hit == n
        assert await store.get(Q, ["a"]) == [None]
    assert (await store.enqueue(Q, [large], Op("p", 2))).receipts[0].created
    assert (await store.get(Q, ["a"]))[0] is not None


async def test_a_reset_between_calls_costs_at_most_one_error(site: Site) -> None:
    store = await site.open(timeout=PATIENT)
    for n in range(1, 6):
        await store.enqueue(Q, [spec(f"j{n}")], Op("p", n))
        site.proxy.reset()
        failed = 0
        for _ in range(4):
            try:
                (there,) = await store.get(Q, [f"j{n}"])
                break
            except StoreUnavailable:
                failed += 1
        assert there is not None
        assert there.id == f"j{n}"
        assert failed <= 1


async def test_a_black_hole_is_left_within_the_timeout(site: Site) -> None:
    store = await site.open()
    await answered(lambda: store.enqueue(Q, [spec("a"), spec("b")], Op("p", 1)))
    (job,) = (await answered(lambda: store.exchange(Q, Op("w", 1), [], Ask(want=1)))).claims
    beat = WorkerBeat(id="w", host="h", pid=1, queues=(Q,), concurrency=1, started_at=1)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: store.enqueue(Q, [spec("c")], Op("p", 2)),
        lambda: store.exchange(Q, Op("w", 2), [], Ask(want=1)),
        lambda: store.get(Q, [job.id]),
        lambda: store.recover(Q),
        lambda: store.beat(beat, 1000),
        store.ping,
        lambda: store.watch(Q, "a", 0),
    ]
    site.proxy.silent = True
    for call in calls:
        await unanswered(call)
    site.proxy.silent = False
    site.proxy.reset()
    (there,) = await answered(lambda: store.get(Q, ["a"]))  # a driver may need a moment to see that its server is back
    assert there is not None


async def test_replies_in_single_bytes_are_read_whole(site: Site) -> None:
    site.proxy.segment = 1
    store = await site.open(timeout=PATIENT)
    await store.enqueue(Q, [spec("a"), spec("b")], Op("p", 1))
    claims = (await store.exchange(Q, Op("w", 1), [], Ask(want=2, lease=60_000))).claims
    assert [job.id for job in claims] == ["a", "b"]
    assert [job.id for job in await store.get(Q, ["a", "b"]) if job is not None] == ["a", "b"]


async def test_late_replies_are_only_late(site: Site) -> None:
    site.proxy.delay = 0.02
    store = await site.open(timeout=PATIENT)
    await store.enqueue(Q, [spec("a")], Op("p", 1))
    assert (await store.get(Q, ["a"]))[0] is not None


async def test_a_cancelled_call_leaves_no_reply_to_the_next(
    kind: str, proxy: Proxy, request: pytest.FixtureRequest
) -> None:
    """CVE-2023-28858: a connection whose call was cancelled between request and reply gave it to somebody else."""
    site = Site(kind, request.getfixturevalue(f"{kind}_url"), proxy, "async")
    store = await site.open(timeout=PATIENT)
    names = [f"j{n}" for n in range(40)]
    await store.enqueue(Q, [spec(name) for name in names], Op("p", 1))
    await store.get(Q, names)
    cancelled, swallowed = 0, []
    for steps in range(STEPS):  # one step of the loop more each time, until the call is through
        task = asyncio.create_task(store.get(Q, [names[steps % 40]]))
        for _ in range(steps % 30):
            await asyncio.sleep(0)
        if steps % 3 == 0:
            await asyncio.sleep(0.0003 * (steps % 7))  # the reply is under way, or there
        late = not task.cancel()
        try:
            await task
            if not late:
                swallowed.append(steps)
        except asyncio.CancelledError:
            cancelled += 1
        asked = names[(steps + 17) % 40]
        (job,) = await store.get(Q, [asked])
        assert job is not None
        assert job.id == asked, f"the answer of a call that was cancelled after {steps} steps"
    await site.close()
    assert cancelled >= 10
    assert swallowed == [], "who was cancelled must not go on"


async def test_a_clients_own_retries_are_not_used(redis_url: str, redis_server: Any) -> None:
    """redis-py repeats a script whose reply was lost, three times and more; over its pool queuekit does not."""
    with Proxy(redis_server.port) as proxy, redis.Redis.from_url(proxy.url(redis_url), socket_timeout=2) as client:
        options = StoreOptions(namespace=f"t{ids.nonce()[:11]}", timeout=TIMEOUT)
        stores = backend(redis_url).adopt(client, options)
        assert stores is not None
        store = stores[0]
        assert store is not None
        direct(store.open())
        direct(store.enqueue(Q, [spec("before")], Op("p", 1)))
        site = Site("redis", redis_url, proxy, "blocking")
        before = site.writes()
        proxy.drop_reply(b"EVALSHA")
        with pytest.raises(StoreUnavailable):
            direct(store.enqueue(Q, [spec("a")], Op("p", 2)))
        assert (proxy.hit, site.writes() - before) == (1, 1)
        direct(store.close())


def test_a_proxy_that_cannot_reach_its_server_closes() -> None:
    with Proxy(1) as proxy, pytest.raises(redis.ConnectionError):
        redis.Redis(port=proxy.port, retry=Retry(NoBackoff(), 0)).ping()


def test_the_example_of_the_page_runs_as_it_stands(redis_server: Any) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing-faults.md").read_text()
    (example,) = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = {"__name__": "example", "QueueKit": QueueKit}
    exec(example, found)  # noqa: S102  our own page
    assert found["proxy"].port > 0
