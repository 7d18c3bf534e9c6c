"""The steps of a mover. The machine itself is the other store: what left comes in again, as it was or changed.

Parcels are each side's own, so that their times are of its clock; a step names them by id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, cast

from queuekit.domain.moving import Clash, Confirmed, HeldKey, Parcel, Standing
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals
from queuekit.domain.state import LIVE, Line, State
from queuekit.store.parts import MovingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.machine.steps import Q, Step

if TYPE_CHECKING:
    from queuekit.testing.machine.side import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Step):
    """Another authority."""

    epoch: int
    home: Home
    to: str | None = None
    by: str = "m"
    room: int = 0
    add: Totals | None = None

    async def call(self, side: Side, store: JobStore) -> Standing:
        standing = await cast("MovingStore", store).authority(
            Q, self.epoch, self.by, self.home, self.to, room=self.room, add=self.add
        )
        side.room = standing.base
        return standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Out(Step):
    epoch: int
    batch: int
    limit: int = 1000
    history: bool = False

    async def call(self, side: Side, store: JobStore) -> list[Parcel]:
        parcels = await cast("MovingStore", store).checkout(Q, self.epoch, self.batch, self.limit, history=self.history)
        side.cargo |= {parcel.record.id: parcel for parcel in parcels}
        return parcels


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirm(Step):
    epoch: int
    batch: int
    ids: tuple[str, ...] = ()

    async def call(self, side: Side, store: JobStore) -> Confirmed:
        return await cast("MovingStore", store).confirm(Q, self.epoch, self.batch, list(self.ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore(Step):
    epoch: int
    batch: int
    ids: tuple[str, ...] | None = None

    async def call(self, side: Side, store: JobStore) -> int:
        ids = None if self.ids is None else list(self.ids)
        return await cast("MovingStore", store).restore(Q, self.epoch, self.batch, ids)


class Shape(StrEnum):
    """How a parcel comes in."""

    SAME = "same"
    BACK = "back"  # at the back
    RUNS = "runs"  # as if it ran elsewhere
    ENDED = "ended"  # as if it had ended there


@dataclass(frozen=True, slots=True)
class Cargo:
    """A parcel that comes in."""

    id: str
    rank: int
    shape: Shape = Shape.SAME


@dataclass(frozen=True, slots=True, kw_only=True)
class In(Step):
    """`keys` are (key, id, moment)."""

    epoch: int
    batch: int
    cargo: tuple[Cargo, ...] = ()
    keys: tuple[tuple[str, str, int], ...] = ()
    at: int = 0  # when those ended that did

    async def call(self, side: Side, store: JobStore) -> list[Clash]:
        parcels = [self._made(side, one) for one in self.cargo if one.id in side.cargo]
        keys = [HeldKey(key=key, id=holder, expires=side.base + until) for key, holder, until in self.keys]
        return await cast("MovingStore", store).import_batch(Q, self.epoch, self.batch, parcels, keys, b"n")

    def _made(self, side: Side, one: Cargo) -> Parcel:
        parcel = side.cargo[one.id]
        job = replace(parcel.record, place=side.room + one.rank)
        until = None if job.unique is None else job.unique.until
        holds, expires = parcel.holds, parcel.key_expires
        back = one.shape is Shape.BACK or not side.room  # a place outside the room means something else in each store
        moment = side.base + self.at
        if one.shape is Shape.RUNS and job.state in LIVE:
            job = replace(
                job, state=State.ACTIVE, line=job.line or Line.READY, rev=job.rev + 1, claims=job.claims + 1,
                token="w8.8:1", worker="far", claimed_at=moment, lease_until=moment, ended_at=None, reason=None,
            )  # fmt: skip
            holds = holds and until != "started"
        if one.shape is Shape.ENDED and job.state in LIVE:
            job = replace(
                job, state=State.COMPLETED, line=None, rev=job.rev + 2, claims=job.claims + 1, token="w8.8:1",
                worker="far", claimed_at=moment, ended_at=moment, result=b"m", reason=None, lease_until=None,
                cancel=None,
            )  # fmt: skip
            holds = holds and until == "time"
        return Parcel(record=job, back=back, holds=holds, key_expires=expires if holds else None,
                      awaited=parcel.awaited)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unhold(Step):
    epoch: int
    lose: bool = False
    ids: tuple[str, ...] | None = None

    async def call(self, side: Side, store: JobStore) -> list[str]:
        ids = None if self.ids is None else list(self.ids)
        return await cast("MovingStore", store).unhold(Q, self.epoch, ids=ids, lose=self.lose)
