"""Stores with a clock that only moves when told, filled by the generator; and all that a store has, page by page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from queuekit import ids
from queuekit.domain.job import JobRecord
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Home
from queuekit.domain.query import Where
from queuekit.domain.state import State
from queuekit.embedded import backend
from queuekit.move.records import Digests
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.mixed import mix
from queuekit.testing.model import ModelStore, ModelWorld

BEGIN = 1_790_000_000_000


@dataclass
class Clock:
    """Milliseconds that stand still."""

    ms: int = BEGIN

    def now(self) -> int:
        return self.ms

    async def advance(self, ms: int) -> None:
        self.ms += ms


@dataclass
class Filled:
    """A store, its clock, and the queues that were filled."""

    store: Any  # a JobStore that is a Mover too
    clock: Clock
    queues: tuple[str, ...] = ()
    digests: dict[str, Digests] = field(default_factory=dict)


def model(clock: Clock | None = None) -> Filled:
    clock = clock or Clock()
    return Filled(ModelStore(ModelWorld(clock.now), namespace="t", blocking=False, limit=256 * 1024), clock)


def sqlite(url: str = "memory://", clock: Clock | None = None) -> Filled:
    clock = clock or Clock()
    return Filled(backend.asynchronous(url, StoreOptions(namespace="t" + ids.nonce()[:11]), clock.now), clock)


async def filled(some: Filled, *, seed: int = 1, jobs: int = 600, running: bool = True) -> Filled:
    """`some`, open, with the generator's jobs in it."""
    await some.store.open()
    some.queues = await mix(some.store, some.clock.advance, seed=seed, jobs=jobs, running=running)
    return some


async def every(store: JobStore, queue: str) -> list[JobRecord]:
    """All jobs of a queue."""
    found: list[JobRecord] = []
    for state in State:
        cursor: str | None = None
        while True:
            page = await store.find(queue, Where(state=state, limit=1000, cursor=cursor))
            found += page.records
            cursor = page.cursor
            if cursor is None:
                break
    return found


async def digests(store: JobStore, queue: str) -> Digests:
    """What `every` adds up to."""
    sums = Digests()
    for record in await every(store, queue):
        sums.add(record)
    return sums


async def parcels(store: Any, queue: str) -> tuple[list[Parcel], list[HeldKey]]:
    """All jobs and timed keys as a mover sees them, in order; afterwards all is as before, but for the epoch."""
    standing = await store.conf(queue)
    epoch = standing.epoch + 1
    await store.authority(queue, epoch, "test", Home.MOVING, "elsewhere")
    found: list[Parcel] = []
    batch = 0
    while True:
        batch += 1
        some = await store.checkout(queue, epoch, batch, 500, history=True)
        if not some:
            break
        found += some
    active = await store.running(queue, "", 100_000)
    keys = await store.timed_keys(queue, "", 100_000)
    for number in range(1, batch):
        await store.restore(queue, epoch, number)
    await store.authority(queue, epoch + 1, "test", standing.home, standing.to)
    return found + active, keys
