"""What one look at a queue's schedules does: which slots make jobs, what is skipped, what stays due."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from queuekit.domain.job import BATCH_MAX, JobSpec
from queuekit.domain.limits import Limits, redeclare
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.schedule import FIRE_MAX, Firing, ScheduleRecord
from queuekit.domain.scheduled import Definition
from queuekit.domain.state import State
from queuekit.domain.timetable import slot_name
from queuekit.errors import Moved, PayloadTooLarge, StoreUnavailable
from queuekit.runtime.firing import AGAIN, BROKEN, BYTES, LOOK, Firer
from queuekit.testing import VirtualClock
from queuekit.testing.model import ModelStore, ModelWorld
from tests.runtime.schedules import record

MINUTE = 60_000


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> ModelStore:
    return ModelStore(ModelWorld(clock.ms))


@pytest.fixture
def firer(store: ModelStore) -> Firer:
    return Firer(store, "default")


async def one(store: ModelStore, name: str) -> ScheduleRecord:
    (found,) = await store.get_schedules("default", [name])
    assert found is not None
    return found


async def jobs(store: ModelStore, name: str) -> list[str]:
    """Slots of a schedule's jobs that are kept, in order."""
    with store.world.lock:
        made = [job.id for data in store.world.queues.values() for job in data.jobs.values()]
    return sorted(job.partition("@")[2] for job in made if job.startswith(f"{name}@"))


async def fire(firer: Firer) -> int:
    """Until nothing is due: how many looks it took."""
    for looks in range(1, 1000):
        if not (await firer.round()).more:
            return looks
    raise AssertionError("it never comes to rest")


async def end_jobs(store: ModelStore) -> None:
    """Run everything that waits."""
    said = await store.exchange("default", Op("w", 1), [], Ask(want=BATCH_MAX, worker="w"))
    ends = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in said.claims]
    await store.exchange("default", Op("w", 2), ends, Ask(want=0, worker="w"))
    with store.world.lock:
        store.world.queue(store.namespace, "default").ops.clear()


async def test_a_slot_fires_when_it_has_come_and_once(store: ModelStore, clock: VirtualClock, firer: Firer) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m"))
    done = await firer.round()
    assert (done.fired, done.next_in, done.more) == (0, MINUTE, False)
    due = (await one(store, "s")).next
    assert due is not None
    clock.travel(minutes=1)
    done = await firer.round()
    assert (done.fired, done.next_in, done.more) == (1, MINUTE, False)
    assert (await firer.round()).fired == 0
    assert await jobs(store, "s") == [slot_name(due)]


async def test_who_comes_second_changes_nothing_and_is_told(store: ModelStore, clock: VirtualClock) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", missed="all"))
    clock.travel(minutes=1)
    late = Firer(store, "default")
    plain = store.fire

    async def overtaken(queue: str, firings: Any) -> Any:
        store.fire = plain  # type: ignore[method-assign]
        await Firer(store, "default").round()
        return await plain(queue, firings)

    store.fire = overtaken  # type: ignore[method-assign]
    done = await late.round()
    assert (done.fired, done.lost, done.more) == (0, 1, True)
    assert (await one(store, "s")).fired == 1


@pytest.mark.parametrize(
    ("rule", "made", "skipped"),
    [
        ({}, [5], 4),
        ({"missed": "skip"}, [5], 4),
        ({"missed": "skip", "grace": "10s"}, [5], 4),
        ({"missed": "all"}, [1, 2, 3, 4, 5], 0),
        ({"missed": "all", "grace": "150s"}, [3, 4, 5], 2),
    ],
)
async def test_nobody_over_five_slots(
    store: ModelStore, clock: VirtualClock, firer: Firer, rule: dict[str, Any], made: list[int], skipped: int
) -> None:
    begun = clock.ms()
    await store.put_schedule("default", record("s", begun, every="1m", **rule))
    clock.travel(minutes=5)
    await fire(firer)
    assert await jobs(store, "s") == [slot_name(begun + n * MINUTE) for n in made]
    assert (await one(store, "s")).skipped == skipped


async def test_a_missed_slot_too_late_makes_none(store: ModelStore, clock: VirtualClock, firer: Firer) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1h", missed="skip"))
    clock.travel(minutes=62)
    await fire(firer)
    kept = await one(store, "s")
    assert (kept.fired, kept.skipped, await jobs(store, "s")) == (0, 1, [])


