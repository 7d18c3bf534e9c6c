"""Schedules fire: jobs and record in one step, each firing by itself; where the store has the part."""

from __future__ import annotations

import dataclasses
from typing import cast

import pytest

from queuekit.domain.job import BATCH_MAX, KEEP_ALL, KEEP_NOTHING, JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.schedule import FIRE_MAX, Fired, NoFire
from queuekit.domain.state import State
from queuekit.errors import InvalidOption, PayloadTooLarge, Unsupported
from queuekit.store.parts import SchedulingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import woken
from queuekit.testing.conformance.slots import due, fire, firing, kept, now, read, refusals
from queuekit.testing.conformance.words import (
    DAY,
    HOUR,
    MINUTE,
    Producer,
    Q,
    Worker,
    change,
    counted,
    created,
    look,
    names,
    receipts,
    set_limits,
    spec,
    specs,
    state,
    tidy,
    totals,
)


async def test_a_firing_makes_its_jobs_and_moves_its_schedule(scheduling: SchedulingStore) -> None:
    before = await kept(scheduling, next=5, fired=7, skipped=1, last_job="s@4")
    answer = await fire(scheduling, before, "s@5", spec("s@6", body=b"six"), next_at=7, skipped=2)
    assert answer == Fired(id="s", receipts=tuple(receipts(("s@5", True), ("s@6", True))))
    after = await read(scheduling)
    assert after == dataclasses.replace(before, rev=after.rev, next=7, fired=9, skipped=3, last_job="s@6")
    assert after.rev > before.rev
    assert [(job.id, job.body) for job in await Worker(scheduling).claim(9)] == [("s@5", b"j{}"), ("s@6", b"six")]
    assert (await totals(scheduling)).enqueued == 2


async def test_a_firing_without_jobs_skips_its_slot(scheduling: SchedulingStore) -> None:
    before = await kept(scheduling, next=5, fired=7, last_job="s@4")
    assert await fire(scheduling, before, next_at=6, skipped=1) == Fired(id="s")
    after = await read(scheduling)
    assert after == dataclasses.replace(before, rev=after.rev, next=6, skipped=1)
    assert (await counted(scheduling), (await totals(scheduling)).enqueued) == ({}, 0)


async def test_a_slot_is_fired_once(harness: Harness, open_store: Open, scheduling: SchedulingStore) -> None:
    """However late the repeat comes, and whatever became of the job; what it names has no effect."""
    before = await kept(scheduling, next=5)
    slot = firing(before, spec("s@5", keep_completed=KEEP_NOTHING), next_at=6)
    assert refusals(await scheduling.fire(Q, [slot])) == [None]
    after = await read(scheduling)
    worker = Worker(scheduling)
    assert refusals(await cast("SchedulingStore", await open_store()).fire(Q, [slot])) == [NoFire.CHANGED]
    await worker.end(await worker.take("s@5"))
    await harness.advance(2 * DAY)
    await tidy(scheduling)
    assert await scheduling.fire(Q, [slot]) == [Fired(id="s", no=NoFire.CHANGED)]
    assert (await fire(scheduling, before, "another", next_at=9)).no is NoFire.CHANGED
    assert (await read(scheduling), await counted(scheduling)) == (after, {})
    assert (await totals(scheduling)).enqueued == 1


async def test_what_was_read_before_a_change_is_not_fired(scheduling: SchedulingStore) -> None:
    first = await kept(scheduling, next=5)
    second = await scheduling.put_schedule(Q, dataclasses.replace(first, definition=b"another"))
    ahead = dataclasses.replace(second, rev=second.rev + 1)
    none = dataclasses.replace(second, id="none", rev=0)
    for record in (first, ahead, none):
        assert await fire(scheduling, record, "a") == Fired(id=record.id, no=NoFire.CHANGED)
    assert (await scheduling.schedules(Q), await counted(scheduling)) == ([second], {})


