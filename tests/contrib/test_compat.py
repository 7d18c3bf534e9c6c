"""Bull's and Agenda's names inside a framework: the project's kit, the app's store, the app's context around jobs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask, current_app

from queuekit import QueueKit
from queuekit.compat.agenda import JobProcessor
from queuekit.compat.bull import Job, create_worker, get_queue, get_queue_health
from queuekit.contrib.flask import AppKit, FlaskKit


def test_in_django_the_facades_work_through_the_projects_kit(django: None, django_db: None) -> None:
    from django.db import transaction

    from queuekit.contrib.django import kit

    queue = get_queue("compat-django")
    with QueueKit("memory://"):  # some library's: it has the default name, and is newer
        assert queue.kit is kit
        assert JobProcessor().kit is kit
    with transaction.atomic():
        assert queue.add("lost").created is None
        transaction.set_rollback(True)
    assert queue.count() == 0
    with transaction.atomic():
        job = queue.add("kept", {"n": 1})
        assert (job.created, job.get_state(), queue.count()) == (None, "uncommitted", 0)
    assert (job.get_state(), queue.count()) == ("waiting", 1)
    queue.obliterate()


def test_in_flask_a_processor_runs_in_the_app_it_was_added_in() -> None:
    kit = FlaskKit(name="compat-flask")
    seen: list[Any] = []

    async def process(job: Job[Any]) -> str:
        seen.append((current_app.name, job.data))
        return current_app.name

    worker = create_worker("work", process, {"concurrency": 3}, kit=kit)  # as a module has it: no app is there yet
    worker.on("completed", lambda job, result: seen.append(("told", result)))
    apps = [Flask(name) for name in ("one", "two")]
    for app in apps:
        app.config["QUEUEKIT_URL"] = f"memory://compat-{app.name}"
        kit.init_app(app)
    with apps[0].app_context():
        job = get_queue("work", kit=kit).add("t", {"n": 1})

        async def run() -> None:
            async with worker:
                assert await job.await_until_finished(30_000) == "one"

        asyncio.run(run())
        assert get_queue_health("work", kit=kit)["completed"] == 1
    with apps[1].app_context():
        assert get_queue_health("work", kit=kit)["completed"] == 0
    assert seen == [("one", {"n": 1}), ("told", "one")]
    found = apps[0].extensions["queuekit"]
    assert isinstance(found, AppKit)
    kit.close()


def test_in_django_a_cancelled_job_makes_room_with_the_commit(django: None, django_db: None) -> None:
    from django.db import transaction

    jobs = JobProcessor("compat-room")
    at = datetime.now(UTC) + timedelta(days=3)
    jobs.schedule_job("mine", at, "send", {"n": 1})
    jobs.cancel_job("mine")
    with transaction.atomic():
        jobs.schedule_job("mine", at, "send", {"n": 2})
        transaction.set_rollback(True)
    assert (jobs.get_job_status("mine").status, jobs.get_job_status("mine").data) == ("cancelled", {"n": 1})
    with transaction.atomic():
        jobs.schedule_job("mine", at, "send", {"n": 3})
        assert jobs.get_job_status("mine").status == "cancelled"
    assert (jobs.get_job_status("mine").status, jobs.get_job_status("mine").data) == ("scheduled", {"n": 3})
    jobs.kit.queue("compat-room").obliterate(confirm="compat-room")


def test_in_django_a_changed_bookings_reminders_change_with_the_commit(django: None, django_db: None) -> None:
    from django.db import transaction

    jobs = JobProcessor("compat-bookings")
    at = datetime.now(UTC) + timedelta(days=3)

    def booking(days: int, place: str = "Downtown") -> dict[str, Any]:
        date = at + timedelta(days=days)
        return {"bookingId": "b", "customerId": "c", "customerEmail": "e", "bookingDate": date, "location": place}

    def scheduled() -> set[str]:
        found: list[Any] = [job.data for job in jobs.list_jobs(status="scheduled").jobs]
        return {f"{data['booking_date'][:10]} {data['location']}" for data in found}

    first, second = f"{at:%Y-%m-%d} Downtown", f"{at + timedelta(days=1):%Y-%m-%d} Downtown"
    jobs.schedule_booking_reminders(booking(0))
    with transaction.atomic():
        jobs.reschedule_booking_reminders(booking(0), booking(1))
        transaction.set_rollback(True)
    assert scheduled() == {first}  # the booking has not changed, and its reminders are there
    with transaction.atomic():
        assert len(jobs.reschedule_booking_reminders(booking(0), booking(1))) == 3
        assert scheduled() == {first}
    assert scheduled() == {second}
    with transaction.atomic():
        jobs.reschedule_booking_reminders(booking(1), booking(1, "Harbour"))
        transaction.set_rollback(True)
    assert scheduled() == {second}
    with transaction.atomic():
        jobs.reschedule_booking_reminders(booking(1), booking(1, "Harbour"))
    assert scheduled() == {second.replace("Downtown", "Harbour")}
    jobs.kit.queue("compat-bookings").obliterate(confirm="compat-bookings")
