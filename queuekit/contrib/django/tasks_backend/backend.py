"""`TaskBackend`: Django's tasks, written as jobs of a kit. What runs them is in `finder`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.core import checks

from queuekit.contrib.django import conf
from queuekit.contrib.django.tasks_backend import results
from queuekit.contrib.django.tasks_backend.carried import carried, encoded
from queuekit.contrib.django.tasks_backend.connect import connect, finder_of
from queuekit.contrib.django.tasks_backend.finder import declared
from queuekit.contrib.django.tasks_backend.root import (
    BaseTaskBackend,
    InvalidTask,
    InvalidTaskBackend,
    Task,
    TaskResult,
    TaskResultDoesNotExist,
    task_enqueued,
)
from queuekit.contrib.django.tasks_backend.verify import verified
from queuekit.contrib.django.transactions import OpenTransactions, at_once
from queuekit.domain import names
from queuekit.domain.events import Job
from queuekit.errors import InvalidName
from queuekit.producing import produce
from queuekit.producing.newjob import later_of

if TYPE_CHECKING:
    from queuekit.handle import JobHandle
    from queuekit.kit import QueueKit
    from queuekit.producing.newjob import Template

log = logging.getLogger("queuekit.contrib.django")
ALL = OpenTransactions(lambda: True)
P = ParamSpec("P")
R = TypeVar("R")


class TaskBackend(BaseTaskBackend):
    """`TASKS = {"default": {"BACKEND": "queuekit.contrib.django.TaskBackend", "QUEUES": [...], "OPTIONS": {...}}}`.

    `OPTIONS` takes the kit and run options. `ENQUEUE_ON_COMMIT` (True) lets a task that is enqueued inside a
    transaction wait for its commit.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.params: Mapping[str, Any] = params

    @property
    def kit(self) -> QueueKit:
        """The kit this backend works through. Raises InvalidTaskBackend where its `OPTIONS` name none."""
        found = connect().get(self.alias)
        if found is None or isinstance(found, Exception):
            why = f"the TASKS setting has no backend {self.alias!r} of queuekit" if found is None else found
            raise InvalidTaskBackend(f"TASKS[{self.alias!r}]: {why}") from found
        return found

    def validate_task(self, task: Task[..., Any]) -> None:
        """As Django asks of it; and its path and its queue must be names that every store can keep."""
        super().validate_task(task)
        try:
            names.task_name(task.module_path)
            names.queue_name(task.queue_name)
        except InvalidName as error:
            raise InvalidTask(str(error)) from error
        declared.setdefault(task.module_path, task)

    def enqueue(self, task: Task[P, R], args: Any, kwargs: Any) -> TaskResult[P, R]:
        """Write a job, or leave it to the commit of the open transaction: `enqueued_at` is None until then.

        Raises InvalidTask; TypeError and ValueError for what JSON cannot carry; and as `Queue.enqueue`.
        """
        kit, template, args, kwargs = self._made(task, args, kwargs)
        body = encoded({"args": args, "kwargs": kwargs, "backend": self.alias})
        register = ALL.opened() if self._on_commit else None
        if register is not None:
            handle = produce.hold(kit, [template.new(body)], register)[0]
        elif self._on_commit is None:
            handle = produce.send(kit, template, body)
        else:
            with at_once():
                handle = produce.send(kit, template, body)
        result: TaskResult[P, R] = self._result(task, args, kwargs, handle)
        if handle.created is not None:
            task_enqueued.send(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Task[P, R], args: Any, kwargs: Any) -> TaskResult[P, R]:
        """See `enqueue`."""
        kit, template, args, kwargs = self._made(task, args, kwargs)
        body = encoded({"args": args, "kwargs": kwargs, "backend": self.alias})
        register = await ALL.aopened() if self._on_commit else None
        if register is not None:
            handle = produce.hold(kit, [template.new(body)], register)[0]
        elif self._on_commit is None:
            handle = await produce.asend(kit, template, body)
        else:
            with at_once():
                handle = await produce.asend(kit, template, body)
        result: TaskResult[P, R] = self._result(task, args, kwargs, handle)
        if handle.created is not None:
            await task_enqueued.asend(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """The result as the store has it. Raises TaskResultDoesNotExist; also for a job that is no task of Django's."""
        where = results.where(result_id)
        job = None if where is None else self.kit.get(where[1], queue=where[0])
        return self._found(result_id, job)

    async def aget_result(self, result_id: str) -> TaskResult[..., Any]:
        """See `get_result`."""
        where = results.where(result_id)
        job = None if where is None else await self.kit.aget(where[1], queue=where[0])
        return self._found(result_id, job)

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """What is wrong with this backend's settings. Asks no store."""
        return [*super().check(**kwargs), *verified(self.alias, self.params)]

    # ------------------------------------------------------------ once for both
    @property
    def _on_commit(self) -> bool | None:
        """Whether tasks wait for open transactions; None: as the kit does, which a plain one cannot say."""
        said: bool | None = self.params.get("ENQUEUE_ON_COMMIT")
        if self.kit.transactions is None:
            return said is not False
        return None if said and conf.on_commit() is True else said  # tests look at what waits through the kit

    def _made(self, task: Task[..., Any], args: Any, kwargs: Any) -> tuple[QueueKit, Template, Any, Any]:
        self.validate_task(task)
        kit = self.kit
        return kit, finder_of(kit).template(task, self.alias), carried(args), carried(kwargs)

    def _result(self, task: Task[..., Any], args: Any, kwargs: Any, handle: JobHandle[Any]) -> Any:
        later = later_of(handle)
        at = results.from_moment(results.enqueued_at(handle.id)) if later is None else None
        result = results.fresh(
            task, results.result_id(handle.queue, handle.id), args, kwargs, backend=self.alias, at=at
        )
        if later is not None:
            later.written = partial(self._written, handle, result)
        return result

    def _written(self, handle: JobHandle[Any], result: TaskResult[..., Any]) -> None:
        """Behind the commit: what receivers raise must not keep other calls of the application from it.

        The caller's result stays as it was taken, as Django says: refreshing it is the caller's.
        """
        told = replace(result, enqueued_at=results.from_moment(results.enqueued_at(handle.id)))
        for receiver, error in task_enqueued.send_robust(type(self), task_result=told):
            if isinstance(error, Exception):
                log.error("receiver %r of task_enqueued failed", receiver, exc_info=error)

    def _found(self, result_id: str, job: Job | None) -> TaskResult[..., Any]:
        if job is None or not results.carries_a_call(job):
            raise TaskResultDoesNotExist(result_id)
        task = finder_of(self.kit).task(job.task)
        if task is None:
            raise TaskResultDoesNotExist(f"{result_id}: its job is there, but no task {job.task!r} to be imported")
        return results.result_of(job, task, self.alias)
