"""Waits for the store to say that a queue may have work, on a call of its own, and wakes the consumer. Hints only."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from queuekit.domain.redact import redact
from queuekit.errors import StoreUnavailable
from queuekit.runtime.agent import end, raise_if_cancelled
from queuekit.runtime.consumer import Consumer
from queuekit.runtime.source import POLL, Source
from queuekit.store.protocol import JobStore

log = logging.getLogger("queuekit.runtime.listener")
WAIT = 10_000  # ms of one call
_PAUSE = 1.0  # seconds after an error


class Listener:
    """One for all consumers of a worker. It listens for the queues that could take work and do not know of any:
    a full worker must not take the wake-up that a free one needs. A queue that comes to rest while others are listened
    for gets a call of its own: to break off theirs might lose a wake-up that is under way."""

    def __init__(self, store: JobStore, consumers: list[Consumer]) -> None:
        self._store = store
        self._of = {source.queue: (consumer, source) for consumer in consumers for source in consumer.sources}
        self._floor = store.capabilities.floor / 1000
        self._heard: set[str] = set()  # queues that are listened for
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """A consumer came to rest: what is worth listening for may have changed."""
        if len(self._heard) < len(self._of):
            self._changed.set()

    async def run(self) -> None:
        """Until cancelled."""
        calls: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._changed.clear()
                queues = [name for name, one in self._of.items() if name not in self._heard and _could_take(*one)]
                if queues:
                    self._heard.update(queues)
                    calls.add(asyncio.create_task(self._listen(queues), name="queuekit-listening"))
                news = asyncio.create_task(self._changed.wait())
                try:
                    done, _ = await asyncio.wait({*calls, news}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
                raise_if_cancelled()
                for call in calls & done:
                    calls.discard(call)
                    call.result()
        finally:
            ending = asyncio.create_task(end(calls), name="queuekit-listening-ends")
            while not ending.done():  # whoever ends this agent cancels it until it ends, and a call may take longer
                with suppress(asyncio.CancelledError):
                    await asyncio.shield(ending)

    async def _listen(self, queues: list[str]) -> None:
        """One call for these, and what follows from it."""
        try:
            woken = await self._store.wait(queues, WAIT)
        except StoreUnavailable as error:
            log.debug("not listening for now: %s", redact(str(error)))
            await self._deaf()
        except Exception:
            log.exception("listening failed, trying again")
            await self._deaf()
        else:
            self._poll(self._floor)
            for queue in woken:
                consumer, source = self._of[queue]
                source.wake()
                consumer.wake()
            if woken:
                await asyncio.sleep(0)  # let the consumer ask before we listen again
        finally:
            self._heard.difference_update(queues)

    async def _deaf(self) -> None:
        self._poll(POLL)
        raise_if_cancelled()
        await asyncio.sleep(_PAUSE)

    def _poll(self, seconds: float) -> None:
        """How long queues may go unasked: longer while listening works, where the store says so."""
        for consumer, source in self._of.values():
            shorter, source.poll = seconds < source.poll, seconds
            if shorter:
                consumer.wake()


def _could_take(consumer: Consumer, source: Source) -> bool:
    free = consumer.allowance.bound(consumer.slots.free)
    return not source.hungry and not source.closing and free > 0 and source.held < source.cap
