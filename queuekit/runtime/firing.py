"""Fires what is due of one queue's schedules: reads, decides, applies. Whoever loses to another does no harm.

Only the store's time counts. When to look again is decided in scheduler.py.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from queuekit import clock, ids
from queuekit.domain.job import BATCH_MAX, JobSpec
from queuekit.domain.outcome import Op
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.redact import redact
from queuekit.domain.schedule import FIRE_MAX, Fired, Firing, NoFire, ScheduleRecord
from queuekit.domain.scheduled import STRANDED, Definition
from queuekit.domain.state import State
from queuekit.domain.timetable import Turn, slot_name
from queuekit.errors import Moved, QueueKitError, Stale, StoreUnavailable
from queuekit.store.parts import SchedulingStore

log = logging.getLogger("queuekit.runtime.scheduler")
LOOK = 100  # schedules of one look
BYTES = 4 * 1024 * 1024  # of payloads in one call
AGAIN = 1000  # ms until a schedule that cannot fire now is tried again
BROKEN = 60_000  # and one that cannot be read: what it says does not change, but zone data may
LATE = 60_000  # ms after which a slot that is fired late is worth a line
_KEPT = 4096  # definitions that are not read anew, at most
_KEPT_BYTES = 16 * 1024 * 1024  # and of these together
_PAGE = 1000  # schedules of one answer where all are looked through
_RUNS = (State.WAITING, State.DELAYED, State.ACTIVE, State.BLOCKED)


@dataclass(slots=True, kw_only=True)
class Round:
    """What one look did. `next_in` is ms behind `at` (monotonic); None: nothing is to come, as far as is known."""

    at: float = 0.0
    fired: int = 0  # schedules
    lost: int = 0  # schedules that somebody else fired or changed first
    next_in: int | None = None
    more: bool = False  # look again at once
    any: bool = False  # the queue has schedules that are to come


@dataclass(slots=True)
class _Plan:
    """What is to become of one schedule now."""

    record: ScheduleRecord
    definition: Definition
    turn: Turn
    jobs: list[JobSpec] = field(default_factory=list)
    skipped: int = 0
    next_at: int | None = None


class Firer:
    """One queue's. `stopped` is asked before anything is applied; `failed` is told of a schedule that cannot fire;
    `settle` ends what somebody who died began with the schedule of an id, as a change of its queue.
    """

    def __init__(
        self, store: SchedulingStore, queue: str, *, stopped: Callable[[], bool] = lambda: False,
        failed: Callable[[str, Exception], None] = lambda queue, error: None,
        settle: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:  # fmt: skip
        self.queue = queue
        self._settle = settle
        self._store = store
        self._stopped = stopped
        self._failed = failed
        self._actor, self._n = ids.nonce(), 0
        self._read: dict[str, tuple[bytes, Definition]] = {}
        self._read_bytes = 0
        self._full = 0  # the store's time until which the queue is taken to be full; 0: it is not
        self._stuck: dict[str, tuple[int, int]] = {}  # rev, and the store's time of the next try
        self._most: dict[str, int] = {}  # jobs that one firing had room for
        self._told: set[str] = set()  # schedules of which something was said
        self._now = 0  # by the last look

    async def round(self) -> Round:
        """Look once, and fire what is due. Raises Moved, StoreUnavailable."""
        due = await self._store.due(self.queue, LOOK + len(self._stuck))
        self._now = due.now
        self._forget()
        if not due.records or not due.now < self._full <= due.now + 2 * AGAIN:
            self._full = 0
        done = Round(at=clock.monotonic(), any=bool(due.records) or due.next_at is not None)
        nexts = [] if due.next_at is None else [due.next_at]
        records = self._free(due.records, nexts)
        if not records and due.next_at is not None and due.next_at <= due.now:  # what is stuck fills the answer
            records = await self._behind()
            nexts[0] = due.now if len(records) > LOOK else due.now + AGAIN
        if len(records) > LOOK:
            nexts.append(due.now)
        stranded = [record for record in records[:LOOK] if self._passes(record)]
        fit = [record for record in records[:LOOK] if not self._passes(record)] if stranded else records[:LOOK]
        plans = [plan for record in fit if (plan := self._planned(record)) is not None]
        if plans and not self._stopped():
            await self._overlaps(plans)
            self._fill(plans)
            for fired, plan in await self._fire(plans):
                self._heard(fired, plan, done, nexts)
        for record in stranded:
            done.more |= await self._settled(record)
        nearest = due.now + AGAIN if self._full else min(nexts, default=None)
        done.next_in = None if nearest is None else nearest - due.now
        done.more |= bool(done.lost) or (done.next_in is not None and done.next_in <= 0 and not self._stopped())
        return done

    # ------------------------------------------------------------ choosing
    def _forget(self) -> None:
        """What is known of schedules that stuck, where it is old: somebody else fired them, or they are gone. What
        lies far ahead is of a clock that was set back.
        """
        old, far = self._now - 2 * BROKEN, self._now + BROKEN
        if any(not old < until <= far for _, until in self._stuck.values()):
            self._stuck = {name: stuck for name, stuck in self._stuck.items() if old < stuck[1] <= far}

    def _free(self, records: Sequence[ScheduleRecord], nexts: list[int]) -> list[ScheduleRecord]:
        """Those that may fire now; of the others, when they are tried again."""
        free = []
        for record in records:
            rev, until = self._stuck.get(record.id, (0, 0))
            if rev == record.rev and until > self._now:
                nexts.append(until)
            else:
                free.append(record)
        return free

    async def _behind(self) -> list[ScheduleRecord]:
        """Due schedules, found by looking through all: those that stick are more than `due` answers at once. One more
        than LOOK, if there are more."""
        found: list[ScheduleRecord] = []
        after = ""
        while len(found) <= LOOK and (page := await self._store.schedules(self.queue, after, _PAGE)):
            found += self._free([one for one in page if one.next is not None and one.next <= self._now], [])
            after = page[-1].id
        return found[: LOOK + 1]

    # ------------------------------------------------------------ deciding
    def _planned(self, record: ScheduleRecord) -> _Plan | None:
        """What its rule makes of a schedule now; None where that cannot be said."""
        try:
            definition, due = self._definition(record), record.next
            assert due is not None, "due without a slot"
            turn = definition.timetable.turn(due, record.fired, self._now, definition.anchor)
            if not turn.slots and turn.next_at is not None and turn.next_at <= due:
                raise ValueError(f"its rule does not move on from {slot_name(due)}")
        except Exception as error:  # noqa: BLE001  one rule must not stop the others
            self._unfit(record, error)
            return None
        return _Plan(record, definition, turn, skipped=turn.skipped, next_at=turn.next_at)

    def _definition(self, record: ScheduleRecord) -> Definition:
        known = self._read.get(record.id)
        if known is not None and known[0] == record.definition:
            return known[1]
        definition = Definition.load(record.definition)
        self._read_bytes += len(record.definition) - (0 if known is None else len(known[0]))
        if len(self._read) >= _KEPT or self._read_bytes > _KEPT_BYTES:
            self._read.clear()
            self._read_bytes = len(record.definition)
        self._read[record.id] = (record.definition, definition)
        return definition

    def _passes(self, record: ScheduleRecord) -> bool:
        """Whether somebody began to write it, or to change its queue, and died before it could fire."""
        try:
            return self._definition(record).passing
        except QueueKitError:
            return False  # told when it is planned

    async def _settled(self, record: ScheduleRecord) -> bool:
        """End what that one began; whether there is something new to look at. *Cost* O(queues)."""
        self._stuck[record.id] = record.rev, self._now + STRANDED
        if self._settle is None or self._stopped():
            return False
        try:
            await self._settle(record.id)
        except QueueKitError as error:
            self._say(record.id, f"what is not written to the end is tried again: {redact(str(error))}")
            return False
        self._line(record.id, "it was not written to the end by who began it, and is now", logging.INFO)
        return True

    async def _overlaps(self, plans: Sequence[_Plan]) -> None:
        """Decide by the last jobs of those that ask for it; cancel the ones that are replaced."""
        asking = [plan for plan in plans if plan.definition.timetable.overlap != "allow" and plan.turn.slots]
        lasts = [plan.record.last_job for plan in asking if plan.record.last_job is not None]
        found = await self._store.get(self.queue, lasts) if lasts else []
        running = {job.id for job in found if job is not None and job.state in _RUNS}
        cancels = []
        for plan in asking:
            slots, last, runs = plan.turn.slots, plan.record.last_job, plan.record.last_job in running
            if plan.definition.timetable.overlap == "replace":
                keep = slots[-1:]
                if runs and last is not None:
                    reason = f"replaced by slot {slot_name(slots[-1])} of schedule {plan.record.id}"
                    cancels.append(Change(id=last, verb=Verb.CANCEL, reason=reason))
            else:  # the jobs of one turn would run at once: the first of them is in the way of the others
                keep = () if runs else slots[:1]
                if runs:
                    self._say(plan.record.id, f"slot {slot_name(slots[-1])} is skipped: job {last} has not ended")
            if len(keep) < len(slots):
                plan.skipped += len(slots) - len(keep)
                plan.next_at = plan.definition.timetable.after(slots[-1], plan.definition.anchor)
                plan.turn = Turn(slots=tuple(keep), next_at=plan.next_at, skipped=plan.turn.skipped)
        if cancels and not self._stopped():
            await self._cancel(cancels)

    async def _cancel(self, cancels: Sequence[Change]) -> None:
        self._n += 1
        try:
            answers = await self._store.change(self.queue, cancels, Op(self._actor, self._n))
        except Stale:  # the store was set back: it knows a later call of ours than we made
            self._actor, self._n = ids.nonce(), 0
            raise
        if any(answer.no is No.MOVED for answer in answers):
            raise Moved(f"queue {self.queue} is on its way: nothing fires")

    def _fill(self, plans: list[_Plan]) -> None:
        """Make the jobs, no more than go into a call or two: those with a backlog share what the others leave."""
        plans.sort(key=lambda plan: len(plan.turn.slots))
        behind = sum(len(plan.turn.slots) > 1 for plan in plans)
        share = max(1, BATCH_MAX // max(1, behind))
        for plan in list(plans):
            slots, record = plan.turn.slots, plan.record
            most = min(share, self._most.get(record.id, FIRE_MAX))
            try:
                if slots:
                    size = max(1, len(plan.definition.form.body))
                    most = max(1, min(most, BYTES // size))
                plan.jobs = [plan.definition.job(record.id, slot) for slot in slots[:most]]
            except Exception as error:  # noqa: BLE001  one job must not stop the others
                self._unfit(record, error)
                plans.remove(plan)
                continue
            if len(slots) > most:
                plan.next_at = slots[most]
        if self._full:  # one asks for room
            plans[:] = [plan for plan in plans if not plan.jobs] + [plan for plan in plans if plan.jobs][:1]

    # ------------------------------------------------------------ applying
    async def _fire(self, plans: Sequence[_Plan]) -> list[tuple[Fired, _Plan]]:
        """In calls of a bounded size; a schedule that no store takes is found, and left out."""
        answers: list[tuple[Fired, _Plan]] = []
        for batch in _batches(plans):
            if self._stopped():
                break
            try:
                said = await self._call(batch)
            except (Moved, StoreUnavailable):
                raise
            except QueueKitError as error:  # something in it fits no store: nothing was applied
                log.debug("queue %s: %d schedules are fired one by one: %s", self.queue, len(batch), error)
                said = await self._one_by_one(batch)
            answers += said
            if any(fired.no is NoFire.FULL and len(plan.jobs) == 1 for fired, plan in said):
                break
        return answers

    async def _one_by_one(self, batch: Sequence[_Plan]) -> list[tuple[Fired, _Plan]]:
        answers = []
        for plan in batch:
            if self._stopped():
                break
            try:
                answers += await self._call([plan])
            except (Moved, StoreUnavailable):
                raise
            except QueueKitError as error:
                self._unfit(plan.record, error)
        return answers

    async def _call(self, batch: Sequence[_Plan]) -> list[tuple[Fired, _Plan]]:
        firings = [
            Firing(
                id=plan.record.id, rev=plan.record.rev, next_at=plan.next_at, jobs=tuple(plan.jobs),
                skipped=plan.skipped,
            )
            for plan in batch
        ]  # fmt: skip
        return list(zip(await self._store.fire(self.queue, firings), batch, strict=True))

    def _heard(self, fired: Fired, plan: _Plan, done: Round, nexts: list[int]) -> None:
        """Take in what became of one firing."""
        name, jobs = plan.record.id, len(plan.jobs)
        if fired.no is None:
            done.fired += 1
            self._stuck.pop(name, None)
            self._full = 0 if jobs else self._full
            if plan.next_at is not None:
                nexts.append(plan.next_at)
            if jobs == self._most.get(name):
                self._most[name] *= 2  # there is room again
                if self._most[name] > FIRE_MAX:
                    del self._most[name]
            self._tell(fired, plan)
        elif fired.no is NoFire.CHANGED:
            done.lost += 1
        elif fired.no is NoFire.FULL and jobs > 1:
            self._most[name] = jobs // 2
            nexts.append(self._now)
        else:
            full = fired.no is NoFire.FULL
            self._full = self._now + 2 * AGAIN if full else self._full
            why = "the queue is full" if full else "its unique key waits for the jobs that come from another store"
            self._say(name, f"slot {slot_name(plan.record.next or 0)} is not fired yet: {why}", logging.WARNING)
            self._stuck[name] = plan.record.rev, self._now + AGAIN
            nexts.append(self._now + AGAIN)

    # ------------------------------------------------------------ telling
    def _tell(self, fired: Fired, plan: _Plan) -> None:
        record, slots = plan.record, plan.turn.slots[: len(plan.jobs)]
        if plan.turn.skipped:
            self._line(record.id, f"{plan.turn.skipped} slots were missed and make no job", logging.INFO)
        if not slots:
            return
        self._told.discard(record.id)
        late = self._now - slots[0]
        level = logging.INFO if late > LATE else logging.DEBUG
        if log.isEnabledFor(level):
            jobs = ", ".join(receipt.id for receipt in fired.receipts[:3]) + (" …" if len(slots) > 3 else "")
            self._line(record.id, f"fired {jobs}" + (f", {late // 1000} s late" if late > LATE else ""), level)

    def _say(self, name: str, text: str, level: int = logging.INFO) -> None:
        """A line for people once; then for those who look closely, until the schedule fires again."""
        first = name not in self._told
        if len(self._told) >= _KEPT:
            self._told.clear()
        self._told.add(name)
        self._line(name, text, level if first else logging.DEBUG)

    def _line(self, name: str, text: str, level: int) -> None:
        log.log(level, "queue %s: schedule %s: %s", self.queue, name, text, extra={"queue": self.queue})

    def _unfit(self, record: ScheduleRecord, error: Exception) -> None:
        """A schedule that cannot be fired as it is: it stays due, the others go on."""
        known = self._stuck.get(record.id)
        self._stuck[record.id] = record.rev, self._now + BROKEN
        if known is not None and known[0] == record.rev:
            return
        text = f"it cannot be fired: {type(error).__name__}: {redact(str(error))}"
        self._line(record.id, text, logging.ERROR)
        self._failed(self.queue, error)


def _batches(plans: Sequence[_Plan]) -> list[list[_Plan]]:
    """Those that go into one call: by jobs, and by bytes."""
    batches: list[list[_Plan]] = []
    jobs = size = 0
    for plan in plans:
        many, weight = len(plan.jobs), sum(len(job.body) for job in plan.jobs)
        if not batches or len(batches[-1]) >= BATCH_MAX or jobs + many > BATCH_MAX or size + weight > BYTES:
            batches.append([])
            jobs = size = 0
        batches[-1].append(plan)
        jobs, size = jobs + many, size + weight
    return batches
