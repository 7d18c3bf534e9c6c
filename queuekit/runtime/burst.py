"""When a worker that was told to stop once nothing is due may stop. It looks at consumers; it claims nothing itself."""

from __future__ import annotations

import asyncio

from queuekit.runtime.announcer import Announcer
from queuekit.runtime.consumer import Consumer


class Burst:
    """Nothing is due once every queue has been asked after the last job ended.

    A job may enqueue to another queue in its last line; the answer of that queue from before is no answer, and its
    wake-up may come late or never.
    """

    def __init__(self, consumers: list[Consumer], announcer: Announcer) -> None:
        self._consumers = consumers
        self._announcer = announcer
        self._asked_after = 0  # ends of jobs when all queues were last asked anew
        self.over = asyncio.Event()

    def rested(self) -> None:
        """A consumer has nothing to do for now: ask all queues once more, or end."""
        if not all(consumer.drained for consumer in self._consumers):
            return
        several = sum(len(consumer.sources) for consumer in self._consumers) > 1
        if not several or self._asked_after == self._announcer.done:
            self.over.set()
            return
        self._asked_after = self._announcer.done
        for consumer in self._consumers:
            for source in consumer.sources:
                source.idle = False
                source.wake()
            consumer.wake()
