"""A new event loop for each request or test: its connections end with it, however it ends, on every store."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync

from queuekit import QueueKit, ids
from queuekit.store.direct import direct
from tests.contrib.prefork.farm import until
from tests.contrib.prefork.looks import clean, clients, open_to

STORES = ("sqlite", "redis", "mongo")
FULL = os.environ.get("QUEUEKIT_PREFORK") == "full"
LOOPS = 200 if FULL else 5
EACH = 2  # jobs a loop: on MongoDB the second leaves totals to write when the loop ends
MOST_FILES = 24  # descriptors of eight spare connections; they are shared by all loops, and only threads were left
FEW = 12  # connections of other tests' kits and fixtures
pytestmark = [pytest.mark.parametrize("store", STORES), pytest.mark.filterwarnings("error")]


@pytest.fixture
def url(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if store == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    found: str = request.getfixturevalue(f"{store}_url")
    return found


@pytest.fixture
def kit(url: str, caplog: pytest.LogCaptureFixture) -> Iterator[QueueKit]:
    """A kit that nobody else uses. When it is closed nothing of it is left, and no finalizer has complained."""
    clean()
    before, threads = open_to(url), threading.active_count()
    with QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:12]}") as made:
        yield made
        made.queue("q").obliterate(confirm="q", force=True)
    gc.collect()  # what was left open says so here, and warnings are errors
    until(lambda: not open_to(url) - before, "what it opened is closed")  # by the driver's threads, on MongoDB
    until(lambda: threading.active_count() <= threads, "threads end")
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


async def _enqueue(kit: QueueKit) -> None:
    for _ in range(EACH):
        assert (await kit.queue("q").aenqueue("t", {"a": 1})).created


def _bare(kit: QueueKit, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
    """A loop that is closed and no more: its asynchronous generators are not ended, so nothing of ours runs."""
    loop = new_loop()
    try:
        loop.run_until_complete(_enqueue(kit))
    finally:
        loop.close()


def _run(kit: QueueKit) -> None:
    asyncio.run(_enqueue(kit))


def _on_uvloop(kit: QueueKit) -> None:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_enqueue(kit))


def _on_asgiref(kit: QueueKit) -> None:
    """How Flask and Django call an async view of a WSGI server."""
    async_to_sync(_enqueue)(kit)


def _with_aclose(kit: QueueKit) -> None:
    async def main() -> None:
        async with kit:
            await _enqueue(kit)

    asyncio.run(main())


@pytest.mark.parametrize("way", [_run, _on_uvloop, _on_asgiref, _with_aclose, _bare])
def test_loop_after_loop_leaves_no_connection(kit: QueueKit, url: str, way: Callable[[QueueKit], None]) -> None:
    at_rest, threads = open_to(url), threading.active_count()
    for _ in range(LOOPS):
        way(kit)
        if way is not _bare:
            assert open_to(url) - at_rest == set()
        else:  # the last one's are closed by the next that opens, or by close()
            assert len(open_to(url) - at_rest) <= (MOST_FILES if url.startswith("sqlite") else 4)
            assert len(kit.access._loops) == 1
            assert threading.active_count() <= threads + 2
    if not url.startswith("sqlite"):
        mine = open_to(url)
        until(lambda: len(clients(url)) <= len(mine) + FEW, "the server counts no more")
    if way is not _bare:  # on MongoDB its last totals are not written
        assert direct(kit.blocking_store().count("q")).totals.enqueued == EACH * LOOPS
    assert kit.health("q")["q"].waiting == EACH * LOOPS


def test_loops_in_many_threads_at_once(kit: QueueKit, url: str) -> None:
    """Some are ended, some only closed, while others open theirs."""
    failed: list[BaseException] = []

    def press(way: Callable[[QueueKit], None]) -> None:
        try:
            for _ in range(max(4, LOOPS // 10)):
                way(kit)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=press, args=(way,)) for way in (_run, _bare, _run, _bare)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    _run(kit)
    assert kit.access._loops == {}
    assert kit.health("q")["q"].waiting == EACH * (4 * max(4, LOOPS // 10) + 1)


def _cancelled_as_it_opens(kit: QueueKit) -> None:
    loop = asyncio.new_event_loop()
    task = loop.create_task(_enqueue(kit))
    loop.run_until_complete(asyncio.sleep(0))
    assert len(kit.access._loops) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_a_loop_closed_in_the_middle_of_opening_is_left_too(kit: QueueKit, store: str, url: str) -> None:
    at_rest = open_to(url)
    with warnings.catch_warnings():
        if store == "mongo":  # pymongo 4.20 leaves a socket that was just connecting to the garbage collector
            warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        _cancelled_as_it_opens(kit)
        gc.collect()
    if store != "sqlite":
        assert open_to(url) - at_rest == set()
    _run(kit)
    assert kit.access._loops == {}


shared: dict[str, QueueKit] = {}  # kits of the module, as an application's: each async test has another loop


@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_a_test_s_own_loop(store: str, url: str, turn: int, request: pytest.FixtureRequest) -> None:
    """Like an application's suite: one kit, and pytest-asyncio makes each test a loop. The last one looks."""
    if store == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('tmp_path_factory').getbasetemp()}/shared.db"
    kit = shared.setdefault(store, QueueKit(url, name=f"shared-{store}", namespace=f"t{ids.nonce()[:12]}"))
    await _enqueue(kit)
    assert len(kit.access._loops) == 1, "the loop of the test before has ended, and its store with it"
