"""Tells hooks what became of jobs, after the store has accepted it. Costs one look at a flag where nobody listens."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from queuekit import clock
from queuekit.domain.events import JobEvent, JobFact
from queuekit.domain.job import JobRecord
from queuekit.domain.outcome import Home, Kind, Outcome
from queuekit.domain.redact import redact
from queuekit.domain.state import State
from queuekit.errors import JobError
from queuekit.producing.snapshot import error_from
from queuekit.runtime.claim import Claim
from queuekit.runtime.failure import type_name
from queuekit.runtime.source import Source

if TYPE_CHECKING:
    from queuekit.kit import QueueKit

log = logging.getLogger("queuekit.runtime")
_EVENTS: dict[Kind, tuple[JobEvent, State]] = {
    Kind.COMPLETED: ("completed", State.COMPLETED),
    Kind.FAILED: ("failed", State.FAILED),
    Kind.RETRY: ("retrying", State.DELAYED),
    Kind.CANCELLED: ("cancelled", State.CANCELLED),
    Kind.PARKED: ("parked", State.PARKED),
}
_COMPLETED = Kind.COMPLETED
_AWAY = {
    Home.MOVING: (logging.WARNING, "queue %s moves to %s: what runs ends here, and no more is claimed from this store"),
    Home.ARRIVING: (logging.INFO, "queue %s arrives from %s: its jobs are claimed once the move has opened it"),
    Home.GONE: (logging.WARNING, "queue %s lives in %s now: this worker gets no more of it until it is pointed there"),
}
_LEVELS = {Kind.FAILED: logging.ERROR, Kind.RETRY: logging.WARNING, Kind.PARKED: logging.ERROR}


class Announcer:
    """Facts of one worker. Counts what ended, for the beat."""

    def __init__(self, kit: QueueKit) -> None:
        self._kit = kit
        self._hooks = kit.hooks
        self._worked: set[Source] = set()  # had jobs since they were last drained
        self.done = 0

    def active(self, source: Source, claims: list[Claim]) -> None:
        """These runs begin."""
        self._worked.add(source)
        if self._hooks.wants("active"):
            for claim in claims:
                self._tell("active", claim.record.queue, claim.record, State.ACTIVE)

    def settled(self, pairs: Iterable[tuple[Claim, Outcome]]) -> None:
        """The store has accepted these ends."""
        debug, wants = log.isEnabledFor(logging.DEBUG), self._hooks.wants
        silent = None if debug or wants("completed") else _COMPLETED  # ends that concern nobody
        for claim, outcome in pairs:
            self.done += 1
            kind = outcome.kind
            if kind is silent:
                continue
            if debug or kind is not _COMPLETED:
                self._log(claim, outcome)
            named = _EVENTS.get(kind)
            if named is not None and wants(named[0]):
                error = None if outcome.error is None else error_from(outcome.error)
                claim.record.result, claim.record.reason = outcome.result, outcome.reason
                self._tell(named[0], claim.record.queue, claim.record, named[1], error)

    def lost(self, claim: Claim) -> None:
        """A run whose job belongs to somebody else by now."""
        log.warning("job %s was lost while it ran; what it did is not counted", claim.record.ref, extra=claim.about)

    def wants_stalled(self, *, crashed: bool) -> bool:
        """Whether the records of recovered jobs are worth reading."""
        return bool(self._hooks.wants("failed" if crashed else "stalled"))

    def stalled(self, records: Iterable[JobRecord], *, crashed: bool) -> None:
        """Jobs taken from a silent worker: to run again, or failed as `crash_loop`."""
        for record in records:
            self._tell("failed" if crashed else "stalled", record.queue, record, record.state)

    def progressed(self, claim: Claim, progress: bytes) -> None:
        """A handler said how far it is."""
        claim.record.progress = progress
        self._tell("progress", claim.record.queue, claim.record, State.ACTIVE)

    def drained(self, source: Source) -> None:
        """The queue has nothing to claim, and had before."""
        if source.idle and not source.held and source in self._worked:
            self._worked.discard(source)
            self._tell("drained", source.queue)

    def paused(self, source: Source, reason: str | None) -> None:
        """Logged once for each change; the hooks of a pause run where somebody paused."""
        if (reason is None) != (source.paused is None):
            log.info("queue %s is %s", source.queue, "resumed" if reason is None else f"paused: {reason}")

    def moved(self, source: Source, home: Home, to: str | None) -> None:
        """Logged once for each change of where the queue lives."""
        if home is Home.HERE:
            log.info("queue %s lives here now: its jobs are claimed", source.queue)
        else:
            level, text = _AWAY[home]
            log.log(level, text, source.queue, to or "another store")

    def error(self, queue: str, error: Exception) -> None:
        """Something of the worker's own went wrong."""
        if self._hooks.wants("error"):
            said = JobError(
                type=type_name(error), message=redact(str(error)), traceback="", attempt=0, worker="", at=clock.now()
            )
            self._tell("error", queue, error=said)

    def _tell(
        self, event: JobEvent, queue: str, record: JobRecord | None = None, state: State | None = None,
        error: JobError | None = None,
    ) -> None:  # fmt: skip
        if not self._hooks.wants(event):
            return
        job = None
        try:
            if record is not None:
                record.state = state or record.state
                job = self._kit.snapshot(record)
            self._hooks.emit(event, JobFact(event=event, at=clock.now(), queue=queue, job=job, error=error))
        except Exception:
            log.exception("telling hooks of %r failed", event)  # it must cost the consumer nothing

    def _log(self, claim: Claim, outcome: Outcome) -> None:
        level = _LEVELS.get(outcome.kind, logging.DEBUG)
        if not log.isEnabledFor(level):
            return
        why = outcome.reason or ""
        if outcome.error is not None:
            error = error_from(outcome.error)
            why = f"{error.type}: {error.message}"
        record = claim.record
        log.log(
            level, "job %s (%s) attempt %d: %s%s", record.ref, record.task, record.attempt, outcome.kind.value,
            f" - {why}" if why else "", extra=claim.about,
        )  # fmt: skip
