"""How fast a queue moves between two real stores, and for how long nobody can claim: `make bench-move`.

Each pair there and back, on servers of its own, one process. Figures are of this machine: docs/decisions/092.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from queuekit.domain.job import BATCH_MAX, JobSpec
from queuekit.domain.outcome import Op
from queuekit.move import Options, Side, move
from queuekit.store.registry import StoreOptions, backend
from queuekit.testing.servers import MongoServer, RedisServer

QUEUE = "moved"


async def fill(store: Any, jobs: int, size: int) -> None:
    """Waiting jobs with payloads of `size` bytes."""
    body = b"x" * size
    for n, at in enumerate(range(0, jobs, BATCH_MAX)):
        some = range(at, min(jobs, at + BATCH_MAX))
        await store.enqueue(QUEUE, [JobSpec(id=f"job-{i:08}", task="t", body=body) for i in some], Op("bench", n + 1))


def spent(pid: int | None) -> float:
    """CPU seconds of a process so far: wall time says little on a machine that others use."""
    if pid is None or not Path(f"/proc/{pid}/stat").exists():
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(source: Side, target: Side, jobs: int, batch: int, pids: dict[str, int]) -> bool:
    """Move them, and say how that went."""
    gc.collect()
    servers = {name: spent(pid) for name, pid in pids.items()}
    began, cpu = time.perf_counter(), time.process_time()
    report = await move(source, target, [QUEUE], options=Options(batch=batch))
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    queue = report.queues[0]
    of_servers = ", ".join(f"{name} {1e6 * (spent(pids[name]) - was) / jobs:.0f}" for name, was in servers.items())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{source.name:>6} -> {target.name:<6} {jobs:>9} jobs  {jobs / took:>7.0f}/s  pause {queue.pause or 0:6.2f} s"
        f"  us of CPU a job: mover {1e6 * cpu / jobs:.0f}, {of_servers or 'no server'}  peak {peak} MiB"
        f"  {'both sides agree' if report.agrees and queue.jobs == jobs else 'THE SIDES DIFFER'}",
        flush=True,
    )
    return report.agrees and queue.jobs == jobs


async def pair(names: list[str], jobs: int, size: int, batch: int) -> bool:
    """One pair there and back, each store new."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queuekit-bench-move-")))
        sides, pids = [], dict[str, int]()
        for n, name in enumerate(names):
            if name == "redis":
                redis = stack.enter_context(RedisServer())
                url, pids["redis"] = redis.url, redis.pid
            elif name == "mongo":
                mongo = stack.enter_context(MongoServer())
                url, pids["mongo"] = mongo.url, mongo.pid
            else:
                url = f"sqlite:///{folder}/{n}.db"
            store: Any = backend(url).asynchronous(url, StoreOptions())
            await store.open()
            sides.append(Side(store=store, name=name if names.count(name) == 1 else f"{name}-{n}"))
        there, back = sides
        await fill(there.store, jobs, size)
        well = await measure(there, back, jobs, batch, pids) and await measure(back, there, jobs, batch, pids)
        for side in sides:
            await side.store.close()
        return well


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.move", description=__doc__)
    parser.add_argument("--pairs", default="redis-mongo,redis-sqlite,sqlite-mongo", help="source-target, …")
    parser.add_argument("--jobs", default="10000,100000", help="how many, one run each")
    parser.add_argument("--bytes", type=int, default=100, help="of a payload")
    parser.add_argument("--batch", type=int, default=500)
    given = parser.parse_args()
    print(
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, payloads of {given.bytes} bytes, batch {given.batch}"
    )
    well = True
    for names in given.pairs.split(","):
        for jobs in given.jobs.split(","):
            well = asyncio.run(pair(names.split("-"), int(jobs), given.bytes, given.batch)) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
