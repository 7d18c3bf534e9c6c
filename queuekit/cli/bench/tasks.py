"""The tasks that bench's workers run, and what they note down.

Counting is part of the handler: it proves each job ran once.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from time import process_time
from typing import Final

from queuekit import JobContext, QueueKit
from queuekit.clock import now, perf

NOTE: Final = "x" * 18  # makes the payload about 100 bytes of JSON
SLEEP: Final = 0.05

kit = QueueKit(name="bench")


@dataclass(slots=True)
class Tally:
    """What one worker process did."""

    runs: dict[int, int] = field(default_factory=dict)  # by number of the job
    first: float = 0.0  # perf seconds
    last: float = 0.0
    cpu: float = 0.0  # CPU seconds of this process when the first job started
    samples: list[float] = field(default_factory=list)  # ms

    def count(self, number: int) -> None:
        moment = perf()
        if not self.runs:
            self.first, self.cpu = moment, process_time()
        self.last = moment
        self.runs[number] = self.runs.get(number, 0) + 1


tally = Tally()


def payload(number: int) -> tuple[int, str, str, str, str]:
    """The arguments of a drained job: about 100 bytes as JSON."""
    return number, "user-123", "BTCUSDT", "fill-456", NOTE


@kit.task
async def noop(number: int, user_id: str, symbol: str, fill_id: str, note: str) -> None:
    """Nothing but the counter."""
    tally.count(number)


@kit.task
async def sleep50(number: int, user_id: str, symbol: str, fill_id: str, note: str) -> None:
    """50 ms, as a call to another server would take."""
    await asyncio.sleep(SLEEP)
    tally.count(number)


@kit.task
async def stamp(number: int, sent: float) -> None:
    """How long ago it was sent, by the clock that all processes of this machine share."""
    tally.samples.append((perf() - sent) * 1000)
    tally.count(number)


@kit.task
async def due(ctx: JobContext, number: int) -> None:
    """How late it starts."""
    if ctx.job.run_at is None:
        raise ValueError("enqueued without run_at")
    tally.samples.append((now() - ctx.job.run_at).total_seconds() * 1000)
    tally.count(number)


@kit.task
async def hold(ctx: JobContext, number: int) -> None:
    """Says when it started; the first claim then holds the job until its process is killed."""
    print(perf(), flush=True)
    tally.count(number)
    if ctx.job.crashes == 0:
        await asyncio.sleep(3600)


DRAINED: Final = {"noop": noop, "sleep50": sleep50}
