"""Rows of `000`: an event-driven market-data queue on Bull."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queuekit import Backoff, Fail, JobContext, Processor, QueueKit, Settings, State
from queuekit.settings import VARIABLES
from queuekit.testing import TestKit


def test_S0_7_several_job_types_in_one_queue_and_a_catch_all(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[object] = []

    @kit.task("sync-screener", queue="market")
    def screener(instrumentId: str) -> None:
        seen.append(("screener", instrumentId))

    @kit.task("sync-prices", queue="market")
    def prices(day: str) -> None:
        seen.append(("prices", day))

    @kit.processor("market")
    class Rest(Processor[dict[str, Any], None]):
        task = None

        def process(self, ctx: JobContext, payload: dict[str, Any], /) -> None:
            seen.append((ctx.job.task, payload))

    for task, payload in (
        ("sync-prices", {"day": "mon"}),
        ("sync-screener", {"instrumentId": "i1"}),
        ("new", {"x": 1}),
    ):
        kit.queue("market").enqueue(task, payload)
    run("market")
    assert seen == [("prices", "mon"), ("screener", "i1"), ("new", {"x": 1})]


def test_S0_10_redis_settings_have_the_seeds_names_and_defaults() -> None:
    assert Settings.load({"QUEUE_PROVIDER": "redis"}).url.startswith("redis://localhost:6379")
    assert Settings.load({"REDIS_HOST": "cache", "REDIS_PORT": "6400"}).url.startswith("redis://cache:6400")


def test_S0_11_three_attempts_and_an_exponential_backoff_of_one_two_four_seconds(
    kit: QueueKit, run: Callable[..., int]
) -> None:
    backoff = Backoff.exponential(1)
    assert [backoff.delay(n) for n in (1, 2, 3)] == [timedelta(seconds=s) for s in (1, 2, 4)]

    @kit.task(queue="q")
    def fails() -> None:
        raise ValueError("no")

    job = fails.enqueue()
    run("q")
    found = job.get()
    assert found is not None
    assert (found.state, found.attempts) == (State.DELAYED, 3)
    assert found.run_at is not None
    assert timedelta(seconds=0.9) <= found.run_at - found.errors[0].at <= timedelta(seconds=1.1)


def test_S0_11_a_job_with_four_attempts_waits_one_two_and_four_seconds() -> None:
    with TestKit() as kit:

        @kit.task(queue="q", attempts=4)
        def fails() -> None:
            raise ValueError("no")

        job = fails.enqueue()
        waits = []
        for attempt in (1, 2, 3, 4):
            kit.drain()
            found = job.get()
            assert found is not None
            assert len(found.errors) == attempt
            if found.run_at is not None and found.state is State.DELAYED:
                waits.append(found.run_at - kit.clock.now())
                kit.clock.travel(seconds=waits[-1].total_seconds())
        assert waits == [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=4)]
        assert job.status() == State.FAILED


def test_S0_12_a_jobs_own_options_go_before_the_tasks_the_queues_and_the_kits(
    kit: QueueKit, run: Callable[..., int], tmp_path: Path
) -> None:
    class Boom(Exception):
        pass

    def fails() -> None:
        raise Boom

    kit = QueueKit(f"sqlite:///{tmp_path / 'own.db'}", queues={"q": {"attempts": 2, "backoff": 0}})
    with kit:
        by_queue = kit.task("by-queue", queue="q")(fails)
        by_task = kit.task("by-task", queue="q", attempts=4)(fails)
        handles = {2: by_queue.enqueue(), 4: by_task.enqueue(), 1: by_task.using(attempts=1).enqueue()}
        kit.worker(queues=["q"], burst=True).run()
        for attempts, handle in handles.items():
            job = handle.get()
            assert job is not None
            assert (job.state, len(job.errors)) == (State.FAILED, attempts)


def test_S0_14_each_failure_is_logged_with_its_attempt(
    kit: QueueKit, run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    @kit.task(queue="q", attempts=2, backoff=0)
    def fails() -> None:
        raise ValueError("the reason")

    job = fails.enqueue()
    with caplog.at_level(logging.INFO, "queuekit"):
        run("q")
    lines = [record.getMessage() for record in caplog.records if job.id in record.getMessage()]
    assert ["attempt 1" in lines[0], "attempt 2" in lines[1]] == [True, True]
    assert all("the reason" in line for line in lines[:2])


def test_S0_15_transient_failures_are_retried_and_permanent_ones_kept_for_replay(
    kit: QueueKit, run: Callable[..., int]
) -> None:
    known = set()

    @kit.task(queue="q", attempts=3, backoff=0)
    def sync(instrument: str) -> str:
        if instrument == "flaky" and instrument not in known:
            known.add(instrument)
            raise ConnectionError("try again")
        if instrument not in known:
            raise Fail(f"no such instrument: {instrument}")
        return instrument

    flaky, gone = sync.enqueue("flaky"), sync.enqueue("gone")
    run("q")
    assert (flaky.status(), gone.status()) == (State.COMPLETED, State.FAILED)
    (dead,) = kit.find(queue="q", state=State.FAILED).jobs
    assert (dead.id, dead.attempt, dead.errors[-1].message) == (gone.id, 1, "no such instrument: gone")
    known.add("gone")
    assert gone.retry()
    run("q")
    assert gone.result(timeout=0) == "gone"


def test_S0_23_jobs_are_prioritised(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[int] = []

    @kit.task(queue="q")
    def note(n: int) -> None:
        seen.append(n)

    for n in (500, 7, 0, 1000, 10):
        note.using(priority=n).enqueue(n)
    run("q")
    assert seen == [0, 7, 10, 500, 1000]


SHARED = """
import os, time
from queuekit import QueueKit

kit = QueueKit()

@kit.task(queue="q")
def work(n: int) -> int:
    time.sleep(0.02)  # long enough for the others to come by
    return os.getpid()
"""


def test_S0_21_more_workers_started_anywhere_share_the_load(tmp_path: Path, redis_url: str) -> None:
    (tmp_path / "app.py").write_text(SHARED)
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env |= {"QUEUEKIT_URL": redis_url, "QUEUEKIT_NAMESPACE": f"share-{os.getpid()}"}
    command = [str(Path(sys.executable).with_name("queuekit")), "worker", "app:kit"]
    log = tmp_path / "workers.log"
    with QueueKit(settings=Settings.load(env)) as kit, log.open("wb") as lines:
        workers = [subprocess.Popen(command, cwd=tmp_path, env=env, stdout=lines, stderr=lines) for _ in range(3)]
        try:
            deadline = time.monotonic() + 60
            kit.queue("q").enqueue("work", {"n": -1}).result(timeout=60)
            while kit.health("q")["q"].workers < 3:
                assert time.monotonic() < deadline, log.read_text()
            queue, ran = kit.queue("q"), list[object]()
            while len(set(ran)) < 3:  # a busy machine may hold one of them up
                assert time.monotonic() < deadline, (Counter(ran), log.read_text())
                handles = kit.enqueue_many([queue.make("work", {"n": n}) for n in range(30)])
                ran += [handle.result(timeout=60) for handle in handles]
        finally:
            for worker in workers:
                worker.terminate()
            codes = [worker.wait(30) for worker in workers]
        totals = kit.health("q")["q"]
        kit.queue("q").obliterate(confirm="q")
    assert codes == [0, 0, 0]
    assert {worker.pid for worker in workers} == set(ran)  # each took some
    assert (totals.completed, totals.failed, totals.waiting) == (len(ran) + 1, 0, 0)
