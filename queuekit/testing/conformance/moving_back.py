"""Moving out, the second half: jobs that were confirmed are gone, jobs given back are where they were, and who asks."""

from __future__ import annotations

import asyncio
import dataclasses

from queuekit.domain.job import KEEP_NOTHING, JobRecord, Retention
from queuekit.domain.moving import Confirmed
from queuekit.domain.outcome import Ask, Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.moving_out import ENDED, LIVE, one_of_each
from queuekit.testing.conformance.notify import LONG, SOON
from queuekit.testing.conformance.transit import ARRIVING, BY, FAR, GONE, HERE, arrive, ids, leave, same
from queuekit.testing.conformance.unique import free, keyed
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    SECOND,
    Actor,
    Producer,
    Q,
    Worker,
    change,
    counted,
    done,
    listed,
    names,
    receipts,
    set_limits,
    settled,
    spec,
    specs,
    state,
)

# ---- confirm


async def test_confirmed_jobs_are_gone(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    parcels = ids(await leaving.everything())
    assert await leaving.confirm(*parcels, batch=1) == Confirmed(removed=len(LIVE + ENDED))
    assert await mover.get(Q, parcels) == [None] * len(parcels)
    assert await mover.journal(Q) is None
    assert await mover.locate("w1") == []
    assert await mover.position(Q, "w1") is None
    assert await leaving.confirm(*parcels, batch=1) == Confirmed(removed=0)


async def test_what_a_confirmation_leaves_out_goes_back(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    leaving = await leave(harness, mover)
    await leaving.out(history=True)
    rest = [name for name in LIVE + ENDED if name not in ("s1", "w1", "soon", "done")]
    assert await leaving.confirm("s1", "w1", "soon", "done") == Confirmed(removed=4)
    assert await mover.journal(Q) is None
    assert ids(await leaving.out(history=True)) == rest


async def test_a_confirmation_takes_jobs_of_other_batches_too(harness: Harness, mover: MovingStore) -> None:
    """Clashes are kept out so: they are confirmed under a number that is not out."""
    await Producer(mover).put("a", "b", "c")
    leaving = await leave(harness, mover)
    await leaving.out()
    assert await leaving.confirm("a", "c", batch=99) == Confirmed(removed=2)
    assert ids(await leaving.out(batch=1)) == ["b"]
    assert await leaving.confirm("b", batch=99) == Confirmed(removed=1)
    assert await mover.journal(Q) is None


async def test_a_source_that_rolled_back_is_confirmed_again(harness: Harness, mover: MovingStore) -> None:
    """Jobs whose leaving it forgot: on a line they are removed, running ones are named and left to their worker."""
    await Producer(mover).put("runs", "waits", spec("delayed", delay=HOUR), "stays")
    worker = Worker(mover)
    job = await worker.take("runs")
    leaving = await leave(harness, mover)
    assert await leaving.confirm("runs", "waits", "delayed", "gone", batch=5) == Confirmed(removed=2, active=["runs"])
    assert await counted(mover) == {State.ACTIVE: 1, State.WAITING: 1}
    assert ids(await leaving.out()) == ["stays"]
    await worker.end(job)
    assert await state(mover, "runs") is State.COMPLETED


async def test_confirmed_jobs_hold_no_keys(harness: Harness, able: MovingStore, mover: MovingStore) -> None:
    await Producer(mover).put(
        keyed("f", "kf"), keyed("s", "ks", until="started"), keyed("t", "kt", until="time"), keyed("rest", "kr")
    )
    leaving = await leave(harness, mover)
    await leaving.out()
    known = await mover.known(Q, [], ["kf", "ks", "kt", "kr"])
    assert known is not None
    assert known.keys == {"kf": "f", "ks": "s", "kt": "t", "kr": "rest"}
    await leaving.confirm("f", "s", "t")
    await leaving.go(HERE, None)
    assert await free(mover, "f2", "kf")
    assert await free(mover, "s2", "ks", until="started")
    assert await free(mover, "t2", "kt", until="time")
    assert not await free(mover, "r2", "kr")


async def test_confirming_does_not_take_the_key_of_another_job(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    await Producer(mover).put(keyed("a"))
    worker = Worker(mover)
    await worker.end(await worker.take("a"))
    assert await free(mover, "b")
    leaving = await leave(harness, mover)
    await leaving.out(history=True)
    await leaving.confirm("a", batch=9)
    await leaving.restore()
    await leaving.go(HERE, None)
    assert not await free(mover, "c")


async def test_calls_that_made_confirmed_jobs_are_answered_as_before(harness: Harness, mover: MovingStore) -> None:
    op = Actor().op()
    first = await mover.enqueue(Q, specs(["a", "b"]), op)
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.confirm("a", "b")
    assert (
        (await mover.enqueue(Q, specs(["a", "b"]), op)).receipts == first.receipts == receipts(("a", True), ("b", True))
    )
    await leaving.go(GONE)
    assert (await mover.enqueue(Q, specs(["a", "b"]), op)).receipts == first.receipts
    assert await mover.get(Q, ["a", "b"]) == [None, None]


async def test_an_end_whose_job_was_confirmed_is_not_refused_when_repeated(
    harness: Harness, mover: MovingStore
) -> None:
    await Producer(mover).put("a")
    worker = Worker(mover)
    outcome = done(await worker.take("a"))
    leaving = await leave(harness, mover)
    op = worker.actor.op()
    assert (await mover.exchange(Q, op, [outcome], Ask())).refused == []
    await leaving.out(history=True)
    await leaving.confirm("a")
    assert (await mover.exchange(Q, op, [outcome], Ask())).refused == []
    await leaving.go(GONE)
    assert (await mover.exchange(Q, op, [outcome], Ask())).refused == []


async def test_who_watches_a_job_hears_that_it_left(contended: None, harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    watching = asyncio.ensure_future(mover.watch(Q, "a", LONG))
    await asyncio.wait({watching}, timeout=0.2)  # most likely inside
    await leaving.confirm("a")
    assert await asyncio.wait_for(watching, SOON) is None


async def test_confirmed_jobs_make_no_room_for_an_id_while_the_queue_leaves(
    harness: Harness, mover: MovingStore
) -> None:
    """What left is known there, and asked there."""
    await Producer(mover).put("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.confirm("a")
    assert not (await change(mover, "a", Verb.CANCEL)).ok
    assert await mover.get(Q, ["a"]) == [None]


# ---- restore


async def alike(mover: MovingStore) -> list[JobRecord]:
    """All jobs, but for their places and who brought them."""
    return [same(job) for job in await mover.get(Q, LIVE + ENDED) if job is not None]


async def test_restored_jobs_are_where_they_were(harness: Harness, mover: MovingStore) -> None:
    await one_of_each(harness, mover)
    before = await counted(mover), await alike(mover), (await mover.count(Q)).suspect
    pages = {each: await listed(mover, each) for each in State}
    leaving = await leave(harness, mover)
    await leaving.out(5)
    await leaving.out(history=True)
    assert await leaving.restore(batch=2) == len(LIVE + ENDED) - 5
    assert await leaving.restore(batch=1) == 5
    assert (await counted(mover), await alike(mover), (await mover.count(Q)).suspect) == before
    assert {each: await listed(mover, each) for each in State} == pages
    assert await leaving.restore(batch=1) == 0
    assert await mover.journal(Q) is None
    await leaving.go(HERE, None)
    worker = Worker(mover)
    first = await worker.claim(9)
    assert names(first) == ["s2", "urgent", "w0", "w1", "w2", "w3"]
    await worker.end(first[0])
    assert names(await worker.claim(9)) == ["s1"]


async def test_single_jobs_of_a_batch_are_restored(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b", "c", "d")
    leaving = await leave(harness, mover)
    await leaving.out()
    assert await leaving.restore(["b", "d", "nobody"]) == 2
    assert await leaving.restore(["b"]) == 0
    assert await listed(mover, State.WAITING) == ["b", "d"]
    assert ids(await leaving.out(batch=1)) == ["a", "c"]
    assert await leaving.restore() == 2
    assert await listed(mover, State.WAITING) == ["a", "b", "c", "d"]


async def test_restored_jobs_count_for_retention_again(harness: Harness, mover: MovingStore) -> None:
    await set_limits(mover, keep_completed=Retention(count=2))
    await Producer(mover).put(*(spec(n, keep_completed=Retention(count=1) if n in "ef" else None) for n in "abcdef"))
    worker = Worker(mover)
    claims = {job.id: job for job in await worker.claim(6)}
    for name in "ae":
        await worker.end(claims[name])
    await harness.advance(SECOND)
    leaving = await leave(harness, mover)
    await leaving.out(history=True)
    await leaving.restore()
    for name in "bcdf":
        await worker.end(claims[name])
        await harness.advance(SECOND)
    await settled(mover)
    assert sorted(await listed(mover, State.COMPLETED)) == ["c", "d", "f"]


async def test_restored_jobs_are_due_expire_and_grow_old_again(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put(spec("due", delay=MINUTE), spec("expiring", expires_in=MINUTE), "w")
    leaving = await leave(harness, mover)
    await leaving.out()
    await harness.advance(2 * MINUTE)
    await leaving.restore()
    await leaving.go(HERE, None)
    assert names(await Worker(mover).claim(9)) == ["w", "due"]
    assert await state(mover, "expiring") is State.CANCELLED


async def test_a_restored_job_is_changed_again(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.restore()
    assert (await change(mover, "a", Verb.REPLACE, body=b"new")).ok
    assert (await leaving.out())[0].record.body == b"new"


async def test_jobs_given_back_where_the_queue_is_gone_stay_there(harness: Harness, mover: MovingStore) -> None:
    """Clashes, in the end: nobody works on them, and people find, change and delete them."""
    await Producer(mover).put("a", "b", "c")
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.confirm("a", batch=99)
    await leaving.go(GONE)
    await harness.advance(MINUTE)
    assert await leaving.restore(batch=1) == 2
    assert (await Worker(mover).exchange((), 9)).claims == []
    await mover.prune(Q)
    assert await listed(mover, State.WAITING) == ["b", "c"]
    assert (await change(mover, "b", Verb.DELETE)).ok
    assert await mover.get(Q, ["a", "b"]) == [None, None]
    assert await state(mover, "c") is State.WAITING
    assert ids(await leaving.out()) == ["c"]


async def test_batches_stay_out_under_a_higher_epoch(harness: Harness, mover: MovingStore) -> None:
    """A mover that was started again finds what the last one had checked out."""
    await Producer(mover).put("a", "b", "c")
    first = await (await leave(harness, mover)).out(2, batch=4)
    again = await leave(harness, mover, epoch=2)
    second = await again.out(9, batch=4)
    assert [same(parcel.record) for parcel in second] == [same(parcel.record) for parcel in first]
    assert ids(await again.out(9, batch=6)) == ["c"]
    assert await again.restore(batch=4) == 2
    assert (await again.confirm("c", batch=6)).removed == 1
    assert await listed(mover, State.WAITING) == ["a", "b"]


# ---- known


async def test_a_queue_that_takes_jobs_does_not_say_what_it_knows(mover: MovingStore) -> None:
    await Producer(mover).put("a")
    assert await mover.known(Q, ["a"], []) is None
    await mover.authority(Q, 1, BY, ARRIVING, FAR)
    assert await mover.known(Q, ["a"], []) is None
    await mover.authority(Q, 2, BY, HERE, FAR)
    assert await mover.known(Q, ["a"], []) is None


async def test_a_queue_that_leaves_says_what_it_still_has(
    harness: Harness, able: MovingStore, mover: MovingStore
) -> None:
    producer, worker = Producer(mover), Worker(mover)
    await producer.put(keyed("gone", "kg", until="time", keep_completed=KEEP_NOTHING), keyed("over", "ko"))
    for job in await worker.claim(2):
        await worker.end(job)
    await producer.put(keyed("runs", "kr"), keyed("out", "k1"), keyed("stays", "k2"))
    await worker.take("runs")
    leaving = await leave(harness, mover)
    await leaving.out(1)
    known = await mover.known(
        Q, ["gone", "over", "runs", "out", "stays", "never"], ["kg", "ko", "kr", "k1", "k2", "kn"]
    )
    assert known is not None
    assert known.ids == {"over", "runs", "out", "stays"}
    assert known.keys == {"kg": "gone", "kr": "runs", "k1": "out", "k2": "stays"}


async def test_a_queue_that_is_gone_knows_nothing(harness: Harness, able: MovingStore, mover: MovingStore) -> None:
    await Producer(mover).put(keyed("a", "ka"), keyed("t", "kt", until="time", keep_completed=KEEP_NOTHING))
    worker = Worker(mover)
    a, t = await worker.claim(2)
    await worker.end(t)
    await worker.end(a, Kind.RELEASED)
    leaving = await leave(harness, mover)
    await leaving.out()
    await leaving.confirm("a")
    await leaving.go(GONE)
    assert await mover.timed_keys(Q, "", 9) == []
    known = await mover.known(Q, ["a", "t"], ["ka", "kt"])
    assert known is not None
    assert (known.ids, known.keys) == (set(), {})


async def test_nothing_of_an_empty_queue_is_known(harness: Harness, mover: MovingStore) -> None:
    await leave(harness, mover)
    known = await mover.known(Q, [], [])
    assert known is not None
    assert (known.ids, known.keys) == (set(), {})


# ---- an abandoned move


async def test_the_journal_of_an_aborted_move_does_not_answer_for_the_next(
    harness: Harness, mover: MovingStore
) -> None:
    """The batches of a second try have the same numbers: none may be taken for those of the first."""
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"), batch=1, note=b"first")
    leaving = await leave(harness, mover, epoch=2)
    await leaving.out(batch=7)
    await leaving.confirm("a", batch=7)
    await leaving.go(GONE)
    assert await mover.journal(Q) is None

    again = await arrive(mover, epoch=9)
    assert await again.take(again.parcel("a"), batch=1) == []
    assert await state(mover, "a") is State.WAITING
    assert await mover.taken(Q, 1) == ["a"]


async def test_a_move_back_at_once_brings_everything_home(harness: Harness, mover: MovingStore) -> None:
    await Producer(mover).put("a", "b", "c")
    before = await mover.get(Q, ["a", "b", "c"])
    leaving = await leave(harness, mover)
    parcels = await leaving.out()
    await leaving.confirm("a", "b", "c")
    coming = await arrive(mover, epoch=2)
    assert await coming.take(*(coming.moved(parcel) for parcel in parcels)) == []
    await coming.go(HERE, None)
    now = await mover.get(Q, ["a", "b", "c"])
    assert [dataclasses.replace(job, place=0, epoch=0) for job in now if job] == [
        dataclasses.replace(job, place=0, epoch=0) for job in before if job
    ]
    assert names(await Worker(mover).claim(9)) == ["a", "b", "c"]


async def test_a_job_that_was_watched_while_it_was_out_is_awaited_when_it_is_back(
    harness: Harness, mover: MovingStore
) -> None:
    await Producer(mover).put("a")
    leaving = await leave(harness, mover)
    await leaving.out()
    await mover.watch(Q, "a", 0)
    assert await leaving.restore() == 1
    assert [parcel.awaited for parcel in await leaving.out()] == [True]
