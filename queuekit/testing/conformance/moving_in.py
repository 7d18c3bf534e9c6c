"""Moving in: parcels become jobs as they were, at their places; the journal of it."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import pytest

from queuekit.domain.job import KEEP_NOTHING, Retention
from queuekit.domain.limits import Limits
from queuekit.domain.moving import Clash, HeldKey
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import Line, State
from queuekit.errors import PayloadTooLarge
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import woken
from queuekit.testing.conformance.transit import FAR, HERE, arrive, same
from queuekit.testing.conformance.words import (
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    Actor,
    Producer,
    Q,
    Worker,
    change,
    counted,
    listed,
    look,
    names,
    recover,
    set_limits,
    settled,
    spec,
    state,
    tidy,
)

UNTIL = ["finished", "started", "time"]


# ---- as they were


@pytest.mark.parametrize("each", [each for each in State if each not in (State.ACTIVE, State.BLOCKED)])
async def test_a_parcel_becomes_a_job_as_it_was(mover: MovingStore, each: State) -> None:
    coming = await arrive(mover, epoch=6)
    now = coming.standing.now
    said: dict[str, Any] = {
        "task": "t.ü", "body": b"\x00\xff$", "version": 4, "priority": 7, "options": b'{"x":1}', "rev": 9, "claims": 5,
        "failures": 3, "snoozes": 2, "crashes": 1, "worker": "w@h", "claimed_at": now - HOUR, "progress": b"\x0050",
        "logs": (b"one", b"two\n"), "errors": (b"E1", b"E2"), "created_at": now - 3 * DAY, "trace": "00-ü",
        "keep_completed": Retention(9, None), "keep_failed": Retention(None, 99 * DAY), "expires_at": now + DAY,
    }  # fmt: skip
    if each is State.COMPLETED:
        said |= {"result": b"$r\x00", "keep": "9/", "token": "w:4"}
    if each in (State.FAILED, State.CANCELLED):
        said |= {"reason": "no: more", "keep": f"/{99 * DAY}", "token": "w:4"}
    if each is State.PARKED:
        said |= {"reason": "unknown task"}
    if each is State.WAITING:
        said |= {"run_at": now - HOUR}
    parcel = coming.parcel("a", each, **said)

    assert await coming.take(parcel) == []

    assert await look(mover, "a") == dataclasses.replace(parcel.record, epoch=6)
    assert await counted(mover) == {each: 1}
    assert await listed(mover, each) == ["a"]


async def test_a_bare_parcel_becomes_a_job_as_it_was(mover: MovingStore) -> None:
    coming = await arrive(mover)
    parcels = [coming.parcel(each.value, each) for each in State if each not in (State.ACTIVE, State.BLOCKED)]
    assert await coming.take(*parcels) == []
    found = await mover.get(Q, [p.record.id for p in parcels])
    assert [job and same(job) for job in found] == [same(p.record) for p in parcels]
    assert [job.place for job in found if job and job.state is State.WAITING] == [parcels[0].record.place]


async def test_large_bodies_and_many_lines_come_whole(mover: MovingStore) -> None:
    coming = await arrive(mover)
    large = coming.parcel("a", State.COMPLETED, body=b"b" * 250_000, result=b"r" * 250_000)
    noted = coming.parcel("b", logs=tuple(b"%d" % n for n in range(1000)), errors=tuple(b"E%d" % n for n in range(20)))
    await coming.take(large, noted)
    assert await mover.get(Q, ["a", "b"]) == [dataclasses.replace(p.record, epoch=1) for p in (large, noted)]


async def test_lines_of_a_moved_job_go_on(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a", logs=(b"1", b"2"), errors=(b"E1",), failures=1))
    await coming.go(HERE, None)
    worker = Worker(mover)
    await worker.end(await worker.take("a"), Kind.FAILED, logs=(b"3",), error=b"E2", start=0)
    job = await look(mover, "a")
    assert (job.logs, job.errors, job.failures) == ((b"1", b"2", b"3"), (b"E1", b"E2"), 1)


async def test_a_thousand_parcels_come_at_once(mover: MovingStore) -> None:
    coming = await arrive(mover, room=1000)
    everyone = [f"{n:04}" for n in range(1000)]
    assert await coming.take(*(coming.parcel(name) for name in everyone)) == []
    assert await mover.taken(Q, 1) == everyone
    await coming.go()
    assert names(await Worker(mover).claim(1000)) == everyone


async def test_an_import_is_no_enqueue(mover: MovingStore) -> None:
    """Neither the size nor retention refuses anything, and totals come by themselves."""
    await set_limits(mover, max_size=1, keep_completed=KEEP_NOTHING, keep_failed=Retention(count=1, age=1000))
    coming = await arrive(mover)
    states = [State.WAITING] * 3 + [State.DELAYED, State.COMPLETED, State.COMPLETED, State.FAILED, State.FAILED]
    await coming.take(*(coming.parcel(str(n), each) for n, each in enumerate(states)))
    assert sum((await counted(mover)).values()) == len(states)
    assert (await mover.count(Q)).totals.enqueued == 0


async def test_what_came_in_is_under_retention_from_then_on(harness: Harness, mover: MovingStore) -> None:
    await set_limits(mover, keep_completed=Retention(count=2), keep_failed=Retention(age=HOUR))
    coming = await arrive(mover)
    now = coming.standing.now
    parcels = [coming.parcel(f"c{n}", State.COMPLETED, ended_at=now - MINUTE + n) for n in range(4)]
    parcels += [coming.parcel(f"own{n}", State.COMPLETED, keep="1/", ended_at=now - MINUTE + n) for n in range(3)]
    parcels += [coming.parcel("f1", State.FAILED, ended_at=now - 2 * HOUR), coming.parcel("f2", State.FAILED)]
    await coming.take(*parcels)
    await coming.go(HERE, None)
    await Producer(mover).put("new")
    worker = Worker(mover)
    await worker.end(await worker.take("new"))
    await settled(mover)
    await tidy(mover)
    assert sorted(await listed(mover, State.COMPLETED)) == ["c3", "new", "own2"]
    assert await listed(mover, State.FAILED) == ["f2"]


async def test_a_payload_over_the_limit_of_the_store_refuses_the_call(open_store: Open, mover: MovingStore) -> None:
    small = cast("MovingStore", await open_store(payload_limit=1000))
    coming = await arrive(mover)
    overs: list[dict[str, Any]] = [{"body": b"x" * 1001}, {"result": b"x" * 1001}]
    for data in overs:
        parcels = [coming.parcel("a"), coming.parcel("b", State.COMPLETED, **data)]
        keys = [HeldKey(key="k", id="x", expires=coming.standing.now + HOUR)]
        with pytest.raises(PayloadTooLarge):
            await small.import_batch(Q, 1, 1, parcels, keys, b"n")
    assert await mover.get(Q, ["a", "b"]) == [None, None]
    assert await mover.journal(Q) is None
    assert await coming.take(coming.parcel("b", State.COMPLETED, body=b"x" * 1001), batch=1) == []


# ---- places


async def test_claims_follow_the_places_of_the_parcels(mover: MovingStore) -> None:
    """Whatever the order of the calls, whatever their lines and priorities."""
    await Producer(mover).put("here")
    coming = await arrive(mover)
    await coming.take(coming.parcel("d", rank=7), coming.parcel("c", rank=5), coming.parcel("last", back=True))
    await coming.take(
        coming.parcel("low", rank=1, priority=20), coming.parcel("b", rank=2), coming.parcel("a", rank=0),
        coming.parcel("suspect", rank=900, line=Line.SUSPECT), coming.parcel("high", rank=901, priority=1),
    )  # fmt: skip
    await coming.go()
    wanted = ["suspect", "high", "a", "b", "c", "d", "here", "last", "low"]
    assert await listed(mover, State.WAITING) == wanted
    assert (await mover.count(Q)).suspect == 1
    assert names(await Worker(mover).claim(9, suspect=False)) == wanted[1:]
    assert names(await Worker(mover).claim(9)) == wanted[:1]


async def test_parcels_at_the_back_keep_their_order(mover: MovingStore) -> None:
    await Producer(mover).put("here")
    coming = await arrive(mover)
    await coming.take(coming.parcel("x", back=True), coming.parcel("room"), coming.parcel("y", back=True))
    await coming.take(coming.parcel("z", back=True))
    await mover.enqueue(Q, [spec("new")], Actor().op(), asked=True)
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["room", "here", "x", "y", "z", "new"]


async def test_ranks_of_several_priorities_stay_apart(mover: MovingStore) -> None:
    coming = await arrive(mover)
    order = [("a", 5), ("b", 5), ("c", 0), ("d", 1000), ("e", 5), ("f", 0)]
    await coming.take(*(coming.parcel(name, priority=priority) for name, priority in order))
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["c", "f", "a", "b", "e", "d"]


async def test_equal_places_are_ordered_by_id(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(*(coming.parcel(name, rank=3) for name in ("b", "a.1", "B", "a")))
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["B", "a", "a.1", "b"]


async def test_a_delayed_parcel_is_due_when_it_was(harness: Harness, mover: MovingStore) -> None:
    coming = await arrive(mover)
    now = coming.standing.now
    await coming.take(
        coming.parcel("later", State.DELAYED, run_at=now + 3 * HOUR),
        coming.parcel("soon", State.DELAYED, run_at=now + HOUR),
        coming.parcel("over", State.DELAYED, run_at=now - HOUR),
    )
    reply = await Worker(mover).exchange((), 9)
    assert (reply.claims, reply.next_at) == ([], now - HOUR)
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["over"]
    await harness.advance(2 * HOUR)
    assert names(await Worker(mover).claim(9)) == ["soon"]
    assert await listed(mover, State.DELAYED) == ["later"]


async def test_a_moved_suspect_is_a_suspect(harness: Harness, mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(
        coming.parcel("s1", line=Line.SUSPECT, crashes=1), coming.parcel("s2", line=Line.SUSPECT, crashes=2)
    )
    await coming.go()
    worker = Worker(mover)
    assert await worker.claim(9, suspect=False) == []
    assert names(await worker.claim(9)) == ["s1"]
    await recover(mover)
    await harness.advance(LEASE + SECOND)
    assert (await recover(mover)).suspects == ["s1"]
    assert (await look(mover, "s1")).crashes == 2


async def test_a_parcel_that_was_not_started_in_time_does_not_start(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a", expires_at=coming.standing.now - 1), coming.parcel("b"))
    assert await state(mover, "a") is State.WAITING
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["b"]
    assert (await look(mover, "a")).reason == "expired"


async def test_people_change_what_came_in_already(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(*(coming.parcel(name) for name in "abc"), coming.parcel("d", State.FAILED, failures=4))
    assert (await change(mover, "a", Verb.CANCEL)).ok
    assert (await change(mover, "b", Verb.REPLACE, body=b"new", rev=1)).ok
    assert (await change(mover, "d", Verb.RETRY)).ok
    await coming.go()
    claims = await Worker(mover).claim(9)
    assert [(job.id, job.body, job.failures) for job in claims] == [
        ("b", b"new", 0), ("c", b"j{}", 0), ("d", b"j{}", 0)
    ]  # fmt: skip


async def test_new_parcels_wake_the_workers_of_an_open_queue(
    contended: None, open_store: Open, mover: MovingStore
) -> None:
    coming = await arrive(mover)
    await coming.go()
    assert await woken(mover, await open_store(), lambda _: coming.take(coming.parcel("a"))) == [Q]


async def test_a_job_somebody_waits_for_is_kept_a_while(mover: MovingStore) -> None:
    coming = await arrive(mover)
    jobs = [coming.parcel(name, awaited=name == "a", keep_completed=KEEP_NOTHING) for name in "ab"]
    await coming.take(*jobs)
    await coming.go()
    worker = Worker(mover)
    for job in await worker.claim(2):
        await worker.end(job, result=b"42")
    assert (await look(mover, "a")).result == b"42"
    assert await state(mover, "b") is None


# ---- the journal


async def test_what_came_in_is_journaled_with_the_movers_note(mover: MovingStore) -> None:
    assert await mover.journal(Q) is None
    coming = await arrive(mover, epoch=3)
    assert await mover.journal(Q) is None
    await coming.take(coming.parcel("b"), coming.parcel("a"), batch=20, note=b"\x00one")
    await coming.take(batch=3, note=b"two")
    await coming.take(coming.parcel("c"), batch=100, note=b"three")
    journal = await mover.journal(Q)
    assert journal is not None
    assert (journal.epoch, journal.taken, journal.note, journal.out) == (3, [3, 20, 100], b"three", [])
    assert [await mover.taken(Q, batch) for batch in (20, 3, 100, 7)] == [["b", "a"], [], ["c"], []]


async def test_the_journal_lasts_until_the_move_has_ended(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"), note=b"n")
    await coming.go()
    journal = await mover.journal(Q)
    assert journal is not None
    assert (journal.epoch, journal.taken, journal.note) == (2, [1], b"n")
    await coming.take(coming.parcel("b"))
    await coming.go(HERE, None)
    assert await mover.journal(Q) is None
    assert await mover.taken(Q, 1) == []
    assert await listed(mover, State.WAITING) == ["a", "b"]


async def test_a_batch_is_taken_in_once(mover: MovingStore) -> None:
    """Its repeat answers the same, whatever became of its jobs, and whatever it carries."""
    await Producer(mover).put("b")
    coming = await arrive(mover)
    parcels = [coming.parcel(name) for name in "abc"]
    first = await coming.take(*parcels, batch=4, note=b"one")
    await change(mover, "a", Verb.DELETE)
    await change(mover, "c", Verb.REPLACE, body=b"new")
    before = await mover.get(Q, ["a", "b", "c"])

    again = await coming.take(*parcels, batch=4, note=b"two")

    assert again == first == [Clash(id="b", why="id", by="b")]
    assert await mover.get(Q, ["a", "b", "c"]) == before
    assert before[0] is None
    journal = await mover.journal(Q)
    assert journal is not None
    assert (journal.taken, journal.note) == ([4], b"one")
    assert await mover.taken(Q, 4) == ["a", "c"]


async def test_a_batch_is_known_under_a_higher_epoch_too(mover: MovingStore) -> None:
    """A mover that was started again goes on with the journal of the last one."""
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"), batch=2)
    await change(mover, "a", Verb.DELETE)
    await mover.authority(Q, 8, "mover-2", coming.standing.conf.home, FAR)
    assert await mover.import_batch(Q, 8, 2, [coming.parcel("a")], [], b"") == []
    assert await state(mover, "a") is None
    assert await mover.taken(Q, 2) == ["a"]


async def test_a_configuration_comes_by_configure(mover: MovingStore) -> None:
    """Both layers, while the queue arrives; what came before stays under them."""
    coming = await arrive(mover)
    await coming.take(coming.parcel("a"))
    conf = await mover.conf(Q)
    await mover.configure(Q, dataclasses.replace(conf, declared=Limits(lease=5000), override=Limits(paused="x")))
    await coming.go(HERE, None)
    assert (await Worker(mover).exchange((), 1)).paused == "x"
