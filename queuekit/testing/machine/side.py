"""One side of a run: a harness, the stores opened from it, its clock, and what goes wrong below them.

It makes calls and answers what came; what the answers should be is no matter of this module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from queuekit import clock
from queuekit.domain.moving import Parcel
from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import QueueKitError, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.protocol import Capabilities, JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.faults.plan import Fault, Faults, Rule
from queuekit.testing.faults.port import faulty_store
from queuekit.testing.machine.alike import UNIT
from queuekit.testing.machine.moves import Move
from queuekit.testing.machine.steps import Configure, Obliterate, Pass, Q, Restart, Skew, Step, Trouble

R = TypeVar("R")
HOSTS: Final = 2  # stores of a side: two processes, as far as a store can tell
LIMIT: Final = 200  # bytes of a payload
PATIENCE: Final = 0.38  # seconds a side may be behind its moment before times cannot be compared any more
TRIES: Final = 5


class Slow(Exception):
    """The run is given up without a verdict: a call took so long that times of it mean nothing, or two jobs that two
    steps gave one moment are a millisecond apart, in one order here and in the other there.
    """


class Strike(Faults):
    """A plan of one fault, set anew for each step that has one."""

    def arm(self, step: Step) -> None:
        """Let the step's trouble happen at its n-th call to the driver."""
        with self._lock:
            self._rules = [Rule(faults=(Fault(step.trouble.value),), match="*", nth=step.nth)]
            self._met.clear()

    def disarm(self) -> None:
        with self._lock:
            self._rules = []


class Side:
    """Stores of one harness that are asked the same as the other side's."""

    def __init__(self, harness: Harness, *, blocking: bool = True, faults: bool = True) -> None:
        self.harness, self.blocking, self.faults = harness, blocking, faults
        self.strikes = [Strike() for _ in range(HOSTS)]
        self.rev: int | None = None  # of the configuration, when the step began
        self.cargo: dict[str, Parcel] = {}  # what was checked out, by id
        self.plans: dict[str, list[ScheduleRecord]] = {}  # every version of a schedule that was seen, by id
        self.room = 0  # the first place made for what arrives
        self.coming: tuple[str, ...] = ()  # delayed jobs in their order
        self._loop = None if blocking else asyncio.new_event_loop()
        self.stores: list[JobStore] = [self._open(host) for host in range(HOSTS)]
        before = clock.monotonic()
        self.base = self.run(self.stores[0].ping()).now
        self._began, self._ahead, self._stands = clock.monotonic(), 0, 0
        self._unsure = self._began - before  # seconds: when in the call the store read its clock

    @property
    def name(self) -> str:
        return self.harness.name

    @property
    def capabilities(self) -> Capabilities:
        return self.stores[0].capabilities

    @property
    def injected(self) -> int:
        """Faults so far."""
        return sum(len(strike.injected) for strike in self.strikes)

    def run(self, call: Coroutine[Any, Any, R]) -> R:
        """The answer of a call, over whichever port."""
        return direct(call) if self._loop is None else self._loop.run_until_complete(call)

    def _open(self, host: int) -> JobStore:
        store = self._plain(self.harness.open_store(self.blocking, payload_limit=LIMIT))
        return faulty_store(store, self.strikes[host]) if self.faults else store

    def _plain(self, opening: Coroutine[Any, Any, JobStore]) -> JobStore:
        return self.run(opening)

    def close(self) -> None:
        try:
            if self._loop is None:
                asyncio.run(self.harness.close())
            else:
                self._loop.run_until_complete(self.harness.close())
        finally:
            if self._loop is not None:
                self._loop.close()

    def at(self, moment: int | None) -> int | None:
        """A step's time as this store's."""
        return None if moment is None else self.base + moment

    def arrive(self, units: int) -> None:
        """Let the store's clock stand at so many units since the beginning."""
        gone = round((clock.monotonic() - self._began) * 1000)
        ms = units * UNIT - gone - self._ahead
        if ms < 0:
            raise Slow
        self._ahead += ms
        self._stands = units * UNIT
        asyncio_free(self.harness.advance(ms))

    @property
    def behind(self) -> bool:
        """Whether so much time went by since the moment of this step that times mean nothing, wherever it went."""
        gone = clock.monotonic() - self._began + (self._ahead - self._stands) / 1000
        return gone + self._unsure > PATIENCE

    def perform(self, step: Step) -> object:
        """Do a step; the answer, or the error's name."""
        if isinstance(step, (Pass, Skew)):
            return None
        if isinstance(step, Restart):
            self._restart(step.host)
            return None
        self.rev = None
        told = self._made(step)
        if isinstance(step, (Configure, Obliterate, Move)):
            for store in self.stores:  # other processes may hear of it a second late (tolerance.py)
                self.run(store.conf(Q))
        if self.behind:
            raise Slow
        return told

    def _made(self, step: Step) -> object:
        if step.trouble is Trouble.NONE or (step.trouble is not Trouble.TWICE and not self.faults):
            return self._asked(step)
        if step.trouble is Trouble.TWICE:
            self._asked(step)
            if step.reborn:
                self._restart(step.host)
            return self._asked(step)
        strike = self.strikes[step.host]
        strike.arm(step)
        try:
            told = self._asked(step)
        finally:
            strike.disarm()
        for _ in range(TRIES):
            if told != StoreUnavailable.__name__:
                return told
            if step.reborn:
                self._restart(step.host)
            told = self._asked(step)
        return told

    def _restart(self, host: int) -> None:
        self.run(self.stores[host].close())
        self.stores[host] = self._open(host)

    def _asked(self, step: Step) -> object:
        try:
            return self.run(step.call(self, self.stores[step.host]))
        except QueueKitError as error:
            return type(error).__name__


def asyncio_free(call: Coroutine[Any, Any, None]) -> None:
    """Step a coroutine that needs no loop, as `Harness.advance` is."""
    direct(call)
