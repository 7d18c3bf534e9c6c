"""Rows about what comes at its time: schedules of code and file, the scheduler service, Agenda's tuning."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, recipes
from queuekit.compat.agenda import JobProcessor
from queuekit.compat.bull import Job, QueueManager, SchedulerService, create_worker, get_queue, process
from queuekit.recipes import DataCleanup, ReportGeneration
from queuekit.testing import TestKit

TOML = """
[kit]
timezone = "Europe/Berlin"

[schedules.clean-up]
task = "data_cleanup"
queue = "maintenance"
payload = { target = "sessions", older_than = "90 days" }
cron = "30 3 * * *"

[schedules.weekly-report]
task = "report_generation"
queue = "maintenance"
payload = { report = "fills" }
every = "7 days"
"""


def test_S0_1_one_object_owns_tasks_queues_and_schedules(kit: QueueKit) -> None:
    ran: list[str] = []

    @kit.task("sync-screener", queue="market")
    def sync(instrument: str) -> None:
        ran.append(instrument)

    kit.schedule("nightly-sync", sync.make("all"), cron="0 3 * * *", timezone="Europe/Berlin")
    sync.enqueue("BTCUSDT")
    kit.worker(burst=True).run()
    assert ran == ["BTCUSDT"]
    (one,) = kit.schedules.all()
    assert (one.id, one.queue, one.task, one.payload) == (
        "nightly-sync",
        "market",
        "sync-screener",
        {"instrument": "all"},
    )
    kit.schedules.fire("nightly-sync")
    kit.worker(burst=True).run()
    assert ran == ["BTCUSDT", "all"]


def test_S0_8_tasks_in_one_place_of_code_listed_enabled_and_disabled(kit: QueueKit) -> None:
    service = SchedulerService(
        {
            "sync-screener": {"cron": "*/15 * * * *", "tz": "Europe/Berlin", "data": {"exchange": "XETRA"}},
            "clean-up": {"every": 3_600_000, "enabled": False},
        },
        queue="market",
        kit=kit,
    )
    assert service.start() == ["sync-screener", "clean-up"]
    assert [(one.key, one.pattern, one.every) for one in service.tasks()] == [
        ("sync-screener", "*/15 * * * *", None), ("clean-up", None, 3_600_000),
    ]  # fmt: skip
    assert service.enable("clean-up")
    assert service.disable("sync-screener", "the exchange is closed")
    assert {one.key: one.paused for one in service.tasks()} == {
        "clean-up": None, "sync-screener": "the exchange is closed",
    }  # fmt: skip


def test_S0_8_tasks_in_one_place_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "queuekit.toml").write_text(TOML)
    monkeypatch.chdir(tmp_path)
    with QueueKit(f"sqlite:///{tmp_path}/q.db", name="of-a-file") as kit:
        tasks = recipes.declare(kit, queue="maintenance")
        tasks.data_cleanup.handler(_clean)
        tasks.report_generation.handler(_report)
        kit.worker(burst=True).run()
        found = {one.id: one for one in kit.schedules.all()}
        assert [(one.id, one.origin, one.task) for one in found.values()] == [
            ("clean-up", "file", "data_cleanup"), ("weekly-report", "file", "report_generation"),
        ]  # fmt: skip
        assert found["clean-up"].rule["timezone"] == "Europe/Berlin"
        assert kit.schedules.pause("clean-up", "the disk is being changed")
        kit.worker(burst=True).run()  # the next deploy
        paused = kit.schedules.get("clean-up")
        assert paused is not None
        assert (paused.paused, paused.next_at) == ("the disk is being changed", None)
        assert kit.schedules.resume("clean-up")


def test_S0_9_a_schedule_makes_jobs_like_all_others() -> None:
    """Scheduler, manager, queue, processor, service: one way, with the same attempts, hooks and processors."""
    with TestKit() as kit:
        manager, screener, heard = QueueManager("market", kit=kit), list[Any](), list[tuple[str, str]]()
        scheduler = SchedulerService(
            {
                "sync-screener": {
                    "every": 60_000,
                    "data": {"from": "scheduler"},
                    "options": {"attempts": 2, "backoff": 0},
                }
            },
            queue=manager.queue,
        )

        @process("market", "sync-screener", kit=kit)
        def sync(job: Job[Any]) -> None:
            if job.attempts_made == 0:
                raise ConnectionError("the exchange is busy")
            screener.append(job.data["from"])

        kit.on("retrying", lambda fact: heard.append(("retrying", fact.queue)))
        kit.on("completed", lambda fact: heard.append(("completed", fact.queue)))
        scheduler.start()
        manager.add_job(
            {"type": "sync-screener", "data": {"from": "manager"}, "options": {"attempts": 2, "backoff": 0}}
        )
        kit.drain()
        assert sorted(screener) == ["manager", "scheduler"]
        assert sorted(heard) == [("completed", "market")] * 2 + [("retrying", "market")] * 2
        jobs = {job.payload["from"]: job for job in kit.jobs()}  # type: ignore[call-overload,index]  # an object of JSON
        assert jobs["scheduler"].id.startswith("market:sync-screener@")
        assert jobs["scheduler"].task == jobs["manager"].task


def test_S2_7_the_exchange_is_synchronised_every_minute() -> None:
    with TestKit() as kit:
        synced: list[str] = []

        @kit.task(queue="execution:reconciliation")
        def reconcile(exchange: str) -> None:
            synced.append(exchange)

        kit.schedule("exchange-sync", reconcile.make("binance"), every="1 minute")
        kit.run_for(hours=1)
        assert synced == ["binance"] * 60
        ids = [job.id for job in kit.jobs("execution:reconciliation")]
        assert len(set(ids)) == len(ids)

        queue = get_queue("execution:reconciliation", kit=kit)  # the same by Bull's names
        create_worker(queue, lambda job: synced.append(job.name), kit=kit)
        queue.upsert_job_scheduler("by-bull", {"every": 60_000}, {"name": "sync"})
        kit.drain()
        assert synced[-1] == "sync"


def test_S4_32_agendas_tuning_with_its_defaults(kit: QueueKit) -> None:
    tuned = JobProcessor(kit=kit, process_every="30 seconds", max_concurrency=20, default_concurrency=5)
    assert (tuned.process_every, tuned.max_concurrency, tuned.default_concurrency) == (timedelta(seconds=30), 20, 5)
    plain = JobProcessor(kit=kit)
    assert (plain.process_every, plain.max_concurrency, plain.default_concurrency) == (timedelta(seconds=5), 20, 5)
    cleaned: list[str] = []

    @tuned.define("data_cleanup")
    def clean(cleanup: DataCleanup) -> None:
        cleaned.append(cleanup.target)

    assert kit.definitions["data_cleanup"].concurrency == 5
    tuned.every("1 day", "data_cleanup", {"target": "sessions", "olderThan": "90 days"})
    tuned.run(burst=True)  # process_every delays nothing
    assert cleaned == ["sessions"]


def _clean(cleanup: DataCleanup) -> None:
    """Nothing is kept in a test."""


def _report(report: ReportGeneration) -> None:
    """Nobody reads it."""
