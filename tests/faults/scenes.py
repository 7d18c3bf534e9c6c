"""Every mutating operation of the seam as a scene: what stands before it, the call itself, and what may come next.

A scene prepares a queue and answers the call, which can be repeated as a caller would: same op, same arguments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from queuekit.domain.job import KEEP_NOTHING, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Hold, Kind
from queuekit.domain.query import Change, Note, Verb
from queuekit.domain.state import State
from tests.faults.ground import HOUR, LEASE, MINUTE, NEVER_AWAY, STEP, Actor, Call, Ground, done, spec

Play: TypeAlias = Callable[[Ground], Awaitable[Call]]
Next: TypeAlias = Callable[[Ground], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One operation in one situation."""

    name: str  # "verb: situation"
    play: Play
    nexts: tuple[Next, ...]  # what happens before a late request arrives; each is a run of its own
    same: bool = True  # a repeat answers what the first answered; else only the state is compared
    needs: tuple[str, ...] = ()  # parts of a store

    @property
    def verb(self) -> str:
        return self.name.partition(":")[0]


SCENES: Final[dict[str, Scene]] = {}


def scene(name: str, *nexts: Next, same: bool = True, needs: tuple[str, ...] = ()) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        assert name not in SCENES, name
        SCENES[name] = Scene(name=name, play=play, nexts=nexts or (nothing,), same=same, needs=needs)
        return play

    return add


# ---------------------------------------------------------------------- what may come next


async def nothing(g: Ground) -> None:
    """The late request is the next to arrive."""


async def drain_away(g: Ground) -> None:
    """Everything ready is claimed by another worker, done and not kept."""
    claims = await g.claim(10, by=g.other)
    await g.exchange([done(job, keep=KEEP_NOTHING) for job in claims], by=g.other)


async def claim_again(g: Ground) -> None:
    """Another worker claims what is ready."""
    await g.claim(10, by=g.other)


async def produce_more(g: Ground) -> None:
    await g.put(spec("f"))


async def cancel_and_delete(g: Ground) -> None:
    """A person removes every job that does not run."""
    for name in ("a", "b", "c"):
        await g.change(name, Verb.DELETE)


async def same_key(g: Ground) -> Any:
    """Who holds the key now."""
    return (await g.store.enqueue(g.queue, [spec("f", unique=UniqueKey("k"))], g.person.op())).receipts


async def work_on(g: Ground) -> None:
    """The same worker ends what it holds and claims on."""
    held = [job for job in await g.store.get(g.queue, ["a", "b", "c", "d"]) if job is not None]
    mine = [job for job in held if job.state is State.ACTIVE and str(job.token).startswith(g.worker.name)]
    await g.exchange([done(job, Kind.RETRY) for job in mine], 1)


async def renew_more(g: Ground) -> None:
    (job,) = await g.store.get(g.queue, ["a"])
    assert job is not None
    await g.store.renew(g.queue, [Hold(id="a", token=str(job.token), logs=(b"3",), start=2)], HOUR)


async def crash_again(g: Ground) -> None:
    """The suspects are claimed, and lost a second time."""
    await g.claim(10, by=g.other)
    await g.claim(10, by=Actor(f"third.{g.queue}"))
    await g.advance(LEASE + STEP)
    await g.store.recover(g.queue, 100, NEVER_AWAY)


# ---------------------------------------------------------------------- enqueue


def enqueues(name: str, *specs: Any, nexts: tuple[Next, ...] = (nothing, drain_away, produce_more)) -> None:
    @scene(f"enqueue: {name}", *nexts)
    async def play(g: Ground) -> Call:
        op = g.producer.op()
        return lambda: g.store.enqueue(g.queue, list(specs), op)


enqueues("one", spec("a"), nexts=(nothing, drain_away, produce_more, cancel_and_delete))
enqueues("many", spec("a"), spec("b", priority=1), spec("c", delay=MINUTE), spec("d"))
enqueues("lifo", spec("a", lifo=True), spec("b", lifo=True))
enqueues("delayed", spec("a", delay=HOUR))
enqueues("expiring", spec("a", expires_in=HOUR), spec("b", expires_in=MINUTE, delay=HOUR))
enqueues("not kept", spec("a", keep_completed=KEEP_NOTHING, keep_failed=Retention(count=5)))
enqueues("unique, new", spec("a", unique=UniqueKey("k")), nexts=(nothing, same_key, drain_away))
enqueues(
    "unique for a time", spec("a", unique=UniqueKey("k", until="time", ttl=HOUR)), nexts=(nothing, same_key, drain_away)
)
enqueues("unique, new or an error", spec("a", unique=UniqueKey("k", on_conflict="error")), nexts=(nothing, same_key))
enqueues("unique until started", spec("a", unique=UniqueKey("k", until="started")), nexts=(nothing, claim_again))


