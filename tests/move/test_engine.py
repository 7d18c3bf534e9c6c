"""What `move`, `resume`, `abort`, `abandon`, `move_states`, `plan` and `verify` promise, on two model stores."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.moving import Journal, Parcel
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where, WorkerBeat
from queuekit.domain.state import Line, State
from queuekit.errors import Conflict, InvalidOption, Moved, MoveStopped, PayloadTooLarge, StoreUnavailable, Unsupported
from queuekit.move import (
    Options,
    Phase,
    Progress,
    Side,
    Standing,
    abandon,
    abort,
    crossing,
    move,
    move_states,
    plan,
    resume,
    turn,
    verify,
)
from queuekit.move.checks import Pair
from queuekit.move.pages import pages
from queuekit.store.direct import direct
from queuekit.store.parts import MovingStore
from queuekit.store.protocol import Capabilities
from queuekit.testing.model import ModelStore, ModelWorld
from tests.move.sim import Clock, Killed

Q = "mail"


@dataclass
class Two:
    """Two model stores under one clock."""

    clock: Clock
    here: Any
    there: Any

    @property
    def sides(self) -> tuple[Side, Side]:
        return Side(store=self.here, name="here"), Side(store=self.there, name="there")

    async def put(self, store: Any, *names: str, actor: str = "p", **options: Any) -> None:
        self.clock.ms += 1
        op = Op(f"{actor}{self.clock.ms}", 1)
        await store.enqueue(
            Q, [JobSpec(id=name, task="t", body=name.encode(), **options) for name in names], op, asked=True
        )

    async def claim(self, store: Any, want: int, actor: str = "w", lease: int = 30_000) -> list[JobRecord]:
        return list((await store.exchange(Q, Op(actor, 1), [], Ask(want=want, lease=lease))).claims)

    async def end(self, store: Any, jobs: list[JobRecord], kind: Kind, actor: str = "w", **more: Any) -> None:
        ends = [Outcome(job.id, job.token or "", kind, **more) for job in jobs]
        reply = await store.exchange(Q, Op(actor, 2), ends, Ask())
        assert reply.refused == []

    async def ids(self, store: Any, state: State) -> list[str]:
        return [job.id for job in (await store.find(Q, Where(state=state))).records]

    async def go(self, start: Any = move, **options: Any) -> Any:
        return await start(*self.sides, [Q], options=Options(**options), waiter=self.clock)


@pytest.fixture
def two() -> Two:
    clock = Clock()
    return Two(clock, ModelStore(ModelWorld(clock.now)), ModelStore(ModelWorld(clock.now)))


async def until(true: Callable[[], bool]) -> None:
    """Let the mover work until something is so."""
    for _ in range(10_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came")


class Spoiled:
    """A store that answers `get` with something else for one job."""

    def __init__(self, store: ModelStore, name: str, change: Any) -> None:
        self._store, self._name, self._change = store, name, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get(self, queue: str, ids: list[str]) -> list[JobRecord | None]:
        found = await self._store.get(queue, ids)
        return [self._change(job) if job is not None and job.id == self._name else job for job in found]


class Forgetful(Spoiled):
    """Takes all in but one job, and does not say so."""

    async def import_batch(self, queue: str, epoch: int, batch: int, parcels: list[Parcel], *more: Any) -> Any:
        kept = [parcel for parcel in parcels if parcel.record.id != self._name]
        return await self._store.import_batch(queue, epoch, batch, kept, *more)


class Refusing(Spoiled):
    """Takes nothing in of queue zoo."""

    def __init__(self, store: ModelStore) -> None:
        super().__init__(store, "", None)

    async def import_batch(self, queue: str, *more: Any) -> Any:
        if queue == "zoo":
            raise PayloadTooLarge("too large")
        return await self._store.import_batch(queue, *more)


class Away:
    """A store that is away from its n-th call on."""

    def __init__(self, store: ModelStore, calls: int) -> None:
        self._store, self.left = store, calls

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise StoreUnavailable("connection refused", outcome="refused")
            return await verb(*args, **kwargs)

        return call


# ---------------------------------------------------------------- what is carried


async def test_a_queue_is_at_the_target_with_its_order_totals_and_configuration(two: Two) -> None:
    await two.put(two.here, "a", "b", "c", priority=10)
    await two.put(two.here, "first", priority=1)
    await two.put(two.here, "later", delay=60_000)
    conf = await two.here.conf(Q)
    await two.here.configure(Q, replace(conf, declared=Limits(max_crashes=7), override=Limits(paused="look", at=5)))
    report = await two.go()
    assert report.agrees
    assert report.queues[0].moved == {State.WAITING: 4, State.DELAYED: 1}
    assert await two.ids(two.there, State.WAITING) == ["first", "a", "b", "c"]
    assert await two.ids(two.there, State.DELAYED) == ["later"]
    counts, conf = await two.there.count(Q), await two.there.conf(Q)
    assert (counts.totals.enqueued, conf.effective.max_crashes, conf.effective.paused) == (5, 7, "look")
    assert (conf.home, conf.to, (await two.here.conf(Q)).home) == (Home.HERE, None, Home.GONE)


async def test_there_and_back_nothing_is_counted_twice_and_no_old_pause_returns(two: Two) -> None:
    await two.put(two.here, "a")
    conf = await two.here.conf(Q)
    await two.here.configure(Q, replace(conf, override=Limits(paused="night", at=5)))
    assert (await two.go()).agrees
    conf = await two.there.conf(Q)
    await two.there.configure(Q, replace(conf, override=Limits(at=9)))  # resumed over there
    await two.put(two.there, "b")
    here, there = two.sides
    assert (await move(there, here, [Q], waiter=two.clock)).agrees
    assert (await two.here.count(Q)).totals.enqueued == 2
    assert (await two.here.conf(Q)).effective.paused is None
    assert await two.ids(two.here, State.WAITING) == ["a", "b"]


async def test_a_running_job_ends_at_the_source_and_its_outcome_follows(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    claimed = await two.claim(two.here, 2)
    seen: list[Progress] = []

    async def work() -> None:
        await until(lambda: any(said.phase is Phase.TAIL for said in seen))
        held = (await two.there.get(Q, ["a"]))[0]
        assert (held.state, held.token) == (State.ACTIVE, None)
        assert [job.id for job in await two.claim(two.there, 5, "t")] == ["c"]
        await two.end(two.here, claimed[:1], Kind.COMPLETED, result=b"7")
        await two.here.exchange(Q, Op("w", 3), [Outcome("b", claimed[1].token or "", Kind.RELEASED)], Ask())

    working = asyncio.create_task(work())
    here, there = two.sides
    report = await move(here, there, [Q], waiter=two.clock, on_progress=seen.append)
    await working
    assert report.agrees
    (job,) = await two.there.get(Q, ["a"])
    assert (job.state, job.result, job.token) == (State.COMPLETED, b"7", "w:1")
    assert await two.ids(two.there, State.WAITING) == ["b"]
    assert any("2 still active" in said.text for said in seen)


async def test_a_released_job_stands_where_it_stood(two: Two) -> None:
    await two.put(two.here, "a", "b", "c", "d")
    claimed = await two.claim(two.here, 2)

    async def work() -> None:
        await until(lambda: two.there.peek(Q).conf.home is Home.HERE and two.there.peek(Q).conf.epoch > 0)
        await two.end(two.here, claimed, Kind.RELEASED)

    working = asyncio.create_task(work())
    assert (await two.go()).agrees
    await working
    assert await two.ids(two.there, State.WAITING) == ["a", "b", "c", "d"]


async def test_a_job_that_ends_without_a_trace_frees_its_key_before_the_tail_is_over(two: Two) -> None:
    key = UniqueKey(key="k")
    await two.put(two.here, "short", unique=key, keep_completed=Retention(count=0))
    await two.put(two.here, "long")
    short, long = await two.claim(two.here, 2, lease=36_000_000)
    freed = False

    async def work() -> None:
        nonlocal freed
        await until(lambda: two.there.peek(Q).conf.home is Home.HERE and two.there.peek(Q).conf.epoch > 0)
        await two.end(two.here, [short], Kind.COMPLETED)
        try:
            await until(lambda: "short" not in two.there.peek(Q).jobs)
            spec = JobSpec(id="next", task="t", body=b"", unique=key)
            reply = await two.there.enqueue(Q, [spec], Op("n", 1), asked=True)
            freed = bool(reply.receipts[0].created)
        finally:
            await two.here.exchange(Q, Op("w", 3), [Outcome("long", long.token or "", Kind.COMPLETED)], Ask())

    working = asyncio.create_task(work())
    assert (await two.go()).agrees
    await working
    assert freed


async def test_a_dead_workers_job_becomes_a_suspect_at_the_target(two: Two) -> None:
    await two.put(two.here, "a", "b")
    await two.claim(two.here, 1)
    assert (await two.go()).agrees
    (job,) = await two.there.get(Q, ["a"])
    assert (job.state, job.line, job.crashes) == (State.WAITING, Line.SUSPECT, 1)


async def test_a_key_held_for_a_time_is_held_at_the_target(two: Two) -> None:
    key = UniqueKey(key="k", until="time", ttl=600_000)
    await two.put(two.here, "a", unique=key, keep_completed=Retention(count=0))
    await two.end(two.here, await two.claim(two.here, 1), Kind.COMPLETED)
    assert (await two.here.get(Q, ["a"])) == [None]
    assert (await two.go()).agrees
    reply = await two.there.enqueue(Q, [JobSpec(id="b", task="t", body=b"", unique=key)], Op("n", 1))
    assert (reply.receipts[0].id, reply.receipts[0].created) == ("a", False)


async def test_all_queues_move_and_those_that_appear_meanwhile(two: Two) -> None:
    await two.put(two.here, "a")
    seen: list[Progress] = []

    def told(said: Progress) -> None:
        if not seen:
            seen.append(said)
            direct(two.here.enqueue("new", [JobSpec(id="n", task="t", body=b"")], Op("new", 1)))

    report = await move(*two.sides, waiter=two.clock, on_progress=told)
    assert report.agrees
    assert [queue.queue for queue in report.queues] == [Q, "new"]
    assert (await two.here.conf("new")).home is Home.GONE


# ---------------------------------------------------------------- what is refused


async def test_one_store_is_not_moved_onto_itself(two: Two) -> None:
    here, _ = two.sides
    with pytest.raises(InvalidOption, match="same store"):
        await move(here, replace(here, name="other"), waiter=two.clock)
    with pytest.raises(InvalidOption, match="both called"):
        await move(here, replace(here, store=two.there), waiter=two.clock)


async def test_a_store_without_the_part_is_refused(two: Two) -> None:
    two.there.capabilities = Capabilities()
    with pytest.raises(Unsupported, match="export"):
        await two.go()


async def test_a_target_with_jobs_is_refused_without_merge(two: Two) -> None:
    await two.put(two.here, "a")
    await two.put(two.there, "z")
    with pytest.raises(InvalidOption, match="holds 1 jobs"):
        await two.go()
    assert (await two.there.conf(Q)).epoch == 0


async def test_merged_queues_name_what_clashes_and_lose_nothing(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    await two.put(two.there, "b", actor="other")
    report = await two.go(merge=True)
    queue = report.queues[0]
    assert not report.agrees
    assert [(clash.id, clash.why) for clash in queue.clashes] == [("b", "id")]
    assert await two.ids(two.there, State.WAITING) == ["a", "c", "b"]
    assert await two.ids(two.here, State.WAITING) == ["b"]  # still there, and nobody claims it
    assert (await two.claim(two.here, 5)) == []
    again = await two.go(resume)
    assert [clash.id for clash in again.queues[0].clashes] == ["b"]
    (mine,) = await two.there.get(Q, ["b"])
    await two.there.change(Q, [Change(id="b", verb=Verb.DELETE, rev=mine.rev)], Op("person", 1))
    assert (await two.go(resume)).agrees
    assert (await two.ids(two.here, State.WAITING), len(await two.ids(two.there, State.WAITING))) == ([], 3)


async def test_a_second_start_needs_resume_and_then_takes_over(two: Two) -> None:
    await two.put(two.here, *(f"j{i:02}" for i in range(30)))
    slow: list[Any] = []

    def told(said: Progress) -> None:
        if said.phase is Phase.JOBS and not slow:
            slow.append(asyncio.ensure_future(take_over()))

    async def take_over() -> Any:
        with pytest.raises(Conflict, match="--resume"):
            await two.go()
        return await two.go(resume)

    with pytest.raises(Conflict, match="another mover"):
        await move(*two.sides, [Q], options=Options(batch=3), waiter=two.clock, on_progress=told)
    report = await slow[0]
    assert report.agrees
    assert len(await two.ids(two.there, State.WAITING)) == 30


async def test_a_queue_that_lives_elsewhere_is_not_moved_from_here(two: Two) -> None:
    await two.put(two.here, "a")
    assert (await two.go()).agrees
    here, _ = two.sides
    third = Side(store=cast("MovingStore", ModelStore(ModelWorld(two.clock.now))), name="third")
    with pytest.raises(Moved, match="there"):
        await move(here, third, [Q], waiter=two.clock)
    report = await move(here, third, waiter=two.clock)
    assert report.queues == []
    assert "lives in there" in report.notes[0]


@pytest.mark.parametrize("busy", ["worker", "active"])
async def test_offline_means_that_nobody_works(two: Two, busy: str) -> None:
    two.there.capabilities = replace(two.there.capabilities, moves="offline")
    await two.put(two.here, "a", "b")
    with pytest.raises(InvalidOption, match="offline"):
        await two.go()
    if busy == "worker":
        beat = WorkerBeat(id="w1", host="h", pid=1, queues=(Q,), concurrency=1, started_at=0)
        await two.here.beat(beat, 60_000)
    else:
        claimed = await two.claim(two.here, 1)
    with pytest.raises(InvalidOption, match="w1" if busy == "worker" else "1 jobs are active"):
        await two.go(offline=True)
    if busy == "worker":
        await two.here.beat(beat, 0)
    else:
        await two.end(two.here, claimed, Kind.RELEASED)
    assert (await two.go(offline=True)).agrees


async def test_limits_that_the_target_lacks_refuse_the_move(two: Two) -> None:
    await two.put(two.here, "a")
    data = two.here.queue(Q)
    data.conf = replace(data.conf, override=Limits(cap=3))
    with pytest.raises(InvalidOption, match="cap"):
        await two.go()


# ---------------------------------------------------------------- what goes wrong on the way


@pytest.mark.parametrize("wrong", ["other", "missing"])
async def test_nothing_is_removed_that_does_not_read_back_as_sent(two: Two, wrong: str) -> None:
    await two.put(two.here, "a", "b", "c")
    honest = two.there
    spoil = Spoiled if wrong == "other" else Forgetful
    two.there = spoil(honest, "b", lambda job: replace(job, body=b"x"))
    with pytest.raises(MoveStopped, match="read back") as caught:
        await two.go()
    assert caught.value.ids == ("b",)
    assert (await two.here.get(Q, ["b"]))[0] is not None
    two.there = honest
    assert (await two.go(resume)).agrees
    assert await two.ids(two.there, State.WAITING) == ["a", "b", "c"]


class Late:
    """A store whose clients may not know of a change for a while, and who is told what when."""

    def __init__(self, store: ModelStore, clock: Clock, home: Home, told: list[tuple[str, int]]) -> None:
        self._store, self._clock, self._home, self._told = store, clock, home, told

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def call(*args: Any, **kwargs: Any) -> Any:
            home = args[3] if name == "authority" else None
            self._told.append((name if home is None else f"{name} {home}", self._clock.ms))
            answer = await verb(*args, **kwargs)
            return replace(answer, settles_at=self._clock.ms + 1250) if home is self._home else answer

        return call


async def test_a_job_that_left_keeps_its_id_and_key_while_producers_may_not_know_of_the_stop(two: Two) -> None:
    """Or one of them would be told that the same job, or another under its key, was created."""
    told: list[tuple[str, int]] = []
    await two.put(two.here, *(f"j{n}" for n in range(9)))
    two.here = Late(two.here, two.clock, Home.MOVING, told)
    assert (await two.go(batch=2)).agrees
    stopped = next(ms for name, ms in told if name == "authority moving")
    removed = [ms for name, ms in told if name == "confirm"]
    assert len(removed) == 5
    assert min(removed) >= stopped + 1250
    assert [name for name, ms in told if ms < stopped + 1250].count("checkout") >= 5, "meanwhile the others left"


async def test_the_source_stops_when_producers_of_the_target_know_that_they_must_ask(two: Two) -> None:
    told: list[tuple[str, int]] = []
    await two.put(two.here, "a")
    two.there = Late(two.there, two.clock, Home.ARRIVING, told)
    two.here = Late(two.here, two.clock, Home.GONE, told)
    assert (await two.go()).agrees
    (arriving,) = (ms for name, ms in told if name == "authority arriving")
    (moving,) = (ms for name, ms in told if name == "authority moving")
    assert moving >= arriving + 1250


class Dying:
    """A source whose mover dies in its first confirm, when all of the batch, or all but one job, is removed."""

    def __init__(self, store: ModelStore, spared: int) -> None:
        self._store, self._spared, self.batch, self._listed = store, spared, 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def confirm(self, queue: str, epoch: int, batch: int, ids: list[str]) -> Any:
        if self.batch:
            return await self._store.confirm(queue, epoch, batch, ids)
        self.batch, self._listed = batch, not self._spared
        await self._store.confirm(queue, epoch, 10_001, ids[self._spared :])  # as by another, so that the list stays
        raise Killed

    async def journal(self, queue: str) -> Any:
        journal = await self._store.journal(queue)
        return Journal(epoch=1, out=[self.batch]) if journal is None and self._listed else journal

    async def checkout(self, queue: str, epoch: int, batch: int, limit: int, *, history: bool = False) -> Any:
        if batch == self.batch and self._listed:
            self._listed = False
            return []
        return await self._store.checkout(queue, epoch, batch, limit, history=history)


@pytest.mark.parametrize("spared", [0, 1])
async def test_a_mover_that_died_while_it_removed_leaves_sums_that_agree(two: Two, spared: int) -> None:
    await two.put(two.here, "a", "b", "c")
    two.here = Dying(two.here, spared)
    with pytest.raises(Killed):
        await two.go()
    report = await two.go(resume)
    assert report.queues[0].digest == report.queues[0].arrived
    assert report.agrees
    assert await two.ids(two.there, State.WAITING) == ["a", "b", "c"]


async def test_what_a_person_changed_at_the_target_is_no_difference(two: Two) -> None:
    await two.put(two.here, "a", "b")
    honest = two.there
    two.there = Spoiled(honest, "b", lambda job: replace(job, rev=job.rev + 1, state=State.CANCELLED))
    report = await two.go()
    assert report.agrees
    assert report.queues[0].changed == ["b"]


@pytest.mark.parametrize("side", ["here", "there"])
async def test_a_store_that_stays_away_stops_the_move_and_loses_nothing(two: Two, side: str) -> None:
    await two.put(two.here, *(f"j{i:02}" for i in range(20)))
    honest = getattr(two, side)
    setattr(two, side, Away(honest, 25))
    with pytest.raises(StoreUnavailable, match=rf"{side} is away for more than 5 s.*--resume"):
        await two.go(batch=3, patience=5)
    setattr(two, side, honest)
    assert (await two.go(resume)).agrees
    assert await two.ids(two.there, State.WAITING) == [f"j{i:02}" for i in range(20)]


async def test_who_is_cancelled_waits_for_neither_store(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    forever, silent = asyncio.Event(), set[str]()

    class Silent(Spoiled):
        async def checkout(self, queue: str, epoch: int, batch: int, *more: Any, **how: Any) -> Any:
            if batch > 2:
                silent.add("source")
                await forever.wait()
            return await self._store.checkout(queue, epoch, batch, *more, **how)

        async def get(self, queue: str, ids: list[str]) -> Any:
            silent.add("target")
            await forever.wait()

    two.here, two.there = Silent(two.here, "", None), Silent(two.there, "", None)
    moving = asyncio.ensure_future(two.go(batch=1))
    await until(lambda: silent == {"source", "target"})
    moving.cancel()
    await until(moving.done)
    assert moving.cancelled()


async def test_a_payload_that_the_target_refuses_stops_the_move_and_an_abort_brings_it_back(two: Two) -> None:
    await two.put(two.here, "a", "b", "longer than that", "d")
    two.there.limit = 8
    with pytest.raises(MoveStopped, match="QUEUEKIT_PAYLOAD_LIMIT"):
        await two.go(batch=2)
    report = await two.go(abort)
    assert report.agrees
    assert await two.ids(two.here, State.WAITING) == ["a", "b", "longer than that", "d"]
    assert (await two.here.conf(Q)).home is Home.HERE


async def test_an_abort_takes_along_what_was_enqueued_at_the_target(two: Two) -> None:
    await two.put(two.here, "a", "b")
    running = await two.claim(two.here, 1)
    two.there.limit = 0
    with pytest.raises(MoveStopped):
        await two.go()
    two.there.limit = 1000
    await two.put(two.there, "new")
    assert (await two.go(abort)).agrees
    assert await two.ids(two.here, State.WAITING) == ["b", "new"]
    await two.end(two.here, running, Kind.COMPLETED)
    assert (await two.here.count(Q)).totals.enqueued == 3
    assert ((await two.there.conf(Q)).home, (await two.there.conf(Q)).to) == (Home.GONE, "here")
    assert (await two.go()).agrees  # and it can be moved again
    assert (await two.there.count(Q)).totals.enqueued == 3


async def test_an_abort_brings_more_jobs_than_the_spare_room_back_in_front(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (crossing, turn):
        monkeypatch.setattr(module, "ROOM", 2)
    names = [f"j{i:02}" for i in range(30)]
    await two.put(two.here, *names)
    honest, two.there = two.there, Away(two.there, 30)
    with pytest.raises(StoreUnavailable):
        await two.go(batch=2, patience=1)
    two.there = honest
    moved = await two.ids(two.there, State.WAITING)
    assert 10 < len(moved) < 30
    await two.put(two.there, "new")
    assert (await two.go(abort, batch=2)).agrees
    assert await two.ids(two.here, State.WAITING) == [*names, "new"]


async def test_a_mover_that_died_before_its_first_batch_had_room_for_all(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossing, "ROOM", 2)
    names = [f"j{i:02}" for i in range(30)]
    await two.put(two.here, *names)

    class Dies(Spoiled):
        async def checkout(self, *_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

    honest, two.here = two.here, Dies(two.here, "", None)
    with pytest.raises(KeyboardInterrupt):
        await two.go()
    two.here = honest
    assert (await two.there.conf(Q)).home is Home.ARRIVING
    await two.put(two.there, "new")
    assert (await two.go(resume, batch=4)).agrees
    assert await two.ids(two.there, State.WAITING) == [*names, "new"]


async def test_behind_the_commit_point_there_is_no_abort(two: Two) -> None:
    await two.put(two.here, "a", "b")
    running = await two.claim(two.here, 1)

    async def work() -> None:
        await until(lambda: two.there.peek(Q).conf.home is Home.HERE and two.there.peek(Q).conf.epoch > 0)
        with pytest.raises(InvalidOption, match="works on it already"):
            await two.go(abort)
        await two.end(two.here, running, Kind.COMPLETED)

    working = asyncio.create_task(work())
    assert (await two.go()).agrees
    await working
    with pytest.raises(InvalidOption, match="migrate --from there --to here"):
        await two.go(abort)


async def test_another_target_than_that_of_the_move_is_told_before_a_lost_one(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    right, two.there = two.there, Away(two.there, 12)
    with pytest.raises(StoreUnavailable):
        await two.go(batch=1, patience=1)
    two.there = ModelStore(ModelWorld(two.clock.now))
    with pytest.raises(MoveStopped, match="another there than the one that move goes to, name that one"):
        await two.go(resume)
    report = await two.go(abort)
    assert not report.agrees
    assert "without what had been confirmed before" in report.queues[0].notes[0]
    assert (await two.here.conf(Q)).to is None
    two.there = right
    assert (await two.go(resume)).agrees
    assert await two.ids(two.there, State.WAITING) == ["a", "b", "c"]


async def test_an_abort_of_all_behind_the_end_says_how_to_move_back(two: Two) -> None:
    await two.put(two.here, "a")
    assert (await two.go()).agrees
    report = await abort(*two.sides, waiter=two.clock)
    assert report.queues == []
    assert report.notes == ["queue mail has moved: migrate --from there --to here moves it back"]
    await two.there.enqueue("zoo", [JobSpec(id="b", task="t", body=b"b")], Op("p2", 1))
    here, there = two.sides
    assert (await move(there, here, ["zoo"], waiter=two.clock)).agrees
    assert (await move(here, there, ["zoo"], waiter=two.clock)).agrees
    report = await abort(*two.sides, waiter=two.clock)
    assert report.notes == ["queues mail, zoo have moved: migrate --from there --to here moves them back"]


async def test_an_abort_of_all_names_the_queues_that_can_be_brought_back_still(two: Two) -> None:
    await two.put(two.here, "a")
    await two.claim(two.here, 1)
    await two.here.enqueue("zoo", [JobSpec(id=name, task="t", body=b"") for name in "xyz"], Op("p", 1))
    honest, two.there = two.there, Refusing(two.there)
    with pytest.raises(MoveStopped):
        await move(*two.sides, options=Options(batch=1), waiter=two.clock)
    two.there = honest
    with pytest.raises(InvalidOption, match=f"queue {Q}: .* Only zoo can be brought back still: name them with -Q"):
        await abort(*two.sides, waiter=two.clock)
    assert (await abort(*two.sides, ["zoo"], waiter=two.clock)).agrees
    assert (await two.here.count("zoo")).states[State.WAITING] == 3


async def test_a_source_that_is_gone_for_good_is_given_up(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    await two.claim(two.here, 1)
    _, there = two.sides
    honest, two.here = two.here, Away(two.here, 40)
    with pytest.raises(StoreUnavailable):
        await two.go(batch=1, patience=1)
    two.here = honest
    report = await abandon("here", there, [Q], waiter=two.clock)
    assert report.queues[0].suspects == ["a"]
    assert not report.agrees
    assert [job.id for job in await two.claim(two.there, 9)] == ["a", "b", "c"]
    assert (await two.there.conf(Q)).to is None
    with pytest.raises(InvalidOption, match="not on its way"):
        await abandon("here", there, [Q], waiter=two.clock)


# ---------------------------------------------------------------- some states only


async def test_resting_jobs_move_alone(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    await two.end(two.here, await two.claim(two.here, 2), Kind.FAILED)
    await two.put(two.there, "z")
    report = await move_states(*two.sides, [Q], [State.FAILED], options=Options(batch=1), waiter=two.clock)
    assert report.agrees
    assert report.queues[0].moved == {State.FAILED: 2}
    assert sorted(await two.ids(two.there, State.FAILED)) == ["a", "b"]
    assert (await two.ids(two.here, State.FAILED), await two.ids(two.here, State.WAITING)) == ([], ["c"])
    assert (await two.here.conf(Q)).home is Home.HERE
    assert await two.there.journal(Q) is None


async def test_a_resting_job_that_somebody_retries_meanwhile_stays(two: Two) -> None:
    await two.put(two.here, "a")
    await two.end(two.here, await two.claim(two.here, 1), Kind.FAILED)

    class Retried(Spoiled):
        async def import_batch(self, *args: Any) -> Any:
            answer = await self._store.import_batch(*args)
            if args[3]:
                await two.here.change(Q, [Change(id="a", verb=Verb.RETRY)], Op("person", 1))
            return answer

    there = Side(store=cast("MovingStore", Retried(two.there, "", None)), name="there")
    report = await move_states(two.sides[0], there, [Q], [State.FAILED], waiter=two.clock)
    assert not report.agrees
    assert (await two.here.get(Q, ["a"]))[0].state is State.WAITING
    assert await two.there.get(Q, ["a"]) == [None]


async def test_large_resting_jobs_move_in_small_batches(two: Two) -> None:
    names, sizes = [f"j{i:02}" for i in range(40)], list[int]()
    two.here.limit = two.there.limit = 2_000_000
    await two.put(two.here, *names)
    await two.end(two.here, await two.claim(two.here, 40), Kind.COMPLETED, result=b"r" * 1_000_000)

    class Weighed(Spoiled):
        async def import_batch(self, *args: Any) -> Any:
            sizes.append(sum(len(parcel.record.result or b"") for parcel in args[3]))
            return await self._store.import_batch(*args)

    there = Side(store=cast("MovingStore", Weighed(two.there, "", None)), name="there")
    report = await move_states(two.sides[0], there, [Q], [State.COMPLETED], waiter=two.clock)
    assert report.agrees
    assert report.jobs == 40
    assert max(sizes) <= 4 * 1024 * 1024


async def test_a_queue_that_moved_as_a_whole_has_no_states_to_move(two: Two) -> None:
    await two.put(two.here, "a", "b")
    await two.end(two.here, await two.claim(two.here, 1), Kind.FAILED)
    await two.go()
    report = await move_states(*two.sides, [Q], [State.FAILED], waiter=two.clock)
    assert report.agrees
    assert report.queues[0].notes == ["the whole queue had moved to there already"]
    with pytest.raises(Moved, match=r"here has given all of it away, to there, .* without --state"):
        await move_states(two.sides[1], two.sides[0], [Q], [State.FAILED], waiter=two.clock)


async def test_states_do_not_move_beside_a_move_of_all(two: Two) -> None:
    await two.put(two.here, *(f"j{i}" for i in range(9)))
    honest, two.there = two.there, Away(two.there, 12)
    with pytest.raises(StoreUnavailable):
        await two.go(batch=2, patience=1)
    two.there = honest
    with pytest.raises(Conflict, match=r"not over \(arriving\): end that first"):
        await move_states(*two.sides, [Q], [State.FAILED], waiter=two.clock)


async def test_pages_get_smaller_where_jobs_are_large(two: Two) -> None:
    two.here.limit = 2_000_000
    await two.put(two.here, *(f"j{n:02}" for n in range(60)))
    await two.end(two.here, await two.claim(two.here, 60), Kind.COMPLETED, result=b"r" * 1_000_000)
    pair = Pair(*two.sides, Options(), two.clock)
    found = [len(page) async for page in pages(pair, pair.source, Q, [State.COMPLETED])]
    assert sum(found) == 60
    assert max(found[1:]) <= 4


async def test_live_jobs_do_not_move_alone(two: Two) -> None:
    with pytest.raises(InvalidOption, match="waiting"):
        await move_states(*two.sides, [Q], [State.WAITING, State.FAILED], waiter=two.clock)


# ---------------------------------------------------------------- looking


async def test_a_plan_counts_and_writes_nothing(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    await two.put(two.there, "b", actor="other")
    await two.here.beat(WorkerBeat(id="w1", host="h", pid=1, queues=(Q,), concurrency=1, started_at=0), 60_000)
    before = repr((two.here.world.queues, two.there.world.queues))
    said = await plan(*two.sides)
    (queue,) = said.queues
    assert (queue.standing, queue.jobs, queue.at_target) == (Standing.HERE, {State.WAITING: 3}, {State.WAITING: 1})
    assert [clash.id for clash in queue.clashes] == ["b"]
    assert queue.bytes > 100
    assert queue.seconds is not None
    assert queue.workers == {"here": ["w1"], "there": []}
    assert not said.possible
    assert "holds 1 jobs" in queue.refused[0]
    assert repr((two.here.world.queues, two.there.world.queues)) == before
    assert (await plan(*two.sides, options=Options(merge=True))).possible


async def test_a_plan_names_payloads_that_the_target_refuses(two: Two) -> None:
    await two.put(two.here, "a", "longer than that")
    here, there = two.sides
    said = await plan(here, replace(there, payload_limit=8))
    assert "longer than that" in said.queues[0].refused[0]


async def test_sides_with_the_same_jobs_agree_and_each_difference_has_an_id(two: Two) -> None:
    await two.put(two.here, "a", "b", "c")
    parcels = [Parcel(record=job) for job in await two.here.get(Q, ["a", "b", "c"])]
    await two.put(two.there, "tmp")
    (tmp,) = await two.there.get(Q, ["tmp"])
    await two.there.change(Q, [Change(id="tmp", verb=Verb.DELETE, rev=tmp.rev)], Op("x", 1))
    await two.there.import_batch(Q, 0, 1, parcels, [], b"")
    verdict = await verify(*two.sides, waiter=two.clock)
    assert verdict.agrees
    assert verdict.queues[0].source_digest == verdict.queues[0].target_digest
    await two.put(two.here, "more")
    await two.put(two.there, "other")
    await two.there.change(Q, [Change(id="b", verb=Verb.CANCEL)], Op("x", 2))
    (said,) = (await verify(*two.sides, waiter=two.clock)).queues
    assert (said.differ, said.only_source, said.only_target) == (["b"], ["more"], ["other"])
    assert (said.differences, said.agrees) == (3, False)


async def test_what_is_left_at_the_source_of_a_moved_queue_is_a_difference(two: Two) -> None:
    await two.put(two.here, "a", "b")
    await two.put(two.there, "b", actor="other")
    await two.go(merge=True)
    (said,) = (await verify(*two.sides, waiter=two.clock)).queues
    assert (said.standing, said.twice, said.agrees) == (Standing.MOVED, ["b"], False)


async def test_a_rate_spreads_the_work(two: Two) -> None:
    await two.put(two.here, *(f"j{i:03}" for i in range(100)))
    began = two.clock.ms
    assert (await two.go(rate=20)).agrees
    assert 4000 <= two.clock.ms - began <= 7000
