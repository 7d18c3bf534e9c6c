"""What `docs/writing-a-backend.md` says a third party writes is enough, from a folder that knows nothing of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = """
import pytest

pytest.register_assert_rewrite("queuekit.testing.conformance")

from queuekit import clock
from queuekit.testing.conformance import Harness
from queuekit.testing.conformance.fixtures import *
from queuekit.testing.model import ModelStore, ModelWorld


class Mine(Harness):
    name = "mine"

    def __init__(self):
        super().__init__()
        self.ahead = 0
        self.world = ModelWorld(lambda: clock.now_ms() + self.ahead)

    def make(self, blocking, options):
        store = ModelStore(self.world, namespace=options.namespace, blocking=blocking, limit=options.payload_limit)
        BREAK
        return store

    async def advance(self, ms):
        self.ahead += ms


@pytest.fixture
def made():
    return Mine()
"""
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
FEW = "lifo or a_run_ends_once"


def run(folder: Path, broken: str = "pass") -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST.replace("BREAK", broken))
    (folder / "test_conformance.py").write_text("from queuekit.testing.conformance.suite import *\n")
    (folder / "pytest.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", FEW]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)


def test_two_files_run_the_suite_over_both_ports(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
    summary = done.stdout.splitlines()[-1]
    ran, _, rest = summary.partition(" passed, ")
    assert int(ran) >= 2 * (7 + 3)
    assert int(rest.split()[0]) > 900


def test_a_store_that_breaks_a_promise_is_told_so(tmp_path: Path) -> None:
    done = run(tmp_path, "store.queue('x').__class__.front = lambda q: q.back()")
    assert done.returncode == 1
    assert "test_a_lifo_job_goes_before_all_of_its_priority" in done.stdout
