"""Whether a deep queue costs more on Redis: claims over 500,000 waiting and as many delayed, 100,000 jobs due at once.

    python tests/bench/redis_depth.py [--jobs 500000] [--due 100000]

Starts a server of its own. Prints one JSON line a figure, each with what it must be; ends with 1 where one is not so.
Calls on the deep and on the shallow queue alternate, and medians are compared: other work on the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from queuekit_redis import RedisStore, backend

from queuekit import clock, ids
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.query import Where
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

SHALLOW = 1000
ROUNDS = 400
PAYLOAD = b"x" * 100
FAILED: list[str] = []


def show(metric: str, value: float, unit: str, most: float | None = None, **more: Any) -> None:
    ok = most is None or value <= most
    print(
        json.dumps({"metric": metric, "value": round(value, 3), "unit": unit, "most": most, "ok": ok, **more}),
        flush=True,
    )
    if not ok:
        FAILED.append(metric)


class Side:
    """One queue and its only worker."""

    def __init__(self, store: JobStore, queue: str) -> None:
        self.store, self.queue = store, queue
        self.lane, self.actor, self.puts, self.calls = ids.nonce(), ids.nonce(), 0, 0
        self.held: list[JobRecord] = []

    def put(self, many: int, **said: Any) -> None:
        for n in range(0, many, 1000):
            self.puts += 1
            specs = [JobSpec(id=ids.job_id(), task="t", body=PAYLOAD, **said) for _ in range(min(1000, many - n))]
            direct(self.store.enqueue(self.queue, specs, Op(self.lane, self.puts)))

    def turn(self, want: int) -> None:
        """Complete what is held, claim as many again."""
        self.calls += 1
        outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in self.held]
        reply = direct(self.store.exchange(self.queue, Op(self.actor, self.calls), outcomes, Ask(want=want)))
        assert len(reply.claims) == want
        self.held = reply.claims


def compared(metric: str, deep: Callable[[], object], shallow: Callable[[], object], most: float, rounds: int) -> None:
    """How much longer the deep side's calls take, by medians over alternating calls."""
    times: tuple[list[float], list[float]] = ([], [])
    for n in range(rounds * 2):
        start = clock.perf()
        (deep if n % 2 else shallow)()
        times[n % 2].append((clock.perf() - start) * 1e6)
    low, high = (statistics.median(side) for side in times)
    p99 = [round(statistics.quantiles(side, n=100)[98], 1) for side in times]
    show(metric, high / low, "x", most, shallow_us=round(low, 1), deep_us=round(high, 1), p99_us=p99)


def calls(
    deep: Side, shallow: Side, depth: str, most: float, looks: tuple[str, ...] = ("count", "find", "recover", "prune")
) -> None:
    for want in (1, 10, 100):
        rounds = ROUNDS if want < 100 else ROUNDS // 4
        for side in (deep, shallow):
            side.put(want * (rounds + 1))
            side.turn(want)
        compared(f"claim {want} {depth}", partial(deep.turn, want), partial(shallow.turn, want), most, rounds)
    compared(f"enqueue 1 {depth}", lambda: deep.put(1), lambda: shallow.put(1), most, ROUNDS)
    compared(f"enqueue 100 {depth}", lambda: deep.put(100), lambda: shallow.put(100), most, ROUNDS // 4)
    known: dict[str, Callable[[Side], Any]] = {
        "count": lambda side: side.store.count(side.queue),
        "find": lambda side: side.store.find(side.queue, Where(state=State.WAITING, limit=20)),
        "recover": lambda side: side.store.recover(side.queue),
        "prune": lambda side: side.store.prune(side.queue),
    }
    for name in looks:
        look = known[name]
        compared(f"{name} {depth}", lambda: direct(look(deep)), lambda: direct(look(shallow)), most, ROUNDS)  # noqa: B023  called at once


def script_ms(client: Any) -> float:
    stats = client.info("commandstats")
    return float(sum(stats[name]["usec"] for name in ("cmdstat_eval", "cmdstat_evalsha") if name in stats)) / 1000


def due_at_once(client: Any, many: int) -> None:
    """So many jobs due in one millisecond: no script may hold the server for long.

    The same is done three times, and of each call the shortest counts: the others had to wait for the processor.
    """
    runs: list[list[float]] = []
    for n in range(3):
        store = opened(client, f"due{n}")
        ahead = [0]
        store.move_clock(lambda ahead=ahead: ahead[0])  # type: ignore[misc]  # a default is how a loop variable is kept
        side, moment = Side(store, "due"), clock.now_ms() + 10_000_000
        side.put(many, run_at=moment)
        ahead[0] = 20_000_000
        times: list[float] = []
        for _ in range(many // 500 + 20):
            before = script_ms(client)
            side.turn(100)
            times.append(script_ms(client) - before)
        runs.append(times)
        assert direct(store.count("due")).states[State.DELAYED] == 0
        client.flushdb()
        direct(store.close())
    best = [min(same) for same in zip(*runs, strict=True)]
    raw, middle = max(map(max, runs)), statistics.median(best[: many // 500])
    show(
        f"longest script of {many:,} jobs due at once",
        max(best),
        "ms",
        10.0,
        median=round(middle, 2),
        raw=round(raw, 2),
    )


def opened(client: Any, namespace: str) -> RedisStore:
    made = backend.adopt(client, StoreOptions(namespace=namespace))
    assert made is not None
    assert isinstance(made[0], RedisStore)
    direct(made[0].open())
    return made[0]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=500_000)
    parser.add_argument("--due", type=int, default=100_000)
    chosen = parser.parse_args()
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        due_at_once(client, chosen.due)
        store = opened(client, "depth")
        deep, shallow = Side(store, "deep"), Side(store, "shallow")
        shallow.put(SHALLOW)
        deep.put(chosen.jobs)
        deep.put(chosen.jobs, delay=86_400_000)
        calls(deep, shallow, f"over {chosen.jobs:,} waiting and as many delayed", 1.5)
        deep.put(chosen.jobs)
        calls(deep, shallow, f"over {2 * chosen.jobs:,} waiting", 1.2)
        direct(store.close())
    return 1 if FAILED else 0


if __name__ == "__main__":
    raise SystemExit(main())
