"""Random histories: mover's steps, aborts, lost answers, callers of both stores: nothing is stranded or doubled.

The seed of a history that fails is in the test's name. More of them: QUEUEKIT_FOLLOWING_HISTORIES=1000.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from queuekit import QueueKit, Unique
from queuekit.domain.job import JobSpec
from queuekit.domain.moving import Parcel
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.errors import Conflict, Moved, StoreUnavailable
from queuekit.producing import access, roads
from queuekit.store.direct import direct
from tests.two_stores import Worlds

HISTORIES = int(os.environ.get("QUEUEKIT_FOLLOWING_HISTORIES", "40"))
STEPS = 150
NAMES = [f"x{n}" for n in range(6)]
KEYS = ["k0", "k1"]


class History:
    """One queue, four callers, one mover that turns round and back, workers of both stores by hand."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rng = random.Random(seed)
        self.worlds = Worlds()
        self.move = self.worlds.move()
        self.out: list[Parcel] = []
        self.phase = "here"
        self.ran: list[str] = []
        self.made: dict[str, int] = {}  # how often an id may have been made, by what callers were told
        self.lost = 0
        self.turns = 0.15  # how often the mover turns round
        self.forgets = seed % 2 == 1  # stores keep no op records, as MongoDB
        self.kits = [
            self._lossy(self.worlds.kit(url, timeout=30)) for url in ("red://", "red://", "blue://", "blue://")
        ]
        self.n = 0
        monkeypatch.setattr(roads, "REMEMBERED", 0.002)

        async def sleep(at: object, seconds: float) -> None:
            self.mover()

        monkeypatch.setattr(access.Blocking, "sleep", sleep)
        monkeypatch.setattr(access._Sleeper, "sleep", sleep)

    # ------------------------------------------------------------ the mover
    def mover(self) -> None:
        """Its next step; it may turn round as long as the target is not open, and goes back when it is through."""
        steps: dict[str, Callable[[], str]] = {
            "here": self._begin,
            "arriving": lambda: self._then(self.move.leave, "moving"),
            "moving": self._carry, "out": self._bring, "in": self._forget,
            "turning": lambda: self._then(self.move.arrive, "moving"),
            "open": self._tail, "gone": lambda: self._then(self.move.end, "end"), "end": self._again,
        }  # fmt: skip
        self.phase = steps[self.phase]()

    def _begin(self) -> str:
        return self._then(self.move.arrive, "arriving") if self.rng.random() < 0.2 or not self.turns else "here"

    def _then(self, step: Callable[[], object], phase: str) -> str:
        step()
        return phase

    def _carry(self) -> str:
        if self.rng.random() < self.turns:
            return self._turn()
        self.out = self.move.out(self.rng.randint(1, 4))
        if self.out:
            return "out"
        self.move.hold().open()
        return "open"

    def _bring(self) -> str:
        self.move.bring(self.out)
        return "in"

    def _forget(self) -> str:
        self.move.forget(self.out)
        return "open" if self.move_open else "moving"

    @property
    def move_open(self) -> bool:
        return bool(direct(self.move.target.conf("q")).home is Home.HERE)

    def _turn(self) -> str:
        """An abort: what was held is dropped, and all of it goes the other way."""
        target = self.move.target
        direct(target.unhold("q", self.move.epochs[id(target)]))
        back = self.move.back()
        back.say(back.source, Home.MOVING, back.target_name)
        self.move = back
        return "turning"

    def _tail(self) -> str:
        self.work(self.move.source, claims=False)
        self.out = self.move.out(self.rng.randint(1, 4))
        if self.out:
            return "out"
        if self.worlds.store(self.move.source_name).peek("q").of(State.ACTIVE):
            return "open"
        self.move.gone()
        return "gone"

    def _again(self) -> str:
        self.move = self.move.back()
        return "here"

    # ------------------------------------------------------------ the workers
    def work(self, store: Any, *, claims: bool = True) -> None:
        """A run ends, and others begin."""
        self.n += 1
        q = store.peek("q")
        ended = [
            Outcome(job.id, job.token or "", self.rng.choice((Kind.COMPLETED, Kind.COMPLETED, Kind.RELEASED)))
            for job in q.of(State.ACTIVE) if job.token
        ][: self.rng.randint(0, 2) if claims else None]  # fmt: skip
        said = direct(
            store.exchange("q", Op("worker", self.n), ended, Ask(want=self.rng.randint(0, 2) if claims else 0))
        )
        assert said.refused == []
        self.ran += [one.id for one in ended if one.kind is Kind.COMPLETED]

    # ------------------------------------------------------------ the callers
    def call(self) -> None:
        began = direct(self.worlds.store("blue").conf("q")).epoch  # nobody uses the new store before
        kit, rng = self.rng.choice(self.kits if began else self.kits[:2]), self.rng
        queue = kit.queue("q")
        options: dict[str, Any] = {}
        if rng.random() < 0.5:
            options["id"] = rng.choice(NAMES)
        if rng.random() < 0.4:
            options["unique"] = Unique(rng.choice(KEYS), on_conflict=rng.choice(("existing", "replace", "error")))
        try:
            if rng.random() < 0.5:
                handles = [queue.enqueue("t", **options)]
            else:
                handles = kit.enqueue_many([queue.make("t", **options), queue.make("t")])
        except (Moved, Conflict):
            return
        except StoreUnavailable:
            return  # it may have been written
        for handle in handles:
            self.made.setdefault(handle.id, 0)
            self.made[handle.id] += handle.created is True
            self.seen(kit, handle.id)

    def seen(self, kit: QueueKit, id: str) -> None:
        """Whoever was told of a job finds it, from any process, and every store has what it says."""
        # the store a queue will leave hears of the move last: until then it knows nothing of jobs made at the new one
        other = kit if self.phase == "arriving" else self.rng.choice([kit, *self.kits[:2]])
        assert other.job(id, queue="q").get() is not None, (id, self.phase)

    def look(self) -> None:
        """Jobs that were told of are somewhere, once; a key is held by one job."""
        copies: dict[str, list[str]] = {}
        for name in ("red", "blue"):
            q = self.worlds.store(name).peek("q")
            for job in q.jobs.values():
                if job.id not in q.absent and not (job.state is State.ACTIVE and job.token is None):
                    copies.setdefault(job.id, []).append(name)
        for name in self.made:
            assert len(copies.get(name, [])) <= 1 or self.phase == "in", (name, copies[name], self.phase)
        assert len(self.ran) == len(set(self.ran)), "run twice"
        both = [self.worlds.store(name).peek("q") for name in ("red", "blue")]
        for key in KEYS:
            holders = {held.id for q in both if (held := q.held(key, self.worlds.clock.ms())) is not None}
            assert len(holders) <= 1, (key, holders, self.phase)

    def _lossy(self, kit: QueueKit) -> QueueKit:
        """Some answers are lost, some calls never arrive."""
        real = kit.access._make

        def make(settings: Any, *, blocking: bool) -> Any:
            store: Any = real(settings, blocking=blocking)
            enqueue = store.enqueue

            async def lossy(
                queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
            ) -> Any:
                chance = self.rng.random()
                if chance < 0.05:
                    raise StoreUnavailable("it did not arrive", outcome="unknown")
                if self.forgets:
                    store.peek(queue).ops.clear()
                answer = await enqueue(queue, jobs, op, within, asked)
                if chance < 0.15:
                    self.lost += 1
                    raise StoreUnavailable("the answer was lost", outcome="unknown")
                return answer

            store.enqueue = lossy
            return store

        kit.access._make = make  # type: ignore[method-assign]  # made to lose answers
        return kit

    def run(self) -> None:
        for _ in range(STEPS):
            chance = self.rng.random()
            if chance < 0.3:
                self.mover()
            elif chance < 0.6:
                self.work(self.worlds.store(self.rng.choice(("red", "blue"))))
            else:
                self.call()
            self.look()
        self.turns = 0.0
        for _ in range(1000):  # to an end
            if self.phase == "end":
                break
            self.mover()
        assert self.phase == "end"
        left, home = self.worlds.store(self.move.source_name), self.worlds.store(self.move.target_name)
        assert left.peek("q").jobs == {}, "stranded"
        there = set(home.peek("q").jobs)
        assert set(self.made) <= there
        assert {name: times for name, times in self.made.items() if times > 1} == {}, "told as made twice"
        for kit in self.kits:
            kit.close()


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_nothing_is_stranded_or_doubled(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(seed, monkeypatch)
    history.run()
    assert history.made


def test_answers_were_lost_and_jobs_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    histories = [History(seed, monkeypatch) for seed in range(5)]
    for history in histories:
        history.run()
    assert sum(history.lost for history in histories) > 10
    assert sum(len(history.ran) for history in histories) > 10