def beside_a_holder(name: str, key: UniqueKey, *nexts: Next, active: bool = False, others: bool = False) -> None:
    @scene(f"enqueue: {name}", *(nexts or (nothing, same_key, drain_away)))
    async def play(g: Ground) -> Call:
        await g.put(spec("b", unique=UniqueKey("k"), body=b"old"))
        if active:
            await g.claim(1, by=g.other)
        op = g.producer.op()
        jobs = [spec("a", unique=key, body=b"new", priority=3)]
        if others:
            jobs = [spec("c"), *jobs, spec("d", delay=MINUTE)]
        return lambda: g.store.enqueue(g.queue, jobs, op)


beside_a_holder("unique, held", UniqueKey("k"))
beside_a_holder("unique, held by one that runs", UniqueKey("k"), active=True)
beside_a_holder("unique, replacing", UniqueKey("k", on_conflict="replace"))
beside_a_holder("unique, replacing among others", UniqueKey("k", on_conflict="replace"), others=True)
beside_a_holder("unique, conflict", UniqueKey("k", on_conflict="error"), nothing, same_key, others=True)


@scene("enqueue: an id that exists", drain_away)
async def _(g: Ground) -> Call:
    await g.put(spec("a", body=b"first"))
    op = g.producer.op()
    return lambda: g.store.enqueue(g.queue, [spec("a", body=b"second"), spec("b"), spec("b")], op)


def where_some_were_removed(name: str, *jobs: JobSpec) -> None:
    """A call whose jobs `a` and `c` come in where others of these ids have been."""

    @scene(f"enqueue: {name}", nothing, drain_away, produce_more)
    async def play(g: Ground) -> Call:
        await g.put(spec("c"), spec("a"), spec("c"))
        await cancel_and_delete(g)
        op = g.producer.op()
        return lambda: g.store.enqueue(g.queue, list(jobs), op)


where_some_were_removed("among removed ones", spec("b"), spec("a"), spec("d"), spec("c"))
where_some_were_removed("lifo among removed ones", spec("b", lifo=True), spec("a", lifo=True), spec("d", lifo=True))
where_some_were_removed(
    "a removed one that is replaced in the call",
    spec("b"),
    spec("a", unique=UniqueKey("k")),
    spec("d", unique=UniqueKey("k", on_conflict="replace"), body=b"new"),
)


@scene("enqueue: replacing behind another", nothing, drain_away)
async def _(g: Ground) -> Call:
    await g.put(spec("b", unique=UniqueKey("k"), body=b"old"), spec("c"))
    op, jobs = g.producer.op(), [spec("d"), spec("a", unique=UniqueKey("k", on_conflict="replace"))]
    return lambda: g.store.enqueue(g.queue, jobs, op)


@scene("enqueue: into the last room", nothing, drain_away)
async def _(g: Ground) -> Call:
    await g.limit(max_size=3)
    await g.put(spec("c"))
    op = g.producer.op()
    return lambda: g.store.enqueue(g.queue, [spec("a"), spec("b", delay=HOUR)], op)


@scene("enqueue: over the size", nothing)
async def _(g: Ground) -> Call:
    await g.limit(max_size=2)
    await g.put(spec("c"))
    op = g.producer.op()
    return lambda: g.store.enqueue(g.queue, [spec("a"), spec("b")], op)


# ---------------------------------------------------------------------- exchange


def settles(
    name: str, kind: Kind, *, job: dict[str, Any] | None = None, nexts: tuple[Next, ...] = (), **said: Any
) -> None:
    @scene(f"exchange: {name}", *(nexts or (nothing, claim_again, work_on)))
    async def play(g: Ground) -> Call:
        await g.put(spec("a", **(job or {})), spec("b"))
        (claim,) = await g.claim()
        op, outcome = g.worker.op(), done(claim, kind, **said)
        return lambda: g.store.exchange(g.queue, op, [outcome], Ask())


