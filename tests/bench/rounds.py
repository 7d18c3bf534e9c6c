"""One store measured in rounds, floor and queuekit in turn; each sample is one JSON line on standard output.

Run by `compare`, one process a store: it inherits the store's URL in its environment. What samples mean is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

from queuekit.cli.bench import metrics
from queuekit.cli.bench.ground import BenchFailed, Ground, Line, Sizes, last_line
from queuekit.cli.bench.tasks import kit, noop, payload
from queuekit.clock import monotonic, perf
from queuekit.domain.state import State
from queuekit.settings import Settings
from queuekit.store.direct import direct
from tests.bench import starts
from tests.bench.floors import Floor, call_us, floor_of

SLICES = 10  # turns of floor and queuekit inside one round of `enqueue_one`
IDLE_ROUNDS = 2  # a look at an idle worker takes 20 s; the server's counters are exact

# Jobs of a drain at concurrency 100, 10 and 1: about a second each.
JOBS: Final = {
    "redis": {100: 30_000, 10: 12_000, 1: 3_000},
    "mongo": {100: 8_000, 10: 2_000, 1: 300},
    "sqlite": {100: 15_000, 10: 6_000, 1: 2_000},
}
CALLS: Final = {"redis": 200, "mongo": 20, "sqlite": 100}  # in one slice


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one round, and the floor's in the same round where there is one."""

    metric: str
    value: float
    unit: str
    floor: float | None = None


