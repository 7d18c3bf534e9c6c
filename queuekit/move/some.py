"""Moves only jobs that rest, of some states: copied, read back, then deleted at the source. No queue changes its home.

Why live jobs cannot move so: docs/decisions/093.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from queuekit import ids as names
from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Clash, Parcel
from queuekit.domain.outcome import Home, Op
from queuekit.domain.query import Change, Verb
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption, Moved, MoveStopped
from queuekit.move import checks
from queuekit.move.checks import Pair
from queuekit.move.end import End, Epochs, Fenced, Real
from queuekit.move.flow import Pace
from queuekit.move.note import Note
from queuekit.move.pages import pages, pieces
from queuekit.move.records import digest
from queuekit.move.telling import Telling
from queuekit.move.values import OnProgress, Options, Phase, QueueReport, Report, Side, Standing
from queuekit.store.retry import Waiter

RESTING: Final = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED, State.PARKED})


async def move_states(
    source: Side, target: Side, queues: Sequence[str], states: Sequence[State], *, options: Options | None = None,
    on_progress: OnProgress | None = None, waiter: Waiter | None = None,
) -> Report:  # fmt: skip
    """Move the ended and parked jobs of these states. Repeat it where it was killed: each job is moved once."""
    pair = Pair(source, target, options or Options(), waiter or Real())
    wrong = sorted(set(states) - RESTING)
    if wrong or not states:
        raise InvalidOption(
            f"jobs that are {', '.join(wrong) or 'of no state'} do not move alone: their order, keys and claims are the"
            f" queue's. Move whole queues, or only {', '.join(sorted(RESTING))}"
        )
    await checks.two_stores(pair)
    report, began = Report(source=source.name, target=target.name), pair.waiter.monotonic()
    for name in await checks.chosen(pair, queues):
        if not await _stays(pair, name, report):
            continue
        telling = Telling(name, pair.waiter, on_progress)
        report.queues.append(telling.report)
        await _Some(pair, name, telling).run(states)
    report.seconds = pair.waiter.monotonic() - began
    return report


async def _stays(pair: Pair, name: str, report: Report) -> bool:
    """Whether both sides have this queue for their own. Raises Conflict, Moved where a move is not over."""
    where, (mine, theirs) = await pair.standing(name), await pair.confs(name)
    if where is Standing.HERE and theirs.home is Home.HERE:
        return True
    if where is Standing.MOVED:
        left = sum((await pair.jobs(pair.source, name)).values())
        said = QueueReport(queue=name, phase=Phase.SWEEP if left else Phase.DONE)
        said.notes.append(f"the whole queue had moved to {pair.target.name} already")
        if left:
            said.notes.append(f"{left} jobs of it stayed at {pair.source.name}: --resume without --state tries them")
        report.queues.append(said)
        return False
    if where is Standing.HERE and theirs.home is Home.GONE:
        raise Moved(
            f"queue {name}: {pair.target.name} has given all of it away, to {theirs.to}, and takes no jobs: move the"
            " whole queue there, without --state",
            to=theirs.to,
        )
    if where is Standing.ELSEWHERE or where is Standing.HERE:
        error = await checks.elsewhere(pair, name)
        if mine.home is not Home.GONE:
            raise error
        report.notes.append(str(error))
        return False
    raise Conflict(f"queue {name}: a move of all of it is not over ({where}): end that first, without --state")


class _Some:
    """The resting jobs of one queue."""

    def __init__(self, pair: Pair, queue: str, telling: Telling) -> None:
        self.pair, self.queue, self.telling = pair, queue, telling
        options, waiter = pair.options, pair.waiter
        by = names.nonce()
        self.target = End(pair.target, queue, by=by, epochs=Epochs(), waiter=waiter, patience=options.patience)
        self.note, self._actor, self._calls = Note(), names.nonce(), 0
        self._pace = Pace(options.rate, waiter)

    async def run(self, states: Sequence[State]) -> None:
        self.telling.enter(Phase.HISTORY)
        counts = await self.pair.jobs(self.pair.source, self.queue)
        self.note.total = sum(counts.get(state, 0) for state in states)
        await self.target.conf()
        try:
            await self.target.become(Home.HERE, None)
            number = 0
            async for records in pages(self.pair, self.pair.source, self.queue, states, limit=self.pair.options.batch):
                for some in pieces(records):
                    number += 1
                    await self._batch(number, some)
            await self.target.become(Home.HERE, None)  # drops the journal
        except Fenced as fenced:
            raise Conflict(
                f"queue {self.queue}: somebody else imports into it, or moves it: try again later"
            ) from fenced
        self.telling.sum_up(self.note)
        self.telling.enter(Phase.DONE)

    async def _batch(self, number: int, records: Sequence[JobRecord]) -> None:
        wanted = [Parcel(record=job, back=True) for job in records]
        own = {job.id: (digest(job), job) for job in records}
        clashes = {clash.id: clash for clash in await self.target.import_batch(number, wanted, (), b"")}
        found = await self.pair.ask(self.pair.target, self.pair.target.store.get, self.queue, list(own))
        there = {job.id: job for job in found if job is not None}
        came: list[JobRecord] = []
        for name, (mark, job) in own.items():
            copy = there.get(name)
            alike = copy is not None and digest(copy) == mark
            if alike or (name not in clashes and (copy is None or copy.rev > job.rev)):
                came.append(job)
            elif name in clashes:
                self.telling.report.clashes.append(clashes[name])
            else:
                raise MoveStopped(
                    f"queue {self.queue}: job {name} reads back at {self.target.name} as something else. It is still at"
                    f" {self.pair.source.name}; delete it at {self.target.name} and try again",
                    queue=self.queue, ids=(name,),
                )  # fmt: skip
        await self._delete(came, there, own)
        await self._pace.spend(len(records))
        self.telling.batch(self.note)

    async def _delete(
        self, came: Sequence[JobRecord], there: dict[str, JobRecord], own: dict[str, tuple[bytes, JobRecord]]
    ) -> None:
        """At the source, by rev; one that somebody changed there meanwhile stays there, and its copy goes."""
        answers = await self._change(self.pair.source, came)
        stay = [job.id for job, ok in zip(came, answers, strict=True) if not ok]
        for job in came:
            if job.id not in stay:
                self.note.count(job.state.value, own[job.id][0])
                self.note.arrive(own[job.id][0])
        if not stay:
            return
        left = await self.pair.ask(self.pair.source, self.pair.source.store.get, self.queue, stay)
        changed = [job.id for job in left if job is not None]  # one that is gone was deleted or pruned: as its copy is
        await self._change(self.pair.target, [there[name] for name in stay if name in there])
        self.telling.report.clashes += [Clash(id=name, why="changed", by=name) for name in changed]

    async def _change(self, side: Side, jobs: Sequence[JobRecord]) -> list[bool]:
        if not jobs:
            return []
        self._calls += 1
        changes = [Change(id=job.id, verb=Verb.DELETE, rev=job.rev) for job in jobs]
        op = Op(f"{self._actor}", self._calls)
        return [answer.ok for answer in await self.pair.ask(side, side.store.change, self.queue, changes, op)]
