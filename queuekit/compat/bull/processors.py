"""From a Bull processor to a handler of its queue: `create_worker`, `processor`, `process`. Running it is not here."""

from __future__ import annotations

import dataclasses
import inspect
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, overload

from queuekit import (
    DuplicateTask,
    Fail,
    InvalidOption,
    JobContext,
    PayloadError,
    Processor,
    Profile,
    QueueKit,
    QueueOptions,
    codec,
)
from queuekit.compat.bull.job import Job, JobProcessor, T
from queuekit.compat.bull.queue import Queue
from queuekit.compat.current import current
from queuekit.domain import names
from queuekit.producing import schemas, signature

if TYPE_CHECKING:
    from queuekit.compat.bull.worker import Worker

C = TypeVar("C", bound=type[Any])
F = TypeVar("F", bound=JobProcessor[Any])
_EVENT = "__queuekit_bull_event__"


class Handler:
    """One processor. Its `Job[Model]` annotation, of a pydantic model or a dataclass, makes `job.data` that."""

    def __init__(self, fn: JobProcessor[Any]) -> None:
        self.fn = fn
        self.is_async = signature.is_coroutine(fn)
        self._read = signature.read(fn, "processor")
        self._load: Callable[[Any], Any] | None = None

    def job(self, ctx: JobContext, kit: QueueKit) -> Job[Any]:
        """The job it is called with. Raises Fail where the data does not fit the annotation."""
        job = Job.seen(kit.job(ctx.job.ref), ctx.job, ctx)
        if self._load is None:
            self._load = self._loader()
        try:
            job.data = self._load(job.data)
        except PayloadError as error:
            raise Fail(str(error)) from None
        return job

    def _loader(self) -> Callable[[Any], Any]:
        try:
            self._read.resolve()
        except InvalidOption:
            return _as_it_is
        annotation = self._read.params[0].annotation if self._read.params else None
        model = next(iter(get_args(annotation)), None) if get_origin(annotation) is Job else None
        if not signature.is_model(model) or signature.is_typeddict(model):
            return _as_it_is
        schema = schemas.of_value("processor", "data", model)
        return _as_it_is if schema is None else lambda data: schema.load(codec.encode(data), _unfit)


class Line:
    """The processors of one queue in this process: one for all names, or some by name."""

    def __init__(self, queue: str, *, is_async: bool) -> None:
        self.queue = queue
        self.is_async = is_async
        self.by_name: dict[str, Handler] = {}
        self.default: Handler | None = None
        self.owners = 0  # workers that are not closed

    def handler(self, name: str) -> Handler:
        """Who runs a job of this name. Raises LookupError, which fails the run, as in Bull."""
        found = self.by_name.get(name) or self.default
        if found is None:
            raise LookupError(f"queue {self.queue!r} has no processor for job type {name!r}")
        return found

    def put(self, handler: Handler, name: str | None) -> None:
        """Raises DuplicateTask, InvalidOption."""
        if handler.is_async != self.is_async:
            raise InvalidOption(
                f"the processors of queue {self.queue!r} are all coroutine functions, or all plain ones: they share"
                " its slots"
            )
        known = self.default if name is None else self.by_name.get(name)
        if known is not None and known.fn != handler.fn and (name is not None or self.owners):
            what = f" for {name!r}" if name is not None else ": close() its worker before another takes over"
            raise DuplicateTask(f"queue {self.queue!r} has a processor already{what}")
        if name is None:
            self.default = handler
        else:
            self.by_name[name] = handler


_lines: weakref.WeakKeyDictionary[QueueKit, dict[str, Line]] = weakref.WeakKeyDictionary()


def create_worker(
    queue: str | Queue,
    processor: JobProcessor[T],
    options: Mapping[str, Any] | Profile | str | None = None,
    *,
    kit: QueueKit | None = None,
) -> Worker:
    """A worker of one queue: `processor(job)` runs its jobs, whatever their name. It starts with `run()`, `async with`
    or `arun()`; `queuekit worker module:kit` and `kit.worker()` run it as well, together with all others of the kit.

    `options` are Bull's, a profile or the name of one. Raises InvalidOption, Unsupported, DuplicateTask where the
    queue has another processor here.
    """
    from queuekit.compat.bull.worker import Worker

    return Worker(queue, processor, options, kit=kit)


