"""What becomes of a queue's schedules when it moves, on two model stores: nothing lost, nothing reset."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Home, Kind, Op
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption, Moved, MoveStopped
from queuekit.move import Phase, Side, abandon, abort, move, move_states, plan, resume, schedules, verify
from queuekit.store.parts import MovingStore
from queuekit.store.protocol import Capabilities
from queuekit.testing.model import ModelStore, ModelWorld
from tests.move.sim import Clock, Killed
from tests.move.test_engine import Q, Two

LATER = Clock().ms + 3_600_000


@pytest.fixture
def two() -> Two:
    clock = Clock()
    return Two(clock, ModelStore(ModelWorld(clock.now)), ModelStore(ModelWorld(clock.now)))


async def put(two: Two, store: Any, name: str, **said: Any) -> ScheduleRecord:
    two.clock.ms += 1
    record = ScheduleRecord(**{"id": name, "queue": Q, "definition": name.encode(), "next": LATER, **said})
    return cast("ScheduleRecord", await store.put_schedule(Q, record))


async def fire(two: Two, store: Any, record: ScheduleRecord) -> ScheduleRecord:
    two.clock.ms += 1
    jobs = (JobSpec(id=f"{record.id}@{record.next}", task="t", body=b""),)
    (answer,) = await store.fire(
        Q, [Firing(id=record.id, rev=record.rev, next_at=(record.next or 0) + 1000, jobs=jobs, skipped=2)]
    )
    assert answer.no is None
    return cast("ScheduleRecord", (await store.get_schedules(Q, [record.id]))[0])


class Dying:
    """A store whose n-th call of a verb is the mover's last, before or after its effect."""

    def __init__(self, store: ModelStore, verb: str, nth: int = 1, *, after: bool = False) -> None:
        self._store, self._verb, self._left, self._after = store, verb, nth, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name != self._verb:
            return found

        async def call(*args: Any, **more: Any) -> Any:
            self._left -= 1
            if self._left == 0 and not self._after:
                raise Killed
            answer = await found(*args, **more)
            if self._left == 0:
                raise Killed
            return answer

        return call


async def test_a_moved_schedule_is_what_it_was_and_fires_on_at_the_target(two: Two) -> None:
    fired = await fire(two, two.here, await put(two, two.here, "digest", next=two.clock.ms))
    paused = await put(two, two.here, "paused", next=None)
    raw = await put(two, two.here, "raw", definition=b"\xff\x00")
    report = await two.go()
    assert report.agrees
    assert report.queues[0].schedules == 3
    assert await two.there.schedules(Q) == [fired, paused, raw]
    assert await two.here.schedules(Q) == []
    with pytest.raises(Moved):
        await put(two, two.here, "digest")
    again = await fire(two, two.there, fired)
    assert (again.fired, again.skipped, again.next) == (2, 4, (fired.next or 0) + 1000)
    assert again.rev > fired.rev


async def test_a_queue_that_has_only_schedules_moves_with_all_others(two: Two) -> None:
    kept = await put(two, two.here, "digest")
    report = await move(*two.sides, waiter=two.clock)
    assert [(q.queue, q.jobs, q.schedules, q.agrees) for q in report.queues] == [(Q, 0, 1, True)]
    assert await two.there.schedules(Q) == [kept]


async def test_more_schedules_move_than_one_page_holds(two: Two) -> None:
    for n in range(1201):
        await put(two, two.here, f"s{n}", definition=b"x" * 20_000 if n % 100 == 0 else b"x")
    before = [await two.here.schedules(Q, after="", limit=5000)]
    report = await two.go()
    assert report.queues[0].schedules == 1201
    assert [await two.there.schedules(Q, after="", limit=5000)] == before


def test_a_call_takes_so_many_bytes_of_definitions_and_at_least_one() -> None:
    large, small = (ScheduleRecord(id="s", queue=Q, definition=b"x" * size) for size in (3_000_000, 1_000_000))
    huge = replace(large, definition=b"x" * 9_000_000)
    assert schedules.chunks([large, small, small, huge, small]) == [[large, small], [small], [huge], [small]]
    assert schedules.chunks([]) == []


