"""How fast one worker process drains no-op jobs, and what it asks while idle. Not a test: figures for people.

    python tests/bench/worker_drain.py [free] [sqlite] [redis] [mongo] [--profile]

`free` is a store that costs nothing: what is left is the worker's own time for a job. A counter kept by the handler
shows that every job ran exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

from queuekit import QueueKit, clock, ids
from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from queuekit.domain.state import Line, State
from queuekit.runtime.worker import Worker
from queuekit.testing.servers import MongoServer, RedisServer

RUNS = {
    "free": (50_000, (100, 1)),
    "sqlite": (20_000, (100, 10, 1)),
    "redis": (40_000, (100, 10, 1)),
    "mongo": (10_000, (100, 10, 1)),
}
PAYLOAD = {"user": "user-123", "note": "x" * 60}
IDLE = 60  # seconds


class Free:
    """Hands out prepared records and forgets them."""

    def __init__(self, real: Any, records: list[JobRecord]) -> None:
        self._real = real
        self._records = records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        await asyncio.sleep(0)
        claims = [self._records.pop() for _ in range(min(ask.want, len(self._records)))]
        for record in claims:
            record.token = op.token
        return Exchange(now=0, claims=claims, more=bool(self._records))


@contextlib.contextmanager
def url_of(kind: str) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        if kind == "redis":
            yield stack.enter_context(RedisServer()).url
        elif kind == "mongo":
            yield stack.enter_context(MongoServer()).url
        else:
            yield f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/jobs.db"


def drain(kind: str, url: str, jobs: int, concurrency: int, *, profiled: bool) -> None:
    kit = QueueKit(url, name=ids.nonce(), namespace=f"bench{ids.nonce()[:8]}")
    ran = 0

    @kit.task
    async def noop(user: str, note: str) -> None:
        nonlocal ran
        ran += 1

    started = clock.perf()
    if kind == "free":
        give_free(kit, noop.definition.encode((), PAYLOAD), jobs)
    else:
        kit.enqueue_many(noop.make(**PAYLOAD) for _ in range(jobs))
    enqueued = clock.perf() - started
    worker = Worker(kit, burst=True, concurrency=concurrency)
    profile = cProfile.Profile()
    if profiled:
        profile.enable()
    started, cpu = clock.perf(), time.process_time()
    worker.run()
    took, cpu = clock.perf() - started, time.process_time() - cpu
    if profiled:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
    assert ran == jobs, f"{ran} runs of {jobs} jobs"
    print(f"{kind:<7} concurrency {concurrency:>3}: {jobs / took:>8,.0f} jobs/s  {took / jobs * 1e6:>6.1f} us a job"
          f"   CPU of this process {cpu / jobs * 1e6:>6.1f} us a job"
          f"   (enqueue_many {jobs / enqueued:,.0f}/s)")  # fmt: skip
    kit.close()


def give_free(kit: QueueKit, body: bytes, jobs: int) -> None:
    records = [
        JobRecord(queue="default", id=ids.job_id(), task="noop", body=body, state=State.ACTIVE, line=Line.READY)
        for _ in range(jobs)
    ]
    real = kit.async_store

    async def store() -> Any:
        return Free(await real(), records)

    kit.async_store = store  # type: ignore[method-assign]  # what a worker opens


def idle(url: str) -> None:
    """Commands a second that an idle worker of one queue makes Redis run, and the CPU it takes."""
    import os

    import redis

    client = redis.Redis.from_url(url)
    kit = QueueKit(url, name=ids.nonce(), namespace=f"bench{ids.nonce()[:8]}")

    @kit.task
    async def noop() -> None: ...

    def asked() -> dict[str, int]:
        """All commands the server ran, those inside scripts counted; ours that ask are left out."""
        return {name: one["calls"] for name, one in client.info("commandstats").items() if name != "cmdstat_info"}

    async def sit() -> tuple[int, float]:
        async with Worker(kit, concurrency=10):
            await asyncio.sleep(6)
            before, cpu = asked(), os.times()
            await asyncio.sleep(IDLE)
            after, used = asked(), os.times()
        await kit.aclose()
        print({name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)})
        return sum(after.values()) - sum(before.values()), (used.user - cpu.user) + (used.system - cpu.system)

    commands, cpu = asyncio.run(sit())
    print(f"idle    {commands / IDLE:.2f} commands/s, {cpu / IDLE * 100:.2f} % CPU")


def main() -> None:
    said = [name for name in sys.argv[1:] if not name.startswith("-")] or list(RUNS)
    for kind in said:
        jobs, levels = RUNS[kind]
        with url_of(kind) as url:
            for concurrency in levels:
                some = jobs if concurrency == 100 else jobs // 4 if concurrency == 10 else jobs // 10
                drain(kind, url, some, concurrency, profiled="--profile" in sys.argv)
            if kind == "redis" and "--profile" not in sys.argv:
                idle(url)


if __name__ == "__main__":
    main()