@pytest.mark.parametrize("state", ["waiting", "delayed", "active", "ended", "removed"])
async def test_overlap_skip_looks_at_the_last_job(
    store: ModelStore, clock: VirtualClock, firer: Firer, state: str
) -> None:
    form = {"delay": 10 * MINUTE} if state == "delayed" else None
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="skip", form=form))
    clock.travel(minutes=1)
    await fire(firer)
    if state == "active":
        await store.exchange("default", Op("w", 1), [], Ask(want=1, worker="w"))
    if state in ("ended", "removed"):
        await end_jobs(store)
    if state == "removed":
        await store.prune("default", state=State.COMPLETED)
    clock.travel(minutes=1)
    await fire(firer)
    kept = await one(store, "s")
    overlaps = state in ("waiting", "delayed", "active")
    assert (kept.fired, kept.skipped) == ((1, 1) if overlaps else (2, 0))
    assert kept.next == clock.ms() + MINUTE


async def test_overlap_skip_makes_one_of_several_slots_and_counts_no_slot_it_skipped(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="skip", missed="all", count=3))
    begun = clock.ms()
    clock.travel(minutes=5)
    await fire(firer)
    assert await jobs(store, "s") == [slot_name(begun + MINUTE)]
    assert (await one(store, "s")).skipped == 4
    for _ in range(4):
        await end_jobs(store)
        clock.travel(minutes=1)
        await fire(firer)
    kept = await one(store, "s")
    assert (kept.fired, kept.next) == (3, None)


async def test_overlap_replace_cancels_the_last_job_and_says_why(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="replace", missed="all"))
    clock.travel(minutes=1)
    await fire(firer)
    clock.travel(minutes=3)
    await fire(firer)
    first, second = await jobs(store, "s")
    before, after = await store.get("default", [f"s@{first}", f"s@{second}"])
    assert before is not None
    assert after is not None
    assert (before.state, after.state) == (State.CANCELLED, State.WAITING)
    assert before.reason == f"replaced by slot {slot_name(clock.ms())} of schedule s"
    assert (await one(store, "s")).skipped == 2


async def test_a_running_job_is_asked_to_stop_when_it_is_replaced(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="replace"))
    clock.travel(minutes=1)
    await fire(firer)
    await store.exchange("default", Op("w", 1), [], Ask(want=1, worker="w"))
    clock.travel(minutes=1)
    await fire(firer)
    first, second = await jobs(store, "s")
    (running,) = await store.get("default", [f"s@{first}"])
    assert second
    assert running is not None
    assert running.cancel is not None


async def test_dying_between_cancel_and_firing_leaves_the_slot_due(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="replace"))
    clock.travel(minutes=1)
    await fire(firer)
    clock.travel(minutes=1)
    plain = store.fire

    async def away(queue: str, firings: Any) -> Any:
        raise StoreUnavailable("gone")

    store.fire = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await firer.round()
    store.fire = plain  # type: ignore[method-assign]
    assert len(await jobs(store, "s")) == 1
    await fire(Firer(store, "default"))
    assert len(await jobs(store, "s")) == 2


