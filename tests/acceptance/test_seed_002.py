"""Rows of `002`: the queues of a trading platform."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from queuekit import Backoff, Priority, QueueKit, Settings, State
from queuekit.errors import ConfigError
from queuekit.testing.servers import RedisServer


class QueueName(StrEnum):
    PORTFOLIO_HIGH = "portfolio:high_priority"
    PORTFOLIO_LOW = "portfolio:low_priority"
    ORDERS = "execution:order_submission"
    RECONCILIATION = "execution:reconciliation"
    SIGNALS = "strategy:signals"
    BACKTEST = "backtest:jobs"
    CANDLES = "exchange:candle_ingestion"


def test_S2_2_queue_names_may_hold_colons(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    @kit.task
    def note(name: str) -> None:
        seen.append(name)

    for name in QueueName:
        note.using(queue=name).enqueue(name)
    run(*QueueName)
    assert seen == list(QueueName)
    assert sorted(kit.health()) == sorted(QueueName)


def test_S2_3_the_high_queue_goes_before_the_low_one(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    @kit.task
    def note(name: str) -> None:
        seen.append(name)

    for name in ("low", "low", "high", "high"):
        note.using(queue=name).enqueue(name)
    run("high", "low")
    assert seen == ["high", "high", "low", "low"]


def test_S2_3_weights_share_a_worker(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    @kit.task
    def note(name: str) -> None:
        seen.append(name)

    for name in ("low", "high"):
        kit.enqueue_many([note.using(queue=name).make(name) for _ in range(40)])
    kit.worker(queues={"high": 3, "low": 1}, burst=True).run()
    assert 24 <= seen[:40].count("high") <= 36  # 30 of 40 would be exact


def test_S2_4_priority_values() -> None:
    assert {p.name: p.value for p in Priority} == {"CRITICAL": 1, "HIGH": 5, "NORMAL": 10, "LOW": 15}


def test_S2_4_lower_runs_first_and_names_are_accepted(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    @kit.task(queue="q")
    def note(name: str) -> None:
        seen.append(name)

    for name in ("low", "normal", "critical", "high"):
        note.using(priority=name).enqueue(name)
    run("q")
    assert seen == ["critical", "high", "normal", "low"]


def test_S2_5_one_block_says_the_concurrency_of_all_seven_queues(tmp_path: Path) -> None:
    table = {
        QueueName.PORTFOLIO_HIGH: 20, QueueName.PORTFOLIO_LOW: 5, QueueName.ORDERS: 5, QueueName.RECONCILIATION: 3,
        QueueName.SIGNALS: 10, QueueName.BACKTEST: 2, QueueName.CANDLES: 10,
    }  # fmt: skip
    peak: dict[str, int] = {}
    running: dict[str, int] = {}
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues={str(q): {"concurrency": n} for q, n in table.items()}) as kit:

        @kit.task
        async def work(name: str) -> None:
            running[name] = running.get(name, 0) + 1
            peak[name] = max(peak.get(name, 0), running[name])
            await asyncio.sleep(0.02)
            running[name] -= 1

        for name in table:
            kit.enqueue_many([work.using(queue=name).make(name) for _ in range(40)])
        kit.worker(queues=list(table), burst=True).run()
    assert peak == {str(q): n for q, n in table.items()}


def test_S2_10_health_has_six_keys(kit: QueueKit, run: Callable[..., int]) -> None:
    @kit.task(queue="q", attempts=1)
    def work(ok: bool) -> None:
        if not ok:
            raise ValueError

    kit.enqueue_many([work.make(ok) for ok in (True, True, False)])
    run("q")
    work.enqueue(True)
    work.using(delay="1h").enqueue(True)
    health = kit.health("q")["q"]
    six = {name: getattr(health, name) for name in ("name", "waiting", "active", "completed", "failed", "delayed")}
    assert six == {"name": "q", "waiting": 1, "active": 0, "completed": 2, "failed": 1, "delayed": 1}


def test_S2_11_health_of_all_queues(kit: QueueKit) -> None:
    kit.queue("a").enqueue("t")
    kit.queue("b:c").enqueue("t")
    assert {name: health.waiting for name, health in kit.health().items()} == {"a": 1, "b:c": 1}


def test_S2_12_empty_variables_count_as_unset() -> None:
    settings = Settings.load({"REDIS_URL": "redis://localhost:6379", "REDIS_PASSWORD": "", "REDIS_DB": "0"})
    assert settings.url == "redis://localhost:6379/0"
    assert Settings.load({"REDIS_URL": "", "REDIS_PASSWORD": ""}).url.startswith("sqlite:")


def test_S2_13_a_redis_that_evicts_jobs_is_refused() -> None:
    evicting = RedisServer(options={"maxmemory-policy": "allkeys-lru"})
    with evicting as server, QueueKit(server.url) as kit, pytest.raises(ConfigError, match="noeviction"):
        kit.queue("q").enqueue("t")


def test_S2_14_the_default_backoff_is_one_two_four_seconds(kit: QueueKit) -> None:
    assert [Backoff().delay(n) for n in (1, 2, 3)] == [timedelta(seconds=s) for s in (1, 2, 4)]


def test_S2_15_attempts_by_queue(tmp_path: Path) -> None:
    queues = {QueueName.ORDERS: {"attempts": 5, "backoff": 0}, QueueName.BACKTEST: {"attempts": 1}}
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues=queues) as kit:  # type: ignore[arg-type]  # a TypedDict by its keys

        @kit.task
        def fails() -> None:
            raise ValueError

        handles = {5: fails.using(queue=QueueName.ORDERS).enqueue(), 1: fails.using(queue=QueueName.BACKTEST).enqueue()}
        kit.worker(queues=list(queues), burst=True).run()
        for attempts, handle in handles.items():
            job = handle.get()
            assert job is not None
            assert (job.state, len(job.errors)) == (State.FAILED, attempts)


def test_S2_21_ping_says_pong(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "queuekit"), "-u", f"sqlite:///{tmp_path}/q.db", "ping"]
    assert subprocess.check_output(command, text=True).startswith("PONG")


def test_S2_23_queues_are_named_by_an_enum(kit: QueueKit) -> None:
    handle = kit.queue(QueueName.ORDERS).enqueue("t")
    assert (handle.queue, type(handle.queue)) == ("execution:order_submission", str)
    assert kit.health(QueueName.ORDERS)["execution:order_submission"].waiting == 1
