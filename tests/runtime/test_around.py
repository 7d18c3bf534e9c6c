"""What stands around a handler: middlewares, injected values, hooks, log records."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from queuekit import Backoff, Inject, JobContext, JobFact, QueueKit, State
from queuekit.runtime import worker
from tests.runtime.conftest import WAIT, working


async def test_the_middleware_registered_first_is_the_outermost(kit: QueueKit) -> None:
    said: list[str] = []

    @kit.middleware
    async def outer(ctx: JobContext, run: Callable[[], Awaitable[object]]) -> object:
        said.append(f"outer in {ctx.job.task}")
        try:
            return await run()
        finally:
            said.append("outer out")

    @kit.middleware
    async def inner(ctx: JobContext, run: Callable[[], Awaitable[object]]) -> object:
        await asyncio.sleep(0)
        said.append("inner in")
        value = await run()
        said.append("inner out")
        return f"<{value}>"

    @kit.task
    async def handler() -> str:
        said.append("handler")
        return "value"

    async with working(kit):
        assert await (await handler.aenqueue()).aresult(timeout=WAIT) == "<value>"
    assert said == ["outer in handler", "inner in", "handler", "inner out", "outer out"]


async def test_middlewares_of_a_plain_function_run_in_its_thread_and_may_await(kit: QueueKit) -> None:
    threads: list[int] = []
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")

    @kit.middleware
    async def around(ctx: JobContext, run: Callable[[], Awaitable[object]]) -> object:
        await asyncio.sleep(0.001)
        threads.append(threading.get_ident())
        mark.set("set by the middleware")
        return await run()

    @kit.task
    def handler() -> str:
        threads.append(threading.get_ident())
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        assert asyncio.run(own_loop()) == "ran"
        return mark.get()

    async def own_loop() -> str:
        return "ran"

    async with working(kit, concurrency=1):
        assert await (await handler.aenqueue()).aresult(timeout=WAIT) == "set by the middleware"
        assert await (await handler.aenqueue()).aresult(timeout=WAIT) == "set by the middleware"
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_injected_values_are_opened_for_the_job_or_the_worker_and_closed_after(kit: QueueKit) -> None:
    said: list[str] = []

    async def session() -> AsyncIterator[str]:
        said.append("open session")
        yield "session"
        said.append("close session")

    async def pool() -> AsyncIterator[str]:
        said.append("open pool")
        yield "pool"
        said.append("close pool")

    def plain() -> Iterator[int]:
        said.append("open plain")
        yield threading.get_ident()
        said.append("close plain")

    @kit.task
    async def on_loop(a: int, s: str = Inject(session), p: str = Inject(pool, scope="worker")) -> str:
        said.append(f"run {a}")
        return s + p

    @kit.task
    def in_thread(s: str = Inject(session), t: int = Inject(plain)) -> bool:  # type: ignore[assignment]  # a generator
        return t == threading.get_ident() and s == "session"

    async with working(kit, concurrency=1):
        for a in (1, 2):
            assert await (await on_loop.aenqueue(a)).aresult(timeout=WAIT) == "sessionpool"
        first = ["open session", "open pool", "run 1", "close session", "open session", "run 2", "close session"]
        assert said == first
        said.clear()
        assert await (await in_thread.aenqueue()).aresult(timeout=WAIT) is True
        assert said == ["open session", "open plain", "close plain", "close session"]
        said.clear()
    assert said == ["close pool"]


async def test_a_provider_that_raises_fails_the_run_and_not_the_worker(kit: QueueKit) -> None:
    async def broken() -> str:
        raise ConnectionError("no database")

    tries: list[int] = []

    @kit.task(attempts=2, backoff=Backoff.fixed(0.01))
    async def needs_it(ctx: JobContext, value: str = Inject(broken)) -> None:
        tries.append(1)

    failed = asyncio.Event()
    kit.on("failed", lambda fact: failed.set())
    handle = await needs_it.aenqueue()
    async with working(kit):
        await asyncio.wait_for(failed.wait(), WAIT)
    job = await handle.aget()
    assert job is not None
    assert [error.type for error in job.errors] == ["ConnectionError"] * 2
    assert tries == []


async def test_hooks_are_told_what_happened_and_cannot_break_it(
    kit: QueueKit, caplog: pytest.LogCaptureFixture
) -> None:
    facts: list[tuple[str, State | None, str | None]] = []
    drained = asyncio.Event()

    def remember(fact: JobFact) -> None:
        facts.append((fact.event, fact.job.state if fact.job else None, fact.error.message if fact.error else None))
        if fact.event == "drained":
            drained.set()
        raise RuntimeError("a hook that raises")

    behind: list[str] = []
    for event in ("active", "completed", "failed", "retrying", "drained"):
        kit.on(event, remember)
        kit.on(event, lambda fact: behind.append(fact.event))

    @kit.task(attempts=2, backoff=Backoff.fixed(0.05))
    async def twice(ctx: JobContext) -> None:
        raise ValueError(f"run {ctx.attempt}")

    @kit.task
    async def fine() -> int:
        return 1

    async with working(kit, concurrency=1):
        assert await (await fine.aenqueue()).aresult(timeout=WAIT) == 1
        await asyncio.wait_for(drained.wait(), WAIT)
        drained.clear()
        told = list(facts)
        facts.clear()
        await twice.aenqueue()
        while ("failed", State.FAILED, "run 2") not in facts:
            await asyncio.wait_for(drained.wait(), WAIT)
            drained.clear()
    assert told == [("active", State.ACTIVE, None), ("completed", State.COMPLETED, None), ("drained", None, None)]
    assert behind == [event for event, _, _ in told + facts]  # nor keep it from the next hook
    assert [fact for fact in facts if fact[0] != "drained"] == [
        ("active", State.ACTIVE, None),
        ("retrying", State.DELAYED, "run 1"),
        ("active", State.ACTIVE, None),
        ("failed", State.FAILED, "run 2"),
    ]
    assert "a hook that raises" in caplog.text


async def test_log_records_name_the_job_and_never_its_payload(kit: QueueKit, caplog: pytest.LogCaptureFixture) -> None:
    @kit.task(attempts=1)
    async def breaks(card: str) -> None:
        raise ValueError("broken")

    failed = asyncio.Event()
    kit.on("failed", lambda fact: failed.set())
    with caplog.at_level(logging.DEBUG, logger="queuekit"):
        handle = await breaks.aenqueue("4111-1111")
        async with working(kit):
            await asyncio.wait_for(failed.wait(), WAIT)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert (record.__dict__["job"], record.__dict__["task"], record.__dict__["attempt"]) == (handle.ref, "breaks", 1)
    assert "ValueError: broken" in record.getMessage()
    assert "4111" not in caplog.text


async def test_pausing_a_queue_stops_claims_and_resuming_wakes_the_worker(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch, unpolled: None
) -> None:
    learned: asyncio.Queue[str | None] = asyncio.Queue()

    @kit.task
    async def fine() -> int:
        return 1

    async with working(kit) as worker:
        await (await fine.aenqueue()).aresult(timeout=WAIT)
        monkeypatch.setattr(worker._announcer, "paused", lambda source, reason: learned.put_nowait(reason))
        await kit.queue("default").apause("for a test")
        handle = await fine.aenqueue()
        while await asyncio.wait_for(learned.get(), WAIT) != "for a test":
            continue
        assert await handle.astatus() is State.WAITING
        await kit.queue("default").aresume()
        assert await handle.aresult(timeout=WAIT) == 1, "woken, not polled"


async def test_code_of_the_user_that_will_not_end_or_breaks_at_the_end_holds_up_no_stop(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FLUSH", 0.1)
    stuck = asyncio.Event()

    @kit.on("completed")
    async def never_ends(fact: JobFact) -> None:
        await stuck.wait()

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("closing broke")

    @kit.task
    async def fine(n: int = Inject(broken, scope="worker")) -> int:
        return n

    handle = await fine.aenqueue()
    async with asyncio.timeout(WAIT), working(kit) as one:
        assert await handle.aresult(timeout=WAIT) == 1
    stuck.set()
    await kit.hooks.settle()
    assert one.exit_code == 0


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()])
@pytest.mark.parametrize("kind", ["plain", "coroutine"])
async def test_a_hook_that_leaves_ends_neither_worker_nor_job(kit: QueueKit, error: BaseException, kind: str) -> None:
    def leave(fact: JobFact) -> None:
        raise error

    async def leave_later(fact: JobFact) -> None:
        raise error

    kit.on("completed", leave if kind == "plain" else leave_later)

    @kit.task
    async def fine() -> str:
        return "done"

    async with working(kit, concurrency=1) as one:
        for _ in range(2):
            assert await (await fine.aenqueue()).aresult(timeout=WAIT) == "done"
        assert one._body is not None
        assert not one._body.done()
