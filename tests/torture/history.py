"""The offline judge: what producers, handlers and the director wrote down, against what the store holds at the end.

Pure: it reads no file and asks no store, so that its own tests can hand it every kind of bad history.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

MS = 1000  # µs, the unit of every moment here; one host, so the store's clock and ours are the same


class Rule(StrEnum):
    """What a history may break."""

    LOST = "an acknowledged job is lost"
    GHOST = "a job nobody asked for"
    TWICE = "a job is in two places"
    ACCEPTED = "two ends of one job were accepted"
    AFTER = "a job ran after its end was accepted"
    EXECUTIONS = "a job ran again without a crash"
    DOUBLE = "two runs of one job overlap"
    CLAIM = "two runs share a claim"
    OVERTAKEN = "a job was overtaken"
    EARLY = "a job started before it was asked for"
    TOTALS = "a total is not what a recount gives"
    STATE = "a job did not end as it should"
    INJECTED = "too few faults were injected"


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule."""

    rule: Rule
    job: str
    why: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.job}: {self.why}"


@dataclass(slots=True, kw_only=True)
class Call:
    """One enqueue call. `answered` None: the producer died, or was told that the outcome is unknown."""

    actor: str
    jobs: list[tuple[str, int]]  # id, priority; in the order of the call
    invoked: int
    answered: int | None = None


@dataclass(slots=True, kw_only=True)
class Run:
    """One execution, as its handler wrote it down."""

    actor: str
    job: str
    token: str
    claims: int
    claimed: int
    started: int
    suspect: bool = False
    ended: int | None = None  # it returned
    stopped: int | None = None  # it was told to stop: fenced, lost or given back
    poison: bool = False  # it was about to kill its own process


@dataclass(slots=True, kw_only=True)
class Final:
    """One job as the store shows it at the end."""

    job: str
    state: str
    crashes: int = 0
    claims: int = 0
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Promises:
    """What the store declares, and what this run must have injected."""

    skew: int = 0  # ms within which jobs of different producers may swap places
    late: int = 0  # ms a job must have been ready before it counts as overtaken
    one_step: bool = True  # an exchange happens at one moment, the `claimed` of what it gives
    exact_totals: bool = True  # a lost reply drops no count
    kills: int = 0  # least number of each kind
    server_kills: int = 0


@dataclass(slots=True, kw_only=True)
class History:
    """Everything."""

    calls: list[Call] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    accepted: list[tuple[str, int]] = field(default_factory=list)  # job, when its worker heard that it was
    killed: dict[str, int] = field(default_factory=dict)  # actor -> when it was certainly dead
    server_kills: int = 0
    final: list[Final] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)  # by state, as the store counts
    totals: dict[str, int] = field(default_factory=dict)


def check(history: History, promises: Promises) -> list[Breach]:
    """Every rule that was broken."""
    return [
        *_kept(history), *_ended(history), *_accepted(history), *_executions(history), *_claims(history),
        *_overtaken(history, promises), *_early(history), *_recount(history, promises), *_injected(history, promises),
    ]  # fmt: skip


def reruns(history: History) -> int:
    """Runs beyond the first of their jobs."""
    return len(history.runs) - len({run.job for run in history.runs})


def recoveries(history: History) -> list[float]:
    """Seconds from a kill to the next run of each job that ran in the killed process, sorted."""
    found = []
    for runs in _by_job(history.runs).values():
        for first, second in pairwise(runs):
            killed = history.killed.get(first.actor)
            if killed is not None and first.stopped is None and second.started > killed:
                found.append((second.started - killed) / 1e6)
    return sorted(found)


def _by_job(runs: Iterable[Run]) -> dict[str, list[Run]]:
    jobs: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.started):
        jobs[run.job].append(run)
    return jobs


def _kept(history: History) -> Iterator[Breach]:
    """I1, I5: acknowledged jobs are there, once; unknown ones once or not at all; nothing else is."""
    seen = Counter(one.job for one in history.final)
    asked = {job for call in history.calls for job, _ in call.jobs}
    for call in history.calls:
        if call.answered is not None:
            for job, _ in call.jobs:
                if not seen[job]:
                    yield Breach(Rule.LOST, job, f"acknowledged to {call.actor} at {call.answered}")
    for job, times in seen.items():
        if times > 1:
            yield Breach(Rule.TWICE, job, f"listed {times} times")
        if job not in asked:
            yield Breach(Rule.GHOST, job, "no producer named it")
    for job in {run.job for run in history.runs} - set(seen):
        yield Breach(Rule.LOST, job, "it ran, so it was there")


def _ended(history: History) -> Iterator[Breach]:
    for one in history.final:
        if one.state != "completed":
            yield Breach(Rule.STATE, one.job, f"{one.state} ({one.reason}) after {one.crashes} crashes")


def _accepted(history: History) -> Iterator[Breach]:
    """I2: at most one accepted end a job, and no run begins after it."""
    first: dict[str, int] = {}
    for job, at in sorted(history.accepted, key=lambda pair: pair[1]):
        if job in first:
            yield Breach(Rule.ACCEPTED, job, f"at {first[job]} and at {at}")
        first.setdefault(job, at)
    for run in history.runs:
        if run.job in first and run.started > first[run.job]:
            yield Breach(Rule.AFTER, run.job, f"by {run.actor} at {run.started}, accepted at {first[run.job]}")


