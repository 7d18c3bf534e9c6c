"""What stands where: names at the root, no unfinished code, every store in the matrix."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import ROOT, shipped, tracked, tree

AT_ROOT = {
    *("README.md", "LICENSE", "CHANGELOG.md", "Makefile", "constraints.txt", "pyproject.toml"),
    *("queuekit", "backends", "tests", "examples", "docs", "compose"),
}
STORES = ("model", "sqlite", "redis", "mongo")


def test_only_the_named_things_stand_at_the_root() -> None:
    names = {name.partition("/")[0] for name in tracked()}
    assert {"queuekit", "pyproject.toml"} <= names
    assert {name for name in names if not name.startswith(".")} - AT_ROOT == set()


def test_shipped_code_leaves_nothing_unimplemented() -> None:
    unfinished = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in shipped(".py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node)
    ]
    assert unfinished == []


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("queuekit/runtime/x.py", True),
        ("backends/redis/queuekit_redis/x.py", True),
        ("queuekit/testing/x.py", True),
        ("queuekit/clock.py", False),
        ("tests/unit/test_x.py", False),
    ],
)
@pytest.mark.parametrize(
    "code",
    [
        "import time\n\nprint_at = time.time()\n",
        "from time import monotonic\n\nprint_at = monotonic()\n",
        "import datetime\n\nprint_at = datetime.datetime.now(datetime.UTC)\n",
        "from datetime import date\n\nprint_at = date.today()\n",
    ],
)
def test_lint_lets_only_clock_py_read_a_clock(path: str, refused: bool, code: str) -> None:
    ruff = str(Path(sys.executable).parent / "ruff")
    command = [ruff, "check", "--no-cache", "--select", "TID251", "--stdin-filename", path, "-"]
    result = subprocess.run(command, cwd=ROOT, input=code, capture_output=True, text=True, check=False)
    assert (result.returncode, "clock.py reads a clock" in result.stdout) == (int(refused), refused), result.stderr


def test_every_shipped_module_says_what_lives_in_it() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in shipped(".py")
        if tree(path).body and not (ast.get_docstring(tree(path)) or "").strip()
    ]
    assert silent == []


@pytest.mark.parametrize("name", STORES)
def test_every_store_stands_in_the_conformance_matrix(name: str) -> None:
    assert (ROOT / "tests" / "contract" / f"harness_{name}.py").is_file()


def test_no_file_records_where_packages_are_downloaded_from() -> None:
    assert not {"uv.lock", "poetry.lock", "package-lock.json"} & {name.rpartition("/")[2] for name in tracked()}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 40
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9-]+==[\w.]+", line)] == []
