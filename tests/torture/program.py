"""What the processes of the torture tests do: workers that write down every run, producers that write down every call.

Imported once in a fork server, before any connection is opened: a child costs a fork and not an interpreter's start.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import queuekit.runtime.process
import queuekit.runtime.worker  # noqa: F401  imported before the fork
from queuekit import JobContext, LeaseLost, QueueKit, QueueOptions, StoreUnavailable, clock
from queuekit.domain.events import JobFact
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from tests.torture.records import Pen, now

for _driver in ("queuekit_redis.backend", "queuekit_mongo.backend", "queuekit.embedded"):
    __import__(_driver)

QUEUE = "default"
MOST = 20  # jobs of one call
PRIORITIES = (0, 5, 5, 5, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all processes of one run share."""

    url: str
    namespace: str
    folder: Path
    lease: float = 2.0
    concurrency: int = 10
    longest: int = 300  # ms a handler runs
    max_crashes: int = 1000  # a job may be unlucky: only the poison test is about this
    grace: float = 20.0
    timeout: float = 5.0  # seconds a call to the store may take
    hours: int = 0  # how far the clock of a worker is off
    dies: str = ""  # where in an exchange a worker kills itself: settle, settled, receipt


def make_kit(setting: Setting) -> QueueKit:
    """A kit of this run; it connects when it is used."""
    limits: QueueOptions = {"lease": setting.lease, "max_crashes": setting.max_crashes, "keep_completed": True}
    return QueueKit(setting.url, namespace=setting.namespace, queues={QUEUE: limits})


# ---------------------------------------------------------------- workers
def work(setting: Setting, actor: str) -> None:
    """A worker process."""
    _begin(setting, actor)
    os.environ["QUEUEKIT_TIMEOUT"] = f"{setting.timeout}s"
    if setting.hours:
        _shift(setting.hours * 3600)
    pen = Pen(setting.folder, actor)
    kit = make_kit(setting)
    _add_tasks(kit, pen, setting.folder)
    if setting.dies:
        _dies(kit, setting.dies)
    sys.exit(kit.worker(concurrency=setting.concurrency, grace=setting.grace).run())


