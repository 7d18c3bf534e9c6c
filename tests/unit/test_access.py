"""Which store a call goes through: one a process, one a loop, none of a parent's; and how long it is asked."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, Settings, State, SyncInAsyncWarning
from queuekit.errors import StoreUnavailable, UnknownProvider, Unsupported
from queuekit.producing import access
from queuekit.store.protocol import JobStore
from queuekit.testing import TestKit


@pytest.fixture
def file_kit(tmp_path: Path) -> Any:
    """A kit over a file of its own."""
    kit = QueueKit(f"sqlite:///{tmp_path}/jobs.db", name="file")
    yield kit
    kit.close()


def test_threads_share_one_store_and_a_closed_one_is_opened_anew(file_kit: QueueKit) -> None:
    found: list[JobStore] = []
    threads = [threading.Thread(target=lambda: found.append(file_kit.blocking_store())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(store) for store in found}) == 1
    handle = file_kit.queue("q").enqueue("t")
    file_kit.close()
    file_kit.close()
    assert handle.status() is State.WAITING
    assert file_kit.blocking_store() is not found[0]


def test_each_loop_has_a_store_of_its_own_closed_with_the_loop(file_kit: QueueKit) -> None:
    stores: list[Any] = []
    closed: list[int] = []

    async def use() -> None:
        first, again = await asyncio.gather(file_kit.async_store(), file_kit.async_store())
        assert first is again
        real = first.close

        async def close() -> None:
            closed.append(id(first))
            await real()

        first.close = close  # type: ignore[method-assign]  # watched by this test
        stores.append(first)
        await file_kit.queue("q").aenqueue("t")

    asyncio.run(use())
    asyncio.run(use())
    assert stores[0] is not stores[1]
    assert closed == [id(stores[0]), id(stores[1])], "each loop closed its own at its end"


async def test_aclose_closes_and_the_next_use_opens(file_kit: QueueKit) -> None:
    async with file_kit as kit:
        first = await kit.async_store()
    assert await file_kit.async_store() is not first
    await file_kit.aclose()


def test_the_context_manager_closes(file_kit: QueueKit) -> None:
    with file_kit as kit:
        first = kit.blocking_store()
    assert file_kit.blocking_store() is not first


async def test_who_waits_for_an_opening_that_fails_is_told() -> None:
    kit = QueueKit("sqlite:////proc/nowhere/jobs.db", name="nowhere")
    ends = await asyncio.gather(kit.async_store(), kit.async_store(), return_exceptions=True)
    assert all(isinstance(end, Exception) for end in ends)
    assert len(ends) == 2


def test_a_forked_child_leaves_its_parent_s_store_alone(file_kit: QueueKit) -> None:
    handle = file_kit.queue("q").enqueue("t", {"by": "parent"})
    parents = file_kit.blocking_store()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = file_kit.blocking_store()
            made = file_kit.queue("q").enqueue("t", {"by": "child"})
            gc.collect()
            left = any(getattr(entry, "store", None) is parents for entry in access._inherited)
            os.write(write, f"{mine is not parents} {left} {made.created}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "True True True"
    assert file_kit.blocking_store() is parents
    assert handle.status() is State.WAITING
    assert file_kit.health("q")["q"].waiting == 2


async def test_a_plain_call_inside_a_loop_warns_once_a_call_site(kit: TestKit) -> None:
    access._sites.clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            kit.queue("q").enqueue("t")
        kit.health()
    assert [w.category for w in said] == [SyncInAsyncWarning, SyncInAsyncWarning]
    assert {w.filename for w in said} == {__file__}
    assert said[0].lineno != said[1].lineno


def test_no_warning_without_a_loop(kit: TestKit) -> None:
    kit.queue("q").enqueue("t")  # warnings are errors here


def test_a_client_nobody_knows_is_refused() -> None:
    kit = QueueKit(client=object(), name="odd")
    with pytest.raises(Unsupported, match=r"takes a builtins\.object"):
        kit.queue("q").enqueue("t")
    assert kit.settings.chosen_by == "QueueKit(client=…)"


def test_an_application_s_client_is_worked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    from queuekit.testing.model import ModelStore, ModelWorld

    world = ModelWorld()

    class Client:
        """A driver's."""

    class Backend:
        def adopt(self, client: object, options: Any) -> tuple[JobStore | None, JobStore | None] | None:
            if not isinstance(client, Client):
                return None
            return ModelStore(world, namespace=options.namespace, blocking=True), None

    class Point:
        name, value = "model", "somewhere:backend"

        def load(self) -> Any:
            return Backend()

    class Missing:
        name, value = "gone", "gone:backend"

        def load(self) -> Any:
            raise ModuleNotFoundError("its driver is not installed")

    monkeypatch.setattr(access, "schemes", lambda: {"gone": Missing(), "model": Point(), "models": Point()})
    kit = QueueKit(client=Client(), name="adopted", namespace="ns")
    assert kit.queue("q").enqueue("t").status() is State.WAITING
    assert list(world.queues) == [("ns", "q")]
    with pytest.raises(Unsupported, match="cannot serve async calls"):
        asyncio.run(kit.async_store())


