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

from tests.contrib.forks import Forks

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
SHELL = [text.strip() for kind, text in BLOCKS if kind == "sh"]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
(SCHEDULE,) = [text for text in PYTHON if "kit.schedule(" in text]
DJANGO, TASKS, FLASK, FASTAPI = (text for text in PYTHON if "contrib" in text)
MAKE = [text for text in SHELL if text.startswith("make ")]
STAMP = ".venv/.installed"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the README's program in it."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "pyproject.toml").write_text("")
    (folder / "shop.py").write_text(PYTHON[0].replace("\n\nif __name__", f"\n\n{SCHEDULE}\n\nif __name__"))
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


def test_the_schedule_is_written_and_says_when_it_comes(shop: Path, clean_env: dict[str, str]) -> None:
    ran = _sh("queuekit schedules sync shop:kit && queuekit schedules list", shop, clean_env)
    assert ran.returncode == 0, ran.stderr
    assert "0 9 * * mon-fri" in ran.stdout


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


@pytest.mark.parametrize("text", [text for text in PYTHON[1:] if "contrib" not in text and text != SCHEDULE])
def test_a_python_block_runs(text: str, shop: Path, clean_env: dict[str, str]) -> None:
    command = [sys.executable, "-c", text]
    ran = subprocess.run(command, cwd=shop, env=clean_env, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr


POST = """
from web import app

if hasattr(app, "test_client"):
    answer = app.test_client().post("/receipts/ada")
    print(answer.status_code, sorted(answer.get_json().items()))
else:
    from starlette.testclient import TestClient

    answer = TestClient(app).post("/receipts/ada")
    print(answer.status_code, sorted(answer.json().items()))
"""
MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as made:
        yield made


def _project(folder: Path, env: dict[str, str], files: dict[str, str]) -> dict[str, str]:
    for name, source in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(source)
    return env | {"QUEUEKIT_URL": f"sqlite:///{folder / 'queue.db'}"}


@pytest.mark.parametrize(("text", "module"), [(FLASK, "web:app"), (FASTAPI, "shop:kit")], ids=["flask", "fastapi"])
def test_a_frameworks_block_answers_and_its_job_runs(
    text: str, module: str, tmp_path: Path, clean_env: dict[str, str], forks: Forks
) -> None:
    assert len([line for line in text.splitlines() if line]) <= 10
    env = _project(tmp_path, clean_env, {"shop.py": PYTHON[0], "web.py": text, "post.py": POST})
    answered = forks.run(["post.py"], tmp_path, env)
    assert re.search(r"^202 \[\('job', 'mail/\w+'\), \('queued', True\)\]$", answered.told, re.MULTILINE), answered.told
    worked = forks.run(["queuekit", "-q", "worker", module, "--burst"], tmp_path, env)
    listed = forks.run(["queuekit", "jobs", "list", "--json"], tmp_path, env).told
    assert (worked.code, listed.count('"task": "send_receipt"')) == (0, 1), worked.told
    assert ("busy" if text == FASTAPI else '"result": "sent to ada"') in listed  # the shop's mail server, at first


def test_djangos_blocks_are_a_project_whose_job_runs(tmp_path: Path, clean_env: dict[str, str], forks: Forks) -> None:
    assert len([line for line in (DJANGO + TASKS).splitlines() if line]) <= 10
    settings = f'SECRET_KEY = "of a test"\nDEBUG = True\nLOGGING_CONFIG = None\nINSTALLED_APPS = ["shop"]\n{DJANGO}'
    files = {"manage.py": MANAGE, "settings.py": settings, "shop/__init__.py": "", "shop/tasks.py": TASKS}
    env = _project(tmp_path, clean_env, files)
    for words in (["enqueue", "mail", "send_receipt", '{"order": 7}'], ["worker", "--burst"]):
        ran = forks.run(["manage.py", "queuekit", *words], tmp_path, env)
        assert ran.code == 0, ran.told
    assert '"result": "sent for order 7"' in forks.run(["queuekit", "jobs", "list", "--json"], tmp_path, env).told


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
