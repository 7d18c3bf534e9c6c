"""`Job`: a job as Bull's callers and processors see it, over a handle, a snapshot and, while it runs, its context."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar, cast

from queuekit import JSON, InvalidOption, JobContext, JobHandle, State
from queuekit import Job as Snapshot

T = TypeVar("T")
_ENDED_BY_A_RUN = (State.COMPLETED, State.FAILED)
_MS = timedelta(milliseconds=1)


class Job(Generic[T]):
    """Times are milliseconds, as in Bull; progress is 0 to 100. What a job became is as it was read: `refresh()`.

    Every verb that asks the store has a twin with an "a" in front. `update_progress` and `log` are plain calls.
    """

    def __init__(
        self,
        handle: JobHandle[Any],
        name: str,
        data: T,
        *,
        opts: Mapping[str, Any] | None = None,
        seen: Snapshot | None = None,
        ctx: JobContext | None = None,
        added: int | None = None,
    ) -> None:
        self.id = handle.id
        self.name = name
        self.data = data
        self.queue_name = handle.queue
        self.handle = handle  # the job through the public API
        self._opts = opts
        self._seen = seen
        self._ctx = ctx
        self._added = added  # ms: when it was handed over here

    @classmethod
    def seen(cls, handle: JobHandle[Any], seen: Snapshot, ctx: JobContext | None = None) -> Job[Any]:
        """A job as it was read, or as it was claimed."""
        return Job(handle, seen.task, seen.payload, seen=seen, ctx=ctx)

    # ------------------------------------------------------------ what is known of it
    @property
    def created(self) -> bool | None:
        """Whether this `add` wrote it; False: a job with its id existed, and stands as it was."""
        return self.handle.created

    @property
    def opts(self) -> dict[str, Any]:
        """The options as given to `add`; of a job that was read, those that can be read back."""
        if self._opts is not None:
            return dict(self._opts)
        if self._seen is None:
            return {}
        known = {"attempts": self._seen.attempts} if self._seen.attempts_known else {}
        return {**known, "priority": self._seen.priority, "delay": self.delay, "job_id": self.id}

    @property
    def timestamp(self) -> int | None:
        """When it was added, by the store's clock; by this host's as long as it was not read."""
        if self._seen is None:
            return None if self.created is False else self._added
        return cast("int", _ms(self._seen.created_at))

    @property
    def delay(self) -> int:
        """How long after it was added it is or was due."""
        if self._seen is None:
            return int((self._opts or {}).get("delay") or 0)
        due = self._seen.run_at
        return 0 if due is None else max(0, round((due - self._seen.created_at) / _MS))

    @property
    def priority(self) -> int | None:
        """Lower runs first."""
        return None if self._seen is None else self._seen.priority

    @property
    def processed_on(self) -> int | None:
        """When its last run began."""
        return None if self._seen is None else _ms(self._seen.started_at)

    @property
    def finished_on(self) -> int | None:
        """When it ended."""
        return None if self._seen is None else _ms(self._seen.finished_at)

    @property
    def attempts_made(self) -> int:
        """Runs that are over: 0 in the first run, as in BullMQ 5."""
        if self._seen is None:
            return 0
        return self._seen.attempt if self._seen.state in _ENDED_BY_A_RUN else self._seen.attempt - 1

    @property
    def stalled_counter(self) -> int:
        """Runs that ended with a dead worker."""
        return 0 if self._seen is None else self._seen.crashes

    @property
    def progress(self) -> JSON:
        """0 to 100, or the object given to `update_progress`."""
        return _progress(None if self._seen is None else self._seen.progress)

    @property
    def returnvalue(self) -> JSON:
        """What its processor returned."""
        return None if self._seen is None else self._seen.result

    @property
    def failed_reason(self) -> str | None:
        """The message of its last error, or why it failed without one ("crash_loop")."""
        if self._seen is None:
            return None
        if self._seen.errors:
            return self._seen.errors[-1].message
        return self._seen.reason if self._seen.state is State.FAILED else None

    @property
    def stacktrace(self) -> list[str]:
        """The tracebacks of its last 20 failed runs, oldest first."""
        return [] if self._seen is None else [error.traceback for error in self._seen.errors]

    @property
    def token(self) -> str | None:
        """Of this run; equal for one claim, never for two."""
        return None if self._ctx is None else self._ctx.token

    def to_json(self) -> dict[str, Any]:
        """JSON types only, with Bull's names in snake_case."""
        names = (
            "id", "name", "queue_name", "data", "opts", "progress", "delay", "timestamp", "attempts_made",
            "failed_reason", "stacktrace", "returnvalue", "finished_on", "processed_on",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    # ------------------------------------------------------------ inside its processor
    def update_progress(self, progress: float | Mapping[str, JSON]) -> None:
        """Say how far it is: 0 to 100, or an object. Sent with the next renewal of the lease, at most one a second."""
        ctx = self._running("update_progress")
        if isinstance(progress, Mapping):
            ctx.progress(0, data=dict(progress))
        else:
            ctx.progress(progress / 100)

    def log(self, line: str) -> None:
        """Keep a line with the job; the last 1,000 are kept."""
        self._running("log").log(line)

    def _running(self, verb: str) -> JobContext:
        if self._ctx is None:
            raise InvalidOption(f"{verb} of job {self.handle.ref}: only its processor may, while it runs")
        return self._ctx

    # ------------------------------------------------------------ asking and changing
    def refresh(self) -> bool:
        """Read it again; False where there is no such job any more."""
        return self._read(self.handle.get())

    async def arefresh(self) -> bool:
        """See `refresh`."""
        return self._read(await self.handle.aget())

    def get_state(self) -> str:
        """The state; "unknown" where there is no such job."""
        return str(self.handle.status())

    async def aget_state(self) -> str:
        """See `get_state`."""
        return str(await self.handle.astatus())

    def remove(self) -> bool:
        """Delete it; False while it runs, or where there is none."""
        return self.handle.delete()

    async def aremove(self) -> bool:
        """See `remove`."""
        return await self.handle.adelete()

    def retry(self) -> bool:
        """Run an ended job again, with all its attempts."""
        return self.handle.retry()

    async def aretry(self) -> bool:
        """See `retry`."""
        return await self.handle.aretry()

    def promote(self) -> bool:
        """Let a delayed job run now."""
        return self.handle.promote()

    async def apromote(self) -> bool:
        """See `promote`."""
        return await self.handle.apromote()

    def change_delay(self, delay: float) -> bool:
        """Let a job that does not run yet be due in so many ms, from now."""
        return self.handle.reschedule(delay=max(0.0, delay / 1000))

    async def achange_delay(self, delay: float) -> bool:
        """See `change_delay`."""
        return await self.handle.areschedule(delay=max(0.0, delay / 1000))

    def update_data(self, data: T) -> bool:
        """Give a job that does not run yet other data."""
        return self._updated(data, self.handle.replace(data))

    async def aupdate_data(self, data: T) -> bool:
        """See `update_data`."""
        return self._updated(data, await self.handle.areplace(data))

    def wait_until_finished(self, ttl: float | None = None) -> JSON:
        """What its processor returned, once it did; `ttl` in ms. Raises JobFailed, JobCancelled, ResultTimeout …"""
        return cast("JSON", self.handle.result(None if ttl is None else ttl / 1000))

    async def await_until_finished(self, ttl: float | None = None) -> JSON:
        """See `wait_until_finished`."""
        return cast("JSON", await self.handle.aresult(None if ttl is None else ttl / 1000))

    def __repr__(self) -> str:
        return f"<Job {self.name!r} {self.handle.ref}>"

    def _read(self, found: Snapshot | None) -> bool:
        if found is not None:
            self._seen, self.data, self._opts = found, cast("T", found.payload), None
        return found is not None

    def _updated(self, data: T, done: bool) -> bool:
        if done:
            self.data = data
        return done


JobProcessor: TypeAlias = Callable[[Job[T]], Awaitable[object] | object]
"""What `create_worker` takes: `JobProcessor[OrderData]` is a function of `Job[OrderData]`, plain or a coroutine."""


def _ms(moment: datetime | None) -> Any:
    return None if moment is None else round(moment.timestamp() * 1000)


def _progress(said: JSON) -> JSON:
    if not isinstance(said, Mapping):
        return 0
    if "data" in said:
        return said["data"]
    value = said.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    percent = round(value * 100, 6)
    return int(percent) if percent == int(percent) else percent
