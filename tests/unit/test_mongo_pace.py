"""How the MongoDB store keeps pace: calls side by side, drains at full speed, and large exchanges in two commands."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from queuekit_mongo.backend import backend
from queuekit_mongo.commands import Done
from queuekit_mongo.store import MongoStore, exchange
from queuekit_mongo.store.room import BRISK, VIEW_AGE, Mark

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Exchange, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.errors import StoreUnavailable
from queuekit.store.registry import StoreOptions


@pytest_asyncio.fixture
async def store(mongo_url: str) -> AsyncIterator[MongoStore]:
    made = backend.asynchronous(mongo_url, StoreOptions(namespace="p" + secrets.token_hex(5)))
    await made.open()
    yield made
    await made.close()


async def put(store: MongoStore, many: int, **said: Any) -> None:
    made = [JobSpec(id=f"{said.get('priority', 100)}-{n:04}", task="t", body=b"j{}", **said) for n in range(many)]
    await store.enqueue("q", made, Op(ids.nonce(), 1))


async def call(store: MongoStore, op: Op, want: int, ends: Sequence[Outcome] = ()) -> Exchange:
    return await store.exchange("q", op, ends, Ask(want=want))


class Heard:
    """The calls of a port, by name."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.calls = inner, list[tuple[str, Any]]()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def heard(*args: Any, **said: Any) -> Any:
            self.calls.append((name, args))
            return await found(*args, **said)

        return heard


async def test_two_calls_of_one_store_under_way_choose_different_jobs(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, 30)
    one, other = Op(ids.nonce(), 2), Op(ids.nonce(), 2)
    for op in (one, other):
        await call(store, Op(op.actor, 1), 0)
    port: Any = store.room.port
    bulk, met = port.bulk, asyncio.Barrier(2)
    asked: list[int] = []

    async def together(room: str, writes: Any, apart: int = 0) -> Done:
        asked.append(sum(write.expects for write in writes))
        await met.wait()  # neither claims before the other has chosen
        done: Done = await bulk(room, writes, apart)
        asked.append(-done.met)
        return done

    monkeypatch.setattr(port, "bulk", together)
    replies = await asyncio.gather(call(store, one, 10), call(store, other, 10))
    claimed = [job.id for reply in replies for job in reply.claims]
    assert sorted(claimed) == [f"100-{n:04}" for n in range(20)]
    assert sum(asked) == 0  # each statement met all it named: no round was lost
    assert store.room.chosen["q"] == set()


async def test_a_drain_at_full_speed_reads_jobs_only_and_looks_at_the_queue_now_and_then(store: MongoStore) -> None:
    """The head of the queue is at most VIEW_AGE old, and one configured here is read at once."""
    await put(store, 60)
    clock, actor = [1000.0], ids.nonce()
    await call(store, Op(actor, 1), 0)
    port: Any = store.room.port
    heard = Heard(port)
    store.room.through(lambda _: heard)
    port.monotonic = lambda: clock[0]
    store.room.claimed["q"] = BRISK
    await call(store, Op(actor, 2), 5)  # a look, and from now on a mark
    heard.calls.clear()
    for n in (3, 4):
        clock[0] += VIEW_AGE / 4
        assert len((await call(store, Op(actor, n), 5)).claims) == 5
    assert [name for name, _ in heard.calls] == ["find", "bulk", "find", "bulk"]
    heard.calls.clear()
    clock[0] += VIEW_AGE
    assert len((await call(store, Op(actor, 5), 5)).claims) == 5
    assert [name for name, _ in heard.calls] == ["aggregate", "bulk"]

    conf = await store.conf("q")
    await store.configure("q", type(conf)(rev=conf.rev, override=Limits(paused="now")))
    reply = await call(store, Op(actor, 6), 5)
    assert (reply.claims, reply.paused) == ([], "now")


async def test_jobs_of_a_claim_that_failed_are_not_left_before_the_mark(store: MongoStore) -> None:
    """Whoever comes next gets them, at once: the mark that stands behind them falls with the claim."""
    await put(store, 60)
    actor, port = ids.nonce(), store.room.port
    store.room.claimed["q"] = BRISK
    for n in (1, 2):
        assert len((await call(store, Op(actor, n), 5)).claims) == 5  # from now on a mark
    assert "q" in store.room.marks
    real = port.bulk

    async def away(*_: Any) -> Any:
        port.bulk = real  # type: ignore[method-assign]  # once
        raise StoreUnavailable("refused", outcome="refused")

    port.bulk = away  # type: ignore[method-assign,assignment]  # the fault
    with pytest.raises(StoreUnavailable):
        await call(store, Op(actor, 3), 5)
    following = await call(store, Op(ids.nonce(), 1), 5)
    assert [job.id for job in following.claims] == [f"100-{n:04}" for n in range(10, 15)]


async def test_an_urgent_job_of_this_store_is_not_behind_the_mark(store: MongoStore) -> None:
    await put(store, 20)
    actor = ids.nonce()
    await call(store, Op(actor, 1), 1)
    view = await store.room.view("q")
    store.room.marks["q"] = Mark(100, 0, view.at + 1000)
    assert store.room.brisk("q") is not None
    await put(store, 1, priority=1)
    assert [job.id for job in (await call(store, Op(actor, 2), 2)).claims] == ["1-0000", "100-0001"]


@pytest.mark.parametrize("fate", ["whole", "an end was taken", "a job was taken"])
async def test_a_large_exchange_is_two_commands_with_the_effect_of_one(
    store: MongoStore, mongo_url: str, fate: str
) -> None:
    many, actor = exchange.APART + 4, ids.nonce()
    await put(store, 3 * many)
    first = await call(store, Op(actor, 1), many)
    ends = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in first.claims]
    other = backend.asynchronous(mongo_url, store.room.options)
    await other.open()
    if fate == "an end was taken":
        await other.exchange("q", Op(ids.nonce(), 1), ends[:1], Ask())
    heard = Heard(store.room.port)
    store.room.through(lambda _: heard)
    if fate == "a job was taken":
        aggregate = heard.inner.aggregate

        async def late(pipe: Any) -> Any:
            found = await aggregate(pipe)
            if pipe.room == "jobs":
                assert len((await other.exchange("q", Op(ids.nonce(), 1), (), Ask(want=1))).claims) == 1
            return found

        heard.inner.aggregate = late
    reply = await call(store, Op(actor, 2), many, ends)

    cuts = [args[2] for name, args in heard.calls if name == "bulk" and len(args) > 2]
    assert cuts[0] >= 1  # ends on one side, claims on the other
    assert [refused[0] for refused in reply.refused] == ([ends[0].id] if fate == "an end was taken" else [])
    assert len({job.id for job in reply.claims}) == len(reply.claims) == many
    counts = await other.count("q")
    taken = 1 if fate == "a job was taken" else 0
    assert counts.states[State.COMPLETED] == many
    assert counts.states[State.ACTIVE] == many + taken
    await store.close()
    assert (await other.count("q")).totals.completed == many
    await other.close()
