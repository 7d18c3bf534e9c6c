"""The same calls of a kit on every real store: plain and async."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import Job, JobNotFound, QueueKit, ResultTimeout, State, ids
from queuekit.errors import Conflict, QueueFull, Unsupported


@pytest.fixture(params=["sqlite", "memory", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on a fresh namespace."""
    if store == "sqlite":
        url = f"sqlite:///{tmp_path}/jobs.db"
    elif store == "memory":
        url = "memory://"
    else:
        url = request.getfixturevalue(f"{store}_url")
    kit = QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
    kit.blocking_store()  # memory lives as long as a store of it is open
    yield kit
    for queue in kit.health():
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


def test_plain_calls(kit: QueueKit) -> None:
    @kit.task(tags=["pics"], queue="media")
    def resize(path: str, width: int = 800) -> int:
        return 1

    first = resize.using(id="first").enqueue("a")
    assert (first.created, resize.using(id="first").enqueue("a").created) == (True, False)
    later = resize.using(delay="1h", priority="high").enqueue("b", width=3)
    many = kit.enqueue_many([resize.using(queue=f"q{n % 3}").make(str(n)) for n in range(30)])
    assert [h.status() for h in (first, later, many[29])] == [State.WAITING, State.DELAYED, State.WAITING]
    job = later.get()
    assert isinstance(job, Job)
    assert (job.payload, job.priority, job.tags) == ({"path": "b", "width": 3}, 5, ("pics",))
    assert (later.promote(), later.status()) == (True, State.WAITING)
    assert later.reschedule(delay=60)
    assert later.replace({"path": "c"})
    assert (later.cancel("why"), later.status()) == (True, State.CANCELLED)
    assert (later.retry(), later.delete(), later.status()) == (True, True, "unknown")
    assert kit.get("first") == kit.get("media/first")
    kit.queue("other").enqueue("x", {}, id="first")
    with pytest.raises(Conflict):
        kit.get("first")
    found = [job.ref for job in kit.find(task="resize", tag="pics").jobs]
    assert sorted(found) == sorted([first.ref, *(h.ref for h in many)])
    assert {name: one.waiting for name, one in kit.health().items()} == {
        "media": 1,
        "other": 1,
        "q0": 10,
        "q1": 10,
        "q2": 10,
    }
    kit.queue("q0").pause("night")
    kit.queue("q0").configure(max_size=10)
    assert (kit.health("q0")["q0"].paused, kit.queue("q0").conf().override.max_size) == ("night", 10)
    with pytest.raises(QueueFull):
        kit.queue("q0").enqueue("x")
    assert kit.queue("q0").prune(State.WAITING, limit=4) == 4
    assert kit.queue("q1").obliterate(confirm="q1") == 10
    with pytest.raises(ResultTimeout):
        first.result(timeout=0.05)
    with pytest.raises(JobNotFound):
        kit.job("media/none").result(timeout=1)


def test_async_calls_over_two_loops(kit: QueueKit) -> None:
    @kit.task
    async def double(n: int) -> int:
        return 2 * n

    async def use(start: int) -> None:
        handles = await kit.aenqueue_many([double.using(queue=f"q{n % 2}").make(n) for n in range(start, start + 10)])
        one = await double.using(id=f"one{start}").aenqueue(start)
        assert (await one.astatus(), len(handles)) == (State.WAITING, 10)
        assert (await kit.ahealth("q0"))["q0"].waiting == 5 + start // 2
        assert one.ref in [job.ref for job in (await kit.afind(queue="default")).jobs]
        assert await one.acancel()
        await asyncio.gather(*(double.aenqueue(n) for n in range(20)))

    asyncio.run(use(0))
    asyncio.run(use(10))
    assert kit.health("default")["default"].waiting == 40


def test_a_job_ends_and_its_result_is_read(kit: QueueKit) -> None:
    @kit.task
    def add(a: int, b: int) -> int:
        return a + b

    handle = add.enqueue(2, 3)

    async def work() -> int:
        async with kit.worker(concurrency=1):
            return await handle.aresult(timeout=20)

    assert asyncio.run(work()) == 5
    assert handle.result(timeout=1) == 5


@pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"], indirect=True)
def test_a_forked_child_works_beside_its_parent(kit: QueueKit) -> None:
    kit.queue("q").enqueue("t", {"by": "parent"})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            made = [kit.queue("q").enqueue("t", {"by": "child"}) for _ in range(5)]
            code = 0 if all(one.status() is State.WAITING for one in made) else 2
        finally:
            os._exit(code)
    for _ in range(5):
        kit.queue("q").enqueue("t", {"by": "parent"})
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert kit.health("q")["q"].waiting == 11


def test_an_application_s_redis_client_serves_plain_calls(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        kit = QueueKit(client=client, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
        assert kit.queue("q").enqueue("t", {"a": 1}).status() is State.WAITING
        kit.close()
        assert client.ping(), "the application's client stays open"
        with pytest.raises(Unsupported, match="cannot serve async calls"):
            asyncio.run(kit.async_store())
        kit.queue("q").obliterate(confirm="q")
        kit.close()


def test_an_application_s_mongo_client_serves_plain_calls(mongo_url: str) -> None:
    from pymongo import MongoClient

    with MongoClient[dict[str, object]](mongo_url) as client:
        kit = QueueKit(client=client, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
        assert kit.queue("q").enqueue("t", {"a": 1}).status() is State.WAITING
        kit.queue("q").obliterate(confirm="q")
        kit.close()
        assert client.admin.command("ping")["ok"] == 1.0, "the application's client stays open"


async def test_an_application_s_async_clients_serve_a_loop(redis_url: str, mongo_url: str) -> None:
    import redis.asyncio
    from pymongo import AsyncMongoClient

    mongo: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongo_url)
    cache = redis.asyncio.Redis.from_url(redis_url)
    for client in (mongo, cache):
        kit = QueueKit(client=client, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
        handle = await kit.queue("q").aenqueue("t", {"a": 1})
        assert await handle.astatus() is State.WAITING
        await kit.queue("q").aobliterate(confirm="q")
        await kit.aclose()
    assert await cache.ping()
    assert (await mongo.admin.command("ping"))["ok"] == 1.0
    await cache.aclose()
    await mongo.close()
