"""Waits for the store to say that a queue may have work, on a call of its own, and wakes the consumer. Hints only."""

from __future__ import annotations

import asyncio
import logging

from queuekit.domain.redact import redact
from queuekit.errors import StoreUnavailable
from queuekit.runtime.agent import raise_if_cancelled
from queuekit.runtime.consumer import Consumer
from queuekit.runtime.source import POLL, Source
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.listener")
WAIT = 10_000  # ms of one call
_PAUSE = 1.0  # seconds after an error


class Listener:
    """One for all consumers of a worker. It listens for the queues that could take work and do not know of any:
    a full worker must not take the wake-up that a free one needs."""

    def __init__(self, store: JobStore, consumers: list[Consumer]) -> None:
        self._store = store
        self._of = {source.queue: (consumer, source) for consumer in consumers for source in consumer.sources}
        self._floor = store.capabilities.floor / 1000
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A consumer came to rest: what is worth listening for may have changed."""
        self._changed.set()

    def _poll(self, seconds: float) -> None:
        """How long queues may go unasked: longer while listening works, where the store says so."""
        for consumer, source in self._of.values():
            shorter, source.poll = seconds < source.poll, seconds
            if shorter:
                consumer.wake()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._changed.clear()
            queues = [queue for queue, (consumer, source) in self._of.items() if _could_take(consumer, source)]
            if not queues:
                await self._changed.wait()
                continue
            try:
                woken = await self._store.wait(queues, WAIT)
                self._poll(self._floor)
            except StoreUnavailable as error:
                log.debug("not listening for now: %s", redact(str(error)))
                self._poll(POLL)
                raise_if_cancelled()
                await asyncio.sleep(_PAUSE)
                continue
            except Exception:
                log.exception("listening failed, trying again")
                self._poll(POLL)
                raise_if_cancelled()
                await asyncio.sleep(_PAUSE)
                continue
            raise_if_cancelled()
            for queue in woken:
                consumer, source = self._of[queue]
                source.wake()
                consumer.wake()
            if woken:
                await asyncio.sleep(0)  # let the consumer ask before we listen again


def _could_take(consumer: Consumer, source: Source) -> bool:
    free = consumer.allowance.bound(consumer.slots.free)
    return not source.hungry and not source.closing and free > 0 and source.held < source.cap