def test_code_wins_over_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queuekit.toml").write_text(
        '[kit]\nimports = ["json"]\ndefaults = { attempts = 7, priority = "low" }\n'
        '[queues.q]\nattempts = 5\nlease = "2m"\n[queues.r]\npriority = 3\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUEUEKIT_URL", "nonsense://x")
    monkeypatch.setenv("QUEUEKIT_NAMESPACE", "from-env")
    kit = QueueKit("memory://", queues={"q": {"attempts": 4}}, name="layers")
    assert (kit.settings.url, kit.settings.chosen_by, kit.settings.namespace) == (
        "memory://",
        "QueueKit(url=…)",
        "from-env",
    )
    assert dict(kit.queue_options["q"]) == {"attempts": 4, "lease": 120_000}
    assert dict(kit.defaults) == {"attempts": 7, "priority": 15}
    kit.load()
    jobs = [kit.queue(name).make("t").spec for name in ("q", "r", "s")]
    assert [job.priority for job in jobs] == [15, 3, 15]
    assert QueueKit("memory://", namespace="mine", name="layers2").settings.namespace == "mine"
    with pytest.raises(UnknownProvider, match="nonsense"):
        QueueKit(name="layers3").queue("q").enqueue("t")
    for url in ("nonsense", "amqp://u:canary@h"):
        with pytest.raises(UnknownProvider, match=r"^QueueKit\(url=…\)") as caught:
            QueueKit(url, name="layers4").health()
        assert "canary" not in str(caught.value)


def test_a_store_that_is_away_is_asked_for_its_time_and_no_longer() -> None:
    kit = TestKit(settings=Settings(url="model://", chosen_by="test", timeout=1000))
    store, asked = kit.blocking_store(), []

    async def away(*args: Any, **kwargs: Any) -> Any:
        asked.append(args)
        raise StoreUnavailable("away", outcome="unknown" if len(asked) == 1 else "refused")

    store.get = away  # type: ignore[method-assign]  # made to be away
    with pytest.raises(StoreUnavailable) as caught:
        kit.job("q/x").status()
    assert len(asked) >= 3
    assert caught.value.outcome == "unknown", "the first try may have been applied"


def test_a_first_enqueue_by_name_needs_no_pydantic(tmp_path: Path) -> None:
    code = (
        "import sys, queuekit\n"
        f"kit = queuekit.QueueKit('sqlite:///{tmp_path}/jobs.db')\n"
        "assert kit.queue('q').enqueue('t', {'a': 1}).created\n"
        "assert 'pydantic' not in sys.modules\n"
        "assert 'queuekit.runtime' not in sys.modules\n"
        "queuekit.Worker\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUE", "REDIS", "MONGO"))}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60, cwd=tmp_path, env=env)


def test_a_loop_that_has_ended_is_not_kept(file_kit: QueueKit) -> None:
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def use() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await file_kit.queue("q").aenqueue("t")

    for _ in range(3):
        asyncio.run(use())
    gc.collect()
    assert [loop() for loop in loops] == [None, None, None]


async def test_a_cancelled_first_use_fails_nobody_else(file_kit: QueueKit, monkeypatch: pytest.MonkeyPatch) -> None:
    make, opens = file_kit.access._make, []
    began, held = asyncio.Event(), asyncio.Event()

    def slow(*args: Any, **kwargs: Any) -> JobStore:
        store = make(*args, **kwargs)
        opening = store.open

        async def open_slowly() -> None:
            opens.append(1)
            began.set()
            if len(opens) == 1:
                await held.wait()
            await opening()

        monkeypatch.setattr(store, "open", open_slowly, raising=False)
        return store

    monkeypatch.setattr(file_kit.access, "_make", slow)
    first = asyncio.create_task(file_kit.async_store())
    others = [asyncio.create_task(file_kit.async_store()) for _ in range(3)]
    await began.wait()
    await asyncio.sleep(0)
    first.cancel()
    stores = await asyncio.wait_for(asyncio.gather(*others), 10)
    assert len({id(store) for store in stores}) == 1
    assert len(opens) == 2
    await file_kit.aclose()
