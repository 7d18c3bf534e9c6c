"""Unique keys: one job a key until it finished, started, or a time is over; where the store has the part."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from queuekit.domain.job import KEEP_NOTHING, JobSpec, UniqueKey
from queuekit.domain.outcome import Kind
from queuekit.domain.query import No, Verb
from queuekit.domain.state import State
from queuekit.errors import QueueFull, Unsupported
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.words import (
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
    look,
    names,
    receipts,
    recover,
    set_limits,
    spec,
    specs,
    state,
    totals,
)

Until = Literal["finished", "started", "time"]


def keyed(id: str, key: str = "k", *, until: Until = "finished", how: str = "existing", **said: Any) -> JobSpec:
    """A job with a unique key."""
    ttl = said.pop("ttl", HOUR if until == "time" else None)
    unique = UniqueKey(key, until, how, ttl, said.pop("max_wait", None))  # type: ignore[arg-type]  # a Literal by value
    return spec(id, unique=unique, **said)


async def free(store: JobStore, id: str, key: str = "k", **said: Any) -> bool:
    """Whether a new job gets the key; then it holds it."""
    (receipt,) = (await Producer(store).put(keyed(id, key, **said))).receipts
    return receipt.created is True


async def test_a_store_without_unique_keys_says_so(store: JobStore) -> None:
    if "unique" not in store.capabilities.parts:
        with pytest.raises(Unsupported):
            await Producer(store).put("b", keyed("a"))
        assert await counted(store) == {}


@pytest.mark.parametrize("until", ["finished", "started", "time"])
async def test_a_held_key_answers_with_its_holder(able: JobStore, until: Until) -> None:
    await Producer(able).put(keyed("a", until=until, body=b"first"))

    answer = await Producer(able).put("x", keyed("b", until=until, body=b"second"))

    assert answer.receipts == receipts(("x", True), ("a", False))
    assert await state(able, "b") is None
    assert (await look(able, "a")).body == b"first"
    assert (await totals(able)).enqueued == 2


@pytest.mark.parametrize("until", ["finished", "started", "time"])
async def test_a_record_tells_its_key(able: JobStore, until: Until) -> None:
    await Producer(able).put(keyed("a", until=until))
    assert (await look(able, "a")).unique == UniqueKey("k", until, "existing", HOUR if until == "time" else None)
    (claim,) = await Worker(able).claim()
    assert claim.unique == (await look(able, "a")).unique


async def test_two_keys_are_two_jobs_and_no_key_is_none(able: JobStore) -> None:
    answer = await Producer(able).put(keyed("a", "k1"), keyed("b", "k2"), "c", "d")
    assert [receipt.created for receipt in answer.receipts] == [True] * 4


async def test_a_key_is_of_one_queue(able: JobStore) -> None:
    await Producer(able, "one").put(keyed("a"))
    answer = await Producer(able, "two").put(keyed("a"))
    assert answer.receipts == receipts(("a", True))


async def test_in_one_call_the_first_takes_the_key(able: JobStore) -> None:
    answer = await Producer(able).put(keyed("a"), keyed("b"), keyed("c", "other"), keyed("d", "other"))
    assert answer.receipts == receipts(("a", True), ("a", False), ("c", True), ("c", False))
    assert names(await Worker(able).claim(9)) == ["a", "c"]


async def test_an_id_that_exists_is_answered_before_its_key_is_looked_at(able: JobStore) -> None:
    await Producer(able).put(keyed("a", "k1"), keyed("b", "k2"))
    assert (await Producer(able).put(keyed("a", "k2"))).receipts == receipts(("a", False))


# ---- until finished


@pytest.mark.parametrize("kind", [Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED])
async def test_until_finished_is_until_the_last_run_ended(able: JobStore, kind: Kind) -> None:
    await Producer(able).put(keyed("a"))
    worker = Worker(able)
    job = await worker.take("a")
    assert not await free(able, "b")
    await worker.end(job, Kind.RETRY, delay=HOUR)
    assert not await free(able, "b")
    await change(able, "a", Verb.PROMOTE)
    await worker.end(await worker.take("a"), Kind.RELEASED)
    assert not await free(able, "b")
    await worker.end(await worker.take("a"), Kind.PARKED)
    assert not await free(able, "b")
    await change(able, "a", Verb.REOPEN)
    await worker.end(await worker.take("a"), kind)
    assert await free(able, "b")


@pytest.mark.parametrize("how", ["cancel", "delete", "removed", "expired", "prune", "crashed"])
async def test_a_key_is_free_when_its_job_ended_without_a_run(harness: Harness, able: JobStore, how: str) -> None:
    await set_limits(able, max_crashes=1)
    await Producer(able).put(keyed("a", keep_completed=KEEP_NOTHING, expires_in=MINUTE if how == "expired" else None))
    worker = Worker(able)
    if how in ("cancel", "delete"):
        assert (await change(able, "a", Verb(how))).ok
    elif how == "removed":
        await worker.end(await worker.take("a"))
    elif how == "crashed":
        await worker.take("a")
        await harness.advance(LEASE + SECOND)
        assert (await recover(able)).crashed == ["a"]
    else:
        await harness.advance(2 * MINUTE)
        if how == "prune":
            assert await able.prune(Q, state=State.WAITING) == (1, False)
        else:
            assert await worker.claim() == []
    assert await free(able, "b")


async def test_a_recovered_job_still_holds_its_key(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("a"))
    await Worker(able).take("a")
    await harness.advance(LEASE + SECOND)
    await recover(able)
    assert not await free(able, "b")


async def test_the_end_of_an_old_holder_does_not_free_the_key_of_the_new(able: JobStore) -> None:
    await Producer(able).put(keyed("a"))
    worker = Worker(able)
    await worker.end(await worker.take("a"))
    assert await free(able, "b")
    await change(able, "a", Verb.DELETE)
    assert not await free(able, "c")


async def test_an_id_that_came_again_with_another_key_has_given_up_the_first(able: JobStore) -> None:
    await Producer(able).put(keyed("a", "k1", keep_completed=KEEP_NOTHING))
    worker = Worker(able)
    await worker.end(await worker.take("a"))
    await change(able, "a", Verb.DELETE)  # a store may still keep a trace of it
    assert await free(able, "a", "k2")
    assert await free(able, "b", "k1")
    assert not await free(able, "c", "k2")


# ---- until started


async def test_until_started_is_until_the_first_claim(able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="started"))
    assert not await free(able, "b", until="started")
    worker = Worker(able)
    await worker.take("a")
    assert await free(able, "b", until="started")
    assert not await free(able, "c", until="started")
    await worker.take("b")
    assert await free(able, "c", until="started")


async def test_a_delayed_job_holds_its_key_until_it_started(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="started", delay=MINUTE))
    assert not await free(able, "b", until="started")
    await harness.advance(2 * MINUTE)
    assert names(await Worker(able).claim()) == ["a"]
    assert await free(able, "b", until="started")


async def test_a_job_back_from_its_run_does_not_take_the_key_from_another(able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="started"))
    worker = Worker(able)
    job = await worker.take("a")
    assert await free(able, "b", until="started")
    await worker.end(job, Kind.RELEASED)
    assert not await free(able, "c", until="started")
    await worker.end(await worker.take("a"))
    assert not await free(able, "c", until="started")


@pytest.mark.parametrize("kind", [Kind.RELEASED, Kind.RETRY, Kind.SNOOZED])
async def test_a_key_that_was_freed_at_the_start_stays_free(able: JobStore, kind: Kind) -> None:
    await Producer(able).put(keyed("a", until="started"))
    worker = Worker(able)
    await worker.end(await worker.take("a"), kind)
    assert await free(able, "b", until="started")
    assert names(await worker.claim(5)) == ["a", "b"]


# ---- until a time


async def test_until_a_time_outlives_the_job(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="time", ttl=HOUR, keep_completed=KEEP_NOTHING))
    worker = Worker(able)
    await worker.end(await worker.take("a"))
    assert await state(able, "a") is None

    answer = await Producer(able).put(keyed("b", until="time", ttl=HOUR))
    assert answer.receipts == receipts(("a", False))
    await harness.advance(HOUR - MINUTE)
    assert not await free(able, "b", until="time")
    await harness.advance(2 * MINUTE)
    assert await free(able, "b", until="time")


async def test_until_a_time_is_over_even_if_the_job_lives(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="time", ttl=MINUTE))
    await harness.advance(2 * MINUTE)
    assert await free(able, "b", until="time", ttl=MINUTE)
    assert names(await Worker(able).claim(9)) == ["a", "b"]


async def test_until_a_time_is_not_over_at_the_jobs_end(able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="time"))
    worker = Worker(able)
    await worker.end(await worker.take("a"), Kind.FAILED)
    assert not await free(able, "b", until="time")


async def test_a_refused_job_does_not_lengthen_the_time(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("a", until="time", ttl=HOUR))
    await harness.advance(40 * MINUTE)
    assert not await free(able, "b", until="time", ttl=HOUR)
    await harness.advance(30 * MINUTE)
    assert await free(able, "b", until="time", ttl=HOUR)


# ---- with the rest


async def test_a_refused_job_does_not_count_as_one_more(able: JobStore) -> None:
    await set_limits(able, max_size=1)
    await Producer(able).put(keyed("a"))
    assert not await free(able, "b")
    with pytest.raises(QueueFull):
        await Producer(able).put(keyed("c", "other"))
    await change(able, "a", Verb.DELETE)
    assert await free(able, "d", "other")


async def test_a_repeated_enqueue_finds_its_own_key_taken_by_itself(able: JobStore) -> None:
    op = Producer(able).actor.op()
    jobs = [keyed("a"), keyed("b"), keyed("c", "k2")]
    first = await able.enqueue(Q, jobs, op)
    again = await able.enqueue(Q, jobs, op)
    assert again.receipts == first.receipts == receipts(("a", True), ("a", False), ("c", True))


@pytest.mark.parametrize("until", ["finished", "started"])
async def test_a_job_retried_by_a_person_takes_its_key_again(able: JobStore, until: Until) -> None:
    await Producer(able).put(keyed("a", until=until))
    worker = Worker(able)
    await worker.end(await worker.take("a"), Kind.FAILED)
    assert (await change(able, "a", Verb.RETRY)).ok
    assert not await free(able, "b", until=until)


@pytest.mark.parametrize("until", ["finished", "started"])
async def test_a_job_whose_key_is_held_by_another_is_not_retried(able: JobStore, until: Until) -> None:
    await Producer(able).put(keyed("a", until=until))
    worker = Worker(able)
    await worker.end(await worker.take("a"), Kind.FAILED)
    assert await free(able, "b", until=until)
    before = await look(able, "a")

    answer = await change(able, "a", Verb.RETRY)

    assert (answer.ok, answer.no, answer.state) == (False, No.HELD, State.FAILED)
    assert await look(able, "a") == before
    await change(able, "b", Verb.DELETE)
    assert (await change(able, "a", Verb.RETRY)).ok


async def test_keys_go_with_an_obliterated_queue(able: JobStore) -> None:
    await Producer(able).put(keyed("a"), keyed("b", "t", until="time"))
    await able.obliterate(Q)
    assert await free(able, "c")
    assert await free(able, "d", "t", until="time")


async def test_keys_go_with_their_jobs_where_obliterating_stopped_half_way(able: JobStore) -> None:
    await Producer(able).put(*(keyed(f"j{i}", f"k{i}") for i in range(4)))
    assert await able.obliterate(Q, limit=2) == (2, True)
    gone = [job is None for job in await able.get(Q, [f"j{i}" for i in range(4)])]
    assert [await free(able, f"new{i}", f"k{i}") for i in range(4)] == gone


@pytest.mark.parametrize(
    "key", ["$k", "a.b", "", "x" * 1000, 'quote"\\', "line\nbreak", "nul\x00", "ключ", "{k}", "a:b/c"]
)
async def test_a_key_may_be_any_text(able: JobStore, key: str) -> None:
    assert await free(able, "a", key)
    assert not await free(able, "b", key)
    record = await look(able, "a")
    assert record.unique is not None
    assert record.unique.key == key
    await change(able, "a", Verb.CANCEL)
    assert await free(able, "b", key)


async def test_many_keys_in_one_call_are_each_one_job(able: JobStore) -> None:
    answer = await Producer(able).put(*(keyed(f"j{i:03}", f"k{i % 50}") for i in range(200)), *specs(["x"]))
    assert sum(receipt.created is True for receipt in answer.receipts) == 51
    assert [receipt.id for receipt in answer.receipts[50:100]] == [f"j{i:03}" for i in range(50)]


async def test_a_repeat_tells_which_of_equal_ids_made_the_job(open_store: Open, able: JobStore) -> None:
    op = Actor().op()
    jobs = [spec("a", unique=UniqueKey("k")), spec("b", unique=UniqueKey("k")), spec("b", unique=UniqueKey("l"))]
    first = await able.enqueue(Q, jobs, op)

    again = await (await open_store()).enqueue(Q, jobs, op)

    assert first.receipts == again.receipts == receipts(("a", True), ("a", False), ("b", True))


async def test_a_job_whose_id_was_removed_before_may_be_replaced_by_its_own_call(able: JobStore) -> None:
    await Producer(able).put("a")
    assert (await change(able, "a", Verb.DELETE)).ok

    await Producer(able).put(
        spec("a", unique=UniqueKey("k")), spec("b", body=b"new", unique=UniqueKey("k", on_conflict="replace"))
    )

    assert (await look(able, "a")).body == b"new"


async def test_a_replaced_job_stands_in_its_call_where_its_new_content_was_named(able: JobStore) -> None:
    await Producer(able).put(spec("a", unique=UniqueKey("k")), spec("z"))
    again = spec("b", unique=UniqueKey("k", on_conflict="replace"))

    await Producer(able).put("c", again, "d")

    assert names(await Worker(able).claim(5)) == ["z", "c", "a", "d"]
