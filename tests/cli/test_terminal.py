"""On a terminal: questions are asked, progress is shown, and what a job says cannot steer it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time

import pytest

from tests.cli.conftest import QUEUEKIT, Shell


def on_terminal(shell: Shell, *args: str, answer: tuple[str, str] = ("", "")) -> tuple[int, str]:
    """Run the command on a terminal of its own; when it shows `answer[0]`, type `answer[1]`."""
    parent, child = pty.openpty()
    env = {**shell.env, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [str(QUEUEKIT), *args],
        cwd=shell.folder,
        env=env,
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    shown, typed, deadline = b"", not answer[0], time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            if not select.select([parent], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(parent, 65536)
            except OSError:  # the other side is closed: it ended
                break
            if not data:
                break
            shown += data
            if not typed and answer[0].encode() in shown:
                os.write(parent, answer[1].encode() + b"\n")
                typed = True
        return process.wait(20), shown.decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(parent)


@pytest.fixture
def waiting(shell: Shell) -> Shell:
    assert shell("enqueue", "mail", "send", "-", stdin='{"to": "a"}\n{"to": "b"}\n').code == 0
    return shell


@pytest.mark.parametrize(("said", "code", "left"), [("y", 0, 0), ("n", 1, 2), ("", 1, 2)])
def test_many_jobs_are_asked_for_on_a_terminal(waiting: Shell, said: str, code: int, left: int) -> None:
    got, shown = on_terminal(waiting, "jobs", "cancel", "-Q", "mail", answer=("cancel 2 jobs?", said))
    assert (got, "Traceback" in shown) == (code, False)
    assert len(waiting("jobs", "list", "-s", "waiting", "--json").json["jobs"]) == left


def test_obliterate_asks_for_the_name_on_a_terminal(waiting: Shell) -> None:
    code, shown = on_terminal(waiting, "queues", "obliterate", "mail", answer=("once more", "male"))
    assert code == 2
    code, shown = on_terminal(waiting, "queues", "obliterate", "mail", answer=("once more", "mail"))
    assert (code, "with 2 jobs" in shown) == (0, True)


def test_what_a_job_says_cannot_steer_the_terminal(shell: Shell) -> None:
    payload = '{"to": "\\u001b]0;owned\\u0007\\u001b[2Jme\\u202e"}'
    assert shell("enqueue", "mail", "send", payload, "-o", "id=evil").code == 0
    for command in (("jobs", "show", "mail/evil"), ("jobs", "list")):
        code, shown = on_terminal(shell, *command)
        assert code == 0
        assert "\x1b]0;" not in shown
        assert "\x1b[2J" not in shown
        assert "\u202e" not in shown


def test_the_demo_shows_its_progress_on_a_terminal(shell: Shell) -> None:
    (shell.folder / "files").mkdir()
    for n in range(20):
        (shell.folder / f"files/{n}.txt").write_text("some words\n" * n)
    code, shown = on_terminal(shell, "demo", "files", "--pause", "100ms")
    assert code == 0
    assert "reading files" in shown
    assert "/20" in shown
    assert "20 completed" in shown


def test_long_tables_fit_the_terminal(shell: Shell) -> None:
    shell("enqueue", "mail", "send", '{"to": "a"}', "-o", f"id={'x' * 190}")
    code, shown = on_terminal(shell, "jobs", "list")
    assert code == 0
    assert max(len(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in shown.splitlines()) <= 120
