"""What schedules cost: an idle worker beside 10,000 of them, firings a second kept up, and how late each is.

    python -m tests.bench.schedules [--stores redis mongo sqlite] [--workers 1 8] [--seconds 15] [--many 10000]

Starts servers of its own. Lateness is the store's time of the firing less its slot. One JSON line a figure.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from queuekit import QueueKit, ids
from queuekit.domain.query import Where
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.testing.servers import MongoServer, RedisServer
from tests.runtime.schedules import record

ASKED = {"redis": 1000, "mongo": 200, "sqlite": 200}  # firings a second
TICKS = os.sysconf("SC_CLK_TCK")


def made(url: str, namespace: str) -> QueueKit:
    """A kit with a task that does nothing, kept when it ended."""
    kit = QueueKit(url, name=ids.nonce(), namespace=namespace, queues={"default": {"keep_completed": True}})

    @kit.task
    async def noop() -> None: ...

    return kit


def work(url: str, namespace: str) -> None:
    made(url, namespace).worker(queues=["default"], concurrency=50, grace=5).run()


@contextmanager
def working(url: str, namespace: str, workers: int) -> Iterator[list[int]]:
    """So many worker processes: their ids."""
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(url, namespace)) for _ in range(workers)]
    for process in processes:
        process.start()
    try:
        with made(url, namespace) as kit:
            deadline = time.monotonic() + 60
            while len(direct(kit.blocking_store().workers())) < workers:
                assert time.monotonic() < deadline, "the workers did not begin"
                time.sleep(0.1)
        yield [process.pid or 0 for process in processes]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def spent(pids: list[int]) -> float:
    """Seconds of CPU of these processes so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            words = file.read().rpartition(")")[2].split()
        total += int(words[11]) + int(words[12])
    return total / TICKS


def put(store: Any, many: int, every: str, ahead: int) -> int:
    """So many schedules; their first slots are spread over one period, `ahead` ms from now."""
    now = direct(store.due("default")).now + ahead
    period = {"1s": 1000, "1d": 86_400_000}[every]
    for n in range(many):
        anchor = now + n * period // many
        direct(store.put_schedule("default", record(f"s{n}", anchor, every=every, missed="all")))
    return int(now)


def idle(url: str, many: int, seconds: float) -> dict[str, object]:
    """CPU of a worker beside so many schedules that are not due."""
    namespace = ids.nonce()[:8]
    with made(url, namespace) as kit:
        put(kit.blocking_store(), many, "1d", 3_600_000)
        with working(url, namespace, 1) as pids:
            time.sleep(20)  # what it does at first
            before = spent(pids)
            time.sleep(seconds)
            return {"idle_cpu_percent": round(100 * (spent(pids) - before) / seconds, 2), "schedules": many}


def rate(url: str, asked: int, workers: int, seconds: float) -> dict[str, object]:
    """So many firings a second for so long: how late each was."""
    namespace = ids.nonce()[:8]
    with made(url, namespace) as kit:
        store: Any = kit.blocking_store()
        with working(url, namespace, workers) as pids:
            begun = put(store, asked, "1s", 10_000 + asked * 5)
            time.sleep(max(0.0, (begun - direct(store.due("default", 0)).now) / 1000 + 2))
            since, before = direct(store.due("default", 0)).now, spent(pids)
            time.sleep(seconds)
            until, cpu = direct(store.due("default", 0)).now, spent(pids) - before
        late = sorted(
            created - slot for created, slot in _fired(store) if since <= slot < until - 1000
        )  # fmt: skip
        count = len(late)
        expected = asked * (until - 1000 - since) / 1000
        return {
            "firings_per_s": round(count / ((until - 1000 - since) / 1000)), "asked_per_s": asked, "workers": workers,
            "of_expected": round(count / expected, 3), "late_p50_ms": late[count // 2], "late_max_ms": late[-1],
            "late_p99_ms": late[int(count * 0.99)], "worker_cpu_s_per_s": round(cpu / seconds, 2),
        }  # fmt: skip


def _fired(store: Any) -> Iterator[tuple[int, int]]:
    """When each job was made, and its slot."""
    for state in State:
        cursor = None
        while True:
            page = direct(store.find("default", Where(state=state, limit=500, cursor=cursor)))
            for job in page.records:
                slot = datetime.fromisoformat(job.id.rpartition("@")[2])
                yield job.created_at, round(slot.astimezone(UTC).timestamp() * 1000)
            cursor = page.cursor
            if cursor is None:
                break


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", nargs="+", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--many", type=int, default=10_000)
    said = parser.parse_args()
    for name in said.stores:
        with ExitStack() as stack:
            if name == "sqlite":
                url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/jobs.db"
            else:
                url = stack.enter_context(RedisServer() if name == "redis" else MongoServer()).url
            about = {"bench": "schedules", "store": name}
            if said.many:
                print(json.dumps(about | idle(url, said.many, said.seconds * 2)), flush=True)
            for workers in said.workers:
                print(json.dumps(about | rate(url, ASKED[name], workers, said.seconds)), flush=True)


if __name__ == "__main__":
    main()
