"""Claims jobs for free slots and hands in the ends of runs: one exchange in flight, repeated until it is answered.

An outcome is built once, kept here until the store has answered to it, and never lost while the process lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from queuekit import clock
from queuekit.domain.job import BATCH_MAX
from queuekit.domain.outcome import Ask, Exchange, Kind, Outcome, Refusal
from queuekit.domain.state import Line
from queuekit.runtime.agent import raise_if_cancelled
from queuekit.runtime.allowance import Allowance
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.call import Caller, GaveUp, Request, Unfit
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.lease_keeper import LeaseKeeper
from queuekit.runtime.order import Order
from queuekit.runtime.runner import Runner
from queuekit.runtime.slots import Slots
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.consumer")
_SUSPECT = Line.SUSPECT
LARGE = 50  # slots from which on a quick call beside running handlers pays for being two, whatever they do
SHORT = 0.002  # seconds: what a quick call takes; and behind an answer, in which claims that wait are waited for
SOON = 0.02  # seconds until the next look while claims wait for their slots: nobody rings when the last has begun


class Consumer:
    """One or several queues that share `size` slots. `run` is its task; everything else is called on the same loop."""

    def __init__(
        self, sources: list[Source], *, size: int, strict: bool, store: JobStore, runner: Runner, keeper: LeaseKeeper,
        announcer: Announcer, allowance: Allowance, rested: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.sources = sources
        self.slots = Slots(size, runner, ended=self._ended, freed=self._freed)
        self.order = Order(sources, strict=strict, size=size)
        self.caller = Caller(store, announcer, self._pause)
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
        self._request: Request | None = None  # made, and not answered
        self._answered = 0.0  # monotonic, when the last one was
        self._took = 0.0  # seconds, how long it was on its way

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
                left = sum(len(source.outbox) + len(source.alone) for source in self.sources)
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
        if claim.record.line is _SUSPECT:
            self.allowance.suspect_ended()
        if outcome is None:
            self.announcer.lost(claim)
            return
        if outcome.kind is Kind.RELEASED and claim.stop is Stop.SHUTDOWN:
            self.given_back += 1
        claim.source.outbox.append((claim, outcome))

    def _freed(self) -> bool:
        """A slot may be taken again. True: a call is worth while now, so let the consumer make it."""
        if not self._worthwhile():
            return False
        waiter, self._rung = self._waiter, True
        if waiter is None or waiter.done():
            return False
        waiter.set_result(None)
        return True

    def _worthwhile(self) -> bool:
        """Whether to call the store now: not for a few slots while claims wait that will be run in a moment."""
        slots = self.slots
        if not slots.ready:
            return True
        if slots.free * 2 < slots.size:
            return False
        if slots.size >= LARGE and self._took <= SHORT:
            return True
        return clock.monotonic() - self._answered > SHORT

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
            if self._worthwhile():
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
            soon = SHORT if self.slots.free * 2 >= self.slots.size else SOON
            timer: asyncio.TimerHandle | None = loop.call_later(soon, self.wake)
        else:
            timer = None if at is None else loop.call_later(max(0.0, at - clock.monotonic()), self.wake)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    async def _exchange(self, source: Source, want: int) -> None:
        alone = bool(source.alone)  # one outcome that may be at fault: nothing goes with it
        pairs = self._outgoing(source)
        room, want = (0, 0) if alone else (BATCH_MAX - len(pairs), want)
        strays, source.strays = source.strays[:room], source.strays[room:]
        if not pairs and not strays and not want:
            await self._rest()  # all that was to send waits for its notes to arrive
            return
        allowance = self.allowance
        suspect = allowance.may_take_suspect(source, self.wake) if want else allowance.suspects == 0
        ask = Ask(want=want, lease=source.lease, suspect=suspect, worker=self.runner.worker)
        self._request = Request(source, source.op(), ask, pairs, [outcome for _, outcome in pairs] + strays)
        allowance.asked(want)
        called = clock.monotonic()
        await self._perform(self._request)
        self._answered = clock.monotonic()
        self._took = self._answered - called

    async def _perform(self, request: Request) -> None:
        """Get the answer, and do what follows from it."""
        source, pairs = request.source, request.pairs
        try:
            reply, sent = await self.caller.answer(request)
        except GaveUp:
            source.outbox[:0] = pairs
            raise
        except Unfit as error:
            self._unfit(request, error)
            return
        self._request = None
        self.keeper.gone(source, (claim for claim, _ in pairs))
        if reply.refused:
            pairs = self._refused(source, pairs, reply.refused)
        if pairs:
            self.announcer.settled(pairs)
        self._heard(source, request.ask.want, reply)
        self.allowance.suspect_answered(source, sum(record.line is _SUSPECT for record in reply.claims))
        if reply.claims:
            self._claimed(source, reply, sent)
        self.allowance.answered(request.ask.want)
        source.heard = request.op.n

    def _unfit(self, request: Request, error: Unfit) -> None:
        """The store takes everything but this: find the outcome that is at fault, and save the others."""
        source, pairs, strays = request.source, request.pairs, request.outcomes[len(request.pairs) :]
        self._request = None
        self.allowance.suspect_answered(source, 0)
        self.allowance.answered(request.ask.want)
        if len(request.outcomes) > 1:
            log.error("queue %s: %d outcomes are sent one by one: %s", source.queue, len(request.outcomes), error)
            source.alone += pairs
            source.strays += strays if pairs else []
            return
        for claim, outcome in pairs:
            if not claim.refused:
                claim.refused = True
                source.alone.insert(0, (claim, self.runner.endings.refused(claim, str(error))))
                continue
            log.critical(
                "job %s: the store takes no outcome of this run (%s); it runs again when its lease ends: %s",
                claim.record.ref, outcome.kind.value, error, extra=claim.about,
            )  # fmt: skip
            self.keeper.gone(source, [claim])
            self.announcer.lost(claim)

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

    async def _pause(self, seconds: float) -> None:
        """Wait between repeats, unless the worker must end."""
        try:
            await asyncio.wait_for(self._give_up.wait(), seconds)
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
        if reply.home is not source.home:
            self.announcer.moved(source, reply.home, reply.to)
        self.announcer.paused(source, reply.paused)
        source.paused, source.home = reply.paused, reply.home
        due_in = None if reply.next_at is None else reply.next_at - reply.now
        source.answered(want=want, claims=len(reply.claims), more=reply.more, due_in=due_in)
        self.announcer.drained(source)

    def _claimed(self, source: Source, reply: Exchange, sent: float) -> None:
        """Take the claims in: into the keeper's hands first, then into the slots."""
        claims = []
        for record in reply.claims:
            left = source.lease if record.lease_until is None else record.lease_until - reply.now
            claim = Claim(record, source, sent + left / 1000)
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
