"""The offline judge of a move: what clients of both stores wrote down, against what both stores hold at the end.

Pure: it asks no store, so that its own tests can hand it every kind of bad history. Moments are only compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

ENDS = frozenset({"completed", "failed", "cancelled"})
AGAIN = frozenset({"retry", "released", "snoozed"})
SOURCE, TARGET = "source", "target"
OTHER = {SOURCE: TARGET, TARGET: SOURCE}


class Rule(StrEnum):
    """What a move may break."""

    LOST = "an acknowledged job is lost"
    GHOST = "a job nobody asked for"
    TWICE = "a job is in two places"
    KEY = "two jobs held one unique key"
    CHANGED = "a job is not what was asked for"
    ACCEPTED = "two ends of one job were accepted"
    AFTER = "a job ran after its end was accepted"
    EXECUTIONS = "a job ran beyond its allowance"
    OVERLAP = "two runs of one job overlap"
    CLAIM = "claims of a job do not count up"
    REFUSED = "the end of a run was refused though its worker kept its claim"
    OVERTAKEN = "a job was overtaken"
    STATE = "a job did not end as its last run did"
    COUNTERS = "a counter of a job is not what its runs were"
    TOTALS = "a total is not what a recount gives"
    SLOT = "a slot did not make its job once"
    EDITED = "a schedule is not as it was written last"
    STANDING = "the queue does not stand where the move ended"
    AGREED = "the mover did not say that both sides agree"
    ENDLESS = "a move came to no end"
    INJECTED = "too little happened to prove anything"


@dataclass(frozen=True, slots=True)
class Breach:
    """One broken rule."""

    rule: Rule
    job: str
    why: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.job}: {self.why}"


@dataclass(slots=True, kw_only=True)
class Asked:
    """One job in one enqueue call. `answered` None: the outcome was never known."""

    call: int  # of which call it was a part
    side: str  # where it was acknowledged
    job: str
    body: str
    priority: int
    invoked: int
    answered: int | None = None
    receipt: str | None = None  # the id that was told; another's where a key was held
    created: bool = False
    key: str | None = None
    until: str = "finished"
    delayed: bool = False
    kept: bool = True  # False: nothing is left of it once it completed


@dataclass(slots=True, kw_only=True)
class Run:
    """One claim, as the worker that got it wrote it down."""

    side: str
    worker: str
    job: str
    token: str
    claims: int
    invoked: int  # the exchange that claimed it
    given: int  # its answer
    kind: str | None = None  # how it ended
    told: int | None = None  # the first call that told so
    accepted: int | None = None  # the answer that did not refuse it
    refused: str | None = None
    crashed: bool = False  # its worker died or was forgotten with it


@dataclass(slots=True, kw_only=True)
class Final:
    """One job as a store shows it at the end."""

    side: str
    job: str
    state: str
    body: str
    priority: int
    claims: int
    failures: int
    crashes: int


@dataclass(slots=True, kw_only=True)
class Rhythm:
    """What a schedule is to do, and how it was written last."""

    start: int  # ms; the first slot
    every: int  # ms
    definition: str


@dataclass(slots=True, kw_only=True)
class Kept:
    """One schedule as a store shows it at the end."""

    side: str
    id: str
    next: int | None
    fired: int
    skipped: int
    definition: str


@dataclass(slots=True, kw_only=True)
class Promises:
    """What the stores declare, what this run must have injected, and where the queue must stand."""

    ends: str = TARGET  # SOURCE after an abort
    exact_totals: bool = True
    skew: int = 0  # moments within which jobs of different calls may swap places
    late: int = 0  # moments for which the source's clients may go on by what they knew before it was told to stop
    doubled: frozenset[str] = frozenset()  # jobs the mover named as claimed after a rollback
    forgiven: frozenset[str] = frozenset()  # acknowledged by a server that rolled back before its replica had them
    least: int = 1  # jobs that were moved while others came and went


@dataclass(slots=True, kw_only=True)
class History:
    """Everything."""

    asked: list[Asked] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    final: list[Final] = field(default_factory=list)
    rhythms: dict[str, Rhythm] = field(default_factory=dict)  # by the schedule's id
    kept: list[Kept] = field(default_factory=list)
    standing: dict[str, str] = field(default_factory=dict)  # side -> home, "-" and whether it has a `to` or a journal
    totals: dict[str, int] = field(default_factory=dict)  # where the queue ended
    moved: int = 0  # jobs that the mover had in its hands
    stopped: tuple[int, int] | None = None  # when the source was last seen to work, and first seen to move
    opened: dict[str, int] = field(default_factory=dict)  # side -> when it was first seen to work, or to work again


def check(history: History, promises: Promises) -> list[Breach]:
    """Every rule that was broken."""
    return [
        *_kept(history, promises), *_keys(history), *_unchanged(history), *_ends(history, promises),
        *_executions(history, promises), *_claims(history, promises), *_overtaken(history, promises),
        *_states(history, promises), *_totals(history, promises), *_standing(history, promises),
        *_slots(history, promises),
    ]  # fmt: skip


def _by_job(history: History) -> dict[str, list[Run]]:
    jobs: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(history.runs, key=lambda run: (run.claims, run.given)):
        jobs[run.job].append(run)
    return jobs


def _kept(history: History, promises: Promises) -> Iterator[Breach]:
    """Acknowledged jobs are there, once; unknown ones once or not at all; nothing else is."""
    seen, gone = Counter(one.job for one in history.final), _traceless(history)
    for one in history.asked:
        told = one.receipt
        if one.answered is not None and told is not None and not seen[told] and told not in promises.forgiven | gone:
            yield Breach(
                Rule.LOST, told, f"acknowledged by the {one.side} at {one.answered} to who asked for {one.job}"
            )
    for job in {run.job for run in history.runs} - set(seen) - promises.forgiven - gone:
        yield Breach(Rule.LOST, job, "it ran, so it was there")
    for job in gone & set(seen):
        yield Breach(Rule.STATE, job, "it is there, and nothing of it was to be kept")
    wanted = {one.job for one in history.asked}
    for job, times in seen.items():
        if times > 1 and job not in promises.doubled:
            places = ", ".join(f"{one.side} {one.state}" for one in history.final if one.job == job)
            yield Breach(Rule.TWICE, job, places)
        if job not in wanted:
            yield Breach(Rule.GHOST, job, "nobody named it")


def _traceless(history: History) -> frozenset[str]:
    """Jobs that completed, and of which nothing was to be kept then."""
    ended = {run.job for run in history.runs if run.kind == "completed" and run.accepted is not None}
    return frozenset(one.job for one in history.asked if not one.kept and one.created) & ended


def _keys(history: History) -> Iterator[Breach]:
    """Of jobs under one key no two were open at once; of those under a key for a time there is one."""
    ended = _ended_at(history)
    holders: dict[tuple[str, str], dict[str, Asked]] = defaultdict(dict)
    for one in history.asked:
        if one.key is not None and one.created and one.answered is not None:
            holders[one.key, one.until].setdefault(one.job, one)
    for (key, until), jobs in holders.items():
        for first, second in pairwise(sorted(jobs.values(), key=lambda one: one.answered or 0)):
            told = ended.get(first.job)
            if until == "time" or told is None or (second.answered is not None and told > second.answered):
                yield Breach(Rule.KEY, second.job, f"key {key} ({until}) was {first.job}'s, which ended at {told}")
        ids = set(jobs) - {one.job for one in history.asked if one.answered is None}
        found = {one.job for one in history.final if one.job in ids}
        if until == "time" and len(found) > 1:
            yield Breach(Rule.KEY, key, f"{', '.join(sorted(found))} under one key")


def _ended_at(history: History) -> dict[str, int]:
    """The first call that told the accepted end of a job."""
    ends: dict[str, int] = {}
    for run in history.runs:
        if run.kind in ENDS and run.accepted is not None and run.told is not None:
            ends[run.job] = min(run.told, ends.get(run.job, run.told))
    return ends


def _unchanged(history: History) -> Iterator[Breach]:
    """Body and priority arrive as one of those who named the id sent them."""
    wanted: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for one in history.asked:
        wanted[one.job].add((one.body, one.priority))
    for final in history.final:
        if final.job in wanted and (final.body, final.priority) not in wanted[final.job]:
            yield Breach(Rule.CHANGED, final.job, f"{final.body} of priority {final.priority}")


def _ends(history: History, promises: Promises) -> Iterator[Breach]:
    """At most one accepted end a job over both stores, and no claim is given behind it."""
    for job, runs in _by_job(history).items():
        if job in promises.doubled:
            continue
        ends = [run for run in runs if run.kind in ENDS and run.accepted is not None]
        if len(ends) > 1:
            yield Breach(Rule.ACCEPTED, job, ", ".join(f"{run.side} at {run.accepted}" for run in ends))
        for run in runs:
            if ends and ends[0].accepted is not None and run.invoked > ends[0].accepted:
                why = f"the {run.side} gave it at {run.given}, its end was accepted at {ends[0].accepted}"
                yield Breach(Rule.AFTER, job, why)


def _executions(history: History, promises: Promises) -> Iterator[Breach]:
    """Each run but the last was given back by an accepted outcome, or cut off by the death of its worker."""
    for job, runs in _by_job(history).items():
        if job in promises.doubled:
            continue
        for number, run in enumerate(runs, 1):
            if run.refused is not None and not run.crashed:
                yield Breach(Rule.REFUSED, job, f"{run.kind} at the {run.side} ({run.token}): {run.refused}")
            elif number < len(runs) and not run.crashed and not (run.kind in AGAIN and run.accepted is not None):
                why = f"run {number} of {len(runs)} at the {run.side} ended {run.kind}, accepted at {run.accepted}"
                yield Breach(Rule.EXECUTIONS, job, why)


def _claims(history: History, promises: Promises) -> Iterator[Breach]:
    """Runs of one job follow each other, each with a claim of its own."""
    for job, runs in _by_job(history).items():
        if job in promises.doubled:
            continue
        for token, times in Counter(run.token for run in runs).items():
            if times > 1:
                yield Breach(Rule.CLAIM, job, f"{times} runs of claim {token}")
        for first, second in pairwise(runs):
            if second.claims <= first.claims:
                yield Breach(Rule.CLAIM, job, f"number {second.claims} ({second.side}) after {first.claims}")
            if not first.crashed and (first.told is None or first.told > second.given):
                yield Breach(Rule.OVERLAP, job, f"{first.side} until {first.told}, {second.side} from {second.given}")


def _overtaken(history: History, promises: Promises) -> Iterator[Breach]:
    """A job that waited is claimed before all that were asked for behind it, at whichever side.

    Of each only the first claim counts. Where one was acknowledged by the target and the other by the source, the
    one of the source goes first: nobody promises more. Nor between what the source acknowledged shortly after its stop
    and what is acknowledged where the queue arrives, nor of claims that it was asked for so shortly after its stop
    that they may not know of it. What came with the move is ready since the side opened, and jobs that are not ready
    for long may swap places.
    """
    first = {job: runs[0] for job, runs in _by_job(history).items() if runs[0].claims == 1}
    made = {one.job: one for one in history.asked if one.created and one.answered is not None and not one.delayed}
    ready = [made[job] for job in first if job in made]
    places = {id(one): place for place, one in enumerate(history.asked)}
    for one in history.asked:
        if one.job not in first or made.get(one.job) is not one:
            continue
        for other in ready:
            if other.priority > one.priority or other is one or (other.side, one.side) == (TARGET, SOURCE):
                continue
            theirs, ours = first[other.job], first[one.job]
            if (
                _fresh(history, promises, ours)
                or _late(history, promises, ours)
                or (_arrived(history, promises, one) and _during(history, promises, other))
            ):
                continue
            if other.call == one.call:
                before = other.priority < one.priority or places[id(other)] < places[id(one)]
            else:
                before = (other.answered or 0) + promises.skew < one.invoked
            # `other` was there and stood before `one`; the exchange that gave it began when that of `one` was over.
            if before and theirs.invoked > ours.given and (other.answered or 0) + promises.skew < ours.invoked:
                why = f"by {one.job} at the {ours.side} at {ours.given}; it was claimed at {theirs.given}"
                yield Breach(Rule.OVERTAKEN, other.job, why)


def _fresh(history: History, promises: Promises, run: Run) -> bool:
    """Whether a claim was asked for when what had moved was ready no longer than jobs may swap places."""
    opened = history.opened.get(run.side)
    if promises.skew == 0 or opened is None or run.invoked > opened + promises.skew:
        return False
    return run.side == TARGET or history.stopped is None or run.invoked > history.stopped[0]


def _late(history: History, promises: Promises, run: Run) -> bool:
    """Whether a claim of the source's may have been made without knowing that it had stopped."""
    if not promises.late or history.stopped is None or run.side != SOURCE:
        return False
    before, seen = history.stopped
    return run.given >= before and run.invoked <= seen + promises.late


