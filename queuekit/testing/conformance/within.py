"""Within a transaction of the application: its data and the jobs come together or not at all; where a store can.

What a store cannot promise without rollback, and how it tells of it, is for its own tests.
"""

from __future__ import annotations

import pytest

from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Receipt
from queuekit.domain.query import Totals
from queuekit.domain.state import State
from queuekit.errors import Conflict, PayloadTooLarge, QueueFull
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Begin, Open
from queuekit.testing.conformance.harness import Harness, Transaction
from queuekit.testing.conformance.notify import woken
from queuekit.testing.conformance.unique import keyed
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    Actor,
    Producer,
    Q,
    Worker,
    counted,
    look,
    names,
    set_limits,
    spec,
    specs,
    totals,
)


async def join(store: JobStore, transaction: Transaction, *jobs: JobSpec | str, queue: str = Q) -> list[Receipt]:
    """Enqueue within a transaction; each call under an op of its own."""
    named = [spec(job) if isinstance(job, str) else job for job in jobs]
    return (await store.enqueue(queue, named, Actor().op(), transaction.within)).receipts


async def test_job_and_data_come_with_the_commit(harness: Harness, store: JobStore, begin: Begin) -> None:
    transaction = await begin()
    await transaction.write("order", "paid")
    assert await join(store, transaction, "a") == [Receipt("a", None)]
    assert (await store.get(Q, ["a"]), await harness.written("order")) == ([None], None)

    await transaction.commit()
    job = await look(store, "a")
    assert (job.state, job.body, await harness.written("order")) == (State.WAITING, b"j{}", "paid")
    assert (await totals(store)).enqueued == 1
    assert names([await Worker(store).take("a")]) == ["a"]


async def test_an_aborted_transaction_leaves_neither(harness: Harness, store: JobStore, begin: Begin) -> None:
    transaction = await begin()
    await join(store, transaction, "a")
    await transaction.write("order", "paid")
    await transaction.abort()

    assert (await store.get(Q, ["a"]), await harness.written("order")) == ([None], None)
    assert await totals(store) == Totals()
    assert await Worker(store).claim(5) == []
    assert (await Producer(store).put("a")).receipts == [Receipt("a", True)]


async def test_a_job_may_stand_before_and_behind_the_data(harness: Harness, store: JobStore, begin: Begin) -> None:
    transaction = await begin()
    await join(store, transaction, "a")
    await transaction.write("one", "1")
    await join(store, transaction, "b")
    await transaction.write("two", "2")
    await transaction.commit()

    assert [await harness.written(key) for key in ("one", "two")] == ["1", "2"]
    assert names(await Worker(store).claim(5)) == ["a", "b"]


async def test_many_jobs_of_one_call_keep_their_order(store: JobStore, begin: Begin) -> None:
    await Producer(store).put("before")
    transaction = await begin()
    ids = [f"j{n:03}" for n in range(150)]
    assert await join(store, transaction, *ids) == [Receipt(name, None) for name in ids]
    await transaction.commit()

    assert names(await Worker(store).claim(500)) == ["before", *ids]
    assert (await totals(store)).enqueued == 151


async def test_several_queues_in_one_transaction(store: JobStore, begin: Begin) -> None:
    transaction = await begin()
    await join(store, transaction, "a")
    await join(store, transaction, "a", queue="other")
    assert await store.get("other", ["a"]) == [None]
    await transaction.commit()

    assert names(await Worker(store).claim(5)) == names(await Worker(store, "other").claim(5)) == ["a"]
    assert await store.queues() == sorted([Q, "other"])


async def test_options_of_a_job_are_kept(harness: Harness, store: JobStore, begin: Begin) -> None:
    transaction = await begin()
    jobs = [spec("slow", priority=900), spec("later", delay=HOUR), spec("first", lifo=True), spec("quick", priority=1)]
    await join(store, transaction, *jobs, spec("traced", trace="t", options=b"o", expires_in=30 * MINUTE))
    await transaction.commit()

    assert await counted(store) == {State.WAITING: 4, State.DELAYED: 1}
    assert (await look(store, "traced")).trace == "t"
    worker = Worker(store)
    assert names(await worker.claim(9)) == ["quick", "first", "traced", "slow"]
    await harness.advance(HOUR)
    assert names(await worker.claim(9)) == ["later"]


async def test_an_id_that_exists_is_not_overwritten(harness: Harness, store: JobStore, begin: Begin) -> None:
    await Producer(store).put(spec("a", body=b"jold"))
    transaction = await begin()
    answer = await join(store, transaction, spec("a", body=b"jnew"), "b")
    assert [receipt.id for receipt in answer] == ["a", "b"]
    await transaction.write("order", "paid")
    await transaction.commit()

    assert (await look(store, "a")).body == b"jold"
    assert await harness.written("order") == "paid"
    assert (await totals(store)).enqueued == 2


