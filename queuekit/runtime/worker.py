"""The worker: puts the agents of one process together, starts them, and ends them in order. No rule of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Self

from queuekit import clock, ids
from queuekit.domain.duration import Duration, parse_duration
from queuekit.domain.redact import redact
from queuekit.runtime.agent import end
from queuekit.runtime.allowance import Allowance
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.burst import Burst
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.consumer import Consumer
from queuekit.runtime.declare import declare
from queuekit.runtime.executors import Threads
from queuekit.runtime.lease_keeper import LeaseKeeper
from queuekit.runtime.listener import Listener
from queuekit.runtime.patience import Patience, Stopped
from queuekit.runtime.plan import Plan, QueuePlan, plan
from queuekit.runtime.pruner import Pruner
from queuekit.runtime.pulse import Lag, Pulse, new_beat
from queuekit.runtime.recoverer import Recoverer
from queuekit.runtime.runner import Runner
from queuekit.runtime.scheduler import Scheduling, catch_up
from queuekit.runtime.source import Source
from queuekit.runtime.tuner import Tuner

if TYPE_CHECKING:
    from queuekit.domain.limits import QueueConf
    from queuekit.domain.outcome import Outcome
    from queuekit.kit import QueueKit
    from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.worker")
GAVE_BACK = 75  # exit code: jobs were given back at the deadline (EX_TEMPFAIL)
MISCONFIGURED = 78  # exit code: starting it again would not help (EX_CONFIG)
CLEANUP = 2.0  # seconds a cancelled coroutine has to end
FLUSH = 10.0  # seconds the last outcomes have to get through
_FAREWELL = 2.0


class Worker:
    """Runs jobs of a kit's queues. `run()` blocks; `async with` and `arun()` live inside another event loop.

    `exit_code` is 0, 75 when jobs were given back at the deadline, 78 for a `max_rss` that none can keep. Starts once.
    """

    def __init__(self, kit: QueueKit, **options: Any) -> None:
        self._kit = kit
        self._options = options
        self.id = f"{socket.gethostname()}:{os.getpid()}:{ids.nonce()[:6]}"
        self.exit_code = 0
        self.plan: Plan | None = None  # once it started
        self._consumers: list[Consumer] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._agents: list[asyncio.Task[None]] = []
        self._body: asyncio.Task[None] | None = None
        self._stopping: asyncio.Event | None = None
        self._hurry: asyncio.Event | None = None
        self._deadline = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------ the doors
    def run(self) -> int:
        """Run until stopped by a signal, `burst` or `max_jobs`; answers the exit code.

        TERM or INT once: finish what runs, within the grace; twice, or QUIT: give everything back at once; USR1 logs
        what runs. Raises StoreUnavailable when the store does not answer within `wait_store`, ConfigError for what
        cannot be.
        """
        from queuekit.runtime.process import run

        return run(self, self._kit, self._options)

    async def arun(self, *, signals: bool = False) -> None:
        """Run on this event loop until `stop` is called. Being cancelled is a stop at once."""
        from queuekit.runtime.process import handling_signals

        with handling_signals(self, enabled=signals):
            await self._start()
            await self._wait_for_end()

    async def stop(self, grace: Duration | None = None) -> None:
        """Claim nothing more, let what runs end within `grace` (default: the worker's), give back the rest.

        A second call can only shorten the grace.
        """
        self.ask_stop(None if grace is None else parse_duration(grace) / 1000)
        if self._body is not None:
            await asyncio.wait((self._body,))

    def ask_stop(self, grace: float | None = None) -> None:
        """Begin to stop, on this loop; grace in seconds, 0 is at once."""
        if self._stopping is None or self._hurry is None or self.plan is None:
            return
        seconds = self.plan.grace / 1000 if grace is None else grace
        if not self._stopping.is_set():
            log.info("worker %s stops: %.1f s for what runs", self.id, seconds)
            self._deadline = clock.monotonic() + seconds
            self._stopping.set()
        if seconds <= 0:
            self._hurry.set()
        elif clock.monotonic() + seconds < self._deadline:
            asyncio.get_running_loop().call_later(seconds, self._hurry.set)

    def running(self) -> list[Claim]:
        """What runs now."""
        return [claim for consumer in self._consumers for claim in consumer.slots.running]

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._leave()
        await self._wait_for_end()

    def _leave(self) -> None:
        """Stop, unless somebody asked for it already: their grace may be longer than the worker's own."""
        if self._stopping is None or not self._stopping.is_set():
            self.ask_stop()

    # ------------------------------------------------------------ start
    async def _start(self) -> None:
        if self._body is not None:
            raise RuntimeError("a worker starts once: make another one")
        self._kit.load()
        self.plan = planned = plan(self._kit, self._options)
        self._said = planned.queues
        self._loop = asyncio.get_running_loop()
        self._stopping, self._hurry = asyncio.Event(), asyncio.Event()
        try:
            store, planned = await self._reach(planned)
        except Stopped:
            log.info("worker %s was stopped before it began", self.id)
            return
        self.plan = planned
        self._build(store, planned)
        log.info(
            "worker %s: %s, %d at once", self.id, ", ".join(queue.queue for queue in planned.queues), planned.size,
            extra={"worker": self.id},
        )  # fmt: skip
        self._body = asyncio.create_task(self._live(planned), name="queuekit-worker")

    async def _reach(self, planned: Plan) -> tuple[JobStore, Plan]:
        """The open store, and the plan with what is stored of its queues; declares what code says of them."""
        assert self._stopping is not None
        ask = Patience(planned.wait_store, self._stopping).ask
        store = await ask(self._kit.async_store)
        await ask(lambda: asyncio.to_thread(self._kit.blocking_store))
        queues = []
        for queue in planned.queues:
            conf = await ask(partial(declare, store, queue.queue, queue.limits))
            queues.append(queue.under(conf))
        names = [queue.queue for queue in queues]
        self._scheduling = await ask(partial(Scheduling.declared, self._kit, store, names))
        return store, replace(planned, queues=tuple(queues))

    def _build(self, store: JobStore, planned: Plan) -> None:
        """The agents and what they share; nothing runs yet."""
        size = planned.size
        self._threads = Threads(size)
        self._runner = Runner(self._kit, self.id, self._threads)
        self._announcer = Announcer(self._kit)
        self._spent, self._burst = asyncio.Event(), Burst(self._consumers, self._announcer)
        self._allowance = Allowance(planned.max_jobs, self._spent.set)
        self._lag = Lag(lambda: self._runner.on_loop)
        self._keeper = LeaseKeeper(
            self._kit.blocking_store, tell=self._tell, found=self._found, wake=self._notes_arrived,
            noted=self._noted, watch=self._lag.look,
        )  # fmt: skip
        sources = [self._source(planned, queue) for queue in planned.queues]
        groups = [sources] if planned.shared else [[source] for source in sources]
        for group in groups:
            self._consumers.append(
                Consumer(
                    group,
                    size=size if planned.shared else group[0].cap,
                    strict=planned.strict,
                    store=store,
                    runner=self._runner,
                    keeper=self._keeper,
                    announcer=self._announcer,
                    allowance=self._allowance,
                    rested=self._rested,
                )
            )
        self._listener = Listener(store, self._consumers)
        beat = new_beat(self.id, tuple(queue.queue for queue in planned.queues), size, _version())
        self._pulse = Pulse(store, beat, lambda: (len(self.running()), self._announcer.done), self._lag, self._over)
        self._recoverers = [Recoverer(store, source, self._announcer) for source in sources]
        self._pruner, self._tuner = Pruner(store, sources), Tuner(store, sources, self._tune)
        assert self._stopping is not None
        self._schedulers = self._scheduling.agents(sources, self._announcer, self._stopping)
        self._keeper.start(sources)

    def _source(self, planned: Plan, queue: QueuePlan) -> Source:
        return Source(queue.queue, cap=planned.cap(queue), lease=queue.lease, weight=queue.weight, check=queue.check)

    # ------------------------------------------------------------ life
    async def _live(self, planned: Plan) -> None:
        """From the first claim to the last farewell."""
        assert self._stopping is not None
        timed = [] if planned.burst else self._schedulers
        if planned.burst:  # what is due when it starts; it waits for nothing
            await catch_up(self._schedulers, self._stopping)
        runs = [
            self._listener.run, self._lag.run, self._pulse.run, self._pruner.run, self._tuner.run,
            *(recoverer.run for recoverer in self._recoverers), *(scheduler.run for scheduler in timed),
        ]  # fmt: skip
        self._agents = [asyncio.create_task(run(), name=f"queuekit-{run.__qualname__}") for run in runs]
        self._tasks = [asyncio.create_task(consumer.run(), name="queuekit-consumer") for consumer in self._consumers]
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(self._stopping.wait())]
        if planned.burst:
            ends.append(asyncio.create_task(self._burst.over.wait()))
        if planned.max_jobs is not None:
            ends.append(asyncio.create_task(self._until_spent()))
        watched: list[asyncio.Task[Any]] = [*self._tasks, *self._agents, *ends]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end([*ends, *self._agents])
        for task in watched:
            if task.done() and not task.cancelled() and task.exception() is not None:
                raise task.exception() or AssertionError

    async def _end(self, others: list[asyncio.Task[Any]]) -> None:
        """Stop claiming, wait, interrupt, give back, hand in, say farewell."""
        self._leave()
        for consumer in self._consumers:
            consumer.close()
        await self._until_idle()
        for consumer in self._consumers:
            consumer.interrupt()
        patience = clock.monotonic() + CLEANUP
        # Coroutines clean up; a thread cannot be interrupted and is not waited for.
        while clock.monotonic() < patience and any(claim.task is not None for claim in self.running()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for consumer in self._consumers:
            consumer.abandon()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=FLUSH)
            for consumer in self._consumers if late else ():
                consumer.give_up()
            await asyncio.wait(self._tasks, timeout=FLUSH)
        if any(consumer.given_back for consumer in self._consumers):
            self.exit_code = GAVE_BACK
        await end(others)
        await asyncio.to_thread(self._keeper.stop)
        try:
            await asyncio.wait_for(self._pulse.farewell(), _FAREWELL)
        except Exception as error:  # noqa: BLE001  its beat runs out by itself
            log.debug("no farewell: %s", redact(str(error)))
        await self._part("coroutine hooks", self._kit.hooks.settle())
        await self._part("values injected for the whole worker", self._runner.close())
        self._threads.close()
        given = sum(consumer.given_back for consumer in self._consumers)
        log.info("worker %s ended: %d runs, %d given back", self.id, self._announcer.done, given)

    async def _part(self, what: str, call: Coroutine[Any, Any, None]) -> None:
        """Let code of the user end; everything is handed in, so it can neither hold up the end nor spoil it."""
        try:
            await asyncio.wait_for(call, FLUSH)
        except TimeoutError:
            log.error("%s did not end in %.0f s and are left behind", what, FLUSH)
        except Exception:
            log.exception("%s did not end well", what)

    async def _until_idle(self) -> None:
        """Until no claim is in hand, or the deadline, which may come nearer."""
        assert self._hurry is not None
        idle = asyncio.gather(*(consumer.slots.empty.wait() for consumer in self._consumers))
        haste = asyncio.create_task(self._hurry.wait())
        ends: set[asyncio.Future[Any]] = {idle, haste}
        try:
            left = max(0.0, self._deadline - clock.monotonic())
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            haste.cancel()
            await asyncio.gather(idle, haste, return_exceptions=True)

    async def _wait_for_end(self) -> None:
        """Until the worker has ended; whoever cancels the wait cancels the grace, not the order."""
        body = self._body
        if body is None:
            return
        cancelled: asyncio.CancelledError | None = None
        while not body.done():
            try:
                await asyncio.shield(body)
            except asyncio.CancelledError as error:
                if body.cancelled():
                    raise
                cancelled = error
                self.ask_stop(0)
        if cancelled is not None:
            raise cancelled
        body.result()

    async def _until_spent(self) -> None:
        await self._spent.wait()
        for consumer in self._consumers:
            await consumer.slots.empty.wait()

    # ------------------------------------------------------------ called by the lease keeper's thread
    def _post(self, call: Callable[..., None], *args: object) -> None:
        try:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            log.debug("the event loop has ended: %s", call.__name__)

    def _tell(self, claim: Claim, stop: Stop, reason: str) -> None:
        self._post(claim.interrupt, stop, reason)

    def _found(self, source: Source, stray: Outcome) -> None:
        def put() -> None:
            if stray not in source.strays:  # each renewal names it until it was given back
                source.strays.append(stray)
            self._consumer_of(source).wake()

        self._post(put)

    def _notes_arrived(self, source: Source) -> None:
        self._post(self._consumer_of(source).wake)

    def _noted(self, claim: Claim, progress: bytes) -> None:
        self._post(self._announcer.progressed, claim, progress)

    def _rested(self) -> None:
        """A consumer has nothing to do for now."""
        self._listener.changed()
        if self.plan is not None and self.plan.burst:
            self._burst.rested()

    def _consumer_of(self, source: Source) -> Consumer:
        return next(consumer for consumer in self._consumers if source in consumer.sources)

    def _tune(self, source: Source, conf: QueueConf) -> None:
        """What a person set since the start: a queue with slots of its own gets more of them or fewer."""
        planned = self.plan
        if planned is None:
            return
        queue = next(queue for queue in self._said if queue.queue == source.queue).under(conf)
        source.lease, cap = queue.lease, planned.cap(queue)
        if cap == source.cap:
            return
        log.info("queue %s: %d at once from now on, not %d", source.queue, cap, source.cap)
        consumer = self._consumer_of(source)
        source.cap = cap
        if not planned.shared:
            consumer.resize(cap)
            self._threads.grow(sum(one.slots.size for one in self._consumers))
        consumer.wake()

    def _over(self, rss: int) -> None:
        """Recycle when the process has grown too large."""
        if self.plan is not None and self.plan.max_rss is not None and rss > self.plan.max_rss:
            log.warning("worker %s holds %d bytes, over max_rss: it stops", self.id, rss)
            if not self._announcer.done and not self.running():
                log.error("max_rss=%d is less than a worker needs before its first job: raise it", self.plan.max_rss)
                self.exit_code = MISCONFIGURED
            self.ask_stop()


def _version() -> str:
    try:
        return version("queuekit")
    except PackageNotFoundError:
        return "unknown"
