"""What becomes of a job that runs: results, failures, retries, and the four ways to end a run on purpose."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queuekit import (
    Backoff,
    Cancel,
    Fail,
    Job,
    JobCancelled,
    JobContext,
    JobFailed,
    JobHandle,
    QueueKit,
    Retry,
    Snooze,
    State,
    codec,
    current_job,
)
from queuekit.domain.job import JobRecord
from queuekit.runtime import ending, failure
from queuekit.runtime.claim import Claim
from queuekit.runtime.source import Source
from tests.runtime.conftest import WAIT, each_store, working


async def ended(handle: JobHandle[Any]) -> Job:
    """The job once it has ended, however it did."""
    try:
        await handle.aresult(timeout=WAIT)
    except (JobFailed, JobCancelled):
        pass
    job = await handle.aget()
    assert job is not None
    return job


@each_store
async def test_coroutines_and_functions_run_and_give_results(kit: QueueKit) -> None:
    @kit.task
    async def add(a: int, b: int) -> int:
        await asyncio.sleep(0)
        return a + b

    @kit.task
    def double(x: int) -> int:
        return 2 * x

    first, second = await add.aenqueue(1, b=2), await double.aenqueue(21)
    async with working(kit):
        assert await first.aresult(timeout=WAIT) == 3
        assert await second.aresult(timeout=WAIT) == 42


@each_store
async def test_a_failing_job_runs_its_attempts_and_fails_with_every_error_kept(kit: QueueKit) -> None:
    seen: list[tuple[int, bool]] = []

    @kit.task(attempts=3, backoff=Backoff.fixed(0.01))
    async def breaks(ctx: JobContext) -> None:
        seen.append((ctx.attempt, ctx.last_attempt))
        raise ValueError(f"attempt {ctx.attempt} broke")

    handle = await breaks.aenqueue()
    async with working(kit) as worker:
        job = await ended(handle)
    assert seen == [(1, False), (2, False), (3, True)]
    assert job.state is State.FAILED
    assert job.attempt == 3
    assert [(error.type, error.message, error.attempt) for error in job.errors] == [
        ("ValueError", f"attempt {n} broke", n) for n in (1, 2, 3)
    ]
    assert all(error.worker == worker.id for error in job.errors)
    assert "in breaks" in job.errors[0].traceback
    assert "queuekit/runtime" not in job.errors[0].traceback


@pytest.mark.usefixtures("unpolled")
async def test_backoff_delays_the_next_run_by_the_stores_clock(kit: QueueKit) -> None:
    @kit.task(attempts=2, backoff=Backoff.fixed(0.4))
    async def breaks(ctx: JobContext) -> float:
        if ctx.attempt == 1:
            raise ValueError
        assert ctx.job.run_at is not None
        assert ctx.job.started_at is not None
        return (ctx.job.started_at - ctx.job.run_at).total_seconds()

    handle = await breaks.aenqueue()
    async with working(kit):
        late = await handle.aresult(timeout=WAIT)
    job = await handle.aget()
    assert job is not None
    assert job.run_at is not None
    assert (job.run_at - job.errors[0].at).total_seconds() >= 0.35
    assert late >= 0, "never early; and a timer does it, for nothing else asks here"


async def test_retry_after_uses_an_attempt_and_its_own_delay(kit: QueueKit) -> None:
    @kit.task(attempts=2, backoff=Backoff.fixed("1h"))
    async def later(ctx: JobContext) -> int:
        raise Retry("not yet", after=0.02)

    async with working(kit):
        job = await ended(await later.aenqueue())
    assert (job.state, job.attempt, len(job.errors)) == (State.FAILED, 2, 2)
    assert (job.errors[0].type, job.errors[0].message) == ("queuekit.Retry", "not yet")


async def test_snooze_uses_no_attempt(kit: QueueKit) -> None:
    @kit.task(attempts=1)
    async def sleepy(ctx: JobContext) -> int:
        if ctx.job.snoozes < 2:
            raise Snooze(0.01) if ctx.job.snoozes == 0 else Snooze(until=datetime.now(UTC) + timedelta(milliseconds=20))
        return ctx.attempt

    async with working(kit):
        assert await (await sleepy.aenqueue()).aresult(timeout=WAIT) == 1


async def test_fail_and_fail_on_end_a_job_at_once(kit: QueueKit) -> None:
    @kit.task(attempts=5)
    async def fails() -> None:
        raise Fail("for good")

    @kit.task(attempts=5, fail_on=(LookupError,))
    async def listed() -> None:
        raise KeyError("x")

    @kit.task(attempts=5, retry_on=(OSError,))
    async def unlisted() -> None:
        raise KeyError("x")

    async with working(kit):
        jobs = [await ended(await task.aenqueue()) for task in (fails, listed, unlisted)]
    assert [(job.state, job.attempt) for job in jobs] == [(State.FAILED, 1)] * 3
    assert jobs[0].reason == "for good"


async def test_cancel_ends_a_job_as_cancelled_and_no_failure(kit: QueueKit) -> None:
    @kit.task
    async def gives_up() -> None:
        raise Cancel("wanted no more")

    async with working(kit):
        job = await ended(await gives_up.aenqueue())
    assert (job.state, job.reason, job.errors) == (State.CANCELLED, "wanted no more", ())


async def test_a_result_that_cannot_be_stored_fails_the_job_without_another_run(kit: QueueKit) -> None:
    runs: list[int] = []

    @kit.task(attempts=3)
    async def returns_nonsense():  # type: ignore[no-untyped-def]  # annotated, it would be refused earlier
        runs.append(1)
        return object()

    async with working(kit):
        job = await ended(await returns_nonsense.aenqueue())
    assert (job.state, len(runs)) == (State.FAILED, 1)
    assert "result cannot be stored" in job.errors[0].message


@each_store
async def test_a_result_over_the_stores_limit_fails_the_job_and_says_so(kit: QueueKit) -> None:
    @kit.task(attempts=3)
    async def much() -> str:
        return "x" * 300_000

    async with working(kit):
        job = await ended(await much.aenqueue())
    assert job.state is State.FAILED
    assert "too_large" in job.errors[-1].message or "over the limit" in job.errors[-1].message


@each_store
async def test_a_payload_that_does_not_fit_is_parked_with_the_reason(new_kit: Callable[..., QueueKit]) -> None:
    kit, producer = new_kit(), new_kit()

    @kit.task
    async def wants_number(n: int) -> None: ...

    handle = await producer.queue("default").aenqueue("wants_number", {"n": "many"})
    parked = asyncio.Event()
    kit.on("parked", lambda fact: parked.set())
    async with working(kit):
        await asyncio.wait_for(parked.wait(), WAIT)
    job = await handle.aget()
    assert job is not None
    assert job.state is State.PARKED
    assert "n" in (job.reason or "")
    assert (job.attempt, job.errors) == (1, ())


ODD_ENDS: dict[str, Callable[[], Exception]] = {
    "half a character": lambda: Fail("bad name \ud800"),
    "half a character in a cancel": lambda: Cancel("bad name \ud800"),
    "much": lambda: Fail("x" * 100_000),
    "a snooze for ever": lambda: Snooze(1e300),
    "a retry for ever": lambda: Retry(after=1e300),
}


@each_store
@pytest.mark.parametrize("odd", ODD_ENDS)
async def test_an_odd_end_of_one_job_does_not_hold_up_the_others(kit: QueueKit, odd: str) -> None:
    @kit.task(attempts=2)
    async def ends() -> None:
        error = ODD_ENDS[odd]()
        raise error

    @kit.task
    async def fine() -> str:
        return "done"

    handle, other = await ends.aenqueue(), await fine.aenqueue()
    async with working(kit, concurrency=1, grace=0.1):
        assert await other.aresult(timeout=WAIT) == "done"
    job = await handle.aget()
    assert job is not None
    assert job.state in (State.FAILED, State.CANCELLED, State.DELAYED)
    assert len(job.reason or "") < 3000


def test_a_reason_to_park_is_text_that_every_store_can_keep() -> None:
    claim = Claim(JobRecord(queue="q", id="a", task="t", body=b""), Source("q", cap=1, lease=1), 0)
    assert ending.Endings("w").parked(claim, "bad \ud800").reason == "bad ?"


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("place", ["loop", "later", "thread"])
async def test_an_exit_raised_by_a_handler_fails_its_job_and_not_the_worker(
    kit: QueueKit, error: BaseException, place: str
) -> None:
    def leave() -> None:
        raise error

    async def leave_on_loop() -> None:
        raise error

    async def leave_later() -> None:
        await asyncio.sleep(0)
        raise error

    task = kit.task("leave", attempts=1)({"thread": leave, "later": leave_later, "loop": leave_on_loop}[place])

    @kit.task
    async def fine() -> str:
        return "still here"

    async with working(kit, concurrency=1):
        job = await ended(await task.aenqueue())
        assert await (await fine.aenqueue()).aresult(timeout=WAIT) == "still here"
    assert job.state is State.FAILED
    assert type(error).__name__ in (job.errors[0].type, job.errors[0].message.rpartition(" ")[2])


async def test_a_handler_that_raises_cancelled_error_itself_has_failed(kit: QueueKit) -> None:
    @kit.task(attempts=2, backoff=Backoff.fixed(0.01))
    async def raises_it(ctx: JobContext) -> int:
        if ctx.attempt == 1:
            raise asyncio.CancelledError
        return ctx.attempt

    @kit.task(attempts=2, backoff=Backoff.fixed(0.01))
    async def cancels_itself(ctx: JobContext) -> int:
        if ctx.attempt == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(WAIT)
        return ctx.attempt

    async with working(kit, concurrency=1):
        assert await (await raises_it.aenqueue()).aresult(timeout=WAIT) == 2
        assert await (await cancels_itself.aenqueue()).aresult(timeout=WAIT) == 2


async def test_a_group_of_one_exception_counts_as_that_exception(kit: QueueKit) -> None:
    async def wanted_later() -> None:
        raise Snooze(0.01)

    @kit.task(attempts=1)
    async def grouped(ctx: JobContext) -> int:
        if ctx.job.snoozes == 0:
            async with asyncio.TaskGroup() as group:
                group.create_task(wanted_later())
        return ctx.job.snoozes

    @kit.task(attempts=5, fail_on=(KeyError,))
    async def several() -> None:
        raise ExceptionGroup("both", [ValueError("a"), KeyError("b")])

    async with working(kit):
        assert await (await grouped.aenqueue()).aresult(timeout=WAIT) == 1
        job = await ended(await several.aenqueue())
    assert (job.state, job.attempt, job.errors[0].type) == (State.FAILED, 1, "ExceptionGroup")


async def test_context_variables_of_one_job_are_not_seen_by_the_next(kit: QueueKit) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")

    @kit.task
    async def marks(suspend: bool) -> str:
        if suspend:
            await asyncio.sleep(0.001)
        before = mark.get()
        mark.set("dirty")
        if suspend:
            await asyncio.sleep(0.001)
            assert mark.get() == "dirty"
        return before

    handles = [await marks.aenqueue(flag) for flag in (False, True, False, True)]
    async with working(kit, concurrency=1):
        assert [await handle.aresult(timeout=WAIT) for handle in handles] == ["clean"] * 4


async def test_current_job_is_known_in_coroutines_tasks_and_threads(kit: QueueKit) -> None:
    def who() -> str:
        ctx = current_job()
        return ctx.job.id if ctx is not None else "nobody"

    async def awho() -> str:
        return who()

    @kit.task
    async def nested() -> list[str]:
        return [who(), await asyncio.create_task(awho()), await asyncio.to_thread(who)]

    @kit.task
    def plain() -> str:
        assert threading.current_thread() is not threading.main_thread()
        return who()

    first, second = await nested.aenqueue(), await plain.aenqueue()
    async with working(kit):
        assert await first.aresult(timeout=WAIT) == [first.id] * 3
        assert await second.aresult(timeout=WAIT) == second.id
    assert current_job() is None


async def test_a_coroutine_over_its_timeout_is_stopped_and_retried(kit: QueueKit) -> None:
    stopped: list[int] = []

    @kit.task(timeout=0.05, attempts=2, backoff=Backoff.fixed(0.01))
    async def slow(ctx: JobContext) -> None:
        try:
            await asyncio.sleep(WAIT)
        finally:
            stopped.append(ctx.attempt)

    @kit.task(attempts=1)
    async def own_timeout() -> None:
        raise TimeoutError("theirs")

    async with working(kit, concurrency=1):
        job = await ended(await slow.aenqueue())
        other = await ended(await own_timeout.aenqueue())
    assert (job.state, stopped) == (State.FAILED, [1, 2])
    assert "timeout of 50 ms" in job.errors[0].message
    assert (other.errors[0].type, other.errors[0].message) == ("TimeoutError", "theirs")


async def test_a_thread_over_its_timeout_settles_the_job_and_keeps_its_slot(kit: QueueKit) -> None:
    go, ran = threading.Event(), asyncio.Event()

    @kit.task(timeout=0.05, attempts=1)
    def stuck() -> None:
        go.wait(WAIT)

    @kit.task
    async def next_one() -> None:
        ran.set()

    async with working(kit, concurrency=1) as worker:
        job = await ended(await stuck.aenqueue())
        following = await next_one.aenqueue()
        assert job.state is State.FAILED
        assert "thread cannot be stopped" in job.errors[0].message
        assert worker._consumers[0].slots.free == 0
        assert not ran.is_set()
        go.set()
        await following.aresult(timeout=WAIT)


async def test_a_task_runs_no_more_often_at_once_than_its_own_concurrency(kit: QueueKit) -> None:
    now, most = 0, 0

    @kit.task(concurrency=2)
    async def bounded() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    handles = [await bounded.aenqueue() for _ in range(10)]
    async with working(kit, concurrency=8):
        for handle in handles:
            await handle.aresult(timeout=WAIT)
    assert most == 2


@each_store
async def test_a_job_of_an_unknown_task_waits_longer_each_time_and_is_then_parked(
    new_kit: Callable[..., QueueKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "UNKNOWN_TASK_DELAYS", (10, 20, 30, 40, 50))
    old, newer = new_kit(), new_kit()
    parked = asyncio.Event()
    old.on("parked", lambda fact: parked.set())

    @old.task
    async def something_else() -> None: ...

    handle = await newer.queue("default").aenqueue("brand_new", {"n": 1})
    async with working(old):
        await asyncio.wait_for(parked.wait(), WAIT)
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.attempt, job.snoozes) == (State.PARKED, 1, 5)
    assert [error.type for error in job.errors] == ["UnknownTask"] * 5
    assert "brand_new" in (job.reason or "")

    @newer.task
    async def brand_new(n: int) -> int:
        return n

    assert await handle.aretry()
    async with working(newer):
        assert await newer.job(handle.ref).aresult(timeout=WAIT) == 1


async def test_a_retried_job_of_an_unknown_task_starts_to_count_again(
    new_kit: Callable[..., QueueKit], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = JobRecord(queue="q", id="a", task="brand_new", body=b"j{}", token="t:1", snoozes=0)
    record.errors = tuple(failure.record("UnknownTask", "no handler", "", attempt=1, worker="w") for _ in range(5))
    claim = Claim(record, Source("q", cap=1, lease=1000), 0.0)
    endings = ending.Endings("w")
    assert endings.unknown_task(claim).delay == 1000
    record.snoozes, record.errors = 9, ()
    assert endings.unknown_task(claim).delay == 1000, "its own handler snoozed it nine times"
    record.errors = (failure.record("UnknownTask", "no handler", "", attempt=1, worker="w"),)
    assert endings.unknown_task(claim).delay == 2000


def test_an_error_record_is_bounded_readable_and_without_secrets() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("redis://:hunter2@host/0 \ud800 " + "𝄞" * 50_000)

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    try:
        deep(500)
    except ValueError as error:
        data = failure.describe(error, attempt=2, worker="w")
    assert len(data) <= failure.ERROR_MAX
    said = codec.decode(data)
    assert isinstance(said, dict)
    assert said["type"] == "ValueError"
    assert "hunter2" not in str(said)
    assert str(said["message"]).startswith("redis://:***@host/0")
    assert "in deep" in str(said["traceback"])
    mute = codec.decode(failure.describe(Mute(), attempt=1, worker="w"))
    assert isinstance(mute, dict)
    assert mute["message"] == "(its message raised RuntimeError)"
