"""What `manage.py check` says of queuekit: settings that cannot be, and those to be regretted. It asks no store."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.core import checks

from queuekit import Settings
from queuekit.contrib.django import conf
from queuekit.contrib.django.project import DjangoKit, project_kit
from queuekit.errors import ConfigError
from queuekit.store.registry import backend

TAG = "queuekit"
_MEMORY = "a store in memory belongs to one process, and no worker sees its jobs"
_CHOOSE = "Set QUEUEKIT = {'URL': 'redis://…'} (or mongodb://, sqlite:///), or QUEUEKIT_URL in the environment."
_TESTS = (
    "Tests run with DEBUG=False. QueueTestMixin keeps a test's jobs in memory; a test that enqueues without it needs a"
    " store: QUEUEKIT = {'URL': …} in the settings of the tests."
)


def register() -> None:
    """Let `manage.py check` ask."""
    checks.register(check, TAG)


def check(app_configs: Any, **_: Any) -> list[checks.CheckMessage]:
    """All that can be said without a store: the later ones only where the earlier ones found nothing."""
    found: list[checks.CheckMessage] = []
    _tried(found, "E001", None, conf.framework)
    if found:
        return found
    kit = _tried(found, "E002", None, project_kit)
    _tried(found, "E003", None, conf.on_commit)
    _tried(found, "E004", "Give the name of a module, or False.", conf.tasks_module)
    if kit is None:
        return found
    settings = _settings(found, kit)
    if settings is not None and not found:
        _tried(found, "E008", "A worker refuses to start until it can be imported.", kit.load)
        if settings.url.startswith("memory:") and conf.framework().production:
            found.append(checks.Warning(f"{settings.chosen_by}: {_MEMORY}", hint=_CHOOSE, id="queuekit.W001"))
    return found


def _settings(found: list[checks.CheckMessage], kit: DjangoKit) -> Settings | None:
    """The kit's, where they can be had and the driver of their store is installed."""
    try:
        settings = kit.settings
    except ConfigError as error:
        none = "no store is chosen" in str(error)
        if none and "DEBUG=False" in str(error) and _in_test_run():
            found.append(checks.Warning(str(error), hint=_TESTS, id="queuekit.W002"))
        else:
            found.append(_error("E006" if none else "E005", error, _CHOOSE if none else None))
        return None
    if settings.url:
        _tried(found, "E007", None, lambda: backend(settings.url))
    return settings


def _in_test_run() -> bool:
    """Whether Django's test runner is at work: it sets DEBUG to False, whatever the project says."""
    utils = sys.modules.get("django.test.utils")  # not imported for this: every web process has this module
    return hasattr(getattr(utils, "_TestState", None), "saved_data")


def _tried(found: list[checks.CheckMessage], id: str, hint: str | None, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ConfigError as error:
        found.append(_error(id, error, hint))
    return None


def _error(id: str, error: Exception, hint: str | None) -> checks.CheckMessage:
    return checks.Error(str(error), hint=hint, id=f"queuekit.{id}")
