"""Running due jobs here and now: through the real runner and the real seam, one after the other, in claim order."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, cast

from queuekit import clock
from queuekit.domain.events import Job
from queuekit.domain.outcome import Ask, Exchange, Outcome, Refusal
from queuekit.producing.scheduling.declaring import declare_schedules
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.claim import Claim
from queuekit.runtime.declare import declare
from queuekit.runtime.executors import Threads
from queuekit.runtime.firing import Firer
from queuekit.runtime.plan import limits_of
from queuekit.runtime.runner import Runner
from queuekit.runtime.scheduler import settle
from queuekit.runtime.source import Source
from queuekit.store.parts import SchedulingStore

if TYPE_CHECKING:
    from queuekit.kit import QueueKit
    from queuekit.producing.access import Loop

WORKER = "drain"
_LEASE = 86_400_000
_RUNS_MAX = 10_000
firing: ContextVar[bool] = ContextVar("firing", default=False)  # whether a drain lets schedules fire here


async def drain(
    kit: QueueKit, queue: str | None = None, *, limit: int = _RUNS_MAX, threads: Threads | None = None
) -> list[Job]:
    """Run what is due until nothing is: the jobs that ran, as they are afterwards, a job once for each of its runs.

    Schedules whose slot has come fire first. Jobs that handlers enqueue meanwhile run too. Plain functions run in
    `threads`, or in a thread of their own. Raises RuntimeError after `limit` runs: some job makes itself anew.
    """
    kit.load()
    door = await kit.access.asynchronous()
    if "schedules" in door.store.capabilities.parts:
        await declare_schedules(kit, door, None if queue is None else [queue])
    threads = threads or Threads(1, "queuekit-drain")
    runner = Runner(kit, WORKER, threads)
    drainer = _Drainer(kit, door, runner, limit)
    try:
        while await drainer.round([queue] if queue is not None else await door.ask(door.store.queues)):
            continue
    finally:
        await runner.close()
        threads.close()
    await kit.hooks.settle()
    return drainer.ran


class _Drainer:
    def __init__(self, kit: QueueKit, door: Loop, runner: Runner, limit: int) -> None:
        self.kit = kit
        self.door = door
        self.runner = runner
        self.limit = limit
        self.announcer = Announcer(kit)
        self.sources: dict[str, Source] = {}
        self.firers: dict[str, Firer] = {}
        self.ran: list[Job] = []

    async def round(self, queues: list[str]) -> bool:
        """Run each queue until it gives nothing; whether anything ran, or may run in a queue that was looked at."""
        before, changed = len(self.ran), False
        for queue in queues:
            source = self.sources.get(queue) or await self._begun(queue)
            changed |= await self._fire(queue)
            while await self._one(source):
                continue
        return changed or len(self.ran) > before

    async def _begun(self, queue: str) -> Source:
        """As a worker that starts: what code says of the queue is written first."""
        limits = limits_of(self.kit, queue)
        await self.door.ask(lambda: declare(self.door.store, queue, limits))
        source = self.sources[queue] = Source(queue, cap=1, lease=_LEASE)
        return source

    async def _fire(self, queue: str) -> bool:
        """Let the schedules of a queue make the jobs that are due by the store's clock; whether it took more than a
        look, as where one goes to another queue.
        """
        again = False
        if "schedules" not in self.door.store.capabilities.parts:
            return again
        store = cast(SchedulingStore, self.door.store)
        firer = self.firers.setdefault(queue, Firer(store, queue, settle=partial(settle, self.kit)))
        token = firing.set(True)
        try:
            while (await self.door.ask(firer.round)).more:
                again = True
        finally:
            firing.reset(token)
        return again

    async def _one(self, source: Source) -> bool:
        reply = await self._exchange(source, [], want=1)
        if not reply.claims:
            return False
        if len(self.ran) >= self.limit:
            raise RuntimeError(f"{self.limit} runs and still work: does a job enqueue itself again?")
        claim = Claim(reply.claims[0], source, clock.monotonic() + _LEASE / 1000)
        self.announcer.active(source, [claim])
        outcome = await self.runner.run(claim, lambda: None)
        if outcome is not None:
            claim.hand_in(outcome)  # what a worker's lease keeper would have reported meanwhile
            await self._settle(source, claim, outcome)
        record = (await self.door.ask(lambda: self.door.store.get(source.queue, [claim.id])))[0]
        self.ran.append(self.kit.snapshot(claim.record if record is None else record))
        return True

    async def _settle(self, source: Source, claim: Claim, outcome: Outcome) -> None:
        reply = await self._exchange(source, [outcome], want=0)
        if not reply.refused:
            self.announcer.settled([(claim, outcome)])
            return
        why = reply.refused[0][1]
        if why in (Refusal.TOO_LARGE, Refusal.ILLEGAL):
            instead = self.runner.endings.refused(claim, why.value)
            await self._exchange(source, [instead], want=0)
            self.announcer.settled([(claim, instead)])

    async def _exchange(self, source: Source, outcomes: list[Outcome], *, want: int) -> Exchange:
        op, ask = source.op(), Ask(want=want, lease=_LEASE, worker=WORKER)
        return await self.door.ask(lambda: self.door.store.exchange(source.queue, op, outcomes, ask))
