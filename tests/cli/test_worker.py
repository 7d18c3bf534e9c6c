"""The worker command: its options, its signals, and the exit code that each end has."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from queuekit.testing.servers import RedisServer
from tests.cli.conftest import Shell

SLOW = """
import asyncio, pathlib
from queuekit import QueueKit

kit = QueueKit(queues={"mail": {"profile": "light"}, "film": {"profile": "heavy"}})

@kit.task(queue="mail")
async def slow(seconds: float) -> str:
    pathlib.Path("started").write_text("")
    await asyncio.sleep(seconds)
    return "done"

@kit.task(queue="film")
async def note(text: str) -> None:
    with open("notes", "a") as notes:
        notes.write(text + " ")
"""


@pytest.fixture
def slow(shell: Shell) -> Shell:
    """An app with a slow task, and one such job waiting."""
    (shell.folder / "slow.py").write_text(SLOW)
    return shell


def running(shell: Shell, *options: str) -> subprocess.Popen[str]:
    """A worker that is in the middle of the slow job."""
    worker = shell.start("worker", "slow:kit", "-Q", "mail", *options)
    until((shell.folder / "started").exists, worker)
    return worker


def until(reached: Callable[[], bool], worker: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert worker.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(worker: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        _, err = worker.communicate(timeout=40)
    finally:
        worker.kill()
    assert "Traceback" not in err
    return worker.returncode, err


def state(shell: Shell, ref: str) -> tuple[str, int]:
    job = shell("jobs", "show", ref, "--json").json
    return job["state"], job["attempt"]


def test_term_lets_what_runs_finish(slow: Shell) -> None:
    slow("enqueue", "mail", "slow", '{"seconds": 1}', "-o", "id=one")
    worker = running(slow)
    worker.terminate()
    assert ended(worker)[0] == 0
    assert state(slow, "mail/one") == ("completed", 1)


def test_a_job_given_back_at_the_deadline_is_exit_75_and_no_attempt(slow: Shell) -> None:
    slow("enqueue", "mail", "slow", '{"seconds": 60}', "-o", "id=one")
    worker = running(slow, "--grace", "200ms")
    worker.terminate()
    assert ended(worker)[0] == 75
    assert state(slow, "mail/one") == ("waiting", 1)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_twice_gives_back_at_once_and_is_exit_130(slow: Shell, processes: str) -> None:
    slow("enqueue", "mail", "slow", '{"seconds": 60}', "-o", "id=one")
    worker = running(slow, "-p", processes, "--log-file", "log")
    until(lambda: (slow.folder / "log").read_text().count(" at once") == int(processes), worker)
    worker.send_signal(signal.SIGINT)
    until(lambda: (slow.folder / "log").read_text().count(" stops: ") == int(processes), worker)
    worker.send_signal(signal.SIGINT)  # not before the first was heard: two of a kind at once are one
    assert ended(worker)[0] == 130
    assert state(slow, "mail/one") == ("waiting", 1)


def test_a_redis_that_evicts_is_a_configuration_refused(shell: Shell) -> None:
    with RedisServer(options={"maxmemory-policy": "allkeys-lru"}) as server:
        for command in (("worker", "app:kit"), ("ping",), ("enqueue", "mail", "send")):
            ran = shell("-u", server.url, *command)
            assert (ran.code, "noeviction" in ran.err) == (78, True)
        assert shell("-u", server.url, "ping", env={"QUEUEKIT_ALLOW_EVICTION": "1"}).code == 0


def test_the_profile_of_a_worker_chooses_its_queues(slow: Shell) -> None:
    slow("enqueue", "mail", "slow", '{"seconds": 0}')
    slow("enqueue", "film", "note", '{"text": "a"}')
    assert slow("worker", "slow:kit", "--burst", "--type", "heavy").code == 0
    assert (slow.folder / "notes").exists()
    assert not (slow.folder / "started").exists()
    assert slow("worker", "slow:kit", "--burst", env={"WORKER_TYPE": "light"}).code == 0
    assert (slow.folder / "started").exists()
    assert slow("worker", "slow:kit", "--burst", "--type", "medium").code == 2


def test_queues_are_taken_in_the_order_given_and_left_out(slow: Shell) -> None:
    for queue in ("a", "b", "c"):
        slow("enqueue", queue, "note", f'{{"text": "{queue}"}}')
    assert slow("worker", "slow:kit", "--burst", "-Q", "c,a,b", "-X", "a").code == 0
    assert (slow.folder / "notes").read_text() == "c b "
    assert slow("worker", "slow:kit", "--burst", "-Q", "a=2,b").code == 2
    assert slow("worker", "slow:kit", "--burst", "-Q", "a=2,b=1").code == 0
    assert (slow.folder / "notes").read_text() == "c b a "


def test_a_worker_stops_after_so_many_jobs(slow: Shell) -> None:
    for text in "xyz":
        slow("enqueue", "film", "note", f'{{"text": "{text}"}}')
    assert slow("worker", "slow:kit", "--max-jobs", "2").code == 0
    assert (slow.folder / "notes").read_text() == "x y "


def test_a_running_worker_is_listed_shown_and_forgotten(slow: Shell) -> None:
    slow("enqueue", "mail", "slow", '{"seconds": 60}', "-o", "id=one")
    worker = running(slow, "--grace", "0")
    try:
        (beat,) = slow("workers", "list", "--json").json
        assert (beat["pid"], beat["queues"]) == (worker.pid, ["mail"])
        shown = slow("workers", "show", beat["id"][:-2], "--json").json
        assert shown["jobs"] == ["mail/one"]
        assert "queues:      mail\n" in slow("workers", "show", beat["id"]).out
        assert slow("workers", "show", "nobody").code == 1
        assert slow("health").code == 0
        assert slow("workers", "forget", beat["id"]).code == 0
        assert slow("jobs", "cancel", "mail/one").out == "cancel: 1 of 1 jobs\n"
    finally:
        worker.terminate()
        ended(worker)


def test_log_lines_are_json_where_no_terminal_is(slow: Shell) -> None:
    ran = slow.process("worker", "slow:kit", "--burst")
    assert all(line.startswith("{") for line in ran.err.splitlines())
    assert '"logger": "queuekit.runtime' in ran.err
    assert slow.process("-q", "worker", "slow:kit", "--burst").err == ""
    text = slow.process("worker", "slow:kit", "--burst", env={"QUEUEKIT_LOG_FORMAT": "text"}).err
    assert "INFO" in text
    assert f"store: sqlite:///{slow.folder}/queue.db, chosen by QUEUEKIT_URL" in text
    assert (
        slow.process("worker", "slow:kit", "--burst", "--json-logs", env={"QUEUEKIT_LOG_FORMAT": "text"}).err[0] == "{"
    )


@pytest.mark.parametrize("processes", ["1", "2"])
def test_log_lines_go_to_a_file_that_is_named(slow: Shell, processes: str) -> None:
    for _ in range(2):
        ran = slow.process("worker", "slow:kit", "--burst", "-p", processes, "--log-file", "worker.log")
        assert (ran.code, ran.err) == (0, "")
    ends = [line for line in (slow.folder / "worker.log").read_text().splitlines() if " ended: " in line]
    assert len(ends) == 2 * int(processes)
    ran = slow("worker", "slow:kit", "--burst", "--log-file", "no/such/folder.log")
    assert (ran.code, "No such file" in ran.err) == (2, True)