settles("completed", Kind.COMPLETED)
settles("completed with a result", Kind.COMPLETED, result=b"42", keep=Retention(count=3))
settles("completed, not kept", Kind.COMPLETED, result=b"42", keep=KEEP_NOTHING)
settles("completed with a key", Kind.COMPLETED, job={"unique": UniqueKey("k")}, nexts=(nothing, same_key))
settles("completed with notes", Kind.COMPLETED, progress=b"9", logs=(b"1", b"2"), start=0)
settles("failed", Kind.FAILED, error=b"E", reason="no more")
settles("retry at once", Kind.RETRY, error=b"E", logs=(b"1",), start=0)
settles("retry later", Kind.RETRY, error=b"E", delay=HOUR)
settles("snoozed", Kind.SNOOZED, delay=HOUR)
settles("released", Kind.RELEASED)
settles("cancelled", Kind.CANCELLED, reason="wanted no more")
settles("parked", Kind.PARKED, reason="later")
settles("blocked, which no store can", Kind.BLOCKED)
settles("too large", Kind.COMPLETED, result=b"x" * (256 * 1024 + 1))


def gives_way(kind: Kind) -> None:
    @scene(f"exchange: {kind.value} after a cancel was asked", nothing, claim_again)
    async def play(g: Ground) -> Call:
        await g.put(spec("a"))
        (claim,) = await g.claim()
        await g.change("a", Verb.CANCEL, reason="stop")
        op, outcome = g.worker.op(), done(claim, kind)
        return lambda: g.store.exchange(g.queue, op, [outcome], Ask())


gives_way(Kind.RETRY)
gives_way(Kind.COMPLETED)


@scene("exchange: an awaited end", nothing)
async def _(g: Ground) -> Call:
    await g.put(spec("a", keep_completed=KEEP_NOTHING))
    (claim,) = await g.claim()
    await g.store.watch(g.queue, "a", 0)
    op, outcome = g.worker.op(), done(claim, result=b"1")
    return lambda: g.store.exchange(g.queue, op, [outcome], Ask())


@scene("exchange: a token that is lost", nothing, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    (claim,) = await g.claim()
    await g.end(claim, Kind.RELEASED)
    await g.claim(1, by=g.other)
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [done(claim), done(dataclasses.replace(claim, id="f"))], Ask())


@scene("exchange: claim", nothing, work_on, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a"), spec("b", unique=UniqueKey("k", until="started")), spec("c", priority=1), spec("d"))
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [], Ask(want=3, lease=LEASE, worker="w"))


@scene("exchange: nothing to do", nothing, produce_more)
async def _(g: Ground) -> Call:
    await g.put(spec("a", delay=HOUR))
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [], Ask(want=3, lease=LEASE))


@scene("exchange: promote", nothing, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a", delay=MINUTE), spec("b", delay=MINUTE), spec("c", delay=HOUR), spec("d"))
    await g.advance(MINUTE)
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [], Ask())


@scene("exchange: expire on the way", nothing, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a", expires_in=MINUTE), spec("b", delay=MINUTE, expires_in=MINUTE), spec("c"))
    await g.advance(MINUTE)
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [], Ask(want=2, lease=LEASE))


@scene("exchange: a suspect", nothing, work_on)
async def _(g: Ground) -> Call:
    await g.put(spec("a"), spec("b"), spec("c"))
    await g.claim(2, by=g.other)
    await g.advance(LEASE + STEP)
    await g.store.recover(g.queue, 100, NEVER_AWAY)
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [], Ask(want=3, lease=LEASE))


