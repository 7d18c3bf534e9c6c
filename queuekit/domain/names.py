"""The one grammar for names, checked at every door: API, CLI, web, stores."""

from __future__ import annotations

import re

from queuekit.errors import InvalidName

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_JOB = re.compile(r"[A-Za-z0-9_.:@-]{1,200}", re.ASCII)  # "@" only in ids that schedules make
_OWN_JOB = re.compile(r"[A-Za-z0-9_.:-]{1,200}", re.ASCII)
_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


def queue_name(name: str) -> str:
    """`name` itself if it may name a queue; raises InvalidName."""
    return _checked(_NAME, name, "queue name", "1 to 128 of A-Z a-z 0-9 _ . : -")


def task_name(name: str) -> str:
    """`name` itself if it may name a task; raises InvalidName."""
    return _checked(_NAME, name, "task name", "1 to 128 of A-Z a-z 0-9 _ . : -")


def namespace(name: str) -> str:
    """`name` itself if it may be a namespace (no colon); raises InvalidName."""
    return _checked(_NAMESPACE, name, "namespace", "1 to 64 of A-Z a-z 0-9 _ . - (no colon)")


def chosen_id(name: str) -> str:
    """`name` itself if a caller may choose it as a job id; raises InvalidName."""
    return _checked(_OWN_JOB, name, "job id", "1 to 200 of A-Z a-z 0-9 _ . : - ('@' is reserved for schedules)")


def schedule_id(name: str) -> str:
    """`name` itself if it may name a schedule; raises InvalidName."""
    return _checked(_NAME, name, "schedule id", "1 to 128 of A-Z a-z 0-9 _ . : -")


def job_id(name: str) -> str:
    """`name` itself if it may be a job id at all; raises InvalidName."""
    return _checked(_JOB, name, "job id", "1 to 200 of A-Z a-z 0-9 _ . : @ -")


def reference(text: str) -> tuple[str | None, str]:
    """Split "queue/id" into its parts; a bare id gives (None, id). Raises InvalidName."""
    queue, slash, job = text.rpartition("/")
    return (queue_name(queue) if slash else None, job_id(job))


def _checked(pattern: re.Pattern[str], name: object, what: str, grammar: str) -> str:
    if not isinstance(name, str) or pattern.fullmatch(name) is None:
        raise InvalidName(f"{name!r:.120} is no {what}: use {grammar}")
    return str(name)  # a StrEnum member becomes its plain text
