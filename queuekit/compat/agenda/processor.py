"""`JobProcessor`: jobs at a time, by an id of one's own, with status, list, health and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, overload

from queuekit import ConfigError, QueueKit, Task, Unsupported
from queuekit.compat.agenda import reading, scheduling
from queuekit.compat.agenda.border import When, before_label
from queuekit.compat.agenda.door import Awaiting, Blocking
from queuekit.compat.agenda.reading import JobList, JobStatus, QueueHealth
from queuekit.compat.current import current
from queuekit.domain import names
from queuekit.domain.duration import Duration, parse_duration
from queuekit.recipes import Booking, EmailNotification, PaymentReminder
from queuekit.store.direct import direct

if TYPE_CHECKING:
    from queuekit import Worker

_LATER = "{} schedules come with queuekit 0.2; until then let the job schedule the next one when it ends"


class JobProcessor:
    """The facade over one queue of a kit. Making one asks nothing; every verb has a twin with an "a" in front.

    `reminders` are how long before a booking its reminders go out, `payment_notice` how long before a payment is due.
    A worker of it takes `max_concurrency` jobs at once, of one type `default_concurrency`, as Agenda's tuning has it.
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
        process_every: object = None,
    ) -> None:
        if process_every is not None:
            raise Unsupported("process_every: leave it out. Nothing is polled here: a job starts when it is due")
        self.queue = names.queue_name(queue)
        self.max_concurrency = max_concurrency
        self.default_concurrency = default_concurrency
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

    def every(self, interval: object, type: str, data: Any = None) -> str:
        """Again and again. Raises Unsupported: schedules come with queuekit 0.2."""
        raise Unsupported(_LATER.format(f"every({interval!r}, {type!r}):"))

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

        It takes the type's payload (`queuekit.recipes`) or named arguments, behind a JobContext if it wants one.
        """
        if fn is None:
            return lambda fn: self.define(type, fn, **options)
        declared = self.kit.tasks().get(type)
        if declared is not None and declared.definition.fn is None:
            return declared.handler(fn)
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

    @property
    def _blocking(self) -> Blocking:
        return Blocking(self.kit)

    @property
    def _awaiting(self) -> Awaiting:
        return Awaiting(self.kit)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