async def test_firings_of_one_call_are_applied_each_by_itself(scheduling: SchedulingStore) -> None:
    records = [await kept(scheduling, name, next=5) for name in "dcba"]
    records[1].rev += 1
    call = [firing(record, f"{record.id}1", f"{record.id}2", next_at=6) for record in records]
    call.insert(2, firing(dataclasses.replace(records[0], id="none"), "none"))
    answers = await scheduling.fire(Q, call)
    assert [answer.id for answer in answers] == ["d", "c", "none", "b", "a"]
    assert refusals(answers) == [None, NoFire.CHANGED, NoFire.CHANGED, None, None]
    assert names(await Worker(scheduling).claim(9)) == ["d1", "d2", "b1", "b2", "a1", "a2"]
    assert [one.next for one in await scheduling.schedules(Q)] == [6, 6, 5, 6]
    assert await scheduling.fire(Q, []) == []


async def test_a_schedule_is_fired_whether_it_is_due_or_not(scheduling: SchedulingStore) -> None:
    """A person may fire it now: paused, or with its slot to come, which stays."""
    later = await now(scheduling) + HOUR
    paused, coming = await kept(scheduling, "paused"), await kept(scheduling, "coming", next=later)
    answers = await scheduling.fire(Q, [firing(paused, "a"), firing(coming, "b", next_at=later)])
    assert refusals(answers) == [None, None]
    assert await due(scheduling) == []
    assert [one.next for one in await scheduling.schedules(Q)] == [later, None]
    assert names(await Worker(scheduling).claim(9)) == ["a", "b"]


def plain(job: JobRecord) -> JobRecord:
    """What two jobs made by one spec in two queues have alike."""

    def since(moment: int | None) -> int | None:
        return None if moment is None else moment - job.created_at

    return dataclasses.replace(
        job, queue="", place=0, created_at=0, run_at=since(job.run_at), expires_at=since(job.expires_at)
    )


async def test_a_fired_job_is_as_enqueue_makes_it(scheduling: SchedulingStore) -> None:
    jobs: list[JobSpec] = [
        spec("plain", body=bytes(range(256)), options=b"\x00o", trace="t", version=3, priority=2),
        spec("kept", keep_completed=Retention(5, HOUR), keep_failed=KEEP_NOTHING, body=b"x" * 5000),
        spec("soon", delay=MINUTE, expires_in=HOUR),
        spec("at once", delay=0, expires_in=HOUR),
    ]
    await Producer(scheduling, "plain").put(*jobs)
    assert created_all(await fire(scheduling, await kept(scheduling), *jobs))
    ids = [job.id for job in jobs]
    made, like = await scheduling.get(Q, ids), await scheduling.get("plain", ids)
    assert [plain(job) for job in made if job is not None] == [plain(job) for job in like if job is not None]
    assert None not in made


def created_all(answer: Fired) -> bool:
    """Whether a firing was applied and each of its jobs is new."""
    return answer.no is None and all(receipt.created for receipt in answer.receipts)


async def test_a_fired_job_waits_for_its_time(harness: Harness, scheduling: SchedulingStore) -> None:
    moment = await now(scheduling)
    jobs = [spec("late", run_at=moment + HOUR), spec("past", run_at=moment - 1)]
    assert created_all(await fire(scheduling, await kept(scheduling), *jobs))
    assert await counted(scheduling) == {State.WAITING: 1, State.DELAYED: 1}
    assert ((await look(scheduling, "late")).run_at, (await look(scheduling, "past")).run_at) == (
        moment + HOUR,
        moment - 1,
    )
    worker = Worker(scheduling)
    assert names(await worker.claim(9)) == ["past"]
    await harness.advance(2 * HOUR)
    assert names(await worker.claim(9)) == ["late"]


async def test_fired_jobs_stand_where_enqueued_ones_would(scheduling: SchedulingStore) -> None:
    await Producer(scheduling).put("a", "b")
    jobs = [spec("c"), spec("first", lifo=True), spec("urgent", priority=1), spec("d")]
    assert created_all(await fire(scheduling, await kept(scheduling), *jobs))
    await Producer(scheduling).put("e")
    assert names(await Worker(scheduling).claim(9)) == ["urgent", "first", "a", "b", "c", "d", "e"]


