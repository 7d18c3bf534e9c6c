"""docs/compat.md: its programs run as they stand, and its tables name what there is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from queuekit import recipes
from queuekit.compat import agenda, bull
from queuekit.compat.bull.worker import Worker
from queuekit.domain.options import Policy, resolve
from queuekit.domain.presets import PRESETS
from queuekit.settings import VARIABLES

PAGE = (Path(__file__).parents[2] / "docs" / "compat.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ADD = """
get_queue("portfolio:high_priority", kit=kit).add("t", {"userId": "u", "symbol": "BTC"})
kit.worker(burst=True).run()
print(get_queue("portfolio:high_priority").get_job_counts("completed"))
"""
REMIND = """
from datetime import UTC, datetime
at = datetime(2040, 1, 1, 12, tzinfo=UTC)
data = {"bookingId": "b", "customerId": "c", "customerEmail": "e", "bookingDate": at, "before": "1h"}
job_processor.schedule_job(None, None, "booking_reminder", data)
job_processor.run(burst=True)
"""
CLEAN = """
jobs.run(burst=True)
for schedule in jobs.kit.schedules.all():
    print(schedule.id, schedule.paused)
"""
RUN = {  # by its place on the page: what is run behind it, and what is said then
    0: ("", ["waiting", "'waiting': 1"]),
    1: (ADD, ["{'completed': 1}"]),
    2: ("", ["unknown ['daily', 'exchange-sync']"]),
    3: ("", ["('clean-up', 'switched off in its configuration')", "('sync-screener', '')"]),
    4: ("", ["True 5"]),
    5: (REMIND, ["1h before 12:00: e"]),
    6: (CLEAN, ["cleaned up sessions", "digest", "disabled"]),
}
TABLES = re.findall(r"## (A queue|A worker|Job schedulers|The job processor)\n(.*?)(?=\n## )", PAGE, re.DOTALL)


def test_every_program_of_the_page_is_run_here() -> None:
    assert len(BLOCKS) == len(RUN)


@pytest.mark.parametrize("number", sorted(RUN))
def test_a_program_of_the_page_runs(number: int, tmp_path: Path) -> None:
    more, said = RUN[number]
    program = BLOCKS[number].replace("    worker.run()", "    from queuekit.compat.bull import get_queue") + more
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env["QUEUEKIT_URL"] = f"sqlite:///{tmp_path}/q.db"
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert all(one in ran.stdout for one in said), ran.stdout


def test_every_name_of_the_tables_is_there() -> None:
    rows = [line.split("|")[2] for _, text in TABLES for line in text.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`@?(?:job_processor\.)?([A-Za-z_]{2,})", row)}
    there = {
        *dir(bull), *dir(agenda), *dir(bull.Queue), *dir(bull.Job), *dir(bull.QueueManager), *dir(Worker),
        *dir(agenda.JobProcessor),
    }  # fmt: skip
    assert len(TABLES) == 4
    assert len(named) > 40
    assert named - there - {"queuekit", "Worker"} == set()
    assert [name for name in bull.__all__ if not hasattr(bull, name)] == []
    assert [name for name in agenda.__all__ if not hasattr(agenda, name)] == []


def test_the_presets_stand_on_the_page_as_they_are() -> None:
    from queuekit.domain import options

    def policy(name: str) -> Policy:
        return resolve(b"", {}, {}, options.parse("kit", PRESETS[name]))

    assert sorted(PRESETS) == ["bull", "bull-tuned"]
    for name, first, kept in (("bull", 1000, ("0/", "/")), ("bull-tuned", 2000, ("50/", "25/"))):
        found = policy(name)
        assert (found.attempts, found.max_crashes, found.backoff.first) == (3, 2, first)
        assert (found.keep_completed.label, found.keep_failed.label) == kept
        assert f"`{name}`" in PAGE


def test_the_public_names_are_these() -> None:
    """Who changes these lists changes what ported code relies on, and says so in CHANGELOG.md."""
    assert sorted(bull.__all__) == [
        "Envelope", "Job", "JobProcessor", "JobScheduler", "Queue", "QueueHealth", "QueueManager", "QueuePriority",
        "QueueProfile", "SchedulerService", "UnrecoverableError", "Worker", "aget_all_queues_health",
        "aget_queue_health", "create_worker", "get_all_queues_health", "get_queue", "get_queue_health",
        "on_worker_event", "parse_bull_options", "parse_bull_worker_options", "process", "processor", "use",
    ]  # fmt: skip
    assert sorted(agenda.__all__) == [
        "JobList", "JobProcessor", "JobStatus", "QueueHealth", "aevery", "aschedule_booking_reminders", "aschedule_job",
        "aschedule_payment_reminders", "every", "graceful_shutdown", "job_processor", "schedule_booking_reminders",
        "schedule_job", "schedule_payment_reminders", "setup_job_processors", "use",
    ]  # fmt: skip
    assert sorted(recipes.__all__) == [
        "Booking", "BookingReminder", "DataCleanup", "EmailNotification", "JOB_TYPES", "PaymentReminder", "Recipes",
        "ReportGeneration", "SmsNotification", "declare", "typed",
    ]  # fmt: skip