async def test_a_definition_nobody_can_read_stops_no_other_and_is_told_once(
    store: ModelStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    failed: list[str] = []
    firer = Firer(store, "default", failed=lambda queue, error: failed.append(f"{queue} {error}"))
    for name in ("a", "z"):
        await store.put_schedule("default", record(name, clock.ms(), every="1m"))
    for n in range(300):  # more than one look takes, and due before all others
        broken = replace(record(f"m{n}", clock.ms(), every="1m", first=clock.ms()), definition=b'{"v":99}')
        await store.put_schedule("default", broken)
    clock.travel(minutes=1)
    for _ in range(3):
        await fire(firer)
        clock.travel(minutes=1)
    assert (len(await jobs(store, "a")), len(await jobs(store, "z"))) == (3, 3)
    told = [line.getMessage() for line in caplog.records if line.levelno == logging.ERROR]
    assert len(told) == len(failed) == 300
    assert any("schedule m7: it cannot be fired: SchemaMismatch: its definition has format 99" in line for line in told)


async def test_a_rule_that_raises_stops_no_other(
    store: ModelStore, clock: VirtualClock, firer: Firer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        await store.put_schedule("default", record(name, clock.ms(), every="1m"))
    plain = Definition.job

    def job(self: Definition, name: str, slot: int) -> JobSpec:
        if name == "a":
            raise RuntimeError("zone data is gone")
        return plain(self, name, slot)

    monkeypatch.setattr(Definition, "job", job)
    clock.travel(minutes=1)
    await fire(firer)
    assert (await jobs(store, "a"), len(await jobs(store, "b"))) == ([], 1)
    monkeypatch.undo()
    clock.travel(minutes=2)  # what it says did not change, but zone data may have
    await fire(firer)
    assert len(await jobs(store, "a")) == 1


async def test_a_job_that_fits_no_store_stops_no_other(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    world = ModelWorld(clock.ms)
    large, small = ModelStore(world), ModelStore(world, limit=1000)
    await large.put_schedule("default", record("big", clock.ms(), every="1m", body=b"j" + b'"' + b"x" * 2000 + b'"'))
    for n in range(3):
        await large.put_schedule("default", record(f"s{n}", clock.ms(), every="1m"))
    clock.travel(minutes=1)
    firer = Firer(small, "default")
    await fire(firer)
    await fire(firer)
    assert [len(await jobs(small, name)) for name in ("big", "s0", "s1", "s2")] == [0, 1, 1, 1]
    told = [line.getMessage() for line in caplog.records if "schedule big" in line.getMessage()]
    assert len(told) == 1
    assert PayloadTooLarge.__name__ in told[0]


async def test_a_full_queue_is_tried_again_after_a_second_and_told_once(
    store: ModelStore, clock: VirtualClock, firer: Firer, caplog: pytest.LogCaptureFixture
) -> None:
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=1)))
    await store.enqueue("default", [JobSpec(id="there", task="t", body=b"j{}")], Op("p", 1))
    await store.put_schedule("default", record("s", clock.ms(), every="1m"))
    clock.travel(minutes=1)
    for _ in range(3):
        done = await firer.round()
        assert (done.fired, done.next_in, done.more) == (0, AGAIN, False)
        clock.travel(AGAIN / 1000)
    told = [line for line in caplog.records if line.levelno == logging.WARNING]
    assert len(told) == 1
    assert "schedule s" in told[0].getMessage()
    assert "full" in told[0].getMessage()
    await end_jobs(store)
    assert (await firer.round()).fired == 1


async def test_schedules_that_cannot_fire_and_fill_an_answer_hide_no_other(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    size = BYTES // 8 - 100  # of the definitions: what one `due` answers holds no other
    for n in range(9):
        broken = replace(record(f"m{n}", 0, every="1m", first=1), definition=b'{"v":99,"x":"%s"}' % (b"x" * size))
        await store.put_schedule("default", broken)
    for n in range(LOOK + 1):
        await store.put_schedule("default", record(f"s{n}", clock.ms(), every="1m"))
    clock.travel(minutes=1)
    assert await fire(firer) < 10
    assert [len(await jobs(store, f"s{n}")) for n in range(LOOK + 1)] == [1] * (LOOK + 1)
    done = await firer.round()
    assert (done.fired, done.next_in, done.more) == (0, AGAIN, False)


async def test_a_full_queue_of_many_schedules_is_asked_for_room_once_a_second(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    asked: list[int] = []
    plain = store.fire

    async def counted(queue: str, firings: Sequence[Firing]) -> Any:
        asked.append(len(firings))
        return await plain(queue, firings)

    store.fire = counted  # type: ignore[method-assign]
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=1)))
    await store.enqueue("default", [JobSpec(id="there", task="t", body=b"j{}")], Op("p", 1))
    body = b'j"%s"' % (b"x" * (BYTES // 20))
    for n in range(50):  # more than fit into an answer
        await store.put_schedule("default", record(f"s{n:02}", clock.ms(), every="1m", body=body))
    clock.travel(minutes=1)
    await fire(firer)
    for _ in range(5):
        asked.clear()
        clock.travel(AGAIN / 1000)
        assert await fire(firer) == 1
        assert asked == [1]
    await store.configure("default", redeclare(await store.conf("default"), Limits()))
    clock.travel(AGAIN / 1000)
    await fire(firer)
    assert [len(await jobs(store, f"s{n:02}")) for n in range(50)] == [1] * 50


async def test_a_queue_that_was_full_is_forgotten_beside_a_schedule_that_stays_due(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=1)))
    await store.enqueue("default", [JobSpec(id="there", task="t", body=b"j{}")], Op("p", 1))
    broken = replace(record("m", clock.ms(), every="1m"), definition=b'{"v":99}')
    for one in (broken, record("s", clock.ms(), every="1m")):
        await store.put_schedule("default", one)
    clock.travel(minutes=1)
    assert (await firer.round()).next_in == AGAIN
    await store.delete_schedule("default", "s")
    clock.travel(AGAIN / 1000)
    await firer.round()
    clock.travel(AGAIN / 1000)
    assert (await firer.round()).next_in == BROKEN - 2 * AGAIN


