"""Django's tasks in a worker: found by module path when a job of theirs comes, run, and told of by signals.

A path from the store leads to a Task or to nothing: never to any other thing that can be called.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from asgiref.sync import sync_to_async

from queuekit.context import JobContext
from queuekit.contrib.django import connections
from queuekit.contrib.django.tasks_backend import results
from queuekit.contrib.django.tasks_backend.carried import carried
from queuekit.contrib.django.tasks_backend.missing import Missing
from queuekit.contrib.django.tasks_backend.options import Unfit, run_options
from queuekit.contrib.django.tasks_backend.root import (
    DEFAULT_TASK_QUEUE_NAME,
    Task,
    TaskContext,
    TaskResult,
    task_finished,
    task_started,
)
from queuekit.domain import options
from queuekit.domain.events import JobEvent, JobFact
from queuekit.errors import InvalidName, InvalidOption
from queuekit.producing.definition import Definition
from queuekit.producing.newjob import Template

if TYPE_CHECKING:
    from queuekit.contrib.django.tasks_backend.backend import TaskBackend
    from queuekit.kit import QueueKit

log = logging.getLogger("queuekit.contrib.django")
ENDS: tuple[JobEvent, ...] = ("completed", "failed", "cancelled", "parked")
_RAISED_KEPT = 64  # errors of runs whose end was not announced yet
_TEMPLATES_KEPT = 4096
_NONE: Mapping[str, object] = {}
declared: dict[str, Task[..., Any]] = {}  # by module path: every task that one of our backends has accepted here


Backend: TypeAlias = "tuple[type[TaskBackend], tuple[str, ...], Mapping[str, Any]]"  # class, queues, options


class TasksFinder:
    """The tasks of all `TaskBackend`s of one kit; `backends` by alias."""

    def __init__(self, kit: QueueKit) -> None:
        self.kit = kit
        self.backends: Mapping[str, Backend] = {}
        self._found: dict[str, Definition] = {}
        self._tasks: dict[str, Task[..., Any]] = {}
        self._missing = Missing()
        self._templates: dict[tuple[str, str, str, int], Template] = {}
        self._raised: OrderedDict[str, BaseException] = OrderedDict()  # by claim

    @property
    def first(self) -> str:
        """The alias whose options hold for jobs that carry none of their own."""
        return next(iter(self.backends), "")

    def serve(self, backends: Mapping[str, Backend]) -> None:
        """The setting has changed, or is read for the first time: what was found under another's options is not."""
        if backends == self.backends:
            return
        self.backends = backends
        self._found.clear()
        self._templates.clear()
        self._missing.clear()

    # ------------------------------------------------------------ what a kit asks
    def queues(self) -> list[str]:
        """Those that are set; where any name is allowed, those of the tasks that are known, and the default one."""
        found: dict[str, None] = {}
        for alias, (_, queues, _) in self.backends.items():
            said = queues or (
                DEFAULT_TASK_QUEUE_NAME,
                *(task.queue_name for task in declared.values() if task.backend == alias),
            )
            found |= dict.fromkeys(said)
        return list(found)

    def tasks(self) -> Mapping[str, Definition]:
        """Those of modules that are imported."""
        for path, task in tuple(declared.items()):
            if path not in self._found and task.backend in self.backends:
                self._define(path, task)
        return self._found

    def known(self, task: str) -> Definition | None:
        """One of a module that is imported."""
        found = self._found.get(task)
        if found is None and (said := declared.get(task)) is not None and said.backend in self.backends:
            return self._define(task, said)
        return found

    def find(self, task: str) -> Definition | None:
        """What runs the task of that module path."""
        known = self._found.get(task)
        if known is not None:
            return known
        found = self.task(task)
        return None if found is None else self._define(task, found)

    def task(self, path: str) -> Task[..., Any] | None:
        """The Task of a module path, imported if need be; None where the path leads to anything else."""
        if path in self._tasks:
            return self._tasks[path]
        if not self.backends or self._missing.waits(path):
            return None
        found = (_imported(path, self._missing) if _may_be(path) else None) or declared.get(path)
        if found is None:
            self._missing.add(path)
            return None
        self._tasks[path] = found
        return found

    # ------------------------------------------------------------ making
    def template(self, task: Task[..., Any], alias: str) -> Template:
        """What jobs of this task have in common. Options that are not the first backend's travel with the job."""
        path, priority = task.module_path, results.to_priority(task.priority)
        key = (alias, task.queue_name, path, priority)
        template = None if task.run_after is not None else self._templates.get(key)
        if template is not None and template.rev == self.kit.revision:
            return template
        said: dict[str, Any] = {"priority": priority}
        if task.run_after is not None:
            said["run_at"] = results.to_moment(task.run_after)
        if alias != self.first:
            said |= {k: v for k, v in run_options(self.backends[alias][2], task.func).items() if k != "concurrency"}
        template = Template(
            self.kit, path, task.queue_name, options.parse("job", said, path), _NONE, version=1, typed=False
        )
        if task.run_after is None:
            if len(self._templates) >= _TEMPLATES_KEPT:
                self._templates.clear()
            self._templates[key] = template
        return template

    # ------------------------------------------------------------ running
    def _define(self, path: str, task: Task[..., Any]) -> Definition | None:
        alias = task.backend if task.backend in self.backends else self.first
        said = run_options(self.backends[self.first][2], task.func)
        try:
            definition = Definition(path, self._handler(task), said, queue=task.queue_name)
        except (InvalidName, InvalidOption) as error:
            log.error("task %s of backend %r cannot be run: %s", path, alias, error)
            return None
        self._found[path] = definition
        return definition

    def _handler(self, task: Task[..., Any]) -> Any:
        if inspect.iscoroutinefunction(task.func):

            async def arun(ctx: JobContext, args: list[Any], kwargs: dict[str, Any], backend: str = "") -> Any:
                result = self._begun(ctx, task, backend)
                await task_started.asend(sender=self._sender(result), task_result=result)
                try:
                    return _fit(await task.func(*_context(task, result), *result.args, **result.kwargs))
                except BaseException as error:
                    self._keep(ctx, error)
                    raise

            return arun

        def run(ctx: JobContext, args: list[Any], kwargs: dict[str, Any], backend: str = "") -> Any:
            result = self._begun(ctx, task, backend)
            task_started.send(sender=self._sender(result), task_result=result)
            try:
                return _fit(task.func(*_context(task, result), *result.args, **result.kwargs))
            except BaseException as error:
                self._keep(ctx, error)
                raise

        return run

    def _begun(self, ctx: JobContext, task: Task[..., Any], backend: str) -> TaskResult[..., Any]:
        return results.result_of(ctx.job, task, self._alias(backend))

    def _alias(self, said: object) -> str:
        """The backend that a job was enqueued by; another one where that is gone from the settings."""
        return said if isinstance(said, str) and said in self.backends else self.first

    def _sender(self, result: TaskResult[..., Any]) -> type[TaskBackend]:
        return self.backends[result.backend][0]

    # ------------------------------------------------------------ telling
    def told(self, fact: JobFact) -> Coroutine[Any, Any, None] | None:
        """A hook: the end of a job was accepted. Receivers may use the database, so they never run on an event loop."""
        job = fact.job
        if job is None or not self.backends or not results.carries_a_call(job):
            return None  # before its path is looked at: that may import a module
        task = self.task(job.task)
        if task is None:
            return None
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._finish(fact, task)
            return None
        return sync_to_async(self._finish, thread_sensitive=True)(fact, task)

    def retried(self, fact: JobFact) -> None:
        """A hook: the run ended, the task has not."""
        if fact.job is not None:
            self._raised.pop(_run_of(fact.job.ref, fact.job.attempt), None)

    def _finish(self, fact: JobFact, task: Task[..., Any]) -> None:
        job = fact.job
        assert job is not None
        payload: Any = job.payload
        result = results.result_of(job, task, self._alias(payload.get("backend")), error=fact.error, at=fact.at)
        raised = self._raised.pop(_run_of(job.ref, job.attempt), None)
        with connections.fresh():
            try:
                if raised is not None:  # receivers that report errors look at the one being handled
                    from queuekit.runtime.failure import theirs  # only here: who enqueues needs no runtime

                    raise raised.with_traceback(theirs(raised.__traceback__))
            except BaseException:  # noqa: BLE001  the task's own, whatever it is
                task_finished.send(sender=self._sender(result), task_result=result)
            else:
                task_finished.send(sender=self._sender(result), task_result=result)

    def _keep(self, ctx: JobContext, error: BaseException) -> None:
        self._raised[_run_of(ctx.job.ref, ctx.attempt)] = error
        while len(self._raised) > _RAISED_KEPT:
            self._raised.popitem(last=False)


def _run_of(ref: str, attempt: int) -> str:
    return f"{ref} {attempt}"


def _context(task: Task[..., Any], result: TaskResult[..., Any]) -> tuple[Any, ...]:
    return (TaskContext(task_result=result),) if task.takes_context else ()


def _fit(value: object) -> Any:
    try:
        return carried(value)
    except (TypeError, ValueError) as error:
        raise Unfit(str(error)) from None


def _may_be(path: str) -> bool:
    """Whether a worker may import something for this path: not what runs a program (`__main__`)."""
    return all(part.isidentifier() and not part.startswith("__") for part in path.split("."))


def _imported(path: str, missing: Missing) -> Task[..., Any] | None:
    """Import the module that the path begins with, and look the rest up in it."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: object = importlib.import_module(name)  # not sys.modules: another thread may be in the middle of it
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                continue
            missing.told(name, path, error)
            return None
        except (Exception, SystemExit) as error:  # noqa: BLE001  it is logged there
            missing.told(name, path, error)
            return None
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found if isinstance(found, Task) and found.module_path == path else None
    return None
