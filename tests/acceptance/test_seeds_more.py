"""Rows that ask how things come together: registering, injecting, hearing, logging, testing, living beside others."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from queuekit import Backoff, Inject, JobContext, JobFact, Keep, QueueKit, Settings, State
from queuekit.settings import VARIABLES
from queuekit.testing import TestKit

QUEUEKIT = str(Path(sys.executable).parent / "queuekit")
ONE_FILE = """from queuekit import QueueKit

kit = QueueKit()


@kit.task(queue="mail")
def send(to: str) -> str:
    return f"sent to {to}"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return clean | {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}"}


def test_S0_13_the_seeds_job_runs(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[tuple[str, int]] = []

    @kit.task("sync-screener", queue="market")
    def sync(instrumentId: str, timestamp: int) -> None:
        seen.append((instrumentId, timestamp))

    kit.queue("market").enqueue("sync-screener", {"instrumentId": "i-7", "timestamp": 1_700_000_000_000})
    run("market")
    assert seen == [("i-7", 1_700_000_000_000)]


def test_S0_17_log_lines_tell_a_jobs_life_as_json(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        ONE_FILE + "\n\n@kit.task(attempts=1)\ndef breaks() -> None:\n    raise ValueError('why')\n"
    )
    for command in (["enqueue", "default", "breaks"], ["enqueue", "mail", "send", '{"to": "ada"}']):
        subprocess.run([QUEUEKIT, *command], env=env, cwd=tmp_path, check=True, capture_output=True)
    command = [QUEUEKIT, "-l", "debug", "worker", "app:kit", "--burst"]
    err = subprocess.run(command, env=env, cwd=tmp_path, check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in err.splitlines()]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
    said = [line for line in lines if "breaks" in line["message"]]
    assert [line["level"] for line in said if "why" in line["message"]] == ["error"]
    assert any("completed" in line["message"] and "send" in line["message"] for line in lines)


def test_S1_6_a_queue_is_one_file_of_eight_lines(env: dict[str, str], tmp_path: Path) -> None:
    assert len(ONE_FILE.splitlines()) <= 8
    (tmp_path / "app.py").write_text(ONE_FILE)
    for command in (["enqueue", "mail", "send", '{"to": "ada"}', "-o", "id=one"], ["worker", "app:kit", "--burst"]):
        subprocess.run([QUEUEKIT, *command], env=env, cwd=tmp_path, check=True, capture_output=True)
    shown = subprocess.check_output([QUEUEKIT, "jobs", "show", "mail/one", "--json"], env=env)
    assert json.loads(shown)["result"] == "sent to ada"


def test_S1_8_S3_16_handlers_are_given_what_they_need(kit: QueueKit, run: Callable[..., int]) -> None:
    opened: list[str] = []

    def session() -> Iterator[str]:
        opened.append("open")
        yield "a session"
        opened.append("closed")

    @kit.task(queue="q")
    def report(name: str, db: str = Inject(session)) -> str:  # type: ignore[assignment]  # a generator that yields one
        return f"{name} by {db}"

    handle = report.enqueue("figures")
    run("q")
    assert handle.result(timeout=0) == "figures by a session"
    assert opened == ["open", "closed"]


def test_S1_20_the_heavy_queues_options_all_have_a_form(tmp_path: Path) -> None:
    heavy = {
        "attempts": 2, "backoff": Backoff.fixed(60), "keep_completed": Keep(count=100), "keep_failed": True,
        "lease": "1h", "max_crashes": 1, "profile": "heavy",
    }  # fmt: skip
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues={"video": heavy}) as kit:  # type: ignore[dict-item]  # a TypedDict by its keys

        @kit.task(queue="video")
        def render() -> None:
            raise ValueError("no codec")

        handle = render.enqueue()
        kit.worker(burst=True).run()
        job, conf = handle.get(), kit.queue("video").conf()
        assert job is not None
        assert (job.state, job.attempts) == (State.DELAYED, 2)
        assert job.run_at is not None
        assert timedelta(seconds=59) <= job.run_at - job.errors[0].at <= timedelta(seconds=61)
        assert (conf.effective.lease, conf.max_crashes, conf.keep_completed.count) == (3_600_000, 1, 100)


