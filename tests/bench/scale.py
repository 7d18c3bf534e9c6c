"""The figures on a queue where a given number of jobs waits. Run by `compare --scale` on two servers in turn.

What is drained was added just before, so the queue keeps its length; latency is that of a second, idle queue beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from queuekit.cli.bench import metrics
from queuekit.cli.bench.ground import BenchFailed, Ground, Sizes, last_line
from queuekit.cli.bench.tasks import kit, noop, payload
from queuekit.clock import perf
from queuekit.domain.state import State
from queuekit.settings import Settings
from queuekit.store.direct import direct
from tests.bench.rounds import JOBS, Sample, number, shares, tell

QUEUE: Final = "backlog"
FEW: Final = 1_000  # jobs that wait in the short queue
CALLS: Final = 500  # of enqueue_one


class Backlog:
    """A queue where `waiting` jobs stay."""

    def __init__(self, store: str, waiting: int, pid: int, shrink: int) -> None:
        self.jobs = {width: count // shrink for width, count in JOBS[store].items()}
        self.waiting = waiting
        self.pid = pid  # of the server; 0 where there is none
        self.ground = Ground(kit, Settings.load(), Sizes(jobs=self.jobs[100], runs=1))
        have = self._states().get(State.WAITING, 0)
        if have < waiting:
            self.ground.fill(QUEUE, "noop", waiting - have)

    def drain(self, concurrency: int) -> Iterator[Sample]:
        """Jobs a second and CPU a job of taking the oldest; jobs a second of adding as many before."""
        count = self.jobs[concurrency]
        before = self._completed()
        start = perf()
        self.ground.fill(QUEUE, "noop", count)
        if concurrency == 100:
            yield Sample("enqueue_many", count / (perf() - start), "jobs/s")
        served = metrics.cpu_seconds(self.pid)
        with self.ground.crew() as crew:
            hand = crew.start({"queue": QUEUE, "concurrency": concurrency, "max_jobs": count}, listen=True)
            said = last_line(hand, crew)
        served = metrics.cpu_seconds(self.pid) - served
        done, left = self._completed() - before, self._states().get(State.WAITING)
        if said["runs"] != count or done != count or left != self.waiting:
            raise BenchFailed(f"{count} jobs to run: the handlers ran {said['runs']}, {done} completed, {left} wait")
        yield Sample(f"drain_{concurrency}", count / number(said, "seconds"), "jobs/s")
        yield Sample(f"drain_{concurrency}_worker_cpu", number(said, "cpu") / count * 1e6, "us/job")
        if self.pid:
            yield Sample(f"drain_{concurrency}_server_cpu", served / count * 1e6, "us/job")

    def enqueue_one(self) -> Iterator[Sample]:
        """Microseconds of one sync call; the jobs are removed again."""
        one = noop.using(queue=QUEUE)
        one.enqueue(*payload(0)).delete()  # connects, and loads what is loaded once
        start = perf()
        made = [one.enqueue(*payload(n)) for n in range(CALLS)]
        took = (perf() - start) / CALLS * 1e6
        for handle in made:
            handle.delete()
        yield Sample("enqueue_one", took, "us/call")

    def latency(self) -> Iterator[Sample]:
        yield from shares("latency", metrics.latency_idle(self.ground))

    def lateness(self) -> Iterator[Sample]:
        found = shares("lateness", metrics.lateness_delayed(self.ground))
        yield from (one for one in found if not one.metric.endswith("earliest"))

    def _states(self) -> dict[State, int]:
        return dict(direct(self.ground.store.count(QUEUE)).states)

    def _completed(self) -> int:
        return direct(self.ground.store.count(QUEUE)).totals.completed


METRICS: Final[dict[str, Callable[[Backlog], Iterator[Sample]]]] = {
    "drain_100": partial(Backlog.drain, concurrency=100),
    "drain_10": partial(Backlog.drain, concurrency=10),
    "drain_1": partial(Backlog.drain, concurrency=1),
    "enqueue_one": Backlog.enqueue_one,
    "latency": Backlog.latency,
    "lateness": Backlog.lateness,
}


def main() -> int:
    """Measure one round of what the command line names, and print samples as they come."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True, choices=JOBS)
    parser.add_argument("--waiting", type=int, required=True)
    parser.add_argument("--pid", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=1)
    parser.add_argument("--metrics", required=True)
    asked = parser.parse_args()
    backlog = Backlog(asked.store, asked.waiting, asked.pid, asked.shrink)
    try:
        for name in asked.metrics.split(","):
            for sample in METRICS[name](backlog):
                tell(sample)
    finally:
        kit.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
