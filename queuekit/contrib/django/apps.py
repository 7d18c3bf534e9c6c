"""The app that goes into INSTALLED_APPS. It imports no task and asks no store: only a worker needs them all."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.signals import setting_changed


class QueuekitConfig(AppConfig):
    """queuekit."""

    name = "queuekit.contrib.django"
    label = "queuekit"
    verbose_name = "queuekit"

    def ready(self) -> None:
        """Register the checks, and what jobs of `django.tasks` need where the project uses it."""
        from queuekit.contrib.django import checks

        checks.register()
        setting_changed.connect(_on_setting, dispatch_uid="queuekit")
        if getattr(settings, "TASKS", None):
            from queuekit.contrib.django.tasks_backend.connect import connect

            connect()


def _on_setting(*, setting: str, **_: Any) -> None:
    """A test changed settings: the next use reads them anew."""
    if setting == "QUEUEKIT":
        from queuekit.contrib.django.project import made

        for kit in made():
            kit.reread()
