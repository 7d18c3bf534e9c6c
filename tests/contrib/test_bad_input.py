"""What people get wrong with the frameworks, from the command line: one clear message, what to do, the exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from queuekit.settings import VARIABLES
from tests.contrib.forks import Forks

STORE = {"QUEUEKIT_URL": "sqlite:///queue.db"}
MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""
SETTINGS = """
SECRET_KEY = "of a test"
DEBUG = False
ALLOWED_HOSTS = ["*"]
LOGGING_CONFIG = None
INSTALLED_APPS = ["queuekit.contrib.django", "shop"]
"""
DJANGO = {"manage.py": MANAGE, "settings.py": SETTINGS, "shop/__init__.py": "", "shop/tasks.py": ""}
URLS = "ROOT_URLCONF = 'urls'\n"
SILENT = "SILENCED_SYSTEM_CHECKS = ['queuekit.E002']\n"
WITH_URLS = {
    "urls.py": "from shop.tasks import send\nurlpatterns = []\n",
    "shop/tasks.py": "from queuekit.contrib.django import kit\n@kit.task\ndef send() -> None: ...\n",
    "shop/management/commands/sends.py": """
from django.core.management.base import BaseCommand, CommandError
from queuekit import ConfigError

class Command(BaseCommand):
    def handle(self, *args, **options):
        from shop.tasks import send
        try:
            send.enqueue()
        except ConfigError as error:
            raise CommandError(error)
""",
}
QUEUED = "from queuekit import QueueKit\nkit = QueueKit(imports=['jobs.mail', 'jobs.bills'])\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FLASK_KIT = "from queuekit.contrib.flask import FlaskKit\nkit = FlaskKit(app)\n\n\n@kit.task\ndef send() -> None: ...\n"
SENDS = "@kit.task\ndef send(to: str) -> None: ...\n"
DEPENDS = """
from __future__ import annotations
from typing import Annotated
from fastapi import Depends
from queuekit import QueueKit