def _during(history: History, promises: Promises, one: Asked) -> bool:
    """Whether the source may have acknowledged it when it had stopped, by what it knew before."""
    stopped, told = history.stopped, one.answered
    if not promises.late or one.side != SOURCE or stopped is None or told is None:
        return False
    return told >= stopped[0] and one.invoked <= stopped[1] + promises.late


def _arrived(history: History, promises: Promises, one: Asked) -> bool:
    """Whether the side that receives acknowledged it: the target, or behind its stop a source that takes jobs back."""
    stopped = history.stopped
    return one.side == TARGET or (stopped is not None and one.invoked > stopped[1] + promises.late)


def _states(history: History, promises: Promises) -> Iterator[Breach]:
    """The record says what the runs say."""
    runs = _by_job(history)
    for one in history.final:
        if one.job in promises.doubled:
            continue
        theirs = runs.get(one.job, [])
        end = next((run.kind for run in theirs if run.kind in ENDS and run.accepted is not None), None)
        if one.state != end:
            yield Breach(Rule.STATE, one.job, f"{one.state} at the {one.side}, its runs ended {end}")
        crashes = sum(run.crashed for run in theirs)
        if one.claims != len(theirs) and not (crashes and one.claims >= len(theirs)):
            yield Breach(Rule.COUNTERS, one.job, f"{one.claims} claims, {len(theirs)} runs")
        if one.crashes > crashes:
            yield Breach(Rule.COUNTERS, one.job, f"{one.crashes} crashes, {crashes} workers died with it")
        failures = sum(run.kind in ("retry", "failed") and run.accepted is not None for run in theirs)
        retried = sum(run.kind == "retry" and run.accepted is not None for run in theirs)
        if not retried <= one.failures <= failures:
            yield Breach(Rule.COUNTERS, one.job, f"{one.failures} failures, {failures} runs failed")


