"""Life: opening, closing, answering, and what a store says of itself."""

from __future__ import annotations

import asyncio

from queuekit.domain.state import State
from queuekit.store.direct import direct
from queuekit.store.parts import Used
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Blocking, Harness
from queuekit.testing.conformance.words import HOUR, SECOND, Producer, Worker, names, spec, state

PARTS = {"unique", "usage", "within", "groups", "limits", "schedules", "relay", "mover", "events"}


async def test_capabilities_are_known_words(store: JobStore) -> None:
    able = store.capabilities
    assert able.parts <= PARTS
    assert able.counted_at in {"settle", "prune"}
    assert able.totals in {"exact", "late"}
    assert able.wake in {"notify", "poll"}
    assert 0 <= able.order_skew <= 1000


async def test_opening_an_open_store_changes_nothing(store: JobStore) -> None:
    await Producer(store).put("a")
    before = await store.ping()

    await store.open()

    assert (await store.ping()).store_id == before.store_id
    assert await state(store, "a") is State.WAITING


async def test_many_may_open_a_new_store_at_once(contended: None, harness: Harness, port: str) -> None:
    if port == "blocking":
        stores = await asyncio.gather(*(asyncio.to_thread(direct, harness.open_store(True)) for _ in range(4)))
        pongs = [direct(opened.ping()) for opened in stores]
    else:
        stores = await asyncio.gather(*(harness.open_store() for _ in range(4)))
        pongs = [await opened.ping() for opened in stores]

    assert len({pong.store_id for pong in pongs}) == 1


async def test_closing_twice_is_closing_once(open_store: Open) -> None:
    opened = await open_store()
    await opened.close()
    await opened.close()


async def test_jobs_outlive_the_store_object_that_wrote_them(open_store: Open, store: JobStore) -> None:
    first = await open_store()
    await Producer(first).put("a")
    await first.close()

    assert names(await Worker(store).claim()) == ["a"]


async def test_stores_over_one_namespace_see_the_same_jobs(open_store: Open, store: JobStore) -> None:
    other = await open_store()
    await Producer(store).put("a", "b")

    (job,) = await Worker(other).claim()

    assert job.id == "a"
    assert await state(store, "a") is State.ACTIVE
    assert names(await Worker(store).claim(5)) == ["b"]


async def test_both_ports_see_the_same_jobs(harness: Harness, store: JobStore, port: str) -> None:
    await Producer(store).put("a")
    if port == "blocking":
        claims = await Worker(await harness.open_store()).claim()
        assert names(claims) == ["a"]
    else:
        blocking = await harness.open_store(True)
        assert names([r for r in direct(blocking.get("orders", ["a"])) if r]) == ["a"]


async def test_a_blocking_store_never_suspends(harness: Harness, port: str) -> None:
    """`direct` raises where a call suspends: the calls that touch everything are stepped once."""
    if port == "blocking":
        plain = await harness.open_store(True)
        direct(Producer(plain).put("a", "b"))
        worker = Worker(plain)
        job, _ = direct(worker.claim(2))
        direct(worker.end(job))
        assert direct(state(plain, "a")) is State.COMPLETED
        assert direct(plain.wait(["silent"], 1)) == []


async def test_ping_tells_the_clock_and_the_identity(open_store: Open, store: JobStore) -> None:
    pong, other = await store.ping(), await (await open_store()).ping()

    assert other.store_id == pong.store_id != ""
    assert other.schema == pong.schema >= 1
    assert pong.server
    assert pong.now <= other.now <= pong.now + 60 * SECOND


async def test_every_call_answers_with_the_same_clock(harness: Harness, store: JobStore) -> None:
    await harness.advance(HOUR)
    first = (await store.ping()).now

    enqueued = (await Producer(store).put("a")).now
    exchanged = (await Worker(store).exchange()).now
    recovered = (await store.recover("orders")).now
    counted = (await store.count("orders")).now

    assert first <= enqueued <= exchanged <= recovered <= counted <= first + 60 * SECOND


async def test_the_clock_moves_for_stores_opened_before_and_after(
    harness: Harness, open_store: Open, store: JobStore
) -> None:
    before = (await store.ping()).now
    await harness.advance(HOUR)
    assert (await store.ping()).now >= before + HOUR
    assert (await (await open_store()).ping()).now >= before + HOUR


async def test_what_the_server_counts_of_itself_grows_with_use(store: JobStore) -> None:
    if "usage" in store.capabilities.parts:
        before = await used(store)
        for call in range(20):
            await Producer(store).put(*(spec(f"j{call}-{i}", body=b"%d" % i * 500) for i in range(20)))
        after = await used(store)

        assert after.bytes > before.bytes >= 0
        for one, two in ((before.commands, after.commands), (before.requests, after.requests)):
            assert (one is None) is (two is None)
            assert one is None or two is None or two >= one + 20


async def used(store: JobStore) -> Used:
    """Ask the part `usage`, which stands beside the core."""
    if isinstance(store, Blocking):
        answer: Used = direct(store.plain.usage())  # type: ignore[attr-defined]  # the part is there
    else:
        answer = await store.usage()  # type: ignore[attr-defined]  # the part is there
    return answer
