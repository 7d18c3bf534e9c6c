"""Moving, the whole way: a queue of every kind of job goes from this store to another, and from another to this one.

The other store is the model. What must be equal is everything but places and who brought a job.
"""

from __future__ import annotations

import dataclasses

import pytest

from queuekit.domain.job import KEEP_NOTHING, JobRecord, Retention, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Totals, Verb
from queuekit.domain.state import State
from queuekit.errors import Arriving, Moved
from queuekit.store.parts import MovingStore
from queuekit.testing.conformance.transit import FAR, GONE, HERE, Coming, Leaving, Pair, arrive, ids, leave, same
from queuekit.testing.conformance.unique import Until, keyed
from queuekit.testing.conformance.words import (
    DAY,
    HOUR,
    LEASE,
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
    spec,
    state,
    totals,
)


class Round:
    """A mover that does one thing after the other, and keeps what it carried."""

    def __init__(self, leaving: Leaving, coming: Coming) -> None:
        self.leaving, self.coming = leaving, coming
        self.carried: list[Parcel] = []

    async def bring(self, *, limit: int = 7, history: bool = False) -> int:
        """Carry what can be checked out, batch by batch; how many."""
        before = len(self.carried)
        while parcels := await self.leaving.out(limit, history=history):
            assert await self.coming.take(*(self.coming.moved(parcel) for parcel in parcels)) == []
            there = await self.coming.store.get(Q, ids(parcels))
            assert [same(job) for job in there if job] == [same(parcel.record) for parcel in parcels]
            assert (await self.leaving.confirm(*ids(parcels))).removed == len(parcels)
            self.carried += parcels
        return len(self.carried) - before

    async def hold(self) -> list[str]:
        """Hold what runs."""
        parcels = await self.leaving.store.running(Q, "", 100)
        assert await self.coming.take(*(self.coming.moved(parcel) for parcel in parcels)) == []
        return ids(parcels)

    async def keys(self) -> list[HeldKey]:
        """Carry keys whose jobs are gone."""
        keys = await self.leaving.store.timed_keys(Q, "", 100)
        assert await self.coming.take(keys=keys) == []
        return keys


async def begin(pair: Pair) -> Round:
    coming = await arrive(pair.target)
    return Round(await leave(pair.harness, pair.source), coming)


async def mixed(pair: Pair) -> Worker:
    """A queue with jobs of every kind; the worker holds `runs` and `snoozing`."""
    store = pair.source
    producer, worker = Producer(store), Worker(store, name="w@host")
    await producer.put(
        spec("done", keep_completed=Retention(5, None)), spec("failed"), spec("parked"), spec("retried"),
        keyed("timed", "kt", until="time", keep_completed=KEEP_NOTHING), keyed("started", "ks", until="started"),
    )  # fmt: skip
    claims = {job.id: job for job in await worker.claim(6)}
    await worker.end(claims["done"], result=b"\x00$r", logs=(b"1", b"2"), start=0, progress=b"100")
    await worker.end(claims["failed"], Kind.FAILED, error=b"E\xff", reason="no more")
    await worker.end(claims["parked"], Kind.PARKED, reason="unknown task")
    await worker.end(claims["retried"], Kind.RETRY, error=b"again", delay=HOUR)
    await worker.end(claims["timed"])
    await worker.end(claims["started"], Kind.RETRY, error=b"E")
    await producer.put("cancelled", "crashed", "crashed too")
    assert (await change(store, "cancelled", Verb.CANCEL, reason="ü")).ok
    assert names(await worker.claim(1)) == ["started"]
    assert names(await worker.claim(2)) == ["crashed", "crashed too"]
    await recover(store)
    await pair.advance(LEASE + SECOND)
    await recover(store)
    await producer.put("runs", keyed("snoozing", "kz"))
    claims = {job.id: job for job in await worker.claim(9, suspect=False)}
    assert sorted(claims) == ["runs", "snoozing"]
    await producer.put(
        spec("w1", body=b"x" * 3000, options=b'{"a":1}', trace="00-ü", version=3), spec("w2", expires_in=DAY),
        spec("urgent", priority=0, keep_failed=Retention(None, DAY)), spec("first", lifo=True),
        spec("second", lifo=True),
        keyed("kf", "kf"), keyed("ks2", "ks2", until="started", how="replace"), keyed("kt2", "kt2", until="time"),
        spec("d2", delay=2 * HOUR), spec("d1", delay=HOUR), spec("low", priority=1000),
    )  # fmt: skip
    await store.watch(Q, "w2", 0)
    return worker


async def whole(store: MovingStore) -> dict[str, JobRecord]:
    """Every job, without what may differ; of those that run only what both sides have."""
    found: dict[str, JobRecord] = {}
    for each in State:
        for name in await listed(store, each):
            found[name] = same(await look(store, name))
    return found


