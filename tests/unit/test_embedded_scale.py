"""What SQLite does for a call does not grow with the queue: steps of its machine, counted, beside few jobs and many.

QUEUEKIT_SCALE=500000 fills the queue with so many waiting and as many delayed jobs, and compares times as well.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where
from queuekit.domain.state import State
from queuekit.embedded import EmbeddedStore, backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions

pytestmark = pytest.mark.store("sqlite")
FEW = 1000
MANY = int(os.environ.get("QUEUEKIT_SCALE", "10000"))
FINE = 5  # steps between two looks
LATER = 10**9


class Filled:
    """A store whose queue holds `size` waiting jobs of ten priorities and as many delayed ones."""

    def __init__(self, folder: Path, size: int) -> None:
        self.ahead = 0
        url = f"sqlite:///{folder}/{size}.db"
        self.store: EmbeddedStore = backend.blocking(url, StoreOptions(), lambda: clock.now_ms() + self.ahead)
        direct(self.store.open())
        self.n = 0
        for start in range(0, size, 1000):
            some = range(start, min(start + 1000, size))
            self.put([JobSpec(id=f"w{i}", task="t", body=b"j{}", priority=i % 10) for i in some])
            self.put([JobSpec(id=f"d{i}", task="t", body=b"j{}", delay=LATER + i * 7919 % size) for i in some])

    def op(self) -> Op:
        self.n += 1
        return Op("a", self.n)

    def put(self, jobs: list[JobSpec]) -> None:
        direct(self.store.enqueue("q", jobs, self.op()))

    def work(self, jobs: int = 10) -> None:
        """Claim some and complete them."""
        claims = direct(self.store.exchange("q", self.op(), [], Ask(want=jobs))).claims
        assert len(claims) == jobs
        ends = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in claims]
        direct(self.store.exchange("q", self.op(), ends, Ask()))

    def steps(self, act: Callable[[], object]) -> int:
        """Steps of SQLite's machine that a call takes."""
        ticks = 0

        def tick() -> int:
            nonlocal ticks
            ticks += FINE
            return 0

        pool = self.store._port.hub.pool
        conn = pool.lend()
        conn.set_progress_handler(tick, FINE)
        pool.back(conn)
        act()
        conn.set_progress_handler(None, 0)
        return ticks

    def calls(self) -> dict[str, Callable[[], object]]:
        """What workers, producers and people ask, each small by itself."""
        store = self.store
        claim = direct(store.exchange("q", self.op(), [], Ask(want=1))).claims[0]
        hold = Hold(id=claim.id, token=claim.token or "")
        return {
            "exchange": self.work,
            "enqueue": lambda: self.put([JobSpec(id=f"new{self.n}", task="t", body=b"j{}")]),
            "delay": lambda: self.put([JobSpec(id=f"new{self.n}", task="t", body=b"j{}", delay=5)]),
            "renew": lambda: direct(store.renew("q", [hold], 30_000, "a", 10**6)),
            "recover": lambda: direct(store.recover("q")),
            "count": lambda: direct(store.count("q")),
            "find": lambda: direct(store.find("q", Where(state=State.DELAYED, limit=10))),
            "position": lambda: direct(store.position("q", "d7")),
            "promote": lambda: direct(store.change("q", [Change(id="d9", verb=Verb.PROMOTE)], self.op())),
            "prune": lambda: direct(store.prune("q")),
        }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Filled, Filled]]:
    folder = tmp_path_factory.mktemp("scale")
    small, large = Filled(folder, FEW), Filled(folder, MANY)
    yield small, large
    for one in (small, large):
        direct(one.store.close())


def test_no_call_takes_more_steps_beside_many_jobs_than_beside_few(filled: tuple[Filled, Filled]) -> None:
    took = [{name: one.steps(act) for name, act in one.calls().items()} for one in filled]
    assert all(steps > 0 for steps in took[0].values())
    over = {name: (few, took[1][name]) for name, few in took[0].items() if took[1][name] > few * 1.25 + 4 * FINE}
    assert over == {}


def test_jobs_due_in_one_moment_are_promoted_in_pieces_that_do_not_grow(filled: tuple[Filled, Filled]) -> None:
    """All delayed jobs become due; each call moves 500 of them and claims its own, whatever is still to come."""
    most = []
    for one in filled:
        one.ahead = 2 * LATER
        before = direct(one.store.count("q")).states[State.DELAYED]
        most.append(one.steps(one.work))
        moved = before - direct(one.store.count("q")).states[State.DELAYED]
        assert moved == min(before, 1000)  # by two calls
        one.ahead = 0
    assert most[1] < most[0] * 1.25


def claims_take_as_long(filled: tuple[Filled, Filled]) -> None:
    """Ten jobs claimed and completed, beside few and beside many."""
    times: list[list[float]] = [[], []]
    for _ in range(30):  # in turns, so that both meet the same neighbours
        for own, one in zip(times, filled, strict=True):
            start = clock.perf()
            one.work(10)
            own.append(clock.perf() - start)
    few, many = (statistics.median(own) * 1000 for own in times)
    print(f"ten jobs claimed and completed: {few:.2f} ms beside {FEW}, {many:.2f} ms beside {MANY} waiting and delayed")
    assert many < few * 1.5


if "QUEUEKIT_SCALE" in os.environ:  # times mean something on a machine that does nothing else

    @pytest.mark.timeout(900)
    def test_a_claim_takes_as_long_beside_many_jobs_as_beside_few(filled: tuple[Filled, Filled]) -> None:
        claims_take_as_long(filled)
