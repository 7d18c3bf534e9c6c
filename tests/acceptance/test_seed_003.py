"""Rows of `003`: queues of several domains, with a worker command of their own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypedDict

from pydantic import BaseModel

from queuekit import JobHandle, Keep, QueueKit, Settings, State

APP = """
import asyncio
from queuekit import QueueKit

kit = QueueKit()
running = 0

@kit.task(queue="q")
async def work() -> int:
    global running
    running += 1
    await asyncio.sleep(0.1)
    seen, running = running, running - 1
    return seen
"""


class PaymentJobData(BaseModel):
    userId: str
    amount: Decimal
    currency: str
    paymentMethod: str


class PaymentResult(TypedDict):
    success: bool
    transactionId: str


def test_S3_1_a_worker_command_with_its_concurrency(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    url = f"sqlite:///{tmp_path}/q.db"
    command = [
        str(Path(sys.executable).parent / "queuekit"),
        "-u",
        url,
        "worker",
        "app:kit",
        "--concurrency=4",
        "--burst",
    ]
    with QueueKit(url) as kit:
        handles = [kit.queue("q").enqueue("work") for _ in range(8)]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert max(int(str(handle.result(timeout=0))) for handle in handles) == 4


def test_S3_3_a_producer_needs_nothing_of_a_worker(tmp_path: Path) -> None:
    code = (
        "import sys, queuekit\nkit = queuekit.QueueKit(sys.argv[1])\nkit.queue('q').enqueue('t')\n"
        "assert not [name for name in sys.modules if name.startswith('queuekit.runtime')]"
    )
    subprocess.run([sys.executable, "-c", code, f"sqlite:///{tmp_path}/q.db"], check=True, timeout=60)


def test_S3_5_S3_6_the_seeds_jobs_run(kit: QueueKit, run: Callable[..., int]) -> None:
    @dataclass
    class GameData:
        provider: str
        data: dict[str, int]
        timestamp: str
        messageType: str

    @kit.task("game_data", queue="test-queue")
    def game(payload: GameData) -> str:
        return payload.provider

    payload = {"provider": "NAMED_POWERBALL", "data": {"n": 1}, "timestamp": "2026-01-01", "messageType": "m"}
    handle = kit.queue("test-queue").enqueue("game_data", payload)
    run("test-queue")
    assert handle.result(timeout=0) == "NAMED_POWERBALL"


def test_S3_7_S3_12_payments_are_typed_and_money_stays_exact(kit: QueueKit, run: Callable[..., int]) -> None:
    process = kit.declare(
        "process-payment", PaymentJobData, PaymentResult, queue="payment", keep_completed=100, keep_failed=20
    )

    def add_payment_job(data: PaymentJobData) -> JobHandle[PaymentResult]:
        return process.enqueue(data)

    paid: list[Decimal] = []

    @process.handler
    def pay(payload: PaymentJobData) -> PaymentResult:
        paid.append(payload.amount)
        return {"success": True, "transactionId": "t1"}

    handle = add_payment_job(PaymentJobData(userId="u", amount=Decimal("0.10"), currency="USD", paymentMethod="card"))
    run("payment")
    assert handle.result(timeout=0) == {"success": True, "transactionId": "t1"}
    assert (paid, str(paid[0])) == ([Decimal("0.10")], "0.10")


def test_S3_8_one_at_a_time_is_the_default_and_a_queue_may_say_more(tmp_path: Path) -> None:
    peak: dict[str, int] = {}
    running: dict[str, int] = {}
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues={"five": {"concurrency": 5}}) as kit:

        @kit.task
        async def work(name: str) -> None:
            running[name] = running.get(name, 0) + 1
            peak[name] = max(peak.get(name, 0), running[name])
            await asyncio.sleep(0.01)
            running[name] -= 1

        for name in ("one", "five"):
            kit.enqueue_many([work.using(queue=name).make(name) for _ in range(15)])
        kit.worker(queues=["one", "five"], burst=True).run()
    assert peak == {"one": 1, "five": 5}


def test_S3_12_S3_13_retention_by_count(kit: QueueKit, run: Callable[..., int]) -> None:
    @kit.task(queue="test-queue", keep_completed=10, keep_failed=Keep(count=5), attempts=1)
    def work(ok: bool) -> None:
        if not ok:
            raise ValueError

    kit.enqueue_many([work.make(n % 2 == 0) for n in range(60)])
    run("test-queue")
    health = kit.health("test-queue")["test-queue"]
    assert (health.completed, health.failed) == (10, 5)
    assert kit.find(queue="test-queue", state=State.FAILED).total == 5


def test_S3_14_redis_by_its_parts() -> None:
    env = {"REDIS_HOST": "10.0.0.5", "REDIS_PORT": "6329", "REDIS_PASSWORD": "redispass123", "REDIS_DB": "2"}
    settings = Settings.load(env)
    assert settings.url == "redis://:redispass123@10.0.0.5:6329/2"
    assert "redispass123" not in repr(settings)


def test_S3_18_concurrency_per_environment() -> None:
    assert Settings.load({"QUEUEKIT_CONCURRENCY": "7"}).concurrency == 7
