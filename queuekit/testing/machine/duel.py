"""Two sides, the same steps on both, and everything compared after each. What is asked when is decided elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, cast

from queuekit import clock
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.moving import Standing
from queuekit.domain.outcome import Ask, Exchange, Home, Op, Recovery
from queuekit.domain.query import Where
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import QueueKitError
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.testing.machine import alike
from queuekit.testing.machine.moves import In, Move, Out, Restore
from queuekit.testing.machine.plans import PLANS, Fire, TakeSchedules
from queuekit.testing.machine.script import script
from queuekit.testing.machine.side import Side, Slow
from queuekit.testing.machine.steps import Configure, Obliterate, Pass, Prune, Put, Q, Skew, Step, Trouble, Work
from queuekit.testing.machine.tolerance import Tolerance

IDS: Final = ("a", "B", "a.1", "a_", "b", "10", "9", "Z-9", "c", "d")
PROBES: Final = ("k0", "k1", "k2")  # jobs of the end
KEYS: Final = ("x", "y", "x y")
LONG: Final = 40 * alike.UNIT + alike.HALF  # ms of a lease
STATES: Final = tuple(State)
_now_ms = clock.now_ms


@dataclass(slots=True, kw_only=True)
class Plan:
    """How a run is made, beside its steps."""

    tidy: bool = False  # prune after each step
    deep: bool = False  # ask everything after each step, not one state's pages at a time


@dataclass(slots=True)
class Tally:
    """What happened in all runs of a session: a machine that does nothing proves nothing."""

    runs: int = 0
    steps: int = 0
    given_up: int = 0  # runs that were too slow
    injected: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {count}" for name, count in sorted(self.seen.items()))
        return f"{self.steps} steps in {self.runs} runs, {self.given_up} given up, {self.injected} faults: {told}"


class Difference(AssertionError):
    """Two stores that should not differ; `steps` led there, in a run that was `tidy` or not."""

    def __init__(self, message: str, steps: Sequence[Step], tidy: bool) -> None:
        super().__init__(message)
        self.steps, self.tidy = tuple(steps), tidy


class Duel:
    """One run on two sides, the second usually the model."""

    def __init__(self, sides: Sequence[Side], plan: Plan | None = None, tally: Tally | None = None) -> None:
        self.sides, self.plan, self.tally = list(sides), plan or Plan(), tally or Tally()
        self.tolerance = Tolerance.of(*(side.capabilities for side in sides))
        self.steps: list[Step] = []
        self.units = 0
        self.over = False
        self.began_tidy = self.plan.tidy
        self.jobs: dict[str, dict[str, Any]] = {}  # as they were last seen, on the first side
        self.standing: Standing | None = None  # since a mover was here
        self.journal: dict[str, Any] | None = None
        self.plans: list[str] = []  # schedules, as they were last seen
        self.scheduling = all("schedules" in side.capabilities.parts for side in self.sides)
        self.tally.runs += 1

    @property
    def now(self) -> int:
        """ms since the run began, at the next step."""
        return (self.units + 1) * alike.UNIT

    def rev(self, id: str) -> int:
        """The revision of a job as it was last seen."""
        return int(self.jobs[id]["rev"]) if id in self.jobs else 1

    def late(self) -> bool:
        """Whether a job that was last seen waiting was not started in time."""
        known = (self.jobs[name]["expires_at"] for name in self.those(State.WAITING, State.DELAYED))
        return any(moment is not None and moment <= self.units for moment in known)

    def those(self, *states: State) -> list[str]:
        """The jobs that were last seen in these states."""
        return sorted(name for name, job in self.jobs.items() if job["state"] in states)

    def close(self) -> None:
        clock.now_ms = _now_ms
        self.tally.injected += sum(side.injected for side in self.sides)
        for side in self.sides:
            side.close()

    # ------------------------------------------------------------------ a step

    def do(self, step: Step) -> object:
        """Do a step on both sides and compare; the first side's answer. Raises Difference."""
        if self.over:
            return None
        self.steps.append(step)
        try:
            return self._do(step)
        except Slow:
            self.over = True
            self.tally.given_up += 1
            return None

    def _do(self, step: Step) -> object:
        self.units += 1 + (step.units if isinstance(step, Pass) else 0)
        if isinstance(step, Skew):
            clock.now_ms = lambda: _now_ms() + step.ms
        told: list[object] = []
        for side in self.sides:
            side.arrive(self.units)
            told.append(side.perform(step))
        self._note(step, told[0])
        self.same(
            "reply",
            [
                self.tolerance.reply(step, alike.answer(one, side.base), late=self.late())
                for one, side in zip(told, self.sides, strict=True)
            ],
        )
        if self.tolerance.prunes(step):
            self.plan.tidy = True
        if self.plan.tidy:
            self.each(self._tidied)
        self.look()
        runs = any(self.jobs[name]["token"] is not None for name in self.those(State.ACTIVE))  # not for a mover
        if runs and any(isinstance(one, Recovery) and one.calm for one in told):
            self.fail(["a recovery calls a queue calm in which jobs are active"])
        return told[0]

    def _tidied(self, side: Side) -> None:
        more = True
        while more:
            _, more = side.run(side.stores[0].prune(Q))

    def _note(self, step: Step, told: object) -> None:
        self.tally.steps += 1
        self.tally.seen[type(step).__name__ if not isinstance(told, str) else told] += 1
        if step.trouble:
            self.tally.seen[str(step.trouble)] += 1
        if isinstance(told, Exchange):
            self.tally.seen["claims"] += len(told.claims)
            self.tally.seen["refused"] += len(told.refused)
        if isinstance(told, Standing):
            self.standing = told
        if isinstance(step, Out) and isinstance(told, list):
            self.tally.seen["parcels"] += len(told)
        if isinstance(step, In) and isinstance(told, list):
            self.tally.seen["clashes"] += len(told)
            self.tally.seen["moved"] += len(step.cargo) - len(told)
        if isinstance(step, Fire) and isinstance(told, list):
            self.tally.seen.update("fired" if one.no is None else f"fire {one.no}" for one in told)

    # ------------------------------------------------------------------ comparing

    def same(self, what: str, told: Sequence[Any]) -> None:
        """Raise Difference unless both told the same."""
        found = alike.differences(told[0], told[1], what)
        if found:
            self.fail(found)

    def fail(self, found: Sequence[str]) -> None:
        """Raise Difference with the steps that led here; Slow if a side is behind, for it may be none."""
        if any(side.behind for side in self.sides):
            raise Slow
        self.over = True
        names = " | ".join(side.name for side in self.sides)
        lines = "\n".join(found[: alike.SHOWN])
        raise Difference(
            f"{names} differ after step {len(self.steps)}:\n{lines}\ntidy = {self.began_tidy}\n{script(self.steps)}",
            self.steps,
            self.began_tidy,
        )

    def each(self, ask: Callable[[Side], Any]) -> list[Any]:
        """What each side answers, or its error's name."""
        told = []
        for side in self.sides:
            try:
                told.append(ask(side))
            except QueueKitError as error:
                told.append(type(error).__name__)
        return told

    def look(self) -> None:
        """Compare what both hold: every job and the counts at each step, the rest in turns."""
        jobs = self.each(self._jobs)
        self.same("jobs", jobs)
        self.jobs = jobs[0]
        if len({side.coming for side in self.sides}) > 1:
            raise Slow
        counts = self.each(lambda side: side.run(side.stores[0].count(Q)))
        told = [alike.plain(one, side.base) for one, side in zip(counts, self.sides, strict=True)]
        totals, waited = ([one.pop(name) for one in told] for name in ("totals", "oldest_waiting"))
        self.same("count", told)
        if not self.tolerance.waited(*waited):
            self.same("oldest_waiting", waited)
        again = any(step.trouble in (Trouble.DUPLICATE, Trouble.LATE) for step in self.steps)
        if not self.tolerance.counted(totals[0], totals[1], again=again):
            self.same("totals", totals)
        if self.standing is not None:
            self.look_aside()
        if self.scheduling:
            self.look_ahead()
        turn = len(self.steps)
        deep = self.plan.deep
        for state in STATES if deep else (STATES[turn % len(STATES)],):
            self.pages(state, task="s" if turn % 3 == 0 else None)
        for name in IDS if deep else (IDS[turn % len(IDS)], IDS[(turn + 3) % len(IDS)]):
            self.same(f"position {name}", self.each(partial(self._position, name)))
        if deep or turn % 5 == 0:
            self.look_around()

    def _jobs(self, side: Side) -> dict[str, Any]:
        found = side.run(side.stores[0].get(Q, IDS + PROBES))
        delayed = [(job.run_at, job.id) for job in found if job is not None and job.state is State.DELAYED]
        side.coming = tuple(name for _, name in sorted(delayed, key=lambda one: (one[0] or 0, one[1])))
        return alike.records(found, side.base)

    def look_aside(self) -> None:
        """What a mover reads."""
        journals = self.each(lambda side: alike.plain(side.run(_mover(side).journal(Q)), side.base))
        self.same("journal", journals)
        self.journal = journals[0]
        for batch in (journals[0] or {}).get("taken", ()):
            self.same(f"taken {batch}", self.each(lambda side, n=batch: side.run(_mover(side).taken(Q, n))))  # type: ignore[misc]  # of this turn
        for after in ("", "a"):
            self.same("running", self.each(lambda side, a=after: self._parcels(side, a)))  # type: ignore[misc]  # of this turn
        keys = self.each(lambda side: alike.plain(side.run(_mover(side).timed_keys(Q, "", 9)), side.base))
        self.same("timed_keys", keys)
        if not isinstance(self.steps[-1], Move):  # then a store may still wait for calls that began before
            self.same("known", self.each(self._known))

    def look_ahead(self) -> None:
        """Schedules, and which are due."""
        found = self.each(lambda side: side.run(_planner(side).schedules(Q)))
        told = [alike.answers(one, side.base) for one, side in zip(found, self.sides, strict=True)]
        self.same("schedules", told)
        before, self.plans = self.plans, [one["id"] for one in told[0]]
        brought = isinstance(self.steps[-1], TakeSchedules)
        for side, records in zip(self.sides, found, strict=True):
            for record in records:
                self._seen(side, record, anew=brought and record.id not in before)
        turn = len(self.steps) % 3
        self.same("due", self.each(lambda side: alike.answer(side.run(_planner(side).due(Q, turn)), side.base)))
        if turn == 1:
            self.same(
                "get",
                self.each(lambda side: alike.answers(side.run(_planner(side).get_schedules(Q, PLANS)), side.base)),
            )

    def _seen(self, side: Side, record: ScheduleRecord, *, anew: bool) -> None:
        """Keep a new version; no two have one rev, and the later has the higher. Not of one that a mover brings where
        none stands (`anew`): it is as old as it was there.
        """
        seen = side.plans.setdefault(record.id, [])
        changed = bool(seen) and replace(record, rev=0) != replace(seen[-1], rev=0)
        if changed and record.rev <= seen[-1].rev and not anew:
            self.fail(
                [f"{side.name}: schedule {record.id} changed, and its rev went from {seen[-1].rev} to {record.rev}"]
            )
        if not seen or seen[-1].rev != record.rev:
            seen.append(record)

    def _parcels(self, side: Side, after: str) -> Any:
        return alike.answer(side.run(_mover(side).running(Q, after, 3)), side.base)

    def _known(self, side: Side) -> Any:
        known = side.run(_mover(side).known(Q, IDS, KEYS))
        return None if known is None else [sorted(known.ids), known.keys]

    def look_around(self) -> None:
        """What changes seldom: configuration, workers, where a job is."""
        self.same("conf", self.each(lambda side: alike.plain(side.run(side.stores[1].conf(Q)), side.base)))
        self.same("workers", self.each(lambda side: alike.plain(side.run(side.stores[0].workers()), side.base)))
        self.same(
            "locate", self.each(lambda side: sorted(alike.records(side.run(side.stores[1].locate(IDS[0])), side.base)))
        )

    def _position(self, name: str, side: Side) -> Any:
        return alike.plain(side.run(side.stores[0].position(Q, name)), side.base)

    def pages(self, state: State, task: str | None) -> None:
        """Compare all pages of a state."""
        told = self.each(partial(self._paged, state, task))
        self.same(f"find {state}", [one if isinstance(one, str) else self.tolerance.pages(one) for one in told])

    def _paged(self, state: State, task: str | None, side: Side) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        while True:
            page = side.run(side.stores[0].find(Q, Where(state=state, task=task, limit=3, cursor=cursor)))
            found += [[alike.sorted_by(job, side.base), job.id, job.state.value] for job in page.records]
            cursor = page.cursor
            if cursor is None:
                return found

    # ------------------------------------------------------------------ the end

    def come_home(self, epoch: int) -> None:
        """End every move: what is out goes back, and the queue is simply here."""
        for batch in (self.journal or {}).get("out", ()):
            self.do(Restore(epoch=epoch, batch=batch))
        self.do(Move(epoch=epoch + 1, home=Home.HERE))

    def finish(self) -> None:
        """What no reading shows: who holds the keys, and in which order all that is left is claimed."""
        if self.standing is not None:
            self.come_home(self.standing.conf.epoch)
        self.do(Configure(override=Limits()))
        unique = [UniqueKey(key) for key in KEYS]
        self.do(
            Put(
                op=Op("end", 1),
                jobs=tuple(
                    JobSpec(id=name, task="s", body=b"", unique=key) for name, key in zip(PROBES, unique, strict=True)
                ),
            )
        )
        for n in range(3):
            self.do(Work(op=Op("end", 2 + n), ask=Ask(want=20, lease=LONG, worker="end")))
        self.plan.deep = True
        self.do(Prune())
        self.do(Obliterate(force=True, limit=4))


def _planner(side: Side) -> SchedulingStore:
    return cast("SchedulingStore", side.stores[0])


def _mover(side: Side) -> MovingStore:
    return cast("MovingStore", side.stores[0])


def replay(duel: Duel, steps: Iterable[Step]) -> None:
    """Run a kept list of steps, and the end of every run. Raises Difference."""
    try:
        for step in steps:
            duel.do(step)
        duel.finish()
    finally:
        duel.close()
