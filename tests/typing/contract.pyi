# queuekit 1.0: the public names. Everything not listed here (and in queuekit.testing, queuekit.compat, contrib) may change.
# Rules: f = sync, af = async twin, same arguments, same result. Options never share a namespace with a task's own
# arguments. A duration is timedelta | seconds | "5m" | "30 seconds" | ISO 8601. A naive datetime is an error.
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from types import TracebackType
from typing import Any, ClassVar, Concatenate, Generic, Literal, ParamSpec, Protocol, Self, TypeAlias, TypedDict, TypeVar, Unpack, overload

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
PayloadT = TypeVar("PayloadT", contravariant=True)
ResultT = TypeVar("ResultT", covariant=True)
JSON: TypeAlias = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
Duration: TypeAlias = timedelta | float | str
Coro: TypeAlias = Coroutine[Any, Any, R]

# ------------------------------------------------------------------ values
class Priority(IntEnum):                     # lower runs first; names accepted wherever a Priority is
    CRITICAL = 1
    HIGH = 5
    NORMAL = 10
    LOW = 15

class State(StrEnum):                        # "scheduled" parses to DELAYED
    WAITING = "waiting"
    DELAYED = "delayed"
    BLOCKED = "blocked"
    ACTIVE = "active"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

Status: TypeAlias = State | Literal["unknown", "uncommitted"]

@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    @staticmethod
    def fixed(delay: Duration) -> Backoff: ...
    @staticmethod
    def linear(delay: Duration, *, cap: Duration = "1h", jitter: float = 0.0) -> Backoff: ...
    @staticmethod
    def exponential(first: Duration = 1, *, factor: float = 2, cap: Duration = "1h", jitter: float = 0.0) -> Backoff: ...
    @staticmethod
    def custom(fn: Callable[[int, Exception], Duration]) -> Backoff: ...
    def delay(self, attempt: int, error: Exception | None = None) -> timedelta: ...

@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:                                  # retention of finished jobs; whichever limit is met first
    count: int | None = None
    age: Duration | None = None

@dataclass(frozen=True, slots=True)
class Unique:
    key: str
    until: Literal["finished", "started"] | Duration = "finished"
    on_conflict: Literal["existing", "replace", "error"] = "existing"      # replace + delay = debounce
    scope: Literal["queue"] = "queue"
    max_wait: Duration | None = None         # debounce: run at the latest this long after the first

@dataclass(frozen=True, slots=True)
class Rate:
    count: int
    per: Duration

@dataclass(frozen=True, slots=True, kw_only=True)
class Group:                                 # how the groups of a queue share it
    weight: int = 1
    cap: int | None = None                   # jobs of one group at once; 1 = one after the other, in order
    rate: Rate | Sequence[Rate] | None = None

@dataclass(frozen=True, kw_only=True)
class Profile:
    name: str
    concurrency: int
    lease: Duration
    stalled_check: Duration = 5
    LIGHT: ClassVar[Profile]   # 50, 30 s
    MEDIUM: ClassVar[Profile]  # 10, 5 min
    HEAVY: ClassVar[Profile]   # 1, 1 h, check 5 min

# ------------------------------------------------------------------ options: ONE list each; decorator, .using(), Queue, TOML, CLI, export derive from it
class RunOptions(TypedDict, total=False):    # unset = inherit: job > task > queue > kit; resolved by the worker, when it runs
    priority: int | Priority | str           # (priority alone is resolved at enqueue)
    attempts: int                            # total runs, default 3
    backoff: Backoff | Duration
    retry_on: tuple[type[Exception], ...]
    fail_on: tuple[type[Exception], ...]
    max_crashes: int                         # runs that end with a dead worker, default 3
    timeout: Duration | None
    keep_completed: bool | int | Keep        # native default Keep(count=1000, age="1h")
    keep_failed: bool | int | Keep           # native default True
    tags: Sequence[str]

