"""Tasks of Django's framework, as an application has them. Imported by tests once Django is set up and TASKS is set."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from queuekit import Cancel, Retry, current_job
from queuekit.contrib.django import task_options
from queuekit.contrib.django.tasks_backend.root import BACKPORT

if TYPE_CHECKING or not BACKPORT:
    from django.tasks import task
else:
    from django_tasks import task

ran: list[Any] = []  # what the tasks of this process did


class OwnError(Exception):
    """An error of the application."""


@task()
def echo(*args: Any, **kwargs: Any) -> Any:
    """What came."""
    return [list(args), kwargs]


@task
def bare() -> int:
    """From a decorator without brackets."""
    return 42


@task()
async def aecho(value: Any) -> Any:
    """What came, on the event loop."""
    return value


@task(takes_context=True)
def told(context: Any, note: str) -> Any:
    """What the context says."""
    result = context.task_result
    ran.append(result)
    return [context.attempt, result.id, result.status.value, result.worker_ids, note]


@task(takes_context=True)
async def atold(context: Any) -> Any:
    """What the context says, on the event loop."""
    return [context.attempt, context.task_result.id]


@task()
def fails(text: str = "no") -> None:
    """Raises an error of the application."""
    raise OwnError(text)


@task()
async def afails() -> None:
    """The same on the event loop."""
    raise OwnError("no")


@task()
def leaves() -> None:
    """Raises what ends a program."""
    raise SystemExit(3)


@task(takes_context=True)
def third_time(context: Any) -> int:
    """Succeeds in its third run."""
    ran.append(context.attempt)
    if context.attempt < 3:
        raise OwnError(f"run {context.attempt}")
    return int(context.attempt)


@task()
@task_options(attempts=2, backoff=0, fail_on=(KeyError,), timeout="30s")
def twice(kind: str = "OwnError") -> None:
    """Has options of its own."""
    ran.append(kind)
    raise (KeyError if kind == "KeyError" else OwnError)(kind)


@task()
def unfit(kind: str) -> Any:
    """Returns what JSON has no form for."""
    ran.append(kind)
    return {"function": len, "nan": float("nan"), "key": {1: 2}, "set": {1}}[kind]


@task()
def reads_the_database() -> bool:
    """Needs a connection."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return bool(cursor.fetchone()[0])


@task()
def uses_queuekit(how: str) -> None:
    """Uses what queuekit's own tasks have."""
    ctx = current_job()
    assert ctx is not None
    ctx.progress(0.5, how)
    if how == "cancel":
        raise Cancel("wanted no more")
    if ctx.attempt == 1:
        raise Retry(how, after=0)


@task()
def where() -> str:
    """The thread it runs in."""
    return threading.current_thread().name


@task()
def ordered(n: int) -> None:
    """Tells its place."""
    ran.append(n)


@task(queue_name="reports", priority=7)
def report(at: float = 0) -> float:
    """Has a queue and a priority of its own."""
    return at or time.time()


not_a_task = threading.active_count  # may be called, must not be


class Room:
    """A task may live in a class."""

    @staticmethod
    @task()
    def inside() -> str:
        """Its path has one more part."""
        return "inside"
