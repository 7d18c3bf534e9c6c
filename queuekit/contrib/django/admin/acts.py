"""One verb done to jobs that a person chose on a page, and what became of each. No request and no page is known here.

A page may be old when its button is pressed. Retry and delete therefore act only on a job that still is as it was
shown: a job that failed, was retried by a colleague and has completed since must not run a third time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby

from queuekit import Job, QueueKit, clock
from queuekit.domain import names
from queuekit.domain.events import JobFact
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Change, Changed, No, Verb
from queuekit.domain.redact import redact
from queuekit.domain.state import State
from queuekit.errors import Moved, StoreError, StoreUnavailable
from queuekit.producing import seeking
from queuekit.producing.access import Entry

_log = logging.getLogger("queuekit.django")
BATCH = 200  # jobs a call
GUARDED = frozenset({Verb.RETRY, Verb.DELETE})  # what must not be done to a job that has changed since it was shown
_MARK = "~"  # in no name


@dataclass(frozen=True, slots=True)
class Chosen:
    """A job as a page named it: where it is, and how it was seen."""

    queue: str
    id: str
    seen: str = ""  # "": nobody said

    @property
    def ref(self) -> str:
        return f"{self.queue}/{self.id}"

    @property
    def value(self) -> str:
        """What a form sends back."""
        return f"{self.ref}{_MARK}{self.seen}" if self.seen else self.ref

    @property
    def state(self) -> str:
        """The state it was seen in, "" where nobody said."""
        return self.seen.partition(".")[0]

    @classmethod
    def of(cls, job: Job) -> Chosen:
        return cls(job.queue, job.id, stamp(job))

    @classmethod
    def parse(cls, value: str) -> Chosen:
        """What a form sent. Raises InvalidName for what no page of ours sends."""
        ref, _, seen = value.partition(_MARK)
        queue, job = names.reference(ref)
        return cls(names.queue_name(queue or ""), job, seen)


@dataclass(slots=True)
class Became:
    """What became of the chosen jobs, by reference. `stopped` is why the jobs in `untold` and `left` have no answer."""

    done: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # cancels of jobs that run: their handlers are told
    refused: list[tuple[str, str]] = field(default_factory=list)  # and why
    stopped: StoreError | None = None
    untold: list[str] = field(default_factory=list)  # of the call that got no answer: it may have been done
    left: list[str] = field(default_factory=list)  # not tried

    @property
    def answered(self) -> bool:
        """Whether the store said anything about any of them."""
        return bool(self.done or self.asked or self.refused)


def stamp(job: Job) -> str:
    """How a job is seen: another stamp is another run, or another end."""
    ended = 0 if job.finished_at is None else clock.to_ms(job.finished_at)
    return f"{job.state.value}.{ended}"


def act(kit: QueueKit, verb: Verb, chosen: Sequence[Chosen], *, reason: str = "") -> Became:
    """Do `verb` to every job, a call for each 200 of one queue. A call is whole or not at all.

    Never raises for the store: what was answered before it went away is in the answer.
    """
    became = Became()
    batches = list(_batches(chosen))
    for n, (queue, batch) in enumerate(batches):
        asked: list[Chosen] = []
        try:
            records = _records(kit, queue, batch)
            asked = _fitting(kit, verb, batch, records, became)
            changes = [_change(verb, one, records[one.id], reason) for one in asked]
            answers = _changed(kit, queue, changes) if changes else []
        except StoreError as error:
            became.stopped = error
            if not (isinstance(error, StoreUnavailable) and error.outcome == "refused"):
                became.untold = [one.ref for one in asked]
            known = {*became.untold, *(ref for ref, _ in became.refused)}
            became.left = [one.ref for _, later in batches[n:] for one in later if one.ref not in known]
            return became
        for one, answer in zip(asked, answers, strict=True):
            _tell(kit, verb, one, answer, records[one.id], became)
    return became


def _batches(chosen: Sequence[Chosen]) -> Iterator[tuple[str, list[Chosen]]]:
    unique = list({one.ref: one for one in chosen}.values())
    for queue, group in groupby(sorted(unique, key=lambda one: one.queue), key=lambda one: one.queue):
        some = list(group)
        for start in range(0, len(some), BATCH):
            yield queue, some[start : start + BATCH]


def _records(kit: QueueKit, queue: str, batch: Sequence[Chosen]) -> dict[str, JobRecord]:
    ids = [one.id for one in batch]
    found = kit.run(lambda at: seeking.records(kit.access, at, queue, ids))
    return {record.id: record for record in found if record is not None}


def _fitting(
    kit: QueueKit, verb: Verb, batch: Sequence[Chosen], records: dict[str, JobRecord], became: Became
) -> list[Chosen]:
    """Those that are there, and as they were seen where that counts; the others are refused."""
    fitting = []
    for one in batch:
        record = records.get(one.id)
        if record is None:
            became.refused.append((one.ref, "there is no such job, or it is no longer kept"))
        elif verb in GUARDED and one.seen and stamp(kit.snapshot(record)) != one.seen:
            became.refused.append((one.ref, f"it changed since this page was made: it is {record.state.value} now"))
        else:
            fitting.append(one)
    return fitting


def _change(verb: Verb, one: Chosen, record: JobRecord, reason: str) -> Change:
    rev = record.rev if verb in GUARDED and one.seen else None
    return Change(id=one.id, verb=verb, rev=rev, reason=reason if verb is Verb.CANCEL else None)


def _changed(kit: QueueKit, queue: str, changes: Sequence[Change]) -> list[Changed]:
    async def call(at: Entry) -> list[Changed]:
        with at.lanes.op() as op:
            return await at.ask(partial(at.store.change, queue, changes, op))

    return [_elsewhere(kit, queue, *pair) for pair in zip(changes, kit.run(call), strict=True)]


def _elsewhere(kit: QueueKit, queue: str, change: Change, answer: Changed) -> Changed:
    """The answer itself, or that of the other store where the job is there."""
    if answer.no is not No.MOVED:
        return answer
    try:
        return kit.run(lambda at: seeking.change(kit.access, at, queue, change))
    except Moved:
        return answer


def _tell(kit: QueueKit, verb: Verb, one: Chosen, answer: Changed, before: JobRecord, became: Became) -> None:
    if not answer.ok:
        became.refused.append((one.ref, _why(verb, answer, before)))
    elif verb is Verb.CANCEL and answer.state is not State.CANCELLED:
        became.asked.append(one.ref)
    else:
        became.done.append(one.ref)
        if verb is Verb.CANCEL and kit.hooks.wants("cancelled"):
            _announce(kit, one)


def _announce(kit: QueueKit, one: Chosen) -> None:
    """Tell hooks of a cancel. It is done: a store that went away since must not make it look undone."""
    try:
        job = kit.job(one.id, queue=one.queue).get()
    except StoreError as error:
        _log.warning("hooks were not told that job %s was cancelled: %s", one.ref, redact(str(error)))
        return
    kit.hooks.emit("cancelled", JobFact(event="cancelled", at=clock.now(), queue=one.queue, job=job))


def _why(verb: Verb, answer: Changed, before: JobRecord) -> str:
    state = (answer.state or before.state).value
    if answer.no is No.ILLEGAL:
        hint = ": cancel it first" if verb is Verb.DELETE and state == State.ACTIVE.value else ""
        return f"it is {state}{hint}"
    return {
        No.GONE: "there is no such job, or it is no longer kept",
        No.CHANGED: f"it changed just now: it is {state}",
        No.HELD: "its unique key belongs to another job now",
        No.MOVED: "it is on its way to another store: try again",
    }[answer.no or No.GONE]
