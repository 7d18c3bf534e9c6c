"""How fast an SQLite file lets jobs go and takes them in: the mover's verbs in batches, from one file to another.

`python -m tests.bench.moves [JOBS]`; nothing is promised here, decision 088 tells what it measured.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Home, Op
from queuekit.embedded import EmbeddedStore, backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

R = TypeVar("R")
BATCH: Final = 500
Q: Final = "q"


def opened(path: Path) -> EmbeddedStore:
    store = backend.blocking(f"sqlite:///{path}", StoreOptions())
    direct(store.open())
    return store


def measured(jobs: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds by the clock and of CPU time that each verb took for all jobs."""
    source, target = opened(folder / "a.db"), opened(folder / "b.db")
    for first in range(0, jobs, 1000):
        specs = [JobSpec(id=f"j{n:08}", task="t", body=b"x" * 100) for n in range(first, min(first + 1000, jobs))]
        direct(source.enqueue(Q, specs, Op("p", first + 1)))
    direct(source.authority(Q, 1, "m", Home.MOVING, "b"))
    base = direct(target.authority(Q, 1, "m", Home.ARRIVING, "a", room=jobs)).base
    spent: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def timed(name: str, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = direct(call())
        spent[name][0] += time.perf_counter() - wall
        spent[name][1] += time.process_time() - cpu
        return answer

    batch = moved = 0
    while True:
        batch += 2
        parcels = timed("checkout", lambda n=batch: source.checkout(Q, 1, n, BATCH))  # type: ignore[misc]  # of this turn
        if not parcels:
            break
        there = [
            dataclasses.replace(one, record=dataclasses.replace(one.record, place=base + moved + i))
            for i, one in enumerate(parcels)
        ]
        moved += len(there)
        ids = [one.record.id for one in there]
        timed("import", lambda n=batch, them=there: target.import_batch(Q, 1, n, them, [], b""))  # type: ignore[misc]  # of this turn
        timed("get", lambda names=ids: target.get(Q, names))  # type: ignore[misc]  # of this turn
        timed("confirm", lambda n=batch, names=ids: source.confirm(Q, 1, n, names))  # type: ignore[misc]  # of this turn
    assert moved == jobs, moved
    direct(source.close())
    direct(target.close())
    return {name: (wall, cpu) for name, (wall, cpu) in spent.items()}


def main() -> None:
    """Measure once and print."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with tempfile.TemporaryDirectory() as folder:
        for name, (wall, cpu) in measured(jobs, Path(folder)).items():
            print(f"{name:10} {jobs / wall:10,.0f} jobs/s by the clock {jobs / cpu:10,.0f} by CPU time")


if __name__ == "__main__":
    main()
