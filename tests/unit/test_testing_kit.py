"""The shipped testing kit: a virtual clock, draining, asserting, running inline."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import queuekit.testing
from queuekit import JobContext, JobFailed, QueueKit, Retry, Settings, State
from queuekit.domain.events import JobFact
from queuekit.producing import snapshot
from queuekit.testing import TestKit, VirtualClock, inline, isolated


def test_reminders_run_a_day_an_hour_and_a_quarter_before(kit: TestKit, clock: VirtualClock) -> None:
    sent: list[tuple[str, datetime]] = []

    @kit.task
    def remind(what: str) -> None:
        sent.append((what, clock.now()))

    start = clock.now() + timedelta(days=2)
    for what, before in (
        ("day", timedelta(hours=24)),
        ("hour", timedelta(hours=1)),
        ("quarter", timedelta(minutes=15)),
    ):
        remind.using(run_at=start - before).enqueue(what)
    assert kit.drain() == []
    clock.travel(hours=23)
    assert kit.drain() == []
    clock.travel(hours=1)
    assert [job.payload for job in kit.drain()] == [{"what": "day"}]
    clock.travel("23h")
    assert [job.payload for job in kit.drain()] == [{"what": "hour"}]
    clock.travel(to=start)
    assert [job.state for job in kit.drain()] == [State.COMPLETED]
    assert [what for what, _ in sent] == ["day", "hour", "quarter"]


@pytest.mark.parametrize("well", [True, False])
def test_what_a_drained_job_reported_is_kept_with_it(kit: TestKit, well: bool) -> None:
    @kit.task(attempts=1)
    def report(ctx: JobContext, well: bool) -> None:
        ctx.progress(0.5, "half")
        ctx.log("read")
        if not well:
            raise ValueError("the other half")

    report.enqueue(well)
    (ran,) = kit.drain()
    assert ran.progress == {"value": 0.5, "message": "half"}
    (record,) = kit.run(lambda at: at.ask(partial(at.store.get, ran.queue, [ran.id])))
    assert record is not None
    assert [snapshot.log_line(line)[1] for line in record.logs] == ["read"]


def test_a_retry_waits_for_its_backoff(kit: TestKit, clock: VirtualClock) -> None:
    runs: list[int] = []

    @kit.task(attempts=3)
    def flaky(ctx: JobContext) -> str:
        runs.append(ctx.attempt)
        if not ctx.last_attempt:
            raise ConnectionError("away")
        return "done"

    handle = flaky.enqueue()
    assert [job.state for job in kit.drain()] == [State.DELAYED]
    assert kit.drain() == []
    clock.travel(seconds=1)
    assert [job.state for job in kit.drain()] == [State.DELAYED]
    clock.travel(seconds=1)
    assert kit.drain() == []
    clock.travel(seconds=1)
    (job,) = kit.drain()
    assert (job.state, job.result, runs, len(job.errors)) == (State.COMPLETED, "done", [1, 2, 3], 2)
    assert handle.result(timeout=1) == "done"


def test_what_handlers_enqueue_runs_in_the_same_drain(kit: TestKit) -> None:
    @kit.task
    def count(n: int) -> int:
        if n:
            count.enqueue(n - 1)
        return n

    count.enqueue(3)
    assert [job.result for job in kit.drain()] == [3, 2, 1, 0]


def test_a_job_that_makes_itself_anew_is_told_apart_from_a_long_queue(kit: TestKit) -> None:
    import asyncio

    from queuekit.testing.drain import drain

    runs = 0

    @kit.task
    def forever() -> None:
        nonlocal runs
        runs += 1
        forever.enqueue()

    forever.enqueue()
    with pytest.raises(RuntimeError, match="enqueue itself again"):
        asyncio.run(drain(kit, limit=20))
    assert runs == 20


def test_a_drained_job_whose_result_no_store_would_keep_has_failed(kit: TestKit) -> None:
    @kit.task(attempts=3)
    def much() -> str:
        return "x" * 300_000

    much.enqueue()
    (job,) = kit.drain()
    assert job.state is State.FAILED
    assert "too_large" in job.errors[-1].message
    assert kit.drain() == []


@pytest.mark.parametrize("place", ["queue", "kit"])
def test_a_drained_queue_keeps_what_code_says(place: str, clock: VirtualClock) -> None:
    """As under a worker, which writes the limits of its queues when it starts."""
    file = {"kit": {"defaults": {"keep_completed": 2}}} if place == "kit" else {}
    kit = TestKit(
        clock=clock,
        settings=Settings(url="model://", chosen_by="a test", file_tables=file),
        queues={"mail": {"keep_completed": 2} if place == "queue" else {"lease": 40}},
    )
    kit.task("send", queue="mail")(lambda: None)
    for _ in range(2):
        for _ in range(5):
            kit.queue("mail").enqueue("send")
        assert len(kit.drain()) == 5
    assert len(kit.jobs()) == 2


async def test_draining_inside_a_loop(kit: TestKit) -> None:
    @kit.task
    async def double(n: int) -> int:
        return 2 * n

    handle = await double.aenqueue(4)
    with pytest.raises(RuntimeError, match=r"await kit\.adrain"):
        kit.drain()
    assert [job.result for job in await kit.adrain()] == [8]
    assert await handle.aresult(timeout=1) == 8
    await kit.aclose()


def test_assert_enqueued_says_what_is_there(kit: TestKit) -> None:
    @kit.task(queue="mail")
    def send(to: str, subject: str = "hi") -> None: ...

    send.enqueue("a@example.com")
    send.enqueue("b@example.com", subject="yo")
    assert len(kit.assert_enqueued(send)) == 2
    kit.assert_enqueued("send", {"to": "a@example.com"}, queue="mail", times=1)
    kit.assert_enqueued(send, {"to": "c@example.com"}, times=0)
    kit.drain()
    kit.assert_enqueued(send, times=2)
    with pytest.raises(AssertionError, match=r"at least one job of task 'send' with [^$]*c@[^$]*b@example.com"):
        kit.assert_enqueued(send, {"to": "c@example.com"})
    with pytest.raises(AssertionError, match="expected 3 jobs of task 'send', found 2"):
        kit.assert_enqueued(send, times=3)


def test_hooks_are_told_while_draining(kit: TestKit) -> None:
    told: list[tuple[str, str]] = []

    @kit.task
    def fail() -> None:
        raise ValueError("no")

    @kit.on("failed")
    async def tell(fact: JobFact) -> None:
        told.append((fact.event, fact.error.message if fact.error else ""))

    fail.using(attempts=1).enqueue()
    kit.drain()
    assert told == [("failed", "no")]


def test_an_application_s_own_kit_is_isolated(clock: VirtualClock) -> None:
    app = QueueKit("redis://nowhere.invalid:1", name="shop")

    @app.task(attempts=1)
    def buy(thing: str) -> str:
        if thing == "nothing":
            raise ValueError("nothing to buy")
        app.queue("mail").enqueue("thanks", {"for": thing})
        return thing.upper()

    with isolated(app, clock) as kit:
        handle = buy.enqueue("apple")
        assert [job.result for job in kit.drain("default")] == ["APPLE"]
        assert handle.result(timeout=1) == "APPLE"
        kit.assert_enqueued("thanks", {"for": "apple"}, queue="mail")
    assert app.access is not kit.access


def test_inline_runs_a_job_before_enqueue_returns() -> None:
    app = QueueKit(name="inline")
    seen: list[str] = []

    @app.task(attempts=1)
    def first(n: int) -> str:
        seen.append(f"first {n!r}")
        second.enqueue(f"from {n}")
        return "ok"

    @app.task(attempts=1)
    def second(text: str) -> None:
        seen.append(text)
        raise Retry("again")

    with inline(app):
        handle = first.using().enqueue("5")  # type: ignore[arg-type]  # validated on the way: an int arrives
        assert seen == ["first 5", "from 5"]
        assert handle.result() == "ok"
        with pytest.raises(JobFailed, match="again"):
            second.enqueue("x").result()
        assert first.using(delay=5).enqueue(1).status() is State.DELAYED


async def test_inline_in_a_loop() -> None:
    app = QueueKit(name="inline")

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    with inline(app):
        assert await (await double.aenqueue(4)).aresult() == 8
        await app.aclose()


def test_the_clock_stands_still_and_never_goes_back() -> None:
    clock = VirtualClock(datetime(2027, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2027, 1, 1, tzinfo=UTC)
    assert clock.travel(days=1, hours=2, minutes=3, seconds=4.5) == datetime(2027, 1, 2, 2, 3, 4, 500000, tzinfo=UTC)
    with pytest.raises(ValueError, match="does not go back"):
        clock.travel(to=datetime(2027, 1, 1, tzinfo=UTC))


def test_the_plugin_is_opt_in(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["queuekit.testing.plugin"]\n')
    (tmp_path / "test_it.py").write_text(
        "def test_it(kit, clock):\n"
        "    done = []\n"
        "    @kit.task\n"
        "    def note(n: int): done.append(n)\n"
        "    note.using(delay='1h').enqueue(7)\n"
        "    kit.drain(); assert done == []\n"
        "    clock.travel(hours=1); kit.drain(); assert done == [7]\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


def test_the_public_names_of_the_kit_are_these() -> None:
    names = ["Faults", "TestKit", "VirtualClock", "faulty", "faulty_store", "inline", "isolated"]
    assert queuekit.testing.__all__ == names
