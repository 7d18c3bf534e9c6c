"""What a consumer knows of one queue: its actor, what it holds, what waits to be settled, and whether to ask."""

from __future__ import annotations

from collections.abc import Callable

from queuekit import clock, ids
from queuekit.domain.job import BATCH_MAX
from queuekit.domain.outcome import Home, Op, Outcome
from queuekit.runtime.claim import Claim

POLL = 5.0  # seconds: the longest a queue goes unasked where nobody listens for it, or its store may miss something
_RARE = 2.0  # seconds between answers that are no hurry, however many
_CALM = 8  # answers without work after which waking up is believed less and less
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class Source:
    """One queue in one worker. `actor` is fresh at every start; one call in flight; `n` counts calls."""

    def __init__(self, queue: str, *, cap: int, lease: int, weight: int = 1, check: int = 5000) -> None:
        self.queue = queue
        self.cap = cap  # claims at once
        self.lease = lease  # ms
        self.weight = weight
        self.check = check  # ms between looks for stalled jobs
        self.actor = ids.nonce()
        self.n = 0
        self.heard = 0  # the n whose reply was taken in: claims up to it are known here
        self.held = 0  # slots this queue's claims occupy
        self.outbox: list[tuple[Claim, Outcome]] = []
        self.alone: list[tuple[Claim, Outcome]] = []  # to be sent one by one: the store will not take one of them
        self.strays: list[Outcome] = []  # claims the store holds for us that we never got: give them back
        self.doubt = 0.0  # monotonic: until then a call that seemed lost may arrive, and claim what nobody hears of
        self.hungry = True  # may have work
        self.closing = False  # the worker stops: nothing more is claimed
        self.paused: str | None = None
        self.home = Home.HERE  # whether the queue lives here at all
        self.asked = 0.0  # monotonic
        self.poll = POLL  # seconds the queue may go unasked
        self.due: float | None = None  # monotonic, when the next delayed job is due
        self.idle = False  # the last answer: nothing to claim, nothing due
        self.served = 0.0  # virtual time for weights
        self.passed = 0  # calls made to others while outcomes waited here
        self.vain: Callable[[bool], None] | None = None  # told of wake-ups that may be none of the jobs'
        self._woken = 0  # the call that answers the last wake-up, 0: it was answered
        self._barren = 0  # answers without a claim in a row, although asked
        self._not_before = 0.0

    @property
    def away(self) -> bool:
        """Whether the queue lives in another store, or is on its way."""
        return self.home is not Home.HERE

    @property
    def serves(self) -> bool:
        """Whether this queue gives jobs at all."""
        return self.paused is None and not self.away

    @property
    def unsettled(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self.outbox or self.strays or self.alone)

    def op(self) -> Op:
        """The next call's op."""
        self.n += 1
        return Op(self.actor, self.n)

    def reborn(self) -> None:
        """A new actor: the store knows a later call of the old one than we made (it was set back)."""
        self.actor, self.n, self.heard = ids.nonce(), 0, 0

    def wants(self, now: float) -> bool:
        """Whether asking for jobs makes sense now."""
        if now >= self.asked + self.poll or (self.due is not None and now >= self.due):
            return True
        return self.hungry and now >= self._not_before

    def next_look(self) -> float:
        """Monotonic time of the next look, if nothing happens before."""
        at = self.asked + self.poll
        if self.due is not None:
            at = min(at, self.due)
        return min(at, self._not_before) if self.hungry else at

    def wake(self) -> None:
        """The store says there may be work."""
        self.hungry = True
        self._woken = self.n + 1

    def batch(self) -> list[tuple[Claim, Outcome]]:
        """Outcomes for one call, taken out of the box."""
        if self.alone:
            return [self.alone.pop(0)]
        ready, self.outbox = self.outbox[:BATCH_MAX], self.outbox[BATCH_MAX:]
        return ready

    def answered(self, *, want: int, claims: int, more: bool, due_in: int | None) -> None:
        """Take in what an exchange said about work: `due_in` ms by the store's clock."""
        now = clock.monotonic()
        if want:
            self._barren = 0 if now > self.asked + _RARE else self._barren
            self.asked = now
        self.due = now + due_in / 1000 if due_in is not None and due_in > 0 and self.serves else None
        self.idle = not claims and (self.away or (not more and (due_in is None or due_in > 0)))
        self.hungry = more and self.serves
        if claims or not want:
            self._barren, self._not_before = 0, 0.0
            return
        self._barren += 1
        if self._woken and self.vain is not None:
            at_once, self._woken = self.n <= self._woken, 0
            self.vain(at_once)
        # Work that is there but not for us (a suspect beside ours, a store that wakes for nothing) must not spin.
        calm = self._barren if more else self._barren - _CALM
        if calm > 0:
            self._not_before = now + min(_FIRST_PAUSE * 2 ** min(calm, 10), _LONGEST_PAUSE)
