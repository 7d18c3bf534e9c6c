"""What `manage.py check` says of the TASKS setting; the messages, and that right settings are silent."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from queuekit import QueueKit
from tests.contrib.django_tasks import BACKEND, one, tasks

pytestmark = pytest.mark.usefixtures("django")


def said(**params: Any) -> list[tuple[str, str]]:
    """(id, message and hint) of each thing that is wrong, apart from the backport's own app, which tests have not."""
    from queuekit.contrib.django.tasks_backend.root import task_backends

    with tasks(default={"BACKEND": BACKEND, "QUEUES": ["default"], **params}):
        found = task_backends["default"].check()
    return [(one.id, f"{one.msg} {one.hint or ''}") for one in found if one.id != "queuekit.tasks.W001"]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"QUEUES": ["a", "b"], "ENQUEUE_ON_COMMIT": False},
        {
            "OPTIONS": {
                "attempts": 3,
                "backoff": "10s",
                "timeout": None,
                "retry_on": ["builtins.OSError"],
                "tags": ["x"],
            }
        },
        {"OPTIONS": {"kit": "tests.contrib.test_django_tasks_checks:own", "keep_completed": False, "max_crashes": 1}},
        {"OPTIONS": {"kit": "tests.contrib.test_django_tasks_checks.own"}},
    ],
)
def test_right_settings_are_silent(params: dict[str, Any]) -> None:
    assert said(**params) == []


own = QueueKit("memory://checks", name="checks")


@pytest.mark.parametrize(
    ("params", "id", "words"),
    [
        ({"QUEUE": ["a"]}, "E002", "Did you mean 'QUEUES'?"),
        ({"attempts": 3}, "E002", "belongs into TASKS['default']['OPTIONS']['attempts']"),
        ({"KIT": "x.y"}, "E002", "OPTIONS"),
        ({"ENQUEUE_ON_COMMIT": "yes"}, "E003", "not True or False"),
        ({"QUEUES": "default"}, "E004", "not a list of names"),
        ({"QUEUES": ["two words"]}, "E005", "'two words' is no queue name"),
        ({"OPTIONS": ["attempts"]}, "E006", "not a dictionary"),
        ({"OPTIONS": {"ENQUEUE_ON_COMMIT": False}}, "E007", "stands beside it"),
        ({"OPTIONS": {"attemps": 3}}, "E008", "did you mean 'attempts'?"),
        ({"OPTIONS": {"Kit": "x"}}, "E008", "did you mean 'kit'?"),
        ({"OPTIONS": {"attempts": "many"}}, "E008", "attempts"),
        ({"OPTIONS": {"priority": 3}}, "E008", "@task(priority"),
        ({"OPTIONS": {"nonsense": 3}}, "E008", "known: kit, attempts"),
        ({"OPTIONS": {"kit": "tests.contrib.nowhere.kit"}}, "E009", "tests.contrib.nowhere"),
        ({"OPTIONS": {"kit": "tests.contrib.test_django_tasks_checks.nothing"}}, "E009", "nothing"),
        ({"OPTIONS": {"kit": "json.dumps"}}, "E009", "name a QueueKit"),
        ({"QUEUES": []}, "I001", "-Q default,reports"),
    ],
)
def test_wrong_settings_speak(params: dict[str, Any], id: str, words: str) -> None:
    ((found, message),) = said(**params)
    assert found == f"queuekit.tasks.{id}"
    assert words in message


def test_the_app_must_be_installed() -> None:
    from django.apps import apps
    from django.test import override_settings

    from queuekit.contrib.django.tasks_backend.verify import APP

    others = [config.name for config in apps.get_app_configs() if config.name != APP]
    with override_settings(INSTALLED_APPS=others):
        assert [found for found, _ in said()] == ["queuekit.tasks.E001"]


def test_the_backport_wants_its_own_app() -> None:
    from queuekit.contrib.django.tasks_backend.root import BACKPORT, task_backends

    with tasks(default=one(own)):
        found = [message.id for message in task_backends["default"].check()]
    assert ("queuekit.tasks.W001" in found) == BACKPORT


def test_without_the_backports_app_its_backends_are_asked_all_the_same() -> None:
    from django.core import checks

    from queuekit.contrib.django.tasks_backend.root import BACKPORT

    if not BACKPORT:
        return
    with tasks(default=one(own, attemps=3)):
        from queuekit.contrib.django.tasks_backend.connect import connect

        connect()
        found = [message.id for message in checks.run_checks(tags=["queuekit"])]
    assert {"queuekit.tasks.W001", "queuekit.tasks.E008"} <= set(found)


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (BACKEND, "pip install django-tasks"),
        ("somebody.elses.Backend", "is set up"),
    ],
)
def test_without_a_framework_the_install_line_is_given(backend: str, words: str) -> None:
    from queuekit.contrib.django.tasks_backend.root import BACKPORT

    if not BACKPORT:
        return
    code = """
import sys; sys.modules["django_tasks"] = None
from django.conf import settings
settings.configure(INSTALLED_APPS=["queuekit.contrib.django"], TASKS={"default": {"BACKEND": sys.argv[1]}})
import django; django.setup(); print("is set up")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, backend], capture_output=True, text=True, timeout=120, check=False
    )
    assert words in (done.stdout if words == "is set up" else done.stderr)
