"""One exchange: the same request is made until the store answers it, or is found to be what the store cannot take.

An outcome in it is never lost for an answer that did not come; one that the store refuses by an error each time must
not hold up all others.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from queuekit import clock, ids
from queuekit.domain.outcome import Ask, Exchange, Op, Outcome
from queuekit.domain.redact import redact
from queuekit.errors import NotReplicated, QueueFull, Stale, StoreUnavailable
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.claim import Claim
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.consumer")
# Seconds between repeats, each spread over [half, whole]; the longest well within a grace (decision 074): an end that
# came behind it would find its job recovered.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
SUSPICIOUS = 3  # errors in a row, none of them for want of an answer, after which the request itself is suspected


class GaveUp(Exception):
    """The store did not answer before the worker had to end."""


class Unfit(Exception):
    """The store answers others, and this request with an error each time."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {redact(str(error))}")


@dataclass(slots=True)
class Request:
    """One call, repeated with the same arguments until it is answered."""

    source: Source
    op: Op
    ask: Ask
    pairs: list[tuple[Claim, Outcome]]
    outcomes: list[Outcome]


class Caller:
    """Makes the calls of one consumer. `pause` waits between two tries and raises GaveUp when the worker must end."""

    def __init__(self, store: JobStore, announcer: Announcer, pause: Callable[[float], Awaitable[None]]) -> None:
        self.store = store
        self._announcer = announcer
        self._pause = pause

    async def answer(self, request: Request) -> tuple[Exchange, float]:
        """The reply, and when the answered try was sent. Raises GaveUp, and Unfit for outcomes that no try gets in."""
        source, pause, away_since, strange = request.source, FIRST_PAUSE, 0.0, 0
        while True:
            sent = clock.monotonic()
            try:
                reply = await self.store.exchange(source.queue, request.op, request.outcomes, request.ask)
            except Stale:
                log.error("queue %s: the store is behind its own past; going on as a new actor", source.queue)
                source.reborn()
                request.op = source.op()
                continue
            except Exception as error:
                source.doubt = clock.monotonic() + source.lease / 1000
                if not away_since:
                    away_since = sent
                    self._away(source, error)
                strange = 0 if isinstance(error, (StoreUnavailable, NotReplicated, QueueFull)) else strange + 1
                if strange >= SUSPICIOUS and request.outcomes and await self._answers_others(source):
                    raise Unfit(error) from error
            else:
                if away_since:
                    log.warning("queue %s: store is back after %.1f s", source.queue, clock.monotonic() - away_since)
                return reply, sent
            await self._pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  spreading needs no secrecy
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _answers_others(self, source: Source) -> bool:
        """Whether an exchange with nothing in it succeeds: then the trouble is what ours carries."""
        try:
            await self.store.exchange(source.queue, Op(ids.nonce(), 1), [], Ask(suspect=False))
        except Exception:  # noqa: BLE001  it is told already
            return False
        return True

    def _away(self, source: Source, error: Exception) -> None:
        if isinstance(error, StoreUnavailable):
            log.warning("queue %s: store unavailable, repeating until it answers: %s", source.queue, redact(str(error)))
        else:
            log.error("queue %s: the exchange failed, repeating it", source.queue, exc_info=error)
        self._announcer.error(source.queue, error)
