"""The Hypothesis state machine: which step comes next, made concrete by what the run has come to.

Its rules never look at the stores, only at the answers the duel kept: so a list of steps is the whole run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from queuekit.domain.job import JobSpec, Retention
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Exchange, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb
from queuekit.domain.state import TERMINAL, State
from queuekit.testing.machine import draws
from queuekit.testing.machine.alike import HALF, UNIT
from queuekit.testing.machine.draws import Ending, Luck
from queuekit.testing.machine.duel import IDS, Duel
from queuekit.testing.machine.steps import (
    Alter,
    Annotate,
    Configure,
    Obliterate,
    Pass,
    Prune,
    Put,
    Recover,
    Renew,
    Restart,
    Step,
    Trouble,
    Work,
)

Call: TypeAlias = Put | Work | Alter
FIT: Final = {
    Verb.CANCEL: (State.WAITING, State.DELAYED, State.ACTIVE, State.PARKED),
    Verb.RETRY: (*TERMINAL, State.PARKED),
    Verb.PROMOTE: (State.DELAYED,),
    Verb.RESCHEDULE: (State.WAITING, State.DELAYED),
    Verb.REPLACE: (State.WAITING, State.DELAYED, State.PARKED),
    Verb.REOPEN: (State.PARKED,),
    Verb.DELETE: (*TERMINAL, State.PARKED, State.WAITING, State.DELAYED),
}
AGAIN: Final = 12  # steps after which nobody repeats a call any more: less than a minute


class Machine(RuleBasedStateMachine):
    """One run. `begin` is given by timed.machine_of."""

    begin: ClassVar[Callable[[bool], Duel]]

    def __init__(self) -> None:
        super().__init__()
        self.duel: Duel | None = None
        self.calls: dict[str, int] = defaultdict(int)  # an actor's last call
        self.born: dict[str, int] = defaultdict(int)  # how often a worker was started
        self.held: dict[str, list[tuple[str, str]]] = defaultdict(list)  # an actor's claims: (id, token)
        self.ghosts: list[tuple[str, str]] = []  # claims that nobody remembers
        self.sent: list[tuple[int, Call]] = []  # calls with an op, and when
        self.lines: dict[tuple[str, str], int] = defaultdict(int)  # how many a claim has reported
        self.troubled = Trouble.NONE  # of the step that is being made
        self.drawn = 0
        self.slots: dict[int, tuple[int, str]] = {}  # moments at which something is due, and who chose them

    @initialize(tidy=st.booleans(), jobs=st.lists(draws.specs(unique=False), min_size=3, max_size=8))
    def start(self, tidy: bool, jobs: list[JobSpec]) -> None:
        self.duel = type(self).begin(tidy)
        self.put(0, jobs, Luck())

    def teardown(self) -> None:
        if self.duel is not None:
            try:
                self.duel.finish()
            finally:
                self.duel.close()

    def do(self, step: Step) -> object:
        assert self.duel is not None
        if isinstance(step, Restart) or (step.trouble and step.reborn):
            self.restarted(step.host)
        return self.duel.do(step)

    def holds(self) -> bool:
        """Whether anybody has a claim."""
        return bool(self.ghosts or any(self.held.values()))

    # ------------------------------------------------------------------ who and when

    def due(self, ms: int, kind: str = "delay") -> int:
        """So long from now, or a little longer: what different steps made due is never due at one moment.

        Else the milliseconds that calls took would decide its order, and that on each side by itself.
        """
        assert self.duel is not None
        alone = self.duel.tolerance.dues(self.troubled)
        self.drawn += alone
        now, mine = self.duel.now, (len(self.duel.steps), f"{kind} {self.drawn}" if alone else kind)
        while ms > 0 and self.slots.setdefault(now + ms, mine) != mine:
            ms += UNIT
        return ms

    def at(self, ms: int | None) -> int | None:
        """The same as a moment."""
        assert self.duel is not None
        return None if ms is None else self.duel.now + self.due(ms, "moment")

    def op(self, actor: str) -> Op:
        self.calls[actor] += 1
        return Op(actor, self.calls[actor])

    def worker(self, number: int) -> str:
        """The actor of a worker, as often as it was started."""
        number %= 3
        return f"w{number}.{self.born[str(number)]}"

    def made(self, step: Call, told: object) -> object:
        """Remember a call that may be repeated. One that was refused counts as never made: it leaves no record."""
        assert self.duel is not None
        if isinstance(told, str):
            self.sent = [(when, one) for when, one in self.sent if one.op.actor != step.op.actor]
        else:
            self.sent.append((self.duel.units, step))
        return told

    def asks(self, who: int) -> bool:
        """Whether a producer asks the other store first; where no queue moves nobody need."""
        return False

    def keep(self, retention: Retention | None) -> Retention | None:
        assert self.duel is not None
        return self.duel.tolerance.keep(retention, tidy=self.duel.plan.tidy)

    # ------------------------------------------------------------------ producers

    def put(self, who: int, jobs: list[JobSpec], luck: Luck) -> None:
        assert self.duel is not None
        self.troubled = luck.trouble
        moved = self.moved(jobs)
        actor = f"p{who % 2}"
        step = Put(op=self.op(actor), jobs=moved, asked=self.asks(who), **luck.said(actor))
        self.made(step, self.do(step))

    def moved(self, jobs: Sequence[JobSpec]) -> tuple[JobSpec, ...]:
        """Jobs whose times are of this run."""
        assert self.duel is not None
        now = self.duel.now
        return tuple(
            replace(
                job,
                delay=None if job.delay is None else self.due(job.delay),
                run_at=self.at(job.run_at),
                expires_at=None if job.expires_at is None else now + job.expires_at,
                keep_completed=self.keep(job.keep_completed),
                keep_failed=self.keep(job.keep_failed),
            )
            for job in jobs
        )

    @rule(who=draws.spoken, jobs=st.lists(draws.specs(unique=False), min_size=1, max_size=6), luck=draws.lucks())
    def enqueue(self, who: int, jobs: list[JobSpec], luck: Luck) -> None:
        if who == 3 and jobs[0].priority == 1:
            jobs = [*jobs, replace(jobs[0], id="d", body=b"n" * draws.LIMIT_AND_MORE)]
        self.put(who, jobs, luck)

    @rule(who=draws.spoken, jobs=st.lists(draws.specs(unique=True), min_size=1, max_size=3), luck=draws.lucks())
    def enqueue_unique(self, who: int, jobs: list[JobSpec], luck: Luck) -> None:
        self.put(who, jobs if who < 3 else [*jobs, replace(jobs[0], id="d", unique=None)], luck)

    @rule(who=draws.spoken, job=draws.specs(unique=False), want=st.integers(1, 3), luck=draws.lucks())
    def let_expire(self, who: int, job: JobSpec, want: int, luck: Luck) -> None:
        """A job is not started in time, and met on the way to another."""
        self.put(who, [replace(job, expires_in=HALF, expires_at=None, priority=0)], Luck())
        self.exchange(who, [], Ask(want=want, lease=6 * UNIT + HALF), luck)

    # ------------------------------------------------------------------ workers

    def start_of(self, claim: tuple[str, str], count: int, turn: int, luck: Luck) -> int | None:
        """How many lines of a claim were reported before; now and then less, as of a worker whose answer was lost.

        Without it every line is new: nothing for a call that is repeated.
        """
        known = self.lines[claim]
        said = None if turn % 3 == 0 and not luck.trouble else max(0, known - turn % 2)
        self.lines[claim] = max(known, (known if said is None else said) + count)
        return said if count else None

    def outcome(self, worker: str, end: Ending) -> Outcome:
        """An end of a claim there is: of this worker, of another, or one that nobody remembers."""
        mine, others = self.held[worker], [claim for claims in self.held.values() for claim in claims] + self.ghosts
        known = others if end.wrong in (1, 2) or not mine else mine
        job, token = known[end.pick % len(known)] if known else ("a", f"{worker}:0")
        if end.wrong == 3:
            token = "w9.9:9"
        if end.wrong == 4:
            job = "nobody"
        n = end.detail
        failed = end.kind in (Kind.RETRY, Kind.FAILED)
        logs = (b"l", b"m") if n in (9, 10) else (b"k",) * 600 if n == 11 and end.pick == 3 else ()
        return Outcome(
            job,
            token,
            end.kind,
            result=(b"r" if n < 4 else b"x" * draws.LIMIT_AND_MORE if n == 5 else None)
            if end.kind is Kind.COMPLETED
            else None,
            error=b"e" if (failed and n != 6) or n == 7 else None,
            reason="why" if n in (3, 8) else None,
            delay=None if end.delay is None else self.due(end.delay),
            at=self.at(end.at),
            keep=self.keep(end.keep),
            progress=b"p" if n == 9 else None,
            logs=logs,
            start=self.start_of((job, token), len(logs), end.pick, Luck()),
        )

    def exchange(self, who: int, endings: list[Ending], ask: Ask, luck: Luck) -> None:
        assert self.duel is not None
        self.troubled = luck.trouble
        worker = self.worker(who)
        outcomes = tuple(self.outcome(worker, end) for end in endings)
        if luck.trouble:
            outcomes = self.duel.tolerance.outcomes(outcomes, tidy=self.duel.plan.tidy)
        want = self.duel.tolerance.want(ask.want, luck.trouble)
        ask = replace(ask, worker=worker, lease=self.due(ask.lease), want=want)
        step = Work(op=self.op(worker), outcomes=outcomes, ask=ask, **luck.said(worker))
        told = self.made(step, self.do(step))
        if isinstance(told, Exchange):
            ended = {(outcome.id, outcome.token) for outcome in outcomes}
            for name, claims in self.held.items():
                self.held[name] = [claim for claim in claims if claim not in ended]
            self.held[worker] += [(job.id, job.token or "") for job in told.claims]

    @rule(
        who=draws.spoken, endings=st.lists(draws.endings(), max_size=4), want=st.integers(0, 4), lease=draws.leases,
        suspect=st.sampled_from([True, True, True, False]), luck=draws.lucks(),
    )  # fmt: skip
    def work(self, who: int, endings: list[Ending], want: int, lease: int, suspect: bool, luck: Luck) -> None:
        self.exchange(who, endings, Ask(want=want, lease=lease, suspect=suspect), luck)

    @precondition(holds)
    @rule(who=draws.spoken, endings=st.lists(draws.endings(), min_size=1, max_size=3), luck=draws.lucks())
    def settle(self, who: int, endings: list[Ending], luck: Luck) -> None:
        self.exchange(who, endings, Ask(), luck)

    @rule(who=draws.spoken, want=st.sampled_from([1, 2, 3, 20]), lease=draws.leases, luck=draws.lucks())
    def claim(self, who: int, want: int, lease: int, luck: Luck) -> None:
        self.exchange(who, [], Ask(want=want, lease=lease), luck)

    @precondition(holds)
    @rule(
        who=draws.spoken, those=st.lists(draws.picks, max_size=4), lease=draws.leases, detail=st.integers(0, 7),
        luck=draws.lucks(),
    )  # fmt: skip
    def renew(self, who: int, those: list[int], lease: int, detail: int, luck: Luck) -> None:
        worker = self.worker(who)
        known = (self.held[worker] or self.ghosts) if detail < 7 else self.ghosts
        held = list(dict.fromkeys(known[pick % len(known)] for pick in those if known))
        logs = (b"n", b"m") if detail in (1, 2) else ()
        holds = [
            Hold(
                id=job, token="w9.9:9" if detail == 6 else token, progress=b"q" if detail in (1, 3) else None,
                logs=logs, start=self.start_of((job, token), len(logs), who, luck),
            )
            for job, token in held
        ]  # fmt: skip
        upto = (worker, self.calls[worker]) if detail in (4, 5) else ("", 0)
        self.do(Renew(holds=tuple(holds), lease=self.due(lease), actor=upto[0], upto=upto[1], **luck.said()))

    @precondition(holds)
    @rule(who=draws.spoken, pick=draws.picks, detail=st.integers(0, 3), luck=draws.lucks())
    def annotate(self, who: int, pick: int, detail: int, luck: Luck) -> None:
        known = self.held[self.worker(who)] or self.ghosts or [("a", "w9.9:9")]
        job, token = known[pick % len(known)]
        logs = (b"k",) if detail in (1, 3) else ()
        start = self.start_of((job, token), len(logs), pick, luck)
        note = Note(progress=b"z" if detail < 2 else None, logs=logs, start=start)
        self.do(Annotate(id=job, token=token, note=note, **luck.said()))

    @precondition(holds)
    @rule(every=draws.everies, one=st.integers(0, 4), luck=draws.lucks())
    def recover(self, every: int, one: int, luck: Luck) -> None:
        limit = 1 if one == 4 and not luck.trouble else 100  # a repeat with a limit would recover another job
        self.do(Recover(limit=limit, every=every, **luck.said()))

    @rule(
        who=draws.spoken, want=st.sampled_from([0, 1, 2, 3]), units=st.sampled_from([3, 7]), next=draws.spoken,
        suspect=st.booleans(), luck=draws.lucks(),
    )  # fmt: skip
    def crash(self, who: int, want: int, units: int, next: int, suspect: bool, luck: Luck) -> None:
        """A worker dies with what it knows and is started again as another actor; somebody gets its jobs."""
        if want:
            self.exchange(who, [], Ask(want=want, lease=2 * UNIT + HALF), Luck())
        self.ghosts += self.held.pop(self.worker(who), [])
        self.born[str(who % 3)] += 1
        self.do(Pass(units=units))
        self.do(Recover(every=draws.NEVER_AWAY))
        self.exchange(next, [], Ask(want=2, lease=6 * UNIT + HALF, suspect=suspect), luck)

    # ------------------------------------------------------------------ people

    def aimed(self, one: Change) -> Change:
        """The change of a job that it may be made of, mostly: the drawn id stands for which of them."""
        assert self.duel is not None
        fit = self.duel.those(*FIT[one.verb])
        number = IDS.index(one.id)
        return one if number % 4 == 0 or not fit else replace(one, id=fit[number % len(fit)])

    def alter(self, those: list[Change], luck: Luck) -> None:
        assert self.duel is not None
        self.troubled = luck.trouble
        those = [self.aimed(one) for one in those]
        if luck.trouble:
            those = self.duel.tolerance.changes(those)
        made = [
            replace(
                one,
                delay=None if one.delay is None else self.due(one.delay),
                run_at=self.at(one.run_at),
                rev=None if one.rev is None else self.duel.rev(one.id) + one.rev,
            )
            for one in those
        ]
        actor = f"c{luck.host}"
        step = Alter(op=self.op(actor), changes=tuple(made), **luck.said(actor))
        self.made(step, self.do(step))

    @rule(one=draws.changes(), luck=draws.lucks())
    def change(self, one: Change, luck: Luck) -> None:
        self.alter([one], luck)

    @rule(those=st.lists(draws.changes(), min_size=2, max_size=5), luck=draws.lucks())
    def change_many(self, those: list[Change], luck: Luck) -> None:
        self.alter(those, luck)

    @precondition(holds)
    @rule(pick=draws.picks, who=draws.spoken, endings=st.lists(draws.endings(), max_size=2), luck=draws.lucks())
    def cancel_a_run(self, pick: int, who: int, endings: list[Ending], luck: Luck) -> None:
        """Somebody cancels what runs; the worker hears of it, or ends the run without having heard."""
        worker = self.worker(who)
        held = self.held[worker] or self.ghosts
        if held:
            self.alter(
                [Change(id=held[pick % len(held)][0], verb=Verb.CANCEL, reason="r" if pick % 2 else None)], Luck()
            )
            holds = tuple(Hold(id=job, token=token) for job, token in dict(held).items())
            self.do(Renew(holds=holds, lease=self.due(6 * UNIT + HALF), **luck.said()))
            self.exchange(who, endings, Ask(), Luck())

    @rule(one=draws.limits, declared=st.booleans(), off=st.sampled_from([0, 0, 0, 0, 1, -1]), luck=draws.lucks())
    def configure(self, one: Limits, declared: bool, off: int, luck: Luck) -> None:
        assert self.duel is not None
        said = self.duel.tolerance.limits(one, tidy=self.duel.plan.tidy)
        layer: dict[str, Any] = {"declared": said} if declared else {"override": said}
        self.do(Configure(off=off, **layer, **luck.said()))

    @rule(
        state=st.sampled_from([None, None, None, *State]), older=st.sampled_from(draws.AGES),
        limit=st.sampled_from([1, 1000]), luck=draws.lucks(),
    )  # fmt: skip
    def prune(self, state: State | None, older: int, limit: int, luck: Luck) -> None:
        # Where a limit cuts, only what ended at moments of its own goes in order; a troubled call may be made twice.
        assert self.duel is not None
        ends = [job["ended_at"] for job in self.duel.jobs.values() if job["state"] == state]
        clear = state in (*TERMINAL, State.PARKED) and len(set(ends)) == len(ends)
        few = limit if clear and not luck.trouble else 1000
        self.do(Prune(state=state, older_than=older if state is not None else 0, limit=few, **luck.said()))

    # ------------------------------------------------------------------ what happens to all

    @rule(one=draws.events())
    def now_and_then(self, one: Step) -> None:
        assert self.duel is not None
        self.do(one)
        if isinstance(one, Obliterate):
            self.sent.clear()  # its records went with the queue

    def restarted(self, host: int) -> None:
        """What a process knew is gone with it."""
        assert self.duel is not None
        if self.duel.tolerance.forgetful:
            self.sent = [(when, step) for when, step in self.sent if step.host != host]

    @rule(pick=st.integers(0, 30))
    def again(self, pick: int) -> None:
        """A call arrives again: the actor's last one, or one that came later than a newer one."""
        assert self.duel is not None
        fresh = [step for when, step in self.sent if self.duel.units - when < AGAIN]
        if not fresh:
            return
        self.do(replace(fresh[-1 - pick % len(fresh)], trouble=Trouble.NONE))
