"""The embedded store: its families put together over a port. No SQL here."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from queuekit import clock
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import QueueConf
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Home, Op, Outcome, Recovery, Renewal
from queuekit.domain.query import Change, Changed, Counts, Found, Note, Pong, Position, Totals, Where, WorkerBeat
from queuekit.domain.schedule import Due, Fired, Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.embedded import alter, arriving, control, hotpath, leaving, ledger, notify, ops, produce, read, schedules
from queuekit.embedded.files import SCHEMA
from queuekit.embedded.hub import Key, Waiter
from queuekit.embedded.ledger import Ledger
from queuekit.embedded.port import AsyncPort, BlockingPort
from queuekit.embedded.replies import DiskFull
from queuekit.embedded.work import Work
from queuekit.errors import QueueFull, Stale
from queuekit.store.parts import Used
from queuekit.store.protocol import Capabilities
from queuekit.store.registry import StoreOptions

R = TypeVar("R")
CAPABILITIES: Final = Capabilities(
    parts=frozenset({"unique", "usage", "mover", "schedules"}), strays=True, wake="notify"
)


class EmbeddedStore:
    """All core families on one SQLite file. What `clock` says is the server's time."""

    def __init__(
        self, port: BlockingPort | AsyncPort, options: StoreOptions, clock: Callable[[], int] = clock.now_ms
    ) -> None:
        self._port = port
        self._ns = options.namespace
        self._limit = options.payload_limit
        self._now = clock
        self._heard: dict[str, int] = {}  # queue -> its bell when a wait last answered

    def through(self, wrap: Callable[[Any], Any]) -> None:
        """For tests: call the file through `wrap(port)`."""
        self._port = wrap(self._port)

    @property
    def capabilities(self) -> Capabilities:
        return CAPABILITIES

    async def open(self) -> None:
        await self._port.open()

    async def close(self) -> None:
        await self._port.close()

    def abandon(self) -> None:
        """`close` of a store whose event loop has been closed: nothing can be awaited there any more."""
        if isinstance(self._port, AsyncPort):
            self._port.abandon()

    async def ping(self) -> Pong:
        def act(conn: sqlite3.Connection) -> str:
            return str(conn.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()[0])

        store_id = await self._port.read(act)
        where = str(self._port.hub.path)
        server = f"sqlite {sqlite3.sqlite_version}"
        return Pong(now=self._now(), server=server, store_id=store_id, schema=SCHEMA, where=where)

    async def enqueue(
        self, queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Enqueued:
        produce.check(jobs, self._limit, within)
        try:
            return await self._write(queue, lambda work: produce.enqueue(work, jobs, op, asked))
        except DiskFull as error:
            raise QueueFull(str(error)) from error

    async def exchange(self, queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        hotpath.check(outcomes, ask)
        hub, key = self._port.hub, (self._ns, queue, op.actor)

        def rested() -> int:
            """This consumer's last call that wrote nothing. Looked at when the call is made, not when it was asked."""
            last = hub.idle.get(key, 0)
            if op.n < last:
                raise Stale(f"call {op.n} of {op.actor} comes after its call {last}: it had no effect")
            return last

        def act(work: Work) -> Exchange:
            rested()
            return hotpath.exchange(work, op, outcomes, ask)

        def idle(conn: sqlite3.Connection) -> Exchange | None:
            last = rested()
            known = ledger.peek(conn, self._ns, queue)
            if ops.recall(conn, known.q, op) is not None:
                return None
            reply = hotpath.idle(conn, known, ask, self._now(), again=op.n == last)
            if reply is not None:
                hub.rest(key, op.n)
            return reply

        return await self._write(queue, act, first=None if outcomes else idle)

    async def renew(self, queue: str, holds: Sequence[Hold], lease: int, actor: str = "", upto: int = 0) -> Renewal:
        return await self._write(queue, lambda work: hotpath.renew(work, holds, lease, actor, upto))

    async def recover(self, queue: str, limit: int = 100, every: int = 5000) -> Recovery:
        return await self._write(queue, lambda work: hotpath.recover(work, limit, every))

    async def get(self, queue: str, ids: Sequence[str]) -> list[JobRecord | None]:
        return await self._port.read(lambda conn: read.get(conn, ledger.peek(conn, self._ns, queue), ids))

    async def locate(self, id: str) -> list[JobRecord]:
        return await self._port.read(lambda conn: read.locate(conn, self._ns, id))

    async def find(self, queue: str, where: Where) -> Found:
        return await self._port.read(lambda conn: read.find(conn, ledger.peek(conn, self._ns, queue), where))

    async def count(self, queue: str) -> Counts:
        return await self._port.read(lambda conn: read.count(conn, ledger.peek(conn, self._ns, queue), self._now()))

    async def position(self, queue: str, id: str) -> Position | None:
        return await self._port.read(
            lambda conn: read.position(conn, ledger.peek(conn, self._ns, queue), id, self._now())
        )

    async def queues(self) -> list[str]:
        return await self._port.read(lambda conn: read.queues(conn, self._ns))

    async def workers(self) -> list[WorkerBeat]:
        return await self._port.read(lambda conn: read.workers(conn, self._ns, self._now()))

    async def change(self, queue: str, changes: Sequence[Change], op: Op) -> list[Changed]:
        alter.check(changes, self._limit)
        return await self._write(queue, lambda work: alter.change(work, changes, op))

    async def annotate(self, queue: str, id: str, token: str, note: Note) -> bool:
        return await self._write(queue, lambda work: alter.annotate(work, id, token, note))

    async def conf(self, queue: str) -> QueueConf:
        return await self._port.read(lambda conn: ledger.peek(conn, self._ns, queue).conf)

    async def configure(self, queue: str, conf: QueueConf) -> QueueConf:
        control.check(conf)
        return await self._write(queue, lambda work: control.configure(work, conf))

    async def prune(
        self, queue: str, *, state: State | None = None, older_than: int = 0, limit: int = 1000
    ) -> tuple[int, bool]:
        control.prunable(state)
        return await self._write(queue, lambda work: control.prune(work, state, older_than, limit))

    async def obliterate(self, queue: str, *, force: bool = False, limit: int = 1000) -> tuple[int, bool]:
        return await self._write(queue, lambda work: control.obliterate(work, force, limit))

    async def beat(self, worker: WorkerBeat, ttl: int) -> int:
        return await self._port.run(lambda conn: control.beat(conn, self._ns, worker, ttl, self._now()))

    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        wanted = notify.Wanted(self._ns, queues, self._heard)
        rung = await self._until(tuple((self._ns, name) for name in queues), wanted.probe, timeout)
        if rung and not wanted.found:
            await self._port.read(wanted.probe)
        self._heard.update(wanted.now)
        return (wanted.found or list(queues)) if rung else []

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        def probe(conn: sqlite3.Connection) -> bool:
            return notify.seen(conn, self._ns, queue, id) is not None

        def ended(conn: sqlite3.Connection) -> tuple[notify.Ended] | None:
            end = notify.seen(conn, self._ns, queue, id)
            return None if end is None else (end,)

        found = await self._write(queue, lambda work: (notify.mark(work, id),), first=ended)
        if found[0] is not None:
            return found[0][0]
        await self._until(((self._ns, queue, id),), probe, timeout)
        return (await self.get(queue, [id]))[0]

    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        return await self._write(queue, lambda work: leaving.authority(work, epoch, by, home, to, room, add))

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        return await self._write(queue, lambda work: leaving.checkout(work, epoch, batch, limit, history))

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        return await self._look(queue, lambda conn, known: leaving.running(conn, known, after, limit, self._now()))

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        return await self._look(queue, lambda conn, known: leaving.timed_keys(conn, known, after, limit, self._now()))

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        return await self._write(queue, lambda work: arriving.import_batch(work, epoch, batch, parcels, keys, note))

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        return await self._write(queue, lambda work: leaving.confirm(work, epoch, batch, ids))

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        return await self._write(queue, lambda work: leaving.restore(work, epoch, batch, ids))

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        return await self._write(queue, lambda work: arriving.unhold(work, epoch, ids, lose))

    async def journal(self, queue: str) -> Journal | None:
        return await self._look(queue, arriving.journal)

    async def taken(self, queue: str, batch: int) -> list[str]:
        return await self._look(queue, lambda conn, known: arriving.taken(conn, known, batch))

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        return await self._look(queue, lambda conn, known: leaving.known(conn, known, ids, keys, self._now()))

    async def put_schedule(self, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        schedules.check([schedule], self._limit)
        return await self._write(queue, lambda work: schedules.put(work, schedule))

    async def delete_schedule(self, queue: str, id: str, rev: int | None = None) -> bool:
        return await self._write(queue, lambda work: schedules.delete(work, id, rev))

    async def schedules(self, queue: str, after: str = "", limit: int = 1000) -> list[ScheduleRecord]:
        return await self._look(queue, lambda conn, known: schedules.listed(conn, known, after, limit))

    async def get_schedules(self, queue: str, ids: Sequence[str]) -> list[ScheduleRecord | None]:
        return await self._look(queue, lambda conn, known: schedules.get(conn, known, ids))

    async def due(self, queue: str, limit: int = 100) -> Due:
        return await self._look(queue, lambda conn, known: schedules.due(conn, known, limit, self._now()))

    async def fire(self, queue: str, firings: Sequence[Firing]) -> list[Fired]:
        schedules.fireable(firings, self._limit)

        def second(conn: sqlite3.Connection) -> list[Fired] | None:
            return schedules.all_changed(conn, ledger.peek(conn, self._ns, queue), firings)

        return await self._write(queue, lambda work: schedules.fire(work, firings), first=second)

    async def take_schedules(self, queue: str, epoch: int, records: Sequence[ScheduleRecord]) -> None:
        schedules.check(records, self._limit)
        await self._write(queue, lambda work: schedules.take(work, epoch, records))

    async def usage(self) -> Used:
        def act(conn: sqlite3.Connection) -> Used:
            pages, free, size = (
                int(conn.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
            return Used(bytes=(pages - free) * size)

        return await self._port.read(act)

    async def _until(self, keys: tuple[Key, ...], probe: Callable[[sqlite3.Connection], bool], timeout: int) -> bool:
        """True when `probe` found something or somebody rang; False after `timeout` ms."""
        bell, hub = self._port.bell(), self._port.hub
        rung: list[bool] = []

        def tell() -> None:
            rung.append(True)
            bell.ring()

        waiter = Waiter(keys, probe, tell)
        hub.enter(waiter)
        try:
            if await self._port.read(probe):
                return True
            if not rung and timeout > 0:
                await self._port.park(bell, timeout / 1000)  # type: ignore[arg-type]  # a port parks on its own bells
            return bool(rung)
        finally:
            hub.leave(waiter)

    async def _look(self, queue: str, act: Callable[[sqlite3.Connection, Ledger], R]) -> R:
        """`act` on one queue's row, on a snapshot."""
        return await self._port.read(lambda conn: act(conn, ledger.peek(conn, self._ns, queue)))

    async def _write(
        self, queue: str, act: Callable[[Work], R], first: Callable[[sqlite3.Connection], R | None] | None = None
    ) -> R:
        """`act` on one queue in one transaction; then whoever waits for what it did is told."""
        done: list[Work] = []

        def run(conn: sqlite3.Connection) -> R:
            work = Work(conn, self._now(), ledger.take(conn, self._ns, queue), self._limit)
            answer = act(work)
            work.finish()
            done.append(work)
            return answer

        def after() -> None:
            work = done[-1]
            keys: list[Key] = [(self._ns, queue, job) for job in work.ended]
            if work.wake:
                keys.append((self._ns, queue))
            self._port.hub.ring(keys)

        return await self._port.run(run, first=first, after=after)
