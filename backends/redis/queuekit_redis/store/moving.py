"""The mover's verbs: jobs on the way from here to another store, and from there to here."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from queuekit.domain.job import BATCH_MAX, limits_error
from queuekit.domain.moving import Clash, Confirmed, HeldKey, Journal, Known, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.errors import Conflict, PayloadTooLarge
from queuekit_redis.parcels import pack_parcels, unpack_clashes, unpack_parcels, unpack_taken
from queuekit_redis.replies import number
from queuekit_redis.store.base import Base
from queuekit_redis.store.control import conf_of

_SCANNED: Final = 5000  # members of a line looked at in one command
_SORTED: Final = 50_000  # keys kept for the next pages of a listing


class Moving(Base):
    async def authority(
        self, queue: str, epoch: int, by: str, home: Home, to: str | None, *, room: int = 0, add: Totals | None = None
    ) -> Standing:
        """One script; see authority.lua."""
        args: list[bytes | int] = [epoch, by.encode(), home.encode(), (to or "").encode(), room, self._moved()]
        for name, count in () if add is None else dataclasses.asdict(add).items():
            args += (name.encode(), count)
        await self._announce_if_room((queue,), anew=True)
        code, *reply = await self._call("authority", queue, args)
        if code == 2:
            raise Conflict(f"queue {queue}: jobs are checked out: confirm or restore them first")
        if code:
            raise Conflict(f"queue {queue}: another mover has epoch {reply[0]}, this one {epoch}")
        now, mark, base, stored, authority = reply
        return Standing(conf=conf_of(stored, authority), now=now, mark=int(mark), base=int(base), settles_at=now)

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> list[Parcel]:
        """One script; see checkout.lua. At most 1,000 jobs."""
        args = [batch, max(0, min(limit, BATCH_MAX)), 1 if history else 0, self._moved()]
        return list(unpack_parcels(queue, epoch, (await self._mine("checkout", queue, epoch, args))[1:]))

    async def running(self, queue: str, after: str, limit: int) -> list[Parcel]:
        """A look at the whole line of active jobs, which has no order of ids, then one script a page."""
        found: list[Parcel] = []

        async def take(names: Sequence[bytes]) -> None:
            epoch, *lists = await self._call("parcels", queue, [self._moved(), *names])
            found.extend(unpack_parcels(queue, number(epoch) or 0, lists))

        await self._page(queue, "active", after.encode(), limit, take, lambda: len(found))
        return found

    async def timed_keys(self, queue: str, after: str, limit: int) -> list[HeldKey]:
        """As `running`. What a look found beyond its page is kept for the next one."""
        found: list[HeldKey] = []

        async def take(names: Sequence[bytes]) -> None:
            said = await self._call("timed", queue, [self._moved(), *names])
            for key, holder, expires in zip(said[::3], said[1::3], said[2::3], strict=True):
                found.append(HeldKey(key=key.decode(), id=holder.decode(), expires=int(expires)))

        start = after.encode()
        rest = self._listed.pop(queue, None)
        known = rest[1] if rest is not None and rest[0] == start else None
        left = await self._page(queue, "utime", start, limit, take, lambda: len(found), known)
        if found and left:
            self._listed[queue] = (found[-1].key.encode(), left)
        return found

    async def import_batch(
        self, queue: str, epoch: int, batch: int, parcels: Sequence[Parcel], keys: Sequence[HeldKey], note: bytes
    ) -> list[Clash]:
        """One script; see import.lua. What is plain travels as three arguments a job."""
        for parcel in parcels:
            job, limit = parcel.record, self._limit
            if len(job.body) > limit or (job.result is not None and len(job.result) > limit):
                wrong = limits_error(job.body, limit) or limits_error(job.result or b"", limit)
                raise PayloadTooLarge(f"job {job.id}: {wrong}")
        plain, others = pack_parcels(parcels)
        held: list[bytes | int] = []
        for key in keys:
            held += (key.key.encode(), key.id.encode(), key.expires)
        ids = ",".join([parcel.record.id for parcel in parcels]).encode()
        args = [batch, self._moved(), note, ids, len(plain) // 3, len(keys), *plain, *held, *others]
        clashes = unpack_clashes((await self._mine("import", queue, epoch, args))[0])
        order = {parcel.record.id: i for i, parcel in enumerate(parcels)} if clashes else {}
        return sorted(clashes, key=lambda clash: order.get(clash.id, 0))

    async def confirm(self, queue: str, epoch: int, batch: int, ids: Sequence[str]) -> Confirmed:
        """One script; see confirm.lua."""
        names = [name.encode() for name in dict.fromkeys(ids)]
        removed, active = await self._mine("confirm", queue, epoch, [batch, *names])
        return Confirmed(removed=removed, active=[name.decode() for name in active])

    async def restore(self, queue: str, epoch: int, batch: int, ids: Sequence[str] | None = None) -> int:
        """One script; see restore.lua."""
        names = [name.encode() for name in ids or ()]
        back: int = (await self._mine("restore", queue, epoch, [batch, 0 if ids is None else 1, *names]))[0]
        return back

    async def unhold(
        self, queue: str, epoch: int, *, ids: Sequence[str] | None = None, lose: bool = False
    ) -> list[str]:
        """One script; see unhold.lua."""
        only = sorted({name.encode() for name in ids or ()})
        args = [1 if lose else 0, 0 if ids is None else 1, *only]
        (names,) = await self._mine("unhold", queue, epoch, args)
        return [name.decode() for name in names]

    async def journal(self, queue: str) -> Journal | None:
        """Plain reads: only the mover who asks writes there."""
        keys = self._keys(queue)
        taken, out, note, epoch = await self._port.commands([
            (b"HKEYS", keys["taken"]), (b"HKEYS", keys["batches"]), (b"HGET", keys["mover"], b"note"),
            (b"HGET", keys["vars"], b"epoch"),
        ])  # fmt: skip
        if not taken and not out:
            return None
        return Journal(
            epoch=number(epoch) or 0, taken=sorted(map(int, taken)), note=note or b"", out=sorted(map(int, out))
        )

    async def taken(self, queue: str, batch: int) -> list[str]:
        """One read."""
        (kept,) = await self._port.commands([(b"HGET", self._keys(queue)["taken"], batch)])
        return unpack_taken(kept)

    async def known(self, queue: str, ids: Sequence[str], keys: Sequence[str]) -> Known | None:
        """One script; see known.lua."""
        names = [name.encode() for name in ids]
        here, *found = await self._call(
            "known", queue, [self._moved(), len(ids), *names, *(key.encode() for key in keys)]
        )
        if not here:
            return None
        there, held = found
        holders = {held[i].decode(): held[i + 1].decode() for i in range(0, len(held), 2)}
        return Known(ids={name.decode() for name in there}, keys=holders)

    async def _mine(self, name: str, queue: str, epoch: int, args: Sequence[bytes | int]) -> list[Any]:
        """What a script answers to the mover whose epoch the queue has. Raises Conflict."""
        reply: list[Any] = await self._call(name, queue, [epoch, *args])
        if reply[0]:
            raise Conflict(f"queue {queue}: its epoch is {int(reply[1])}, this mover's {epoch}")
        return reply[1:]

    async def _page(
        self, queue: str, line: str, after: bytes, limit: int, take: Callable[[Sequence[bytes]], Awaitable[None]],
        many: Callable[[], int], known: list[bytes] | None = None,
    ) -> list[bytes]:  # fmt: skip
        """Gives `take` members of a line behind `after`, in their order, until `limit` were found or none is left.

        `known` are the next ones, of an earlier look; the answer is what this one found beyond the page.
        """
        while True:
            names = known or await self._smallest(queue, line, after)
            known, at = None, 0
            while at < len(names) and many() < limit:
                part = names[at : at + min(limit - many(), BATCH_MAX)]
                at += len(part)
                await take(part)
            if many() >= limit or not names:
                return names[at:]
            after = names[-1]

    async def _smallest(self, queue: str, line: str, after: bytes) -> list[bytes]:
        """The first members of a line in bytewise order behind `after`, less those with score 0; at most 50,000.

        SCAN answers every member that is there from its first call to its last.
        """
        found: list[bytes] = []
        cursor: bytes | int = 0
        while True:
            command = (b"ZSCAN", self._keys(queue)[line], cursor, b"COUNT", _SCANNED)
            ((cursor, pairs),) = await self._port.commands([command])
            found += [
                name for name, score in zip(pairs[::2], pairs[1::2], strict=True) if name > after and score != b"0"
            ]
            last = int(cursor) == 0
            if last or len(found) > 2 * _SORTED:
                found = sorted(set(found))[:_SORTED]
            if last:
                return found
