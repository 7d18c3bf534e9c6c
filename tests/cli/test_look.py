"""Commands that look: what they show people, and what `--json` gives scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cli.conftest import Ran, Shell

SHOP = """
from typing import Any
from queuekit import Backoff, JobContext, Processor, QueueKit

kit = QueueKit()
charge = kit.declare("charge", dict, str, queue="money")

@kit.processor("mail", concurrency=4)
class Rest(Processor[dict[str, Any], None]):
    task = None

    def process(self, ctx: JobContext, payload: dict[str, Any], /) -> None:
        return None

@kit.task(backoff=Backoff.custom(lambda attempt, error: attempt))
def odd() -> None:
    return None
"""
READS = [
    ("ping",), ("queues", "list"), ("queues", "show", "mail"), ("jobs", "list"), ("jobs", "show", "mail/one"),
    ("jobs", "why", "mail/one"), ("workers", "list"), ("health",), ("tasks", "app:kit"), ("setup",),
]  # fmt: skip


@pytest.fixture
def filled(shell: Shell) -> Shell:
    """One waiting job called `one`."""
    assert shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=one").code == 0
    return shell


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_json_may_stand_before_and_after_the_command(filled: Shell, command: tuple[str, ...]) -> None:
    after, before = filled(*command, "--json"), filled("--json", *command)
    assert type(after.json) is type(before.json)
    if isinstance(after.json, dict):
        assert set(after.json) == set(before.json)
    assert after.code == before.code


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_every_look_works_without_an_app_for_people_too(filled: Shell, command: tuple[str, ...]) -> None:
    ran = filled(*command)
    assert ran.code == (1 if command == ("health",) else 0)
    assert ran.out


def test_ping_says_pong_and_what_chose_the_store(shell: Shell) -> None:
    ran = shell("ping")
    assert ran.out.startswith("PONG\n")
    assert "QUEUEKIT_URL" in ran.out
    facts = shell("-u", f"sqlite:///{shell.folder}/other.db", "-n", "shop", "ping", "--json").json
    assert facts["chosen_by"] == "--url"
    assert facts["namespace"] == "shop"
    assert facts["pong"] is True
    assert facts["round_trip_ms"] > 0
    assert "sqlite" in facts["server"]


def test_ping_tells_of_an_env_file_that_nobody_reads(shell: Shell) -> None:
    (shell.folder / "pyproject.toml").write_text("")
    (shell.folder / ".env").write_text("QUEUEKIT_NAMESPACE=fromfile\n")
    assert ".env" in shell("ping").out
    facts = shell("--env-file", ".env", "ping", "--json").json
    assert facts["namespace"] == "fromfile"
    assert "not_read" not in facts


def test_jobs_show_tells_everything_of_a_failed_job(shell: Shell, worked: Callable[[], Ran]) -> None:
    shell("enqueue", "mail", "breaks", '{"text": "the\\u001b[2J reason"}', "-o", "id=bad")
    assert worked().code == 0
    ran = shell("jobs", "show", "mail/bad")
    assert "attempt:  1\n" in ran.out
    assert "ValueError" in ran.out
    assert "raise ValueError(text)" in ran.out
    assert "\x1b" not in ran.out
    job = shell("jobs", "show", "bad", "--json").json
    assert (job["state"], job["attempt"], job["errors"][0]["type"]) == ("failed", 1, "ValueError")


def test_jobs_show_of_no_job_is_a_no(shell: Shell) -> None:
    ran = shell("jobs", "show", "mail/nobody", "--json")
    assert ran.code == 1
    assert ran.json is None
    assert "no such job" in ran.err


def test_jobs_list_filters_and_pages(shell: Shell) -> None:
    lines = "\n".join(json.dumps({"to": f"person {n}"}) for n in range(7))
    assert shell("enqueue", "mail", "send", "-", stdin=lines).out == "7 jobs\n"
    shell("enqueue", "other", "send", '{"to": "x"}')
    first = shell("jobs", "list", "-Q", "mail", "--limit", "5", "--json").json
    assert len(first["jobs"]) == 5
    second = shell("jobs", "list", "-Q", "mail", "--limit", "5", "--cursor", first["cursor"], "--json").json
    seen = [job["payload"]["to"] for job in first["jobs"] + second["jobs"]]
    assert sorted(seen) == [f"person {n}" for n in range(7)]
    assert shell("jobs", "list", "-s", "failed", "--json").json["jobs"] == []
    assert len(shell("jobs", "list", "-t", "send", "-s", "waiting", "--json").json["jobs"]) == 8
    assert shell("jobs", "list", "-s", "happy").code == 2


def test_why_tells_what_stands_before_a_job(filled: Shell) -> None:
    filled("enqueue", "mail", "send", '{"to": "bob"}', "-o", "id=two")
    answer = filled("jobs", "why", "mail/two", "--json").json
    assert answer["ahead"] == 1
    assert any("no live worker" in reason for reason in answer["reasons"])
    filled("queues", "pause", "mail", "--reason", "stock-taking")
    assert "stock-taking" in filled("jobs", "why", "mail/two").out
    filled("enqueue", "mail", "send", '{"to": "bob"}', "-o", "id=later", "-o", "delay=1h")
    later = filled("jobs", "why", "mail/later", "--json").json
    assert later["state"] == "delayed"
    assert any(reason.startswith("due ") for reason in later["reasons"])


def test_why_a_job_was_parked_is_told_wherever_one_looks(shell: Shell, worked: Callable[[], Ran]) -> None:
    shell("enqueue", "mail", "send", '{"colour": "red"}', "-o", "id=odd")
    worked()
    reason = shell("jobs", "show", "mail/odd", "--json").json["reason"]
    assert reason.count("to: missing") == 1
    assert shell("jobs", "why", "mail/odd", "--json").json["reasons"] == [reason]
    for command in (("show", "mail/odd"), ("why", "mail/odd"), ("list",)):
        assert "to: missing" in shell("jobs", *command).out


def test_health_is_unhealthy_where_jobs_wait_for_nobody(filled: Shell, worked: Callable[[], Ran]) -> None:
    ran = filled("health", "--json")
    assert ran.code == 1
    (queue,) = ran.json["queues"]
    assert list(queue)[:6] == ["name", "waiting", "active", "completed", "failed", "delayed"]
    assert queue["waiting"] == 1
    worked()
    healthy = filled("health", "--json")
    assert healthy.code == 0
    assert healthy.json["healthy"] is True
    assert healthy.json["queues"][0]["completed"] == 1


def test_tasks_lists_what_the_app_registers(shell: Shell) -> None:
    rows = {row["task"]: row for row in shell("-A", "app:kit", "tasks", "--json").json}
    assert set(rows) == {"send", "breaks", "divide"}
    assert rows["divide"]["queue"] == "maths"
    assert rows["divide"]["options"] == {"attempts": 2, "backoff": {"type": "fixed", "delay": "10ms"}}
    assert shell("-A", "app:kit", "tasks").out.splitlines()[0].split()[:2] == ["TASK", "QUEUE"]


def test_tasks_shows_catch_alls_contracts_and_functions(shell: Shell) -> None:
    (shell.folder / "shop.py").write_text(SHOP)
    rows = {row["task"]: row for row in shell("tasks", "shop:kit", "--json").json}
    assert rows["*"]["queue"] == "mail"
    assert rows["*"]["queue_options"]["concurrency"] == 4
    assert rows["charge"]["handler"] is False
    assert rows["odd"]["options"]["backoff"] == "a function"


def test_help_shows_what_exists_and_nothing_else(shell: Shell) -> None:
    ran = shell("--help", env={"COLUMNS": "200", "TERM": "dumb"})
    for name in (
        "worker", "demo", "bench", "enqueue", "tasks", "ping", "queues", "jobs", "workers", "schedules", "health",
        "setup", "migrate", "export", "import", "init", "new",
    ):  # fmt: skip
        assert f" {name} " in ran.out
    for later in ("dashboard", "doctor", "stats", "top"):
        assert f" {later} " not in ran.out
    assert shell("-h").code == 0
    assert shell("--version").out.startswith("queuekit ")


def test_the_module_is_the_command(shell: Shell) -> None:
    module = [sys.executable, "-m", "queuekit", "--json", "schedules", "preview", "--every", "1m", "-n", "2"]
    ran = subprocess.run(module, cwd=shell.folder, env=shell.env, check=True, capture_output=True, text=True)
    assert len(json.loads(ran.stdout)) == 2
    wrong = subprocess.run(
        [*module, "-x"], cwd=shell.folder, env=shell.env, check=False, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "Usage: queuekit schedules preview" in wrong.stderr


def test_a_listing_into_a_closed_pipe_ends_quietly(filled: Shell) -> None:
    with filled.start("jobs", "list") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_attempts_are_told_only_where_they_are_known(shell: Shell) -> None:
    shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=unsaid")
    shell("enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=said", "-o", "attempts=7")
    listed = {job["id"]: job["attempts"] for job in shell("jobs", "list", "--json").json["jobs"]}
    assert listed == {"unsaid": None, "said": 7}  # the task's own number stands in the worker's code
    assert shell("jobs", "show", "mail/unsaid", "--json").json["attempts"] is None