async def test_a_clock_that_is_set_back_lets_no_schedule_wait_for_it(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=1)))
    await store.enqueue("default", [JobSpec(id="there", task="t", body=b"j{}")], Op("p", 1))
    begun = clock.ms()
    await store.put_schedule("default", record("s", begun, every="1m"))
    clock.travel(days=1)
    assert (await firer.round()).fired == 0
    await end_jobs(store)
    store.world.now = lambda: begun + 2 * MINUTE
    assert (await firer.round()).fired == 1


async def test_what_is_remembered_of_schedules_is_bounded(store: ModelStore, clock: VirtualClock, firer: Firer) -> None:
    body = b'j"%s"' % (b"x" * (BYTES // 64))
    for n in range(300):
        await store.put_schedule("default", record(f"s{n}", clock.ms(), every="1h", body=body))
        broken = replace(record(f"m{n}", clock.ms(), every="1h"), definition=b'{"v":99}')
        await store.put_schedule("default", broken)
    clock.travel(hours=1)
    await fire(firer)
    assert sum(len(data) for data, _ in firer._read.values()) <= 4 * BYTES
    assert len(firer._stuck) == 300
    for n in range(300):
        await store.delete_schedule("default", f"m{n}")
    clock.travel(minutes=10)
    await firer.round()
    assert not firer._stuck


async def test_a_queue_that_was_full_is_forgotten_when_nothing_is_due(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=1)))
    await store.enqueue("default", [JobSpec(id="there", task="t", body=b"j{}")], Op("p", 1))
    await store.put_schedule("default", record("s", clock.ms(), every="1m"))
    clock.travel(minutes=1)
    await firer.round()
    await store.delete_schedule("default", "s")
    assert (await firer.round()).next_in is None