@scene("exchange: all at once", nothing, work_on, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a"), spec("b"), spec("c", delay=MINUTE), spec("d", expires_in=MINUTE), spec("e"))
    first, second = await g.claim(2, lease=HOUR)
    await g.advance(MINUTE)
    op = g.worker.op()
    outcomes = [done(first, result=b"1", logs=(b"l",), start=0), done(second, Kind.RETRY, error=b"E")]
    return lambda: g.store.exchange(g.queue, op, outcomes, Ask(want=2, lease=LEASE, worker="w"))


@scene("exchange: over the count that is kept", nothing)
async def _(g: Ground) -> Call:
    await g.limit(keep_completed=Retention(count=1))
    await g.put(spec("a"), spec("b"))
    first, second = await g.claim(2)
    await g.end(first)
    op = g.worker.op()
    return lambda: g.store.exchange(g.queue, op, [done(second)], Ask())


# ---------------------------------------------------------------------- renew, annotate, recover


@scene("renew: with notes", nothing, renew_more, work_on)
async def _(g: Ground) -> Call:
    await g.put(spec("a"), spec("b"), spec("c"), spec("d"))
    one, two, three, _four = await g.claim(4)
    await g.end(three)
    await g.change("b", Verb.CANCEL, reason="stop")
    holds = [
        Hold(id="a", token=str(one.token), progress=b"1", logs=(b"1", b"2"), start=0),
        Hold(id="b", token=str(two.token), logs=(b"1",), start=0),
        Hold(id="c", token=str(three.token), logs=(b"1",), start=0),
    ]
    return lambda: g.store.renew(g.queue, holds, HOUR, g.worker.name, 1)


@scene("renew: plain", nothing, work_on)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    (job,) = await g.claim()
    return lambda: g.store.renew(g.queue, [Hold(id="a", token=str(job.token))], HOUR)


@scene("annotate: a job that runs", nothing, renew_more)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    (job,) = await g.claim()
    return lambda: g.store.annotate(g.queue, "a", str(job.token), Note(progress=b"1", logs=(b"1", b"2"), start=0))


@scene("annotate: a job that is lost", nothing)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    await g.claim()
    return lambda: g.store.annotate(g.queue, "a", "x:1", Note(progress=b"1", logs=(b"1",), start=0))


def recovers(name: str, *nexts: Next, max_crashes: int | None = None, cancel: bool = False) -> None:
    @scene(f"recover: {name}", *nexts, same=False)
    async def play(g: Ground) -> Call:
        if max_crashes is not None:
            await g.limit(max_crashes=max_crashes)
        await g.put(spec("a"), spec("b"), spec("c"))
        await g.claim(2)
        if cancel:
            await g.change("a", Verb.CANCEL, reason="stop")
        await g.advance(LEASE + STEP)
        return lambda: g.store.recover(g.queue, 100, NEVER_AWAY)


recovers("suspects", nothing, crash_again, claim_again)
recovers("a crash too many", nothing, max_crashes=1)
recovers("a cancel that was asked", nothing, claim_again, cancel=True)


@scene("recover: after an absence", nothing, same=False)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    await g.store.recover(g.queue, 100, 5000)
    await g.claim()
    await g.advance(HOUR)
    return lambda: g.store.recover(g.queue, 100, 5000)


# ---------------------------------------------------------------------- change


async def _waiting(g: Ground) -> None:
    await g.put(spec("a"), spec("b"))


async def _delayed(g: Ground) -> None:
    await g.put(spec("a", delay=HOUR), spec("b"))


async def _active(g: Ground) -> None:
    await g.put(spec("a"), spec("b"))
    await g.claim()


async def _failed(g: Ground) -> None:
    await g.put(spec("a"), spec("b"))
    (job,) = await g.claim()
    await g.end(job, Kind.FAILED, error=b"E")


async def _failed_with_key(g: Ground) -> None:
    await g.put(spec("a", unique=UniqueKey("k")), spec("b"))
    (job,) = await g.claim()
    await g.end(job, Kind.FAILED)


async def _parked(g: Ground) -> None:
    await g.put(spec("a"), spec("b"))
    (job,) = await g.claim()
    await g.end(job, Kind.PARKED, reason="later")


def changes(name: str, before: Next, verb: Verb, *nexts: Next, **said: Any) -> None:
    @scene(f"change: {name}", *(nexts or (nothing, claim_again)))
    async def play(g: Ground) -> Call:
        await before(g)
        op, asked = g.person.op(), [Change(id="a", verb=verb, **said)]
        return lambda: g.store.change(g.queue, asked, op)


changes("cancel a waiting job", _waiting, Verb.CANCEL, reason="stop")
changes("cancel a delayed job", _delayed, Verb.CANCEL)
changes("cancel a job that runs", _active, Verb.CANCEL, nothing, work_on, reason="stop")
changes("cancel an ended job", _failed, Verb.CANCEL)
changes("retry", _failed, Verb.RETRY, nothing, claim_again, drain_away)
changes("retry later", _failed, Verb.RETRY, delay=HOUR)
changes("retry with a key", _failed_with_key, Verb.RETRY, nothing, same_key)
changes("retry a parked job", _parked, Verb.RETRY)
changes("promote", _delayed, Verb.PROMOTE, nothing, claim_again, drain_away)
changes("reschedule to the back", _waiting, Verb.RESCHEDULE, priority=3)
changes("reschedule later", _waiting, Verb.RESCHEDULE, delay=HOUR)
changes("reschedule a delayed job", _delayed, Verb.RESCHEDULE, delay=0)
changes("replace", _waiting, Verb.REPLACE, nothing, claim_again, body=b"j[1]")
changes("reopen", _parked, Verb.REOPEN, nothing, claim_again, drain_away)
changes("delete a waiting job", _waiting, Verb.DELETE, nothing)
changes("delete an ended job", _failed_with_key, Verb.DELETE, nothing, same_key)
changes("of another revision", _waiting, Verb.REPLACE, nothing, rev=99, body=b"j[1]")
changes("of this revision", _waiting, Verb.REPLACE, nothing, claim_again, rev=1, body=b"j[1]")


@scene("change: a job that is gone", nothing, produce_more)
async def _(g: Ground) -> Call:
    op = g.person.op()
    return lambda: g.store.change(g.queue, [Change(id="f", verb=Verb.CANCEL)], op)


@scene("change: several", nothing, claim_again)
async def _(g: Ground) -> Call:
    await g.put(spec("a"), spec("b", delay=HOUR), spec("c"))
    op = g.person.op()
    asked = [
        Change(id="a", verb=Verb.RETRY), Change(id="a", verb=Verb.CANCEL), Change(id="b", verb=Verb.PROMOTE),
        Change(id="c", verb=Verb.RESCHEDULE), Change(id="a", verb=Verb.RETRY), Change(id="f", verb=Verb.DELETE),
    ]  # fmt: skip
    return lambda: g.store.change(g.queue, asked, op)


# ---------------------------------------------------------------------- control


@scene("configure: override", nothing)
async def _(g: Ground) -> Call:
    await g.limit(paused="night")
    conf = dataclasses.replace(await g.store.conf(g.queue), override=Limits(max_size=5), declared=Limits(lease=60_000))
    return lambda: g.store.configure(g.queue, conf)


async def configure_on(g: Ground) -> None:
    await g.limit(paused="later")


@scene("configure: the first time", nothing, configure_on)
async def _(g: Ground) -> Call:
    conf = dataclasses.replace(await g.store.conf(g.queue), override=Limits(paused="night"))
    return lambda: g.store.configure(g.queue, conf)


@scene("configure: of another revision", nothing)
async def _(g: Ground) -> Call:
    await g.limit(paused="night")
    conf = dataclasses.replace(await g.store.conf(g.queue), rev=7, override=Limits(max_size=5))
    return lambda: g.store.configure(g.queue, conf)


@scene("prune: what is due", nothing, produce_more, same=False)
async def _(g: Ground) -> Call:
    await g.limit(keep_completed=Retention(age=MINUTE))
    await g.put(spec("f", keep_completed=KEEP_NOTHING))
    await g.end((await g.claim())[0])
    await g.put(
        spec("a"), spec("b", expires_in=MINUTE), spec("c", delay=HOUR, expires_in=MINUTE),
        spec("d", keep_completed=Retention(count=1)), spec("e", keep_completed=Retention(count=1)),
    )  # fmt: skip
    one, *_, four, five = await g.claim(5)
    await g.exchange([done(job) for job in (one, four, five)])
    await g.advance(3 * MINUTE)  # what a store remembers of a removed job is to be forgotten too
    return lambda: g.store.prune(g.queue)


def prunes(state: State, before: Next) -> None:
    @scene(f"prune: {state.value} jobs", nothing, produce_more, same=False)
    async def play(g: Ground) -> Call:
        await before(g)
        await g.advance(MINUTE)
        await g.put(spec("e"))
        return lambda: g.store.prune(g.queue, state=state, older_than=MINUTE // 2)


prunes(State.WAITING, _waiting)
prunes(State.DELAYED, _delayed)
prunes(State.FAILED, _failed_with_key)
prunes(State.PARKED, _parked)


@scene("obliterate: a queue", nothing, same=False)
async def _(g: Ground) -> Call:
    await _failed_with_key(g)
    await g.limit(paused="night")
    await g.put(spec("c", delay=HOUR))
    return lambda: g.store.obliterate(g.queue)


@scene("obliterate: by force", nothing, same=False)
async def _(g: Ground) -> Call:
    await _active(g)
    return lambda: g.store.obliterate(g.queue, force=True)


@scene("obliterate: a queue that works", nothing)
async def _(g: Ground) -> Call:
    await _active(g)
    return lambda: g.store.obliterate(g.queue)


@scene("beat: a worker", nothing)
async def _(g: Ground) -> Call:
    return lambda: _in_steps(g, g.store.beat(g.beat, HOUR))


@scene("beat: the last one", nothing)
async def _(g: Ground) -> Call:
    await g.store.beat(g.beat, HOUR)
    return lambda: _in_steps(g, g.store.beat(g.beat, 0))


async def _in_steps(g: Ground, now: Awaitable[int]) -> int | None:
    return g.steps(await now)


async def end_it(g: Ground) -> None:
    """The watched job ends with a retention of nothing."""
    await drain_away(g)


@scene("watch: a live job", nothing, end_it)
async def _(g: Ground) -> Call:
    await g.put(spec("a"))
    return lambda: g.store.watch(g.queue, "a", 0)


@scene("watch: an ended job", nothing)
async def _(g: Ground) -> Call:
    await _failed(g)
    return lambda: g.store.watch(g.queue, "a", 0)