async def test_an_id_that_exists_is_fired_without_a_new_job(scheduling: SchedulingStore) -> None:
    await Producer(scheduling).put(spec("a", body=b"old"))
    one, two = await kept(scheduling, "one"), await kept(scheduling, "two")
    answers = await scheduling.fire(Q, [firing(one, spec("b"), spec("b"), spec("a", body=b"new")), firing(two, "b")])
    assert [list(answer.receipts) for answer in answers] == [
        receipts(("b", True), ("b", False), ("a", False)),
        receipts(("b", False)),
    ]
    assert [(r.fired, r.last_job) for r in await scheduling.schedules(Q)] == [(3, "a"), (1, "b")]
    assert ((await look(scheduling, "a")).body, (await totals(scheduling)).enqueued) == (b"old", 2)
    assert names(await Worker(scheduling).claim(9)) == ["a", "b"]


# ---- unique keys


@pytest.mark.parametrize("how", ["existing", "error"])
async def test_a_held_key_is_fired_as_its_holder(able: SchedulingStore, scheduling: SchedulingStore, how: str) -> None:
    """A slot has nobody to tell of a conflict; the schedule knows that the holder is its last job."""
    key = UniqueKey("k", on_conflict=how)  # type: ignore[arg-type]  # a Literal by value
    answer = await fire(
        scheduling, await kept(scheduling), spec("a", unique=key), spec("b", unique=key), "c", next_at=2
    )
    assert list(answer.receipts) == receipts(("a", True), ("a", False), ("c", True))
    answer = await fire(scheduling, await read(scheduling), spec("d", unique=key), next_at=3)
    assert answer == Fired(id="s", receipts=tuple(receipts(("a", False))))
    record = await read(scheduling)
    assert (record.next, record.fired, record.last_job) == (3, 4, "a")
    worker = Worker(scheduling)
    assert names(await worker.claim(9)) == ["a", "c"]
    assert (await totals(scheduling)).enqueued == 2


async def test_a_key_is_free_for_the_slot_after_its_job_ended(
    harness: Harness, able: SchedulingStore, scheduling: SchedulingStore
) -> None:
    timed = UniqueKey("t", "time", "existing", HOUR)
    jobs = [spec("a", unique=UniqueKey("k")), spec("b", unique=UniqueKey("l", "started")), spec("c", unique=timed)]
    assert created_all(await fire(scheduling, await kept(scheduling), *jobs))
    worker = Worker(scheduling)
    for job in await worker.claim(3):
        await worker.end(job, Kind.FAILED)
    again = [dataclasses.replace(job, id=f"{job.id}2") for job in jobs]
    answer = await fire(scheduling, await read(scheduling), *again)
    assert list(answer.receipts) == receipts(("a2", True), ("b2", True), ("c", False))
    await harness.advance(2 * HOUR)
    assert created_all(await fire(scheduling, await read(scheduling), dataclasses.replace(jobs[2], id="c3")))


async def test_a_slot_may_replace_the_job_of_the_one_before(able: SchedulingStore, scheduling: SchedulingStore) -> None:
    key = UniqueKey("k", on_conflict="replace")
    record = await kept(scheduling)
    assert created_all(await fire(scheduling, record, spec("a", unique=key, body=b"old"), "z"))
    new = spec("b", unique=key, body=b"new", priority=3)
    assert list((await fire(scheduling, await read(scheduling), new)).receipts) == receipts(("a", False))
    (job,) = await Worker(scheduling).claim()
    assert (job.id, job.body, job.priority) == ("a", b"new", 3)
    assert list((await fire(scheduling, await read(scheduling), spec("c", unique=key))).receipts) == receipts(
        ("a", False)
    )
    assert (await look(scheduling, "a")).body == b"new"
    assert await state(scheduling, "c") is None


# ---- what refuses


