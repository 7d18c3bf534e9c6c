"""The lines that `queuekit init` says for a framework's project: put where it says, they are a project that works."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit.settings import VARIABLES
from tests.contrib.forks import Forks
from tests.contrib.test_bad_input import MANAGE

SETTINGS = 'SECRET_KEY = "of a test"\nDEBUG = True\nLOGGING_CONFIG = None\nINSTALLED_APPS = ["shop"]\n'
FLASK = "from flask import Flask\n\n\ndef create_app() -> Flask:\n    app = Flask(__name__)\n    return app\n"
FASTAPI = "from fastapi import FastAPI\n\napp = FastAPI()\n"


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as made:
        yield made


def blocks(told: str) -> list[str]:
    """What stands between its sentences, as code."""
    found: list[list[str]] = [[]]
    for line in told.splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif line:
            found.append([])
        else:
            found[-1].append("")
    return ["\n".join(lines).strip() + "\n" for lines in found if "".join(lines)]


def django(folder: Path, lines: list[str]) -> None:
    settings, tasks = lines[:2]
    (folder / "mysite/settings.py").write_text(SETTINGS + settings)
    (folder / "shop/tasks.py").write_text(tasks)


def flask(folder: Path, lines: list[str]) -> None:
    kit, init = lines[:2]
    (folder / "web.py").write_text(kit + FLASK.replace("    return app\n", f"    {init}    return app\n"))


def fastapi(folder: Path, lines: list[str]) -> None:
    kit, app = lines[:2]
    (folder / "main.py").write_text(FASTAPI.replace("app = FastAPI()\n", kit + app))


PROJECTS = {
    "django": (
        {"manage.py": MANAGE.replace('"settings"', '"mysite.settings"'),
         "mysite/settings.py": SETTINGS, "shop/__init__.py": "", "mysite/__init__.py": ""}, django,
    ),
    "flask": ({"web.py": FLASK}, flask),
    "fastapi": ({"main.py": FASTAPI}, fastapi),
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTS)
def test_the_lines_make_a_project_that_works(name: str, tmp_path: Path, forks: Forks) -> None:
    files, put = PROJECTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    env = {key: value for key, value in os.environ.items() if key not in VARIABLES and not key.startswith("DJANGO")}
    env |= {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}", "PYTHONDONTWRITEBYTECODE": "1"}
    told = forks.run(["queuekit", "init"], tmp_path, env)
    assert told.code == 0, told.told
    lines = blocks(told.told)
    put(tmp_path, lines)
    worker, call = lines[-1].splitlines()
    if name == "fastapi":
        assert worker == "queuekit worker main:kit"
    command, payload = call.removeprefix("python ").removesuffix(" --wait 30s").split(" '")
    enqueued = forks.run([*command.split(), payload.removesuffix("'")], tmp_path, env)
    assert (enqueued.code, enqueued.told[:5]) == (0, "mail/"), enqueued.told
    ran = forks.run([*worker.removeprefix("python ").split(), "--burst"], tmp_path, env)
    assert ran.code == 0, ran.told
    listed = forks.run(["queuekit", "jobs", "list", "--state", "completed", "--json"], tmp_path, env)
    assert '"task": "send_welcome"' in listed.told
