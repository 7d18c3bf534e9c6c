"""The installed command in a folder of its own, with none of this machine's settings."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from queuekit.cli.main import main
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
    """Runs `queuekit` as a person would, in `folder`, on a SQLite file there unless the test says otherwise.

    Calling it runs the command inside this process, which saves the third of a second that an interpreter takes to
    start; `process` runs the installed command.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if k not in VARIABLES}
        self.env["QUEUEKIT_URL"] = f"sqlite:///{folder / 'queue.db'}"
        self._patch = monkeypatch
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with self._patch.context() as patch, redirect_stdout(out), redirect_stderr(err), _as_found():
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", ["queuekit", *args])
            patch.setattr(sys, "stdin", io.StringIO(stdin))
            patch.setattr(sys, "path", [*sys.path])
            os.environ.clear()
            os.environ.update(self.env | dict(env or {}))
            with pytest.raises(SystemExit) as end:
                main()
        code = end.value.code
        return Ran(code if isinstance(code, int) else 0 if code is None else 1, out.getvalue(), err.getvalue())

    def process(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> Ran:
        done = subprocess.run(
            [str(QUEUEKIT), *args],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            input=stdin,
            timeout=60,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback (most recent call last)" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [str(QUEUEKIT), *args],
            cwd=self.folder,
            env={**self.env, **(env or {})},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.started.append(started)
        return started

    def close(self) -> None:
        """End what a failed test left running, and its pipes: else the next test is blamed for them."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


@contextmanager
def _as_found() -> Iterator[None]:
    """Environment, logging and modules afterwards as before: a command changes all three for its process."""
    environ = dict(os.environ)
    root, modules, term = logging.getLogger(), set(sys.modules), signal.getsignal(signal.SIGTERM)
    handlers, level = list(root.handlers), logging.getLogger("queuekit").level
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environ)
        root.handlers[:] = handlers
        logging.getLogger("queuekit").setLevel(level)
        signal.signal(signal.SIGTERM, term)
        for name in set(sys.modules) - modules:
            if not name.startswith(("queuekit", "pydantic", "rich", "typer")):
                found = getattr(sys.modules[name], "__file__", None) or ""
                if "site-packages" not in found and "/lib/python" not in found:
                    del sys.modules[name]


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """The command in an empty folder with `app.py`."""
    (tmp_path / "app.py").write_text(APP)
    made = Shell(tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.fixture
def worked(shell: Shell) -> Callable[[], Ran]:
    """Run everything that is due, then stop."""
    return lambda: shell("-q", "worker", "app:kit", "--burst")