class Bench:
    """What every metric needs: queuekit on this store, the floor beside it, the server's process."""

    def __init__(self, store: str, floor: Floor, pid: int, shrink: int) -> None:
        self.store = store
        self.floor = floor
        self.pid = pid  # of the server; 0 where there is none
        settings = Settings.load()
        self.jobs = {width: count // shrink for width, count in JOBS[store].items()}
        self.ground = Ground(kit, settings, Sizes(jobs=self.jobs[100], runs=1, samples=200, quick=shrink > 1))

    def drain(self, concurrency: int) -> Iterator[Sample]:
        """Jobs a second through one worker process, beside the loop at a batch of the same size."""
        count = self.jobs[concurrency]
        floor = self.floor.drain(concurrency, count)
        with self.ground.queue() as queue:
            self.ground.fill(queue, "noop", count)
            served = metrics.cpu_seconds(self.pid)
            with self.ground.crew() as crew:
                hand = crew.start({"queue": queue, "concurrency": concurrency, "burst": True}, listen=True)
                said = last_line(hand, crew)
            served = metrics.cpu_seconds(self.pid) - served
            self.ground.prove(queue, said, count)
        name = f"drain_{concurrency}"
        yield Sample(name, count / number(said, "seconds"), "jobs/s", floor)
        yield Sample(f"{name}_worker_cpu", number(said, "cpu") / count * 1e6, "us/job")
        if self.pid:
            yield Sample(f"{name}_server_cpu", served / count * 1e6, "us/job")
        if concurrency == 100:
            yield Sample("worker_rss", number(said, "peak") / 2**20, "MiB")

    def two_workers(self) -> Iterator[Sample]:
        """Jobs a second of two worker processes beside one; the queue is opened when all are at work."""
        count = self.jobs[100]
        one, two = (self._released(workers, count) for workers in (1, 2))
        yield Sample("two_workers", two, "jobs/s", one)

    def _released(self, workers: int, count: int) -> float:
        with self.ground.queue() as queue, self.ground.crew() as crew:
            self.ground.kit.queue(queue).pause("the bench fills it")
            self.ground.fill(queue, "noop", count)
            told = {"queue": queue, "concurrency": 100}
            hands = [crew.start(told, listen=True) for _ in range(workers)]
            for hand in hands:
                metrics.await_beat(self.ground, hand.pid)
            self.ground.kit.queue(queue).resume()
            self._await_empty(queue)
            for hand in hands:
                hand.terminate()
            said = [last_line(hand, crew) for hand in hands]
            both = {name: sum(int(number(one, name)) for one in said) for name in ("jobs", "runs")}
            self.ground.prove(queue, dict(both), count)
            ran = [one for one in said if one["jobs"]]
            took = max(number(one, "last") for one in ran) - min(number(one, "first") for one in ran)
        return count / took

    def _await_empty(self, queue: str) -> None:
        deadline = monotonic() + 120
        while True:
            time.sleep(0.2)  # seldom: on MongoDB a count reads every key
            states = direct(self.ground.store.count(queue)).states
            if not states.get(State.WAITING) and not states.get(State.ACTIVE):
                return
            if monotonic() > deadline:
                raise BenchFailed(f"jobs did not end within 120 s: {states}")

    def enqueue_one(self) -> Iterator[Sample]:
        """Microseconds of one sync call, in turn with the least call that stores a job."""
        calls = CALLS[self.store]
        floors, ours = [], []
        with self.ground.queue() as queue:
            one = noop.using(queue=queue)
            one.enqueue(*payload(0))  # connects, and loads what is loaded once
            for turn in range(SLICES):
                floors.append(call_us(self.floor, calls))
                start = perf()
                for n in range(calls):
                    one.enqueue(*payload(turn * calls + n))
                ours.append((perf() - start) / calls * 1e6)
            metrics.expect(self.ground, queue, SLICES * calls + 1)
        floors.sort()
        ours.sort()
        yield Sample("enqueue_one", ours[SLICES // 2], "us/call", floors[SLICES // 2])

    def enqueue_many(self) -> Iterator[Sample]:
        yield from _plain("enqueue_many", metrics.enqueue_many(self.ground))

    def sleepers(self) -> Iterator[Sample]:
        """50 ms of waiting in each job, 100 at once: 2,000/s would be ideal."""
        yield from _plain("sleepers", iter([metrics.drain(self.ground, "", "sleep50", 4_000, 100)]))

    def latency(self) -> Iterator[Sample]:
        yield from shares("latency", metrics.latency_idle(self.ground))

    def lateness(self) -> Iterator[Sample]:
        yield from shares("lateness", metrics.lateness_delayed(self.ground))

    def idle(self) -> Iterator[Sample]:
        names = {"commands/s": "idle_commands", "requests/s": "idle_requests", "%": "idle_cpu"}
        for line in metrics.idle_commands(self.ground):
            yield Sample(names[line.unit], line.values[0], line.unit)

    def bytes(self) -> Iterator[Sample]:
        yield from _plain("bytes", metrics.bytes_per_job(self.ground))

    def start(self) -> Iterator[Sample]:
        """Importing queuekit and enqueueing by name, in a fresh process; and the command line's start."""
        with self.ground.queue() as queue:
            took, cpu, whole = starts.producer(queue)
        yield Sample("bare_python", starts.bare(), "ms")
        yield Sample("first_enqueue", took, "ms")
        yield Sample("first_enqueue_cpu", cpu, "ms")
        yield Sample("first_enqueue_process", whole, "ms")
        yield Sample("cli_start", starts.command_line(), "ms")


def _plain(name: str, lines: Iterator[Line]) -> Iterator[Sample]:
    for line in lines:
        yield Sample(name, line.values[0], line.unit)


def shares(name: str, lines: Iterator[Line]) -> Iterator[Sample]:
    for line in lines:
        yield Sample(f"{name}_{line.settings.partition(' ')[0]}", line.values[0], line.unit)


def number(said: dict[str, object], name: str) -> float:
    return float(str(said[name]))


METRICS: Final[dict[str, Callable[[Bench], Iterator[Sample]]]] = {
    "drain_100": partial(Bench.drain, concurrency=100),
    "drain_10": partial(Bench.drain, concurrency=10),
    "drain_1": partial(Bench.drain, concurrency=1),
    "two_workers": Bench.two_workers,
    "enqueue_one": Bench.enqueue_one,
    "enqueue_many": Bench.enqueue_many,
    "sleepers": Bench.sleepers,
    "latency": Bench.latency,
    "lateness": Bench.lateness,
    "idle": Bench.idle,
    "bytes": Bench.bytes,
    "start": Bench.start,
}
SELDOM: Final = {"idle": IDLE_ROUNDS, "bytes": 3}  # rounds that are enough


def main() -> int:
    """Measure what the command line names, and print samples as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, choices=JOBS)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--metrics", required=True)
    asked = parser.parse_args()
    floor = floor_of(asked.store, os.environ["QUEUEKIT_URL"])
    bench = Bench(asked.store, floor, asked.pid, asked.shrink)
    try:
        for turn in range(asked.rounds):
            for name in asked.metrics.split(","):
                if turn < SELDOM.get(name, asked.rounds):
                    for sample in METRICS[name](bench):
                        tell(sample)
    finally:
        floor.close()
        kit.close()
    return 0


def tell(sample: Sample) -> None:
    """One sample on standard output."""
    print(json.dumps(asdict(sample)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
