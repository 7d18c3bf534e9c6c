"""What a worker needs of a task: its function, how its payload travels, its options. No kit and no store inside."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from queuekit.context import JobContext
from queuekit.domain import names, options
from queuekit.errors import DuplicateTask, InvalidOption, PayloadError, Unsupported
from queuekit.producing import signature
from queuekit.producing.inject import InjectMarker
from queuekit.producing.payload import Result, Wire, result_of, wire_of

DEFAULT_QUEUE = "default"


class Definition:
    """A task as registered. `fn` is None where only the contract is declared here: nobody can run it in this process.

    `options` are parsed (`domain.options`) and never change; `wants_context` says that `fn` takes a JobContext first.
    """

    __slots__ = (
        "_result", "_signature", "_whole", "_wire", "concurrency", "executor", "fn", "injects", "is_async", "name",
        "options", "queue", "version", "wants_context",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        fn: Callable[..., Any] | None,
        given: Mapping[str, Any],
        *,
        queue: str | None = None,
        contract: signature.Signature | None = None,
        whole: bool = False,
    ) -> None:
        self.name = names.task_name(name)
        said = options.parse("task", given, f"task {name!r}")
        self.queue: str = str(said.pop("queue", queue or DEFAULT_QUEUE))
        self.executor: str = str(said.pop("executor", "auto"))
        self.version: int = said.pop("version", 1)  # type: ignore[assignment]  # its parser gives whole numbers
        self.options: Mapping[str, object] = said
        self.concurrency: int | None = said.get("concurrency")  # type: ignore[assignment]  # its parser gives whole numbers
        self.fn: Callable[..., Any] | None = None
        self.is_async = False
        self.wants_context = False
        self.injects: Mapping[str, InjectMarker] = {}
        self._whole = whole
        self._wire: Wire | None = None
        self._result: Result | None = None
        self._signature = contract
        if fn is not None:
            self.handle_with(fn)

    def handle_with(self, fn: Callable[..., Any]) -> None:
        """Give the function that runs it. Raises InvalidOption for a signature that cannot be a task's."""
        read = signature.read(fn, self.name)
        self.is_async = signature.is_coroutine(fn)
        self._check_executor()
        if self._signature is None:
            self._signature = read
        elif len(read.params) != 1:
            raise InvalidOption(
                f"the handler of task {self.name!r} takes {len(read.params)} arguments; its declaration has one"
            )
        else:
            read.params[0].annotation = self._signature.params[0].annotation
            read.returns = self._signature.returns
            self._signature = read
        self._wire = self._result = None
        self.wants_context, self.injects, self.fn = read.wants_context, read.injects, fn

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The payload of a call. Raises PayloadError, one entry an argument."""
        return (self._wire or self.wire()).encode(args, kwargs)

    def encode_payload(self, payload: object) -> bytes:
        """A payload given as one object. Raises PayloadError."""
        return (self._wire or self.wire()).encode_payload(payload)

    def decode(self, body: bytes, version: int = 1) -> tuple[tuple[object, ...], dict[str, Any]]:
        """The handler's arguments, without context and injected ones. Raises PayloadError: the job is parked."""
        if version > self.version:
            raise PayloadError(f"payload of task {self.name!r} has version {version}; this worker knows {self.version}")
        return (self._wire or self.wire()).decode(body)

    def encode_result(self, value: object) -> bytes:
        """What is stored of a result. Raises PayloadError for what JSON cannot carry."""
        return (self._result or self.result()).encode(value)

    def decode_result(self, data: bytes) -> object:
        """The result as the return annotation says. Raises PayloadError where it no longer fits."""
        return (self._result or self.result()).decode(data)

    def where(self) -> str:
        """File and line of its function, for people."""
        code = None if self.fn is None else getattr(inspect.unwrap(self.fn), "__code__", None)
        return "a declaration" if code is None else f"{code.co_filename}, line {code.co_firstlineno}"

    def wire(self) -> Wire:
        """How its arguments travel; built at the first use, when forward references can be resolved."""
        if self._wire is None:
            self._wire = wire_of(self._known(), whole=self._whole)
        return self._wire

    def result(self) -> Result:
        """How its result travels."""
        if self._result is None:
            self._result = result_of(self._known())
        return self._result

    def _known(self) -> signature.Signature:
        if self._signature is None:
            raise InvalidOption(f"task {self.name!r} has neither a contract nor a handler")
        return self._signature

    def _check_executor(self) -> None:
        if self.executor == "process":
            raise Unsupported(
                f"task {self.name!r}: executor='process' comes with queuekit 0.2; use 'thread' until then"
            )
        if self.is_async and self.executor == "thread":
            raise InvalidOption(
                f"task {self.name!r} is a coroutine function: it runs on the event loop, not in a thread"
            )
        if not self.is_async and self.executor == "async":
            raise InvalidOption(
                f"task {self.name!r} is no coroutine function: it would block the event loop; use 'thread'"
            )