def processor(
    queue: str | Queue, options: Mapping[str, Any] | Profile | str | None = None, *, kit: QueueKit | None = None
) -> Callable[[C], C]:
    """The class form, NestJS's `@Processor(name, options)`: its `process(self, job)` runs the queue's jobs.

    One instance is made, at the first job; the worker is the class's `worker`.
    """

    def decorate(cls: C) -> C:
        made: list[Any] = []

        def instance() -> Any:
            if not made:
                made.append(cls())
            return made[0]

        cls.worker = create_worker(queue, _method(cls, "process", instance), options, kit=kit)
        for name, member in inspect.getmembers(cls, inspect.isfunction):
            event = getattr(member, _EVENT, None)
            if event is not None:
                cls.worker.on(event, _method(cls, name, instance))
        return cls

    return decorate


def on_worker_event(event: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Inside a `processor` class: tell this method of the worker's event."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        setattr(method, _EVENT, event)
        return method

    return mark


@overload
def process(queue: str | Queue, name: str, /, *, kit: QueueKit | None = None) -> Callable[[F], F]: ...
@overload
def process(queue: str | Queue, name: str, fn: F, /, *, kit: QueueKit | None = None) -> F: ...
def process(queue: str | Queue, name: str, fn: Any = None, /, *, kit: QueueKit | None = None) -> Any:
    """A processor for one name of a queue, Bull's `queue.process(name, fn)`; a decorator without `fn`.

    Names without one go to the queue's `create_worker`, else their runs fail.
    """
    if fn is None:
        return lambda fn: process(queue, name, fn, kit=kit)
    register(*place(queue, kit), fn, names.task_name(name), {})
    return fn


def register(kit: QueueKit, queue: str, fn: JobProcessor[Any], name: str | None, options: QueueOptions) -> Line:
    """Put a processor into its queue's line; the kit hears of the line once, of options each time."""
    handler, lines = Handler(fn), _lines.setdefault(kit, {})
    line = lines.get(queue) or Line(queue, is_async=handler.is_async)
    line.put(handler, name)
    declare = kit.processor(queue, **options)
    if queue not in lines:
        declare(_bound(kit, line))
        lines[queue] = line
    return line


def place(queue: str | Queue, kit: QueueKit | None) -> tuple[QueueKit, str]:
    """The kit and the name of a queue. Raises InvalidName."""
    if isinstance(queue, Queue):
        return kit or queue.kit, queue.name
    return kit or current(), names.queue_name(queue)


def _bound(kit: QueueKit, line: Line) -> type[Processor[Any, Any]]:
    """The line as the class form of the public API, which takes every name of the queue."""

    class Awaited(Processor[Any, Any]):
        task = None

        async def process(self, ctx: JobContext, payload: dict[str, Any], /) -> Any:
            handler = line.handler(ctx.job.task)
            found: Any = handler.fn(handler.job(ctx, kit))
            return _plain(await found)

    class Plain(Processor[Any, Any]):
        task = None

        def process(self, ctx: JobContext, payload: dict[str, Any], /) -> Any:
            handler = line.handler(ctx.job.task)
            return _plain(handler.fn(handler.job(ctx, kit)))

    return Awaited if line.is_async else Plain


def _method(cls: type[Any], name: str, instance: Callable[[], Any]) -> Callable[..., Any]:
    """A function that calls a method of the class's one instance, with the method's signature."""
    method: Callable[..., Any] | None = getattr(cls, name, None)
    if not inspect.isfunction(method):
        raise InvalidOption(f"{cls.__qualname__} has no method {name}(self, job)")

    async def awaited(*args: Any) -> Any:
        return await getattr(instance(), name)(*args)

    def plain(*args: Any) -> Any:
        return getattr(instance(), name)(*args)

    call: Callable[..., Any] = awaited if inspect.iscoroutinefunction(method) else plain
    read = inspect.signature(method)
    call.__wrapped__ = method  # type: ignore[attr-defined]  # where signature.read looks for names of annotations
    call.__signature__ = read.replace(parameters=list(read.parameters.values())[1:])  # type: ignore[attr-defined]  # as of a bound method
    return call


def _as_it_is(data: Any) -> Any:
    return data


def _unfit(problems: Sequence[tuple[str, str]]) -> PayloadError:
    lines = [f"{where}: {'no such field' if what == 'extra' else what}" for where, what in problems]
    return PayloadError(f"the job's data does not fit its processor: {'; '.join(lines)}", lines)


def _plain(result: Any) -> Any:
    """A model or a dataclass as a JSON object; the rest as it is."""
    if isinstance(result, type):
        return result
    dump = getattr(result, "model_dump", None)
    if dump is not None:
        return dump(mode="json", by_alias=True)
    return schemas.dataclass_object(result) if dataclasses.is_dataclass(result) else result
