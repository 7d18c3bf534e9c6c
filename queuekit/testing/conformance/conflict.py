"""Conflict: of a job whose unique key is held, and of a configuration whose revision has gone on."""

from __future__ import annotations

import dataclasses

import pytest

from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.state import State
from queuekit.errors import Conflict
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.unique import Until, free, keyed
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    SECOND,
    Producer,
    Q,
    Worker,
    look,
    names,
    receipts,
    state,
    totals,
)

# ---- on conflict: error


@pytest.mark.parametrize("until", ["finished", "started", "time"])
async def test_a_conflict_may_refuse_the_whole_call(able: JobStore, until: Until) -> None:
    await Producer(able).put(keyed("a", until=until))

    with pytest.raises(Conflict):
        await Producer(able).put("x", keyed("b", until=until, how="error"), "y")

    assert await able.get(Q, ["x", "b", "y"]) == [None] * 3
    assert (await totals(able)).enqueued == 1


async def test_a_conflict_inside_a_call_refuses_it_too(able: JobStore) -> None:
    with pytest.raises(Conflict):
        await Producer(able).put(keyed("a"), keyed("b", how="error"))
    assert await able.get(Q, ["a", "b"]) == [None, None]
    assert await free(able, "c")


async def test_a_free_key_is_no_conflict(able: JobStore) -> None:
    assert await free(able, "a", how="error")


# ---- on conflict: replace


async def test_a_waiting_holder_takes_the_new_content(able: JobStore) -> None:
    await Producer(able).put(keyed("a", body=b"old", options=b"o1", priority=10), "other")
    before = await look(able, "a")

    new = keyed("b", how="replace", body=b"new", options=b"o2", priority=3)
    answer = await Producer(able).put(new)

    assert answer.receipts == receipts(("a", False))
    record = await look(able, "a")
    assert (record.body, record.options, record.priority) == (b"new", b"o2", 3)
    assert (record.state, record.created_at) == (State.WAITING, before.created_at)
    assert record.rev > before.rev
    assert await state(able, "b") is None
    assert (await totals(able)).enqueued == 2
    assert [(job.id, job.body) for job in await Worker(able).claim(9)] == [("a", b"new"), ("other", b"j{}")]


async def test_a_delayed_holder_waits_for_the_new_time(harness: Harness, able: JobStore) -> None:
    """Debounce: as long as calls come, the job is put off."""
    worker = Worker(able)
    for text in (b"1", b"2", b"3"):
        await Producer(able).put(keyed(f"j{text.decode()}", how="replace", body=text, delay=MINUTE))
        assert await worker.claim() == []
        await harness.advance(40 * SECOND)
    assert await worker.claim() == []
    await harness.advance(30 * SECOND)
    assert [(job.id, job.body) for job in await worker.claim(5)] == [("j1", b"3")]


async def test_a_replacement_may_bring_a_job_forward_or_put_it_off(harness: Harness, able: JobStore) -> None:
    await Producer(able).put(keyed("now", "k1", delay=HOUR), keyed("later", "k2"))
    await Producer(able).put(keyed("x", "k1", how="replace"), keyed("y", "k2", how="replace", delay=HOUR))
    assert await state(able, "now") is State.WAITING
    assert await state(able, "later") is State.DELAYED
    worker = Worker(able)
    assert names(await worker.claim(5)) == ["now"]
    await harness.advance(2 * HOUR)
    assert names(await worker.claim(5)) == ["later"]


async def test_a_replaced_job_is_put_off_no_longer_than_its_longest_wait(harness: Harness, able: JobStore) -> None:
    worker = Worker(able)
    runs: list[int] = []
    for turn in range(3):
        await Producer(able).put(keyed(f"j{turn}", how="replace", delay=MINUTE, max_wait=100 * SECOND))
        await harness.advance(40 * SECOND)
        runs.append(len(await worker.claim()))
    assert runs == [0, 0, 1]


async def test_an_active_holder_is_left_and_the_new_job_is_refused(able: JobStore) -> None:
    await Producer(able).put(keyed("a", body=b"old"))
    job = await Worker(able).take("a")
    answer = await Producer(able).put(keyed("b", how="replace", body=b"new"))
    assert answer.receipts == receipts(("a", False))
    assert await look(able, "a") == job
    assert await state(able, "b") is None


async def test_in_one_call_a_replacement_finds_the_job_before_it(able: JobStore) -> None:
    answer = await Producer(able).put(keyed("a", body=b"1"), keyed("b", how="replace", body=b"2"))
    assert answer.receipts == receipts(("a", True), ("a", False))
    assert (await look(able, "a")).body == b"2"


async def test_a_configuration_that_is_written_again_is_written_once(store: JobStore) -> None:
    old = await store.configure(Q, QueueConf(override=Limits(max_size=1)))
    call = dataclasses.replace(old, declared=Limits(max_crashes=2), override=Limits(max_size=2, by="me", at=1))
    first = await store.configure(Q, call)

    again = await store.configure(Q, call)  # its answer was lost

    assert again == first == await store.conf(Q)
    assert first.rev == old.rev + 1
    with pytest.raises(Conflict):
        await store.configure(Q, dataclasses.replace(call, override=Limits(max_size=2, by="you", at=1)))
