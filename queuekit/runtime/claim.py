"""A claim in a worker's hands: the job, the token that owns it, what was asked of its run. Values and flags only."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Final

from queuekit.domain.job import LOGS_KEPT, JobRecord
from queuekit.domain.outcome import Outcome
from queuekit.domain.query import Note

if TYPE_CHECKING:
    from queuekit.context import Report
    from queuekit.runtime.source import Source

NOTHING: Final = Note()


class Stop(Enum):
    """Why a run was told to end. A later member outranks an earlier one."""

    CANCEL = 1  # a person asked
    SHUTDOWN = 2  # the grace is over: give the job back
    FENCED = 3  # no renewal got through in time: end it, then give it back if it is still ours
    LOST = 4  # the store gave the job to somebody else: whatever the run says is dropped


class Claim:
    """One claim. The event loop owns every field but `lease_end`, `sending` and `unsent`: those are written under the
    lease keeper's lock, and read by the event loop once the keeper has let the claim go."""

    __slots__ = (
        "id", "lease_end", "lingers", "reason", "record", "refused", "report", "sending", "settled", "source", "stop",
        "suspended", "task", "token", "unsent",
    )  # fmt: skip

    def __init__(self, record: JobRecord, source: Source, lease_end: float) -> None:
        self.record = record
        self.source = source
        self.id = record.id
        self.token: str = record.token or ""
        self.lease_end = lease_end  # monotonic seconds of this host, never later than the store's own end
        self.report: Report | None = None  # from the start of the run on
        self.task: asyncio.Task[None] | None = None  # while a coroutine handler is suspended: what to cancel
        self.lingers: asyncio.Future[object] | None = None  # a thread that outlived its timeout: the slot is taken
        self.suspended = False  # the handler let the loop go on at least once
        self.stop: Stop | None = None
        self.reason = ""  # of a cancel
        self.refused = False  # the store would not take its outcome: a failure that says so is on its way
        self.settled = False  # its outcome is built: nothing may build another
        self.sending = False  # progress or logs are under way to the store
        self.unsent: Note | None = None  # taken from the report, not acknowledged

    def interrupt(self, stop: Stop, reason: str = "") -> None:
        """Tell the run to end. On the event loop only; a run in a thread sees it through its context."""
        if self.settled or (self.stop is not None and self.stop.value >= stop.value):
            return
        self.stop, self.reason = stop, reason
        if self.report is not None:
            if stop is Stop.CANCEL:
                self.report.cancel(reason)
            else:
                self.report.lose()
        if self.task is not None:
            self.task.cancel()

    @property
    def told(self) -> bool:
        """Whether the run was told to end."""
        return self.stop is not None

    def notes(self) -> Note:
        """Progress and logs that the store has not acknowledged; whoever takes them sends them.

        Lines carry their number, so that a store which took them already, and whose reply was lost, knows them.
        """
        report = self.report
        if report is None or not (report.news or self.unsent is not None):
            return NOTHING
        new, old = report.take(), self.unsent
        self.unsent = None
        if old is None:
            return new
        progress = old.progress if new.progress is None else new.progress
        if new.start is None:
            return Note(progress=progress, logs=old.logs, start=old.start)
        if old.start is None or old.start + len(old.logs) != new.start:  # so many that some were dropped between
            return Note(progress=progress, logs=new.logs, start=new.start)
        logs = (*old.logs, *new.logs)
        over = max(0, len(logs) - LOGS_KEPT)
        return Note(progress=progress, logs=logs[over:], start=old.start + over)

    def hand_in(self, outcome: Outcome) -> None:
        """Let an outcome carry what is still to be reported."""
        note = self.notes()
        outcome.progress, outcome.logs, outcome.start = note.progress, note.logs, note.start

    @property
    def about(self) -> dict[str, object]:
        """For `extra` of a log record."""
        record = self.record
        return {"job": record.ref, "queue": record.queue, "task": record.task, "attempt": record.attempt}
