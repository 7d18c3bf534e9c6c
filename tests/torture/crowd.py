"""Many processes on one store, killed while they work; `python -m tests.torture.crowd` is the full form."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.torture.conftest import STORES
from tests.torture.director import Director, Havoc, staging
from tests.torture.history import Breach, check, recoveries, reruns


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How large a run is."""

    jobs: int = 20_000
    producers: int = 8
    workers: int = 8
    concurrency: int = 10
    longest: int = 300
    lease: float = 2.0
    seconds: float = 35.0  # over which producers spread their calls
    every: float = 0.2
    strikes: int = 3  # server kills; on SQLite, kills of all workers at once
    away: float = 0.0
    kills: int = 100  # fewer than this is no torture


def run(store: str, crowd: Crowd, seed: int) -> tuple[list[Breach], dict[str, object]]:
    """One run on one store: what it broke, and its figures."""
    rng = random.Random(seed)
    with staging(store, concurrency=crowd.concurrency, longest=crowd.longest, lease=crowd.lease) as director:
        begun = time.monotonic()
        havoc = Havoc(director, rng, every=crowd.every)
        _torture(director, havoc, crowd, seed)
        codes = {code for name, code in director.stop().items() if name.startswith("w")}
        history = director.history()
        breaches = check(history, director.promises(kills=crowd.kills, server_kills=crowd.strikes))
        times = recoveries(history)
        said: dict[str, object] = {
            "torture": "crowd", "store": store, "seed": seed, "versions": versions(director),
            "jobs": len(history.final), "unknown_calls": sum(call.answered is None for call in history.calls),
            "runs": len(history.runs), "re_runs": reruns(history),
            "kills": havoc.kills, "producer_kills": havoc.producer_kills, "server_kills": director.server_kills,
            "outages_s": [round(one, 2) for one in director.outages], "exit_codes": sorted(map(str, codes)),
            "recovery_s": quantiles(times), "seconds": round(time.monotonic() - begun, 1), "breaches": len(breaches),
        }  # fmt: skip
        if breaches:
            keep(director, breaches)
        return breaches, said


def _torture(director: Director, havoc: Havoc, crowd: Crowd, seed: int) -> None:
    share = -(-crowd.jobs // crowd.producers)

    def producer(name: str) -> None:
        director.start_producer(name, share, crowd.seconds, seed + int(name[1:]))

    for n in range(crowd.producers):
        producer(f"p{n}")
    for _ in range(crowd.workers):
        director.start_worker()
    strikes = 0
    while not (strikes >= crowd.strikes and _produced(director) and director.at_rest()):
        havoc.round(producer)
        ended = sum(director.counts().get(state, 0) for state in ("completed", "failed", "cancelled"))
        if strikes < crowd.strikes and ended > crowd.jobs * (strikes + 1) / (crowd.strikes + 1):
            havoc.strike(crowd.away)
            strikes += 1
    havoc.settle()
    director.wait("all work ended", director.at_rest)


def _produced(director: Director) -> bool:
    for name in [name for name, process in director.live.items() if name[0] == "p" and process.exitcode is not None]:
        code = director.join(name)
        assert code == 0, f"{name} ended with {code}: {director.errors()}"
    return not any(name.startswith("p") for name in director.live)


def quantiles(times: Sequence[float]) -> dict[str, object]:
    """p50, p99 and the longest, of sorted times."""
    if not times:
        return {"n": 0}
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"n": len(times)} | {
        name: round(times[min(len(times) - 1, int(q * len(times)))], 3) for name, q in at.items()
    }


def versions(director: Director) -> dict[str, str]:
    """What was tortured."""
    said = {name: version(name) for name in ("queuekit", "redis", "pymongo")}
    return said | {"python": sys.version.split()[0], "server": director.server_version()}


def keep(director: Director, breaches: Sequence[Breach]) -> None:
    """Print the first broken rules and what was written down about their jobs."""
    print(*breaches[:20], sep="\n", file=sys.stderr)
    for breach in breaches[:3]:
        for path in sorted(Path(director.setting.folder).glob("*.log")):
            found = [line for line in path.read_text().splitlines() if breach.job in line.replace("/", " ").split()]
            print(*(f"{path.stem}: {line[:300]}" for line in found), sep="\n", file=sys.stderr)


def main() -> int:
    """Every store, one after the other; a line of JSON each. 1 where a rule was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", choices=STORES)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=35.0)
    parser.add_argument("--strikes", type=int, default=3, help="kills of the server")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between kills of a worker")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    said = parser.parse_args()
    broken = 0
    for store in said.store or STORES:
        kills = round(0.5 * said.seconds / said.every)
        crowd = Crowd(jobs=said.jobs, seconds=said.seconds, strikes=said.strikes, every=said.every, kills=kills)
        breaches, figures = run(store, crowd, said.seed)
        print(json.dumps(figures), flush=True)
        broken += len(breaches)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
