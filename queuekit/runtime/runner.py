"""Run one job: find its handler, decode, call it in the right place, and turn whatever happens into one outcome.

Knows no store and no queue order: a worker and the testing kit run jobs through it alike.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from contextvars import Context, copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from queuekit.context import JobContext, Report, make_current
from queuekit.domain.job import JobRecord
from queuekit.domain.options import Policy, resolve
from queuekit.domain.outcome import Outcome
from queuekit.errors import PayloadError
from queuekit.producing.definition import Definition
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.ending import Endings
from queuekit.runtime.executors import Raised, Threads
from queuekit.runtime.failure import TimedOut, message
from queuekit.runtime.inject import Injector
from queuekit.runtime.isolate import drive
from queuekit.runtime.middleware import around, in_thread

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

log = logging.getLogger("queuekit.runtime.runner")
_Layers: TypeAlias = tuple[Mapping[str, object], Mapping[str, object], Mapping[str, object]]


class Runner:
    """Everything runs of one worker share. `running` names what the event loop executes this moment, for the lag."""

    def __init__(self, kit: QueueKit, worker: str, threads: Threads) -> None:
        self.kit = kit
        self.worker = worker
        self.threads = threads
        self.endings = Endings(worker)
        self.injector = Injector()
        self.on_loop: Claim | None = None
        self._base = copy_context()
        self._policies: dict[tuple[str, str], tuple[Policy, _Layers]] = {}
        self._bounds: dict[str, asyncio.Semaphore] = {}

    async def run(self, claim: Claim, yielding: Callable[[], None]) -> Outcome | None:
        """The outcome of one run; None where the job belongs to somebody else by now. Raises nothing of the handler's.

        `yielding` is called when the run lets go of the event loop for the first time. A thread that outlives its
        timeout is left in `claim.lingers`: the slot is taken until it ends.
        """
        record = claim.record
        if claim.stop is not None:
            return self.endings.stopped(claim)
        definition = self.kit.definitions.get(record.task) or self.kit.handler(record.queue, record.task)
        if definition is None or definition.fn is None:
            return self.endings.unknown_task(claim)
        policy, layers = self._resolved(record, definition)
        try:
            args, kwargs = definition.decode(record.body, record.version)
        except PayloadError as error:
            return self.endings.parked(claim, unfit(error))
        except Exception as error:  # noqa: BLE001  a validator of the user's that raises what it likes
            return self.endings.parked(claim, f"the payload cannot be read: {message(error)}")
        claim.report = report = Report()
        slot: Literal["async", "thread"] = "async" if definition.is_async else "thread"
        ctx = JobContext(record, report, attempts=policy.attempts, slot=slot, options=layers)
        if definition.wants_context:
            args = (ctx, *args)
        call = _Call(claim, definition, policy, ctx, self._base.copy(), args, kwargs, yielding)
        bound = self._bound(definition)
        if bound is None:
            if definition.is_async:  # most handlers that end without waiting need none of the layers below
                try:
                    self._begin(call)
                except StopIteration as stop:
                    await _forget_cancels()
                    return self._returned(call, stop.value)
                except BaseException as error:  # noqa: BLE001  whatever a handler raises ends its run
                    return await self._raised(call, error)
            return await self._outcome(call)
        call.suspends()
        async with bound:
            return self.endings.stopped(claim) if claim.told else await self._outcome(call)

    def broken(self, claim: Claim, error: Exception) -> Outcome | None:
        """The outcome of a run that our own code broke."""
        log.critical(
            "a defect of queuekit broke the run of job %s", claim.record.ref, exc_info=error, extra=claim.about
        )
        return self.endings.raised(claim, resolve(b"", _NOTHING, _NOTHING, _NOTHING), error)

    async def close(self) -> None:
        """Close what was injected for the whole worker."""
        await self.injector.close()

    # ------------------------------------------------------------ the run
    async def _outcome(self, call: _Call) -> Outcome | None:
        try:
            if call.definition.is_async:
                value = await self._on_loop(call)
            else:
                value = await self._in_thread(call)
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001  whatever a handler raises ends its run, and never the worker
            return await self._raised(call, error)
        await _forget_cancels()
        return self._returned(call, value)

    async def _raised(self, call: _Call, error: BaseException) -> Outcome | None:
        claim = call.claim
        if claim.lingers is None:
            await self._settle_down(claim)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            log.error("task %s raised %s: its run failed, the worker goes on", claim.record.task, type(error).__name__)
        return self.endings.raised(claim, call.policy, error)

    def _returned(self, call: _Call, value: object) -> Outcome | None:
        try:
            result = None if value is None else call.definition.encode_result(value)
        except PayloadError as error:
            return self.endings.unfit_result(call.claim, call.policy, unfit(error))
        except Exception as error:  # noqa: BLE001  a serializer of the user's
            return self.endings.unfit_result(call.claim, call.policy, message(error))
        return self.endings.completed(call.claim, call.policy, result)

    async def _settle_down(self, claim: Claim) -> None:
        """After a cancel: was it ours, or is the whole loop going down? Then the job is given back."""
        task = asyncio.current_task()
        if task is None or not task.cancelling():
            return
        await _forget_cancels()  # takes a turn: whoever ends the loop cancels the consumer in the same breath
        if claim.stop is None and claim.source.closing:
            claim.stop = Stop.SHUTDOWN

    async def _on_loop(self, call: _Call) -> object:
        if call.policy.timeout_ms is None:
            return await self._step(call)
        started = call.started or asyncio.get_running_loop().time()
        scope = asyncio.timeout_at(started + call.policy.timeout_ms / 1000)
        try:
            async with scope:
                return await self._step(call)
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise TimedOut(f"took longer than its timeout of {call.policy.timeout_ms} ms") from error.__cause__

    async def _step(self, call: _Call) -> object:
        """Call the handler in its context; only if it suspends does the event loop hear of it."""
        claim = call.claim
        if not call.begun:
            try:
                self._begin(call)
            except StopIteration as stop:
                return stop.value
        call.suspends()
        claim.task = asyncio.current_task()
        try:
            return await drive(call.coro, call.context, call.waits, self, claim)
        finally:
            claim.task = None

    def _begin(self, call: _Call) -> None:
        """Step the handler once; `call.waits` is what it waits for. Raises StopIteration when it is done."""
        if call.policy.timeout_ms is not None:
            call.started = asyncio.get_running_loop().time()
        call.begun, self.on_loop = True, call.claim
        try:
            call.waits = call.context.run(self._first_step, call)
        except GeneratorExit as error:  # the handler's own: nobody closes a coroutine that runs
            raise RuntimeError("the handler raised GeneratorExit") from error
        finally:
            self.on_loop = None

    def _first_step(self, call: _Call) -> Any:
        """Make the handler's coroutine, with injected values and middlewares around it, and step it once."""
        definition, middlewares = call.definition, self.kit.middlewares
        make_current(call.ctx)
        if call.later is not None:
            started = call.later
        elif middlewares:
            started = around(middlewares, call.ctx, partial(self._injected, call))
        elif definition.injects:
            started = self._injected(call)
        else:
            started = call.fn(*call.args, **call.kwargs)
        call.coro = started if inspect.iscoroutine(started) else _awaited(started)
        return call.coro.send(None)

    async def _injected(self, call: _Call) -> object:
        if not call.definition.injects:
            return await call.fn(*call.args, **call.kwargs)
        async with AsyncExitStack() as stack:
            values = await self.injector.on_loop(call.definition.injects, stack)
            return await call.fn(*call.args, **call.kwargs, **values)

    # ------------------------------------------------------------ threads
    async def _in_thread(self, call: _Call) -> object:
        async with AsyncExitStack() as stack:
            values: dict[str, Any] = {}
            if call.definition.injects:
                values = await self.injector.on_loop(call.definition.injects, stack, in_thread=True)
            call.context.run(make_current, call.ctx)
            # A copy: the event loop may be inside the first context when the thread enters its own.
            value = await self._threaded(call, partial(call.context.copy().run, self._plain, call, values))
            if inspect.isawaitable(value):  # a function that returned a coroutine: it belongs on the loop
                call.later = value
                value = await self._on_loop(call)
            return value

    async def _threaded(self, call: _Call, work: Callable[[], object]) -> object:
        future = self.threads.run(work)
        call.suspends()
        timeout = call.policy.timeout_ms
        if timeout is not None:
            await asyncio.wait((future,), timeout=timeout / 1000)
            if not future.done():
                call.claim.lingers = future
                raise TimedOut(f"took longer than its timeout of {timeout} ms; its thread cannot be stopped")
        value = await future
        if isinstance(value, Raised):
            raise value.error
        return value

    def _plain(self, call: _Call, values: dict[str, Any]) -> object:
        """In the thread: the handler, with its injected values and middlewares."""
        definition, middlewares = call.definition, self.kit.middlewares

        def run() -> object:
            if not definition.injects:
                return call.fn(*call.args, **call.kwargs)
            with ExitStack() as stack:
                plain = self.injector.in_thread(definition.injects, stack)
                return call.fn(*call.args, **call.kwargs, **values, **plain)

        return in_thread(middlewares, call.ctx, run) if middlewares else run()

    # ------------------------------------------------------------ what is looked up
    def _resolved(self, record: JobRecord, definition: Definition) -> tuple[Policy, _Layers]:
        """The policy of this run, and the options it came from; kept where the caller set nothing."""
        key = (record.queue, record.task)
        if not record.options:
            known = self._policies.get(key)
            if known is not None:
                return known
        task = definition.options
        layers = task, self.kit.queue_options.get(record.queue, _NOTHING), self.kit.defaults
        # Retention of job and queue is the store's, where people may change it; the task's is known here only.
        policy = resolve(record.options, *layers)
        completed, failed = task.get("keep_completed"), task.get("keep_failed")
        resolved = replace(policy, keep_completed=completed, keep_failed=failed), layers
        if not record.options:
            self._policies[key] = resolved
        return resolved

    def _bound(self, definition: Definition) -> asyncio.Semaphore | None:
        """What keeps this task to its own concurrency in this worker."""
        if definition.concurrency is None:
            return None
        return self._bounds.setdefault(definition.name, asyncio.Semaphore(definition.concurrency))