async def test_every_kind_of_job_arrives_as_it_was(able: MovingStore, pair: Pair) -> None:
    await mixed(pair)
    before, lines = await whole(pair.source), {each: await listed(pair.source, each) for each in State}
    source_totals = await totals(pair.source)
    tour = await begin(pair)

    assert await tour.hold() == ["runs", "snoozing"]
    await tour.bring()
    await tour.keys()
    await tour.bring(history=True)
    await tour.coming.go(add=source_totals)

    after = await whole(pair.target)
    assert sorted(after) == sorted(before)
    for name, job in before.items():
        if job.state is State.ACTIVE:
            job.token = job.lease_until = None
        assert after[name] == job, name
    assert {each: await listed(pair.target, each) for each in State if each is not State.ACTIVE} == {
        each: line for each, line in lines.items() if each is not State.ACTIVE
    }
    assert await totals(pair.target) == source_totals
    assert await counted(pair.source) == {State.ACTIVE: 2}


async def test_claims_come_in_the_order_of_the_source(able: MovingStore, pair: Pair) -> None:
    await mixed(pair)
    line = await listed(pair.source, State.WAITING)
    tour = await begin(pair)
    await tour.bring()
    await tour.coming.go()
    worker = Worker(pair.target)
    suspects = [name for name in line if name.startswith(("crashed", "started"))]
    assert names(await worker.claim(50, suspect=False)) == [name for name in line if name not in suspects]
    came = [names(await Worker(pair.target).claim(1)) for _ in suspects]
    assert came == [[name] for name in suspects]


async def test_keys_are_held_on_the_other_side(able: MovingStore, pair: Pair) -> None:
    await mixed(pair)
    tour = await begin(pair)
    await tour.hold()
    await tour.bring(history=True)
    assert [(key.key, key.id) for key in await tour.keys()] == [("kt", "timed")]
    await tour.coming.go(HERE, None)

    async def holder(key: str, until: Until = "finished") -> tuple[str, bool | None]:
        ttl = HOUR if until == "time" else None
        answer = await Producer(pair.target).put(spec("x" + key, unique=UniqueKey(key, until, "existing", ttl)))
        return answer.receipts[0].id, answer.receipts[0].created

    assert [await holder(key) for key in ("kf", "kz", "kt", "kt2", "ks2", "ks")] == [
        ("kf", False), ("snoozing", False), ("timed", False), ("kt2", False), ("ks2", False), ("xks", True),
    ]  # fmt: skip
    await pair.advance(2 * HOUR)
    assert await holder("kt") == ("xkt", True)


async def test_runs_end_at_the_source_and_their_outcome_follows(able: MovingStore, pair: Pair) -> None:
    worker = await mixed(pair)
    runs, snoozing = await pair.source.get(Q, ["runs", "snoozing"])
    assert runs is not None
    assert snoozing is not None
    tour = await begin(pair)
    await tour.hold()
    await tour.bring()
    await tour.coming.go()
    assert await state(pair.target, "runs") is State.ACTIVE

    await worker.end(runs, result=b"42")
    await worker.end(snoozing, Kind.SNOOZED, delay=HOUR)
    assert await tour.bring(history=True) >= 2
    await tour.leaving.go(GONE)
    assert await tour.bring(history=True) == 0
    await tour.coming.go(HERE, None)

    job = await look(pair.target, "runs")
    assert (job.state, job.result, job.token) == (State.COMPLETED, b"42", runs.token)
    assert await state(pair.target, "snoozing") is State.DELAYED
    assert (await Producer(pair.target).put(keyed("y", "kz"))).receipts[0].id == "snoozing"
    assert await counted(pair.source) == {}
    assert await pair.target.journal(Q) is None
    assert await pair.source.journal(Q) is None
    assert (await pair.source.conf(Q)).to == FAR


async def test_an_awaited_job_is_kept_on_the_other_side(able: MovingStore, pair: Pair) -> None:
    await Producer(pair.source).put(spec("a", keep_completed=KEEP_NOTHING), spec("b", keep_completed=KEEP_NOTHING))
    await pair.source.watch(Q, "b", 0)
    tour = await begin(pair)
    await tour.bring()
    await tour.coming.go(HERE, None)
    worker = Worker(pair.target)
    for job in await worker.claim(2):
        await worker.end(job)
    assert [await state(pair.target, name) for name in "ab"] == [None, State.COMPLETED]


