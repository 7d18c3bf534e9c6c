"""`worker --reload` in `manage.py queuekit` and `flask queuekit`: the same command starts anew, Ctrl-C ends both."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contrib.web import Site

SHOP = """
import os
from queuekit.contrib.flask import FlaskKit
from flask import Flask

kit = FlaskKit()

@kit.task(queue="mail")
def send() -> str:
    return "ONE"

def create_app():
    app = Flask(__name__)
    kit.init_app(app)
    return app
"""
TASKS = """
from queuekit.contrib.django import kit

@kit.task(queue="mail")
def send() -> str:
    return "ONE"
"""
SETTINGS = """
SECRET_KEY = "of a test"
DEBUG = True
LOGGING_CONFIG = None
INSTALLED_APPS = ["queuekit.contrib.django", "shop"]
"""
MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
PROJECTS = {
    "django": (
        {"manage.py": MANAGE, "settings.py": SETTINGS, "shop/__init__.py": "", "shop/tasks.py": TASKS},
        "shop/tasks.py",
        (sys.executable, "manage.py", "queuekit"),
    ),
    "flask": ({"shop.py": SHOP}, "shop.py", ("flask", "--app", "shop:create_app", "queuekit")),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}", "QUEUEKIT_LOG_FORMAT": "text"})
    yield made
    made.client.close()
    for process in made.running:  # a parent that is killed takes its worker along
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", PROJECTS)
def test_a_change_restarts_the_worker_of_a_framework(site: Site, name: str) -> None:
    files, tasks, command = PROJECTS[name]
    for path, text in files.items():
        (site.folder / path).parent.mkdir(exist_ok=True)
        (site.folder / path).write_text(text)
    with (site.folder / "worker.log").open("wb") as said:
        worker = subprocess.Popen(
            [*command, "worker", "--reload"],
            cwd=site.folder, env=site.env, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    site.running.append(worker)
    site.wait("it works", lambda: site.said().count(" at once") == 1)
    source = site.folder / tasks
    source.write_text(files[tasks].replace("ONE", "TWO"))
    site.wait("it works again", lambda: site.said().count(" at once") == 2)
    ran = site.run(*command, "enqueue", "mail", "send", "{}", "--wait", "60s")
    assert ran.stdout == '"TWO"\n', ran.stderr
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait(60) == 0
    assert "KeyboardInterrupt" not in site.said()
