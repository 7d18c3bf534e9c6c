"""A worker inside a program's own loop: no signal handler touched, no thread or task left, on every store."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from queuekit import JobContext, QueueKit, Settings, ids
from queuekit.errors import ConfigError, StoreUnavailable
from queuekit.task import SyncTask
from tests.contrib.prefork.farm import until
from tests.contrib.prefork.looks import clean

STORES = ("sqlite", "redis", "mongo")
WAIT = 60
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP)
pytestmark = pytest.mark.parametrize("store", STORES)


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueKit]:
    """A kit with one task, `add`. When it is closed, no thread of ours is left and no signal handler is another."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    clean()
    threads, handlers = set(threading.enumerate()), _handlers()
    with QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:12]}") as made:

        @made.task
        def add(a: int, b: int) -> int:
            return a + b

        yield made
        assert _handlers() == handlers
    gc.collect()
    until(lambda: not [one.name for one in set(threading.enumerate()) - threads if _ours(one)], "threads end")


def _ours(thread: threading.Thread) -> bool:
    """Not of a loop's default executor, which ends with the loop."""
    return not thread.name.startswith("asyncio_")


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in SIGNALS]


def _add(kit: QueueKit) -> SyncTask[[int, int], int]:
    task: Any = kit.tasks()["add"]
    return task  # type: ignore[no-any-return]  # registered above


async def _work(kit: QueueKit) -> None:
    """One job, done by a worker on this loop; then this loop is as it was."""
    before = asyncio.all_tasks()
    async with kit.worker(concurrency=2):
        assert _handlers_of_loop() == {}
        assert await (await _add(kit).aenqueue(2, 3)).aresult(timeout=WAIT) == 5
    await kit.aclose()
    assert asyncio.all_tasks() == before


def _handlers_of_loop() -> dict[int, Any]:
    """What asyncio calls at signals; uvloop does not tell."""
    return dict(getattr(asyncio.get_running_loop(), "_signal_handlers", {}))


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_on_a_program_s_own_loop(kit: QueueKit, kind: str) -> None:
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_work(kit))


def test_the_program_s_own_signal_handlers_stay(kit: QueueKit) -> None:
    async def main() -> list[str]:
        loop, rung, heard = asyncio.get_running_loop(), asyncio.Event(), list[str]()

        def hear() -> None:
            heard.append("loop")
            rung.set()

        loop.add_signal_handler(signal.SIGTERM, hear)
        try:
            async with kit.worker():
                signal.raise_signal(signal.SIGTERM)
                await asyncio.wait_for(rung.wait(), WAIT)
                assert await (await _add(kit).aenqueue(1, 1)).aresult(timeout=WAIT) == 2, "the worker did not hear it"
            rung.clear()
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(rung.wait(), WAIT)
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
        await kit.aclose()
        return heard

    assert asyncio.run(main()) == ["loop", "loop"]


def test_in_a_thread_s_loop(kit: QueueKit) -> None:
    ends: list[BaseException | None] = []

    def run() -> None:
        try:
            asyncio.run(_work(kit))
            ends.append(None)
        except BaseException as error:
            ends.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ends == [None]


async def test_two_in_one_loop_share_the_work(kit: QueueKit) -> None:
    before = asyncio.all_tasks()
    async with kit.worker(concurrency=1) as one, kit.worker(concurrency=1) as other:
        handles = [await _add(kit).aenqueue(n, n) for n in range(20)]
        assert [await handle.aresult(timeout=WAIT) for handle in handles] == [2 * n for n in range(20)]
    assert one.id != other.id
    await kit.aclose()
    assert asyncio.all_tasks() == before


async def test_cancelled_once_it_waits_for_what_runs_and_cancelled_twice_for_nothing(kit: QueueKit) -> None:
    """By a task group, a time-out, a server that stops. The job is not lost, and the run counts for nothing."""
    began, before = asyncio.Event(), asyncio.all_tasks()
    endless = True

    @kit.task
    async def stay(ctx: JobContext) -> int:
        began.set()
        if endless:
            await asyncio.Event().wait()
        return ctx.attempt

    worker = kit.worker(grace="1h")

    async def host() -> None:
        async with worker:
            await asyncio.Event().wait()

    handle = await stay.aenqueue()
    task = asyncio.create_task(host())
    await asyncio.wait_for(began.wait(), WAIT)
    task.cancel()
    await asyncio.wait([task], timeout=0)
    stopping = worker._stopping
    assert stopping is not None
    await asyncio.wait_for(stopping.wait(), WAIT)
    assert not task.done(), "the job runs on"
    task.cancel()
    assert await asyncio.wait([task], timeout=WAIT) == ({task}, set())
    assert task.cancelled()
    assert await handle.astatus() == "waiting"
    endless = False
    async with kit.worker():
        assert await handle.aresult(timeout=WAIT) == 1
    await kit.aclose()
    assert asyncio.all_tasks() == before


@pytest.fixture
async def working(kit: QueueKit) -> AsyncIterator[QueueKit]:
    """Begun in a fixture and ended in it: by other tasks than the test's own."""
    async with kit.worker():
        yield kit
    await kit.aclose()


async def test_from_a_fixture(working: QueueKit) -> None:
    assert await (await _add(working).aenqueue(20, 22)).aresult(timeout=WAIT) == 42


async def test_in_fastapi_s_lifespan(kit: QueueKit) -> None:
    from fastapi import FastAPI
    from httpx import ASGITransport, AsyncClient

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with kit, kit.worker():
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/add")
    async def ask(a: int, b: int) -> int:
        return await (await _add(kit).aenqueue(a, b)).aresult(timeout=WAIT)

    before = asyncio.all_tasks()
    client = AsyncClient(transport=ASGITransport(app), base_url="http://site")
    async with app.router.lifespan_context(app), client:
        assert (await client.get("/add", params={"a": 3, "b": 4})).json() == 7
    assert asyncio.all_tasks() == before


@pytest.fixture
def left_by_the_driver() -> Iterator[None]:
    """PyMongo leaves a socket to the garbage collector when it is cancelled while it connects (4.20)."""
    yield
    clean()


@pytest.mark.usefixtures("left_by_the_driver")
async def test_a_worker_that_finds_no_store_leaves_nothing(store: str, tmp_path: Path) -> None:
    """`async with` fails, and the program goes on without it."""
    urls = {
        "sqlite": f"sqlite:///{tmp_path}/none/jobs.db",
        "redis": "redis://127.0.0.1:1/0",
        "mongo": "mongodb://127.0.0.1:1/none",
    }
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    settings = Settings(url=urls[store], chosen_by="test", timeout=200)
    async with QueueKit(name=f"t{ids.nonce()[:8]}", settings=settings) as kit:
        kit.task(_nothing)
        with pytest.raises(ConfigError if store == "sqlite" else StoreUnavailable):
            async with kit.worker(wait_store=0.1):
                raise AssertionError("it cannot begin")
    assert asyncio.all_tasks() == tasks
    left = [one for one in set(threading.enumerate()) - threads if _ours(one)]
    await asyncio.to_thread(until, lambda: not any(one.is_alive() for one in left), "threads end")


def _nothing() -> None:
    return
