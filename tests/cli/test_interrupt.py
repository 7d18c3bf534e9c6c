"""Ctrl-C at any moment: exit 130 (or 0 for a worker that finished its work), no traceback, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def interrupted(shell: Shell, after: float, *args: str) -> tuple[int, str]:
    process = shell.start(*args)
    try:
        time.sleep(after)  # the moment itself is what is tried
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, err


@pytest.mark.parametrize("after", [0.15, 0.25, 0.35, 0.5, 0.8, 1.2, 2.0])
def test_ctrl_c_ends_the_demo_without_a_traceback(shell: Shell, after: float) -> None:
    code, err = interrupted(shell, after, "demo")
    assert code == 130
    assert "Traceback" not in err
    assert not _children_of_demo(shell.folder)


def test_ctrl_c_ends_a_waiting_command(shell: Shell) -> None:
    code, err = interrupted(shell, 1.5, "enqueue", "mail", "send", '{"to": "a"}', "--wait", "1h")
    assert (code, "Traceback" in err) == (130, False)


def test_ctrl_c_ends_a_worker_that_waits_for_its_store(shell: Shell) -> None:
    code, err = interrupted(shell, 1.0, "-u", "redis://127.0.0.1:1/0", "worker", "app:kit")
    assert (code, "Traceback" in err) == (130, False)


def test_one_ctrl_c_lets_a_worker_finish(shell: Shell) -> None:
    worker = shell.start("worker", "app:kit")
    deadline = time.monotonic() + 60
    while not shell("workers", "list", "--json").json:
        assert worker.poll() is None
        assert time.monotonic() < deadline
    worker.send_signal(signal.SIGINT)
    _, err = worker.communicate(timeout=30)
    assert (worker.returncode, "Traceback" in err) == (0, False)


def test_term_ends_the_demo_in_order(shell: Shell) -> None:
    process = shell.start("demo")
    time.sleep(1.5)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert process.returncode == 128 + signal.SIGTERM
    assert not _children_of_demo(shell.folder)


def test_workers_of_a_killed_demo_end_by_themselves(shell: Shell) -> None:
    process = shell.start("demo")
    deadline = time.monotonic() + 20
    while not (hands := _children(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert hands
    process.kill()
    process.communicate()
    while any(_lives(pid) for pid in hands) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in hands if _lives(pid)]


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(one) for one in listed.split()]


def _children_of_demo(folder: Path) -> list[int]:
    """Worker processes whose working directory is the test's own folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and os.readlink(entry / "cwd") == str(folder):
                found.append(int(entry.name))
        except OSError:
            continue  # another user's, or just ended
    return found


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
