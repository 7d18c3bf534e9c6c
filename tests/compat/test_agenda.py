"""The job processor: ids of one's own, reminders as a set, status, list, health, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from queuekit import ConfigError, InvalidName, InvalidOption, PayloadError, Priority, QueueKit, recipes
from queuekit.compat import agenda
from queuekit.compat.agenda import JobProcessor
from queuekit.compat.agenda.border import before_label, to_ours
from queuekit.producing import seeking
from queuekit.recipes import Booking, BookingReminder, EmailNotification, PaymentReminder
from queuekit.testing import TestKit

EMAIL = {"to": "user@example.com", "subject": "Welcome!", "template": "welcome", "data": {"name": "John"}}


@pytest.fixture
def jobs(kit: QueueKit) -> JobProcessor:
    """The facade over each store in turn."""
    return JobProcessor(kit=kit)


@pytest.fixture
def later(test_kit: TestKit) -> JobProcessor:
    """The facade over the model, whose clock travels."""
    return JobProcessor(kit=test_kit)


def now(jobs: JobProcessor) -> datetime:
    return jobs.kit.clock.now() if isinstance(jobs.kit, TestKit) else datetime.now(UTC)


def booking(at: datetime, **other: Any) -> dict[str, Any]:
    return {
        "bookingId": "booking_123", "customerId": "customer_456", "customerEmail": "customer@example.com",
        "customerPhone": "+1234567890", "bookingDate": at, "location": "Downtown Garage", **other,
    }  # fmt: skip


def ids(*said: str, at: datetime) -> list[str]:
    return [f"booking_reminder:booking_123:{one}:{at.astimezone(UTC):%Y%m%dT%H%M%SZ}" for one in said]


def test_a_status_there_is_not_is_answered_with_those_there_are(later: JobProcessor) -> None:
    with pytest.raises(InvalidOption, match="no state 'nope'; there are: waiting, scheduled") as caught:
        later.list_jobs(status="nope")
    assert "delayed" not in str(caught.value), "jobs are listed as scheduled"
    assert later.list_jobs(status="scheduled").total == later.list_jobs(status="delayed").total == 0


# ---------------------------------------------------------------- on every store
def test_a_mail_at_a_time_has_an_id_a_status_and_can_be_cancelled(jobs: JobProcessor) -> None:
    job_id = jobs.schedule_email_notification({**EMAIL, "priority": "normal"}, now(jobs) + timedelta(minutes=5))
    status = jobs.get_job_status(job_id)
    assert (status.exists, status.status, status.type, status.data) == (True, "scheduled", "email_notification", EMAIL)
    assert status.run_at is not None
    assert abs(status.run_at - now(jobs)) < timedelta(minutes=6)
    assert jobs.cancel_job(job_id) is True
    assert jobs.cancel_job(job_id) is False
    assert jobs.get_job_status(job_id).status == "cancelled"
    nobody = jobs.get_job_status("nobody")
    assert (nobody.exists, nobody.status, nobody.type) == (False, "unknown", None)
    assert jobs.cancel_job("nobody") is False


def test_an_id_of_ones_own_is_one_job_until_it_is_cancelled(jobs: JobProcessor) -> None:
    first = now(jobs) + timedelta(hours=1)
    stamp = datetime(2024, 2, 15, 14, tzinfo=UTC)
    data = {"customField": "value", "timestamp": stamp}
    assert jobs.schedule_job("custom_job_id", first, "custom_job_type", data) == "custom_job_id"
    assert jobs.schedule_job("custom_job_id", first + timedelta(hours=1), "custom_job_type", data) == "custom_job_id"
    before = jobs.get_job_status("custom_job_id")
    assert before.run_at is not None
    assert abs(before.run_at - first) < timedelta(seconds=1)  # what stands is kept
    assert before.data == {"customField": "value", "timestamp": "2024-02-15T14:00:00+00:00"}
    assert jobs.cancel_job("custom_job_id")
    jobs.schedule_job("custom_job_id", first + timedelta(hours=1), "custom_job_type", {"customField": "new"})
    after = jobs.get_job_status("custom_job_id")
    assert (after.status, after.data) == ("scheduled", {"customField": "new"})  # the id was free again
    assert jobs.list_jobs().total == 1


def test_two_that_schedule_a_cancelled_id_at_once_make_one_job_and_remove_none(
    jobs: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = now(jobs) + timedelta(hours=1)
    jobs.schedule_job("j", at, "t")
    jobs.cancel_job("j")
    record = seeking.record

    async def meanwhile(*args: Any) -> Any:
        found = await record(*args)
        monkeypatch.setattr(seeking, "record", record)
        assert found is not None
        if isinstance(jobs.kit, TestKit):
            jobs.kit.clock.travel(seconds=1)
        jobs.schedule_job("j", at, "t", {"by": "the other"})  # between the look and the removal
        return found

    monkeypatch.setattr(seeking, "record", meanwhile)
    jobs.schedule_job("j", at, "t", {"by": "me"})
    status = jobs.get_job_status("j")
    assert (status.status, status.data) == ("scheduled", {"by": "the other"})
    assert jobs.list_jobs().total == 1


def test_a_bookings_reminders_move_with_it_as_a_set(jobs: JobProcessor) -> None:
    first, second = now(jobs) + timedelta(days=3), now(jobs) + timedelta(hours=2)
    assert jobs.schedule_booking_reminders(booking(first)) == ids("24h", "1h", "15m", at=first)
    assert jobs.schedule_booking_reminders(booking(first)) == ids("24h", "1h", "15m", at=first)
    assert jobs.get_queue_health().job_counts["delayed"] == 3  # nothing twice
    moved = jobs.reschedule_booking_reminders(booking(first), booking(second))
    assert moved == ids("1h", "15m", at=second)  # 24 h before has passed
    assert {job.id for job in jobs.list_jobs(status="scheduled").jobs} == set(moved)
    assert {job.id for job in jobs.list_jobs(status="cancelled").jobs} == set(ids("24h", "1h", "15m", at=first))
    # and back again: what was cancelled is made anew, with the new details
    back = jobs.reschedule_booking_reminders(booking(second), booking(first, location="Uptown"))
    assert back == ids("24h", "1h", "15m", at=first)
    assert [job.data["location"] for job in jobs.list_jobs(status="scheduled").jobs] == ["Uptown"] * 3  # type: ignore[index, call-overload]  # JSON of ours
    # the date stays, the details change: what stands gets them
    jobs.reschedule_booking_reminders(booking(first, location="Uptown"), booking(first, location="Harbour"))
    assert [job.data["location"] for job in jobs.list_jobs(status="scheduled").jobs] == ["Harbour"] * 3  # type: ignore[index, call-overload]  # as above
    assert jobs.cancel_booking_reminders(booking(first)) == 3
    assert jobs.cancel_booking_reminders(booking(first)) == 0
    assert jobs.list_jobs(status="scheduled").total == 0


def test_jobs_are_listed_by_status_and_type_with_limit_and_offset(jobs: JobProcessor) -> None:
    at = now(jobs) + timedelta(hours=1)
    for n in range(7):
        jobs.schedule_job(f"mail-{n}", at + timedelta(minutes=n), "email_notification", EMAIL)
    jobs.schedule_job("other", at, "custom")
    jobs.schedule_job("due", None, "custom")
    page = jobs.list_jobs(status="scheduled", type="email_notification", limit=3, offset=2)
    assert ([job.id for job in page.jobs], page.total, page.exact) == (["mail-2", "mail-3", "mail-4"], 7, True)
    rest = jobs.list_jobs(status="scheduled", type="email_notification", limit=10, offset=5)
    assert ([job.id for job in rest.jobs], rest.total) == (["mail-5", "mail-6"], 7)
    assert (len(jobs.list_jobs(status="scheduled", limit=5).jobs), jobs.list_jobs(status="scheduled").total) == (5, 8)
    every = jobs.list_jobs()
    assert (len(every.jobs), every.total) == (9, 9)
    assert (jobs.list_jobs(offset=20).jobs, jobs.list_jobs(offset=20).total) == ([], 9)
    assert jobs.list_jobs("failed", limit=100).jobs == []


def test_health_counts_jobs(jobs: JobProcessor) -> None:
    jobs.schedule_job("a", None, "t")
    jobs.schedule_job("b", "in 5 minutes", "t")
    health = jobs.get_queue_health()
    assert (health.healthy, health.error) == (True, None)
    assert health.job_counts == {"waiting": 1, "active": 0, "completed": 0, "failed": 0, "delayed": 1}


async def test_every_verb_is_awaited_with_an_a_in_front(jobs: JobProcessor) -> None:
    at = now(jobs) + timedelta(days=2)
    mail = await jobs.aschedule_email_notification(EMAIL, timedelta(minutes=5), id="mail")
    assert mail == "mail"
    assert (await jobs.aget_job_status("mail")).exists
    assert len(await jobs.aschedule_booking_reminders(booking(at))) == 3
    assert len(await jobs.areschedule_booking_reminders(booking(at), booking(at + timedelta(days=1)))) == 3
    assert await jobs.acancel_booking_reminders(booking(at + timedelta(days=1))) == 3
    payment = {
        "bookingId": "b",
        "customerId": "c",
        "customerEmail": "e",
        "amount": 25.0,
        "currency": "USD",
        "dueDate": at,
    }
    assert (await jobs.aschedule_payment_reminders(payment)).startswith("payment_reminder:b:")
    assert await jobs.aschedule_job("own", at, "custom", {"n": 1}) == "own"
    assert (await jobs.alist_jobs(type="custom")).total == 1
    assert await jobs.acancel_job("own")
    assert (await jobs.aget_queue_health()).healthy
    await jobs.ashutdown()


# ---------------------------------------------------------------- at their time
def test_reminders_run_at_their_time_and_never_behind_the_booking(later: JobProcessor, test_kit: TestKit) -> None:
    sent: list[tuple[str, BookingReminder]] = []

    @later.define("booking_reminder")
    def remind(reminder: BookingReminder) -> None:
        sent.append((reminder.before, reminder))

    at = test_kit.clock.now() + timedelta(hours=25)
    later.schedule_booking_reminders(booking(at))
    hours = []
    for _ in range(25 * 4):
        test_kit.clock.travel(minutes=15)
        before = len(sent)
        test_kit.drain()
        hours += [(at - test_kit.clock.now()) / timedelta(hours=1)] * (len(sent) - before)
    assert [(before, hour) for (before, _), hour in zip(sent, hours, strict=True)] == [
        ("24h", 24.0), ("1h", 1.0), ("15m", 0.25),
    ]  # fmt: skip
    assert sent[0][1].customer_email == "customer@example.com"
    at = test_kit.clock.now() + timedelta(hours=25)
    late = later.schedule_booking_reminders(booking(at))
    test_kit.clock.travel(hours=26)  # no worker was there
    test_kit.drain()
    assert len(sent) == 3
    assert [later.get_job_status(one).status for one in late] == ["cancelled"] * 3
    assert later.get_job_status(late[0]).error == "expired"


def test_offsets_are_what_one_says_and_past_ones_are_left_out(test_kit: TestKit) -> None:
    jobs = JobProcessor("bookings", kit=test_kit, reminders=["7 days", 90, timedelta(hours=36)])
    at = test_kit.clock.now() + timedelta(days=2)
    assert jobs.schedule_booking_reminders(booking(at)) == ids("36h", "90s", at=at)
    assert jobs.schedule_booking_reminders(booking(test_kit.clock.now())) == []


def test_a_payments_reminder_goes_out_a_day_before_and_money_stays_exact(
    later: JobProcessor, test_kit: TestKit
) -> None:
    got: list[PaymentReminder] = []

    @later.define("payment_reminder")
    async def remind(payment: PaymentReminder) -> None:
        got.append(payment)

    due = test_kit.clock.now() + timedelta(days=3)
    payment = PaymentReminder(
        booking_id="booking_123", customer_id="customer_456", customer_email="customer@example.com",
        amount=Decimal("25.00"), currency="USD", due_date=due,
    )  # fmt: skip
    job_id = later.schedule_payment_reminders(payment)
    assert job_id == f"payment_reminder:booking_123:{due:%Y%m%dT%H%M%SZ}"
    assert later.get_job_status(job_id).run_at == due - timedelta(days=1)
    test_kit.clock.travel(days=2)
    test_kit.drain()
    assert (str(got[0].amount), got[0].due_date) == ("25.00", due)
    soon = {"bookingId": "2", "customerId": "c", "customerEmail": "e", "amount": "1", "currency": "USD",
            "dueDate": (test_kit.clock.now() + timedelta(hours=1)).isoformat()}  # fmt: skip
    later.schedule_payment_reminders(soon)
    test_kit.drain()  # a day before has passed: at once
    assert len(got) == 2


@pytest.mark.parametrize(
    ("when", "minutes"),
    [
        (None, 0),
        ("now", 0),
        ("in 5 minutes", 5),
        ("2 hours", 120),
        (timedelta(minutes=7), 7),
        (timedelta(minutes=-7), 0),
    ],
)
def test_moments_as_people_say_them(later: JobProcessor, test_kit: TestKit, when: Any, minutes: int) -> None:
    later.schedule_job("j", when, "t")
    status = later.get_job_status("j")
    if minutes == 0:
        assert status.status == "waiting"
    else:
        assert status.run_at == test_kit.clock.now() + timedelta(minutes=minutes)


def test_a_moment_as_text(later: JobProcessor) -> None:
    later.schedule_job("j", "2040-02-15T14:00:00Z", "t")
    assert later.get_job_status("j").run_at == datetime(2040, 2, 15, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ("lowest", 20), ("low", 15), ("normal", 10), ("High", 5), ("highest", 0), ("critical", 1), (20, 0), (10, 5),
        (0, 10), (-10, 15), (-20, 20), (1, 10), (Priority.HIGH, 5), (100, 0), (-5000, 1000),
    ],
)  # fmt: skip
def test_the_higher_priority_first_becomes_the_lower_one(said: Any, ours: int) -> None:
    assert to_ours(said) == ours


def test_a_priority_beyond_the_scale_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "queuekit.compat"):
        to_ours(20)
        assert caplog.records == []
        to_ours(21_000)
    assert "runs as 0" in caplog.text


def test_higher_priorities_run_first(later: JobProcessor, test_kit: TestKit) -> None:
    seen: list[str] = []

    @later.define("t")
    def note(name: str) -> None:
        seen.append(name)

    for name in ("low", "highest", "normal", "lowest", "high"):
        later.schedule_job(None, None, "t", {"name": name}, priority=name)
    test_kit.drain()
    assert seen == ["highest", "high", "normal", "low", "lowest"]


def test_labels_of_offsets() -> None:
    assert [before_label(ms) for ms in (86_400_000, 900_000, 90_000, 1)] == ["24h", "15m", "90s", "1ms"]


# ---------------------------------------------------------------- what is refused
def test_what_cannot_be_is_refused_before_anything_is_written(later: JobProcessor, test_kit: TestKit) -> None:
    aware = test_kit.clock.now() + timedelta(days=2)
    with pytest.raises(InvalidOption, match="aware datetime"):
        later.schedule_job("j", 1_700_000_000_000, "t")  # type: ignore[arg-type]  # what Date.now() would give
    for naive in (datetime(2040, 1, 1), "2040-01-01T00:00:00"):
        with pytest.raises(InvalidOption, match="naive"):
            later.schedule_job("j", naive, "t")
    with pytest.raises(InvalidOption, match="higher first"):
        later.schedule_job("j", None, "t", priority="urgent")
    with pytest.raises(InvalidName, match="job id"):
        later.schedule_booking_reminders(booking(aware, bookingId="no good"))
    with pytest.raises(PayloadError, match="customer_email"):
        later.schedule_booking_reminders({**booking(aware), "customerEmail": None})
    with pytest.raises(PayloadError, match="no timezone"):
        later.schedule_booking_reminders(booking(datetime(2040, 1, 1)))
    with pytest.raises(PayloadError, match=r"subjct: no such field"):
        later.schedule_email_notification({**EMAIL, "subjct": "x"})
    with pytest.raises(PayloadError, match="template"):
        later.schedule_job("j", None, "email_notification", {"to": "a", "subject": "b"})
    for limit, offset in ((0, 0), (True, 0), (1, -1)):
        with pytest.raises(InvalidOption, match="whole number"):
            later.list_jobs(limit=limit, offset=offset)
    with pytest.raises(InvalidOption, match="no state 'done'"):
        later.list_jobs(status="done")
    assert test_kit.jobs() == []


# ---------------------------------------------------------------- handlers, worker, end
def test_handlers_are_set_up_once_however_often_it_is_said(later: JobProcessor, test_kit: TestKit) -> None:
    got: list[Any] = []

    def mail(payload: EmailNotification) -> None:
        got.append(payload)

    for _ in range(2):
        later.setup_job_processors({"email_notification": mail})
    later.schedule_email_notification(EmailNotification(to="a", subject="b", template="c"))
    test_kit.drain()
    assert got == [EmailNotification(to="a", subject="b", template="c")]
    assert test_kit.definitions["email_notification"].concurrency == 5


def test_recipes_declared_elsewhere_get_their_handlers_here(later: JobProcessor, test_kit: TestKit) -> None:
    declared = recipes.declare(test_kit)
    got: list[EmailNotification] = []

    def mail(payload: EmailNotification) -> None:
        got.append(payload)

    later.setup_job_processors({"email_notification": mail})
    declared.email_notification.enqueue(EmailNotification(to="a", subject="b", template="c"))
    later.schedule_email_notification(EMAIL)
    test_kit.drain()
    assert [mail.to for mail in got] == ["a", "user@example.com"]
    assert sorted(test_kit.tasks()) == sorted(recipes.JOB_TYPES)


async def test_jobs_run_inside_an_application_until_its_shutdown(tmp_path: Path) -> None:
    jobs = JobProcessor(kit=QueueKit(f"sqlite:///{tmp_path}/q.db", name="agenda-app"))
    ran = asyncio.Event()

    @jobs.define("custom")
    async def custom() -> str:
        ran.set()
        return "done"

    await jobs.start()
    with pytest.raises(ConfigError, match="already"):
        await jobs.start()
    job_id = await jobs.aschedule_job(None, None, "custom")
    await asyncio.wait_for(ran.wait(), 60)
    with pytest.raises(ConfigError, match="await ashutdown"):
        jobs.shutdown()
    jobs.graceful_shutdown(signal.SIGTERM, None)  # begins, and does not wait
    await jobs.ashutdown()
    assert (await jobs.aget_job_status(job_id)).result == "done"
    await jobs.ashutdown()
    await asyncio.to_thread(jobs.shutdown)


@pytest.mark.parametrize(("most", "of_one_type", "peak"), [(3, 9, 3), (9, 2, 2)])
def test_a_worker_runs_so_many_at_once_and_so_many_of_one_type(
    tmp_path: Path, most: int, of_one_type: int, peak: int
) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db", name="agenda-many") as kit:
        jobs = JobProcessor(kit=kit, max_concurrency=most, default_concurrency=of_one_type)
        running: list[int] = []
        seen: list[int] = []
        together = asyncio.Event()

        @jobs.define("custom")
        async def custom() -> None:
            running.append(1)
            seen.append(len(running))
            if len(running) == peak:
                together.set()  # as many as there may be are here, or this never ends
            await together.wait()
            await asyncio.sleep(0)
            running.pop()

        for _ in range(12):
            jobs.schedule_job(None, None, "custom")
        jobs.run(burst=True)
        assert (len(seen), max(seen)) == (12, peak)


def test_a_store_that_is_away_is_unhealthy_and_no_exception(tmp_path: Path) -> None:
    with QueueKit("redis://:canary@127.0.0.1:1/0", name="away") as kit:
        health = JobProcessor(kit=kit).get_queue_health()
    assert (health.healthy, health.job_counts) == (False, {})
    assert "127.0.0.1:1" in str(health.error)
    assert "canary" not in str(health.error)
    with QueueKit("nonsense://x", name="wrong") as kit:
        assert "nonsense" in str(JobProcessor(kit=kit).get_queue_health().error)


def test_the_modules_functions_are_those_of_its_one_processor(tmp_path: Path) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db") as kit:
        agenda.setup_job_processors({"custom_job_type": lambda field: field})
        assert agenda.schedule_job("custom_job_id", "in 1 minute", "custom_job_type", {"field": "v"})
        assert agenda.job_processor.get_job_status("custom_job_id").exists
        assert kit.health("jobs")["jobs"].delayed == 1
        agenda.graceful_shutdown()


def test_a_scheduling_process_imports_no_worker(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom queuekit.compat.agenda import schedule_job\n"
        "schedule_job('j', 'in 5 minutes', 't', {'n': 1})\n"
        "far = ('queuekit.runtime', 'queuekit.cli', 'queuekit.testing', 'pydantic', 'typer')\n"
        "print([name for name in sys.modules if name.startswith(far)])"
    )
    env = {"QUEUEKIT_URL": f"sqlite:///{tmp_path}/q.db", "PATH": ""}
    said = subprocess.check_output([sys.executable, "-c", program], env=env, cwd=tmp_path, text=True, timeout=60)
    assert said == "[]\n"


def test_a_booking_of_ones_own_class(later: JobProcessor, test_kit: TestKit) -> None:
    at = test_kit.clock.now() + timedelta(hours=2)
    mine = Booking(booking_id="booking_123", customer_id="c", customer_email="e", booking_date=at)
    assert later.schedule_booking_reminders(mine) == ids("1h", "15m", at=at)
