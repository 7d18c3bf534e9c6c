"""Django's tasks on queuekit: `TaskBackend` for `django.tasks` and for its backport `django_tasks`.

What an application needs of it is in `queuekit.contrib.django`.
"""

from queuekit.contrib.django.tasks_backend.backend import TaskBackend
from queuekit.contrib.django.tasks_backend.options import task_options

__all__ = ["TaskBackend", "task_options"]
