"""`fire`: a slot's jobs and its schedule's next rev are one step, whoever dies when.

With transactions many firings are one. Without, a firing's jobs come as stubs that nobody finds, its schedule is
written and says so, and then they are set free: by this call, or by anyone who finds that it was not to the end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Op, Receipt
from queuekit.domain.schedule import Fired, Firing, NoFire, checked, lenient
from queuekit.errors import Moved, PayloadTooLarge, QueueKitError
from queuekit_mongo import queries, slots
from queuekit_mongo.collections import JOBS, QUEUES, SCHEDULES, after_slash
from queuekit_mongo.documents import Document
from queuekit_mongo.port import Full, MongoPort
from queuekit_mongo.replies import Contended, Duplicate
from queuekit_mongo.statements import Write
from queuekit_mongo.store.locks import PAUSE, SILENT, Held, Lock, elsewhere, finish, seen
from queuekit_mongo.store.produce import WHOLE_BYTES, Call, check
from queuekit_mongo.store.room import Room, View

PART: Final = 200  # firings in one step
SPARSE: Final = 0.05  # seconds between two looks at schedules that others have locked, at most


async def fire(room: Room, queue: str, firings: Sequence[Firing]) -> list[Fired]:
    checked(firings)
    check([spec for firing in firings for spec in firing.jobs], room.limit)
    work = _Work(room, queue, firings)
    try:
        await work.run()
    except Moved:
        if not work.applied:
            raise
    except BaseException:
        work.lock.lose()
        raise
    return [work.answers.get(firing.id) or Fired(id=firing.id, no=NoFire.CHANGED) for firing in firings]


class _NoneLockedError(QueueKitError):
    """No schedule of a part could be locked: there is nothing to do in a transaction."""

    def __init__(self, held: Held) -> None:
        super().__init__("no schedule is free")
        self.held = held


class _Work:
    """One call: firings on their way to their answers. What has none in the end was not applied."""

    def __init__(self, room: Room, queue: str, firings: Sequence[Firing]) -> None:
        self.room, self.queue, self.lock = room, queue, Lock(room, queue)
        self.left = {room.names.schedule(queue, one.id): one for one in firings}
        self.answers: dict[str, Fired] = {}
        self.applied = False
        self.actor, self.steps = ids.nonce(), 0  # a job that a step before made is none of the next one's
        self.most = PART
        self.look = not room.replica or any(spec.unique is not None for one in firings for spec in one.jobs)

    async def run(self) -> None:
        port = self.room.port
        deadline, pause = port.monotonic() + (self.room.options.timeout + SILENT) / 1000, PAUSE
        if not self.left or not await self._step():
            await self._here()
        while self.left and port.monotonic() < deadline:
            before = len(self.left)
            await self._step()
            if len(self.left) == before:
                await port.sleep(pause)
                pause = min(2 * pause, SPARSE)

    async def _here(self) -> None:
        """Raise Moved where nothing was locked and the queue is not here."""
        no = elsewhere(await seen(self.room.port, self.room, self.queue), self.queue)
        if no is not None:
            raise no

    async def _step(self) -> bool:
        """Fire some; whether the queue's document was looked at."""
        part = self._part()
        self.steps += 1
        try:
            step = self._whole if self.room.replica and any(one.jobs for one in part.values()) else self._apart
            return await step(part)
        except Full:
            if len(part) == 1:
                await self._refuse(list(part), NoFire.FULL)
            self.most = 1
        except (Contended, Duplicate):
            self.look, self.most = True, max(1, len(part) // 2)
        return True

    def _part(self) -> dict[str, Firing]:
        """The next firings to go as one."""
        part: dict[str, Firing] = {}
        size = 0
        for key, firing in self.left.items():
            size += sum(len(spec.body) for spec in firing.jobs)
            if part and (size > WHOLE_BYTES or len(part) == self.most):
                break
            part[key] = firing
        return part

    async def _take(self, part: Mapping[str, Firing], session: Any = None) -> Held:
        return await self.lock.take({key: firing.rev for key, firing in part.items()}, session)

    def _sort(self, part: Mapping[str, Firing], held: Held) -> None:
        """What changed has its answer; what others have locked comes later."""
        for key in part:
            if key in held.lost:
                self._answer(key, NoFire.CHANGED)
            elif key not in held.mine:
                self.left[key] = self.left.pop(key)  # to the end

    def _answer(self, key: str, no: NoFire | None = None, receipts: Sequence[Receipt] = ()) -> None:
        firing = self.left.pop(key)
        self.answers[firing.id] = Fired(id=firing.id, no=no, receipts=tuple(receipts))
        self.applied = self.applied or no is None

    async def _refuse(self, keys: Sequence[str], no: NoFire) -> None:
        for key in keys:
            self._answer(key, no)
        await self.lock.release(keys)

    async def _enter(self, port: MongoPort, held: Held, part: Mapping[str, Firing]) -> tuple[View, dict[str, Firing]]:
        """The queue behind the locks, and which of the locked firings it takes now. Raises Moved."""
        view = await seen(port, self.room, self.queue)
        no = elsewhere(view, self.queue)
        if no is not None:
            await self.lock.release(sorted(held.mine))
            raise no
        mine = {key: firing for key, firing in part.items() if key in held.mine}
        if view.conf.to is None:
            return view, mine
        return view, {k: one for k, one in mine.items() if all(spec.unique is None for spec in one.jobs)}

    def _call(self, port: MongoPort, view: View, part: Mapping[str, Firing]) -> tuple[_Batch, dict[str, slice]]:
        """The jobs of all firings as one call, and where each firing's are."""
        jobs: list[JobSpec] = []
        where: dict[str, slice] = {}
        for key, firing in part.items():
            where[key] = slice(len(jobs), len(jobs) + len(firing.jobs))
            jobs += map(lenient, firing.jobs)
        kind = _Batch if port is not self.room.port else _Pending
        return kind(self.room, self.queue, view, Op(self.actor, self.steps), jobs, port=port), where

    # ------------------------------------------------------------------ in one transaction

    async def _whole(self, part: Mapping[str, Firing]) -> bool:
        locked: list[Held] = []

        async def lock(session: Any) -> None:
            locked[:] = [await self._take(part, session)]
            if not locked[0].mine:
                raise _NoneLockedError(locked[0])

        async def work(port: MongoPort) -> tuple[Held, _Batch, dict[str, slice]]:
            held = locked[0]
            view, taken = await self._enter(port, held, part)
            call, where = self._call(port, view, taken)
            if call.jobs:
                await call.insert_all(look=self.look)
            writes = [self._fired(key, taken[key], call, where[key]) for key in sorted(taken)]
            if writes and (await port.bulk(SCHEDULES, writes)).met < len(writes):
                raise Contended(f"queue {self.queue}: another call took a schedule over")
            return held, call, where

        try:
            held, call, where = await self.room.port.joined(work, lock)
        except _NoneLockedError as none:
            self._sort(part, none.held)
            return False
        self.room.tally(self.queue, {"enqueued": len(call.made)} if call.made else {})
        self._sort(part, held)
        await self._done(held, call, where)
        return True

    def _fired(self, key: str, firing: Firing, call: Call, where: slice, making: Document | None = None) -> Write:
        receipts = [call.receipts[index] for index in range(where.start, where.stop)]
        last = receipts[-1].id if receipts else None
        return slots.fired(key, firing, self.lock.token, now=call.now, last=last, making=making)

    async def _done(self, held: Held, call: Call, where: Mapping[str, slice]) -> None:
        """Answer what was applied, and of the others that they come later."""
        for key, own in where.items():
            if key in self.left:
                self._answer(key, receipts=[call.receipts[index] for index in range(own.start, own.stop)])
        await self._refuse(sorted(held.mine - where.keys()), NoFire.LATER)
        self.room.marks.pop(self.queue, None)
        await self.room.flush(self.queue)

    # ------------------------------------------------------------------ step by step

    async def _apart(self, part: Mapping[str, Firing]) -> bool:
        held = await self._take(part)
        self._sort(part, held)
        if not held.mine:
            return False
        view, taken = await self._enter(self.room.port, held, part)
        call, where = self._call(self.room.port, view, taken)
        if call.jobs:
            await call.insert_pending(sorted(held.mine), self._still_mine)
        makings = {key: self._making(call, where[key]) for key in taken}
        writes = [self._fired(key, one, call, where[key], makings[key]) for key, one in sorted(taken.items())]
        met = (await self.room.port.bulk(SCHEDULES, writes)).met if writes else 0
        applied = set(taken) if met == len(writes) else await self._applied(taken)
        docs = [{"_id": key, "making": making} for key, making in makings.items() if making is not None]
        await finish(self.room, self.queue, [doc for doc in docs if doc["_id"] in applied])
        for key in set(taken) - applied:
            self._answer(key, NoFire.CHANGED)
            await call.withdraw(range(where[key].start, where[key].stop))
        await self._done(held, call, where)
        return True

    def _making(self, call: _Batch, where: slice) -> Document | None:
        """What a schedule says of jobs that are to be set free."""
        made = [index for index in range(where.start, where.stop) if call.receipts[index].created]
        if not made:
            return None
        names = [call.docs[index]["_id"] for index in made]
        keyed = [call.docs[index]["_id"] for index in made if call.jobs[index].unique is not None]
        return {"token": call.op.token, "at": call.now, "jobs": names, "keyed": keyed}

    async def _still_mine(self, keys: Sequence[str]) -> bool:
        docs = await self.room.port.find(slots.these(keys, ("lock",)))
        return len([doc for doc in docs if doc.get("lock", {}).get("token") == self.lock.token]) == len(keys)

    async def _applied(self, taken: Mapping[str, Firing]) -> set[str]:
        """Of firings of which some met nothing, those that did."""
        docs = await self.room.port.find(slots.these(list(taken), ("by",)))
        return {doc["_id"] for doc in docs if doc.get("by") == self.lock.token}


class _Batch(Call):
    """The jobs of firings."""

    async def insert_all(self, *, look: bool) -> None:
        """Write them in the transaction of `port`. Raises what ends it: Full, Contended, Duplicate, PayloadTooLarge."""
        size = self.view.limits.max_size
        todo, writes = await self.look() if look or size is not None else (self.distinct(), [])
        if size is not None and len(todo) + self.revived:
            await self.port.bulk(QUEUES, [queries.touch(self.key)])  # others that count wait for this one
            await self.fit(len(todo) + self.revived, size)
        await self._put(writes, [self.docs[index] for index in todo])
        self._told(todo)

    async def insert_pending(self, keys: Sequence[str], still_mine: Callable[[Sequence[str]], Awaitable[bool]]) -> None:
        """Write them as stubs. What another call left of the same slots is taken over, while the locks stand."""
        todo, writes = await self.look()
        size = self.view.limits.max_size
        if size is not None and len(todo) + self.revived:
            await self.fit(len(todo) + self.revived, size)
        if writes and not await still_mine(keys):
            raise Contended(f"queue {self.queue}: another call took a schedule over")
        try:
            await self._put(writes, [slots.pending(self.docs[i], self.op.token, self.now) for i in todo])
        except QueueKitError:
            await self.withdraw(range(len(self.jobs)))
            raise
        self._told(todo)

    async def withdraw(self, indexes: Sequence[int]) -> None:
        """Remove what of these is pending by this call."""
        names = [self.docs[index]["_id"] for index in indexes]
        if names:
            await self.room.port.delete(JOBS, slots.pendings(names, self.op.token))

    async def _put(self, writes: list[Write], docs: list[Document]) -> None:
        if writes:
            done = await self.port.bulk(JOBS, writes)
            if done.met < len(writes) or done.duplicates:
                raise Contended(f"queue {self.queue}: another call changed what this one met")
        if docs:
            done = await self.port.insert(JOBS, docs)
            if done.too_large:
                name = after_slash(docs[done.too_large[0]]["_id"])
                raise PayloadTooLarge(f"job {name}: its document would be over 16 MiB")
            if done.duplicates:
                raise Duplicate(f"queue {self.queue}: an id or a unique key is there already")

    def _told(self, todo: Sequence[int]) -> None:
        for index in todo:
            self.receipts[index] = Receipt(self.jobs[index].id, True)
            self.made.add(self.docs[index]["_id"])


class _Pending(_Batch):
    """The same where a job comes as a stub, in the place of another stub too."""

    def revive(self, old: Document, doc: Document) -> Write:
        return slots.pending_instead(super().revive(old, doc), old, doc, self.op.token, self.now)
