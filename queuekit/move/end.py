"""One side of one queue: every verb of its store with the epoch it has there, repeated while the store is away.

No order of steps here; who calls what when stands in the modules that use it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ParamSpec, TypeVar, cast

from queuekit import clock
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Parcel
from queuekit.domain.moving import Standing as Stand
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import Conflict, StoreUnavailable
from queuekit.move.values import SCHEDULES, Side
from queuekit.store.parts import MovingStore, Schedules
from queuekit.store.retry import Waiter, repeat

P = ParamSpec("P")
R = TypeVar("R")


class Real:
    """Waits with the event loop's clock."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        return clock.monotonic()


class Fenced(Exception):
    """A store has another epoch than the mover knows: another mover came, or the store rolled back."""

    def __init__(self, end: End) -> None:
        super().__init__(end.name)
        self.end = end


class Epochs:
    """The highest epoch of either side; each call that changes the authority takes one above, so that its late twin,
    or one of an earlier phase, is refused."""

    def __init__(self) -> None:
        self.high = 0

    def next(self) -> int:
        self.high += 1
        return self.high


class End:
    """The source or the target of a queue's move."""

    def __init__(self, side: Side, queue: str, *, by: str, epochs: Epochs, waiter: Waiter, patience: float) -> None:
        self.store: MovingStore = side.store
        self.name, self.queue, self.by = side.name, queue, by
        self.waiter, self.patience, self._epochs = waiter, patience, epochs
        self.epoch = 0  # that this mover wrote here
        self.stand = Stand(conf=QueueConf(), now=0)
        self._settled = 0.0  # monotonic

    @property
    def home(self) -> Home:
        return self.stand.conf.home

    async def ask(self, verb: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer of a verb that may be repeated. Raises StoreUnavailable with what to do."""
        try:
            return await repeat(self.waiter, lambda: verb(*args, **kwargs), within=self.patience)
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"{self.name} is away for more than {self.patience:g} s: {error}. Nothing is lost: what has moved has"
                " moved, the rest is where it was. When it is back, --resume goes on",
                outcome=error.outcome,
            ) from error

    async def _fenced(self, verb: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await self.ask(verb, *args, **kwargs)
        except Conflict as error:
            raise Fenced(self) from error

    async def conf(self) -> QueueConf:
        """As the store says now; later epochs are above it."""
        conf = await self.ask(self.store.conf, self.queue)
        self._epochs.high = max(self._epochs.high, conf.epoch)
        return conf

    async def become(self, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None) -> Stand:
        """Write the authority, under a new epoch."""
        epoch = self._epochs.next()
        self.stand = await self._fenced(self.store.authority, self.queue, epoch, self.by, home, to, room=room, add=add)
        self.epoch = epoch
        self._settled = self.waiter.monotonic() + max(0, self.stand.settles_at - self.stand.now) / 1000
        return self.stand

    @property
    def is_settled(self) -> bool:
        """Whether `settled` would not wait."""
        return self._settled <= self.waiter.monotonic()

    async def settled(self) -> None:
        """Wait until no call that began before the last change of the authority can do anything here."""
        left = self._settled - self.waiter.monotonic()
        if left > 0:
            await self.waiter.sleep(left)

    async def checkout(self, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        return await self._fenced(self.store.checkout, self.queue, self.epoch, batch, limit, history=history)

    async def import_batch(
        self, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        return await self._fenced(self.store.import_batch, self.queue, self.epoch, batch, parcels, keys, note)

    async def confirm(self, batch: int, ids: Sequence[str]) -> Confirmed:
        """Not before calls that may not know of the stop are over: to them the id and the key of a job that left
        would be free, and be taken once more."""
        await self.settled()
        return await self._fenced(self.store.confirm, self.queue, self.epoch, batch, ids)

    async def restore(self, batch: int, ids: Sequence[str] | None = None) -> int:
        return await self._fenced(self.store.restore, self.queue, self.epoch, batch, ids)

    async def unhold(self, ids: Sequence[str] | None = None, *, lose: bool = False) -> list[str]:
        """All held jobs (or these), however many there are."""
        gone: list[str] = []
        while True:
            some = await self._fenced(self.store.unhold, self.queue, self.epoch, ids=ids, lose=lose)
            gone += some
            if not some or ids is not None:
                return gone

    async def journal(self) -> Journal:
        journal = await self.ask(self.store.journal, self.queue)
        return journal or Journal(epoch=self.epoch)

    async def taken(self, batch: int) -> list[str]:
        return await self.ask(self.store.taken, self.queue, batch)

    @property
    def keeps_schedules(self) -> bool:
        """Whether this store can have any."""
        return SCHEDULES in self.store.capabilities.parts

    async def schedules(self, after: str, limit: int) -> list[ScheduleRecord]:
        return await self.ask(cast("Schedules", self.store).schedules, self.queue, after, limit)

    async def get_schedules(self, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        return await self.ask(cast("Schedules", self.store).get_schedules, self.queue, ids)

    async def take_schedules(self, records: Sequence[ScheduleRecord]) -> None:
        await self._fenced(cast("Schedules", self.store).take_schedules, self.queue, self.epoch, records)