def _totals(history: History, promises: Promises) -> Iterator[Breach]:
    """A recount; a job that ran to its end at both sides was counted by both."""
    states = Counter(one.state for one in history.final)
    gone = len(_traceless(history))
    states["completed"] += gone
    for total, there in (("enqueued", len(history.final) + gone), *((end, states[end]) for end in sorted(ENDS))):
        told = history.totals.get(total, 0)
        if promises.exact_totals and not there <= told <= there + len(promises.doubled):
            yield Breach(Rule.TOTALS, total, f"total {told}, held {there}")


def _standing(history: History, promises: Promises) -> Iterator[Breach]:
    """The queue is here at one side and gone from the other, nothing is left behind, and something did move."""
    gone = SOURCE if promises.ends == TARGET else TARGET
    for side, home in ((promises.ends, "here"), (gone, "gone to")):
        if history.standing.get(side) != home:
            yield Breach(Rule.STANDING, side, f"{history.standing.get(side)}, not {home}")
    for one in history.final:
        if (
            one.side == gone and one.job not in promises.doubled
        ):  # told more of it than the other knows: it stays, named
            yield Breach(Rule.STANDING, one.job, f"left behind at the {gone}, {one.state}")
    if history.moved < promises.least:
        yield Breach(Rule.INJECTED, "jobs moved", f"{history.moved}, at least {promises.least} were wanted")


