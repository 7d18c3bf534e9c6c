"""Where gevent or eventlet patched the process, jobs are enqueued and no worker runs: it would lose its leases."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from queuekit import QueueKit
from queuekit.errors import ConfigError
from queuekit.runtime.greenlets import refuse_patched

ROOT = Path(__file__).parents[3]
PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys
from queuekit import ConfigError, QueueKit
kit = QueueKit(sys.argv[1])
@kit.task
def add(a: int, b: int) -> int:
    return a + b
handle = add.enqueue(1, 2)
assert handle.created and handle.status() == "waiting"
try:
    kit.worker(burst=True).run()
except ConfigError as error:
    print(error)
else:
    raise SystemExit("the worker ran")
assert handle.status() == "waiting"
kit.close()
"""


def test_a_patched_process_enqueues_and_runs_no_worker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PATCHED, f"sqlite:///{tmp_path}/jobs.db"],
        capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=os.environ,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "gevent has patched this process" in done.stdout
    assert "`queuekit worker`" in done.stdout


def test_the_command_line_says_so_with_the_code_of_a_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "patched.py").write_text(
        "from gevent import monkey\nmonkey.patch_all()\nfrom queuekit import QueueKit\n"
        f"kit = QueueKit('sqlite:///{tmp_path}/jobs.db')\n"
        "@kit.task\ndef nothing() -> None: ...\n"
    )
    done = subprocess.run(
        [str(Path(sys.executable).with_name("queuekit")), "worker", "patched:kit"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    assert "gevent has patched this process" in done.stderr


@pytest.mark.parametrize("part", ["thread", "socket", "select", "time"])
def test_eventlet_is_known_too(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried further: it is not installed here, and its own pages say not to begin with it."""
    patched: Callable[[str], bool] = lambda asked: asked == part  # noqa: E731
    monkeypatch.setitem(sys.modules, "eventlet.patcher", SimpleNamespace(is_monkey_patched=patched))
    with pytest.raises(ConfigError, match="eventlet has patched this process"):
        refuse_patched()


async def test_a_worker_inside_a_loop_is_refused_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda asked: True))
    async with QueueKit(f"sqlite:///{tmp_path}/jobs.db", name="patched") as kit:
        kit.task(_nothing)
        with pytest.raises(ConfigError, match="gevent"):
            async with kit.worker():
                raise AssertionError("it cannot begin")


def test_what_is_only_imported_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=lambda asked: False))
    monkeypatch.setitem(sys.modules, "eventlet.patcher", SimpleNamespace(is_monkey_patched=lambda asked: False))
    refuse_patched()


def _nothing() -> None:
    return
