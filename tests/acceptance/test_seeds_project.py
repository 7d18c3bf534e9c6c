"""Rows that ask how a project is laid out and how one works on it: the commands, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuekit.settings import VARIABLES

QUEUEKIT = str(Path(sys.executable).parent / "queuekit")
FOLDER = ("__init__.py", "constants.py", "processor.py", "producer.py", "types.py")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return clean | {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}", "QUEUEKIT_LOG_FORMAT": "text"}


def run(folder: Path, env: dict[str, str], *words: str) -> str:
    return subprocess.run([QUEUEKIT, *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout


def test_S1_2_S1_6_queues_are_folders_and_a_new_one_is_registered_nowhere(env: dict[str, str], tmp_path: Path) -> None:
    run(tmp_path, env, "init", "--layout", "feature-folders")
    before = {path: path.read_text() for path in tmp_path.rglob("*.py")}
    assert {str(path.relative_to(tmp_path)) for path in before} == {
        "jobs/__init__.py", *(f"jobs/example/{name}" for name in FOLDER)
    }  # fmt: skip
    run(tmp_path, env, "new", "queue", "execution:order_submission", "--layout", "one-file")
    new = {path: path.read_text() for path in tmp_path.rglob("*.py") if path not in before}
    assert [len(text.splitlines()) <= 8 for text in new.values()] == [True]  # one file; the seed takes six steps
    assert all(path.read_text() == text for path, text in before.items())
    told = run(tmp_path, env, "-A", "jobs:kit", "tasks", "--json")
    assert {row["queue"] for row in json.loads(told) if row["handler"]} == {"example", "execution:order_submission"}


def test_S3_2_a_worker_in_development_starts_anew_when_a_file_changes(env: dict[str, str], tmp_path: Path) -> None:
    run(tmp_path, env, "init")
    log = tmp_path / "log"
    command = [QUEUEKIT, "worker", "jobs:kit", "--reload", "--log-file", str(log)]
    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as worker:
        try:
            for times in (1, 2):
                deadline = time.monotonic() + 60
                while not log.exists() or log.read_text().count(" at once") < times:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
                with (tmp_path / "jobs.py").open("a") as file:
                    file.write(f"\n# change {times}\n")
        finally:
            worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
