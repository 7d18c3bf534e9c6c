"""`QueueKit`: the one object an application makes. It registers tasks and leads to stores; it does neither's work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

from queuekit.context import JobContext
from queuekit.domain import options
from queuekit.domain.events import Job, JobEvent, JobFilter, Page, QueueHealth
from queuekit.domain.job import JobRecord
from queuekit.domain.typed import QueueOptions, TaskOptions, WorkerOptions
from queuekit.domain.values import JSON
from queuekit.errors import DuplicateTask, Unsupported
from queuekit.handle import KITS, JobHandle, reference
from queuekit.producing import produce, search, snapshot
from queuekit.producing.access import Access, Entry
from queuekit.producing.configuration import Configuration
from queuekit.producing.definition import Definition, Finders, declared, of_processor, twice
from queuekit.producing.hooks import Hook, Hooks
from queuekit.producing.newjob import NewJob, Template, Transactions
from queuekit.producing.schedules import Rule, Schedules
from queuekit.producing.signature import name_of
from queuekit.queue import Queue
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.task import AsyncTask, Coro, SyncTask, Task, TaskDecorator

if TYPE_CHECKING:
    from queuekit.producing.scheduling.declared import Declaration
    from queuekit.runtime.worker import Worker
    from queuekit.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
PayloadT = TypeVar("PayloadT", contravariant=True)
ResultT = TypeVar("ResultT", covariant=True)
_NONE: Mapping[str, object] = {}
_QUEUES_KEPT = 4096  # values that are made again when asked for again


class Processor(Protocol[PayloadT, ResultT]):
    """The class form of a task. `task` names what it takes; None: every name of the queue without its own handler."""

    task: str | None

    def process(self, ctx: JobContext, payload: PayloadT, /) -> Awaitable[ResultT] | ResultT:
        """Run one job."""
        ...


class Middleware(Protocol):
    """Runs around the handler, in its own executor; the first registered is the outermost."""

    async def __call__(self, ctx: JobContext, run: Callable[[], Awaitable[object]], /) -> object:
        """Call `await run()` and give back what it gave, or something else."""


class QueueKit:
    """Constructing one does no I/O and reads no environment; the first use does. Safe before and after a fork.

    `url` is the store (else the settings say); `name` tells kits of one process apart; `namespace` is part of every
    key, so that two kits with one store and one namespace are one system. `imports` are modules that register tasks,
    imported by a worker; "shop.jobs.*" is that package and every module in it. `queues` are options by queue name.
    `client` is the application's own redis, pymongo or Motor client to work through instead of a URL.
    """

    name: str
    schedules: Schedules

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "default",
        namespace: str | None = None,
        imports: Sequence[str] = (),
        queues: Mapping[str, QueueOptions] | None = None,
        settings: Settings | None = None,
        client: object | None = None,
    ) -> None:
        self.name = name
        self.schedules = Schedules(self)
        self.declarations: dict[str, Declaration] = {}  # of schedules, by id
        self.definitions: dict[str, Definition] = {}  # what can be run here, by task name
        self.catch_all: dict[str, Definition] = {}  # and by queue, for names without a handler of their own
        self.finders = Finders()  # of tasks that another framework registers
        self.hooks = Hooks()
        self.middlewares: list[Middleware] = []
        self.templates: dict[tuple[str, str], Template] = {}
        self.transactions: Transactions | None = None  # of the application, that its jobs wait for
        self.access = Access(lambda: self.settings, client)
        self._imports = tuple(imports)
        self._configuration = Configuration(
            url=url, namespace=namespace, queues=cast("Mapping[str, Mapping[str, Any]]", queues or {}),
            settings=settings, client=client is not None,
        )  # fmt: skip
        self._tasks: dict[str, Task[..., Any]] = {}
        self._queues: dict[str, Queue] = {}
        KITS[name] = self

    # ------------------------------------------------------------ tasks
    @overload
    def task(self, fn: Callable[Concatenate[JobContext, P], Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # a coroutine function is a Callable[P, R] too
    @overload
    def task(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # as above
    @overload
    def task(self, fn: Callable[Concatenate[JobContext, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, name: str | None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    def task(self, name: Any = None, /, **options: Any) -> Any:
        """Register a function: `@kit.task`, `@kit.task("name")`, `@kit.task(queue=…, attempts=…)`.

        Its name is the bare function name unless given. A first parameter annotated JobContext is the run's context.
        Raises DuplicateTask, InvalidName, InvalidOption; nothing is asked of a store.
        """
        if callable(name):
            return self._register(name, None, options)
        return lambda fn, /: self._register(fn, name, options)

    @overload
    def declare(
        self, name: str, payload: type[T], result: type[R], /, **options: Unpack[TaskOptions]
    ) -> Task[[T], R]: ...
    @overload
    def declare(self, name: str, payload: type[T], /, **options: Unpack[TaskOptions]) -> Task[[T], None]: ...
    def declare(self, name: str, payload: Any, result: Any = None, /, **options: Any) -> Any:
        """A task whose handler is given elsewhere, with `@its.handler`: producers import the contract only.

        `payload` is a pydantic model, a dataclass, a TypedDict or dict. Raises DuplicateTask, InvalidOption.
        """
        task: Task[..., Any] = Task(self, declared(name, payload, result, options))
        return self._keep(task)

    def processor(
        self, queue: str, /, **options: Unpack[QueueOptions]
    ) -> Callable[[type[Processor[Any, Any]]], type[Processor[Any, Any]]]:
        """Register a class with `process(self, ctx, payload)` for a queue. One instance is made, at its first job."""
        self._configuration.declare(queue, options)

        def decorate(cls: type[Processor[Any, Any]]) -> type[Processor[Any, Any]]:
            definition = of_processor(cls, queue)
            if getattr(cls, "task", None) is None:
                if queue in self.catch_all:
                    raise DuplicateTask(f"queue {queue!r} has a processor for every name already")
                self.catch_all[queue] = definition
            else:
                self._keep(Task(self, definition))
            return cls

        return decorate

    def tasks(self) -> Mapping[str, Task[..., object]]:
        """Every task registered or declared here, by name."""
        return dict(self._tasks)

    def definition(self, task: str) -> Definition | None:
        """What this process knows of a task's name, whether it can run it or not."""
        known = self._tasks.get(task)
        return known.definition if known else self.definitions.get(task) or self.finders.known(task)

    def known(self) -> set[str]:
        """The name of every task this process knows: registered, declared or found."""
        return {*self._tasks, *self.definitions, *self.finders.tasks()}

    def handler(self, queue: str, task: str) -> Definition | None:
        """What runs a task of that queue here: its own definition, a found one, or the queue's for all others."""
        return self.definitions.get(task) or self.finders.find(task) or self.catch_all.get(queue)

    # ------------------------------------------------------------ by name
    def queue(self, name: str, /) -> Queue:
        """A queue by name: enqueue without importing a handler, configure, pause, prune. Asks nothing."""
        queue = self._queues.get(name)
        if queue is None:
            queue = Queue(self, name)
            if len(self._queues) < _QUEUES_KEPT:
                self._queues[name] = queue
        return queue

    def enqueue_many(self, jobs: Iterable[NewJob[R]]) -> list[JobHandle[R]]:
        """Write made jobs: one call a queue and 1,000 jobs, each call whole or not at all; handles in their order.

        Raises as `Task.enqueue`; a note on the error says what was written before it.
        """
        return produce.send_many(self, list(jobs))

    async def aenqueue_many(self, jobs: Iterable[NewJob[R]]) -> list[JobHandle[R]]:
        """See `enqueue_many`; queues are written at the same time."""
        return await produce.asend_many(self, list(jobs))

    # ------------------------------------------------------------ looking and acting
    def job(self, id: str, *, queue: str | None = None) -> JobHandle[JSON]:
        """A handle by id, "queue/id", or id and queue. No I/O: whether the job exists is asked when it is used."""
        where, job = reference(id, queue)
        return JobHandle(job, where, f"{where}/{job}" if where else job, None, self)

    def get(self, id: str, *, queue: str | None = None) -> Job | None:
        """A snapshot, None where there is no such job. A bare id asks all queues: Conflict where two have it."""
        return self.job(id, queue=queue).get()

    async def aget(self, id: str, *, queue: str | None = None) -> Job | None:
        """See `get`."""
        return await self.job(id, queue=queue).aget()

    def find(self, **where: Unpack[JobFilter]) -> Page:
        """Jobs by queue, state, task, tag, since, text; `limit` (100) a page, `cursor` of the page before."""
        wanted = search.checked(where)
        return self.run(lambda at: search.find(self, at, wanted))

    async def afind(self, **where: Unpack[JobFilter]) -> Page:
        """See `find`."""
        wanted = search.checked(where)
        return await self.arun(lambda at: search.find(self, at, wanted))

    def health(self, queue: str | None = None) -> dict[str, QueueHealth]:
        """How every known queue stands, or the one named."""
        return self.run(lambda at: search.health(at, queue))

    async def ahealth(self, queue: str | None = None) -> dict[str, QueueHealth]:
        """See `health`."""
        return await self.arun(lambda at: search.health(at, queue))

    # ------------------------------------------------------------ time, hooks, flows
    def schedule(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> None:
        """Declare a schedule: a worker that consumes its queue writes it when it starts, `queuekit schedules sync` now.

        Asks nothing. Raises InvalidOption, for an id that is declared already too; a moment that is past is a warning.
        """
        from queuekit.producing.scheduling import declared

        declared.add(self, id, job, rule, declared.caller(1))

    def on(self, event: JobEvent, fn: Hook | None = None, /) -> Callable[..., object]:
        """Tell `fn` of what happens in this process: `@kit.on("failed")` or `kit.on("failed", fn)`.

        A hook that raises is logged and changes nothing. Raises InvalidOption for an event there is not.
        """
        if fn is not None:
            self.hooks.add(event, fn)
            return fn

        def decorate(hook: Hook, /) -> Hook:
            self.hooks.add(event, hook)
            return hook

        return decorate

    def middleware(self, fn: Middleware, /) -> Middleware:
        """Run `fn` around every handler; the first registered is the outermost."""
        self.middlewares.append(fn)
        return fn

    def flow(
        self,
        parent: NewJob[R],
        *,
        children: Sequence[NewJob[Any]],
        on_failure: Literal["fail", "ignore", "cancel"] = "fail",
    ) -> NewJob[R]:
        """A parent that waits for children. Raises Unsupported: flows come with queuekit 0.3."""
        raise Unsupported("flows come with queuekit 0.3; until then enqueue what follows from the handler")

    def chain(self, *jobs: NewJob[Any]) -> NewJob[Any]:
        """One job after the other. Raises Unsupported: chains come with queuekit 0.3."""
        raise Unsupported("chains come with queuekit 0.3; until then enqueue what follows from the handler")

    # ------------------------------------------------------------ life
    def worker(self, **options: Unpack[WorkerOptions]) -> Worker:
        """A worker of this kit: `kit.worker().run()`, or `async with kit.worker():` inside another loop."""
        from queuekit.runtime.worker import Worker

        return Worker(self, **options)

    def close(self) -> None:
        """Close this process's store; the next use opens it again."""
        self.access.close()

    async def aclose(self) -> None:
        """Close the running loop's store and this process's."""
        await self.access.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<QueueKit {self.name!r}, {len(self._tasks)} tasks>"

    # ------------------------------------------------------------ for workers, the command line and integrations
    @property
    def settings(self) -> Settings:
        """What code, environment and file say; loaded at the first use. Raises ConfigError."""
        return self._configuration.settings

    @property
    def settled(self) -> bool:
        """Whether the settings have been read."""
        return self._configuration.settled

    @property
    def queue_options(self) -> dict[str, Mapping[str, object]]:
        """Parsed options by queue, of code over file."""
        return self._configuration.queues

    @property
    def defaults(self) -> Mapping[str, object]:
        """Parsed options of every job that says nothing else."""
        return self._configuration.defaults

    @property
    def revision(self) -> int:
        """Another one whenever options that jobs inherit at enqueue change."""
        return self._configuration.revision

    def concrete(self, *, latest: bool = False) -> QueueKit:
        """The kit with settings and stores of its own: this one. A framework's kit may have one for each app.

        `latest`: where nothing says which, the one made last. Raises ConfigError.
        """
        return self

    @contextmanager
    def through(self, access: Access) -> Iterator[None]:
        """Inside the block, work through these stores instead."""
        before, self.access = self.access, access
        try:
            yield
        finally:
            self.access = before

    def load(self) -> None:
        """Import the modules that register tasks: those of `imports=` and of the file. Raises ConfigError."""
        from queuekit.producing.modules import load

        load((*self._imports, *self._configuration.imports))

    def reread(self) -> None:
        """Close this process's store and forget the settings: the next use reads them, and opens it, anew."""
        self.close()
        self._configuration.forget()

    def blocking_store(self) -> JobStore:
        """This process's store, open; one per process, shared by threads."""
        return self.access.blocking(warn=False).store

    async def async_store(self) -> JobStore:
        """The running loop's store, open."""
        return (await self.access.asynchronous()).store

    def run(self, op: Callable[[Entry], Coroutine[Any, Any, T]]) -> T:
        """Step an operation over this process's store."""
        return direct(op(self.access.blocking()))

    async def arun(self, op: Callable[[Entry], Coroutine[Any, Any, T]]) -> T:
        """Await an operation over the running loop's store."""
        return await op(await self.access.asynchronous())

    def snapshot(self, record: JobRecord) -> Job:
        """What people see of a record, with the options this process knows for its task and queue."""
        return snapshot.job_from(record, *self._layers(record), task_known=self._runs(record) is not None)

    def policy(self, record: JobRecord) -> options.Policy:
        """What holds for a record, as far as this process knows its task and queue."""
        return options.resolve(record.options, *self._layers(record))

    def _layers(self, record: JobRecord) -> tuple[Mapping[str, object], Mapping[str, object], Mapping[str, object]]:
        definition = self._runs(record)
        task = _NONE if definition is None else definition.options
        return task, self.queue_options.get(record.queue, _NONE), self.defaults

    def _runs(self, record: JobRecord) -> Definition | None:
        """What runs a record, as far as this process knows."""
        return self.definition(record.task) or self.catch_all.get(record.queue)

    def _register(self, fn: Callable[..., Any], name: str | None, given: Mapping[str, Any]) -> Task[..., Any]:
        definition = Definition(name if name is not None else name_of(fn), fn, given)
        kind: type[Task[..., Any]] = AsyncTask if definition.is_async else SyncTask
        return self._keep(kind(self, definition))

    def _keep(self, task: Task[..., Any]) -> Task[..., Any]:
        if task.name in self._tasks:
            raise twice(self.name, self._tasks[task.name].definition, task.definition)
        self._tasks[task.name] = task
        if task.definition.fn is not None:
            self.definitions[task.name] = task.definition
        self.templates.clear()
        return task