async def test_retention_classes_go_on_on_the_other_side(pair: Pair) -> None:
    await set_limits(pair.target, keep_completed=Retention(count=3))
    producer, worker = Producer(pair.source), Worker(pair.source)
    for n in range(4):
        await producer.put(spec(f"own{n}", keep_completed=Retention(count=2)), f"c{n}")
        for job in await worker.claim(2):
            await worker.end(job)
        await pair.advance(SECOND)
    tour = await begin(pair)
    await tour.bring(history=True)
    await tour.coming.go(HERE, None)
    await Producer(pair.target).put("new")
    there = Worker(pair.target)
    await there.end(await there.take("new"))
    await pair.target.prune(Q)
    assert sorted(await listed(pair.target, State.COMPLETED)) == ["c2", "c3", "new", "own2", "own3"]


async def test_callers_are_sent_where_the_queue_is(pair: Pair) -> None:
    """What a producer that asks first does, at every step of a move."""
    await Producer(pair.source).put("a", "b")
    tour = await begin(pair)
    await tour.leaving.out(1)
    with pytest.raises(Moved):
        await Producer(pair.source).put("a")
    with pytest.raises(Arriving):
        await Producer(pair.target).put("a")
    known = await pair.source.known(Q, ["a", "new"], [])
    assert known is not None
    assert known.ids == {"a"}
    answer = await pair.target.enqueue(Q, [spec("new")], Actor().op(), asked=True)
    assert answer.receipts[0].created is True
    await tour.leaving.restore()
    await tour.bring()
    await tour.coming.go()
    known = await pair.source.known(Q, ["a", "new"], [])
    assert known is not None
    assert known.ids == set()
    again = await pair.target.enqueue(Q, [spec("a"), spec("new")], Actor().op(), asked=True)
    assert [receipt.created for receipt in again.receipts] == [False, False]
    assert names(await Worker(pair.target).claim(9)) == ["a", "b", "new"]


async def test_there_and_back_is_where_it_began(able: MovingStore, pair: Pair) -> None:
    worker = await mixed(pair)
    for job in await pair.source.get(Q, ["runs", "snoozing"]):
        assert job is not None
        await worker.end(job, Kind.RELEASED)
    before, line = await whole(pair.source), await listed(pair.source, State.WAITING)
    tour = await begin(pair)
    await tour.bring(history=True)
    await tour.keys()
    await tour.coming.go()
    await tour.leaving.go(GONE)
    await tour.coming.go(HERE, None)
    assert await counted(pair.source) == {}

    back = Round(await leave(pair.harness, pair.target, epoch=9), await arrive(pair.source, epoch=9))
    await back.bring(limit=4, history=True)
    await back.keys()
    await back.coming.go(HERE, None)

    assert await whole(pair.source) == before
    assert await listed(pair.source, State.WAITING) == line
    assert await counted(pair.target) == {}
    assert (await Producer(pair.source).put(keyed("z", "kt"))).receipts[0].id == "timed"


async def test_an_abandoned_move_brings_back_what_was_added_meanwhile(pair: Pair) -> None:
    await Producer(pair.source).put("a", "b", "c", "d")
    job = await Worker(pair.source).take("a")
    tour = await begin(pair)
    await tour.hold()
    first = await tour.leaving.out(1)
    await tour.coming.take(*(tour.coming.moved(parcel) for parcel in first))
    await tour.leaving.confirm("b")
    await tour.leaving.out(1)
    await pair.target.enqueue(Q, [spec("new")], Actor().op(), asked=True)

    assert await pair.target.unhold(Q, tour.coming.epoch) == ["a"]
    assert await tour.leaving.restore() == 1
    back = Round(await leave(pair.harness, pair.target, epoch=5), await arrive(pair.source, epoch=5))
    parcels = await back.leaving.out()
    assert ids(parcels) == ["b", "new"]
    there = back.coming.moved(parcels[0])
    assert await back.coming.take(there, dataclasses.replace(parcels[1], back=True)) == []
    await back.leaving.confirm("b", "new")
    await back.coming.go(HERE, None)
    await back.leaving.go(GONE)

    assert names(await Worker(pair.source).claim(9)) == ["b", "c", "d", "new"]
    assert (await look(pair.source, "a")).token == job.token
    assert await counted(pair.target) == {}


async def test_totals_follow(pair: Pair) -> None:
    await Producer(pair.source).put("a", "b")
    worker = Worker(pair.source)
    a = await worker.take("a")
    tour = await begin(pair)
    await tour.hold()
    await tour.bring()
    first = await totals(pair.source)
    await tour.coming.go(add=first)
    await worker.end(a)
    await tour.bring(history=True)
    await tour.leaving.go(GONE)
    last = await totals(pair.source)
    rest = Totals(enqueued=last.enqueued - first.enqueued, completed=last.completed - first.completed)
    await tour.coming.go(HERE, None, add=rest)
    assert await totals(pair.target) == last == Totals(enqueued=2, completed=1)
