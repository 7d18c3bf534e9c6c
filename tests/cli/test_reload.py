"""`worker --reload`: real files, real processes. What is watched, what a change does to a worker and its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuekit.cli import watch
from tests.cli.conftest import Shell

APP = """
import asyncio, pathlib
from queuekit import QueueKit

kit = QueueKit()

@kit.task(queue="mail")
def send() -> str:
    return "ONE"

@kit.task(queue="mail")
async def slow(seconds: float) -> str:
    pathlib.Path("started").touch()
    await asyncio.sleep(seconds)
    return "ONE"
"""


class Reloaded:
    """A worker with --reload in a session of its own, and what it says."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.lines: list[str] = []
        self.listening = threading.Thread(target=self._listen)
        self.listening.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)

    def said(self, text: str) -> int:
        return sum(text in line for line in self.lines)

    def until(self, reached: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not reached():
            assert self.process.poll() is None, self.lines
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def until_started(self, times: int, workers: int = 1) -> None:
        """Until so many workers have begun to claim."""
        self.until(lambda: self.said(" at once") >= times * workers)

    def write(self, text: str) -> None:
        """As an editor saves: whole, under another name, then in its place."""
        (self.folder / ".app.tmp").write_text(text)
        (self.folder / ".app.tmp").replace(self.folder / "app.py")

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to everybody in front of it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ended(self) -> int:
        code = self.process.wait(40)
        assert self.said("Traceback") == 0, self.lines
        return code


@pytest.fixture
def reloaded(shell: Shell) -> Iterator[Callable[..., Reloaded]]:
    (shell.folder / "app.py").write_text(APP)
    shell.env["QUEUEKIT_LOG_FORMAT"] = "text"

    started: list[Reloaded] = []

    def start(*options: str) -> Reloaded:
        started.append(Reloaded(shell.start("worker", "app:kit", "--reload", *options), shell.folder))
        return started[-1]

    yield start
    for one in started:  # a parent that is killed takes its worker along
        one.process.kill()
        one.listening.join(60)


def emptied(group: int) -> bool:
    """Whether everybody of a process group goes; what multiprocessing leaves behind does so a moment later."""
    deadline = time.monotonic() + 40
    try:
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.02)
    except ProcessLookupError:
        return True
    return False


def result(shell: Shell) -> str:
    return shell("enqueue", "mail", "send", "{}", "--wait", "60s").out.strip()


def state(shell: Shell, ref: str) -> tuple[str, object, int]:
    job = shell("jobs", "show", ref, "--json").json
    return job["state"], job["result"], job["attempt"]


def test_a_change_restarts_the_worker_and_a_syntax_error_waits_for_the_next(
    shell: Shell, reloaded: Callable[..., Reloaded]
) -> None:
    worker = reloaded("-p", "2")
    worker.until_started(1, workers=2)
    assert result(shell) == '"ONE"'
    worker.write(APP.replace("ONE", "TWO"))
    worker.until_started(2, workers=2)
    assert worker.said("app.py changed") == 1
    assert result(shell) == '"TWO"'
    worker.write(APP + "\ndef (:\n")
    worker.until(lambda: worker.said("the next change starts it again"))
    assert worker.said("def (:") == 1
    assert worker.said("SyntaxError") == 1
    worker.write(APP.replace("ONE", "SIX"))
    worker.until_started(3, workers=2)
    assert result(shell) == '"SIX"'
    worker.interrupt()
    assert worker.ended() == 0
    assert emptied(worker.process.pid)


def test_a_running_job_ends_under_the_old_code_and_ctrl_c_waits_for_it_once(
    shell: Shell, reloaded: Callable[..., Reloaded]
) -> None:
    shell("enqueue", "mail", "slow", '{"seconds": 1}', "-o", "id=finishes")
    worker = reloaded()
    worker.until((shell.folder / "started").exists)
    worker.write(APP.replace("ONE", "TWO"))
    worker.until_started(2)
    assert state(shell, "mail/finishes") == ("completed", "ONE", 1)
    (shell.folder / "started").unlink()
    shell("enqueue", "mail", "slow", '{"seconds": 1}', "-o", "id=again")
    worker.until((shell.folder / "started").exists)
    worker.interrupt()
    assert worker.ended() == 0
    assert state(shell, "mail/again") == ("completed", "TWO", 1)


