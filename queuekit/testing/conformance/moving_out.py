"""Moving out: jobs checked out, confirmed, given back; running jobs, timed keys, and what the store still knows."""

from __future__ import annotations

import pytest

from queuekit.domain.job import KEEP_NOTHING, Retention
from queuekit.domain.moving import Confirmed
from queuekit.domain.outcome import Kind
from queuekit.domain.query import No, Verb
from queuekit.domain.state import State
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.transit import (
    GONE,
    arrive,
    ids,
    leave,
    same,
)
from queuekit.testing.conformance.unique import Until, free, keyed
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    change,
    counted,
    listed,
    recover,
    set_limits,
    settled,
    spec,
    state,
    tidy,
)


async def one_of_each(harness: Harness, store: MovingStore) -> None:
    """Jobs in every state that can be checked out, several a line, made in another order than they must come."""
    producer, worker = Producer(store), Worker(store)
    await producer.put("parked")
    await worker.end(await worker.take("parked"), Kind.PARKED)
    for name, kind in (("done", Kind.COMPLETED), ("failed", Kind.FAILED), ("off", Kind.CANCELLED)):
        await producer.put(name)
        await worker.end(await worker.take(name), kind)
        await harness.advance(SECOND)
    await producer.put("s1", spec("s2", priority=1))
    await worker.claim(2)
    await recover(store)
    await harness.advance(LEASE + SECOND)
    assert sorted((await recover(store)).suspects) == ["s1", "s2"]
    await producer.put(
        spec("w3", priority=20), "w1", "w2", spec("w0", lifo=True), spec("urgent", priority=1),
        spec("later", delay=2 * HOUR), spec("soon", delay=HOUR),
    )  # fmt: skip


LIVE = ["s2", "s1", "urgent", "w0", "w1", "w2", "w3", "soon", "later", "parked"]
ENDED = ["done", "failed", "off"]


# ---- checkout