class TaskOptions(RunOptions, total=False):
    queue: str
    executor: Literal["auto", "async", "thread", "process"]
    version: int
    concurrency: int                         # at most n of this task in one worker
    rate: Rate | Sequence[Rate]

class JobOptions(RunOptions, total=False):
    id: str                                  # identity is (queue, id)
    queue: str
    delay: Duration
    run_at: datetime
    expires: Duration | datetime
    lifo: bool
    group: str
    unique: str | Unique
    within: object                           # a pymongo session, a redis pipeline: write with the caller's own write

class QueueOptions(RunOptions, total=False):
    profile: Profile | str
    lease: Duration                          # a lease belongs to the queue: it is chosen before the job is known
    concurrency: int                         # per worker process
    global_concurrency: int                  # over all workers
    rate: Rate | Sequence[Rate]
    max_size: int
    group: Group                             # default of every group
    groups: Mapping[str, Group]              # named exceptions

# ------------------------------------------------------------------ producing
class QueueKit:
    """Constructing one does no I/O and reads no environment; the first use does. Safe before and after a fork."""
    def __init__(self, url: str | None = None, *, name: str = "default", namespace: str | None = None,
                 imports: Sequence[str] = (), queues: Mapping[str, QueueOptions] | None = None,
                 settings: Settings | None = None) -> None: ...
    name: str
    schedules: Schedules
    # tasks
    @overload
    def task(self, fn: Callable[Concatenate[JobContext, P], Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def task(self, fn: Callable[Concatenate[JobContext, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(self, name: str | None = None, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...
    @overload
    def declare(self, name: str, payload: type[T], result: type[R], /, **options: Unpack[TaskOptions]) -> Task[[T], R]: ...
    @overload
    def declare(self, name: str, payload: type[T], /, **options: Unpack[TaskOptions]) -> Task[[T], None]: ...   # contract here, handler elsewhere
    def processor(self, queue: str, /, **options: Unpack[QueueOptions]) -> Callable[[type[Processor[Any, Any]]], type[Processor[Any, Any]]]: ...
    def tasks(self) -> Mapping[str, Task[..., object]]: ...
    # by name, no import of the handler
    def queue(self, name: str, /) -> Queue: ...
    def enqueue_many(self, jobs: Iterable[NewJob[R]]) -> list[JobHandle[R]]: ...      # one call per queue; atomic per queue
    async def aenqueue_many(self, jobs: Iterable[NewJob[R]]) -> list[JobHandle[R]]: ...
    # looking and acting
    def job(self, id: str, *, queue: str | None = None) -> JobHandle[JSON]: ...       # id or "queue/id"; no I/O
    def get(self, id: str, *, queue: str | None = None) -> Job | None: ...
    async def aget(self, id: str, *, queue: str | None = None) -> Job | None: ...
    def find(self, **where: Unpack[JobFilter]) -> Page: ...
    async def afind(self, **where: Unpack[JobFilter]) -> Page: ...
    def health(self, queue: str | None = None) -> dict[str, QueueHealth]: ...
    async def ahealth(self, queue: str | None = None) -> dict[str, QueueHealth]: ...
    # time, hooks, flows
    def schedule(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> None: ...  # declares; written when a worker starts
    def on(self, event: JobEvent, fn: Callable[[JobFact], Awaitable[None] | None] | None = None, /) -> Callable[..., object]: ...
    def middleware(self, fn: Middleware, /) -> Middleware: ...
    def flow(self, parent: NewJob[R], *, children: Sequence[NewJob[Any]], on_failure: Literal["fail", "ignore", "cancel"] = "fail") -> NewJob[R]: ...
    def chain(self, *jobs: NewJob[Any]) -> NewJob[Any]: ...
    # life
    def worker(self, **options: Unpack[WorkerOptions]) -> Worker: ...
    def close(self) -> None: ...
    async def aclose(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

class Task(Generic[P, R]):
    name: str
    queue: str
    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]: ...
    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R]: ...
    def make(self, *args: P.args, **kwargs: P.kwargs) -> NewJob[R]: ...               # for enqueue_many, flow, schedule
    def using(self, **options: Unpack[JobOptions]) -> Self: ...                       # a copy; Django's word
    @overload
    def handler(self, fn: Callable[Concatenate[JobContext, P], Coro[R] | R], /) -> Task[P, R]: ...
    @overload
    def handler(self, fn: Callable[P, Coro[R] | R], /) -> Task[P, R]: ...

class SyncTask(Task[P, R]):
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...                   # runs here and now, with a local JobContext; stores nothing

class AsyncTask(Task[P, R]):
    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

class TaskDecorator(Protocol):
    @overload
    def __call__(self, fn: Callable[Concatenate[JobContext, P], Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[P, Coro[R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: Callable[Concatenate[JobContext, P], R], /) -> SyncTask[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> SyncTask[P, R]: ...

class NewJob(Generic[R]):
    id: str
    queue: str
    task: str

class Queue:
    name: str
    def enqueue(self, task: str, payload: object = ..., **options: Unpack[JobOptions]) -> JobHandle[JSON]: ...
    async def aenqueue(self, task: str, payload: object = ..., **options: Unpack[JobOptions]) -> JobHandle[JSON]: ...
    def make(self, task: str, payload: object = ..., **options: Unpack[JobOptions]) -> NewJob[JSON]: ...
    def configure(self, **options: Unpack[QueueOptions]) -> None: ...                 # operator's override; survives deploys until reset()
    def reset(self) -> None: ...
    def pause(self, reason: str = "") -> None: ...
    def resume(self) -> None: ...
    def prune(self, state: State, *, older_than: Duration = 0, limit: int = 1000) -> int: ...
    def obliterate(self, *, confirm: str, force: bool = False) -> int: ...            # confirm must equal the queue's name; active jobs only with force
    async def apause(self, reason: str = "") -> None: ...                             # … and a twin for each

@dataclass(frozen=True)
class JobHandle(Generic[R]):
    """Where a job is. Small, picklable; `ref` ("queue/id") is what to keep in your own tables."""
    id: str
    queue: str
    ref: str
    created: bool | None                     # False: id or unique key existed. None: not written yet (transaction, on_commit)
    def status(self) -> Status: ...          # never raises for a job that is not there: "unknown"
    def get(self) -> Job | None: ...
    def result(self, timeout: Duration | None = None) -> R: ...    # JobFailed, JobCancelled, ResultGone, ResultTimeout; WouldDeadlock inside a job
    def cancel(self, reason: str = "", *, kill_after: Duration | None = None) -> bool: ...
    def retry(self) -> bool: ...
    def promote(self) -> bool: ...
    def reschedule(self, *, run_at: datetime | None = None, delay: Duration | None = None, priority: int | Priority | str | None = None) -> bool: ...
    def replace(self, payload: object) -> bool: ...                # of a job that does not run yet
    def delete(self) -> bool: ...
    async def astatus(self) -> Status: ...
    async def aget(self) -> Job | None: ...
    async def aresult(self, timeout: Duration | None = None) -> R: ...
    async def acancel(self, reason: str = "", *, kill_after: Duration | None = None) -> bool: ...

@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A snapshot. Pure data: it never talks to a store."""
    id: str
    queue: str
    task: str
    state: State
    payload: JSON
    result: JSON
    attempt: int
    attempts: int
    crashes: int
    priority: int
    created_at: datetime
    run_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: JSON
    errors: tuple[JobError, ...]
    group: str | None
    parent: str | None
    tags: tuple[str, ...]
    def to_dict(self) -> dict[str, JSON]: ...

@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    type: str
    message: str
    traceback: str
    attempt: int
    worker: str
    at: datetime

class JobFilter(TypedDict, total=False):
    queue: str
    state: State | str
    task: str
    tag: str
    since: datetime | Duration
    text: str
    limit: int
    cursor: str

@dataclass(frozen=True, slots=True)
class Page:
    jobs: tuple[Job, ...]
    total: int
    cursor: str | None

@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:                           # the seeds' six keys first
    name: str
    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int
    blocked: int
    parked: int
    paused: str | None
    oldest_waiting: timedelta | None
    workers: int

# ------------------------------------------------------------------ inside a job
class JobContext:
    """First parameter of a handler, annotated JobContext, or `current_job()` anywhere below it. All methods are plain
    calls: progress and log are kept and sent with the next lease renewal, so the same object serves async, thread and process."""
    job: Job
    attempt: int
    last_attempt: bool
    token: str
    logger: logging.LoggerAdapter[logging.Logger]
    def progress(self, value: float, message: str = "", **extra: JSON) -> None: ...
    def log(self, line: str) -> None: ...
    def check_cancelled(self) -> None: ...   # raises Cancelled or LeaseLost
    @overload
    def step(self, name: str, fn: Callable[P, Coro[T]], *args: P.args, **kwargs: P.kwargs) -> Coro[T]: ...
    @overload
    def step(self, name: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def children(self) -> Mapping[str, JSON]: ...

def current_job() -> JobContext | None: ...
@overload
def Inject(provider: Callable[..., AsyncIterator[T]], *, scope: Literal["job", "worker"] = "job") -> T: ...
@overload
def Inject(provider: Callable[..., Coro[T]], *, scope: Literal["job", "worker"] = "job") -> T: ...
@overload
def Inject(provider: Callable[..., T], *, scope: Literal["job", "worker"] = "job") -> T: ...

class Processor(Protocol[PayloadT, ResultT]):
    """The class form. `task` names what it takes; None = every name on the queue without a handler of its own."""
    task: str | None
    def process(self, ctx: JobContext, payload: PayloadT, /) -> Awaitable[ResultT] | ResultT: ...

class Retry(Exception):                      # the four ways to end a run on purpose; raise them
    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None: ...
class Snooze(Exception):                     # later, without using an attempt
    def __init__(self, after: Duration | None = None, *, until: datetime | None = None) -> None: ...
class Fail(Exception):                       # failed for good
    def __init__(self, reason: str = "") -> None: ...
class Cancel(Exception):                     # cancelled: wanted no more, not a failure
    def __init__(self, reason: str = "") -> None: ...

JobEvent: TypeAlias = Literal["active", "completed", "failed", "retrying", "stalled", "progress", "cancelled", "parked", "drained", "paused", "resumed", "error"]
@dataclass(frozen=True, slots=True, kw_only=True)
class JobFact:
    event: JobEvent
    at: datetime
    queue: str
    job: Job | None
    error: JobError | None

class Middleware(Protocol):                  # runs around the handler, in its own executor
    async def __call__(self, ctx: JobContext, run: Callable[[], Awaitable[object]], /) -> object: ...

# ------------------------------------------------------------------ schedules
class Rule(TypedDict, total=False):          # exactly one of cron, every, at, trigger
    cron: str                                # 5 or 6 fields, @daily; 0 and 7 = Sunday, as in crontab(5)
    every: Duration
    at: datetime
    trigger: object                          # an APScheduler trigger
    timezone: str
    start: datetime
    end: datetime
    count: int
    jitter: Duration                         # moves run_at of the job, never the slot that makes its id
    missed: Literal["skip", "once", "all"]
    grace: Duration
    overlap: Literal["allow", "skip", "replace"]

@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    id: str
    queue: str
    task: str
    rule: Mapping[str, JSON]
    origin: Literal["code", "file", "operator"]
    paused: str | None
    next_at: datetime | None
    last_job: str | None
    paused_by: str | None
    paused_at: datetime | None
    fired: int                               # jobs made; those of a firing by hand are not counted
    skipped: int
    payload: JSON
    options: Mapping[str, JSON]
    anchor: datetime | None
    by_hand: Mapping[str, JSON] | None
    declared: Mapping[str, JSON] | None      # the two layers
    override: Mapping[str, JSON] | None
    problem: str | None
    @property
    def ref(self) -> str: ...
    def preview(self, n: int = 5) -> list[datetime]: ...
    def to_dict(self) -> dict[str, JSON]: ...

class Schedules:                             # at run time: these talk to the store
    def put(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule: ...
    def get(self, id: str) -> Schedule | None: ...
    def all(self, queue: str | None = None) -> list[Schedule]: ...
    def pause(self, id: str, reason: str = "") -> bool: ...
    def resume(self, id: str) -> bool: ...
    def fire(self, id: str) -> JobHandle[JSON]: ...
    def delete(self, id: str) -> bool: ...
    def reset(self, id: str) -> bool: ...
    def preview(self, n: int = 5, **rule: Unpack[Rule]) -> list[datetime]: ...                # of a rule that is not stored
    async def aput(self, id: str, job: NewJob[Any], **rule: Unpack[Rule]) -> Schedule: ...   # … and a twin for each

# ------------------------------------------------------------------ running
class WorkerOptions(TypedDict, total=False):
    queues: Sequence[str] | Mapping[str, int]          # order = strict priority, mapping = weights; default: queues of the kit's tasks
    exclude: Sequence[str]
    type: str                                          # WORKER_TYPE: the profile name, or "all"
    concurrency: int                                   # slots of this process; default for queues that name none
    grace: Duration
    burst: bool
    max_jobs: int
    max_rss: str
    health_port: int

class Worker:
    def __init__(self, kit: QueueKit, **options: Unpack[WorkerOptions]) -> None: ...
    id: str
    def run(self) -> int: ...                          # blocks, installs signal handlers, returns the exit code
    async def arun(self, *, signals: bool = False) -> None: ...
    async def stop(self, grace: Duration | None = None) -> None: ...
    async def __aenter__(self) -> Self: ...            # inside another loop: no signals, no asyncio.run
    async def __aexit__(self, *exc: object) -> None: ...

# ------------------------------------------------------------------ settings and errors
@dataclass(frozen=True, kw_only=True)
class Settings:
    url: str
    chosen_by: str                           # why: "QUEUE_PROVIDER", "REDIS_URL", "default" …
    namespace: str
    @classmethod
    def load(cls, env: Mapping[str, str] | None = None, *, file: str | None = None) -> Settings: ...
    def __repr__(self) -> str: ...           # secrets as ***

class QueueKitError(Exception): ...
class ConfigError(QueueKitError): ...                  # settings, options, names: wrong before anything happened
class UnknownProvider(ConfigError): ...
class MissingExtra(ConfigError): ...
class InvalidName(ConfigError): ...
class InvalidOption(ConfigError): ...
class DuplicateTask(ConfigError): ...
class PayloadError(QueueKitError): ...                 # .errors: one entry a field
class PayloadTooLarge(PayloadError): ...
class StoreError(QueueKitError): ...
class StoreUnavailable(StoreError): ...                # safe to repeat
class QueueFull(StoreError): ...
class NotReplicated(StoreError): ...                   # outcome unknown
class Moved(StoreError): ...                           # .to
class SchemaMismatch(StoreError): ...
class Conflict(QueueKitError): ...
class JobNotFound(QueueKitError): ...
class LeaseLost(QueueKitError): ...
class Cancelled(QueueKitError): ...                    # raised inside the handler
class ResultError(QueueKitError): ...
class JobFailed(ResultError):
    error: JobError
class JobCancelled(ResultError): ...
class ResultGone(ResultError): ...                     # finished, but no longer kept
class ResultTimeout(ResultError, TimeoutError): ...
class WouldDeadlock(ResultError): ...
