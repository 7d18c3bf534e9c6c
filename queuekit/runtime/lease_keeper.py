"""Keeps the leases of running jobs, in a thread of its own with a blocking store: a handler that blocks the event
loop keeps its lease. Delivers progress and logs with the renewals; learns of cancels and of jobs that were lost.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from queuekit import clock
from queuekit.domain.outcome import Hold, Kind, Outcome, Renewal
from queuekit.errors import QueueKitError, StoreUnavailable
from queuekit.runtime.claim import NOTHING, Claim, Stop
from queuekit.runtime.source import Source
from queuekit.store.direct import direct

if TYPE_CHECKING:
    from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.lease_keeper")
LONGEST = 10.0  # seconds between renewals however long the lease: they bring cancels too
_TICK = 1.0  # seconds; shorter where leases are
_LEAST_TICK = 0.02
_SEARCH = 2.0  # seconds between looks for strays while nothing is held
_HANGS = 0.1  # seconds a renewal may take before leases that end meanwhile are fenced without waiting for it
_BATCH = 500


class LeaseKeeper:
    """A table of claims shared with the consumers under a lock.

    The consumers call `hold` when claims arrive, `settling` before an outcome goes into an exchange and `gone` when it
    was answered. `tell` hands (claim, stop, reason) to the event loop, `found` a stray, `wake` that notes were sent.
    """

    def __init__(
        self,
        store: Callable[[], JobStore],
        *,
        tell: Callable[[Claim, Stop, str], None],
        found: Callable[[Source, Outcome], None],
        wake: Callable[[Source], None],
        noted: Callable[[Claim, bytes], None] = lambda claim, progress: None,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._tell = tell
        self._found = found
        self._wake = wake
        self._noted = noted  # progress has arrived
        self._watch = watch  # called at each tick, for the lag
        self._lock = threading.Lock()
        self._held: dict[Source, dict[str, Claim]] = {}
        self._settling: dict[Source, set[tuple[str, str]]] = {}  # or fenced: whose ends are still to be answered
        self._order: list[Source] = []  # whose turn it is: a queue that did not answer goes behind the others
        self._searched: dict[Source, float] = {}
        self._stop = threading.Event()
        self._threads: tuple[threading.Thread, ...] = ()
        self._calling: float | None = None  # monotonic: since when a renewal is under way
        self._away = False

    # ------------------------------------------------------------ for the event loop
    def start(self, sources: Iterable[Source]) -> None:
        """Begin to keep the claims of these queues."""
        for source in sources:
            self._held[source] = {}
            self._settling[source] = set()
        self._order = list(self._held)
        self._threads = tuple(
            threading.Thread(target=run, name=name, daemon=True)
            for run, name in ((self._run, "queuekit-lease-keeper"), (self._guard, "queuekit-lease-guard"))
        )
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """End the thread; it may be inside a call that has to time out first."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout)

    def hold(self, source: Source, claims: list[Claim]) -> list[Claim]:
        """Keep these from now on. Answers older claims of the same jobs: they were lost without our noticing."""
        with self._lock:
            held = self._held[source]
            older = [held[claim.id] for claim in claims if claim.id in held]
            for claim in claims:
                held[claim.id] = claim
        return older

    def settling(self, source: Source, claims: Iterable[Claim]) -> set[Claim]:
        """Their outcomes are about to be sent: renew them no more, and take them for no strays.

        Answers those whose notes are under way this moment: they stay held, and their outcomes wait, so that no line
        is sent twice or lost; `wake` is called when the notes have arrived.
        """
        busy: set[Claim] = set()
        with self._lock:
            held, settling = self._held[source], self._settling[source]
            for claim in claims:
                if claim.sending:
                    busy.add(claim)
                    continue
                if held.get(claim.id) is claim:
                    del held[claim.id]
                settling.add((claim.id, claim.token))
        return busy

    def gone(self, source: Source, claims: Iterable[Claim]) -> None:
        """The store has answered to their outcomes."""
        with self._lock:
            settling = self._settling[source]
            for claim in claims:
                settling.discard((claim.id, claim.token))

    # ------------------------------------------------------------ the threads
    def _run(self) -> None:
        while not self._stop.wait(self._tick()):
            self._watch()
            self._turn()

    def _guard(self) -> None:
        """Fence what a call that hangs would leave running beside the job's next owner; else that is for `_turn`, which
        renews first: a worker that was held up itself may still have its jobs."""
        while not self._stop.wait(self._tick()):
            since = self._calling
            if since is not None and clock.monotonic() - since >= _HANGS:
                for source in self._held:
                    self._fence(source)

    def _turn(self) -> None:
        for source in tuple(self._order):
            with self._lock:
                claims = list(self._held[source].values())
            try:
                answers = self._keep(source, claims) if claims else self._search(source)
            except Exception:
                log.exception("renewing leases of queue %s failed", source.queue)
                continue
            if not answers:  # what another shard or collection keeps may answer, so it is asked first from now on
                self._order.remove(source)
                self._order.append(source)
                break
        # One call that times out must not keep the others from being fenced in time.
        for source in self._held:
            self._fence(source)

    def _tick(self) -> float:
        return max(_LEAST_TICK, min([_TICK, *(source.lease / 12_000 for source in self._held)]))

    def _keep(self, source: Source, claims: list[Claim]) -> bool:
        """Renew what is due, and with it what would be due soon. False: the store did not answer."""
        now, lease = clock.monotonic(), source.lease / 1000
        every = min(lease / 3, LONGEST)
        ages = [now - (claim.lease_end - lease) for claim in claims]
        least = every / 2 if max(ages) >= every else every
        due = [
            claim for claim, age in zip(claims, ages, strict=True) if age >= least or self._has_news(claim)
        ]  # fmt: skip
        return all(self._renew(source, due[start : start + _BATCH]) for start in range(0, len(due), _BATCH))

    def _search(self, source: Source) -> bool:
        """With nothing to renew: whether the store holds claims for us, where a call of ours may have been lost."""
        now = clock.monotonic()
        if now >= source.doubt or now < self._searched.get(source, 0.0) + min(source.lease / 12_000, _SEARCH):
            return True
        self._searched[source] = now
        return self._renew(source, []) if self._store().capabilities.strays else True

    def _has_news(self, claim: Claim) -> bool:
        return claim.unsent is not None or (claim.report is not None and claim.report.news)

    def _renew(self, source: Source, claims: list[Claim]) -> bool:
        holds = self._holds(source, claims)
        sent = clock.monotonic()
        upto = source.heard
        self._calling = sent
        try:
            reply = direct(self._store().renew(source.queue, holds, source.lease, source.actor, upto))
        except StoreUnavailable as error:
            self._unanswered(source, claims, error)
            return False
        except Exception as error:  # whatever it is, ends must not wait for notes that are under way
            known = isinstance(error, QueueKitError)
            log.error("queue %s: leases could not be renewed: %s", source.queue, error, exc_info=not known)
            self._unanswered(source, claims, None)
            return True
        finally:
            self._calling = None
        self._away = False
        self._answered(source, claims, reply, sent)
        for hold, claim in zip(holds, claims, strict=True):
            if hold.progress is not None:
                self._noted(claim, hold.progress)
        return True

    def _holds(self, source: Source, claims: list[Claim]) -> list[Hold]:
        """What to send; claims whose outcome went out meanwhile are left alone, notes and all."""
        holds = []
        with self._lock:
            held = self._held[source]
            claims[:] = [claim for claim in claims if held.get(claim.id) is claim]
            for claim in claims:
                note = claim.notes()
                claim.sending = note is not NOTHING
                claim.unsent = note if claim.sending else None
                holds.append(
                    Hold(id=claim.id, token=claim.token, progress=note.progress, logs=note.logs, start=note.start)
                )
        return holds

    def _answered(self, source: Source, claims: list[Claim], reply: Renewal, sent: float) -> None:
        lost = set(reply.lost)
        end = sent + (reply.lease_until - reply.now) / 1000
        with self._lock:
            held = self._held[source]
            sending = self._sent(claims, arrived=True)
            ours = [claim for claim in claims if held.get(claim.id) is claim]
            for claim in ours:
                if claim.id in lost:
                    del held[claim.id]
                else:
                    claim.lease_end = end
            known = self._settling[source] | {(claim.id, claim.token) for claim in held.values()}
        for claim in ours:
            if claim.id in lost:
                self._tell(claim, Stop.LOST, "")
            elif claim.id in reply.cancels:
                self._tell(claim, Stop.CANCEL, reply.cancels[claim.id])
        for job, token in reply.strays:
            if (job, token) not in known:
                log.warning("queue %s: giving back a claim whose reply never came", source.queue, extra={"job": job})
                self._found(source, Outcome(job, token, Kind.RELEASED))
        if sending:
            self._wake(source)

    def _unanswered(self, source: Source, claims: list[Claim], error: StoreUnavailable | None) -> None:
        with self._lock:
            sending = self._sent(claims, arrived=False)
        if error is not None and not self._away:
            self._away = True
            log.warning("leases cannot be renewed for now: %s", error)
        if sending:
            self._wake(source)

    def _sent(self, claims: list[Claim], *, arrived: bool) -> bool:
        """The call with these claims' notes is over; under the lock. Whether any had some."""
        any_sending = False
        for claim in claims:
            if claim.sending:
                any_sending, claim.sending = True, False
            if arrived:
                claim.unsent = None
        return any_sending

    def _fence(self, source: Source) -> None:
        """No renewal got through in time: others may have these jobs by now."""
        now = clock.monotonic()
        with self._lock:
            held = self._held[source]
            over = [claim for claim in held.values() if claim.lease_end <= now]
            for claim in over:
                del held[claim.id]
                self._settling[source].add((claim.id, claim.token))  # no stray while its run goes on
        for claim in over:
            ref = claim.record.ref
            log.error(
                "job %s: no renewal got through before its lease ended; its run is stopped", ref, extra=claim.about
            )
            self._tell(claim, Stop.FENCED, "")
