"""Fires schedules: every worker does it for the queues it consumes, and no worker leads (decision 147).

It looks when a slot comes, by the store's clock; when it is woken; and every few seconds, whatever it was told.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from queuekit import clock
from queuekit.domain.redact import redact
from queuekit.errors import Moved, StoreUnavailable
from queuekit.producing.scheduling.declared import declarations, tell_others
from queuekit.producing.scheduling.declaring import declare_schedules
from queuekit.producing.scheduling.gate import fires_here
from queuekit.producing.scheduling.verbs import settled
from queuekit.runtime.agent import Agent, end, raise_if_cancelled
from queuekit.runtime.firing import AGAIN, LOOK, Firer
from queuekit.runtime.source import Source
from queuekit.store.parts import SchedulingStore

if TYPE_CHECKING:
    from queuekit.kit import QueueKit
    from queuekit.runtime.announcer import Announcer
    from queuekit.store.protocol import JobStore

FLOOR, BARE_FLOOR = 5.0, 20.0  # seconds between looks at a queue with schedules to come, and without
SOON, OFTEN = 1.0, 5.0  # seconds between looks for wake-ups that no job explains, and for any other
_NEAR, _FAR = 0.005, 0.025  # seconds that who came second to a slot stays behind the others
_STEPS = 4  # times that distance doubles for who comes second all the time
_FARTHEST = 0.4  # seconds, who comes second again and again while much is due


async def _always() -> bool:
    return True


class Scheduler(Agent):
    """One for each queue. `allowed` says whether schedules of the queue fire in this store at all."""

    name = "scheduler"

    def __init__(
        self, firer: Firer, source: Source, *, allowed: Callable[[], Awaitable[bool]] = _always, told: bool = True
    ) -> None:
        super().__init__(BARE_FLOOR)
        self._firer = firer
        self._bare = BARE_FLOOR if told else FLOOR  # whether the store wakes who waits when a schedule is put
        self._allowed = allowed
        self._behind = 0.0  # seconds
        self._steps = 0
        self._again = 0  # how often somebody else was first of late
        self._looked = 0.0  # monotonic
        self._look = 0.0  # monotonic: when the next one is due
        self._rung = asyncio.Event()
        source.vain = self.rung

    async def act(self) -> None:
        """Fire until nothing is due, then set the time of the next look."""
        if not await self._allowed():
            self._sleep(FLOOR)
            return
        self._again = 0
        while True:
            self._rung.clear()
            self._looked = clock.monotonic()
            try:
                done = await self._firer.round()
            except Moved as moved:
                self._log.debug("nothing fires here: %s", moved)
                self._sleep(self._bare)
                return
            raise_if_cancelled()
            if done.lost:
                self._back(much=done.lost >= LOOK)
            elif done.fired:
                self._forward()
            if not done.more:
                break
            await asyncio.sleep(self._pause() if self._again else 0)
        floor = (FLOOR if done.any else self._bare) * random.uniform(0.9, 1.1)  # noqa: S311
        self._look = self._looked + floor
        if done.next_in is not None:
            self._look = min(self._look, done.at + done.next_in / 1000 + self._behind)
        if self._rung.is_set():  # while this look was under way
            self._look = min(self._look, self._looked + SOON)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._try()
            raise_if_cancelled()
            while (left := self._look - clock.monotonic()) > 0:
                try:
                    await asyncio.wait_for(self._rung.wait(), left)
                except TimeoutError:
                    break
                self._rung.clear()

    async def catch_up(self) -> None:
        """Fire what is due now, once; tried again while the store is away."""
        while True:
            await self._try()
            raise_if_cancelled()
            if not self._failing:
                return
            await asyncio.sleep(max(0.0, self._look - clock.monotonic()))

    def rung(self, soon: bool) -> None:
        """Something woke the queue, and no job explains it (`soon`), or some may."""
        at = self._looked + (SOON if soon else OFTEN)
        if at < self._look:
            self._look = at
            self._rung.set()

    async def _try(self) -> None:
        """`act`, which must not die of an error."""
        try:
            await self.act()
        except StoreUnavailable as error:
            if not self._failing:  # the consumer says when the store is back
                self._log.info("store unavailable, trying again: %s", redact(str(error)))
            self._failing = True
            self._sleep(AGAIN / 1000)
        except Exception:  # noqa: BLE001  the next turn may succeed
            self._log.exception("firing schedules of queue %s failed, trying again", self._firer.queue)
            self._sleep(FLOOR)
            self._failing = False
        else:
            self._failing = False

    def _back(self, *, much: bool) -> None:
        """Let the others go first from now on: eight workers must not do eight times the work."""
        self._steps = min(self._steps + 1, _STEPS)
        self._again += 2 if much else 1
        self._stand()

    def _forward(self) -> None:
        """Nobody was before us: a step to the front."""
        if self._again:
            self._again -= 1
        elif self._steps:
            self._steps -= 1
            self._stand()

    def _stand(self) -> None:
        far = random.uniform(_NEAR, _FAR)  # noqa: S311
        self._behind = far * 2 ** (self._steps - 1) if self._steps else 0.0

    def _pause(self) -> float:
        """Before another look while somebody else fires what is due."""
        return float(min(self._behind * 3 ** (self._again - 1), _FARTHEST))

    def _sleep(self, seconds: float) -> None:
        self._look = clock.monotonic() + seconds * random.uniform(0.9, 1.1)  # noqa: S311


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What the schedulers of a worker share."""

    kit: QueueKit
    store: JobStore
    later: Collection[str]  # queues whose declarations could not be written yet

    @classmethod
    async def declared(cls, kit: QueueKit, store: JobStore, queues: Collection[str]) -> Scheduling:
        """After the declared schedules of these queues were written, where that can be. Raises ConfigError."""
        tell_others(kit, queues)
        if not declarations(kit, queues):
            return cls(kit, store, ())
        at = await kit.access.asynchronous()
        return cls(kit, store, (await declare_schedules(kit, at, queues)).later)

    def agents(self, sources: Sequence[Source], announcer: Announcer, stopping: asyncio.Event) -> list[Scheduler]:
        """One for each queue; none where the store keeps no schedules."""
        if "schedules" not in self.store.capabilities.parts:
            return []
        store, made = cast(SchedulingStore, self.store), []
        told = store.capabilities.wake == "notify"
        for source in sources:
            firer = Firer(
                store, source.queue, stopped=stopping.is_set, failed=announcer.error, settle=partial(settle, self.kit)
            )
            gate = _Gate(self.kit, source.queue, unwritten=source.queue in self.later)
            made.append(Scheduler(firer, source, allowed=gate.allowed, told=told))
        return made


