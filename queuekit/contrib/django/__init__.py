"""queuekit in a Django project: "queuekit.contrib.django" in INSTALLED_APPS, and its `kit` imported in a `tasks.py`.

No table of the project's database is touched: jobs live in queuekit's own store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from queuekit.errors import MissingExtra

try:
    import django as _django  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingExtra("Django is not installed: pip install 'queuekit[django]'") from error

from queuekit.contrib.django.project import DjangoKit, get_kit, importable
from queuekit.contrib.django.transactions import at_once

if TYPE_CHECKING:
    from queuekit.contrib.django.tasks_backend import TaskBackend, task_options

    kit: DjangoKit

__all__ = ["DjangoKit", "TaskBackend", "at_once", "get_kit", "kit", "task_options"]


def __getattr__(name: str) -> Any:
    """`kit` is the project's, which its settings name; the rest needs `django.tasks`, which not every project has."""
    if name == "kit":
        return importable()  # `queuekit -A shop.tasks:kit` imports a task module before anybody set Django up
    if name in ("TaskBackend", "task_options"):
        from queuekit.contrib.django import tasks_backend

        return getattr(tasks_backend, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
