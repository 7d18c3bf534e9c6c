"""People and workers at the same jobs at the same moment: what each was answered, and what became of the job."""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb
from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from tests.torture.conftest import STORES
from tests.torture.crowd import versions
from tests.torture.director import staging
from tests.torture.program import QUEUE, make_kit

VERBS = (Verb.CANCEL, Verb.DELETE, Verb.RETRY)
BATCH = 50


@dataclass(slots=True)
class Told:
    """What happened to one job, by what its contenders were answered."""

    verb: Verb
    changed: list[bool] = field(default_factory=list)  # ok, by each person who asked
    accepted: int = 0  # ends the store took
    refused: int = 0
    final: State | None = None


class Actor:
    def __init__(self) -> None:
        self.name, self.n = ids.nonce(), 0

    def op(self) -> Op:
        self.n += 1
        return Op(self.name, self.n)


def illegal(one: Told) -> str | None:
    """Why this cannot be, None where it can."""
    ok = sum(one.changed)
    if not one.changed:
        legal = one.final is State.COMPLETED and one.accepted == 1
    elif one.verb is Verb.CANCEL:
        legal = one.final in (State.CANCELLED, State.COMPLETED) and one.accepted == (one.final is State.COMPLETED)
        legal = legal and (ok > 0 or one.final is State.COMPLETED)
    elif one.verb is Verb.DELETE:
        legal = (one.final is None) == (ok == 1) and ok <= 1 and one.accepted <= 1
        legal = legal and (one.final is None or (one.final is State.COMPLETED and one.accepted == 1))
    else:
        legal = one.final is State.COMPLETED and one.accepted == 1 + ok
    return None if legal else f"{one.verb.value}: {one}"


def race(stores: list[JobStore], races: int, seed: int) -> list[Told]:
    """Batches of jobs, each job wanted by two workers and one or two people at once."""
    rng = random.Random(seed)
    told: list[Told] = []
    for start in range(0, races, BATCH):
        jobs = {f"r{start + n}": Told(rng.choice(VERBS)) for n in range(min(BATCH, races - start))}
        _batch(stores, jobs, random.Random(rng.random()))
        told += jobs.values()
    return told


def _order(jobs: dict[str, Told], rng: random.Random) -> list[str]:
    """Most of the jobs about in the order in which workers claim them, so that the two meet."""
    near = {job: n + rng.gauss(0, 4) for n, job in enumerate(jobs)}
    return sorted((job for job in jobs if rng.random() < 0.7), key=near.__getitem__)


def _batch(stores: list[JobStore], jobs: dict[str, Told], rng: random.Random) -> None:
    specs = [JobSpec(id=job, task="t", body=b"j{}") for job in jobs]
    direct(stores[0].enqueue(QUEUE, specs, Actor().op()))
    gate, lock, done = threading.Barrier(4), threading.Lock(), threading.Event()
    people = [_order(jobs, rng), _order(jobs, rng)]
    failures: list[BaseException] = []

    def guarded(call: object, *args: object) -> None:
        try:
            call(*args)  # type: ignore[operator]  # one of the two below
        except BaseException as error:
            failures.append(error)
            done.set()

    def person(store: JobStore, order: list[str], pace: float) -> None:
        actor = Actor()
        gate.wait()
        for job in order:
            time.sleep(pace)
            (answer,) = direct(store.change(QUEUE, [Change(id=job, verb=jobs[job].verb)], actor.op()))
            with lock:
                jobs[job].changed.append(answer.ok)

    def worker(store: JobStore, pace: float) -> None:
        actor, outcomes = Actor(), list[Outcome]()
        gate.wait()
        while True:
            last = done.is_set()
            reply = direct(store.exchange(QUEUE, actor.op(), outcomes, Ask(want=1, lease=60_000)))
            no = {job for job, _ in reply.refused}
            with lock:
                for outcome in outcomes:
                    if outcome.id in no:
                        jobs[outcome.id].refused += 1
                    else:
                        jobs[outcome.id].accepted += 1
            outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in reply.claims]
            if last and not outcomes:
                return
            time.sleep(pace)

    paces = [rng.choice((0.0, 0.0005, 0.001)) for _ in range(4)]
    workers = [threading.Thread(target=guarded, args=(worker, stores[n], paces[2 + n])) for n in (0, 1)]
    persons = [threading.Thread(target=guarded, args=(person, stores[2 + n], people[n], paces[n])) for n in (0, 1)]
    for thread in [*workers, *persons]:
        thread.start()
    for thread in persons:
        thread.join()
    done.set()
    for thread in workers:
        thread.join()
    if failures:
        raise failures[0]
    for job, record in zip(jobs, direct(stores[0].get(QUEUE, list(jobs))), strict=True):
        jobs[job].final = None if record is None else record.state


def run(store: str, races: int, seed: int) -> tuple[list[str], dict[str, object]]:
    """Races on one store: what was illegal, and how they went."""
    with staging(store) as director:
        kits = [make_kit(director.setting) for _ in range(4)]
        try:
            told = race([kit.blocking_store() for kit in kits], races, seed)
            said = versions(director)
        finally:
            for kit in kits:
                kit.close()
    wrong = [why for why in map(illegal, told) if why is not None]
    ends = Counter(
        f"{one.verb.value} {'ok' if any(one.changed) else 'no'} {one.final.value if one.final else 'gone'}"
        for one in told
    )
    figures: dict[str, object] = {
        "torture": "races", "store": store, "seed": seed, "versions": said, "races": len(told),
        "ends": dict(sorted(ends.items())),
        "untouched": sum(not one.changed for one in told), "refused": sum(one.refused for one in told),
        "illegal": len(wrong),
    }  # fmt: skip
    return wrong, figures


def main() -> int:
    """Ten thousand on every store; 1 where any was illegal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    said = parser.parse_args()
    broken = 0
    for store in STORES:
        wrong, figures = run(store, said.races, said.seed)
        print(json.dumps(figures), flush=True)
        print(*wrong[:10], sep="\n", file=sys.stderr)
        broken += len(wrong)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