def test_what_does_not_end_within_the_grace_is_run_by_the_new_code(
    shell: Shell, reloaded: Callable[..., Reloaded]
) -> None:
    shell("enqueue", "mail", "slow", '{"seconds": 300}', "-o", "id=one")
    worker = reloaded("--grace", "100ms")
    worker.until((shell.folder / "started").exists)
    worker.write(APP.replace("ONE", "TWO").replace("sleep(seconds)", "sleep(0)"))
    worker.until_started(2)
    worker.until(lambda: state(shell, "mail/one") == ("completed", "TWO", 1))
    worker.process.kill()  # nobody told the worker: it ends with its parent
    worker.process.wait(40)
    assert emptied(worker.process.pid)


def test_two_ctrl_c_give_back_at_once(shell: Shell, reloaded: Callable[..., Reloaded]) -> None:
    shell("enqueue", "mail", "slow", '{"seconds": 300}', "-o", "id=one")
    worker = reloaded("--grace", "5min")
    worker.until((shell.folder / "started").exists)
    worker.interrupt()
    worker.until(lambda: worker.said("stops: 300.0 s"))
    worker.interrupt()
    assert worker.ended() == 130
    assert state(shell, "mail/one") == ("waiting", None, 1)  # the attempt that comes: none is used up


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("app:kit", "--burst"), 2, "--burst"),
        ((), 2, "which app?"),
        (("app:kit", "--grace", "soon"), 2, "soon"),
    ],
)
def test_what_no_file_can_mend_is_refused_at_once(shell: Shell, options: tuple[str, ...], code: int, said: str) -> None:
    ran = shell("worker", "--reload", *options)
    assert ran.code == code
    assert said in ran.err


# ------------------------------------------------------------ what is watched
def _write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_own_python_files_and_the_configuration_are_watched_and_nothing_else(tmp_path: Path) -> None:
    watched = {_write(tmp_path / name) for name in ("a.py", "pack/deep/b.py", "queuekit.toml", "pyproject.toml")}
    own = _write(tmp_path / "settings.env")
    left = (
        "notes.txt", "queue.db", "other.toml", ".git/hook.py", "__pycache__/a.py", "node_modules/x/y.py",
        "env/lib/python3/site.py", "pack/site-packages/theirs.py",
    )  # fmt: skip
    for name in left:
        _write(tmp_path / name)
    _write(tmp_path / "env/pyvenv.cfg")
    seen = watch.look([str(tmp_path)], [str(own), str(tmp_path / "missing.env")])
    assert set(seen) == {str(path) for path in {*watched, own}}


def test_new_gone_and_different_files_are_changes_and_a_look_is_none(tmp_path: Path) -> None:
    stays, goes = _write(tmp_path / "stays.py", "1"), _write(tmp_path / "goes.py", "1")
    before = watch.look([str(tmp_path)])
    assert watch.changed(before, watch.look([str(tmp_path)])) == []
    goes.unlink()
    stays.write_text("12")
    new = _write(tmp_path / "below/new.py")
    assert watch.changed(before, watch.look([str(tmp_path)])) == sorted(map(str, (stays, goes, new)))
    again = watch.look([str(tmp_path)])
    os.utime(stays, ns=(0, 0))  # the same size: an older version put back
    assert watch.changed(again, watch.look([str(tmp_path)])) == [str(stays)]


def test_the_scripts_folder_and_pythonpath_are_watched_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, site, lib = tmp_path / "here", tmp_path / "site", tmp_path / "lib"
    for folder in (here / "src", site, lib):
        folder.mkdir(parents=True)
    manage = _write(site / "manage.py")
    monkeypatch.chdir(here)
    path = os.pathsep.join(map(str, (here / "src", lib, tmp_path / "nowhere")))
    assert watch.roots(str(manage), path) == tuple(map(str, (here, lib, site)))
    assert watch.roots(str(Path(sys.executable).parent / "queuekit"), None) == (str(here),)
    installed = _write(tmp_path / "site-packages/queuekit/__main__.py")
    assert watch.roots(str(installed), None) == (str(here),)
