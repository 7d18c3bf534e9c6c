"""Inside a job: what a handler reports and is told, how it ends a run, and hooks."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from queuekit import Fail, Inject, JobContext, Retry, Snooze, State, codec, current_job
from queuekit.context import Report, local_context, running
from queuekit.domain.events import JobFact
from queuekit.domain.job import LOGS_KEPT, JobRecord
from queuekit.domain.query import Note
from queuekit.errors import Cancelled, InvalidOption, LeaseLost, PayloadError, Unsupported
from queuekit.producing.hooks import Hooks
from queuekit.producing.inject import InjectMarker
from queuekit.producing.snapshot import error_from, job_from, log_line, value_of
from queuekit.testing import TestKit, VirtualClock


def context(report: Report | None = None, **given: Any) -> JobContext:
    record = JobRecord(queue="q", id="1", task="t", body=b'j{"a":1}', token="actor:7", **given)
    return JobContext(record, report, attempts=3)


def test_progress_and_lines_are_kept_until_they_are_taken() -> None:
    report = Report()
    ctx = context(report)
    ctx.progress(0.1)
    ctx.progress(0.5, "half", done=[1])
    ctx.log("one")
    ctx.log("two")
    assert report.progress == codec.encode({"value": 0.5, "message": "half", "done": [1]})
    note = report.take()
    assert note.progress == codec.encode({"value": 0.5, "message": "half", "done": [1]})
    assert [log_line(line)[1] for line in note.logs] == ["one", "two"]
    assert report.take() == Note()
    with pytest.raises(PayloadError):
        ctx.progress(float("nan"))


def test_a_flood_of_lines_drops_the_oldest() -> None:
    report = Report()
    ctx = context(report)
    for n in range(LOGS_KEPT + 5):
        ctx.log(f"line {n}" + "x" * 9000)
    texts = [log_line(line)[1] for line in report.logs]
    assert (len(texts), texts[0][:6], len(texts[0])) == (LOGS_KEPT, "line 5", 8192)


def test_lines_of_many_threads_are_all_kept() -> None:
    report = Report()
    ctx = context(report)

    def chatter() -> None:
        for _ in range(100):
            ctx.log("x")

    threads = [threading.Thread(target=chatter) for _ in range(8)]
    for thread in threads:
        thread.start()
    taken = 0
    while any(thread.is_alive() for thread in threads):
        taken += len(report.take().logs)
    taken += len(report.take().logs)
    assert taken == 800


def test_a_handler_may_ask_whether_to_stop() -> None:
    report = Report()
    ctx = context(report)
    ctx.check_cancelled()
    report.cancel("not wanted")
    with pytest.raises(Cancelled, match="not wanted"):
        ctx.check_cancelled()
    report.lose()
    with pytest.raises(LeaseLost, match="no longer this run's"):
        ctx.check_cancelled()


def test_what_a_context_knows(caplog: pytest.LogCaptureFixture) -> None:
    ctx = context(failures=2)
    assert (ctx.attempt, ctx.last_attempt, ctx.token, ctx.job.payload) == (3, True, "actor:7", {"a": 1})
    assert context(failures=1).last_attempt is False
    with caplog.at_level(logging.INFO, "queuekit.job"):
        ctx.logger.info("hello")
    assert (caplog.records[0].__dict__["job"], caplog.records[0].__dict__["attempt"]) == ("q/1", 3)
    for call in (lambda: ctx.step("s", print), ctx.children):
        with pytest.raises(Unsupported, match=r"0\.3"):
            call()


def test_the_current_job_is_that_of_the_block() -> None:
    assert current_job() is None
    with running(local_context("t", "q")) as outer:
        assert current_job() is outer
        with running(context()) as inner:
            assert current_job() is inner
        assert current_job() is outer
    assert current_job() is None


def test_ways_to_end_a_run_carry_their_times() -> None:
    assert (Retry("r", after="5m").delay, Retry("r").delay, str(Retry("r"))) == (300_000, None, "r")
    assert (Snooze("1h").delay, Snooze(until=datetime(2027, 1, 1, tzinfo=UTC)).at) == (3_600_000, 1798761600000)
    with pytest.raises(InvalidOption, match="one of them"):
        Snooze()
    with pytest.raises(InvalidOption, match="one of them"):
        Snooze(1, until=datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidOption, match="naive"):
        Snooze(until=datetime(2027, 1, 1))


def test_snooze_uses_no_attempt_and_fail_uses_all(kit: TestKit, clock: VirtualClock) -> None:
    runs: list[int] = []

    @kit.task(attempts=5)
    def wait(ctx: JobContext) -> str:
        runs.append(ctx.attempt)
        if len(runs) < 3:
            raise Snooze("1h")
        raise Fail("never")

    handle = wait.enqueue()
    for _ in range(3):
        kit.drain()
        clock.travel(hours=1)
    job = handle.get()
    assert job is not None
    assert (runs, job.state, job.snoozes) == ([1, 1, 1], State.FAILED, 2)


def test_inject_is_checked() -> None:
    marker: Any = Inject(list, scope="worker")
    assert marker == InjectMarker(list, "worker")
    with pytest.raises(InvalidOption, match="give a function"):
        Inject(5)  # type: ignore[call-overload]  # what the checker refuses too
    with pytest.raises(InvalidOption, match="'job' or 'worker'"):
        Inject(list, scope="kit")  # type: ignore[call-overload]  # what the checker refuses too


def test_a_hook_that_fails_is_logged_and_the_others_are_told(caplog: pytest.LogCaptureFixture) -> None:
    hooks = Hooks()
    told: list[JobFact] = []

    def bad(fact: JobFact) -> None:
        raise ValueError("hook")

    async def abad(fact: JobFact) -> None:
        await asyncio.sleep(0)
        raise ValueError("async hook")

    hooks.add("failed", bad)
    hooks.add("failed", abad)
    hooks.add("failed", told.append)
    assert (hooks.wants("failed"), hooks.wants("completed")) == (True, False)
    fact = JobFact(event="failed", at=datetime.now(UTC), queue="q")
    hooks.emit("failed", fact)
    assert told == [fact]
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["hook", "async hook"]


async def test_a_coroutine_hook_runs_on_the_loop_that_runs() -> None:
    hooks = Hooks()
    told: list[asyncio.AbstractEventLoop] = []

    async def tell(fact: JobFact) -> None:
        await asyncio.sleep(0)
        told.append(asyncio.get_running_loop())

    hooks.add("drained", tell)
    hooks.emit("drained", JobFact(event="drained", at=datetime.now(UTC), queue="q"))
    assert told == []
    await hooks.settle()
    assert told == [asyncio.get_running_loop()]


def test_damaged_records_are_shown_and_never_raise() -> None:
    assert value_of(b"?x") == {"unreadable": "payload has codec id b'?'; this queuekit reads b'j' and b'J'", "bytes": 2}
    error = error_from(b"j5")
    assert (error.type, error.message) == ("Unknown", "5")
    assert log_line(b"jnull") == (0, "None")
    job = job_from(JobRecord(queue="q", id="1", task="t", body=b"broken", options=b"broken", errors=(b"",)))
    assert job.attempts == 3
    assert isinstance(job.payload, dict)


def test_a_middleware_runs_around_and_the_first_is_the_outermost(kit: TestKit) -> None:
    seen: list[str] = []

    def around(name: str) -> Any:
        async def middleware(ctx: JobContext, run: Any, /) -> object:
            seen.append(f"{name} in")
            result = await run()
            seen.append(f"{name} out")
            return result

        return middleware

    kit.middleware(around("a"))
    kit.middleware(around("b"))

    @kit.task
    def work() -> int:
        seen.append("work")
        return 1

    work.enqueue()
    assert [job.result for job in kit.drain()] == [1]
    assert seen == ["a in", "b in", "work", "b out", "a out"]