class _Gate:
    """Whether a queue's schedules fire in this process's own store; writes what could not be declared before."""

    def __init__(self, kit: QueueKit, queue: str, *, unwritten: bool) -> None:
        self._kit, self._queue, self._unwritten = kit, queue, unwritten

    async def allowed(self) -> bool:
        """Asks nothing where no other store is named and everything is written."""
        if self._kit.access.settings.from_url is None and not self._unwritten:
            return True
        at = await self._kit.access.asynchronous()
        if not await fires_here(self._kit, at, self._queue):
            return False
        if self._unwritten:
            said = await declare_schedules(self._kit, at, [self._queue])
            self._unwritten = self._queue in said.later
        return True


async def settle(kit: QueueKit, id: str) -> None:
    """End a change of queue, or a first writing, that its writer did not; nothing where there is none."""
    await settled(kit, await kit.access.asynchronous(), id, sure=False)


async def catch_up(schedulers: Sequence[Scheduler], stopping: asyncio.Event) -> None:
    """Fire what is due now of all queues, unless somebody wants the worker to stop first."""
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(one.catch_up()) for one in schedulers]
    stop: asyncio.Task[object] = asyncio.create_task(stopping.wait())
    waiting = set(tasks)
    try:
        while waiting and not stop.done():
            await asyncio.wait({*waiting, stop}, return_when=asyncio.FIRST_COMPLETED)
            waiting = {task for task in waiting if not task.done()}
    finally:
        await end([*tasks, stop])