async def test_the_way_back_brings_them_back(two: Two) -> None:
    digest = await put(two, two.here, "digest")
    await two.go()
    fired = await fire(two, two.there, digest)
    source, target = two.sides
    report = await move(target, source, [Q], waiter=two.clock)
    assert report.agrees
    assert (await two.here.schedules(Q), await two.there.schedules(Q)) == ([fired], [])


@pytest.mark.parametrize("verb", ["take_schedules", "get_schedules", "checkout", "confirm", "running"])
@pytest.mark.parametrize("after", [False, True])
async def test_an_abort_neither_loses_nor_resets_a_schedule(two: Two, verb: str, after: bool) -> None:
    kept = [await put(two, two.here, "digest"), await fire(two, two.here, await put(two, two.here, "often"))]
    await two.put(two.here, "a", "b")
    here = None if "schedules" in verb else Dying(two.here, verb, 1 + (verb == "running"), after=after)
    there = None if here else Dying(two.there, verb, after=after)
    source, target = two.sides
    dying = (
        Side(store=cast("MovingStore", here or two.here), name="here"),
        Side(store=cast("MovingStore", there or two.there), name="there"),
    )
    with pytest.raises(Killed):
        await move(*dying, [Q], waiter=two.clock)
    assert (await two.here.due(Q)).next_at is None  # nothing fires while the queue stands still
    report = await abort(source, target, [Q], waiter=two.clock)
    assert report.agrees
    assert await two.here.schedules(Q) == kept
    assert await two.there.schedules(Q) == []
    assert (await fire(two, two.here, kept[0])).fired == 1


async def test_what_came_before_the_source_was_lost_fires_at_the_target(two: Two) -> None:
    kept = await put(two, two.here, "digest")
    await two.put(two.here, "a")
    dying = Side(store=cast("MovingStore", Dying(two.here, "confirm")), name="here")
    with pytest.raises(Killed):
        await move(dying, two.sides[1], [Q], waiter=two.clock)
    report = await abandon("here", two.sides[1], [Q], waiter=two.clock)
    assert report.queues[0].schedules == 1
    assert (await fire(two, two.there, kept)).fired == 1


class Late:
    """A source that is settled only after a while, and where a firing that began before the stop still applies."""

    def __init__(self, two: Two) -> None:
        self._two = two

    def __getattr__(self, name: str) -> Any:
        return getattr(self._two.here, name)

    async def authority(self, *args: Any, **more: Any) -> Any:
        answer = await self._two.here.authority(*args, **more)
        return replace(answer, settles_at=answer.now + 1000)

    async def checkout(self, queue: str, *args: Any, **more: Any) -> Any:
        kept = self._two.here.world.queue("queuekit", queue).schedules
        if kept and not kept["digest"].fired:
            kept["digest"] = replace(kept["digest"], rev=kept["digest"].rev + 1, fired=1, next=LATER + 1)
        return await self._two.here.checkout(queue, *args, **more)


async def test_a_firing_that_was_under_way_when_the_source_stopped_is_not_forgotten(two: Two) -> None:
    await put(two, two.here, "digest")
    source = Side(store=cast("MovingStore", Late(two)), name="here")
    report = await move(source, two.sides[1], [Q], waiter=two.clock)
    (there,) = await two.there.schedules(Q)
    assert (there.fired, there.next) == (1, LATER + 1)
    assert report.queues[0].schedules == 1


