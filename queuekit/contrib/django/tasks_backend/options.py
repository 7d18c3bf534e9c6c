"""What `OPTIONS` of a task backend and `@task_options` may say: run options of queuekit, and the kit. Only checks."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, TypedDict, TypeVar, Unpack

from queuekit.context import Fail
from queuekit.domain import options
from queuekit.domain.backoff import Backoff
from queuekit.domain.duration import Duration
from queuekit.domain.typed import RunOptions
from queuekit.domain.values import Keep
from queuekit.errors import InvalidOption

F = TypeVar("F", bound=Callable[..., Any])
ATTRIBUTE = "queuekit_options"  # of a function: what @task_options said
ATTEMPTS = 1  # a task of Django runs once; queuekit's own three are for those who asked for them
_DJANGOS = {
    "priority": "Django's own: @task(priority=…) or .using(priority=…), -100 to 100",
    "queue": "Django's own: @task(queue_name=…) or .using(queue_name=…)",
    "run_at": "Django's own: .using(run_after=…)",
    "delay": "Django's own: .using(run_after=…)",
}
RUN = tuple(name for name in RunOptions.__annotations__ if name != "priority")
OF_BACKEND = ("kit", *RUN)
OF_TASK = (*RUN, "concurrency")


class Unfit(Fail, TypeError):
    """A task returned what JSON cannot carry: it has failed for good, running it again would do its work twice."""


class BackendTaskOptions(TypedDict, total=False):
    """What `task_options` takes."""

    attempts: int
    backoff: Backoff | Duration
    retry_on: tuple[type[Exception], ...]
    fail_on: tuple[type[Exception], ...]
    max_crashes: int
    timeout: Duration | None
    keep_completed: bool | int | Keep
    keep_failed: bool | int | Keep
    tags: tuple[str, ...]
    concurrency: int


def task_options(**given: Unpack[BackendTaskOptions]) -> Callable[[F], F]:
    """Run options for one of Django's tasks; stands below `@task`, and other backends do not see it.

    Raises InvalidOption, with the nearest name.
    """
    said = dict(given)
    check(said, OF_TASK, "@task_options")

    def decorate(fn: F) -> F:
        if hasattr(fn, "func"):
            raise InvalidOption(f"@task_options stands below @task, on the function itself: {fn!r}")
        setattr(fn, ATTRIBUTE, said)
        return fn

    return decorate


def check(given: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """Raise InvalidOption for an option that is not `known`, or for a value that it cannot have."""
    for name in given:
        if name in _DJANGOS:
            raise InvalidOption(f"{where}: {name!r} is {_DJANGOS[name]}")
        if name not in known:
            near = difflib.get_close_matches(str(name).lower(), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InvalidOption(f"{where}: there is no option {name!r}; {hint}")
    options.parse("task", {name: value for name, value in given.items() if name != "kit"}, where)


def run_options(backend: Mapping[str, Any], fn: Callable[..., Any]) -> dict[str, Any]:
    """What holds for a task's runs: of the function over the backend's."""
    said = {"attempts": ATTEMPTS, **{name: backend[name] for name in RUN if name in backend}}
    return said | getattr(fn, ATTRIBUTE, {})
