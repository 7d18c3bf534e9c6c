"""From the end of a run to its one outcome: returned, raised, stopped, unknown task, unfit payload. No I/O."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from queuekit import codec
from queuekit.context import Cancel, Fail, Retry, Snooze
from queuekit.domain.backoff import Backoff
from queuekit.domain.job import JobRecord
from queuekit.domain.options import Policy
from queuekit.domain.outcome import Kind, Outcome
from queuekit.errors import Cancelled, PayloadError
from queuekit.runtime import failure
from queuekit.runtime.claim import Claim, Stop

log = logging.getLogger("queuekit.runtime")
UNKNOWN_TASK_DELAYS = (1000, 2000, 4000, 8000, 16000)  # ms; then parked
LONGEST = 1000 * 365 * 86_400_000  # ms: whoever waits longer waits for ever, and no store's numbers end before
_UNKNOWN = "UnknownTask"


@dataclass(frozen=True, slots=True)
class Endings:
    """Builds outcomes in the name of one worker. Progress and logs are added when an outcome is sent."""

    worker: str

    def completed(self, claim: Claim, policy: Policy, result: bytes | None) -> Outcome | None:
        """The handler returned. A cancel or a deadline that came too late changes nothing; a lost lease does."""
        if claim.stop is Stop.LOST:
            return None
        return Outcome(claim.id, claim.token, Kind.COMPLETED, result, keep=policy.keep_completed)

    def stopped(self, claim: Claim) -> Outcome | None:
        """The run was told to end, and did, or had not begun."""
        if claim.stop is Stop.LOST:
            return None
        if claim.stop is Stop.CANCEL:
            return Outcome(claim.id, claim.token, Kind.CANCELLED, reason=claim.reason)
        return Outcome(claim.id, claim.token, Kind.RELEASED)

    def raised(self, claim: Claim, policy: Policy, error: BaseException) -> Outcome | None:
        """The handler raised, for whatever reason."""
        if claim.stop is Stop.CANCEL:
            outcome = Outcome(claim.id, claim.token, Kind.CANCELLED, reason=claim.reason, keep=policy.keep_failed)
            if not isinstance(error, (asyncio.CancelledError, Cancelled)):
                outcome.error = self._describe(claim, error)
            return outcome
        if claim.stop is not None:
            return self.stopped(claim)
        error = failure.sole(error)
        outcome = Outcome(claim.id, claim.token, Kind.FAILED, keep=policy.keep_failed)
        if isinstance(error, Snooze):
            outcome.kind, outcome.keep, outcome.delay, outcome.at = Kind.SNOOZED, None, _bounded(error.delay), error.at
        elif isinstance(error, (Cancel, Cancelled)):
            outcome.kind, outcome.reason = Kind.CANCELLED, failure.message(error)
        elif isinstance(error, Fail):
            outcome.error, outcome.reason = self._describe(claim, error), failure.message(error)
        else:
            outcome.error = self._describe(claim, error)
            self._again(claim.record, policy, error, outcome)
        return outcome

    def unfit_result(self, claim: Claim, policy: Policy, why: str) -> Outcome | None:
        """The run is done, its result cannot be kept: failed for good, since running it again would do it twice."""
        if claim.stop is Stop.LOST:
            return None
        error = failure.UnfitResult(f"the result cannot be stored: {why}")
        return Outcome(claim.id, claim.token, Kind.FAILED, error=self._describe(claim, error), keep=policy.keep_failed)

    def parked(self, claim: Claim, reason: str) -> Outcome:
        """The worker cannot run it, now or later."""
        return Outcome(claim.id, claim.token, Kind.PARKED, reason=failure.tidy(reason))

    def unknown_task(self, claim: Claim) -> Outcome:
        """No handler here: another worker may have one, so it waits a little longer each time, then is parked.

        Snoozed rather than released: at its old place it would come back at once. The error that goes with it tells
        people why it waits, and lets the next worker count.
        """
        record = claim.record
        times = min(record.snoozes, _unknown_in_a_row(record))
        if times >= len(UNKNOWN_TASK_DELAYS):
            return self.parked(
                claim, f"unknown task {record.task!r}: no worker of queue {record.queue!r} has a handler"
            )
        text = f"no handler for task {record.task!r} in this worker"
        error = failure.record(_UNKNOWN, text, "", attempt=record.attempt, worker=self.worker)
        return Outcome(claim.id, claim.token, Kind.SNOOZED, error=error, delay=UNKNOWN_TASK_DELAYS[times])

    def refused(self, claim: Claim, why: str) -> Outcome:
        """The store would not take the outcome of a run that is over: end the job with the reason."""
        error = failure.UnfitResult(f"the store refused the outcome of this run: {why}")
        return Outcome(claim.id, claim.token, Kind.FAILED, error=self._describe(claim, error))

    def _again(self, record: JobRecord, policy: Policy, error: BaseException, outcome: Outcome) -> None:
        """Turn a failure into a retry where runs are left and the error may be tried again."""
        if record.attempt >= policy.attempts:
            return
        if isinstance(error, Retry) and error.delay is not None:
            delay: int | None = error.delay
        elif isinstance(error, Retry) or _may_retry(policy, error):
            delay = _delay(policy, record.attempt, error)
        else:
            return
        if delay is not None:
            outcome.kind, outcome.delay, outcome.keep = Kind.RETRY, _bounded(delay), None

    def _describe(self, claim: Claim, error: BaseException) -> bytes:
        return failure.describe(error, attempt=claim.record.attempt, worker=self.worker)


def _bounded(delay: int | None) -> int | None:
    """A delay every store can add to its clock: one it cannot would hold up all outcomes that go along."""
    return None if delay is None else min(delay, LONGEST)


def _may_retry(policy: Policy, error: BaseException) -> bool:
    """Every exception of a group must be one that may be run again."""
    return all(policy.retries(leaf) for leaf in failure.leaves(error))


def _delay(policy: Policy, attempt: int, error: BaseException) -> int | None:
    """The wait before the next run. A custom backoff is user code: when it breaks, the default holds."""
    shown = error if isinstance(error, Exception) else Exception(failure.message(error))
    try:
        return policy.backoff.delay_ms(attempt, shown)
    except Exception:
        log.exception("the custom backoff of a task raised; the default backoff is used instead")
        return Backoff().delay_ms(attempt)


def _unknown_in_a_row(record: JobRecord) -> int:
    count = 0
    for data in reversed(record.errors):
        try:
            error = codec.decode(data)
        except PayloadError:
            break
        if not isinstance(error, dict) or error.get("type") != _UNKNOWN:
            break
        count += 1
    return count
