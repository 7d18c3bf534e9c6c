"""Model: the mover's verbs. What is out stays in `jobs`, named in `out`; what is held is active without a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

from queuekit.domain.job import JobRecord, limits_error
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.state import TERMINAL, Line, Move, State
from queuekit.errors import Conflict, PayloadTooLarge
from queuekit.testing.model.base import Base, snapshot
from queuekit.testing.model.settle import to as to_state
from queuekit.testing.model.world import Held, QueueData, by_age

BYTES_OUT = 4 * 1024 * 1024  # of bodies and results in one checkout
UNHELD = 1000  # a call


class Moving(Base):
    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        with self.world.lock:
            q, now = self.queue(queue), self.world.now()
            if epoch < q.conf.epoch or (epoch == q.conf.epoch and by != q.mover):
                raise Conflict(f"queue {queue}: another mover has epoch {q.conf.epoch}, this one {epoch}")
            changes = (epoch, by, home, to) != (q.conf.epoch, q.mover, q.conf.home, q.conf.to)
            if changes and home is Home.HERE and to is None and q.out:
                raise Conflict(f"queue {queue}: batches {sorted(q.out)} are checked out: confirm or restore them first")
            if changes:
                self._become(q, home, to, room, add)
                q.conf, q.mover = replace(q.conf, epoch=epoch, home=home, to=to), by
                self.wake(q)
            return Standing(conf=q.conf, now=now, mark=q.mark, base=q.base, settles_at=now)

    def _become(self, q: QueueData, home: Home, to: str | None, room: int, add: Totals | None) -> None:
        if home is Home.MOVING and q.conf.home is not Home.MOVING:
            q.mark = q.last
        if room:
            q.first -= room
            q.base = q.first
        if add is not None:
            for f in fields(Totals):
                setattr(q.totals, f.name, getattr(q.totals, f.name) + getattr(add, f.name))
        if home is Home.GONE:
            q.unique.clear()
            q.awaited.clear()
            q.schedules.clear()
        if home is Home.GONE or (home is Home.HERE and to is None):
            q.taken_in.clear()
            q.note = b""

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        with self.world.lock:
            q = self._mine(queue, epoch)
            if batch not in q.out:
                chosen, size = list[str](), 0
                for job in _line_up(q, history)[:limit]:
                    size += len(job.body) + len(job.result or b"")
                    if chosen and size > BYTES_OUT:
                        break
                    chosen.append(job.id)
                if chosen:
                    q.out[batch] = chosen
            return [self._parcel(q, q.jobs[name]) for name in q.out.get(batch, [])]

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        with self.world.lock:
            q = self.peek(queue)
            active = sorted(
                name for name, j in q.jobs.items() if j.state is State.ACTIVE and j.token and _later(name, after)
            )
            return [self._parcel(q, q.jobs[name]) for name in active[:limit]]

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            found = [
                HeldKey(key=key, id=held.id, expires=held.expires or 0)
                for key, held in sorted(q.unique.items(), key=lambda item: item[0].encode())
                if held.until == "time" and (held.expires or 0) > now and key.encode() > after.encode()
                if (job := q.jobs.get(held.id)) is None or job.unique is None or job.unique.key != key
            ]
            return found[:limit]

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        with self.world.lock:
            q, now = self._mine(queue, epoch), self.world.now()
            if batch in q.taken_in:
                return list(q.taken_in[batch][1])
            for parcel in parcels:
                for data in (parcel.record.body, parcel.record.result or b""):
                    wrong = limits_error(data, self.limit)
                    if wrong is not None:
                        raise PayloadTooLarge(f"job {parcel.record.id}: {wrong}")
            clashes: list[Clash] = []
            ids: list[str] = []
            for parcel in parcels:
                clash = self._take_in(q, parcel, epoch, now)
                if clash is None:
                    ids.append(parcel.record.id)
                else:
                    clashes.append(clash)
            for key in keys:
                if key.expires > now and q.held(key.key, now) is None:
                    q.unique[key.key] = Held(key.id, "time", key.expires)
            q.taken_in[batch], q.note = (ids, clashes), note
            self.wake(q)
            return list(clashes)

    def _take_in(self, q: QueueData, parcel: Parcel, epoch: int, now: int) -> Clash | None:
        job, there = parcel.record, q.jobs.get(parcel.record.id)
        if there is not None and not is_held(there):
            return Clash(id=job.id, why="id", by=job.id)
        key = job.unique if parcel.holds else None
        if key is not None and key.until == "time" and (parcel.key_expires or 0) <= now:
            key = None  # it ran out on the way
        holder = None if key is None else q.held(key.key, now)
        if holder is not None and holder.id != job.id:
            return Clash(id=job.id, why="key", by=holder.id)
        held = job.state is State.ACTIVE
        q.jobs[job.id] = replace(
            job, queue=q.name, epoch=epoch, place=q.back() if parcel.back else job.place, lease_until=None,
            token=None if held else job.token,
        )  # fmt: skip
        if there is not None:
            _drop_key(q, there)
        if key is not None:
            q.unique[key.key] = Held(job.id, key.until, parcel.key_expires)
        if parcel.awaited:
            q.awaited.add(job.id)
        if job.state in TERMINAL:
            q.awaited.discard(job.id)
        return None

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        with self.world.lock:
            q = self._mine(queue, epoch)
            found = [q.jobs[name] for name in ids if name in q.jobs]
            active = [job.id for job in found if job.state is State.ACTIVE]
            gone = {job.id for job in found if job.state is not State.ACTIVE}
            for name in gone:
                q.awaited.discard(name)
                _drop_key(q, q.jobs.pop(name))
            for number, out in list(q.out.items()):
                q.out[number] = [] if number == batch else [name for name in out if name not in gone]
                if not q.out[number]:
                    del q.out[number]
            self.world.changed()
            return Confirmed(removed=len(gone), active=active)

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        with self.world.lock:
            q = self._mine(queue, epoch)
            out = q.out.pop(batch, [])
            back = [name for name in out if ids is None or name in ids]
            left = [name for name in out if name not in back]
            if left:
                q.out[batch] = left
            return len(back)

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        with self.world.lock:
            q = self._mine(queue, epoch)
            held = sorted(job.id for job in q.jobs.values() if is_held(job) and (ids is None or job.id in ids))
            held = held[:UNHELD]
            for name in held:
                job = q.jobs[name]
                if lose:
                    to_state(job, Move.LOSE, State.WAITING)
                    job.line = Line.SUSPECT
                    continue
                q.awaited.discard(name)
                _drop_key(q, q.jobs.pop(name))
            self.wake(q)
            return held

    async def journal(self, queue: str) -> Journal | None:
        with self.world.lock:
            q = self.peek(queue)
            if not q.taken_in and not q.out:
                return None
            return Journal(epoch=q.conf.epoch, taken=sorted(q.taken_in), note=q.note, out=sorted(q.out))

    async def taken(self, queue: str, batch: int) -> list[str]:
        with self.world.lock:
            return list(self.peek(queue).taken_in.get(batch, ([], []))[0])

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        with self.world.lock:
            q, now = self.peek(queue), self.world.now()
            if q.conf.home in (Home.HERE, Home.ARRIVING):
                return None
            holders = {key: held.id for key in keys if (held := q.held(key, now)) is not None}
            return Known(ids={name for name in ids if name in q.jobs}, keys=holders)

    def _mine(self, queue: str, epoch: int) -> QueueData:
        """The queue, if `epoch` is its mover's. Raises Conflict."""
        q = self.peek(queue)
        if q.conf.epoch != epoch:
            raise Conflict(f"queue {queue}: its epoch is {q.conf.epoch}, this mover's {epoch}")
        return q

    def _parcel(self, q: QueueData, job: JobRecord) -> Parcel:
        holder = None if job.unique is None else q.held(job.unique.key, self.world.now())
        holds = holder is not None and holder.id == job.id
        expires = holder.expires if holder is not None and holds else None
        return Parcel(record=snapshot(job), holds=holds, key_expires=expires, awaited=job.id in q.awaited)


def is_held(job: JobRecord) -> bool:
    """Whether a job only stands for one that runs in the store its queue comes from."""
    return job.state is State.ACTIVE and job.token is None


def _drop_key(q: QueueData, job: JobRecord) -> None:
    """Take a removed job's own key from it; keys that its id held by time as another job are not its own."""
    if job.unique is not None and (holder := q.unique.get(job.unique.key)) is not None and holder.id == job.id:
        del q.unique[job.unique.key]


def _line_up(q: QueueData, history: bool) -> list[JobRecord]:
    ended = by_age(j for j in q.present if j.state in TERMINAL) if history else []
    first = [job for state in (State.WAITING, State.DELAYED, State.PARKED, State.BLOCKED) for job in q.of(state)]
    return first + ended


def _later(name: str, after: str) -> bool:
    return name.encode() > after.encode()
