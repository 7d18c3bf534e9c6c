"""`JobHandle`: where a job is, and what may be done to it. Each operation is written once, for both ways."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from queuekit import clock
from queuekit.context import current_job
from queuekit.domain import names
from queuekit.domain.duration import Duration, parse_duration
from queuekit.domain.events import Job, JobFact, Status
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Change, Changed, No, Verb
from queuekit.domain.readers import moment
from queuekit.domain.redact import redact
from queuekit.domain.state import TERMINAL, State
from queuekit.domain.values import Priority, to_priority
from queuekit.errors import (
    ConfigError,
    Conflict,
    InvalidOption,
    JobCancelled,
    JobError,
    JobFailed,
    JobNotFound,
    ResultGone,
    ResultTimeout,
    StoreError,
    Unsupported,
    WouldDeadlock,
)
from queuekit.producing import seeking
from queuekit.producing.access import Access, Entry
from queuekit.producing.payload import encode_object
from queuekit.producing.snapshot import error_from, value_of

if TYPE_CHECKING:
    from queuekit.kit import QueueKit
    from queuekit.producing.newjob import Later

R = TypeVar("R")
_log = logging.getLogger("queuekit")
WATCH = 5000  # ms of one store call that waits; a wait is made of as many as it takes
KITS: weakref.WeakValueDictionary[str, QueueKit] = weakref.WeakValueDictionary()  # by name, for unpickled handles


@dataclass(frozen=True)
class JobHandle(Generic[R]):
    """Where a job is. Small, picklable; `ref` ("queue/id") is what to keep in your own tables.

    Every verb has a twin with an "a" in front, with the same arguments and the same result. Verbs answer True where
    the job was changed, False where its state forbids it or it is not there; they raise StoreUnavailable, and Conflict
    where a bare id is known to two queues. An unpickled handle works in a process that made a kit of the same name.
    """

    id: str
    queue: str  # "" of a bare id: then all known queues are asked, at a cost of O(queues)
    ref: str
    created: bool | None = field(
        compare=False
    )  # False: id or unique key existed. None: not written (a transaction is open, or was rolled back), or not by it
    _kit: QueueKit | str = field(default="default", compare=False, repr=False)
    _typed: bool = field(default=False, compare=False, repr=False)
    _later: Callable[[], Later | None] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, kit: QueueKit, queue: str, id: str, created: bool | None, *, typed: bool) -> JobHandle[Any]:
        """A handle that works through `kit`; twice as fast as the constructor of a frozen dataclass."""
        handle = object.__new__(cls)
        handle.__dict__.update(id=id, queue=queue, ref=f"{queue}/{id}", created=created, _kit=kit, _typed=typed)
        return handle

    def __getstate__(self) -> dict[str, object]:
        kit = self._kit if isinstance(self._kit, str) else self._kit.name
        return {**self.__dict__, "_kit": kit, "_later": None}

    # ------------------------------------------------------------ looking
    def status(self) -> Status:
        """The state; "uncommitted" while it waits for a transaction of the application; "unknown": it never was (that
        was rolled back), or is no longer kept. Never raises for a job that is not there.
        """
        return "uncommitted" if self._uncommitted() else self._home().run(self._status)

    async def astatus(self) -> Status:
        """See `status`."""
        return "uncommitted" if self._uncommitted() else await self._home().arun(self._status)

    def get(self) -> Job | None:
        """A snapshot; None where there is no such job."""
        return self._home().run(self._get)

    async def aget(self) -> Job | None:
        """See `get`."""
        return await self._home().arun(self._get)

    def result(self, timeout: Duration | None = None) -> R:
        """Wait for the end and return what the handler returned, as its return annotation says.

        Waits by notification; while it waits the job is kept at least a minute after its end. Raises JobFailed (with
        the last error as text), JobCancelled, ResultGone (ended, no longer kept), ResultTimeout (it goes on),
        JobNotFound; and WouldDeadlock inside a running job, or inside the transaction that must end before it is there.
        """
        self._may_wait(timeout, blocks=True)
        return cast("R", self._home().run(lambda at: self._result(at, timeout)))

    async def aresult(self, timeout: Duration | None = None) -> R:
        """See `result`. Inside a job it needs a timeout, else WouldDeadlock."""
        self._may_wait(timeout, blocks=False)
        return cast("R", await self._home().arun(lambda at: self._result(at, timeout)))

    # ------------------------------------------------------------ acting
    def cancel(self, reason: str = "", *, kill_after: Duration | None = None) -> bool:
        """Cancel: at once where it does not run, else its handler is asked to stop. True: done or asked.

        `kill_after` ends a handler that does not stop, in its own process; raises Unsupported until queuekit 0.2.
        """
        return self._home().run(lambda at: self._cancel(at, reason, kill_after))

    async def acancel(self, reason: str = "", *, kill_after: Duration | None = None) -> bool:
        """See `cancel`."""
        return await self._home().arun(lambda at: self._cancel(at, reason, kill_after))

    def retry(self) -> bool:
        """Run an ended job again, at the back, with all its attempts; reopen a parked one. The errors are kept.

        False where it has not ended, or another job holds its unique key by now.
        """
        return self._home().run(lambda at: self._do(at, Verb.RETRY))

    async def aretry(self) -> bool:
        """See `retry`."""
        return await self._home().arun(lambda at: self._do(at, Verb.RETRY))

    def promote(self) -> bool:
        """Let a delayed job run now."""
        return self._home().run(lambda at: self._do(at, Verb.PROMOTE))

    async def apromote(self) -> bool:
        """See `promote`."""
        return await self._home().arun(lambda at: self._do(at, Verb.PROMOTE))

    def reschedule(
        self,
        *,
        run_at: datetime | None = None,
        delay: Duration | None = None,
        priority: int | Priority | str | None = None,
    ) -> bool:
        """Give a waiting or delayed job another time (aware moment, or from now) or priority; it goes to the back."""
        given = _reschedule(run_at, delay, priority)
        return self._home().run(lambda at: self._do(at, Verb.RESCHEDULE, **given))

    async def areschedule(
        self,
        *,
        run_at: datetime | None = None,
        delay: Duration | None = None,
        priority: int | Priority | str | None = None,
    ) -> bool:
        """See `reschedule`."""
        given = _reschedule(run_at, delay, priority)
        return await self._home().arun(lambda at: self._do(at, Verb.RESCHEDULE, **given))

    def replace(self, payload: object) -> bool:
        """Give a job that does not run yet another payload, checked as at enqueue where this process knows its task.

        Raises PayloadError.
        """
        return self._home().run(lambda at: self._replace(at, payload))

    async def areplace(self, payload: object) -> bool:
        """See `replace`."""
        return await self._home().arun(lambda at: self._replace(at, payload))

    def delete(self) -> bool:
        """Remove a job that does not run. False while it runs: cancel it first."""
        return self._home().run(lambda at: self._do(at, Verb.DELETE))

    async def adelete(self) -> bool:
        """See `delete`."""
        return await self._home().arun(lambda at: self._do(at, Verb.DELETE))

    # ------------------------------------------------------------ once for both
    async def _status(self, at: Entry) -> Status:
        record = await self._record(at)
        return "unknown" if record is None else record.state

    async def _get(self, at: Entry) -> Job | None:
        record = await self._record(at)
        return None if record is None else self._home().snapshot(record)

    async def _record(self, at: Entry) -> JobRecord | None:
        access = self._home().access
        if not self.queue:
            return await locate(access, at, self.id)
        return await seeking.record(access, at, self.queue, self.id)

    async def _result(self, at: Entry, timeout: Duration | None) -> object:
        queue = await self._queue(at)
        if queue is None:
            raise JobNotFound(f"no job {self.id!r} in any queue")
        deadline = None if timeout is None else clock.monotonic() + parse_duration(timeout) / 1000
        seen = self.created is not None
        while True:
            left = WATCH if deadline is None else max(0, min(WATCH, round((deadline - clock.monotonic()) * 1000)))
            record = await seeking.watch(self._home().access, at, queue, self.id, left)
            if record is None:
                if seen:
                    raise ResultGone(f"job {self.ref} is no longer kept: raise keep_completed, or wait before it ends")
                raise JobNotFound(f"no job {self.ref}: it never was, or is no longer kept")
            if record.state in TERMINAL:
                return self._ended(record)
            seen = True
            if deadline is not None and clock.monotonic() >= deadline:
                raise ResultTimeout(f"job {self.ref} is {record.state.value} after {timeout}; it goes on")

    def _ended(self, record: JobRecord) -> object:
        if record.state is State.COMPLETED:
            if record.result is None:
                return None
            definition = self._home().definition(record.task) if self._typed else None
            return value_of(record.result) if definition is None else definition.decode_result(record.result)
        if record.state is State.CANCELLED:
            raise JobCancelled(f"job {self.ref} was cancelled" + (f": {record.reason}" if record.reason else ""))
        error = error_from(record.errors[-1]) if record.errors else _without_error(record)
        raise JobFailed(f"job {self.ref} failed in run {error.attempt}: {error.type}: {error.message}", error=error)

    async def _cancel(self, at: Entry, reason: str, kill_after: Duration | None) -> bool:
        if kill_after is not None:
            raise Unsupported("kill_after needs the process executor, which comes with queuekit 0.2")
        changed = await self._change(at, Verb.CANCEL, reason=reason)
        if changed.ok and changed.state is State.CANCELLED and self._home().hooks.wants("cancelled"):
            try:
                job = await self._get(at)
            except StoreError as error:  # the cancel itself is done, and must not look undone
                _log.warning("hooks were not told that job %s was cancelled: %s", self.ref, redact(str(error)))
                return True
            fact = JobFact(event="cancelled", at=clock.now(), queue=self.queue or (job.queue if job else ""), job=job)
            self._home().hooks.emit("cancelled", fact)
        return changed.ok

    async def _replace(self, at: Entry, payload: object) -> bool:
        record = await self._record(at)
        if record is None:
            return False
        definition = self._home().definition(record.task)
        body = encode_object(payload) if definition is None else definition.encode_payload(payload)
        return await self._do(at, Verb.REPLACE, body=body)

    async def _do(self, at: Entry, verb: Verb, **given: Any) -> bool:
        return (await self._change(at, verb, **given)).ok

    async def _change(self, at: Entry, verb: Verb, **given: Any) -> Changed:
        queue = await self._queue(at)
        if queue is None:
            return Changed(id=self.id, ok=False, no=No.GONE)
        return await seeking.change(self._home().access, at, queue, Change(id=self.id, verb=verb, **given))

    async def _queue(self, at: Entry) -> str | None:
        if self.queue:
            return self.queue
        record = await locate(self._home().access, at, self.id)
        return None if record is None else record.queue

    def _home(self) -> QueueKit:
        if not isinstance(self._kit, str):
            return self._kit
        kit = KITS.get(self._kit)
        if kit is None:
            raise ConfigError(f"this process has no QueueKit named {self._kit!r}: import the module that makes it")
        return kit

    def _uncommitted(self) -> bool:
        later = None if self._later is None else self._later()
        return later is not None and later.waits

    def _may_wait(self, timeout: Duration | None, *, blocks: bool) -> None:
        if self._uncommitted():
            raise WouldDeadlock(f"job {self.ref} is written when its transaction commits: wait for it after that")
        ctx = current_job()
        if ctx is None or ctx.slot == "local" or (not blocks and ctx.slot == "async" and timeout is not None):
            return
        what = "await aresult(timeout=…)" if ctx.slot == "async" else "enqueue what follows from the other job's end"
        raise WouldDeadlock(f"waiting for {self.ref} inside job {ctx.job.ref} holds the slot it may need: {what}")


async def locate(access: Access, at: Entry, id: str) -> JobRecord | None:
    """The job of a bare id. Raises Conflict where two queues have it. *Cost* O(queues)."""
    found = await seeking.locate(access, at, id)
    if len(found) > 1:
        queues = ", ".join(record.queue for record in found)
        raise Conflict(f"job {id!r} is in the queues {queues}: say which, as queue/id")
    return found[0] if found else None


def reference(id: str, queue: str | None) -> tuple[str, str]:
    """(queue or "", id) of "queue/id", or of an id and a queue. Raises InvalidName, InvalidOption."""
    named, job = names.reference(id)
    if named is not None and queue is not None and named != queue:
        raise InvalidOption(f"job {id!r} names queue {named!r}, not {queue!r}")
    return (names.queue_name(queue) if queue is not None else named) or "", job


def _reschedule(
    run_at: datetime | None, delay: Duration | None, priority: int | Priority | str | None
) -> Mapping[str, Any]:
    if run_at is not None and delay is not None:
        raise InvalidOption("run_at and delay say the same thing twice: give one of them")
    if run_at is None and delay is None and priority is None:
        raise InvalidOption("reschedule takes run_at, delay or priority")
    return {
        "run_at": None if run_at is None else moment(run_at),
        "delay": None if delay is None else parse_duration(delay),
        "priority": None if priority is None else to_priority(priority),
    }


def _without_error(record: JobRecord) -> JobError:
    """A job that failed without a run that could say why: its workers died."""
    reason = record.reason or "failed"
    said = f"{record.crashes} runs ended with a dead worker" if reason == "crash_loop" else reason
    return JobError(
        type=reason, message=said, traceback="", attempt=record.attempt, worker=record.worker or "",
        at=clock.to_datetime(record.ended_at or 0),
    )  # fmt: skip
