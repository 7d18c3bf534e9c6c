"""What is counted of a store: the same small programs on each, over the blocking port, so that counts repeat exactly.

A scene is made ready first; only what it does itself is counted, and divided by its jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.domain.query import WorkerBeat
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from tests.guard.budgets import Counted

Run: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]
PAYLOAD = b'j{"user":"user-123","note":"' + b"x" * 70 + b'"}'
ONE = 100  # calls of the scene enqueue_one


@dataclass(frozen=True, slots=True)
class Scene:
    """`act` is counted; it handles `jobs` jobs."""

    name: str
    jobs: int
    act: Callable[[], None]


class Stage:
    """The scenes over one store. `advance` moves the store's clock by ms, `run` gets the answer of a call."""

    def __init__(self, store: JobStore, advance: Callable[[int], None], run: Run = direct) -> None:
        self._store, self._advance, self._run = store, advance, run
        self._actor, self._n = ids.nonce(), 0

    def scenes(self) -> Iterator[Scene]:
        """Each is made ready when it is asked for, so run one before taking the next."""
        self._enqueue("one", 1)
        yield Scene("enqueue_one", ONE, lambda: self._one_by_one(ONE))
        self._enqueue("many", 1)
        yield Scene("enqueue_many", 1000, lambda: self._enqueue("many", 1000))
        for batch, jobs in ((1, 100), (10, 500), (100, 1000)):
            queue = f"drain-{batch}"
            self._enqueue(queue, jobs)
            yield Scene(f"drain_{batch}", jobs, lambda: self._drain(queue, batch, jobs))  # noqa: B023  run at once
        self._enqueue("later", 1)
        yield Scene("delayed", 500, self._delayed)
        self._enqueue("idle", 1)
        self._drain("idle", 1, 1)
        for name, act in self._idle():
            act()
            yield Scene(f"idle_{name}", 1, act)

    def _op(self) -> Op:
        self._n += 1
        return Op(self._actor, self._n)

    def _enqueue(self, queue: str, jobs: int, delay: int | None = None) -> None:
        specs = [JobSpec(id=ids.job_id(), task="work", body=PAYLOAD, delay=delay) for _ in range(jobs)]
        self._run(self._store.enqueue(queue, specs, self._op()))

    def _one_by_one(self, jobs: int) -> None:
        for _ in range(jobs):
            self._enqueue("one", 1)

    def _drain(self, queue: str, batch: int, jobs: int) -> None:
        """As a worker does: each call hands in the ends of the last one's claims."""
        done, outcomes = 0, list[Outcome]()
        while done < jobs:
            want = min(batch, jobs - done - len(outcomes))
            said = self._run(self._store.exchange(queue, self._op(), outcomes, Ask(want=want, worker="guard")))
            assert not said.refused
            done += len(outcomes)
            outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in said.claims]
            assert len(outcomes) == want

    def _delayed(self) -> None:
        self._enqueue("later", 499, delay=1000)
        self._advance(1001)
        self._drain("later", 100, 500)

    def _idle(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """What a worker asks while nothing is to do."""
        store, run = self._store, self._run
        beat = WorkerBeat(id="w", host="h", pid=1, queues=("idle",), concurrency=1, started_at=0)
        yield "exchange", lambda: _none(run(store.exchange("idle", self._op(), [], Ask(want=1))).claims)
        yield "recover", lambda: _none(run(store.recover("idle")).suspects)
        yield "beat", lambda: _none(run(store.beat(beat, 1000)) == 0)
        yield "conf", lambda: _none(run(store.conf("idle")).rev)
        yield "prune", lambda: _none(run(store.prune("idle"))[0])
        keeping: Any = store
        yield "due", lambda: _none(run(keeping.due("idle")).records)
        run(store.wait(["idle"], 1))  # what was rung for so far is heard now
        yield "wait", lambda: _none(run(store.wait(["idle"], 1)))


def _none(found: object) -> None:
    assert not found


def counted(
    stage: Stage, count: Callable[[], dict[str, float]], only: Container[str] | None = None
) -> dict[str, Counted]:
    """Every scene's counts for one job, or those of some; `count` tells what was counted since the beginning."""
    found: dict[str, Counted] = {}
    for scene in stage.scenes():
        if only is not None and scene.name not in only:
            continue
        before = count()
        scene.act()
        after = count()
        found[scene.name] = {what: round((after[what] - before[what]) / scene.jobs, 4) for what in after}
    return found
