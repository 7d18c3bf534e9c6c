"""Which kit each `TaskBackend` of the `TASKS` setting works through; tells those kits what they may be asked to run.

Nothing here opens a store.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core import checks
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from queuekit.contrib.django import connections
from queuekit.contrib.django.tasks_backend.finder import ENDS, Backend, TasksFinder
from queuekit.contrib.django.tasks_backend.root import BACKPORT, DEFAULT_TASK_QUEUE_NAME, task_backends
from queuekit.errors import ConfigError
from queuekit.kit import QueueKit

if TYPE_CHECKING:
    from queuekit.contrib.django.tasks_backend.backend import TaskBackend

_finders: weakref.WeakSet[TasksFinder] = weakref.WeakSet()
_connected: list[tuple[object, dict[str, QueueKit | Exception]]] = []  # of the setting as it is
_connecting = threading.RLock()


def connect() -> Mapping[str, QueueKit | Exception]:
    """The kit of every alias, or why it has none. Done once, and again when the setting has changed."""
    said: Mapping[str, Any] = task_backends.settings
    if _connected and _connected[0][0] is said and not _failed(_connected[0][1]):
        return _connected[0][1]
    with _connecting:
        kits: dict[str, QueueKit | Exception] = {}
        found: dict[QueueKit, dict[str, Backend]] = {}
        for alias, params in said.items():
            backend = _ours(params)
            if backend is None:
                continue
            options = params.get("OPTIONS", {})
            try:
                kits[alias] = kit = kit_of(options.get("kit"))
            except Exception as error:  # noqa: BLE001  a user's module; told when the alias is used, and by the check
                kits[alias] = error.with_traceback(None)  # whose frames would hold what we hold
                continue
            queues = tuple(params.get("QUEUES", [DEFAULT_TASK_QUEUE_NAME]))
            found.setdefault(kit, {})[alias] = (backend, queues, options)
        for finder in {*_finders, *map(finder_of, found)}:
            finder.serve(found.get(finder.kit, {}))
        _connected[:] = [(said, kits)]
    if BACKPORT and kits and not apps.is_installed("django_tasks"):
        checks.register(_checked, "queuekit")  # nobody else asks its backends then
    return kits


def _checked(app_configs: object, **_: object) -> list[checks.CheckMessage]:
    """What `django_tasks`, were it installed, would ask of our backends."""
    return [message for alias in connect() for message in task_backends[alias].check()]


def kit_of(said: object) -> QueueKit:
    """The kit that `OPTIONS["kit"]` names: itself, "shop.jobs.kit" or "shop.jobs:kit"; else the project's.

    Raises ConfigError, ImportError.
    """
    if said is None:
        from queuekit.contrib.django import get_kit

        return get_kit()
    found = import_string(said.replace(":", ".")) if isinstance(said, str) else said
    if not isinstance(found, QueueKit):
        raise ConfigError(f"OPTIONS['kit'] is {said!r}: name a QueueKit, for example 'shop.jobs.kit'")
    return found


def finder_of(kit: QueueKit) -> TasksFinder:
    """The finder that a kit asks; made, and given to the kit, when it is first needed."""
    for known in kit.finders:
        if isinstance(known, TasksFinder):
            return known
    finder = TasksFinder(kit)
    _finders.add(finder)
    kit.finders.append(finder)
    if connections.around not in kit.middlewares:  # a plain kit: its tasks are Django's all the same
        kit.middleware(connections.around)
    for event in ENDS:
        kit.on(event, finder.told)
    kit.on("retrying", finder.retried)
    return finder


def _on_setting(*, setting: str, **_: object) -> None:
    """A test changed the setting: its kits are told at once. The framework's own receiver has been called before."""
    if setting == "TASKS":
        connect()


setting_changed.connect(_on_setting, dispatch_uid="queuekit.tasks")


def _failed(kits: Mapping[str, QueueKit | Exception]) -> bool:
    """Whether one could not be had; a module may be importable later."""
    return any(isinstance(kit, Exception) for kit in kits.values())


def _ours(params: Mapping[str, Any]) -> type[TaskBackend] | None:
    from queuekit.contrib.django.tasks_backend.backend import TaskBackend

    try:
        found = import_string(params["BACKEND"])
    except (ImportError, KeyError, AttributeError):  # Django says so when it is used
        return None
    return found if isinstance(found, type) and issubclass(found, TaskBackend) else None
