"""Whether a deep queue costs more on MongoDB: claims over 500,000 waiting and as many delayed, 100,000 due at once.

    python -m tests.bench.mongo_depth [--jobs 500000] [--due 100000]

Starts a server of its own, with a cache that holds the jobs. Prints one JSON line a figure, each with what it must be;
ends with 1 where one is not so. Calls on the deep and on the shallow queue alternate, and medians are compared.
"""

from __future__ import annotations

import argparse
import statistics

from queuekit_mongo.backend import backend
from queuekit_mongo.store import MongoStore

from queuekit import clock
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import MongoServer
from tests.bench.redis_depth import FAILED, SHALLOW, Side, calls, show

MOST = 1.5  # times what the same call takes on a shallow queue


class Large(MongoServer):
    """A mongod whose cache holds a million small jobs."""

    def _command(self) -> list[str]:
        command = super()._command()
        command[command.index("--wiredTigerCacheSizeGB") + 1] = "1.5"
        return command


def opened(url: str, namespace: str, ahead: list[int]) -> MongoStore:
    store = backend.blocking(url, StoreOptions(namespace=namespace), shift=lambda: ahead[0])
    direct(store.open())
    return store


def due_at_once(url: str, many: int) -> None:
    """So many jobs due in one millisecond: each call promotes 500 of them at most, and takes no longer than the first.

    Each is 500 documents that move from one index to another; what is asserted is that the last calls cost what the
    first ones did, and that none waits for all.
    """
    ahead = [0]
    store = opened(url, "due", ahead)
    side = Side(store, "due")
    side.put(many, run_at=clock.now_ms() + 10_000_000)
    ahead[0] = 20_000_000
    times = []
    for _ in range(many // 500 + 5):
        start = clock.perf()
        side.turn(100)
        times.append((clock.perf() - start) * 1e3)
    assert direct(store.count("due")).states[State.DELAYED] == 0
    promoting = times[: many // 500]
    tenth = len(promoting) // 10
    first, last = statistics.median(promoting[:tenth]), statistics.median(promoting[-tenth:])
    show(f"last calls to the first of {many:,} jobs due at once", last / first, "x", MOST,
         first_ms=round(first, 1), last_ms=round(last, 1))  # fmt: skip
    show("longest call while they are promoted", max(promoting), "ms", 20 * first, median=statistics.median(promoting))
    direct(store.close())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--due", type=int, default=100_000)
    said = parser.parse_args()
    with Large() as server:
        store = opened(server.url, "depth", [0])
        deep, shallow = Side(store, "deep"), Side(store, "shallow")
        for side, many in ((deep, said.jobs), (shallow, SHALLOW)):
            side.put(many)
            side.put(many, delay=100_000_000)
        calls(deep, shallow, f"over {said.jobs:,} waiting and as many delayed", MOST, looks=("find", "recover"))
        start = clock.perf()
        counts = direct(store.count("deep"))
        show("count of the deep queue", (clock.perf() - start) * 1e3, "ms", jobs=sum(counts.states.values()))
        direct(store.close())
        due_at_once(server.url, said.due)
    return 1 if FAILED else 0


if __name__ == "__main__":
    raise SystemExit(main())