async def test_a_firing_that_does_not_fit_into_the_queue_is_full(scheduling: SchedulingStore) -> None:
    await set_limits(scheduling, max_size=3)
    await Producer(scheduling).put("a", spec("b", delay=HOUR))
    one, two, three, four = [await kept(scheduling, name, next=5) for name in ("1", "2", "3", "4")]
    call = [firing(one, "c", "d", next_at=6), firing(two, "c", "a", next_at=6), firing(three, "e"), firing(four)]
    answers = await scheduling.fire(Q, call)
    assert refusals(answers) == [NoFire.FULL, None, NoFire.FULL, None]
    assert [r.created for r in answers[1].receipts] == [True, False]
    assert await scheduling.schedules(Q) == [one, await read(scheduling, "2"), three, await read(scheduling, "4")]
    assert [await state(scheduling, name) for name in "cde"] == [State.WAITING, None, None]
    assert created(await Producer(scheduling).put("a")) == [False]
    assert (await change(scheduling, "b", Verb.DELETE)).ok
    assert created_all(await fire(scheduling, three, "e"))


async def test_a_call_over_the_limits_is_refused_whole(open_store: Open, scheduling: SchedulingStore) -> None:
    store = cast("SchedulingStore", await open_store(payload_limit=1000))
    records = [await kept(store, f"s{n:02}", next=5) for n in range(11)]
    most = [f"j{n}" for n in range(FIRE_MAX)]
    whole = [firing(record, *most) for record in records]
    assert len(whole) * FIRE_MAX > BATCH_MAX
    large = spec("large", body=b"x" * 1001)
    calls = {
        InvalidOption: [
            [firing(records[0], "a"), firing(records[1], *most, "one more")],
            whole,
            [firing(records[0], "a"), firing(records[0], "b")],
        ],
        PayloadTooLarge: [[firing(records[0], "a"), firing(records[1], "b", large)]],
        Unsupported: [[firing(records[0], "a", spec("b", group="g"))]],
    }
    for error, refused in calls.items():
        for call in refused:
            with pytest.raises(error):
                await store.fire(Q, call)
    assert (await store.schedules(Q), await counted(store)) == (records, {})


async def test_a_firing_of_many_jobs_and_a_call_of_many_firings(scheduling: SchedulingStore) -> None:
    many = specs(f"m{n:03}" for n in range(FIRE_MAX))
    records = [await kept(scheduling, f"s{n:02}", next=5) for n in range(30)]
    call = [firing(records[0], *many)] + [firing(record, f"{record.id}@5", next_at=6) for record in records[1:]]
    answers = await scheduling.fire(Q, call)
    assert all(created_all(answer) for answer in answers)
    assert await counted(scheduling) == {State.WAITING: FIRE_MAX + 29}
    everyone = [job.id for one in call for job in one.jobs]
    assert names(await Worker(scheduling).claim_all()) == everyone
    assert (await totals(scheduling)).enqueued == len(everyone)
    assert {record.rev > before.rev for record, before in zip(await scheduling.schedules(Q), records, strict=True)} == {
        True
    }


# ---- workers


async def test_a_paused_queue_takes_what_is_fired(scheduling: SchedulingStore) -> None:
    await set_limits(scheduling, paused="night")
    record = await kept(scheduling, next=5)
    assert await due(scheduling) == ["s"]
    assert created_all(await fire(scheduling, record, spec("a", keep_completed=KEEP_ALL), next_at=6))
    worker = Worker(scheduling)
    assert await worker.claim() == []
    await set_limits(scheduling)
    await worker.end(await worker.take("a"))
    assert (await read(scheduling)).fired == 1


@pytest.mark.parametrize("when", ["now", "later"])
async def test_a_fired_job_wakes_a_waiting_worker(
    contended: None, open_store: Open, scheduling: SchedulingStore, when: str
) -> None:
    record = await kept(scheduling)
    other = cast("SchedulingStore", await open_store())
    job = spec("a", delay=None if when == "now" else HOUR)
    assert await woken(scheduling, other, lambda _: fire(other, record, job)) == [Q]
