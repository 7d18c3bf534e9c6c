"""The app that goes into INSTALLED_APPS. It imports no task and asks no store: only a worker needs them all."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import setting_changed

from queuekit.compat.current import provide

if TYPE_CHECKING:
    from queuekit import QueueKit


class QueuekitConfig(AppConfig):
    """queuekit."""

    name = "queuekit.contrib.django"
    label = "queuekit"
    verbose_name = "queuekit"

    def ready(self) -> None:
        """Register the checks, what jobs of `django.tasks` need where the project uses it, and the facades' kit."""
        from queuekit.contrib.django import checks

        checks.register()
        provide(_project_kit)
        setting_changed.connect(_on_setting, dispatch_uid="queuekit")
        if _uses_tasks():
            from queuekit.contrib.django.tasks_backend.connect import connect

            connect()


def _uses_tasks() -> bool:
    """Whether there is a framework that reads TASKS, or TASKS wants us to say that there is none."""
    said = getattr(settings, "TASKS", None)
    here = find_spec("django.tasks") is not None or find_spec("django_tasks") is not None
    return bool(said) and (here or "queuekit." in repr(said))


def _project_kit() -> QueueKit:
    from queuekit.contrib.django.project import project_kit

    return project_kit()


def _on_setting(*, setting: str, **_: Any) -> None:
    """A test changed settings: the next use reads them anew."""
    if setting == "QUEUEKIT":
        from queuekit.contrib.django.project import made

        for kit in made():
            kit.reread()
