"""The words of the moving tests: a queue that leaves, one that arrives, parcels, and what must be equal of two jobs.

Nothing here asserts a promise of a store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.state import Line, State
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import MINUTE, Q

HERE, MOVING, ARRIVING, GONE = Home.HERE, Home.MOVING, Home.ARRIVING, Home.GONE
BY = "mover-1"
FAR = "other"  # the name of the other store
ROOM = 1000


class Leaving:
    """A queue that leaves its store; calls begun before it did are over."""

    def __init__(self, store: MovingStore, epoch: int, standing: Standing, queue: str) -> None:
        self.store, self.epoch, self.standing, self.queue = store, epoch, standing, queue
        self.batch = 0

    async def out(self, limit: int = 1000, *, history: bool = False, batch: int | None = None) -> list[Parcel]:
        """Check out; under a new number if none is said."""
        if batch is None:
            self.batch += 1
        return await self.store.checkout(self.queue, self.epoch, batch or self.batch, limit, history=history)

    async def everything(self, limit: int = 1000) -> list[Parcel]:
        """Check all out that can be, ended ones too."""
        found: list[Parcel] = []
        while more := await self.out(limit, history=True):
            found += more
        return found

    async def confirm(self, *ids: str, batch: int | None = None) -> Confirmed:
        return await self.store.confirm(self.queue, self.epoch, self.batch if batch is None else batch, ids)

    async def restore(self, ids: Sequence[str] | None = None, *, batch: int | None = None) -> int:
        return await self.store.restore(self.queue, self.epoch, self.batch if batch is None else batch, ids)

    async def go(self, home: Home, to: str | None = FAR) -> Standing:
        """Another home, under a higher epoch."""
        self.epoch += 1
        self.standing = await self.store.authority(self.queue, self.epoch, BY, home, to)
        return self.standing


async def leave(harness: Harness, store: MovingStore, *, epoch: int = 1, queue: str = Q) -> Leaving:
    """Let the queue leave; what was under way has ended."""
    standing = await store.authority(queue, epoch, BY, MOVING, FAR)
    await settled_down(harness, standing)
    return Leaving(store, epoch, standing, queue)


async def settled_down(harness: Harness, standing: Standing) -> None:
    """Wait until no call that began before the last change of authority can come."""
    if standing.settles_at > standing.now:
        await harness.advance(standing.settles_at - standing.now + 1)


class Coming:
    """A queue that arrives, and the parcels for it: each with the next place of its room, or with `rank`."""

    def __init__(self, store: MovingStore, epoch: int, standing: Standing, queue: str) -> None:
        self.store, self.epoch, self.standing, self.queue = store, epoch, standing, queue
        self.base, self.batch, self.rank = standing.base, 0, 0

    def parcel(self, id: str, state: State = State.WAITING, *, rank: int | None = None, **said: Any) -> Parcel:
        """A job of the other store, a minute old; what belongs to its state is there, unless said."""
        self.rank += 1
        now = self.standing.now
        record: dict[str, Any] = {
            "queue": self.queue, "id": id, "task": "mail.send", "body": b"j{}", "state": state, "rev": 1,
            "place": self.base + (self.rank - 1 if rank is None else rank), "created_at": now - MINUTE,
        }  # fmt: skip
        if state in (State.WAITING, State.ACTIVE):
            record["line"] = Line.READY
        if state is State.DELAYED:
            record["run_at"] = now + 60 * MINUTE
        if state is State.ACTIVE:
            record |= {"token": "w:1", "claims": 1, "claimed_at": now - 1000, "lease_until": now + MINUTE, "rev": 2}
        if state in (State.PARKED, State.COMPLETED, State.FAILED, State.CANCELLED):
            record["ended_at"] = now - MINUTE // 2
        way = {name: said.pop(name) for name in ("back", "holds", "key_expires", "awaited") if name in said}
        return Parcel(record=JobRecord(**(record | said)), **way)

    def moved(self, parcel: Parcel) -> Parcel:
        """A parcel of another store, with the next place of the room."""
        self.rank += 1
        place = self.base + self.rank - 1
        return dataclasses.replace(parcel, record=dataclasses.replace(parcel.record, place=place))

    async def take(
        self, *parcels: Parcel, batch: int | None = None, keys: Sequence[HeldKey] = (), note: bytes = b""
    ) -> list[Clash]:
        """Import; under a new number if none is said."""
        if batch is None:
            self.batch += 1
        return await self.store.import_batch(self.queue, self.epoch, batch or self.batch, parcels, keys, note)

    async def go(self, home: Home = HERE, to: str | None = FAR, add: Totals | None = None) -> Standing:
        """Another home, under a higher epoch; if nothing is said, the queue opens while jobs still come."""
        self.epoch += 1
        self.standing = await self.store.authority(self.queue, self.epoch, BY, home, to, add=add)
        return self.standing


async def arrive(store: MovingStore, *, room: int = ROOM, epoch: int = 1, queue: str = Q) -> Coming:
    """Let a queue arrive."""
    return Coming(store, epoch, await store.authority(queue, epoch, BY, ARRIVING, FAR, room=room), queue)


@dataclass(slots=True)
class Pair:
    """Where a queue goes from, and where to. `ahead` is how far the model's clock was moved."""

    source: MovingStore
    target: MovingStore
    harness: Harness
    ahead: list[int]

    async def advance(self, ms: int) -> None:
        """Let time go by in both stores."""
        await self.harness.advance(ms)
        self.ahead[0] += ms


def same(job: JobRecord) -> JobRecord:
    """What two stores must have alike of a job: all but its place and who brought it."""
    return dataclasses.replace(job, place=0, epoch=0)


def ids(parcels: Sequence[Parcel]) -> list[str]:
    return [parcel.record.id for parcel in parcels]
