"""Moving in, the jobs that still run in the other store: held here until their outcome comes."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from queuekit.domain.job import UniqueKey
from queuekit.domain.moving import Clash
from queuekit.domain.outcome import Hold, Kind, Outcome, Refusal
from queuekit.domain.query import No, Note, Verb, Where
from queuekit.domain.state import Line, State
from queuekit.errors import Conflict
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.notify import LONG, SOON
from queuekit.testing.conformance.transit import HERE, Coming, arrive
from queuekit.testing.conformance.unique import free
from queuekit.testing.conformance.words import (
    DAY,
    HOUR,
    Actor,
    Q,
    Worker,
    change,
    counted,
    created,
    listed,
    look,
    names,
    recover,
    set_limits,
    spec,
    state,
    tidy,
)


async def held(store: MovingStore, *ids: str, **said: Any) -> Coming:
    """An arriving queue with jobs that run elsewhere."""
    coming = await arrive(store)
    assert await coming.take(*(coming.parcel(name, State.ACTIVE, **said) for name in ids)) == []
    return coming


async def test_a_held_job_is_active_and_nobodys(mover: MovingStore) -> None:
    coming = await arrive(mover)
    parcel = coming.parcel(
        "a", State.ACTIVE, progress=b"5", logs=(b"l",), errors=(b"E",), failures=1, claims=2, worker="w", rev=6,
        cancel="asked", line=Line.SUSPECT, crashes=1,
    )  # fmt: skip
    await coming.take(parcel)
    wanted = dataclasses.replace(parcel.record, token=None, lease_until=None, epoch=1)
    assert await look(mover, "a") == wanted
    assert await counted(mover) == {State.ACTIVE: 1}
    assert (await mover.find(Q, Where(state=State.ACTIVE))).records == [wanted]
    position = await mover.position(Q, "a")
    assert position is not None
    assert (position.state, position.ahead, position.reasons) == (State.ACTIVE, None, ["moving"])


async def test_held_jobs_are_found_before_the_others_that_run(mover: MovingStore) -> None:
    coming = await held(mover, "z", "y")
    await mover.enqueue(Q, [spec("a"), spec("b")], Actor().op(), asked=True)
    await coming.go()
    await Worker(mover).claim(2)
    assert await listed(mover, State.ACTIVE) == await listed(mover, State.ACTIVE, limit=1) == ["y", "z", "a", "b"]


async def test_nobody_claims_a_held_job(mover: MovingStore) -> None:
    coming = await held(mover, "a")
    await coming.take(coming.parcel("b"))
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["b"]


async def test_a_held_suspect_does_not_count_as_one_that_runs_here(mover: MovingStore) -> None:
    coming = await held(mover, "a", line=Line.SUSPECT)
    await coming.take(coming.parcel("b", line=Line.SUSPECT))
    await coming.go()
    assert names(await Worker(mover).claim(9)) == ["b"]


async def test_time_does_nothing_to_held_jobs(harness: Harness, mover: MovingStore) -> None:
    coming = await held(mover, "a", "b", expires_at=1)
    await coming.go()
    before = await mover.get(Q, ["a", "b"])
    await recover(mover)
    await harness.advance(400 * DAY)
    reply = await recover(mover)
    assert (reply.suspects, reply.crashed, reply.cancelled, reply.more) == ([], [], [], False)
    await tidy(mover)
    assert await mover.get(Q, ["a", "b"]) == before


async def test_jobs_that_run_here_are_recovered_beside_held_ones(harness: Harness, mover: MovingStore) -> None:
    coming = await held(mover, "h1", "h2", "h3")
    await coming.take(coming.parcel("a"))
    await coming.go()
    await Worker(mover).take("a")
    await recover(mover)
    await harness.advance(HOUR)
    assert (await recover(mover, limit=1)).suspects == ["a"]


async def test_a_held_job_is_not_renewed_noted_or_settled_here(mover: MovingStore) -> None:
    coming = await held(mover, "a")
    await coming.go()
    before = await look(mover, "a")
    for token in ("w:1", "", "None"):
        renewal = await mover.renew(Q, [Hold(id="a", token=token, progress=b"9", logs=(b"x",))], HOUR, "w", 9)
        assert (renewal.lost, renewal.strays) == (["a"], [])
        assert await mover.annotate(Q, "a", token, Note(progress=b"9")) is False
        reply = await Worker(mover).settle(Outcome("a", token, Kind.COMPLETED))
        assert reply.refused == [("a", Refusal.LOST)]
    assert await look(mover, "a") == before


@pytest.mark.parametrize("verb", list(Verb))
async def test_a_held_job_is_changed_where_it_runs(mover: MovingStore, verb: Verb) -> None:
    await held(mover, "a")
    before = await look(mover, "a")
    for rev in (None, 99):
        answer = await change(mover, "a", verb, rev=rev, body=b"new" if verb is Verb.REPLACE else None)
        assert (answer.ok, answer.no, answer.state) == (False, No.MOVED, State.ACTIVE)
    assert await look(mover, "a") == before


async def test_the_id_of_a_held_job_is_taken(mover: MovingStore) -> None:
    await held(mover, "a")
    answer = await mover.enqueue(Q, [spec("a", body=b"new"), spec("b")], Actor().op(), asked=True)
    assert created(answer) == [False, True]
    assert (await look(mover, "a")).body == b"j{}"


@pytest.mark.parametrize("how", ["existing", "replace"])
async def test_the_key_of_a_held_job_is_taken(able: MovingStore, mover: MovingStore, how: str) -> None:
    coming = await held(mover, "a", unique=UniqueKey("k"), holds=True)
    await coming.go()
    unique = UniqueKey("k", "finished", how)  # type: ignore[arg-type]  # one of three
    answer = await mover.enqueue(Q, [spec("b", unique=unique, body=b"new")], Actor().op(), asked=True)
    assert [(r.id, r.created) for r in answer.receipts] == [("a", False)]
    assert (await look(mover, "a")).body == b"j{}"


async def test_a_held_job_does_not_count_for_the_size(mover: MovingStore) -> None:
    await set_limits(mover, max_size=1)
    await held(mover, "a", "b")
    assert created(await mover.enqueue(Q, [spec("c")], Actor().op(), asked=True)) == [True]


async def test_held_jobs_stand_in_the_way_of_an_end_of_the_queue(mover: MovingStore) -> None:
    coming = await held(mover, "a")
    await coming.go(HERE, None)
    with pytest.raises(Conflict):
        await mover.obliterate(Q)
    assert await state(mover, "a") is State.ACTIVE
    assert await mover.obliterate(Q, force=True) == (1, False)


# ---- giving way


@pytest.mark.parametrize("each", [each for each in State if each is not State.BLOCKED])
async def test_a_held_job_gives_way_to_its_parcel(mover: MovingStore, each: State) -> None:
    coming = await held(mover, "a", progress=b"old", logs=(b"old",), body=b"x" * 5000)
    parcel = coming.parcel("a", each, rev=8, body=b"now", failures=2, errors=(b"E",))
    assert await coming.take(parcel) == []
    wanted = dataclasses.replace(parcel.record, epoch=1)
    if each is State.ACTIVE:
        wanted = dataclasses.replace(wanted, token=None, lease_until=None)
    assert await look(mover, "a") == wanted
    assert await counted(mover) == {each: 1}
    assert await listed(mover, each) == ["a"]
    assert await mover.taken(Q, 2) == ["a"]


async def test_a_job_whose_outcome_came_is_like_any_other(mover: MovingStore) -> None:
    coming = await held(mover, "a")
    await coming.go()
    await coming.take(coming.parcel("a", rank=0, rev=3, failures=1, errors=(b"E",)))
    assert await coming.take(coming.parcel("a", State.COMPLETED)) == [Clash(id="a", why="id", by="a")]
    worker = Worker(mover)
    await worker.end(await worker.take("a"))
    assert await state(mover, "a") is State.COMPLETED


async def test_a_job_given_back_has_the_place_it_had(mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(coming.parcel("a", State.ACTIVE, rank=0), *(coming.parcel(str(n), rank=n) for n in (1, 2, 3)))
    await coming.go()
    worker = Worker(mover)
    assert names(await worker.claim(1)) == ["1"]
    await coming.take(coming.parcel("a", rank=0))
    assert names(await worker.claim(3)) == ["a", "2", "3"]


async def test_a_job_that_gave_way_gives_its_key_to_its_parcel(able: MovingStore, mover: MovingStore) -> None:
    key = {name: UniqueKey(f"k{name}") for name in "abc"}
    coming = await arrive(mover)
    await coming.take(*(coming.parcel(name, State.ACTIVE, unique=key[name], holds=True) for name in "abc"))
    await coming.go()
    await coming.take(
        coming.parcel("a", State.COMPLETED, unique=key["a"]), coming.parcel("b", unique=key["b"], holds=True)
    )
    answer = await mover.enqueue(Q, [spec(f"{name}2", unique=key[name]) for name in "abc"], Actor().op(), asked=True)
    assert [(r.id, r.created) for r in answer.receipts] == [("a2", True), ("b", False), ("c", False)]


async def test_who_watches_a_held_job_hears_of_its_end(contended: None, mover: MovingStore) -> None:
    coming = await held(mover, "a")
    await coming.go()
    watching = asyncio.ensure_future(mover.watch(Q, "a", LONG))
    await asyncio.wait({watching}, timeout=0.2)  # most likely inside
    await coming.take(coming.parcel("a", State.COMPLETED, result=b"42"))
    job = await asyncio.wait_for(watching, SOON)
    assert job is not None
    assert (job.state, job.result) == (State.COMPLETED, b"42")


# ---- unhold


async def test_held_jobs_are_dropped_with_their_keys(able: MovingStore, mover: MovingStore) -> None:
    coming = await arrive(mover)
    await coming.take(
        coming.parcel("b", State.ACTIVE, unique=UniqueKey("kb"), holds=True), coming.parcel("a", State.ACTIVE),
        coming.parcel("w", unique=UniqueKey("kw"), holds=True),
    )  # fmt: skip
    await mover.enqueue(Q, [spec("mine")], Actor().op(), asked=True)
    await coming.go(HERE, None)
    assert names(await Worker(mover).claim(9)) == ["w", "mine"]
    assert await mover.unhold(Q, coming.epoch) == ["a", "b"]
    assert await mover.unhold(Q, coming.epoch) == []
    assert await mover.get(Q, ["a", "b"]) == [None, None]
    assert await counted(mover) == {State.ACTIVE: 2}
    assert await free(mover, "b2", "kb")
    assert not await free(mover, "w2", "kw")


async def test_single_held_jobs_are_dropped(mover: MovingStore) -> None:
    coming = await held(mover, "a", "b", "c")
    await coming.take(coming.parcel("w"))
    assert await mover.unhold(Q, coming.epoch, ids=["c", "w", "nobody", "a"]) == ["a", "c"]
    assert await counted(mover) == {State.ACTIVE: 1, State.WAITING: 1}
    assert await mover.unhold(Q, coming.epoch, ids=[]) == []


async def test_held_jobs_of_a_lost_store_go_to_the_suspect_line(
    able: MovingStore, mover: MovingStore, harness: Harness
) -> None:
    coming = await arrive(mover)
    await coming.take(
        coming.parcel("b", State.ACTIVE, rank=1, unique=UniqueKey("kb"), holds=True, crashes=1, failures=2),
        coming.parcel("a", State.ACTIVE, rank=0, cancel="asked"),
        coming.parcel("w", rank=2),
    )
    before = {name: await look(mover, name) for name in "ab"}
    assert await mover.unhold(Q, coming.epoch, lose=True) == ["a", "b"]
    for name, job in before.items():
        wanted = dataclasses.replace(job, state=State.WAITING, line=Line.SUSPECT, rev=job.rev + 1)
        assert await look(mover, name) == wanted
    assert (await mover.count(Q)).suspect == 2
    assert (await mover.count(Q)).totals.crashed == 0
    assert await listed(mover, State.WAITING) == ["a", "b", "w"]
    await coming.go(HERE, None)
    assert not await free(mover, "b2", "kb")
    worker = Worker(mover)
    first = await worker.claim(9)
    assert sorted(names(first)) == ["a", "w"]
    assert await worker.claim(9, suspect=False) == []
    assert names(await worker.claim(9)) == ["b"]


async def test_a_thousand_held_jobs_are_dropped_in_a_call(mover: MovingStore) -> None:
    coming = await arrive(mover, room=2000)
    everyone = [f"{n:04}" for n in range(1005)]
    await coming.take(*(coming.parcel(name, State.ACTIVE) for name in everyone[:600]))
    await coming.take(*(coming.parcel(name, State.ACTIVE) for name in everyone[600:]))
    first = await mover.unhold(Q, coming.epoch)
    second = await mover.unhold(Q, coming.epoch)
    assert (len(first), first + second) == (1000, everyone)
    assert await counted(mover) == {}