kit = QueueKit()
def session() -> int: return 1
Session = Annotated[int, Depends(session)]
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What somebody has, and does; what they are told."""

    files: dict[str, str]
    command: str
    code: int
    said: tuple[str, ...]
    env: dict[str, str] = field(default_factory=lambda: dict(STORE))
    missing: tuple[str, ...] = ()  # modules that are not installed


def django(settings: str, files: dict[str, str] | None = None) -> dict[str, str]:
    return DJANGO | {"settings.py": SETTINGS + settings} | (files or {})


CASES = {
    # an extra that is not installed
    "no redis": Case(
        files={}, command="queuekit -u redis://localhost ping", code=2, missing=("redis", "queuekit_redis"),
        said=("pip install 'queuekit[redis]'",),
    ),
    "no pymongo": Case(
        files={}, command="queuekit ping", code=2, missing=("pymongo", "queuekit_mongo"),
        env={"QUEUE_PROVIDER": "agenda"}, said=("pip install 'queuekit[mongo]'",),
    ),
    "no flask": Case(
        files={"shop.py": "from queuekit.contrib.flask import FlaskKit\n"}, command="queuekit worker shop:kit", code=2,
        missing=("flask",),
        said=("importing shop failed", "flask is not installed: pip install 'queuekit[flask]'", "shop.py"),
    ),
    "no fastapi": Case(
        files={"shop.py": "from queuekit.contrib.fastapi import lifespan\n"}, command="queuekit worker shop:kit",
        code=2, missing=("fastapi",), said=("pip install 'queuekit[fastapi]'", "shop.py"),
    ),
    "no starlette": Case(
        files={"shop.py": "import queuekit.contrib.starlette\n"}, command="queuekit worker shop:kit",
        code=2, missing=("starlette",),
        said=("starlette is not installed: pip install 'queuekit[starlette]'", "shop.py"),
    ),
    "no django": Case(
        files={"shop.py": "from queuekit.contrib.django import kit\n"}, command="queuekit worker shop:kit",
        code=2, missing=("django",), said=("pip install 'queuekit[django]'", "shop.py"),
    ),
    # a task module that cannot be imported: the worker refuses to start
    "broken module": Case(
        files={"app.py": QUEUED, "jobs/mail.py": "def one() -> int:\n    return 1 / 0\n\n\none()\n"},
        command="queuekit worker app:kit", code=2,
        said=("ZeroDivisionError: division by zero", "jobs/mail.py", "line 2, in one", "return 1 / 0"),
    ),
    "broken syntax": Case(
        files={"app.py": QUEUED, "jobs/mail.py": "def one(:\n", "jobs/bills.py": ""},
        command="queuekit worker app:kit -p 2", code=2, said=("SyntaxError", "jobs/mail.py", "def one(:"),
    ),
    "missing module": Case(
        files={"app.py": QUEUED, "jobs/mail.py": ""}, command="queuekit worker app:kit", code=2,
        said=("imports: there is no module 'jobs.bills'",),
    ),
    "missing package of theirs": Case(
        files={"app.py": QUEUED, "jobs/mail.py": "import stripe_of_nobody\n"}, command="queuekit worker app:kit",
        code=2, said=("No module named 'stripe_of_nobody'", "jobs/mail.py", "line 1"),
    ),
    "broken module in django": Case(
        files=django("", {"shop/tasks.py": "\n1 / 0\n"}), command="manage.py queuekit worker", code=2,
        said=("task module 'shop.tasks' (app 'shop')", "ZeroDivisionError", "shop/tasks.py", "line 2"),
    ),
    "broken module in django, checked": Case(
        files=django("", {"shop/tasks.py": "\n1 / 0\n"}), command="manage.py check", code=1,
        said=("queuekit.E008", "task module 'shop.tasks' (app 'shop')", "shop/tasks.py"),
    ),
    # one name, two tasks
    "task names twice": Case(
        files={"app.py": QUEUED, "jobs/mail.py": f"from app import kit\n{SENDS}",
               "jobs/bills.py": f"from app import kit\n\n\n{SENDS}"},
        command="queuekit worker app:kit", code=2,
        said=("task 'send' is registered twice", "jobs/mail.py, line 2", "jobs/bills.py, line 4", '@kit.task("…")'),
    ),
    "task names twice in django": Case(
        files=django("INSTALLED_APPS += ['bills']\n", {
            "shop/tasks.py": f"from queuekit.contrib.django import kit\n{SENDS}", "bills/__init__.py": "",
            "bills/tasks.py": f"from queuekit.contrib.django import kit\n{SENDS}",
        }),
        command="manage.py queuekit worker", code=2,
        said=("task 'send' is registered twice", "shop/tasks.py, line 2", "bills/tasks.py, line 2"),
    ),
    # a dependency of a request in a task
    "depends": Case(
        files={"api.py": f"{DEPENDS}\n@kit.task\ndef report(session: Session) -> None: ...\n"},
        command="queuekit worker api:kit", code=2,
        said=("'session' of task 'report' is a FastAPI Depends", "session = Inject(...)", "api.py"),
    ),
    "depends as a default": Case(
        files={"api.py": f"{DEPENDS}\n@kit.task\ndef report(day: str, session: int = Depends(session)) -> None: ...\n"},
        command="queuekit worker api:kit", code=2, said=("'session' of task 'report'", "Inject"),
    ),
    # settings of Django: its checks speak
    "QUEUEKIT is no dict": Case(
        files=django("QUEUEKIT = 'redis://localhost'\n"), command="manage.py check", code=1,
        said=("queuekit.E001", "use a dict, not str"),
    ),
    "QUEUEKIT has an unknown key": Case(
        files=django("QUEUEKIT = {'CONCURENCY': 5}\n"), command="manage.py check", code=1,
        said=("queuekit.E001", "'CONCURENCY'", "did you mean 'CONCURRENCY'?"),
    ),
    "QUEUEKIT has a wrong value": Case(
        files=django("QUEUEKIT = {'URL': 'sqlite:///q.db', 'GRACE': 'soon'}\n"), command="manage.py check", env={},
        code=1, said=("settings.QUEUEKIT['GRACE']='soon'",),
    ),
    "QUEUEKIT has an unknown store": Case(
        files=django("QUEUEKIT = {'PROVIDER': 'rabbit'}\n"), command="manage.py check", env={}, code=1,
        said=("queuekit.E005", "settings.QUEUEKIT['PROVIDER']='rabbit'", "redis, bull, mongo"),
    ),
    "APP is nowhere": Case(
        files=django("QUEUEKIT = {'APP': 'shop.nowhere:kit'}\n"), command="manage.py check", code=1,
        said=("queuekit.E002", "settings.QUEUEKIT['APP']='shop.nowhere:kit'", "No module named 'shop.nowhere'"),
    ),
    "APP is nowhere, and URLs import a task": Case(
        files=django("QUEUEKIT = {'APP': 'shop.nowhere:kit'}\n" + URLS, WITH_URLS), command="manage.py check", code=1,
        said=("queuekit.E002", "settings.QUEUEKIT['APP']='shop.nowhere:kit'", "No module named 'shop.nowhere'"),
    ),
    "QUEUEKIT is no dict, and URLs import a task": Case(
        files=django("QUEUEKIT = 'redis://localhost'\n" + URLS, WITH_URLS), command="manage.py check", code=1,
        said=("queuekit.E001", "use a dict, not str"),
    ),
    "APP is nowhere, and nobody checks": Case(
        files=django("QUEUEKIT = {'APP': 'shop.nowhere:kit'}\n" + SILENT + URLS, WITH_URLS),
        command="manage.py sends", code=1, said=("settings.QUEUEKIT['APP']='shop.nowhere:kit' cannot be imported",),
    ),
    "QUEUEKIT wrong, and a worker": Case(
        files=django("QUEUEKIT = {'CONCURENCY': 5}\n"), command="manage.py queuekit worker", code=78,
        said=("did you mean 'CONCURRENCY'?",),
    ),
    "TASKS has a wrong option": Case(
        files=django(
            "TASKS = {'default': {'BACKEND': 'queuekit.contrib.django.TaskBackend', 'QUEUE': ['mail'],"
            " 'OPTIONS': {'atempts': 3}}}\nINSTALLED_APPS += ['django_tasks']\n"
        ),
        command="manage.py check", code=1,
        said=("queuekit.tasks.E002", "Did you mean 'QUEUES'?", "queuekit.tasks.E008", "did you mean 'attempts'?"),
    ),
    # production without a store
    "no store in django": Case(
        files=django(""), command="manage.py queuekit worker", env={}, code=78,
        said=("no store is chosen", "DEBUG=False", "QUEUEKIT_URL"),
    ),
    "no store in django, checked": Case(
        files=django(""), command="manage.py check", env={}, code=1, said=("queuekit.E006", "DEBUG=False"),
    ),
    "no store in flask": Case(
        files={"shop.py": FLASK + FLASK_KIT}, command="flask --app shop queuekit worker", env={}, code=78,
        said=("no store is chosen", "Flask app", "QUEUEKIT_URL"),
    ),
    "no store where one is required": Case(
        files={"app.py": QUEUED, "jobs/mail.py": f"from app import kit\n{SENDS}", "jobs/bills.py": ""},
        command="queuekit worker app:kit", env={"QUEUEKIT_REQUIRE_PROVIDER": "1"}, code=78,
        said=("no store is chosen", "QUEUEKIT_REQUIRE_PROVIDER", "QUEUEKIT_URL"),
    ),
    # an application without a kit
    "a flask app without a kit": Case(
        files={"shop.py": FLASK}, command="queuekit worker shop:app", code=2,
        said=("without a kit", "kit.init_app(app)"),
    ),
    "flask has an unknown key": Case(
        files={"shop.py": f"{FLASK}app.config['QUEUEKIT_CONCURENCY'] = 5\n{FLASK_KIT}"},
        command="queuekit worker shop:app", code=2,
        said=("app.config has no key 'QUEUEKIT_CONCURENCY'", "did you mean 'QUEUEKIT_CONCURRENCY'?", "shop.py"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as made:
        yield made


@pytest.mark.parametrize("name", CASES)
def test_it_is_told(name: str, tmp_path: Path, forks: Forks) -> None:
    case = CASES[name]
    for path, text in case.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    env = {key: value for key, value in os.environ.items() if key not in VARIABLES and not key.startswith("DJANGO")}
    ran = forks.run(case.command.split(), tmp_path, env | case.env, missing=case.missing)
    assert ran.code == case.code, ran.told
    assert [text for text in case.said if text not in ran.told] == [], ran.told
    assert "Traceback" not in ran.told
