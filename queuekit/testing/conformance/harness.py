"""What the suite needs of a store under test: stores over one fresh namespace, and a clock that can be moved.

A backend subclasses `Harness`; nothing here knows any store, and no test lives here.
"""

from __future__ import annotations

import asyncio
import typing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from queuekit import ids
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Home, Op, Outcome, Recovery, Renewal
from queuekit.domain.query import Change, Changed, Counts, Found, Note, Pong, Position, Totals, Where, WorkerBeat
from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import Unsupported
from queuekit.store.direct import direct
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.store.protocol import Capabilities, JobStore
from queuekit.store.registry import StoreOptions


class Harness(ABC):
    """Stores for one test. All of them, blocking or not, see the same jobs: they share `self.namespace`.

    A subclass gives `make` and `advance`, and `drop` where data outlive their stores.
    """

    name: ClassVar[str]  # "redis"; for messages only, no test asks it
    contended: ClassVar[bool] = True  # False for a fake that may be driven by one thread only

    def __init__(self) -> None:
        self.namespace = "t" + ids.nonce()[:11]
        self._opened: list[tuple[bool, JobStore]] = []

    @abstractmethod
    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        """A store of the namespace `options.namespace`, not opened yet; its clock is `advance`d like all others.

        With `blocking` its methods never suspend and threads may share it, else it belongs to the running loop.
        Two stores of different namespaces share one server, so that the suite can see them not meet.
        """

    @abstractmethod
    async def advance(self, ms: int) -> None:
        """Move the clock of every store of this harness forward, also of those opened later.

        Only what the store takes for the server's time; nobody sleeps.
        """

    async def drop(self) -> None:  # noqa: B027  a store whose data end with it has nothing to drop
        """Remove what the test wrote, in this namespace and in those that start with it."""

    async def begin(self, blocking: bool) -> Transaction:
        """A transaction of the application's own, over its own client. Only asked of stores with the part `within`."""
        raise Unsupported(f"{self.name} begins no transactions")

    async def written(self, key: str) -> str | None:
        """What the application's own transactions left under `key`, read past the store; None where nothing did."""
        raise Unsupported(f"{self.name} begins no transactions")

    async def open_store(
        self, blocking: bool = False, *, suffix: str = "", payload_limit: int = 256 * 1024
    ) -> JobStore:
        """A new, opened store of `self.namespace + suffix`; closed by `close`."""
        store = self.make(blocking, StoreOptions(namespace=self.namespace + suffix, payload_limit=payload_limit))
        self._opened.append((blocking, store))
        if blocking:
            direct(store.open())
        else:
            await store.open()
        return store

    async def close(self) -> None:
        """Close every store and drop the data; the suite calls it after each test."""
        for blocking, store in reversed(self._opened):
            if blocking:
                direct(store.close())
            else:
                await store.close()
        self._opened.clear()
        await self.drop()


class Transaction(ABC):
    """One transaction of an application, on the server and database of the store. Used once."""

    within: object  # what an enqueue takes

    @abstractmethod
    async def write(self, key: str, value: str) -> None:
        """The application's own write; `Harness.written` finds it once the transaction is committed."""

    @abstractmethod
    async def commit(self) -> None:
        """Apply all of it. Raises what the driver raises where nothing could be."""

    @abstractmethod
    async def abort(self) -> None:
        """Apply none of it; after a commit that failed, or was done, nothing happens."""


class Blocking:
    """A blocking store in the coat of an asynchronous one, so that a test is written once.

    Each call is stepped to its end where it stands; the two that wait for others run in a thread.
    """

    def __init__(self, store: JobStore) -> None:
        self.plain = store

    @property
    def capabilities(self) -> Capabilities:
        return self.plain.capabilities

    @property
    def _mover(self) -> MovingStore:
        """The store, where it has the part; only asked where it says so."""
        return typing.cast("MovingStore", self.plain)

    @property
    def _scheduling(self) -> SchedulingStore:
        return typing.cast("SchedulingStore", self.plain)

    async def open(self) -> None:
        direct(self.plain.open())

    async def close(self) -> None:
        direct(self.plain.close())

    async def ping(self) -> Pong:
        return direct(self.plain.ping())

    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        return direct(self.plain.enqueue(queue, jobs, op, within, asked))

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        return direct(self.plain.exchange(queue, op, outcomes, ask))

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        return direct(self.plain.renew(queue, holds, lease, actor, upto))

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        return direct(self.plain.recover(queue, limit, every))

    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        return direct(self.plain.get(queue, ids))

    async def locate(self, id: str) -> list[JobRecord]:
        return direct(self.plain.locate(id))

    async def find(self, queue: str, where: Where) -> Found:
        return direct(self.plain.find(queue, where))

    async def count(self, queue: str) -> Counts:
        return direct(self.plain.count(queue))

    async def position(self, queue: str, id: str) -> Position | None:
        return direct(self.plain.position(queue, id))

    async def queues(self) -> list[str]:
        return direct(self.plain.queues())

    async def workers(self) -> list[WorkerBeat]:
        return direct(self.plain.workers())

    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        return direct(self.plain.change(queue, changes, op))

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        return direct(self.plain.annotate(queue, id, token, note))

    async def conf(self, queue: str) -> QueueConf:
        return direct(self.plain.conf(queue))

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        return direct(self.plain.configure(queue, conf))

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        return direct(self.plain.prune(queue, state=state, older_than=older_than, limit=limit))

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        return direct(self.plain.obliterate(queue, force=force, limit=limit))

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        return direct(self.plain.beat(worker, ttl))

    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        return direct(self._mover.authority(queue, epoch, by, home, to, room=room, add=add))

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        return direct(self._mover.checkout(queue, epoch, batch, limit, history=history))

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        return direct(self._mover.running(queue, after, limit))

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        return direct(self._mover.timed_keys(queue, after, limit))

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        return direct(self._mover.import_batch(queue, epoch, batch, parcels, keys, note))

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        return direct(self._mover.confirm(queue, epoch, batch, ids))

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        return direct(self._mover.restore(queue, epoch, batch, ids))

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        return direct(self._mover.unhold(queue, epoch, ids=ids, lose=lose))

    async def journal(self, queue: str) -> Journal | None:
        return direct(self._mover.journal(queue))

    async def taken(self, queue: str, batch: int) -> list[str]:
        return direct(self._mover.taken(queue, batch))

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        return direct(self._mover.known(queue, ids, keys))

    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        return direct(self._scheduling.put_schedule(queue, schedule))

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        return direct(self._scheduling.delete_schedule(queue, id, rev))

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        return direct(self._scheduling.schedules(queue, after, limit))

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        return direct(self._scheduling.get_schedules(queue, ids))

    async def due(self, queue: str, limit: int = 100) -> Due:
        return direct(self._scheduling.due(queue, limit))

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        return direct(self._scheduling.fire(queue, firings))

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        return direct(self._scheduling.take_schedules(queue, epoch, records))

    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        return await asyncio.to_thread(lambda: direct(self.plain.wait(queues, timeout)))

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        return await asyncio.to_thread(lambda: direct(self.plain.watch(queue, id, timeout)))