def _executions(history: History) -> Iterator[Breach]:
    """I3: each run but the last was cut off by a kill of its process, or was told to stop."""
    for job, runs in _by_job(history.runs).items():
        for number, run in enumerate(runs[:-1], 1):
            killed = history.killed.get(run.actor)
            crashed = killed is not None and killed >= run.started
            if not crashed and run.stopped is None and not run.poison:
                yield Breach(
                    Rule.EXECUTIONS, job, f"run {number} of {len(runs)} by {run.actor}, which lived, was not stopped"
                )


def _claims(history: History) -> Iterator[Breach]:
    """I4: runs of one job follow each other, and each has a claim of its own."""
    for job, runs in _by_job(history.runs).items():
        tokens = Counter(run.token for run in runs)
        for token, times in tokens.items():
            if times > 1:
                yield Breach(Rule.CLAIM, job, f"{times} runs of claim {token}")
        for first, second in pairwise(runs):
            if second.claims <= first.claims:
                yield Breach(Rule.CLAIM, job, f"claim number {second.claims} after {first.claims}")
            ends = [at for at in (first.ended, first.stopped, history.killed.get(first.actor)) if at is not None]
            end = min((at for at in ends if at >= first.started), default=None)
            if end is None or end > second.started:
                yield Breach(Rule.DOUBLE, job, f"{first.actor} until {end}, {second.actor} from {second.started}")


def _overtaken(history: History, promises: Promises) -> Iterator[Breach]:
    """I8, and FIFO: a job that was ready before an exchange and stood before what it gave was claimed when it returned.

    Only first claims are compared: later ones come from the suspect line or from a release. What a killed worker had
    claimed and not begun is not known, so jobs whose first run is not of their first claim are left out. Where an
    exchange takes its time, it has returned once a run of what it gave begins.
    """
    first = {job: runs[0] for job, runs in _by_job(history.runs).items() if runs[0].claims == 1}
    lanes: dict[int, _Lane] = defaultdict(_Lane)
    for call in history.calls:
        for place, (job, priority) in enumerate(call.jobs):
            if job in first and call.answered is not None:
                lanes[priority].add(call.answered, first[job].claimed, job)
            yield from _overtakes_its_call(call, place, first, promises)
    for lane in lanes.values():
        lane.close()
    for call in history.calls:
        for job, priority in call.jobs:
            if job not in first:
                continue
            begun, given = _exchanged(first[job], promises)
            for other, lane in lanes.items():
                by = begun if other < priority else min(begun, call.invoked - promises.skew * MS)
                claimed, victim = lane.latest(by)
                if other <= priority and claimed > given:
                    why = f"claimed {(claimed - given) / MS:.0f} ms after {job} of priority {priority}"
                    yield Breach(Rule.OVERTAKEN, victim, f"priority {other}, {why}")


def _overtakes_its_call(call: Call, place: int, first: dict[str, Run], promises: Promises) -> Iterator[Breach]:
    """Whether a job was claimed before one that stands before it in the same call."""
    job, priority = call.jobs[place]
    if job not in first:
        return
    begun, given = _exchanged(first[job], promises)
    if not promises.one_step and (call.answered is None or call.answered > begun):
        return
    for other, theirs in call.jobs[:place]:
        if theirs == priority and other in first and first[other].claimed > given:
            yield Breach(Rule.OVERTAKEN, other, f"by {job}, behind it in the same call")


def _exchanged(run: Run, promises: Promises) -> tuple[int, int]:
    """Jobs that were ready before the first moment are claimed by the second, or overtaken."""
    return run.claimed - promises.late * MS, run.claimed if promises.one_step else run.started


class _Lane:
    """The jobs of one priority by when they were acknowledged, and the latest first claim among those before."""

    def __init__(self) -> None:
        self._jobs: list[tuple[int, int, str]] = []
        self._at: list[int] = []
        self._latest: list[tuple[int, str]] = []

    def add(self, acknowledged: int, claimed: int, job: str) -> None:
        self._jobs.append((acknowledged, claimed, job))

    def close(self) -> None:
        best = (0, "")
        for at, claimed, job in sorted(self._jobs):
            best = max(best, (claimed, job))
            self._at.append(at)
            self._latest.append(best)

    def latest(self, before: int) -> tuple[int, str]:
        """The latest first claim of those acknowledged before a moment."""
        n = bisect_left(self._at, before)
        return self._latest[n - 1] if n else (0, "")


def _early(history: History) -> Iterator[Breach]:
    asked = {job: call.invoked for call in history.calls for job, _ in call.jobs}
    for run in history.runs:
        if run.job in asked and run.started < asked[run.job]:
            yield Breach(Rule.EARLY, run.job, f"started {run.started}, asked for {asked[run.job]}")


def _recount(history: History, promises: Promises) -> Iterator[Breach]:
    """I6: what the store counts is what it holds."""
    held = Counter(one.state for one in history.final)
    for state in {*held, *history.counts}:
        if held[state] != history.counts.get(state, 0):
            yield Breach(Rule.TOTALS, state, f"counted {history.counts.get(state, 0)}, held {held[state]}")
    for total, there in (("enqueued", len(history.final)), ("completed", held["completed"])):
        told = history.totals.get(total, 0)
        if told > there or (promises.exact_totals and told != there):
            yield Breach(Rule.TOTALS, total, f"total {told}, held {there}")


def _injected(history: History, promises: Promises) -> Iterator[Breach]:
    """I16: a run that injected nothing proves nothing."""
    for what, least, done in (
        ("kills", promises.kills, len(history.killed)),
        ("server kills", promises.server_kills, history.server_kills),
        ("kills that cut off a run", min(1, promises.kills), len(recoveries(history))),
    ):
        if done < least:
            yield Breach(Rule.INJECTED, what, f"{done}, at least {least} were wanted")
