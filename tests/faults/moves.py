"""The changing verbs of a mover as scenes: what stands before, the call, and what may come before a late one arrives.

A mover takes a higher epoch with each change of home: that is what keeps late requests of a phase out of the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from queuekit.domain.job import KEEP_NOTHING, JobRecord, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Ask, Home, Kind
from queuekit.domain.query import Change, Totals, Verb
from queuekit.domain.state import Line, State
from queuekit.store.parts import MovingStore
from tests.faults.ground import HOUR, MINUTE, STEP, Call, Ground, done, spec
from tests.faults.scenes import SCENES, drain_away, nothing, scene

BY, FAR = "mover", "far"
__all__ = ["SCENES"]


def mover(g: Ground) -> MovingStore:
    return cast("MovingStore", g.store)


async def go(g: Ground, epoch: int, home: Home, to: str | None = FAR, **said: Any) -> int:
    """Take the authority, and let what began before end; the first place of a room."""
    standing = await mover(g).authority(g.queue, epoch, BY, home, to, **said)
    await g.advance(STEP)
    return standing.base


async def mixed(g: Ground) -> None:
    """Jobs on several lines; `f` runs."""
    await g.put(spec("e"), spec("f"))
    e, _ = await g.claim(2)
    await g.end(e, Kind.FAILED, error=b"E")
    await g.put(
        spec("a", unique=UniqueKey("ka")), spec("b", priority=1), spec("c", delay=HOUR, body=b"x" * 2000),
        spec("d", unique=UniqueKey("kd", until="time", ttl=HOUR), keep_completed=KEEP_NOTHING),
    )  # fmt: skip


def parcel(g: Ground, base: int, id: str, state: State = State.WAITING, **said: Any) -> Parcel:
    """A job of the other store."""
    way = {name: said.pop(name) for name in ("holds", "key_expires", "awaited", "back") if name in said}
    fields: dict[str, Any] = {
        "queue": g.queue, "id": id, "task": "t", "body": b"j{}", "state": state, "rev": 3, "created_at": g.start,
        "place": base + "abcdef".index(id), "line": Line.READY if state in (State.WAITING, State.ACTIVE) else None,
    }  # fmt: skip
    if state is State.DELAYED:
        fields["run_at"] = g.start + HOUR
    if state is State.ACTIVE:
        fields |= {"token": "w:1", "lease_until": g.start + MINUTE, "claims": 1}
    if state in (State.COMPLETED, State.FAILED, State.PARKED):
        fields["ended_at"] = g.start
    return Parcel(record=JobRecord(**(fields | said)), **way)


def several(g: Ground, base: int) -> Sequence[Parcel]:
    return [
        parcel(g, base, "a", unique=UniqueKey("ka"), holds=True, logs=(b"1", b"2"), errors=(b"E",)),
        parcel(g, base, "b", State.DELAYED, body=b"x" * 3000), parcel(g, base, "c", State.ACTIVE, awaited=True),
        parcel(g, base, "d", State.COMPLETED, result=b"42", keep="5/"), parcel(g, base, "e", back=True),
    ]  # fmt: skip


# ---------------------------------------------------------------------- what may come next


async def next_phase(g: Ground) -> None:
    """The mover goes on, under a higher epoch."""
    await go(g, 8, Home.MOVING)


async def given_up(g: Ground) -> None:
    """The move is ended where it is: what is out goes back, and the queue is here."""
    journal = await mover(g).journal(g.queue)
    epoch = (await g.store.conf(g.queue)).epoch
    for batch in journal.out if journal is not None else ():
        await mover(g).restore(g.queue, epoch, batch)
    await go(g, 9, Home.HERE, None)


async def opened_and_drained(g: Ground) -> None:
    """The queue is open, its jobs are done and not kept, and the journal is gone."""
    await go(g, 9, Home.HERE, None)
    await drain_away(g)


async def back_again(g: Ground) -> None:
    """The jobs come back, under a higher epoch."""
    base = await go(g, 8, Home.ARRIVING, room=9)
    await mover(g).import_batch(g.queue, 8, 50, [parcel(g, base, name) for name in "abd"], [], b"")


# ---------------------------------------------------------------------- authority


def takes(name: str, before: Home, to_before: str | None, home: Home, to: str | None, **said: Any) -> None:
    @scene(f"authority: {name}", nothing, next_phase, given_up)
    async def play(g: Ground) -> Call:
        await mixed(g)
        if before is not Home.HERE or to_before is not None:
            await go(g, 3, before, to_before)
        return lambda: mover(g).authority(g.queue, 4, BY, home, to, **said)


takes("a queue leaves", Home.HERE, None, Home.MOVING, FAR)
takes("a queue arrives", Home.HERE, None, Home.ARRIVING, FAR, room=20)
takes("a queue opens, with totals", Home.ARRIVING, FAR, Home.HERE, FAR, add=Totals(enqueued=7, crashed=2))
takes("a move ends", Home.HERE, FAR, Home.HERE, None, add=Totals(completed=1))
takes("a queue is gone", Home.MOVING, FAR, Home.GONE, FAR)


@scene("authority: of another mover", nothing)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    await go(g, 5, Home.MOVING)
    return lambda: mover(g).authority(g.queue, 4, "other", Home.HERE, None, room=3, add=Totals(enqueued=1))


@scene("authority: home with jobs out", nothing)
async def _(g: Ground) -> Call:
    await mixed(g)
    await go(g, 3, Home.MOVING)
    await mover(g).checkout(g.queue, 3, 2, 2)
    return lambda: mover(g).authority(g.queue, 4, BY, Home.HERE, None)


# ---------------------------------------------------------------------- out


def leaves(name: str, limit: int, *, history: bool = False) -> None:
    @scene(f"checkout: {name}", nothing, next_phase, given_up)
    async def play(g: Ground) -> Call:
        await mixed(g)
        await go(g, 3, Home.MOVING)
        return lambda: mover(g).checkout(g.queue, 3, 2, limit, history=history)


leaves("all that lives", 100)
leaves("a few", 2)
leaves("history too", 100, history=True)


@scene("checkout: a batch that is out", nothing, given_up)
async def _(g: Ground) -> Call:
    await mixed(g)
    await go(g, 3, Home.MOVING)
    await mover(g).checkout(g.queue, 3, 2, 2)
    return lambda: mover(g).checkout(g.queue, 3, 2, 100)


def confirms(name: str, *ids: str, batch: int = 2) -> None:
    @scene(f"confirm: {name}", nothing, next_phase, given_up, back_again, same=False)
    async def play(g: Ground) -> Call:
        await mixed(g)
        await mover(g).watch(g.queue, "a", 0)
        await go(g, 3, Home.MOVING)
        await mover(g).checkout(g.queue, 3, 2, 100, history=True)
        return lambda: mover(g).confirm(g.queue, 3, batch, list(ids))


confirms("a batch", "a", "b", "c", "d", "e")
confirms("part of a batch", "a", "d")
confirms("under another number", "b", "c", batch=99)


@scene("confirm: what a rollback brought back", nothing, given_up, same=False)
async def _(g: Ground) -> Call:
    await mixed(g)
    await go(g, 3, Home.MOVING)
    return lambda: mover(g).confirm(g.queue, 3, 2, ["a", "d", "f"])


def restores(name: str, ids: list[str] | None) -> None:
    @scene(f"restore: {name}", nothing, next_phase, given_up, same=False)
    async def play(g: Ground) -> Call:
        await mixed(g)
        await go(g, 3, Home.MOVING)
        await mover(g).checkout(g.queue, 3, 2, 100, history=True)
        return lambda: mover(g).restore(g.queue, 3, 2, ids)


restores("a batch", None)
restores("single jobs", ["a", "c", "e"])


# ---------------------------------------------------------------------- in


@scene("import_batch: jobs of all kinds", nothing, next_phase, opened_and_drained)
async def _(g: Ground) -> Call:
    base = await go(g, 3, Home.ARRIVING, room=9)
    parcels = several(g, base)
    keys = [HeldKey(key="kt", id="gone", expires=g.start + HOUR)]
    return lambda: mover(g).import_batch(g.queue, 3, 2, parcels, keys, b"note")


@scene("import_batch: with clashes", nothing, next_phase, opened_and_drained)
async def _(g: Ground) -> Call:
    await g.put(spec("b"), spec("f", unique=UniqueKey("ka")))
    base = await go(g, 3, Home.ARRIVING, room=9)
    parcels = several(g, base)
    return lambda: mover(g).import_batch(g.queue, 3, 2, parcels, [], b"note")


@scene("import_batch: over held jobs", nothing, opened_and_drained)
async def _(g: Ground) -> Call:
    base = await go(g, 3, Home.ARRIVING, room=9)
    key = UniqueKey("k")
    held = [parcel(g, base, "a", State.ACTIVE, unique=key, holds=True), parcel(g, base, "b", State.ACTIVE)]
    await mover(g).import_batch(g.queue, 3, 1, held, [], b"")
    ended = [parcel(g, base, "a", State.FAILED, unique=key, errors=(b"E",)), parcel(g, base, "b", failures=1)]
    return lambda: mover(g).import_batch(g.queue, 3, 2, ended, [], b"note")


@scene("import_batch: into an open queue", nothing, opened_and_drained)
async def _(g: Ground) -> Call:
    await g.put(spec("f"))
    base = await go(g, 3, Home.ARRIVING, room=9)
    await go(g, 4, Home.HERE)
    parcels = [parcel(g, base, name) for name in "abc"]
    return lambda: mover(g).import_batch(g.queue, 4, 2, parcels, [], b"note")


def unholds(name: str, *, lose: bool = False, ids: list[str] | None = None) -> None:
    @scene(f"unhold: {name}", nothing, next_phase, opened_and_drained, same=False)
    async def play(g: Ground) -> Call:
        base = await go(g, 3, Home.ARRIVING, room=9)
        key = UniqueKey("k")
        held = [parcel(g, base, "a", State.ACTIVE, unique=key, holds=True), parcel(g, base, "b", State.ACTIVE)]
        await mover(g).import_batch(g.queue, 3, 1, [*held, parcel(g, base, "c")], [], b"")
        return lambda: mover(g).unhold(g.queue, 3, ids=ids, lose=lose)


unholds("all")
unholds("one", ids=["b", "c"])
unholds("a store that is lost", lose=True)


# ---------------------------------------------------------------------- the core, while a queue moves


@scene("enqueue: asked, while jobs come", nothing, drain_away)
async def _(g: Ground) -> Call:
    await go(g, 3, Home.ARRIVING, room=9)
    op = g.producer.op()
    return lambda: g.store.enqueue(g.queue, [spec("a"), spec("b", lifo=True)], op, None, True)


@scene("enqueue: refused, while the queue leaves", nothing)
async def _(g: Ground) -> Call:
    await go(g, 3, Home.MOVING)
    op = g.producer.op()
    return lambda: g.store.enqueue(g.queue, [spec("a")], op)


@scene("exchange: completed, while the queue leaves", nothing, next_phase)
async def _(g: Ground) -> Call:
    await mixed(g)
    (job,) = await g.claim(1)
    await go(g, 3, Home.MOVING)
    op, outcome = g.worker.op(), done(job, result=b"42")
    return lambda: g.store.exchange(g.queue, op, [outcome], Ask(want=5))


@scene("change: a job that is out", nothing)
async def _(g: Ground) -> Call:
    await mixed(g)
    await go(g, 3, Home.MOVING)
    await mover(g).checkout(g.queue, 3, 2, 100)
    op = g.person.op()
    return lambda: g.store.change(g.queue, [Change(id="a", verb=Verb.CANCEL), Change(id="gone", verb=Verb.CANCEL)], op)