class Finder(Protocol):
    """Handlers that are not registered one by one: another framework's tasks, found when a job of theirs comes."""

    def queues(self) -> Iterable[str]:
        """Queues that a worker consumes which names none."""
        ...

    def tasks(self) -> Mapping[str, Definition]:
        """What this process knows already, by task name. Imports nothing."""
        ...

    def known(self, task: str) -> Definition | None:
        """One of them."""
        ...

    def find(self, task: str) -> Definition | None:
        """What runs this task, None where it is not one of theirs. May import the module that has it; never raises."""
        ...


class Finders(list[Finder]):
    """All of a kit, asked in their order."""

    def queues(self) -> list[str]:
        """The queues of all."""
        return [name for finder in self for name in finder.queues()]

    def tasks(self) -> dict[str, Definition]:
        """What all of them know."""
        return {name: one for finder in reversed(self) for name, one in finder.tasks().items()}

    def known(self, task: str) -> Definition | None:
        """The first that knows it."""
        return next((found for finder in self if (found := finder.known(task)) is not None), None)

    def find(self, task: str) -> Definition | None:
        """The first that finds it."""
        return next((found for finder in self if (found := finder.find(task)) is not None), None)


def declared(name: str, payload: object, result: object, given: Mapping[str, Any]) -> Definition:
    """A task whose handler is given elsewhere. Raises InvalidOption for a payload type that is no JSON object."""
    if not (signature.is_model(payload) or payload in (dict, Any)):
        shown = getattr(payload, "__name__", payload)
        raise InvalidOption(f"task {name!r}: declare a pydantic model, a dataclass, a TypedDict or dict, not {shown}")
    contract = signature.Signature(name, (signature.Param("payload", payload, True),), {}, False, False, result, {})
    return Definition(name, None, given, contract=contract, whole=True)


def twice(kit: str, first: Definition, second: Definition) -> DuplicateTask:
    """The error of a name that is registered two times."""
    return DuplicateTask(
        f"task {first.name!r} is registered twice in kit {kit!r}: {first.where()}, and {second.where()}:"
        ' give one another name, @kit.task("…")'
    )


def of_processor(cls: type[Any], queue: str) -> Definition:
    """The class form. Its instance is made when the first job comes, since importing it must do nothing."""
    name = getattr(cls, "task", None)
    process = getattr(cls, "process", None)
    if name is not None and not isinstance(name, str):
        raise InvalidOption(
            f"{cls.__qualname__}.task is {name!r}: give a task's name, or None for all others of the queue"
        )
    if not inspect.isfunction(process):
        raise InvalidOption(f"{cls.__qualname__} has no method process(self, ctx, payload)")
    read = inspect.signature(process)
    params = list(read.parameters.values())[1:]  # without self
    if len(params) != 2:
        raise InvalidOption(f"{cls.__qualname__}.process takes (self, ctx, payload), nothing else")
    params[0] = params[0].replace(annotation=JobContext)
    return Definition(
        name or cls.__name__, _of_instance(cls, process, read.replace(parameters=params)), {}, queue=queue, whole=True
    )


def _of_instance(cls: type[Any], process: Callable[..., Any], shape: inspect.Signature) -> Callable[..., Any]:
    """A function that calls `process` of the class's one instance."""
    made: list[Any] = []
    making = threading.Lock()

    def instance() -> Any:
        with making:
            if not made:
                made.append(cls())
        return made[0]

    async def awaited(ctx: JobContext, payload: object) -> object:
        return await instance().process(ctx, payload)

    def plain(ctx: JobContext, payload: object) -> object:
        return instance().process(ctx, payload)

    call: Callable[..., Any] = awaited if inspect.iscoroutinefunction(process) else plain
    functools.update_wrapper(call, process)
    setattr(call, "__signature__", shape)  # noqa: B010  inspect reads it; the type of a function has no such name
    return call
