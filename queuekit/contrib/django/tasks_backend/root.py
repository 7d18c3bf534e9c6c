"""The one place that knows where the tasks framework lives: in Django since 6.0, in the backport `django_tasks` before.

Both are one contract under two names; where Django has it, the backport is not looked at.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from queuekit.errors import MissingExtra

if TYPE_CHECKING:
    from django.tasks import (
        DEFAULT_TASK_QUEUE_NAME,
        Task,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskError
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started

    def normalize_json(obj: object) -> object: ...

elif find_spec("django.tasks") is not None:
    from django.tasks import (
        DEFAULT_TASK_QUEUE_NAME,
        Task,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskError
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
    from django.utils.json import normalize_json
else:
    try:
        from django_tasks import exceptions as _exceptions
    except ImportError as error:
        raise MissingExtra(
            "Django has its tasks framework since 6.0; for the one here install the backport: pip install django-tasks"
        ) from error
    from django_tasks import DEFAULT_TASK_QUEUE_NAME, TaskContext, TaskResult, TaskResultStatus, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import Task, TaskError
    from django_tasks.signals import task_enqueued, task_finished, task_started
    from django_tasks.utils import normalize_json

    TaskResultDoesNotExist = _exceptions.TaskResultDoesNotExist
    # renamed over the versions; never both
    InvalidTask = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
    InvalidTaskBackend = getattr(_exceptions, "InvalidTaskBackend", None) or _exceptions.InvalidTaskBackendError

BACKPORT = Task.__module__.startswith("django_tasks")

__all__ = [
    "BACKPORT", "DEFAULT_TASK_QUEUE_NAME", "BaseTaskBackend", "InvalidTask",
    "InvalidTaskBackend", "Task", "TaskContext", "TaskError", "TaskResult", "TaskResultDoesNotExist",
    "TaskResultStatus", "normalize_json", "task_backends", "task_enqueued", "task_finished", "task_started",
]  # fmt: skip
