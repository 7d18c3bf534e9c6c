"""`JobProcessor`: jobs at a time, by an id of one's own, with status, list, health and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Any, overload

from queuekit import ConfigError, InvalidOption, QueueKit, Task
from queuekit.compat.agenda import reading, repeating, scheduling
from queuekit.compat.agenda.border import When, before_label, interval_ms
from queuekit.compat.agenda.draft import Draft
from queuekit.compat.agenda.reading import JobList, JobStatus, QueueHealth
from queuekit.compat.agenda.repeating import Interval, Options, Types
from queuekit.compat.current import current
from queuekit.compat.door import Awaiting, Blocking
from queuekit.domain import names
from queuekit.domain.duration import Duration, parse_duration
from queuekit.recipes import Booking, EmailNotification, PaymentReminder
from queuekit.store.direct import direct

if TYPE_CHECKING:
    from queuekit import Worker


class JobProcessor:
    """The facade over one queue of a kit. Making one asks nothing; every verb has a twin with an "a" in front.

    `reminders` are how long before a booking its reminders go out, `payment_notice` how long before a payment is due.
    Agenda's tuning: a worker takes `max_concurrency` jobs at once over all types, `default_concurrency` of one type;
    a `lock_limit` or `default_lock_limit` above 0 bounds the same, since here a worker holds no job that it does not
    run. `process_every` is how late a job may be found: it asks for nothing, since nothing is polled.
    """

    def __init__(
        self,
        queue: str = "jobs",
        *,
        kit: QueueKit | None = None,
        reminders: Sequence[Duration] = ("24h", "1h", "15m"),
        payment_notice: Duration = "24h",
        max_concurrency: int = 20,
        default_concurrency: int = 5,
        process_every: int | str | timedelta = "5 seconds",
        lock_limit: int = 0,
        default_lock_limit: int = 0,
    ) -> None:
        self.queue = names.queue_name(queue)
        self.max_concurrency = _least("max_concurrency", max_concurrency, "lock_limit", lock_limit)
        self.default_concurrency = _least(
            "default_concurrency", default_concurrency, "default_lock_limit", default_lock_limit
        )
        self.process_every = timedelta(milliseconds=interval_ms(process_every))
        self._reminders = {before_label(ms): ms for ms in sorted(map(parse_duration, reminders), reverse=True)}
        self._notice = parse_duration(payment_notice)
        self._kit = kit
        self._worker: Worker | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def kit(self) -> QueueKit:
        """The kit it works through."""
        return self._kit or current()

    # ------------------------------------------------------------ scheduling
    def schedule_job(self, id: str | None, when: When, type: str, data: Any = None, *, priority: Any = None) -> str:
        """A job of a type at a time, under an id of your own (None: a new one); its id.

        The same id again is the same job, and what stands is kept: cancel it first, then the id is free. `when` is an
        aware datetime, a timedelta, "in 5 minutes" or None for now; `priority` is "low", "normal", "high" … or
        Agenda's number, the higher first. Raises PayloadError where the data does not fit one of the six types.
        """
        return direct(scheduling.schedule(self._blocking, self.queue, id, when, type, data, priority)).id

    async def aschedule_job(
        self, id: str | None, when: When, type: str, data: Any = None, *, priority: Any = None
    ) -> str:
        """See `schedule_job`."""
        return (await scheduling.schedule(self._awaiting, self.queue, id, when, type, data, priority)).id

    def schedule_email_notification(
        self, email: EmailNotification | Mapping[str, Any], when: When = None, *, id: str | None = None
    ) -> str:
        """A mail at a time: to, subject, template, data, and a priority if you like; the job's id."""
        return direct(scheduling.email(self._blocking, self.queue, id, when, email)).id

    async def aschedule_email_notification(
        self, email: EmailNotification | Mapping[str, Any], when: When = None, *, id: str | None = None
    ) -> str:
        """See `schedule_email_notification`."""
        return (await scheduling.email(self._awaiting, self.queue, id, when, email)).id

    def schedule_booking_reminders(self, booking: Booking | Mapping[str, Any]) -> list[str]:
        """Its reminders, 24 h, 1 h and 15 min before unless told else; the ids of those whose time has not passed.

        The ids hold the booking's id and date: called again for the same booking it makes nothing twice.
        """
        return [
            handle.id for handle in direct(scheduling.reminders(self._blocking, self.queue, self._reminders, booking))
        ]

    async def aschedule_booking_reminders(self, booking: Booking | Mapping[str, Any]) -> list[str]:
        """See `schedule_booking_reminders`."""
        return [
            handle.id for handle in await scheduling.reminders(self._awaiting, self.queue, self._reminders, booking)
        ]

    def cancel_booking_reminders(self, booking: Booking | Mapping[str, Any]) -> int:
        """Cancel what is left of a booking's reminders, all together; how many."""
        return direct(scheduling.cancel(self._blocking, self.queue, self._reminders, booking))

    async def acancel_booking_reminders(self, booking: Booking | Mapping[str, Any]) -> int:
        """See `cancel_booking_reminders`."""
        return await scheduling.cancel(self._awaiting, self.queue, self._reminders, booking)

    def reschedule_booking_reminders(
        self, before: Booking | Mapping[str, Any], after: Booking | Mapping[str, Any]
    ) -> list[str]:
        """A booking has changed: reminders of the new one first, then those of the old one are cancelled; the ids."""
        return [
            handle.id
            for handle in direct(scheduling.change(self._blocking, self.queue, self._reminders, before, after))
        ]

    async def areschedule_booking_reminders(
        self, before: Booking | Mapping[str, Any], after: Booking | Mapping[str, Any]
    ) -> list[str]:
        """See `reschedule_booking_reminders`."""
        return [
            handle.id for handle in await scheduling.change(self._awaiting, self.queue, self._reminders, before, after)
        ]

    def schedule_payment_reminders(self, payment: PaymentReminder | Mapping[str, Any]) -> str:
        """The reminder of a payment, 24 h before it is due unless told else, at once where that has passed; its id."""
        return direct(scheduling.payment(self._blocking, self.queue, self._notice, payment)).id

    async def aschedule_payment_reminders(self, payment: PaymentReminder | Mapping[str, Any]) -> str:
        """See `schedule_payment_reminders`."""
        return (await scheduling.payment(self._awaiting, self.queue, self._notice, payment)).id

    # ------------------------------------------------------------ again and again
    @overload
    def every(self, interval: Interval, type: str, data: Any = None, options: Options = None) -> str: ...
    @overload
    def every(self, interval: Interval, type: Types, data: Any = None, options: Options = None) -> list[str]: ...
    def every(
        self, interval: Interval, type: str | Types, data: Any = None, options: Options = None
    ) -> str | list[str]:
        """Jobs of a type again and again: "3 minutes", milliseconds, a timedelta or cron; the schedule's id, the type.

        Said again it is the same schedule, with what was said last. An interval runs once at once the first time, as
        in Agenda, unless `options` say {"skipImmediate": True}; a job of it never runs beside another. `options` are
        timezone, skipImmediate, startDate, endDate and priority. Raises InvalidOption, PayloadError.
        """
        return direct(repeating.every(self._blocking, self.queue, interval, type, data, options))

    @overload
    async def aevery(self, interval: Interval, type: str, data: Any = None, options: Options = None) -> str: ...
    @overload
    async def aevery(self, interval: Interval, type: Types, data: Any = None, options: Options = None) -> list[str]: ...
    async def aevery(
        self, interval: Interval, type: str | Types, data: Any = None, options: Options = None
    ) -> str | list[str]:
        """See `every`."""
        return await repeating.every(self._awaiting, self.queue, interval, type, data, options)

    def create(self, type: str, data: Any = None) -> Draft:
        """A job to be said in a chain: `create("report").repeat_every("1 day").priority("high").save()`."""
        return Draft(self, type, data)

    def disable(self, type: str) -> bool:
        """Let what `every` said of a type rest; whether there is such a schedule."""
        return direct(repeating.switch(self._blocking, self.queue, type, on=False))

    async def adisable(self, type: str) -> bool:
        """See `disable`."""
        return await repeating.switch(self._awaiting, self.queue, type, on=False)

    def enable(self, type: str) -> bool:
        """Let it go on with the next moment to come; whether there is such a schedule."""
        return direct(repeating.switch(self._blocking, self.queue, type, on=True))

    async def aenable(self, type: str) -> bool:
        """See `enable`."""
        return await repeating.switch(self._awaiting, self.queue, type, on=True)

    def cancel_every(self, type: str) -> bool:
        """Take back what `every` said of a type; jobs it has made stay. Whether there was such a schedule."""
        return direct(repeating.cancel(self._blocking, self.queue, type))

    async def acancel_every(self, type: str) -> bool:
        """See `cancel_every`."""
        return await repeating.cancel(self._awaiting, self.queue, type)

    # ------------------------------------------------------------ looking
    def get_job_status(self, id: str) -> JobStatus:
        """How a job stands; `exists` False for one that is not there. Raises StoreUnavailable: it never guesses."""
        return reading.status_of(id, self.kit.job(id, queue=self.queue).get())

    async def aget_job_status(self, id: str) -> JobStatus:
        """See `get_job_status`."""
        return reading.status_of(id, await self.kit.job(id, queue=self.queue).aget())

    def cancel_job(self, id: str) -> bool:
        """Cancel a job that does not run, ask one that does to stop; False where there is nothing to cancel."""
        return self.kit.job(id, queue=self.queue).cancel()

    async def acancel_job(self, id: str) -> bool:
        """See `cancel_job`."""
        return await self.kit.job(id, queue=self.queue).acancel()

    def list_jobs(
        self, status: str | None = None, type: str | None = None, *, limit: int = 100, offset: int = 0
    ) -> JobList:
        """Jobs and how many there are. All before `offset` is read, so that going through everything costs its square.

        With a `type` the total is counted by reading, up to 10,000; then `exact` is False.
        """
        return direct(reading.listing(self._blocking, self.queue, status=status, type=type, limit=limit, offset=offset))

    async def alist_jobs(
        self, status: str | None = None, type: str | None = None, *, limit: int = 100, offset: int = 0
    ) -> JobList:
        """See `list_jobs`."""
        return await reading.listing(self._awaiting, self.queue, status=status, type=type, limit=limit, offset=offset)

    def get_queue_health(self) -> QueueHealth:
        """Whether the store answers, and how many jobs there are. Never raises."""
        return direct(reading.health(self._blocking, self.queue))

    async def aget_queue_health(self) -> QueueHealth:
        """See `get_queue_health`."""
        return await reading.health(self._awaiting, self.queue)

    # ------------------------------------------------------------ running
    @overload
    def define(self, type: str, /, **options: Any) -> Callable[[Callable[..., Any]], Task[..., Any]]: ...
    @overload
    def define(self, type: str, fn: Callable[..., Any], /, **options: Any) -> Task[..., Any]: ...
    def define(self, type: str, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """The handler of a type, a task of the kit on this queue; a decorator without `fn`. `options` are a task's.

        It takes the type's payload (`queuekit.recipes`) or named arguments, behind a JobContext if it wants one. At
        most `concurrency` of them (`default_concurrency`) run at once in a worker. Raises InvalidOption, DuplicateTask.
        """
        if fn is None:
            return lambda fn: self.define(type, fn, **options)
        declared = self.kit.tasks().get(type)
        if declared is not None and declared.definition.fn is None:
            return self._handle(declared, fn, options)
        options.setdefault("concurrency", self.default_concurrency)
        return self.kit.task(type, queue=self.queue, **options)(fn)

    def setup_job_processors(self, handlers: Mapping[str, Callable[..., Any]]) -> None:
        """Define handlers by type; called again with the same ones it does nothing. Starts nothing: `run()`,
        `start()` or `queuekit worker` do.
        """
        for name, fn in handlers.items():
            known = self.kit.definition(name)
            if known is None or known.fn is not fn:
                self.define(name, fn)

    def worker(self, **options: Any) -> Worker:
        """A worker of this queue: `worker().run()` in a process of its own, `async with worker()` in a loop."""
        return self.kit.worker(**{"queues": [self.queue], "concurrency": self.max_concurrency, **options})

    def run(self, **options: Any) -> int:
        """Run jobs until TERM or Ctrl-C, which let running ones end; the exit code."""
        return self.worker(**options).run()

    async def start(self, **options: Any) -> None:
        """Run jobs inside this event loop until `ashutdown()`: from an application's start, once its database is up."""
        if self._worker is not None:
            raise ConfigError(f"the jobs of queue {self.queue!r} are being run in this process already")
        self._worker, self._loop = self.worker(**options), asyncio.get_running_loop()
        try:
            await self._worker.__aenter__()
        except BaseException:
            self._worker = None
            raise

    async def ashutdown(self) -> None:
        """Let running jobs end, within the worker's grace, and close the store. Harmless if nothing was started."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.__aexit__(None, None, None)
        await self.kit.aclose()

    def shutdown(self) -> None:
        """See `ashutdown`. Raises ConfigError on the loop that runs the jobs: there it is awaited."""
        if self._worker is not None and self._loop is not None and self._loop.is_running():
            if self._loop is _running_loop():
                raise ConfigError("shutdown() would stop the loop it waits for: await ashutdown() here")
            asyncio.run_coroutine_threadsafe(self.ashutdown(), self._loop).result()
        self._worker = None
        self.kit.close()

    def graceful_shutdown(self, signal: int | None = None, frame: FrameType | None = None) -> None:
        """A signal handler: `signal.signal(signal.SIGTERM, graceful_shutdown)`. On the loop that runs the jobs it only
        begins, and `ashutdown()` waits. (`run()` and `queuekit worker` mind signals by themselves.)
        """
        if self._worker is not None and self._loop is not None and self._loop is _running_loop():
            self._loop.call_soon_threadsafe(self._worker.ask_stop)
        else:
            self.shutdown()

    def _handle(self, declared: Task[..., Any], fn: Callable[..., Any], options: dict[str, Any]) -> Task[..., Any]:
        """The handler of a type that was declared elsewhere, with its options."""
        most = options.pop("concurrency", declared.definition.concurrency or self.default_concurrency)
        if options:
            raise InvalidOption(f"{declared.name!r} is declared already: say {', '.join(options)} where it is declared")
        declared.definition.concurrency = _least("concurrency", most)
        return declared.handler(fn)

    @property
    def _blocking(self) -> Blocking:
        return Blocking(self.kit)

    @property
    def _awaiting(self) -> Awaiting:
        return Awaiting(self.kit)


def _least(name: str, most: int, limit_name: str = "", limit: int = 0) -> int:
    """The smaller of a number of jobs and a limit; 0 is no limit. Raises InvalidOption."""
    reading.whole(name, most, 1)
    reading.whole(limit_name, limit, 0)
    return min(most, limit) if limit else most


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
