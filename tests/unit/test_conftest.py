"""The closing lines count cases per store, pytest's own stays last, and a missing server fails where CI is set."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import pytest

@pytest.mark.store("model")
@pytest.mark.parametrize("n", range(3))
def test_marked(n): pass

@pytest.mark.parametrize("store", ["sqlite", "mongo"])
def test_by_parameter(store):
    if store == "mongo":
        pytest.skip("not here")

def test_failing(redis_url): raise AssertionError(redis_url)

def test_of_no_store(): pass
"""
WITHOUT_SERVERS = """
import queuekit.testing.servers as servers
from queuekit.errors import MissingExtra
def absent(kind): raise MissingExtra(f"no {kind} here")
servers.find = absent
"""


def run(folder: Path, cases: str, **env: str) -> list[str]:
    (folder / "test_cases.py").write_text(cases)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = store(name): the store\n")
    shutil.copy(Path(__file__).parents[1] / "conftest.py", folder)
    inherited = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    result = subprocess.run(command, cwd=folder, env=inherited | env, capture_output=True, text=True, check=False)
    return result.stdout.splitlines()


def test_cases_are_counted_per_store_and_pytests_line_stays_last(tmp_path: Path, redis_url: str) -> None:
    lines = run(tmp_path, CASES)
    counts = [line.split() for line in lines if line.endswith("skipped") and " ran " in line]
    assert counts == [
        ["model", "3", "ran", "0", "skipped"],
        ["sqlite", "1", "ran", "0", "skipped"],
        ["redis", "1", "ran", "0", "skipped"],
        ["mongo", "0", "ran", "1", "skipped"],
    ]
    assert "1 failed, 5 passed, 1 skipped in" in lines[-1]


@pytest.mark.parametrize(
    ("env", "end"), [({}, "1 skipped in"), ({"CI": ""}, "1 skipped in"), ({"CI": "true"}, "1 error in")]
)
def test_a_missing_server_skips_on_a_laptop_and_fails_in_ci(tmp_path: Path, env: dict[str, str], end: str) -> None:
    lines = run(tmp_path, WITHOUT_SERVERS + "def test_needing(mongo_url): pass\n", **env)
    assert end in lines[-1]
    assert any("no mongo here" in line for line in lines) or not env.get("CI")
