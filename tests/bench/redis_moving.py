"""What a mover's batch costs on Redis: jobs a second of each call, with the client's and the server's CPU time.

    python tests/bench/redis_moving.py [jobs] [batch]

Starts a server of its own; one queue moves to another of it. Prints one JSON line a figure.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import redis
from queuekit_redis import backend

from queuekit import ids
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.moving import Parcel
from queuekit.domain.outcome import Home, Op
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

PAYLOAD = b"x" * 100


def plain(n: int) -> JobSpec:
    return JobSpec(id=ids.job_id(), task="work", body=PAYLOAD)


def mixed(n: int) -> JobSpec:
    """Every other job has something beside its payload."""
    if n % 2:
        return plain(n)
    return JobSpec(
        id=ids.job_id(), task="work", body=PAYLOAD, options=b"o" * 20, trace="00-ab-cd-01", expires_in=3_600_000,
        delay=60_000 if n % 4 else None, unique=UniqueKey(f"k{n}") if n % 8 == 0 else None,
    )  # fmt: skip


def script_seconds(client: Any) -> float:
    """What the server spent in scripts so far."""
    stats = client.info("commandstats")
    return float(sum(stats[name]["usec"] for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)) / 1e6


class Costs:
    """Wall time, the client's CPU time, script time and the longest script, by name of a call."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.spent: dict[str, list[float]] = {}

    def of(self, name: str, call: Coroutine[Any, Any, Any]) -> Any:
        before, wall, own = script_seconds(self.client), time.perf_counter(), time.process_time()
        answer = direct(call)
        wall, own = time.perf_counter() - wall, time.process_time() - own
        script = script_seconds(self.client) - before
        was = self.spent.get(name, [0.0] * 4)
        self.spent[name] = [was[0] + wall, was[1] + own, was[2] + script, max(was[3], script)]
        return answer


def moves(url: str, make: Callable[[int], JobSpec], jobs: int, size: int) -> None:
    client: Any = redis.Redis.from_url(url)
    store: Any = backend.blocking(url, StoreOptions(namespace="bench"))
    direct(store.open())
    actor = ids.nonce()
    for n in range(0, jobs, 1000):
        direct(store.enqueue("from", [make(n + k) for k in range(min(1000, jobs - n))], Op(actor, n + 1)))
    direct(store.authority("from", 1, "m", Home.MOVING, "to"))
    standing = direct(store.authority("to", 1, "m", Home.ARRIVING, "from", room=jobs))
    costs, batch, rank = Costs(client), 0, 0
    while rank < jobs:
        batch += 1
        parcels: list[Parcel] = costs.of("checkout", store.checkout("from", 1, batch, size))
        for parcel in parcels:
            parcel.record = replace(parcel.record, place=standing.base + rank)
            rank += 1
        names = [parcel.record.id for parcel in parcels]
        assert costs.of("import", store.import_batch("to", 1, batch, parcels, [], b"")) == []
        assert all(costs.of("get", store.get("to", names)))
        assert costs.of("confirm", store.confirm("from", 1, batch, names)).removed == len(names)
    for name, (wall, own, script, longest) in costs.spent.items():
        print(json.dumps({
            "metric": name, "jobs": make.__name__, "batch": size, "jobs/s": round(jobs / wall),
            "client us/job": round(own / jobs * 1e6, 2), "script us/job": round(script / jobs * 1e6, 2),
            "longest script ms": round(longest * 1000, 2),
        }), flush=True)  # fmt: skip
    direct(store.close())
    client.flushall()  # a server of our own


if __name__ == "__main__":
    many, one = (int(word) for word in (sys.argv[1:] + ["50000", "500"][len(sys.argv) - 1 :])[:2])
    with RedisServer() as server:
        for kind in (plain, mixed):
            moves(server.url, kind, many, one)
