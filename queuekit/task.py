"""`Task`: what a decorated function becomes. It makes and writes jobs, and called directly runs here and now."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    Unpack,
    overload,
)

from queuekit.context import JobContext
from queuekit.domain import options
from queuekit.domain.typed import JobOptions
from queuekit.errors import DuplicateTask
from queuekit.handle import JobHandle
from queuekit.producing import produce
from queuekit.producing.definition import Definition
from queuekit.producing.local import call_async, call_sync
from queuekit.producing.newjob import LateJob, NewJob, Template

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

P = ParamSpec("P")
R = TypeVar("R")
Coro: TypeAlias = Coroutine[Any, Any, R]

__all__ = ["AsyncTask", "Definition", "SyncTask", "Task", "TaskDecorator"]


class Task(Generic[P, R]):
    """A registered function, or a contract whose handler is given elsewhere. Options never mix with its arguments."""

    name: str
    queue: str

    def __init__(self, kit: QueueKit, definition: Definition) -> None:
        self.name = definition.name
        self.queue = definition.queue
        self.definition = definition
        self._kit = kit
        self._said: Mapping[str, Any] = {}
        self._template: Template | None = None
        if definition.fn is not None:
            _dress(self, definition.fn)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """Write a job with these arguments; the handle says whether it is new.

        Raises PayloadError (one entry an argument), PayloadTooLarge, QueueFull, Conflict, Moved, StoreUnavailable
        (with outcome "unknown" it may have been written: the same id again is safe).
        """
        return produce.send(self._kit, self._made(), self.definition.encode(args, kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]:
        """See `enqueue`."""
        return await produce.asend(self._kit, self._made(), self.definition.encode(args, kwargs))

    def make(self, *args: P.args, **kwargs: P.kwargs) -> NewJob[R]:
        """The same without writing it: for `enqueue_many`, `kit.schedule`. Reads no settings that nobody read yet.

        Raises PayloadError, PayloadTooLarge (where the settings are not read yet, when it is written).
        """
        body = self.definition.encode(args, kwargs)
        if self._kit.settled:
            return self._made().new(body)
        return LateJob(self.queue, self.name, body, self._said, self._template_in, typed=True)

    def using(self, **options: Unpack[JobOptions]) -> Self:
        """A copy of the task with these options for its jobs. Raises InvalidOption, with the nearest name."""
        return self._with(options)

    @overload
    def handler(self, fn: Callable[Concatenate[JobContext, P], Coro[R] | R], /) -> Task[P, R]: ...
    @overload
    def handler(self, fn: Callable[P, Coro[R] | R], /) -> Task[P, R]: ...
    def handler(self, fn: Callable[..., Any], /) -> Task[P, R]:
        """Give the function that runs a declared task. Raises DuplicateTask, InvalidOption."""
        if self.definition.fn is not None:
            raise DuplicateTask(f"task {self.name!r} has a handler already: {self.definition.fn!r}")
        self.definition.handle_with(fn)
        self._kit.definitions[self.name] = self.definition
        _dress(self, fn)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of queue {self.queue!r}>"

    def _with(self, given: Mapping[str, Any]) -> Self:
        said = options.parse("job", given, f"{self.name}.using()")
        before = self._said
        if "delay" in said or "run_at" in said:
            before = {name: value for name, value in before.items() if name not in ("delay", "run_at")}
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._said, copy._template = {**before, **said}, None
        copy.queue = copy._said.get("queue", self.queue)
        return copy

    def _made(self) -> Template:
        template = self._template
        if template is None or template.rev != self._kit.revision:
            template = self._template = self._template_in(None)
        return template

    def _template_in(self, kit: QueueKit | None) -> Template:
        return Template(
            kit or self._kit, self.name, self.queue, self._said, self.definition.options,
            version=self.definition.version, typed=True,
        )  # fmt: skip


class SyncTask(Task[P, R]):
    """A plain function."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, with a local JobContext; nothing is stored."""
        result: R = call_sync(self.definition, args, kwargs)
        return result


class AsyncTask(Task[P, R]):
    """A coroutine function."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now, with a local JobContext; nothing is stored."""
        result: R = await call_async(self.definition, args, kwargs)
        return result


class TaskDecorator(Protocol):
    """What `@kit.task(...)` is: it keeps the function's signature, without the context."""

    @overload
    def __call__(self, fn: Callable[Concatenate[JobContext, P], Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # a coroutine function is a Callable[P, R] too
    @overload
    def __call__(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # as above
    @overload
    def __call__(self, fn: Callable[Concatenate[JobContext, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...


def _dress(task: Any, fn: Callable[..., Any]) -> None:
    """Give a task the name, the docstring and the signature of its function."""
    functools.update_wrapper(task, fn)
