"""Every block of the README runs as it stands there, from top to bottom, in one folder with one worker behind it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SHELL = [text.strip() for kind, text in BLOCKS if kind == "sh"]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
MAKE = [text for text in SHELL if text.startswith("make ")]
STAMP = ".venv/.installed"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the README's program in it."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "pyproject.toml").write_text("")
    (folder / "shop.py").write_text(PYTHON[0])
    return folder


@pytest.fixture
def worker(shop: Path, clean_env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    (command,) = [text for text in SHELL if text.startswith("queuekit worker")]
    with subprocess.Popen(
        command.split(), cwd=shop, env=clean_env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        yield running
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=40)
        assert running.returncode == 0


def _sh(text: str, folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-e", "-c", text]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=100, check=False)


def test_no_block_is_of_a_kind_that_nothing_runs() -> None:
    assert {kind for kind, _ in BLOCKS} == {"sh", "python"}
    assert MAKE == ["make demo", "make test"]
    assert len(PYTHON[0].splitlines()) <= 20


def test_the_program_runs_beside_its_worker(
    shop: Path, clean_env: dict[str, str], worker: subprocess.Popen[str]
) -> None:
    (program,) = [text for text in SHELL if text.startswith("python ")]
    ran = _sh(program.replace("python", sys.executable, 1), shop, clean_env)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"mail/\w+ sent 12\.50 to ada@example\.com\n", ran.stdout)


@pytest.mark.parametrize(
    "text", [t for t in SHELL if t not in MAKE and not t.startswith(("queuekit worker", "python "))]
)
def test_a_shell_block_runs(text: str, shop: Path, clean_env: dict[str, str]) -> None:
    ran = _sh(text, shop, clean_env)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


@pytest.mark.parametrize("text", PYTHON[1:])
def test_a_python_block_runs(text: str, shop: Path, clean_env: dict[str, str]) -> None:
    command = [sys.executable, "-c", text]
    ran = subprocess.run(command, cwd=shop, env=clean_env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_demo_runs_as_it_stands(clean_env: dict[str, str]) -> None:
    # `-o`: the environment this test runs in stands; a fresh clone is what CI starts from.
    command, before = ["make", "-s", "-o", STAMP, "demo"], set(os.listdir(ROOT))
    ran = subprocess.run(command, cwd=ROOT, env=clean_env, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "dead letters" in ran.stdout
    assert "queuekit.db" not in set(os.listdir(ROOT)) - before


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_make_test_is_what_runs_this_test(clean_env: dict[str, str]) -> None:
    planned = subprocess.check_output(["make", "-s", "-n", "-o", STAMP, "test"], cwd=ROOT, env=clean_env, text=True)
    assert "pytest" in planned