async def test_live_jobs_leave_in_their_order(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    assert ids(await leaving.out()) == LIVE
    assert await leaving.out() == []
    assert ids(await leaving.out(history=True)) == ENDED
    assert await counted(mover) == {}


async def test_history_leaves_after_the_live_oldest_first(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    assert ids(await leaving.out(history=True)) == LIVE + ENDED


@pytest.mark.parametrize("limit", [1, 3, 5])
async def test_batches_are_as_long_as_asked(harness: Harness, mover: MovingStore, limit: int) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    everything: list[str] = []
    while batch := ids(await leaving.out(limit, history=True)):
        everything += batch
        assert len(batch) == limit or len(everything) == len(LIVE + ENDED)
    assert everything == LIVE + ENDED


async def test_parcels_are_whole_records(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    before = await mover.get(Q, LIVE + ENDED)
    parcels = await leaving.out(history=True)
    assert [parcel.record for parcel in parcels] == before
    assert await mover.get(Q, LIVE + ENDED) == before
    assert {(p.back, p.holds, p.key_expires, p.awaited) for p in parcels} == {(False, False, None, False)}


async def test_a_batch_that_is_out_is_answered_again_and_nothing_else_leaves(
    harness: Harness, mover: MovingStore
) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    first = await leaving.out(4)
    for limit, history in ((4, False), (1, False), (1000, True)):
        assert await leaving.out(limit, batch=1, history=history) == first
    assert ids(await leaving.out(2)) == LIVE[4:6]
    assert await leaving.out(batch=1) == first


async def test_a_checkout_that_found_nothing_leaves_nothing_out(harness: Harness, mover: MovingStore) -> None:
    leaving = await leave(harness, mover)
    assert await leaving.out() == []
    assert await mover.journal(Q) is None


async def test_batches_that_are_out_are_journaled(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b", "c")
    leaving = await leave(harness, mover, epoch=4)
    for batch in (12, 3, 40):
        await leaving.out(1, batch=batch)
    journal = await mover.journal(Q)
    assert journal is not None
    assert (journal.epoch, journal.out, journal.taken, journal.note) == (4, [3, 12, 40], [], b"")


async def test_a_batch_holds_at_most_about_four_mebibytes(harness: Harness, mover: MovingStore) -> None:
    producer = Producer(mover)
    for n in range(30):
        await producer.put(spec(f"{n:02}", body=b"x" * 200_000))
    leaving = await leave(harness, mover)
    first = ids(await leaving.out())
    assert 15 <= len(first) <= 25
    assert first + ids(await leaving.out()) == [f"{n:02}" for n in range(30)]


async def test_one_job_is_a_batch_however_large(harness: Harness, mover: MovingStore, open_store: Open) -> None:
    wide = await open_store(payload_limit=5 * 1024 * 1024)
    await Producer(wide).put(spec("a", body=b"x" * (5 * 1024 * 1024 - 1)), spec("b", body=b"y"))
    leaving = await leave(harness, mover)
    assert ids(await leaving.out()) == ["a"]
    assert ids(await leaving.out()) == ["b"]


async def test_a_thousand_jobs_leave_at_once(harness: Harness, mover: MovingStore) -> None:
    everyone = [f"{n:04}" for n in range(1000)]
    await Producer(mover).put(
        *everyone,
    )
    leaving = await leave(harness, mover)
    assert ids(await leaving.out(1000)) == everyone
    assert await leaving.confirm(*everyone) == Confirmed(removed=1000)
    assert await counted(mover) == {}
    assert await mover.journal(Q) is None


async def test_jobs_that_are_out_are_on_no_line(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    await leaving.everything(4)
    for each in State:
        assert await listed(mover, each) == []
    counts = await mover.count(Q)
    assert (sum(counts.states.values()), counts.suspect, counts.oldest_waiting) == (0, 0, None)


async def test_jobs_that_are_out_are_found_by_id(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    before = await mover.get(Q, LIVE + ENDED)
    leaving = await leave(harness, mover)
    await leaving.everything()
    for was, job in zip(before, await mover.get(Q, LIVE + ENDED), strict=True):
        assert was is not None
        assert job is not None
        assert same(job) == same(was)
        assert job.place == was.place or job.state is not State.WAITING
    assert [job.id for job in await mover.locate("w1")] == ["w1"]
    assert await mover.queues() == [Q]
    for name in ("w1", "soon", "s1", "parked", "done"):
        position = await mover.position(Q, name)
        assert position is not None
        assert (position.state, position.ahead, position.reasons) == (await state(mover, name), None, ["moving"])


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_job_that_is_out_is_changed_elsewhere(harness: Harness, mover: MovingStore, verb: Verb) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    await leaving.everything()
    before = await mover.get(Q, LIVE + ENDED)
    for name in ("w1", "s1", "soon", "parked", "done"):
        for rev in (None, 99):
            answer = await change(mover, name, verb, rev=rev, body=b"new" if verb is Verb.REPLACE else None)
            assert (answer.ok, answer.no, answer.state) == (False, No.MOVED, await state(mover, name))
    assert await mover.get(Q, LIVE + ENDED) == before


async def test_time_does_nothing_to_jobs_that_are_out(harness: Harness, mover: MovingStore) -> None:
    """Neither due nor expired, too old nor too many; they are the other store's already."""
    await set_limits(mover, keep_completed=Retention(count=1, age=MINUTE))
    producer, worker = Producer(mover), Worker(mover)
    await producer.put("done", spec("own", keep_completed=Retention(age=MINUTE)))
    for job in await worker.claim(2):
        await worker.end(job)
    await producer.put(spec("expiring", expires_in=MINUTE), spec("due", delay=MINUTE), "old", "runs")
    leaving = await leave(harness, mover)
    everyone = ["done", "own", "expiring", "due", "old"]
    await leaving.out(history=True)
    await leaving.restore(["runs"])
    before = await mover.get(Q, everyone)

    await harness.advance(2 * HOUR)
    await tidy(mover)
    await worker.exchange((), 9)
    for each in (State.WAITING, State.DELAYED, State.PARKED, State.COMPLETED):
        await mover.prune(Q, state=each)

    assert await mover.get(Q, everyone) == before
    assert await state(mover, "runs") is None


async def test_jobs_that_are_out_do_not_count_for_retention(harness: Harness, mover: MovingStore) -> None:
    await set_limits(mover, keep_completed=Retention(count=2))
    await Producer(mover).put("a", "b", "c", "d", spec("e", keep_completed=Retention(count=1)), "f")
    worker = Worker(mover)
    a, b, c, d, e = await worker.claim(5)
    await worker.end(a)
    await harness.advance(SECOND)
    await worker.end(b)
    leaving = await leave(harness, mover)
    assert ids(await leaving.out(3, history=True)) == ["f", "a", "b"]
    for job in (c, d, e):
        await worker.end(job)
        await harness.advance(SECOND)
    await settled(mover)
    assert sorted(await listed(mover, State.COMPLETED)) == ["c", "d", "e"]
    assert [await state(mover, name) for name in "ab"] == [State.COMPLETED] * 2


async def test_a_job_given_back_by_its_run_can_leave_too(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b", "c")
    worker = Worker(mover)
    a, b = await worker.claim(2)
    leaving = await leave(harness, mover)
    assert ids(await leaving.out()) == ["c"]
    await worker.end(b, Kind.RELEASED)
    await worker.end(a, Kind.RETRY, error=b"E")
    later = await leaving.out()
    assert ids(later) == ["b", "a"]
    assert [(p.record.place > leaving.standing.mark, p.record.failures) for p in later] == [(False, 0), (True, 1)]


async def test_jobs_can_still_leave_when_the_queue_is_gone(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b")
    worker = Worker(mover)
    job = await worker.take("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.confirm("b")
    await worker.end(job)
    await leaving.go(GONE)
    assert ids(await leaving.out(history=True)) == ["a"]
    assert await leaving.confirm("a") == Confirmed(removed=1)


# ---- what a parcel tells beside the record


@pytest.mark.parametrize("until", ["finished", "started", "time"])
async def test_a_parcel_tells_whether_its_job_holds_its_key(
    harness: Harness, able: MovingStore, mover: MovingStore, until: Until
) -> None:
    await Producer(mover).put(keyed("a", until=until, ttl=HOUR if until == "time" else None), "plain")
    earliest = (await mover.count(Q)).now
    leaving = await leave(harness, mover)
    a, plain = await leaving.out()
    assert (a.holds, plain.holds, plain.key_expires) == (True, False, None)
    if until == "time":
        assert a.key_expires is not None
        assert earliest - MINUTE <= a.key_expires - HOUR <= earliest
    else:
        assert a.key_expires is None


async def test_a_job_that_gave_its_key_back_does_not_hold_it(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    """A key until the start is another's after a retry, one until the end after the end, a timed one after its time."""
    await Producer(mover).put(
        keyed("s", "ks", until="started"), keyed("f", "kf"), keyed("t", "kt", until="time", ttl=MINUTE)
    )
    worker = Worker(mover)
    s, f, t = await worker.claim(3)
    await worker.end(s, Kind.RETRY)
    await worker.end(f)
    await worker.end(t, Kind.PARKED)
    await harness.advance(2 * MINUTE)
    assert await free(mover, "s2", "ks", until="started")
    leaving = await leave(harness, mover)
    parcels = {p.record.id: p.holds for p in await leaving.out(history=True)}
    assert parcels == {"s": False, "s2": True, "t": False, "f": False}


async def test_a_parcel_tells_whether_somebody_waits_for_its_job(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b")
    await mover.watch(Q, "b", 0)
    leaving = await leave(harness, mover)
    assert [p.awaited for p in await leaving.out()] == [False, True]


# ---- running


async def test_running_jobs_are_told_by_id_and_stay_where_they_are(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("b", "a.1", "B", "a", "rest")
    claims = await Worker(mover, name="w").claim(4)
    await leave(harness, mover)
    everyone = await mover.running(Q, "", 10)
    assert ids(everyone) == ["B", "a", "a.1", "b"]
    assert {p.record.id: same(p.record) for p in everyone} == {job.id: same(job) for job in claims}
    assert ids(await mover.running(Q, "", 2)) == ["B", "a"]
    assert ids(await mover.running(Q, "a", 2)) == ["a.1", "b"]
    assert await mover.running(Q, "b", 2) == []
    assert await counted(mover) == {State.ACTIVE: 4, State.WAITING: 1}


async def test_running_jobs_tell_their_keys_and_who_waits(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    await Producer(mover).put(keyed("a", "ka"), keyed("b", "kb", until="started"), keyed("c", "kc", until="time"), "d")
    await Worker(mover).claim(4)
    await mover.watch(Q, "d", 0)
    await leave(harness, mover)
    told = {p.record.id: (p.holds, p.key_expires is not None, p.awaited) for p in await mover.running(Q, "", 10)}
    assert told == {
        "a": (True, False, False), "b": (False, False, False), "c": (True, True, False), "d": (False, False, True),
    }  # fmt: skip


async def test_held_jobs_do_not_run_here(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a", State.ACTIVE))
    assert await mover.running(Q, "", 10) == []


# ---- timed keys


async def test_keys_held_for_a_time_are_told_where_no_job_shows_them(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    producer, worker = Producer(mover), Worker(mover)
    keys = ["k1", "K2", "k.3", "over"]
    await producer.put(
        *(
            keyed(f"of-{key}", key, until="time", ttl=MINUTE if key == "over" else HOUR, keep_completed=KEEP_NOTHING)
            for key in keys
        )
    )
    for job in await worker.claim(9):
        await worker.end(job)
    await producer.put(keyed("waits", "kw", until="time"), keyed("runs", "kr", until="time", priority=1), keyed("x"))
    await worker.take("runs")
    await harness.advance(2 * MINUTE)
    await leave(harness, mover)
    told = await mover.timed_keys(Q, "", 10)
    assert [(key.key, key.id) for key in told] == [("K2", "of-K2"), ("k.3", "of-k.3"), ("k1", "of-k1")]
    now = (await mover.count(Q)).now
    assert all(now + HOUR - 3 * MINUTE <= key.expires <= now + HOUR for key in told)
    assert await mover.timed_keys(Q, "", 1) == told[:1]
    assert await mover.timed_keys(Q, "K2", 10) == told[1:]
    assert await mover.timed_keys(Q, "k1", 10) == []


async def test_a_timed_key_of_an_earlier_job_of_an_id_is_told(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    """The job of that id shows its own key only."""
    await Producer(mover).put(keyed("a", "old", until="time"))
    await change(mover, "a", Verb.DELETE)
    await Producer(mover).put(keyed("a", "new", until="time"))
    leaving = await leave(harness, mover)
    assert [(key.key, key.id) for key in await mover.timed_keys(Q, "", 10)] == [("old", "a")]
    await leaving.out()
    await leaving.confirm("a")
    assert [(key.key, key.id) for key in await mover.timed_keys(Q, "", 10)] == [("old", "a")]
    known = await mover.known(Q, ["a"], ["old", "new"])
    assert known is not None
    assert (known.ids, known.keys) == (set(), {"old": "a"})
