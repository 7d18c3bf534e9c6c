"""Ctrl-C at any moment: exit 130 (or 0 for a worker that finished its work), no traceback, nothing left behind.

The moments are things that can be seen from outside.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Ctrl-C now: the exit code, and what came on standard error from then on."""
    try:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, err


def until(reached: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until something can be seen of a process that runs."""
    deadline = time.monotonic() + 60
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("after", [0, 0.05, 0.1, 0.15, 0.2])
def test_ctrl_c_while_the_command_imports_is_clean(shell: Shell, after: float) -> None:
    process = shell.start("demo")
    until(lambda: _holds_back(process, signal.SIGINT), process)
    time.sleep(after)  # inside an import there is nothing to see but time
    code, err = interrupted(process)
    assert (code, "Traceback" in err) == (130, False)
    assert not _children_of_demo(shell.folder)


def _holds_back(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Whether the process blocks a signal, as the command does while it imports."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(blocked.split()[1], 16) & 1 << (number - 1))


def _mapped(process: subprocess.Popen[str], name: str) -> bool:
    return name in Path(f"/proc/{process.pid}/maps").read_text()


@pytest.mark.parametrize("module", ["orjson", "_pydantic_core", "_sqlite3"])
def test_ctrl_c_within_the_import_of_a_compiled_module_is_clean(shell: Shell, module: str) -> None:
    process = shell.start("demo")
    until(lambda: _mapped(process, module), process)
    code, err = interrupted(process)
    assert (code, "Traceback" in err) == (130, False)
    assert not _children_of_demo(shell.folder)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_a_working_demo_without_a_traceback(shell: Shell, workers: int) -> None:
    process = shell.start("demo")
    until(lambda: len(_children(process.pid)) >= workers, process)
    code, err = interrupted(process)
    assert (code, "Traceback" in err) == (130, False)
    assert not _children_of_demo(shell.folder)


def test_ctrl_c_ends_a_waiting_command(shell: Shell) -> None:
    process = shell.start("enqueue", "mail", "send", '{"to": "a"}', "--wait", "1h")
    until(lambda: shell("jobs", "list", "--json").json["jobs"], process)
    code, err = interrupted(process)
    assert (code, "Traceback" in err) == (130, False)


IN_A_LOCK = """
import os, signal, sys, threading
from queuekit.cli.main import main

def moment(frame, event, argument):
    if frame.f_code is threading.Condition._acquire_restore.__code__ and "_wait" in callers(frame):
        sys.settrace(None)
        print("now", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGINT)

def callers(frame):
    while frame is not None:
        yield frame.f_code.co_name
        frame = frame.f_back

sys.settrace(moment)
sys.exit(main())
"""


def test_ctrl_c_in_the_middle_of_a_lock_ends_a_waiting_command(shell: Shell) -> None:
    """A KeyboardInterrupt before `Condition.wait` has its lock back: what lets the lock go finds it free."""
    arguments = ["enqueue", "mail", "send", '{"to": "a"}', "--wait", "1h"]
    ended = subprocess.run(
        [sys.executable, "-c", IN_A_LOCK, *arguments],
        cwd=shell.folder, env=shell.env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (130, "now\n")


def test_a_waiting_command_that_was_told_to_ignore_ctrl_c_goes_on(shell: Shell) -> None:
    """As a shell without job control starts what stands before `&`."""
    arguments = ["enqueue", "mail", "send", '{"to": "a"}', "--wait", "1s"]
    waits = subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$0" -c "$@"', sys.executable, IN_A_LOCK, *arguments],
        cwd=shell.folder, env=shell.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _, said = waits.communicate(timeout=60)
    assert (waits.returncode, said[:4], "is waiting after 1s" in said) == (1, "now\n", True), said


def test_ctrl_c_ends_a_worker_that_waits_for_its_store(shell: Shell) -> None:
    process = shell.start("-u", "redis://127.0.0.1:1/0", "worker", "app:kit")
    assert process.stderr is not None
    assert "waiting up to" in process.stderr.readline()
    code, err = interrupted(process)
    assert (code, "Traceback" in err) == (130, False)


def test_one_ctrl_c_lets_a_worker_finish(shell: Shell) -> None:
    worker = shell.start("worker", "app:kit")
    until(lambda: shell("workers", "list", "--json").json, worker)
    code, err = interrupted(worker)
    assert (code, "Traceback" in err) == (0, False)


def test_term_ends_the_demo_in_order(shell: Shell) -> None:
    process = shell.start("demo")
    until(lambda: _children(process.pid), process)
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    assert process.returncode == 128 + signal.SIGTERM
    assert not _children_of_demo(shell.folder)


def test_workers_of_a_killed_demo_end_by_themselves(shell: Shell) -> None:
    process = shell.start("demo")
    until(lambda: _children(process.pid), process)
    hands = _children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
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
