"""Rows that name the seeds' own functions and classes: `queuekit.compat`, `queuekit.recipes`, and the examples."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from queuekit import Backoff, Keep, Priority, Profile, QueueKit, Settings, recipes
from queuekit.compat.agenda import JobProcessor
from queuekit.compat.bull import (
    Envelope,
    Job,
    QueueManager,
    QueuePriority,
    QueueProfile,
    create_worker,
    get_all_queues_health,
    get_queue,
    get_queue_health,
    on_worker_event,
    parse_bull_options,
    parse_bull_worker_options,
    process,
    processor,
)
from queuekit.compat.bull import JobProcessor as Processor
from queuekit.recipes import Booking, EmailNotification
from queuekit.testing import TestKit

EXAMPLES = Path(__file__).parents[2] / "examples"
EMAIL = {"to": "user@example.com", "subject": "Welcome!", "template": "welcome", "data": {"name": "John"}}


class QueueName(StrEnum):
    PORTFOLIO_HIGH_PRIORITY = "portfolio:high_priority"


class Fill(TypedDict):
    userId: str
    symbol: str
    fillId: str


@pytest.fixture
def job_processor(kit: QueueKit) -> JobProcessor:
    return JobProcessor(kit=kit)


def soon(**ahead: float) -> datetime:
    return datetime.now(UTC) + timedelta(**ahead)


# ---------------------------------------------------------------- 000
def test_S0_5_S0_6_a_job_is_type_data_and_options(kit: QueueKit, run: Callable[..., int]) -> None:
    manager = QueueManager("screener", kit=kit)
    synced: list[str] = []

    @process("screener", "sync-screener", kit=kit)
    async def sync(job: Job[Any]) -> None:
        synced.append(job.data["instrumentId"])

    job = manager.add_job(
        {
            "type": "sync-screener",
            "data": {"instrumentId": "i-7", "timestamp": 1_700_000_000_000},
            "options": {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}},
        }
    )
    manager.add_job(Envelope(type="sync-screener", data={"instrumentId": "i-8"}))
    found = job.handle.get()
    assert found is not None
    assert (found.task, found.attempts) == ("sync-screener", 3)
    run("screener")
    assert synced == ["i-7", "i-8"]


def test_S0_7_processors_by_name_and_one_for_the_rest(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []
    process("q", "sync-screener", lambda job: seen.append(f"screener {job.name}"), kit=kit)
    create_worker("q", lambda job: seen.append(f"rest {job.name}"), kit=kit)
    for name in ("sync-screener", "other"):
        get_queue("q", kit=kit).add(name)
    run("q")
    assert seen == ["screener sync-screener", "rest other"]


def test_S0_11_both_spellings_and_milliseconds() -> None:
    for name in ("removeOnFail", "remove_on_fail"):
        parsed = parse_bull_options({"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}, name: False})
        assert (parsed["attempts"], parsed["keep_failed"]) == (3, True)
        backoff = parsed["backoff"]
        assert isinstance(backoff, Backoff)
        assert [backoff.delay(n) for n in (1, 2, 3)] == [timedelta(seconds=s) for s in (1, 2, 4)]


# ---------------------------------------------------------------- 001
def test_S1_4_S1_22_a_class_with_worker_options_and_listeners(kit: QueueKit, run: Callable[..., int]) -> None:
    heard: list[Any] = []

    @processor("example", {"concurrency": 5, "lockDuration": 60_000}, kit=kit)
    class ExampleProcessor:
        async def process(self, job: Job[Any]) -> dict[str, bool]:
            if job.data["userId"] == "nobody":
                raise ValueError("no such user")
            return {"success": True}

        @on_worker_event("failed")
        def failed(self, job: Job[Any], error: Any) -> None:
            heard.append(("failed", error.message))

        @on_worker_event("completed")
        def completed(self, job: Job[Any], result: Any) -> None:
            heard.append(("completed", result))

    for user in ("u1", "nobody"):
        get_queue("example", kit=kit).add("process", {"userId": user}, {"attempts": 1})
    run("example")
    assert sorted(heard) == [("completed", {"success": True}), ("failed", "no such user")]
    conf = kit.queue("example").conf().effective
    assert (conf.concurrency, conf.lease) == (5, 60_000)


def test_S1_18_the_documents_worker_options() -> None:
    said = {"concurrency": 1, "lockDuration": 30_000, "stalledInterval": 30_000, "maxStalledCount": 1}
    parsed = parse_bull_worker_options(said)
    profile = parsed["profile"]
    assert isinstance(profile, Profile)
    assert (profile.concurrency, profile.lease, profile.stalled_check) == (1, 30, 30)
    assert parsed["max_crashes"] == 2  # taken back once


def test_S1_19_the_documents_job_options_are_the_preset_bull() -> None:
    with TestKit(settings=Settings.load({"QUEUEKIT_URL": "memory://", "QUEUEKIT_PRESET": "bull"})) as kit:
        defaults = kit.defaults
    backoff = defaults["backoff"]
    assert isinstance(backoff, Backoff)
    assert (defaults["priority"], defaults["attempts"], backoff.kind) == (0, 3, "exponential")
    assert str(defaults["keep_completed"]) == "Retention(count=0, age=None)"
    assert str(defaults["keep_failed"]) == "Retention(count=None, age=None)"


def test_S1_20_the_heavy_queue_as_it_is_written() -> None:
    worker = parse_bull_worker_options(
        {"concurrency": 1, "lockDuration": 3_600_000, "stalledInterval": 300_000, "maxStalledCount": 1}
    )
    job = parse_bull_options(
        {
            "attempts": 2,
            "backoff": {"type": "fixed", "delay": 60_000},
            "removeOnComplete": {"count": 100},
            "removeOnFail": False,
        }
    )
    assert (worker["concurrency"], worker["lease"], worker["max_crashes"]) == (1, 3600, 2)
    assert job == {
        "attempts": 2, "backoff": Backoff.fixed(60), "keep_completed": Keep(count=100), "keep_failed": True,
    }  # fmt: skip


def test_S1_28_light_and_heavy_processors_of_one_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUEKIT_URL", f"sqlite:///{tmp_path}/q.db")
    app = runpy.run_path(str(EXAMPLES / "profiles.py"))
    with app["kit"] as kit:
        for queue in ("emails", "notifications", "videos", "courses"):
            data = {"userId": "u", "action": "a", "data": {"email": "e"}, "videoId": "v", "courseId": "c"}
            get_queue(queue, kit=kit).add("process", data)
        monkeypatch.setenv("WORKER_TYPE", "light")
        assert kit.settings.worker_type == "all"  # read once
        kit.reread()
        kit.worker(burst=True).run()
        assert {name: health.completed for name, health in kit.health().items()} == {
            "emails": 1, "notifications": 1, "videos": 0, "courses": 0,
        }  # fmt: skip
        kit.worker(type="all", burst=True).run()
        assert sum(health.completed for health in kit.health().values()) == 4


# ---------------------------------------------------------------- 002
def test_S2_8_a_job_is_added_to_a_queue_by_its_enum(kit: QueueKit) -> None:
    queue = get_queue(QueueName.PORTFOLIO_HIGH_PRIORITY, kit=kit)
    job = queue.add("recalculate-position", {"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456"})
    found = kit.get(f"portfolio:high_priority/{job.id}")
    assert found is not None
    assert (found.task, found.payload) == ("recalculate-position", job.data)
    assert get_queue("portfolio:high_priority", kit=kit).get_job_counts("waiting") == {"waiting": 1}


def test_S2_9_a_worker_is_created_of_a_typed_processor(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    async def work(job: Job[Fill]) -> None:
        seen.append(job.data["symbol"])

    job_processor: Processor[Fill] = work
    worker = create_worker(QueueName.PORTFOLIO_HIGH_PRIORITY, job_processor, kit=kit)
    job = get_queue(QueueName.PORTFOLIO_HIGH_PRIORITY, kit=kit).add("t", {"userId": "u", "symbol": "B", "fillId": "f"})

    async def until_done() -> None:
        async with worker:
            await job.await_until_finished(30_000)

    asyncio.run(until_done())
    assert seen == ["B"]


def test_S2_10_S2_11_health_under_the_seeds_names(kit: QueueKit) -> None:
    get_queue("a", kit=kit).add("t")
    get_queue("b:c", kit=kit).add("t", {}, {"delay": 60_000})
    health = get_queue_health("a", kit=kit)
    assert list(health) == ["name", "waiting", "active", "completed", "failed", "delayed"]
    assert [(one["name"], one["waiting"], one["delayed"]) for one in get_all_queues_health(kit=kit)] == [
        ("a", 1, 0), ("b:c", 0, 1),
    ]  # fmt: skip


def test_S2_4_S1_9_the_seeds_names_for_priorities_and_profiles() -> None:
    assert {one.name: one.value for one in QueuePriority} == {"CRITICAL": 1, "HIGH": 5, "NORMAL": 10, "LOW": 15}
    assert (QueueProfile.LIGHT.concurrency, QueueProfile.HEAVY.concurrency) == (50, 1)


def test_S2_20_S2_22_the_example_has_all_seven_queues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUEUEKIT_URL", f"sqlite:///{tmp_path}/q.db")
    app = runpy.run_path(str(EXAMPLES / "trading.py"))
    with app["kit"] as kit:
        assert {str(name): kit.queue_options[name]["concurrency"] for name in app["QueueName"]} == {
            "portfolio:high_priority": 20, "portfolio:low_priority": 5, "execution:order_submission": 5,
            "execution:reconciliation": 3, "strategy:signals": 10, "backtest:jobs": 2, "exchange:candle_ingestion": 10,
        }  # fmt: skip
        app["main"]()
    assert "7 queues, 6 completed, backtest:jobs failed" in capsys.readouterr().out


# ---------------------------------------------------------------- 003
def test_S3_7_S3_13_a_service_with_a_helper_for_each_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUEUEKIT_URL", f"sqlite:///{tmp_path}/q.db")
    app = runpy.run_path(str(EXAMPLES / "payments.py"))
    service = app["QueueService"]()
    with app["kit"]:
        game = service.add_test_queue_job({"provider": "NAMED_POWERBALL", "messageType": "m"})
        assert game.opts == {"remove_on_complete": 10, "remove_on_fail": 5}
        app["main"]()
    assert "25.00 USD of user123" in capsys.readouterr().out


# ---------------------------------------------------------------- 004
def test_S4_5_S4_6_the_facade_over_the_core(kit: QueueKit, job_processor: JobProcessor) -> None:
    job_id = job_processor.schedule_job("one", soon(minutes=5), "custom", {"n": 1})
    assert kit.get(f"jobs/{job_id}") is not None  # the same job below
    assert job_processor.get_job_status(job_id).exists
    assert [job.id for job in job_processor.list_jobs().jobs] == ["one"]
    assert job_processor.get_queue_health().healthy
    assert job_processor.cancel_job(job_id)
    job_processor.shutdown()


def test_S4_7_a_mail_five_minutes_ahead_with_a_named_priority(kit: QueueKit, job_processor: JobProcessor) -> None:
    ids = [
        job_processor.schedule_email_notification({**EMAIL, "priority": priority}, soon(minutes=5))
        for priority in ("low", "normal", "high")
    ]
    found = [kit.get(f"jobs/{one}") for one in ids]
    assert [job.priority for job in found if job is not None] == [Priority.LOW, Priority.NORMAL, Priority.HIGH]
    assert [job.state for job in found if job is not None] == ["delayed"] * 3


def test_S4_8_S4_9_a_bookings_reminders() -> None:
    with TestKit() as kit:
        job_processor, sent = JobProcessor(kit=kit), []

        @job_processor.define("booking_reminder")
        def remind(reminder: recipes.BookingReminder) -> None:
            sent.append((reminder.before, reminder.location))

        at = kit.clock.now() + timedelta(hours=48)
        booking = {
            "bookingId": "booking_123", "customerId": "customer_456", "customerEmail": "customer@example.com",
            "customerPhone": "+1234567890", "bookingDate": at,
            "location": "Downtown Garage",
        }  # fmt: skip
        assert len(job_processor.schedule_booking_reminders(booking)) == 3
        for hours, count in ((23, 0), (24, 1), (46.9, 1), (47, 2), (47.7, 2), (47.75, 3), (49, 3)):
            kit.clock.travel(to=at - timedelta(hours=48 - hours))
            kit.drain()
            assert len(sent) == count, hours
        assert sent == [("24h", "Downtown Garage"), ("1h", "Downtown Garage"), ("15m", "Downtown Garage")]
        near = {**booking, "bookingId": "b2", "bookingDate": kit.clock.now() + timedelta(minutes=30)}
        (only,) = job_processor.schedule_booking_reminders(near)  # the others have passed
        assert job_processor.cancel_booking_reminders(near) == 1
        assert job_processor.get_job_status(only).status == "cancelled"
    names = {"booking_id", "customer_id", "customer_email", "customer_phone", "booking_date", "location"}
    assert {one.name for one in fields(Booking)} == names


def test_S4_10_a_payments_reminder(job_processor: JobProcessor) -> None:
    payment = {
        "bookingId": "booking_123", "customerId": "customer_456", "customerEmail": "customer@example.com",
        "amount": Decimal("25.00"), "currency": "USD", "dueDate": soon(days=10),
    }  # fmt: skip
    status = job_processor.get_job_status(job_processor.schedule_payment_reminders(payment))
    assert (status.status, status.type) == ("scheduled", "payment_reminder")
    assert isinstance(status.data, dict)
    assert status.data["amount"] == "25.00"


def test_S4_11_S4_12_S4_13_status_cancel_and_list_under_the_seeds_names(job_processor: JobProcessor) -> None:
    ids = [job_processor.schedule_email_notification(EMAIL, soon(minutes=5 + n)) for n in range(12)]
    listed = job_processor.list_jobs(status="scheduled", type="email_notification", limit=10, offset=0)
    assert ([job.id for job in listed.jobs], listed.total) == (ids[:10], 12)
    assert job_processor.get_job_status("nobody").exists is False
    assert (job_processor.cancel_job(ids[0]), job_processor.cancel_job("nobody")) == (True, False)
    assert job_processor.list_jobs(status="failed", limit=100).jobs == []


def test_S4_14_health_has_its_three_keys(job_processor: JobProcessor) -> None:
    job_processor.schedule_email_notification(EMAIL)
    health = job_processor.get_queue_health()
    assert [one.name for one in fields(health)] == ["healthy", "error", "job_counts"]
    assert (health.healthy, health.error, health.job_counts["waiting"]) == (True, None, 1)
    with QueueKit("redis://127.0.0.1:1", name="away") as away:
        assert JobProcessor(kit=away).get_queue_health().healthy is False


def test_S4_15_the_six_job_types_have_typed_payloads() -> None:
    six = "booking_reminder payment_reminder email_notification sms_notification data_cleanup report_generation"
    assert list(recipes.JOB_TYPES) == six.split()
    with TestKit() as kit:
        jobs = recipes.declare(kit)
        got: list[EmailNotification] = []

        @jobs.email_notification.handler
        def mail(payload: EmailNotification) -> None:
            got.append(payload)

        jobs.email_notification.enqueue(EmailNotification(to="a", subject="b", template="c"))
        kit.drain()
        assert got == [EmailNotification(to="a", subject="b", template="c")]


def test_S4_16_an_id_of_ones_own_under_the_seeds_name(job_processor: JobProcessor) -> None:
    data = {"customField": "value", "timestamp": datetime(2024, 1, 1, tzinfo=UTC)}
    for _ in range(2):
        assert job_processor.schedule_job("custom_job_id", soon(minutes=1), "custom_job_type", data) == "custom_job_id"
    assert job_processor.list_jobs().total == 1


async def test_S4_17_S4_18_processors_are_set_up_before_the_application_serves(tmp_path: Path) -> None:
    job_processor = JobProcessor(kit=QueueKit(f"sqlite:///{tmp_path}/q.db", name="lifespan"))
    ran = asyncio.Event()

    async def mail(payload: EmailNotification) -> None:
        ran.set()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        job_processor.setup_job_processors({"email_notification": mail})
        await job_processor.start()
        yield
        await job_processor.ashutdown()

    app = FastAPI(lifespan=lifespan)

    @app.post("/mails", status_code=202)
    async def send() -> dict[str, str]:
        job = await job_processor.aschedule_email_notification(EMAIL)
        await asyncio.wait_for(ran.wait(), 60)
        return {"job": job}

    async with app.router.lifespan_context(app), AsyncClient(transport=ASGITransport(app), base_url="http://x") as web:
        answer = await web.post("/mails")
    assert answer.status_code == 202
    status = await job_processor.aget_job_status(answer.json()["job"])
    assert status.status == "completed"  # what ran was let to end
    await job_processor.ashutdown()


def test_S4_25_the_unit_test_of_the_document() -> None:
    with TestKit() as kit:
        job_processor = JobProcessor(kit=kit)
        job_id = job_processor.schedule_email_notification(
            {"to": "test@example.com", "subject": "Test", "template": "test", "data": {}, "priority": "normal"},
            kit.clock.now() + timedelta(seconds=1),
        )
        assert job_id
        assert job_processor.get_job_status(job_id).exists is True


def test_S4_28_a_job_by_its_id_as_json(kit: QueueKit) -> None:
    queue = get_queue("vale-queue", kit=kit)
    job_id = queue.add("t", {"n": 1}).id
    job = queue.get_job(job_id)
    assert job is not None
    shown = job.to_json()
    assert (shown["id"], shown["name"], shown["data"]) == (job_id, "t", {"n": 1})


def test_S4_31_the_documents_tuning_as_options_and_as_a_preset() -> None:
    tuning = {
        "removeOnComplete": 50, "removeOnFail": 25, "attempts": 3, "backoff": {"type": "exponential", "delay": 2000},
    }  # fmt: skip
    parsed = parse_bull_options(tuning)
    assert (parsed["keep_completed"], parsed["keep_failed"]) == (Keep(count=50), Keep(count=25))
    with TestKit(settings=Settings.load({"QUEUEKIT_URL": "memory://", "QUEUEKIT_PRESET": "bull-tuned"})) as kit:
        defaults = kit.defaults
    assert (defaults["attempts"], defaults["backoff"]) == (3, parsed["backoff"])
    assert [str(defaults[name]) for name in ("keep_completed", "keep_failed")] == [
        "Retention(count=50, age=None)", "Retention(count=25, age=None)",
    ]  # fmt: skip
