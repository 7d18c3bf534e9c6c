"""Claims jobs for free slots and hands in the ends of runs: one exchange in flight, repeated until it is answered.

An outcome is built once, kept here until the store has answered to it, and never lost while the process lives.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass

from queuekit import clock
from queuekit.domain.job import BATCH_MAX
from queuekit.domain.outcome import Ask, Exchange, Home, Kind, Op, Outcome, Refusal
from queuekit.domain.redact import redact
from queuekit.domain.state import Line
from queuekit.errors import Stale, StoreUnavailable
from queuekit.runtime.agent import raise_if_cancelled
from queuekit.runtime.allowance import Allowance
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.lease_keeper import LeaseKeeper
from queuekit.runtime.order import Order
from queuekit.runtime.runner import Runner
from queuekit.runtime.slots import Slots
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.consumer")
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0  # seconds between repeats, each spread over [half, whole]
SOON = 0.02  # seconds until the next look while claims wait for their slots: nobody rings when the last has begun


class GaveUp(Exception):
    """The store did not answer before the worker had to end."""


@dataclass(slots=True)
class _Request:
    """One call, repeated with the same arguments until it is answered."""

    source: Source
    op: Op
    ask: Ask
    pairs: list[tuple[Claim, Outcome]]
    outcomes: list[Outcome]


class Consumer:
    """One or several queues that share `size` slots. `run` is its task; everything else is called on the same loop."""

    def __init__(
        self, sources: list[Source], *, size: int, strict: bool, store: JobStore, runner: Runner, keeper: LeaseKeeper,
        announcer: Announcer, allowance: Allowance, rested: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.sources = sources
        self.slots = Slots(size, runner, ended=self._ended, freed=self._freed)
        self.order = Order(sources, strict=strict, size=size)
        self.store = store
        self.runner = runner
        self.keeper = keeper
        self.announcer = announcer
        self.allowance = allowance
        allowance.wakes.append(self.wake)
        self.closing = False
        self.given_back = 0  # jobs whose run was under way when the grace ended
        self._rested = rested  # called when nothing is to do for now
        self._waiter: asyncio.Future[None] | None = None
        self._rung = False
        self._abandoned = False
        self._give_up = asyncio.Event()
        self._request: _Request | None = None  # made, and not answered

    @property
    def drained(self) -> bool:
        """Nothing runs, nothing waits to be sent, and the last answers named no work that is due."""
        busy = self.slots.occupied or self._request is not None or self._unsettled()
        return not busy and all(source.idle for source in self.sources)

    # ------------------------------------------------------------ life
    async def run(self) -> None:
        """Until `close` was called and everything is handed in. Being cancelled is a close with no grace."""
        self.slots.start()
        while True:
            try:
                await self._work()
            except asyncio.CancelledError:
                if self.closing and self._abandoned:
                    raise
                task = asyncio.current_task()
                while task is not None and task.cancelling():
                    task.uncancel()
                self.close()
                self.abandon()
            except GaveUp:
                left = sum(len(source.outbox) for source in self.sources)
                self.given_back += left
                if not left:
                    break
                log.error("%d outcomes could not be handed in: those jobs run again when their leases end", left)
                break
            else:
                break
        await self.slots.close()

    def close(self) -> None:
        """Claim nothing more; what is claimed and not begun goes back."""
        self.closing = True
        for source in self.sources:
            source.closing = True
        while self.slots.ready:
            claim = self.slots.ready.popleft()
            self._ended(claim, Outcome(claim.id, claim.token, Kind.RELEASED))
            self.slots.released(claim)
        self.wake()

    def interrupt(self) -> None:
        """The grace is over: cancel the coroutines, tell the threads."""
        for claim in tuple(self.slots.running):
            claim.interrupt(Stop.SHUTDOWN)

    def abandon(self) -> None:
        """Give back what still runs; whatever it says later is dropped."""
        for claim in tuple(self.slots.running):
            if not claim.settled:
                claim.interrupt(Stop.SHUTDOWN)
                log.warning("job %s did not end in time and is given back", claim.record.ref, extra=claim.about)
                self._ended(claim, self.runner.endings.stopped(claim))
        self._abandoned = True
        self.wake()

    def resize(self, size: int) -> None:
        """Another number of slots; those above it are left idle."""
        self.slots.size = size
        self.slots.start()

    def give_up(self) -> None:
        """Stop waiting for a store that does not answer."""
        self._give_up.set()
        self.wake()

    def wake(self) -> None:
        """Look again at what is to do."""
        self._rung = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ------------------------------------------------------------ called by the slots
    def _ended(self, claim: Claim, outcome: Outcome | None) -> None:
        """A run is over. None, or a second time: the job is no longer ours, nothing is sent."""
        if claim.settled:
            return
        claim.settled = True
        if claim.record.line is Line.SUSPECT:
            self.allowance.suspects -= 1
        if outcome is None:
            self.announcer.lost(claim)
            return
        if outcome.kind is Kind.RELEASED and claim.stop is Stop.SHUTDOWN:
            self.given_back += 1
        claim.source.outbox.append((claim, outcome))

    def _freed(self) -> bool:
        """A slot may be taken again. True: a call is worth while now, so let the consumer make it."""
        slots = self.slots
        if slots.ready and slots.free * 2 < slots.size:
            return False
        waiter, self._rung = self._waiter, True
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True

    # ------------------------------------------------------------ the loop
    async def _work(self) -> None:
        slots = self.slots
        while True:
            self._rung = False
            raise_if_cancelled()
            if self._request is not None:  # cancelled in the middle of a call: what it did at the store is unknown
                await self._perform(self._request)
                continue
            chosen = None
            if not slots.ready or slots.free * 2 >= slots.size:
                chosen = self.order.choose(clock.monotonic(), self.allowance.bound(slots.free))
            if chosen is not None:
                await self._exchange(*chosen)
            elif self.closing and (self._abandoned or not slots.occupied) and not self._unsettled():
                return
            else:
                await self._rest()

    def _unsettled(self) -> bool:
        return any(source.unsettled for source in self.sources)

    async def _rest(self) -> None:
        """Until somebody rings, or the next look is due."""
        if self._rung:
            return
        loop = asyncio.get_running_loop()
        if not all(source.hungry for source in self.sources):
            self._rested()
        self._waiter = loop.create_future()
        at = None if self.closing else self.order.next_look(self.allowance.bound(self.slots.free))
        if self.slots.ready and not self.closing:
            timer: asyncio.TimerHandle | None = loop.call_later(SOON, self.wake)
        else:
            timer = None if at is None else loop.call_later(max(0.0, at - clock.monotonic()), self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def _exchange(self, source: Source, want: int) -> None:
        pairs = self._outgoing(source)
        room = BATCH_MAX - len(pairs)
        strays, source.strays = source.strays[:room], source.strays[room:]
        if not pairs and not strays and not want:
            await self._rest()  # all that was to send waits for its notes to arrive
            return
        ask = Ask(want=want, lease=source.lease, suspect=self.allowance.suspects == 0, worker=self.runner.worker)
        self._request = _Request(source, source.op(), ask, pairs, [outcome for _, outcome in pairs] + strays)
        self.allowance.asked(want)
        await self._perform(self._request)

    async def _perform(self, request: _Request) -> None:
        """Get the answer, and do what follows from it."""
        source, pairs = request.source, request.pairs
        try:
            reply, sent = await self._answer(request)
        except GaveUp:
            source.outbox[:0] = pairs
            raise
        self._request = None
        self.keeper.gone(source, (claim for claim, _ in pairs))
        if reply.refused:
            pairs = self._refused(source, pairs, reply.refused)
        if pairs:
            self.announcer.settled(pairs)
        self._heard(source, request.ask.want, reply)
        if reply.claims:
            self._claimed(source, reply, sent)
        self.allowance.answered(request.ask.want)
        source.heard = request.op.n

    def _outgoing(self, source: Source) -> list[tuple[Claim, Outcome]]:
        """Outcomes to send now; from here on their leases are not renewed."""
        pairs = source.batch()
        if not pairs:
            return pairs
        busy = self.keeper.settling(source, [claim for claim, _ in pairs])
        if busy:
            source.outbox[:0] = [pair for pair in pairs if pair[0] in busy]
            pairs = [pair for pair in pairs if pair[0] not in busy]
        for claim, outcome in pairs:
            if claim.report is not None and outcome.progress is None and not outcome.logs:
                claim.hand_in(outcome)
        return pairs

    async def _answer(self, request: _Request) -> tuple[Exchange, float]:
        """The reply, and when the answered try was sent. The same request is made until somebody answers."""
        source, pause, away_since = request.source, FIRST_PAUSE, 0.0
        while True:
            sent = clock.monotonic()
            try:
                reply = await self.store.exchange(source.queue, request.op, request.outcomes, request.ask)
            except Stale:
                log.error("queue %s: the store is behind its own past; going on as a new actor", source.queue)
                source.reborn()
                request.op = source.op()
                continue
            except Exception as error:  # noqa: BLE001  whatever it is, the outcomes in this call must not be lost
                source.doubt = clock.monotonic() + source.lease / 1000
                if not away_since:
                    away_since = sent
                    self._away(source, error)
            else:
                if away_since:
                    log.warning("queue %s: store is back after %.1f s", source.queue, clock.monotonic() - away_since)
                return reply, sent
            await self._pause(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _away(self, source: Source, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            log.warning("queue %s: store unavailable, repeating until it answers: %s", source.queue, redact(str(error)))
        else:
            log.error("queue %s: the exchange failed, repeating it", source.queue, exc_info=error)
        self.announcer.error(source.queue, error)

    async def _pause(self, seconds: float) -> None:
        """Wait between repeats, unless the worker must end."""
        wait = seconds * random.uniform(0.5, 1.0)  # noqa: S311  spreading retries needs no secrecy
        try:
            await asyncio.wait_for(self._give_up.wait(), wait)
        except TimeoutError:
            return
        raise GaveUp

    # ------------------------------------------------------------ the answer
    def _refused(
        self, source: Source, pairs: list[tuple[Claim, Outcome]], refused: list[tuple[str, Refusal]]
    ) -> list[tuple[Claim, Outcome]]:
        """What became of outcomes the store did not take; answers those it took."""
        why = dict(refused)
        accepted = []
        for claim, outcome in pairs:
            no = why.get(claim.id)
            if no is None:
                accepted.append((claim, outcome))
            elif no in (Refusal.TOO_LARGE, Refusal.ILLEGAL) and outcome.kind is not Kind.FAILED:
                source.outbox.append((claim, self.runner.endings.refused(claim, str(no.value))))
            else:
                log.warning(
                    "job %s: its end (%s) was refused: %s", claim.record.ref, outcome.kind.value, no.value,
                    extra=claim.about,
                )  # fmt: skip
                self.announcer.lost(claim)
        return accepted

    def _heard(self, source: Source, want: int, reply: Exchange) -> None:
        away = reply.home is not Home.HERE
        if away and not source.away:
            log.warning("queue %s is %s (%s): no jobs come from here", source.queue, reply.home.value, reply.to or "?")
        self.announcer.paused(source, reply.paused)
        source.paused, source.away = reply.paused, away
        due_in = None if reply.next_at is None else reply.next_at - reply.now
        source.answered(want=want, claims=len(reply.claims), more=reply.more, due_in=due_in)
        self.announcer.drained(source)

    def _claimed(self, source: Source, reply: Exchange, sent: float) -> None:
        """Take the claims in: into the keeper's hands first, then into the slots."""
        claims = []
        for record in reply.claims:
            left = source.lease if record.lease_until is None else record.lease_until - reply.now
            claim = Claim(record, source, sent + left / 1000)
            if record.line is Line.SUSPECT:
                self.allowance.suspects += 1
            if claim.lease_end > clock.monotonic():
                claims.append(claim)
            else:  # the answer came so late that others may have the job: not ours to run
                self._ended(claim, Outcome(claim.id, claim.token, Kind.RELEASED))
        for older in self.keeper.hold(source, claims):
            older.interrupt(Stop.LOST)
        source.held += len(claims)
        self.order.served(source, len(claims))
        self.allowance.taken(len(claims))
        self.announcer.active(source, claims)
        self.slots.take(claims)
        if self.closing:
            self.close()