async def test_more_missed_slots_than_the_queue_has_room_for_come_in_smaller_pieces(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.configure("default", redeclare(await store.conf("default"), Limits(max_size=7)))
    await store.put_schedule("default", record("s", clock.ms(), every="1m", missed="all"))
    clock.travel(minutes=40)
    for _ in range(40):
        await fire(firer)
        await end_jobs(store)
        clock.travel(2)
    assert len(await jobs(store, "s")) >= 40
    assert (await one(store, "s")).skipped == 0


async def test_a_large_backlog_comes_in_pieces_and_others_are_not_behind_it(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("old", clock.ms(), every="1s", missed="all"))
    clock.travel(hours=1)
    await store.put_schedule("default", record("new", clock.ms(), every="1m", first=clock.ms()))
    done = await firer.round()
    assert (done.fired, done.more) == (2, True)
    assert (len(await jobs(store, "old")), len(await jobs(store, "new"))) == (FIRE_MAX, 1)
    await fire(firer)
    assert len(await jobs(store, "old")) == 3600


async def test_many_backlogs_share_a_call(store: ModelStore, clock: VirtualClock, firer: Firer) -> None:
    calls: list[int] = []
    plain = store.fire

    async def counted(queue: str, firings: Sequence[Firing]) -> Any:
        calls.append(sum(len(firing.jobs) for firing in firings))
        return await plain(queue, firings)

    store.fire = counted  # type: ignore[method-assign]
    for n in range(50):
        await store.put_schedule("default", record(f"s{n}", clock.ms(), every="1s", missed="all"))
    clock.travel(minutes=1)
    await firer.round()
    assert sum(calls) == 50 * (BATCH_MAX // 50)
    assert max(calls) <= BATCH_MAX
    await fire(firer)
    assert sum(calls) == 50 * 60


async def test_a_call_carries_a_bounded_number_of_bytes(clock: VirtualClock) -> None:
    store = ModelStore(ModelWorld(clock.ms), limit=BYTES)
    sizes: list[int] = []
    plain = store.fire

    async def counted(queue: str, firings: Sequence[Firing]) -> Any:
        sizes.append(sum(len(job.body) for firing in firings for job in firing.jobs))
        return await plain(queue, firings)

    store.fire = counted  # type: ignore[method-assign]
    body = b'j"' + b"x" * (BYTES // 3) + b'"'
    for name in ("a", "b"):
        await store.put_schedule("default", record(name, clock.ms(), every="1s", missed="all", body=body))
    clock.travel(5)
    await fire(Firer(store, "default"))
    assert (len(await jobs(store, "a")), len(await jobs(store, "b"))) == (5, 5)
    assert max(sizes) <= BYTES


async def test_nothing_fires_where_the_queue_does_not_live(
    store: ModelStore, clock: VirtualClock, firer: Firer
) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m"))
    await store.authority("default", 1, "m", Home.MOVING, "other")
    clock.travel(minutes=1)
    done = await firer.round()
    assert (done.fired, done.next_in, done.more) == (0, None, False)


async def test_a_move_that_begins_between_look_and_firing_is_told(store: ModelStore, clock: VirtualClock) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m"))
    clock.travel(minutes=1)
    plain = store.fire

    async def moving(queue: str, firings: Any) -> Any:
        await store.authority("default", 1, "m", Home.MOVING, "other")
        return await plain(queue, firings)

    store.fire = moving  # type: ignore[method-assign]
    with pytest.raises(Moved):
        await Firer(store, "default").round()


async def test_no_firing_begins_after_a_stop_was_asked(store: ModelStore, clock: VirtualClock) -> None:
    await store.put_schedule("default", record("s", clock.ms(), every="1m", overlap="replace"))
    clock.travel(minutes=1)
    done = await Firer(store, "default", stopped=lambda: True).round()
    assert (done.fired, done.more, await jobs(store, "s")) == (0, False, [])


async def test_no_call_begins_after_a_stop_was_asked_between_two(clock: VirtualClock) -> None:
    store = ModelStore(ModelWorld(clock.ms), limit=BYTES)
    stopping: list[int] = []
    plain = store.fire

    async def stops(queue: str, firings: Sequence[Firing]) -> Any:
        stopping.append(len(firings))
        return await plain(queue, firings)

    store.fire = stops  # type: ignore[method-assign]
    body = b'j"' + b"x" * (BYTES // 3) + b'"'  # what is due of each fills a call
    for name in ("a", "b"):
        await store.put_schedule("default", record(name, clock.ms(), every="1s", missed="all", body=body))
    clock.travel(5)
    done = await Firer(store, "default", stopped=lambda: bool(stopping)).round()
    assert (stopping, done.fired, done.more) == ([1], 1, False)


async def test_what_was_missed_and_what_fired_late_is_told(
    store: ModelStore, clock: VirtualClock, firer: Firer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await store.put_schedule("default", record("s", clock.ms(), cron="0 9 * * *"))
    clock.travel(days=3)
    await fire(firer)
    said = [(line.levelno, line.getMessage()) for line in caplog.records]
    assert any(level == logging.INFO and "schedule s: 2 slots were missed" in text for level, text in said)
    assert any("schedule s: fired s@" in text and " s late" in text for _, text in said)


@pytest.mark.parametrize("wrong", [-9e9, 9e9])
async def test_the_clock_of_this_machine_does_not_matter(
    store: ModelStore, clock: VirtualClock, firer: Firer, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    import time

    plain = time.time
    monkeypatch.setattr(time, "time", lambda: plain() + wrong)
    monkeypatch.setattr(time, "time_ns", lambda: int((plain() + wrong) * 1e9))
    begun = clock.ms()
    await store.put_schedule("default", record("s", begun, every="1m", missed="all"))
    clock.travel(minutes=3)
    await fire(firer)
    assert await jobs(store, "s") == [slot_name(begun + n * MINUTE) for n in (1, 2, 3)]