async def test_a_full_queue_refuses_at_once_and_writes_nothing(harness: Harness, store: JobStore, begin: Begin) -> None:
    await set_limits(store, max_size=2)
    await Producer(store).put("a")
    transaction = await begin()
    await transaction.write("order", "paid")
    with pytest.raises(QueueFull):
        await join(store, transaction, "b", "c")
    await transaction.abort()

    assert await store.get(Q, ["b", "c"]) == [None, None]
    again = await begin()
    await join(store, again, "b")
    await again.commit()
    assert (await look(store, "b")).state is State.WAITING


async def test_a_job_too_large_is_refused_at_once(open_store: Open, begin: Begin) -> None:
    store = await open_store(payload_limit=100)
    transaction = await begin()
    with pytest.raises(PayloadTooLarge):
        await join(store, transaction, "a", spec("b", body=b"x" * 101))
    await transaction.abort()
    assert await store.get(Q, ["a", "b"]) == [None, None]


async def test_a_held_key_answers_with_its_holder_before_the_commit(
    harness: Harness, able: JobStore, begin: Begin
) -> None:
    await Producer(able).put(keyed("holder"))
    transaction = await begin()
    assert await join(able, transaction, keyed("b"), "c") == [Receipt("holder", False), Receipt("c", None)]
    await transaction.write("order", "paid")
    await transaction.commit()

    assert await able.get(Q, ["b"]) == [None]
    assert (await look(able, "c")).state is State.WAITING
    assert await harness.written("order") == "paid"


async def test_a_key_is_taken_with_the_commit(able: JobStore, begin: Begin) -> None:
    transaction = await begin()
    assert await join(able, transaction, keyed("a")) == [Receipt("a", None)]
    await transaction.commit()
    assert (await Producer(able).put(keyed("b"))).receipts == [Receipt("a", False)]


async def test_a_key_that_must_be_free_refuses_at_once(harness: Harness, able: JobStore, begin: Begin) -> None:
    await Producer(able).put(keyed("holder"))
    transaction = await begin()
    await transaction.write("order", "paid")
    with pytest.raises(Conflict):
        await join(able, transaction, "a", keyed("b", how="error"))
    await transaction.abort()
    assert (await able.get(Q, ["a", "b"]), await harness.written("order")) == ([None, None], None)


async def test_a_holder_takes_new_content_with_the_commit(able: JobStore, begin: Begin) -> None:
    await Producer(able).put(keyed("holder", body=b"jold"))
    transaction = await begin()
    assert await join(able, transaction, keyed("b", how="replace", body=b"jnew")) == [Receipt("holder", False)]
    assert (await look(able, "holder")).body == b"jold"
    await transaction.commit()
    assert (await look(able, "holder")).body == b"jnew"


async def test_of_two_transactions_with_one_key_one_comes_through(
    harness: Harness, able: JobStore, begin: Begin
) -> None:
    """The other one is refused as a whole, by the call or by its commit: its owner begins anew."""
    winner, loser = await begin(), await begin()
    for transaction, name in ((winner, "winner"), (loser, "loser")):
        await transaction.write(name, "1")
    await join(able, winner, keyed("a", how="error"))
    try:
        await join(able, loser, keyed("b", how="error"))
    except Exception:  # noqa: BLE001  whichever the driver has for it
        await loser.abort()
        await winner.commit()
    else:
        await winner.commit()
        with pytest.raises(Exception):  # noqa: B017, PT011  as above
            await loser.commit()

    assert (await look(able, "a")).state is State.WAITING
    assert await able.get(Q, ["b"]) == [None]
    assert [await harness.written(name) for name in ("winner", "loser")] == ["1", None]


async def test_whoever_waits_is_woken_by_the_commit(
    contended: None, open_store: Open, store: JobStore, begin: Begin
) -> None:
    transaction = await begin()

    async def commit(other: JobStore) -> None:
        await join(other, transaction, "a")
        await transaction.commit()

    assert await woken(store, await open_store(), commit) == [Q]
    assert names(await Worker(store).claim()) == ["a"]


async def test_what_others_do_meanwhile_is_not_in_the_way(store: JobStore, begin: Begin) -> None:
    producer, worker = Producer(store), Worker(store)
    await producer.put(*specs(["x", "y"]))
    transaction = await begin()
    await join(store, transaction, "a")
    await producer.put("z")
    for job in await worker.claim(2):
        await worker.end(job)
    await transaction.commit()
    assert names(await worker.claim(5)) in (["z", "a"], ["a", "z"])
    assert (await totals(store)).enqueued == 4
