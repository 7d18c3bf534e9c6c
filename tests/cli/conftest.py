"""The installed command in a folder of its own, with none of this machine's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from queuekit.settings import VARIABLES

QUEUEKIT = Path(sys.executable).parent / "queuekit"
APP = """
from queuekit import Fail, QueueKit, Retry

kit = QueueKit()
other = {}


@kit.task(queue="mail")
def send(to: str, cents: int = 0) -> str:
    return f"{cents} to {to}"


@kit.task(queue="mail", attempts=1)
def breaks(text: str) -> None:
    raise ValueError(text)


@kit.task(queue="maths", attempts=2, backoff="10ms")
async def divide(a: float, b: float) -> float:
    return a / b


def make_kit() -> QueueKit:
    return kit


def broken_factory() -> QueueKit:
    raise RuntimeError("no database today")
"""


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs `queuekit` as a person would, in `folder`, on a SQLite file there unless the test says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
        self.env["QUEUEKIT_URL"] = f"sqlite:///{folder / 'queue.db'}"

    def __call__(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None, timeout: float = 60) -> Ran:
        done = subprocess.run(
            [str(QUEUEKIT), *args], cwd=self.folder, env={**self.env, **(env or {})}, input=stdin, timeout=timeout,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(QUEUEKIT), *args], cwd=self.folder, env={**self.env, **(env or {})}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """The command in an empty folder with `app.py`."""
    (tmp_path / "app.py").write_text(APP)
    return Shell(tmp_path)


@pytest.fixture
def worked(shell: Shell) -> Callable[[], Ran]:
    """Run everything that is due, then stop."""
    return lambda: shell("worker", "app:kit", "--burst", "-q")
