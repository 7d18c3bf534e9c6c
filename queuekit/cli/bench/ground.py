"""Where bench measures: its own namespace, queues that are removed again, worker processes, and the proof of
each run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

from queuekit import QueueKit, ids
from queuekit.cli.bench.tasks import DRAINED, payload
from queuekit.cli.crew import Crew
from queuekit.clock import monotonic
from queuekit.domain.state import State
from queuekit.errors import QueueKitError
from queuekit.settings import Settings
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore

BATCH = 1000


class BenchFailed(QueueKitError):
    """A measurement that cannot be believed: jobs were lost, ran twice, or did not run at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is measured."""

    jobs: int  # of a drain at concurrency 100; the others are fractions of it
    runs: int
    samples: int = 300  # latencies a run; two thirds as many latenesses
    quick: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure, as it is printed."""

    metric: str
    settings: str
    values: tuple[float, ...]
    unit: str

    def to_dict(self) -> dict[str, object]:
        low, high = min(self.values), max(self.values)
        return {
            "metric": self.metric,
            "settings": self.settings,
            "median": _short(statistics.median(self.values)),
            "min": _short(low),
            "max": _short(high),
            "unit": self.unit,
            "runs": len(self.values),
        }


class Ground:
    """The store under measurement, with what every metric needs."""

    def __init__(self, kit: QueueKit, settings: Settings, sizes: Sizes) -> None:
        self.kit = kit
        self.settings = settings
        self.sizes = sizes

    @property
    def store(self) -> JobStore:
        return self.kit.blocking_store()

    @contextlib.contextmanager
    def queue(self) -> Iterator[str]:
        """A new queue, removed at the end with whatever is left in it."""
        name = f"bench-{ids.nonce()}"
        try:
            yield name
        finally:
            self.kit.queue(name).obliterate(confirm=name, force=True)

    def crew(self, **changes: object) -> Crew:
        return Crew("queuekit.cli.bench.hand", dataclasses.replace(self.settings, **changes))  # type: ignore[arg-type]  # fields of Settings by name

    def fill(self, queue: str, task: str, count: int) -> None:
        """Put `count` jobs on the queue, in large batches."""
        one = DRAINED[task].using(queue=queue)
        for start in range(0, count, BATCH):
            self.kit.enqueue_many([one.make(*payload(n)) for n in range(start, min(start + BATCH, count))])

    def drained(self, queue: str, task: str, count: int, concurrency: int) -> dict[str, object]:
        """What one worker process says after running `count` waiting jobs; raises BenchFailed unless each ran once."""
        self.fill(queue, task, count)
        with self.crew() as crew:
            hand = crew.start({"queue": queue, "concurrency": concurrency, "burst": True}, listen=True)
            said = last_line(hand, crew)
        self.prove(queue, said, count)
        return said

    def prove(self, queue: str, said: dict[str, object], count: int) -> None:
        """Each job ran exactly once by the handlers' own counter, and the store says the same."""
        counts = direct(self.store.count(queue))
        left = sum(
            n for state, n in counts.states.items() if state not in (State.COMPLETED, State.FAILED, State.CANCELLED)
        )
        if said["jobs"] != count or said["runs"] != count or left or counts.totals.completed not in (0, count):
            raise BenchFailed(
                f"{count} jobs were enqueued; the handlers counted {said['runs']} runs of {said['jobs']} jobs, and the "
                f"store {counts.totals.completed} completed, {left} left"
            )

    def await_jobs(self, queue: str, count: int, patience: float = 60.0) -> None:
        """Until `count` jobs of the queue have completed."""
        deadline = monotonic() + patience
        while direct(self.store.count(queue)).states.get(State.COMPLETED, 0) < count:
            if monotonic() > deadline:
                raise BenchFailed(
                    f"{count} jobs did not end within {patience:.0f} s: {direct(self.store.count(queue)).states}"
                )
            time.sleep(0.01)


def last_line(hand: subprocess.Popen[bytes], crew: Crew) -> dict[str, object]:
    """The JSON line with which a worker process ends."""
    if hand.stdout is None:
        raise ValueError("started without listening")
    lines = hand.stdout.read().decode().strip().split("\n")
    code = hand.wait()
    try:
        said: dict[str, object] = json.loads(lines[-1])
    except ValueError:
        raise BenchFailed(
            f"a worker process ended with {code} and no figures; it wrote:\n{crew.last_words()}"
        ) from None
    return said


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of 1 of the values lie."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))]


def _short(value: float) -> float:
    return round(value, 1) if abs(value) >= 100 else round(value, 3)
