"""What the Redis store costs beside a bare script: script time a job, time of a call, bytes of a waiting job.

    python tests/bench/redis_store.py [redis://127.0.0.1:6379/0]

Starts a server of its own where no URL is given. Prints one JSON line a figure.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator

import redis
from queuekit_redis import backend

from queuekit import clock, ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

PAYLOAD = json.dumps({"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456", "note": "x" * 30}).encode()
LEAST = "return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])"


def show(metric: str, settings: str, runs: list[float], unit: str) -> None:
    print(json.dumps({
        "metric": metric, "settings": settings, "median": round(statistics.median(runs), 2),
        "min": round(min(runs), 2), "max": round(max(runs), 2), "unit": unit, "runs": len(runs),
    }), flush=True)  # fmt: skip


def timed(fn: Callable[[], object], n: int) -> float:
    start = clock.perf()
    for _ in range(n):
        fn()
    return (clock.perf() - start) / n * 1e6


def script_time(client: redis.Redis) -> int:
    """Microseconds the server spent in scripts so far."""
    stats = client.info("commandstats")
    return sum(stats[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)


def spec() -> JobSpec:
    return JobSpec(id=ids.job_id(), task="work", body=PAYLOAD[:100])


def fill(store: JobStore, queue: str, many: int) -> None:
    actor = ids.nonce()
    for n in range(0, many, 1000):
        direct(store.enqueue(queue, [spec() for _ in range(min(1000, many - n))], Op(actor, n + 1)))


def drain(store: JobStore, client: redis.Redis, batch: int, total: int) -> tuple[float, float]:
    """(script us a job, jobs/s) of a whole drain, each exchange settling and claiming `batch`."""
    queue = ids.nonce()
    fill(store, queue, total)
    actor, n, outcomes, done = ids.nonce(), 0, list[Outcome](), 0
    before, start = script_time(client), clock.perf()
    while True:
        n += 1
        reply = direct(store.exchange(queue, Op(actor, n), outcomes, Ask(want=batch, worker="bench")))
        done += len(outcomes)
        outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in reply.claims]
        if not outcomes:
            break
    took = clock.perf() - start
    assert done == total, (done, total)
    spent = script_time(client) - before
    direct(store.obliterate(queue, force=True))
    return spent / total, total / took


def measure(url: str) -> None:
    client = redis.Redis.from_url(url)
    store = backend.blocking(url, StoreOptions(namespace="bench"))
    direct(store.open())
    least = client.script_load(LEAST)
    floor, one, actor, n = [], [], ids.nonce(), 0

    def enqueue() -> None:
        nonlocal n
        n += 1
        direct(store.enqueue("single", [spec()], Op(actor, n)))

    for _ in range(7):  # in turns, so that both meet the same neighbours
        floor.append(timed(lambda: client.evalsha(least, 1, "{bench/}:floor", "id", PAYLOAD), 2000))
        one.append(timed(enqueue, 2000))
    show("evalsha", "bare, redis-py, 1 key, 100 bytes", floor, "us")
    show("enqueue_one", "blocking", one, "us")
    show("enqueue_one / evalsha", "same turn", [a / b for a, b in zip(one, floor, strict=True)], "x")
    for batch, total in ((1, 4000), (10, 20000), (100, 50000)):
        runs = [drain(store, client, batch, total) for _ in range(3)]
        show("exchange_script", f"batch {batch}, settle and claim", [a for a, _ in runs], "us/job")
        show("exchange_drain", f"batch {batch}, one blocking client", [b for _, b in runs], "jobs/s")
    queue, many = ids.nonce(), 50_000
    before = client.info("memory")["used_memory"]
    fill(store, queue, many)
    grown = client.info("memory")["used_memory"] - before
    show("bytes_per_job", "waiting, 100-byte payload", [grown / many], "bytes")
    for key in client.scan_iter(match="{bench/*", count=1000):
        client.unlink(key)
    direct(store.close())


@contextlib.contextmanager
def server() -> Iterator[str]:
    if len(sys.argv) > 1:
        yield sys.argv[1]
    else:
        with RedisServer() as own:
            yield own.url


if __name__ == "__main__":
    with server() as address:
        measure(address)
