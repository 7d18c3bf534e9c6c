"""The MongoDB store: its families put together. Each family is a module of functions over one shared `Room`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Home, Op, Outcome, Recovery, Renewal
from queuekit.domain.query import Change, Changed, Counts, Found, Note, Pong, Position, Totals, Where, WorkerBeat
from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.store.parts import Used
from queuekit.store.protocol import Capabilities
from queuekit.store.registry import StoreOptions
from queuekit_mongo.collections import Names
from queuekit_mongo.port import MongoPort
from queuekit_mongo.store import alter, arriving, control, joined, leaving, life, notify, produce, read
from queuekit_mongo.store import authority as where
from queuekit_mongo.store import exchange as hot
from queuekit_mongo.store import lease as leases
from queuekit_mongo.store.room import Room

ORDER_SKEW = 10  # ms; places are the server's time as each process knows it


class MongoStore:
    """Every core family over one port. Over a blocking port its methods never suspend, and threads may share it."""

    def __init__(
        self, port: MongoPort, names: Names, options: StoreOptions, *, shift: Callable[[], int] | None = None
    ) -> None:
        self.room = Room(port, names, options, shift=shift)

    def through(self, wrap: Callable[[Any], Any]) -> None:
        """For tests: call the server through `wrap(port)`."""
        self.room.through(wrap)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            parts=frozenset({"unique", "usage", "mover", "schedules"} | ({"within"} if self.room.replica else set())),
            order_skew=ORDER_SKEW,
            strays=True,
            counted_at="prune",
            totals="late",
            moves="live" if self.room.replica else "offline",
            wake="notify" if self.room.replica else "poll",
        )

    async def open(self) -> None:
        await life.open(self.room)

    async def close(self) -> None:
        await life.close(self.room)

    def abandon(self) -> None:
        """`close` of a store whose event loop has been closed: nothing can be awaited there any more."""
        self.room.port.abandon()

    async def ping(self) -> Pong:
        return await life.ping(self.room)

    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        if within is not None:
            return await joined.enqueue(self.room, queue, jobs, op, within, asked=asked)
        return await produce.enqueue(self.room, queue, jobs, op, asked=asked)

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        return await hot.exchange(self.room, queue, op, outcomes, ask)

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        return await leases.renew(self.room, queue, holds, lease, actor, upto)

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        return await leases.recover(self.room, queue, limit, every)

    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        return await read.get(self.room, queue, ids)

    async def locate(self, id: str) -> list[JobRecord]:
        return await read.locate(self.room, id)

    async def find(self, queue: str, where: Where) -> Found:
        return await read.find(self.room, queue, where)

    async def count(self, queue: str) -> Counts:
        return await read.count(self.room, queue)

    async def position(self, queue: str, id: str) -> Position | None:
        return await read.position(self.room, queue, id)

    async def queues(self) -> list[str]:
        return await read.queues(self.room)

    async def workers(self) -> list[WorkerBeat]:
        return await read.workers(self.room)

    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        return await alter.change(self.room, queue, changes, op)

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        return await alter.annotate(self.room, queue, id, token, note)

    async def conf(self, queue: str) -> QueueConf:
        return await control.conf(self.room, queue)

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        return await control.configure(self.room, queue, conf)

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        return await control.prune(self.room, queue, state=state, older_than=older_than, limit=limit)

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        return await control.obliterate(self.room, queue, force=force, limit=limit)

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        return await control.beat(self.room, worker, ttl)

    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        return await notify.wait(self.room, queues, timeout)

    async def usage(self) -> Used:
        return await life.usage(self.room)

    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        return await where.authority(self.room, queue, epoch, by, home, to, places=room, add=add)

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        return await leaving.checkout(self.room, queue, epoch, batch, limit, history=history)

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        return await leaving.running(self.room, queue, after, limit)

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        return await leaving.timed_keys(self.room, queue, after, limit)

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        return await arriving.import_batch(self.room, queue, epoch, batch, parcels, keys, note)

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        return await leaving.confirm(self.room, queue, epoch, batch, ids)

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        return await leaving.restore(self.room, queue, epoch, batch, ids)

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        return await arriving.unhold(self.room, queue, epoch, ids=ids, lose=lose)

    async def journal(self, queue: str) -> Journal | None:
        return await where.journal(self.room, queue)

    async def taken(self, queue: str, batch: int) -> list[str]:
        return await where.taken(self.room, queue, batch)

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        return await where.known(self.room, queue, ids, keys)

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        return await notify.watch(self.room, queue, id, timeout)

    # Imported where they are used: a process that only enqueues needs none of it.
    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        from queuekit_mongo.store import schedules

        return await schedules.put_schedule(self.room, queue, schedule)

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        from queuekit_mongo.store import schedules

        return await schedules.delete_schedule(self.room, queue, id, rev)

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        from queuekit_mongo.store import schedules

        return await schedules.schedules(self.room, queue, after, limit)

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        from queuekit_mongo.store import schedules

        return await schedules.get_schedules(self.room, queue, ids)

    async def due(self, queue: str, limit: int = 100) -> Due:
        from queuekit_mongo.store import schedules

        return await schedules.due(self.room, queue, limit)

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        from queuekit_mongo.store import firing

        return await firing.fire(self.room, queue, firings)

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        from queuekit_mongo.store import schedules

        return await schedules.take_schedules(self.room, queue, epoch, records)
