"""How long the jobs of a killed worker wait for their next run; `python -m tests.torture.recovery` measures it."""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time

from tests.torture.conftest import STORES
from tests.torture.crowd import quantiles, versions
from tests.torture.director import Director, staging
from tests.torture.history import recoveries

LIMITS = {2.0: 3.0, 30.0: 35.0}  # seconds, by lease


def measure(
    store: str, lease: float, *, kills: int, workers: int = 3, slots: int = 4, seed: int = 1
) -> dict[str, object]:
    """Kill workers one after the other, each with all its slots taken; from each kill to each job's next run."""
    rng = random.Random(seed)
    with staging(store, lease=lease, concurrency=slots, max_crashes=3) as director:
        director.start_workers(workers)
        for number in range(kills):
            _kill_one(director, rng, number, workers * slots, lease)
        director.stop()
        times = recoveries(director.history())
        return {
            "torture": "recovery", "store": store, "lease_s": lease, "seed": seed, "versions": versions(director),
            "kills": len(director.killed), "limit_s": LIMITS[lease], "recovery_s": quantiles(times),
        }  # fmt: skip


def _kill_one(director: Director, rng: random.Random, number: int, slots: int, lease: float) -> None:
    """Fill every slot, kill a worker at any moment of its leases, wait until its jobs ran elsewhere, end the rest."""
    jobs = [f"r{number}.{n}" for n in range(slots)]
    director.enqueue("holds", jobs, {"ms": int(lease * 1500)})
    director.wait("every slot is taken", lambda: {run.job for run in director.runs()} >= set(jobs))
    workers = sorted(name for name in director.live)
    director.start_workers(1)  # with room for what the victim leaves
    time.sleep(rng.uniform(0, lease / 2))
    victim = workers[number % len(workers)]
    director.kill(victim)
    killed = {run.job for run in director.runs() if run.actor == victim and run.job in jobs and run.ended is None}
    assert killed, "a kill that cuts off no run proves nothing"
    director.wait("its jobs ran again", lambda: {run.job for run in director.runs() if run.claims == 2} >= killed)
    director.wait("the others ended", director.at_rest)


def price(store: str, *, jobs: int = 12, ms: int = 3000) -> dict[str, object]:
    """What isolation costs long jobs: a suspect runs without another beside it, so a dead worker's jobs form a line.

    Two workers are left, each takes one suspect after the other; nobody promises more, so this is printed only.
    """
    with staging(store, lease=2.0, concurrency=jobs, max_crashes=3) as director:
        (victim,) = director.start_workers(1)
        director.enqueue("sleeps", [f"l{n}" for n in range(jobs)], {"ms": ms})
        director.wait("all began", director.started(jobs))
        director.start_workers(2)
        director.kill(victim)
        director.wait("all work ended", director.at_rest)
        director.stop()
        return {
            "torture": "price of isolation", "store": store, "lease_s": 2.0, "jobs": jobs, "job_s": ms / 1000,
            "workers_left": 2, "recovery_s": quantiles(recoveries(director.history())),
        }  # fmt: skip


def main() -> int:
    """Both leases on every store, the stores beside each other: they mostly wait. 1 where a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--lease", action="append", type=float, choices=sorted(LIMITS))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    said = parser.parse_args()
    missed: list[str] = []

    def measured(store: str, lease: float) -> None:
        figures = measure(store, lease, kills=12 if lease < 10 else 2, seed=said.seed)
        print(json.dumps(figures), flush=True)
        times = figures["recovery_s"]
        if not isinstance(times, dict) or not times["n"] or times["max"] > LIMITS[lease]:
            missed.append(store)

    for lease in said.lease or LIMITS:
        threads = [threading.Thread(target=measured, args=(store, lease)) for store in said.store or STORES]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(price("redis")), flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
