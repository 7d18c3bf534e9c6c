"""What the worker itself costs, beside a store that costs nothing: Python's calls and instructions, memory, exchanges.

The loop's time is virtual and the clock moves a little at each look, so that every count repeats.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from types import FrameType
from typing import Any

from queuekit import QueueKit, clock, ids
from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from queuekit.domain.state import Line, State
from queuekit.runtime.worker import Worker
from queuekit.testing.model import ModelStore
from tests.guard.budgets import Counted
from tests.guard.virtual import VirtualLoop

LOOK = 2e-6  # seconds the clock moves when it is read
SETTLED = 16.0  # seconds after which an idle worker has done what it does at first
MINUTES = 10
CALLS = ("exchange", "renew", "recover", "beat", "conf", "prune", "due", "wait")


class Free(ModelStore):
    """Hands out prepared records, forgets their ends, and counts what it is asked."""

    def __init__(self, records: list[JobRecord]) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()
        self.records = records
        self.all = list(records)  # none is freed before the run is over
        self.settled = 0
        for name in CALLS:
            setattr(self, name, self._counting(name, getattr(self, name)))

    def _counting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.asked[name] += 1
            return await call(*args, **kwargs)

        return counted

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        await asyncio.sleep(0)
        self.settled += len(outcomes)
        claims = [self.records.pop() for _ in range(min(ask.want, len(self.records)))]
        token = op.token
        for record in claims:
            record.token = token
        return Exchange(now=0, claims=claims, more=bool(self.records))


@contextmanager
def _steady(loop: VirtualLoop) -> Iterator[None]:
    """The clock of queuekit is the loop's, each look at it takes a moment, and agents are spread the same each time."""
    looks, plain, chance = 0, clock.monotonic, random.getstate()
    random.seed(1)

    def monotonic() -> float:
        nonlocal looks
        looks += 1
        return loop.time() + looks * LOOK

    clock.monotonic = monotonic
    try:
        yield
    finally:
        clock.monotonic = plain
        random.setstate(chance)


def _made(records: list[JobRecord]) -> tuple[QueueKit, Free]:
    kit, store = QueueKit("memory://", name=ids.nonce()), Free(records)

    async def opened() -> Any:
        return store

    kit.async_store = opened  # type: ignore[method-assign]  # what a worker opens
    kit.blocking_store = lambda: store  # type: ignore[method-assign]

    @kit.task
    async def noop(user: str, note: str) -> None: ...

    return kit, store


def _records(jobs: int) -> list[JobRecord]:
    body = b'j{"user":"user-123","note":"' + b"x" * 60 + b'"}'
    return [
        JobRecord(queue="default", id=ids.job_id(), task="noop", body=body, state=State.ACTIVE, line=Line.READY)
        for _ in range(jobs)
    ]


def _drained(jobs: int, concurrency: int, watch: Callable[[], object], unwatch: Callable[[], object]) -> Free:
    """One worker runs so many jobs, under a watch from its first claim to its end."""
    kit, store = _made(_records(jobs))

    async def main() -> None:
        worker = Worker(kit, burst=True, concurrency=concurrency)
        watch()
        try:
            await worker.arun()
        finally:
            unwatch()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        with _steady(loop):
            runner.run(main())
    kit.close()
    assert store.settled == jobs
    return store


def _calls(jobs: int, concurrency: int) -> tuple[int, Free]:
    """Calls of functions, Python's own and C's."""
    many = 0

    def heard(frame: FrameType, event: str, arg: object) -> None:
        nonlocal many
        many += event in ("call", "c_call")

    store = _drained(jobs, concurrency, lambda: sys.setprofile(heard), lambda: sys.setprofile(None))
    return many, store


def _instructions(jobs: int, concurrency: int) -> int:
    """Instructions of Python's machine."""
    many = 0

    def heard(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal many
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        many += event == "opcode"
        return heard

    _drained(jobs, concurrency, lambda: sys.settrace(heard), lambda: sys.settrace(None))
    return many


def _kept(jobs: int, concurrency: int) -> int:
    """Blocks of memory left behind by a run, with nobody collecting cycles: garbage that only the collector frees."""
    blocks = [0, 0]

    def before() -> None:
        gc.collect()
        gc.disable()
        blocks[0] = sys.getallocatedblocks()

    def after() -> None:
        blocks[1] = sys.getallocatedblocks()
        gc.enable()

    _drained(jobs, concurrency, before, after)
    return blocks[1] - blocks[0]


TRIES = 5  # what the interpreter makes once falls into one of them; what each job leaves is in all


def drain(concurrency: int, few: int, many: int) -> Counted:
    """What a further job costs: the difference of two runs, so that a start and an end count for nothing."""
    jobs = many - few
    _drained(few, concurrency, _nothing, _nothing)  # whatever is made once is made
    (low, first), (high, second) = _calls(few, concurrency), _calls(many, concurrency)
    found = {
        "calls": (high - low) / jobs,
        "store calls": (second.asked["exchange"] - first.asked["exchange"]) / jobs,
        "blocks kept": median((_kept(many, concurrency) - _kept(few, concurrency)) / jobs for _ in range(TRIES)),
        "instructions": (_instructions(many, concurrency) - _instructions(few, concurrency)) / jobs,
    }
    return {what: round(figure, 3) for what, figure in found.items()}


def _nothing() -> None:
    return


def idle() -> dict[str, float]:
    """What an idle worker of one queue asks its store in a minute."""
    kit, store = _made([])
    found: dict[str, float] = {}

    async def main() -> None:
        async with Worker(kit, concurrency=10):
            await asyncio.sleep(SETTLED)
            before = store.asked.copy()
            await asyncio.sleep(60 * MINUTES)
            found.update({name: (store.asked[name] - before[name]) / MINUTES for name in CALLS})

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        with _steady(loop):
            runner.run(main())
    kit.close()
    return found