def _slots(history: History, promises: Promises) -> Iterator[Breach]:
    """From the first slot to the next one each made its job, and no more were counted; the other side keeps none."""
    made = {one.job for one in history.final}
    kept = {one.id: one for one in history.kept if one.side == promises.ends}
    for one in history.kept:
        if one.side != promises.ends:
            yield Breach(Rule.STANDING, one.id, f"a schedule is left behind at the {one.side}")
    for name, rhythm in history.rhythms.items():
        found = kept.get(name)
        if found is None or found.next is None:
            yield Breach(Rule.LOST, name, f"the schedule is {found}")
            continue
        slots = range(rhythm.start, found.next, rhythm.every)
        missed = [slot for slot in slots if f"{name}@{slot}" not in made]
        early = [job for job in made if job.startswith(f"{name}@") and int(job.partition("@")[2]) not in slots]
        if missed or early or (found.next - rhythm.start) % rhythm.every:
            yield Breach(Rule.SLOT, name, f"missed {missed[:5]}, early {early[:5]}, from {rhythm.start} to {found}")
        if (found.fired, found.skipped) != (len(slots), 0):
            yield Breach(Rule.SLOT, name, f"{len(slots)} slots; {found}")
        if found.definition != rhythm.definition:
            yield Breach(Rule.EDITED, name, f"{found.definition}, not {rhythm.definition}")
