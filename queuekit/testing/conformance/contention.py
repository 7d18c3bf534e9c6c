"""Contention: two threads, or two tasks, on one queue at once. No double claim, no lost job, and the sums add up."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from queuekit.domain.job import KEEP_ALL, JobRecord, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.errors import Conflict, QueueFull
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.harness import Blocking, Harness
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    SECOND,
    Producer,
    Q,
    Worker,
    change,
    counted,
    done,
    names,
    recover,
    set_limits,
    spec,
    totals,
)

JOBS = 200
Part = Callable[[JobStore], Awaitable[None]]


async def together(store: JobStore, *parts: Part) -> None:
    """Run the parts at once over one store: threads where it blocks, tasks where it does not."""
    if not isinstance(store, Blocking):
        await asyncio.gather(*(part(store) for part in parts))
        return
    plain, start = store.plain, threading.Barrier(len(parts))

    def run(part: Part) -> None:
        start.wait(30)
        direct(_call(part, plain))

    with ThreadPoolExecutor(
        len(parts)
    ) as threads:  # the loop's own has too few for many parts that wait for each other
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(threads, run, part) for part in parts))


async def _call(part: Part, store: JobStore) -> None:
    await part(store)


class History:
    """What the parts saw, kept by themselves and compared afterwards."""

    def __init__(self) -> None:
        self.claims: list[JobRecord] = []
        self.ended: list[str] = []
        self.refused: list[str] = []

    async def work(self, store: JobStore, *, until: int, want: int = 7, queue: str = Q) -> None:
        """Claim and complete until `until` jobs have ended or nothing came for long."""
        worker, idle = Worker(store, queue), 0
        held: list[JobRecord] = []
        while (len(self.ended) < until and idle < 2000) or held:
            answer = await worker.exchange([done(job) for job in held], want)
            refused = [name for name, _ in answer.refused]
            self.refused += refused
            self.ended += [job.id for job in held if job.id not in refused]
            self.claims += answer.claims
            held = answer.claims
            idle = 0 if held else idle + 1


async def test_each_job_is_claimed_once(contended: None, store: JobStore) -> None:
    ids = [f"j{i:04}" for i in range(JOBS)]
    await Producer(store).put(*(spec(name, keep_completed=KEEP_ALL) for name in ids))
    history = History()

    async def work(mine: JobStore) -> None:
        await history.work(mine, until=JOBS)

    await together(store, work, work)

    assert sorted(names(history.claims)) == ids
    assert sorted(history.ended) == ids
    assert history.refused == []
    assert await counted(store) == {State.COMPLETED: JOBS}
    assert (await totals(store)).completed == JOBS


async def test_claims_of_each_worker_never_overtake(contended: None, store: JobStore) -> None:
    """All jobs were there before: what one call got, and what the next one of the same worker got, is in order."""
    ids = [f"j{i:04}" for i in range(JOBS)]
    await Producer(store).put(*ids)
    seen_by: list[list[str]] = [[], []]

    async def one(mine: JobStore) -> None:
        worker = Worker(mine)
        while claims := await worker.claim(3):
            seen_by[0] += names(claims)

    async def two(mine: JobStore) -> None:
        worker = Worker(mine)
        while claims := await worker.claim(5):
            seen_by[1] += names(claims)

    await together(store, one, two)

    assert sorted(seen_by[0] + seen_by[1]) == ids
    for seen in seen_by:
        assert seen == sorted(seen)


async def test_nothing_is_lost_while_producers_and_workers_meet(
    contended: None, harness: Harness, store: JobStore
) -> None:
    history = History()

    def produce(letter: str) -> Part:
        async def part(mine: JobStore) -> None:
            producer = Producer(mine)
            for call in range(20):
                answer = await producer.put(
                    *(spec(f"{letter}{call:02}-{i}", keep_completed=KEEP_ALL) for i in range(5))
                )
                assert all(receipt.created for receipt in answer.receipts)

        return part

    async def work(mine: JobStore) -> None:
        await history.work(mine, until=200)

    await together(store, produce("a"), produce("b"), work, work)

    everyone = sorted(f"{letter}{call:02}-{i}" for letter in "ab" for call in range(20) for i in range(5))
    assert sorted(names(history.claims)) == everyone
    assert await counted(store) == {State.COMPLETED: 200}
    sums = await totals(store)
    assert (sums.enqueued, sums.completed) == (200, 200)
    if store.capabilities.order_skew == 0:
        for letter in "ab":
            order = [job.place for job in sorted(history.claims, key=lambda j: j.id) if job.id.startswith(letter)]
            assert order == sorted(order)


async def test_of_two_that_enqueue_one_id_one_creates_it(contended: None, store: JobStore) -> None:
    bits: list[bool | None] = []

    async def part(mine: JobStore) -> None:
        producer = Producer(mine)
        for i in range(60):
            bits.extend(receipt.created for receipt in (await producer.put(f"j{i}")).receipts)

    await together(store, part, part)

    assert Counter(bits) == {True: 60, False: 60}
    assert await counted(store) == {State.WAITING: 60}
    assert (await totals(store)).enqueued == 60


async def test_of_two_that_want_one_key_one_gets_it(contended: None, store: JobStore) -> None:
    if "unique" in store.capabilities.parts:
        got: list[tuple[str, bool | None]] = []

        def part(letter: str) -> Part:
            async def run(mine: JobStore) -> None:
                producer = Producer(mine)
                for i in range(40):
                    answer = await producer.put(spec(f"{letter}{i}", unique=UniqueKey(f"k{i}")))
                    got.extend((receipt.id, receipt.created) for receipt in answer.receipts)

            return run

        await together(store, part("a"), part("b"))

        winners = {name for name, created in got if created}
        assert len(winners) == 40
        assert {name for name, _ in got} == winners
        assert await counted(store) == {State.WAITING: 40}


async def test_a_cancel_and_a_claim_never_both_win(contended: None, store: JobStore) -> None:
    ids = [f"j{i:03}" for i in range(100)]
    await Producer(store).put(*ids)
    await set_limits(store, keep_completed=KEEP_ALL)
    history, asked = History(), list[str]()
    cancelled: list[str] = []

    async def cancel(mine: JobStore) -> None:
        for name in reversed(ids):
            answer = await change(mine, name, Verb.CANCEL)
            if answer.ok:
                (cancelled if answer.state is State.CANCELLED else asked).append(name)

    async def work(mine: JobStore) -> None:
        worker = Worker(mine)
        while claims := await worker.claim(3):
            history.claims += claims
            answer = await worker.settle(*(done(job) for job in claims))
            assert answer.refused == []

    await together(store, cancel, work)

    claimed = set(names(history.claims))
    assert claimed.isdisjoint(cancelled)
    assert claimed | set(cancelled) == set(ids)
    assert set(asked) <= claimed
    assert await counted(store) == {
        state: n for state, n in ((State.COMPLETED, len(claimed)), (State.CANCELLED, len(cancelled))) if n
    }


async def test_of_two_that_settle_one_run_one_is_accepted(contended: None, store: JobStore) -> None:
    await Producer(store).put(*(f"j{i}" for i in range(60)))
    claims = await Worker(store).claim(60)
    refused: list[list[str]] = []

    def part(kind: Kind) -> Part:
        async def run(mine: JobStore) -> None:
            worker, no = Worker(mine), list[str]()
            for job in claims:
                no += [name for name, _ in (await worker.settle(done(job, kind))).refused]
            refused.append(no)

        return run

    await together(store, part(Kind.COMPLETED), part(Kind.FAILED))

    assert sorted(refused[0] + refused[1]) == sorted(names(claims))
    sums = await totals(store)
    assert sums.completed + sums.failed == 60


async def test_two_that_recover_recover_each_job_once(contended: None, harness: Harness, store: JobStore) -> None:
    ids = [f"j{i:02}" for i in range(60)]
    await Producer(store).put(*ids)
    await Worker(store).claim(60)
    await harness.advance(LEASE + SECOND)
    suspects: list[str] = []

    async def part(mine: JobStore) -> None:
        more = True
        while more:
            answer = await recover(mine, limit=7)
            suspects.extend(answer.suspects)
            more = answer.more or bool(answer.suspects)

    await together(store, part, part)

    assert sorted(suspects) == ids
    assert {record.crashes for record in await store.get(Q, ids) if record is not None} == {1}
    assert (await totals(store)).crashed == 60


async def test_a_settle_and_a_recovery_never_both_win(contended: None, harness: Harness, store: JobStore) -> None:
    await Producer(store).put(*(f"j{i:02}" for i in range(60)))
    claims = await Worker(store).claim(60)
    await harness.advance(LEASE + SECOND)
    suspects, refused = list[str](), list[str]()

    async def settle(mine: JobStore) -> None:
        worker = Worker(mine)
        for job in claims:
            refused.extend(name for name, _ in (await worker.settle(done(job))).refused)

    async def sweep(mine: JobStore) -> None:
        for _ in range(30):
            suspects.extend((await recover(mine, limit=3)).suspects)

    await together(store, settle, sweep)

    assert set(refused) == set(suspects)
    assert len(suspects) == len(set(suspects))
    left = await counted(store)
    assert left.get(State.COMPLETED, 0) == 60 - len(suspects)
    assert left.get(State.WAITING, 0) == len(suspects)


async def test_due_jobs_are_promoted_once(contended: None, harness: Harness, store: JobStore) -> None:
    ids = [f"j{i:03}" for i in range(150)]
    await Producer(store).put(*(spec(name, delay=HOUR, keep_completed=KEEP_ALL) for name in ids))
    await harness.advance(2 * HOUR)
    history = History()

    async def work(mine: JobStore) -> None:
        await history.work(mine, until=150)

    await together(store, work, work)

    assert sorted(names(history.claims)) == ids
    assert await counted(store) == {State.COMPLETED: 150}


async def test_of_two_that_configure_one_revision_one_wins(contended: None, store: JobStore) -> None:
    won: list[int] = []

    def part(size: int) -> Part:
        async def run(mine: JobStore) -> None:
            for _ in range(20):
                try:
                    won.append((await set_limits(mine, max_size=size)).rev)
                except Conflict:
                    continue

        return run

    await together(store, part(1), part(2))

    assert sorted(won) == list(range(1, len(won) + 1))
    conf = await store.conf(Q)
    assert conf.rev == len(won) >= 20
    assert conf.override in (Limits(max_size=1), Limits(max_size=2))


async def test_a_full_queue_is_never_overfilled(contended: None, store: JobStore) -> None:
    await set_limits(store, max_size=25)

    def part(letter: str) -> Part:
        async def run(mine: JobStore) -> None:
            producer = Producer(mine)
            for i in range(20):
                try:
                    await producer.put(f"{letter}{i}")
                except QueueFull:
                    return

        return run

    await together(store, part("a"), part("b"))

    assert await counted(store) == {State.WAITING: 25}


async def test_workers_of_several_stores_share_the_jobs(contended: None, open_store: Open, store: JobStore) -> None:
    """Each part has its own store, as each process would."""
    ids = [f"j{i:04}" for i in range(JOBS)]
    await Producer(store).put(*(spec(name, keep_completed=KEEP_ALL) for name in ids))
    others = [await open_store(), await open_store()]
    history = History()

    def part(mine: JobStore) -> Part:
        async def run(_: JobStore) -> None:
            own = mine.plain if isinstance(mine, Blocking) else mine
            await history.work(own, until=JOBS)

        return run

    await together(store, *(part(other) for other in others))

    assert sorted(names(history.claims)) == ids
    assert await counted(store) == {State.COMPLETED: JOBS}