_NOTHING: dict[str, object] = {}


class _Call:
    """One call of a handler and all it needs."""

    __slots__ = (
        "args", "begun", "claim", "context", "coro", "ctx", "definition", "fn", "kwargs", "later", "policy", "started",
        "waits", "yielding",
    )  # fmt: skip

    def __init__(
        self, claim: Claim, definition: Definition, policy: Policy, ctx: JobContext, context: Context,
        args: tuple[Any, ...], kwargs: dict[str, Any], yielding: Callable[[], None],
    ) -> None:  # fmt: skip
        self.claim = claim
        self.definition = definition
        self.fn: Callable[..., Any] = definition.fn  # type: ignore[assignment]  # without one the task is unknown here
        self.policy = policy
        self.ctx = ctx
        self.context = context
        self.args = args
        self.kwargs = kwargs
        self.yielding = yielding
        self.later: Any = None  # what a plain function returned to be awaited
        self.coro: Any = None
        self.begun = False  # the handler was stepped once
        self.waits: Any = None  # what it waits for since then
        self.started = 0.0  # by the event loop's clock, where there is a timeout

    def suspends(self) -> None:
        """The slot is about to wait: let another one go on."""
        self.claim.suspended = True
        self.yielding()


def unfit(error: PayloadError) -> str:
    """A payload error on one line."""
    said = message(error)
    return "; ".join((said, *(line for line in error.errors if line not in said)))


async def _awaited(value: Any) -> object:
    return await value


async def _forget_cancels() -> None:
    """Cancels meant for the handler are over: the slot's task goes on to other jobs.

    One that came while the handler ran, and that it did not wait for, is delivered at the task's next wait, counted
    back or not (until Python 3.13): so it waits here.
    """
    task = asyncio.current_task()
    if task is None or not task.cancelling():
        return
    while task.cancelling():
        task.uncancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