def test_S1_22_hooks_hear_what_became_of_jobs(kit: QueueKit, run: Callable[..., int]) -> None:
    heard: list[str] = []

    def hear(fact: JobFact) -> None:
        heard.append(fact.event)

    for event in ("active", "completed", "failed", "retrying", "drained"):
        kit.on(event, hear)

    @kit.task(queue="q", attempts=2, backoff=0)
    def work(ok: bool) -> None:
        if not ok:
            raise ValueError

    work.enqueue(True)
    work.enqueue(False)
    run("q")
    assert {name: heard.count(name) for name in ("active", "completed", "retrying", "failed")} == {
        "active": 3, "completed": 1, "retrying": 1, "failed": 1,
    }  # fmt: skip
    assert "drained" in heard


def test_S2_1_foreign_keys_of_one_redis_are_left_alone(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set("cache:user:1", "kept")
    with QueueKit(redis_url, namespace="row-s2-1") as kit:
        kit.queue("portfolio:high_priority").enqueue("t")
        ours = {bytes(key) for key in client.scan_iter("*row-s2-1*")}
        assert ours
        assert all(key.startswith(b"{row-s2-1/") for key in ours)
        kit.queue("portfolio:high_priority").obliterate(confirm="portfolio:high_priority")
    assert client.get("cache:user:1") == b"kept"
    client.delete("cache:user:1")
    client.close()


def test_S3_20_a_logger_knows_its_job(kit: QueueKit, run: Callable[..., int], caplog: pytest.LogCaptureFixture) -> None:
    @kit.task(queue="notification")
    def notify(ctx: JobContext, user: str) -> None:
        ctx.logger.info("to %s", user)

    handle = notify.enqueue("u1")
    with caplog.at_level(logging.INFO):
        run("notification")
    (record,) = [one for one in caplog.records if one.getMessage() == "to u1"]
    assert (record.__dict__["job"], record.__dict__["task"], record.__dict__["attempt"]) == (handle.ref, "notify", 1)


@pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"])
def test_S4_24_indexes_are_made_and_checked_by_a_command(
    store: str, request: pytest.FixtureRequest, env: dict[str, str]
) -> None:
    if store != "sqlite":
        env["QUEUEKIT_URL"] = request.getfixturevalue(f"{store}_url")
    for _ in range(2):
        said = subprocess.check_output([QUEUEKIT, "setup", "--json"], env=env, text=True)
        assert json.loads(said)["ready"] is True


def test_S4_25_a_job_is_tested_without_any_server() -> None:
    with TestKit() as kit:

        @kit.task("email_notification", queue="notifications")
        def notify(to: str) -> str:
            return f"told {to}"

        handle = notify.using(run_at=datetime.now(UTC) + timedelta(minutes=5)).enqueue("a@example.com")
        assert handle.id
        assert handle.status() == State.DELAYED
        kit.assert_enqueued("email_notification", {"to": "a@example.com"}, times=1)
        kit.clock.travel(minutes=6)
        kit.drain()
        assert handle.result(timeout=0) == "told a@example.com"


def test_S4_27_debug_logging_by_a_variable(env: dict[str, str], tmp_path: Path) -> None:
    assert Settings.load({"QUEUEKIT_DEBUG": "1"}).log_levels["queuekit"] == "debug"
    (tmp_path / "app.py").write_text(ONE_FILE)
    command = [QUEUEKIT, "worker", "app:kit", "--burst"]
    for debug in ("0", "1"):
        subprocess.run([QUEUEKIT, "enqueue", "mail", "send", '{"to": "a"}'], env=env, check=True, capture_output=True)
        ran = subprocess.run(
            command, env=env | {"QUEUEKIT_DEBUG": debug}, cwd=tmp_path, check=True, capture_output=True, text=True
        )
        assert ('"debug"' in ran.stderr) is (debug == "1")