class Without:
    """A store without the part."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self.capabilities = Capabilities(parts=store.capabilities.parts - {"schedules"}, strays=True)

    def __getattr__(self, name: str) -> Any:
        if "schedule" in name or name in ("due", "fire"):
            raise AttributeError(name)
        return getattr(self._store, name)


async def test_a_target_that_keeps_no_schedules_is_refused_before_anything_begins(two: Two) -> None:
    await put(two, two.here, "digest")
    target = Side(store=cast("MovingStore", Without(two.there)), name="there")
    with pytest.raises(InvalidOption, match=r"it has 1 schedules, and there keeps none.*delete them at here first"):
        await move(two.sides[0], target, [Q], waiter=two.clock)
    assert (await two.here.conf(Q)).epoch == 0
    said = (await plan(two.sides[0], target, [Q], waiter=two.clock)).queues[0]
    assert (said.schedules, len(said.refused)) == (1, 1)
    await two.here.delete_schedule(Q, "digest")
    assert (await move(two.sides[0], target, [Q], waiter=two.clock)).agrees
    assert (await verify(two.sides[0], target, [Q], waiter=two.clock)).agrees


async def test_schedules_of_the_target_are_in_the_way_unless_both_are_meant(two: Two) -> None:
    mine, theirs = await put(two, two.here, "digest"), await put(two, two.there, "other")
    with pytest.raises(InvalidOption, match=r"there has 1 schedules of it already, as other.*--merge"):
        await two.go()
    said = (await plan(*two.sides, [Q], waiter=two.clock)).queues[0]
    assert (said.schedules, said.schedules_at_target, len(said.refused)) == (1, 1, 1)
    report = await two.go(merge=True)
    assert report.agrees
    assert await two.there.schedules(Q) == [mine, theirs]


async def test_one_id_with_two_definitions_is_refused_even_to_a_merge(two: Two) -> None:
    await put(two, two.here, "digest", definition=b"one")
    await put(two, two.there, "digest", definition=b"two")
    with pytest.raises(InvalidOption, match="both sides have a schedule called digest, and not the same"):
        await two.go(merge=True)
    assert (await two.here.conf(Q)).epoch == 0


@pytest.mark.parametrize("later", ["here", "there"])
async def test_of_one_schedule_at_both_sides_the_one_that_fired_last_stays(two: Two, later: str) -> None:
    mine, theirs = await put(two, two.here, "digest"), await put(two, two.there, "digest")
    kept = await fire(two, two.here, mine) if later == "here" else await fire(two, two.there, theirs)
    report = await two.go(merge=True)
    assert report.agrees
    assert await two.there.schedules(Q) == [kept]


async def test_schedules_that_came_apart_behind_the_look_are_named(two: Two) -> None:
    await put(two, two.here, "digest", definition=b"one")
    await put(two, two.here, "same")
    there = two.there.world.queue("queuekit", Q)
    source = Side(store=cast("MovingStore", Dying(two.here, "authority")), name="here")
    with pytest.raises(Killed):
        await move(source, two.sides[1], [Q], waiter=two.clock)
    there.schedules["digest"] = ScheduleRecord(id="digest", queue=Q, definition=b"two", rev=1, next=LATER)
    with pytest.raises(Killed):
        await resume(
            two.sides[0], Side(store=cast("MovingStore", Dying(two.there, "take_schedules", after=True)), name="there"),
            [Q], waiter=two.clock,
        )  # fmt: skip
    report = await resume(*two.sides, [Q], waiter=two.clock)
    assert report.queues[0].schedules_apart == ["digest"]
    assert not report.agrees
    assert [one.definition for one in await two.there.schedules(Q)] == [b"one", b"same"]


class Garbling:
    """A store that keeps something else than it is sent."""

    def __init__(self, store: ModelStore, **change: Any) -> None:
        self._store, self._change = store, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def take_schedules(self, queue: str, epoch: int, records: list[ScheduleRecord]) -> None:
        if self._change:
            await self._store.take_schedules(queue, epoch, [replace(one, **self._change) for one in records])


@pytest.mark.parametrize("change", [{"next": 7}, {"definition": b""}, {"fired": 9}, {"last_job": "x"}, {"rev": 1}, {}])
async def test_what_reads_back_as_something_else_stops_the_move(two: Two, change: dict[str, Any]) -> None:
    kept = await put(two, two.here, "digest")
    target = Side(store=cast("MovingStore", Garbling(two.there, **change)), name="there")
    with pytest.raises(MoveStopped, match="1 schedules read back at there are not what was sent: digest"):
        await move(two.sides[0], target, [Q], waiter=two.clock)
    report = await abort(*two.sides, [Q], waiter=two.clock)
    assert report.agrees is ("definition" not in change)  # then it is named as well
    assert await two.here.schedules(Q) == [kept]


async def test_what_a_source_fired_that_forgot_the_move_is_named(two: Two) -> None:
    """It rolled back when the target worked: from both, slots of a while may have fired."""
    await put(two, two.here, "quiet")
    digest = await put(two, two.here, "digest")
    await two.put(two.here, "a")
    await two.claim(two.here, 1)  # a job that runs: the move has a tail
    data = two.here.world.queue("queuekit", Q)
    before = replace(data.conf), dict(data.schedules)
    source = Side(store=cast("MovingStore", Dying(two.here, "recover")), name="here")
    with pytest.raises(Killed):
        await move(source, two.sides[1], [Q], waiter=two.clock)
    assert (await two.there.conf(Q)).home is Home.HERE
    data.conf, data.schedules = before  # and the replica that took over knows of no move
    two.clock.ms += 5
    await fire(two, two.here, digest)
    there = await fire(two, two.there, digest)
    report = await resume(*two.sides, [Q], waiter=two.clock)
    assert report.queues[0].schedules_apart == ["digest"]
    assert not report.agrees
    assert (await two.there.get_schedules(Q, ["digest"])) == [there]


async def test_verify_compares_copies_and_finds_what_was_left_behind(two: Two) -> None:
    digest = await put(two, two.here, "digest")
    await put(two, two.here, "same")
    verdict = await verify(*two.sides, [Q], waiter=two.clock)
    assert (verdict.queues[0].source_schedules, verdict.queues[0].target_schedules) == (2, 0)
    assert (verdict.queues[0].differences, verdict.queues[0].schedules_apart) == (2, ["digest", "same"])
    await two.there.take_schedules(Q, 0, await two.here.schedules(Q))
    assert (await verify(*two.sides, [Q], waiter=two.clock)).agrees
    await fire(two, two.there, digest)
    assert (await verify(*two.sides, [Q], waiter=two.clock)).queues[0].schedules_apart == ["digest"]
    two.there.world.queues.clear()
    await two.go()
    assert (await verify(*two.sides, [Q], waiter=two.clock)).agrees
    two.here.world.queue("queuekit", Q).schedules["digest"] = digest
    verdict = await verify(*two.sides, [Q], waiter=two.clock)
    assert (verdict.agrees, verdict.queues[0].schedules_apart) == (False, ["digest"])


async def test_jobs_of_single_states_leave_schedules_alone(two: Two) -> None:
    mine, theirs = await put(two, two.here, "digest"), await put(two, two.there, "other")
    await two.put(two.here, "a")
    await two.end(two.here, await two.claim(two.here, 1), Kind.COMPLETED)
    report = await move_states(*two.sides, [Q], [State.COMPLETED], waiter=two.clock)
    assert (report.jobs, report.queues[0].schedules) == (1, 0)
    assert (await two.here.schedules(Q), await two.there.schedules(Q)) == ([mine], [theirs])


async def test_a_target_that_knows_nothing_leaves_the_source_its_schedules(two: Two) -> None:
    kept = await put(two, two.here, "digest")
    dying = Side(store=cast("MovingStore", Dying(two.there, "take_schedules", after=True)), name="there")
    with pytest.raises(Killed):
        await move(two.sides[0], dying, [Q], waiter=two.clock)
    empty = Side(store=cast("MovingStore", ModelStore(ModelWorld(two.clock.now))), name="there")
    report = await abort(two.sides[0], empty, [Q], waiter=two.clock)
    assert report.queues[0].phase is Phase.BACK
    assert await two.here.schedules(Q) == [kept]
    assert (await fire(two, two.here, kept)).fired == 1


async def test_a_forgotten_mover_copies_nothing_any_more(two: Two) -> None:
    kept = await put(two, two.here, "digest")
    await two.go()
    conf = await two.there.conf(Q)
    fired = await fire(two, two.there, kept)
    for epoch in range(conf.epoch):
        with pytest.raises(Conflict):
            await two.there.take_schedules(Q, epoch, [replace(kept, rev=fired.rev + 1)])
    assert await two.there.schedules(Q) == [fired]
    assert (await two.there.enqueue(Q, [JobSpec(id="x", task="t", body=b"")], Op("p", 1))).receipts