def _begin(setting: Setting, actor: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.open(setting.folder / f"{actor}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    logging.basicConfig(level=logging.INFO, force=True, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _shift(seconds: int) -> None:
    """Let this process live in another hour; a clock for waits stays what it is."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + seconds * 1_000_000_000
    assert abs(clock.now_ms() - real() * 1000 - seconds * 1000) < 1000


def note_start(pen: Pen, ctx: JobContext) -> tuple[str, str]:
    """Write down that a run began; its job and claim."""
    record = ctx._record
    pen.write("start", record.id, ctx.token, record.claims, record.claimed_at, record.line)
    return record.id, ctx.token


def note_ends(kit: QueueKit, pen: Callable[[], Pen]) -> None:
    """Write down each end the store has accepted."""

    def accepted(fact: JobFact) -> None:
        if fact.job is not None:
            pen().write("accepted", fact.job.id)

    kit.on("completed", accepted)


def _dies(kit: QueueKit, where: str) -> None:
    """Kill this process around the first exchange that settles, or that claims."""
    connect = kit.async_store

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def store() -> Any:
        real = await connect()
        exchange = real.exchange

        async def deadly(queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
            if where == "settle" and outcomes:
                die()
            reply: Exchange = await exchange(queue, op, outcomes, ask)
            if (where == "settled" and outcomes) or (where == "receipt" and reply.claims):
                die()
            return reply

        return _Deadly(real, deadly)

    kit.async_store = store  # type: ignore[method-assign]  # what a worker opens


class _Deadly:
    """A store but for its exchange."""

    def __init__(self, store: Any, exchange: Callable[..., Any]) -> None:
        self._store = store
        self.exchange = exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _add_tasks(kit: QueueKit, pen: Pen, folder: Path) -> None:
    @kit.task
    async def sleeps(ctx: JobContext, ms: int) -> int:
        job, token = note_start(pen, ctx)
        try:
            await asyncio.sleep(ms / 1000)
        except asyncio.CancelledError:
            pen.write("stop", job, token)
            raise
        pen.write("end", job, token)
        return ms

    @kit.task
    def blocks(ctx: JobContext, ms: int) -> int:
        """In a thread, which sees a stop only when it looks."""
        job, token = note_start(pen, ctx)
        time.sleep(ms / 1000)
        try:
            ctx.check_cancelled()
        except Exception:
            pen.write("stop", job, token)
            raise
        pen.write("end", job, token)
        return ms

    @kit.task
    async def holds(ctx: JobContext, ms: int) -> None:
        """Its first run is long, every other short."""
        job, token = note_start(pen, ctx)
        try:
            await asyncio.sleep(ms / 1000 if ctx._record.claims == 1 else 0)
        except asyncio.CancelledError:
            pen.write("stop", job, token)
            raise
        pen.write("end", job, token)

    @kit.task
    def stubborn(ctx: JobContext, ms: int) -> None:
        """In a thread that never looks whether it should stop."""
        job, token = note_start(pen, ctx)
        time.sleep(ms / 1000)
        pen.write("end", job, token)

    @kit.task
    def waits(ctx: JobContext, name: str, *, looks: bool) -> None:
        """In a thread, until somebody makes the file; it may look whether it should stop."""
        job, token = note_start(pen, ctx)
        while not (folder / name).exists():
            time.sleep(0.005)
        deadline = time.monotonic() + 5
        try:
            while looks and time.monotonic() < deadline:
                ctx.check_cancelled()
                time.sleep(0.005)
        except LeaseLost:
            pen.write("stop", job, token)
            raise
        pen.write("end", job, token)

    note_ends(kit, lambda: pen)


# ---------------------------------------------------------------- producers
def produce(setting: Setting, actor: str, jobs: int, seconds: float, seed: int) -> None:
    """A producer process: calls of one to twenty jobs, spread over so many seconds, each written down before and after.

    Started again after a kill, it goes on with the job behind the last one it named.
    """
    _begin(setting, actor)
    path = setting.folder / f"{actor}.log"
    done = path.read_bytes().count(b"/") if path.exists() else 0
    pen, rng = Pen(setting.folder, actor), random.Random(seed + done)
    with make_kit(setting) as kit:
        queue = kit.queue(QUEUE)
        while done < jobs:
            size = min(rng.choice((1, 1, 1, rng.randint(2, MOST))), jobs - done)
            batch = [(f"{actor}.{done + n}", rng.choice(PRIORITIES)) for n in range(size)]
            made = [
                queue.make(
                    rng.choice(("sleeps", "sleeps", "blocks")), {"ms": rng.randint(0, setting.longest)},
                    id=job, priority=priority,
                )
                for job, priority in batch
            ]  # fmt: skip
            pen.write("invoke", *(f"{job}/{priority}" for job, priority in batch))
            try:
                kit.enqueue_many(made)
            except StoreUnavailable:
                pen.write("unknown")
            else:
                pen.write("ok")
            done += size
            time.sleep(rng.uniform(0, 2 * size * seconds / jobs))


def claim_key(setting: Setting, actor: str, by: str, at: int) -> None:
    """Enqueue what all the others enqueue too, at the same moment."""
    _begin(setting, actor)
    pen = Pen(setting.folder, actor)
    with make_kit(setting) as kit:
        kit.blocking_store()  # connected before the moment comes
        time.sleep(max(0.0, (at - now()) / 1e6))
        queue = kit.queue(QUEUE)
        handle = queue.enqueue("t", {}, unique="k") if by == "key" else queue.enqueue("t", {}, id="k")
        pen.write(handle.id, handle.created)
