"""Moving while producers, workers and people go on: each job is here or has left, and never both.

Who moves waits on the store's own clock until calls that began before are over, as a mover must.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

from queuekit.domain.job import KEEP_ALL, JobRecord
from queuekit.domain.moving import Parcel
from queuekit.domain.query import No, Verb
from queuekit.domain.state import State
from queuekit.errors import Moved
from queuekit.store.parts import MovingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.contention import Part, together
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.conformance.transit import BY, FAR, HERE, MOVING, arrive, ids, leave
from queuekit.testing.conformance.words import Actor, Producer, Q, Worker, change, counted, done, names, spec, state

JOBS = 120


async def breathe() -> None:
    """Let the others go on: a store that never suspends would keep a loop for itself."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # a thread of its own
        return
    await asyncio.sleep(0)


async def left_for_good(store: MovingStore) -> None:
    """Take the authority, and wait until what began before is over."""
    standing = await store.authority(Q, 1, BY, MOVING, FAR)
    while (await store.count(Q)).now < standing.settles_at:
        await breathe()


async def everything(store: MovingStore, first: int = 1, step: int = 1, limit: int = 9) -> list[Parcel]:
    """Check out until nothing is left."""
    found: list[Parcel] = []
    batch = first
    while parcels := await store.checkout(Q, 1, batch, limit, history=True):
        found += parcels
        batch += step
        await breathe()
    return found


class Log:
    """What was acknowledged, and what was done."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.refused: list[str] = []
        self.ran: list[str] = []

    def producer(self, letter: str, jobs: int) -> Part:
        """One that enqueues until it is told that the queue left."""

        async def part(store: JobStore) -> None:
            producer = Producer(store)
            for n in range(jobs):
                name = f"{letter}{n:03}"
                await breathe()
                try:
                    await producer.put(spec(name, keep_completed=KEEP_ALL))
                except Moved:
                    self.refused.append(name)
                    return
                self.kept.append(name)

        return part

    async def worker(self, store: JobStore) -> None:
        """One that works until the queue has left and its own jobs are done."""
        worker, held = Worker(store), list[JobRecord]()
        while True:
            answer = await worker.exchange([done(job) for job in held], 3)
            assert answer.refused == []
            self.ran += names(held)
            await breathe()
            held = answer.claims
            if answer.home is not HERE and not held:
                return


async def test_every_job_runs_here_or_leaves(contended: None, mover: MovingStore) -> None:
    log = Log()
    await Producer(mover).put(*(spec(f"j{n:03}", keep_completed=KEEP_ALL) for n in range(JOBS)))
    log.kept += [f"j{n:03}" for n in range(JOBS)]

    async def go(store: JobStore) -> None:
        while len(log.ran) < JOBS // 4:
            await store.count(Q)
            await breathe()
        await left_for_good(cast("MovingStore", store))

    await together(mover, log.worker, log.worker, log.producer("p", 2000), log.producer("q", 2000), go)
    parcels = await everything(mover)

    waiting = [one.record.id for one in parcels if one.record.state is State.WAITING]
    ended = [one.record.id for one in parcels if one.record.state is State.COMPLETED]
    assert max(Counter(log.ran).values()) == 1
    assert sorted(ended) == sorted(log.ran)
    assert sorted(waiting + ended) == sorted(log.kept)
    assert await mover.running(Q, "", 9) == []
    assert await mover.get(Q, log.refused) == [None] * len(log.refused)
    assert await counted(mover) == {}


async def test_what_is_acknowledged_while_a_queue_leaves_leaves_with_it(contended: None, mover: MovingStore) -> None:
    log = Log()

    async def go(store: JobStore) -> None:
        while len(log.kept) < 20:
            await store.count(Q)
            await breathe()
        await left_for_good(cast("MovingStore", store))

    await together(mover, log.producer("a", 5000), log.producer("b", 5000), go)
    assert sorted(ids(await everything(mover))) == sorted(log.kept)
    assert len(log.refused) == 2


async def test_two_batches_at_once_share_no_job(contended: None, harness: Harness, mover: MovingStore) -> None:
    everyone = [f"j{n:03}" for n in range(JOBS)]
    await Producer(mover).put(*everyone)
    await leave(harness, mover)
    found: list[list[Parcel]] = [[], []]

    def part(turn: int) -> Part:
        async def out(store: JobStore) -> None:
            found[turn] = await everything(cast("MovingStore", store), turn + 1, 2, 5)

        return out

    await together(mover, part(0), part(1))
    assert sorted(ids(found[0]) + ids(found[1])) == everyone
    journal = await mover.journal(Q)
    assert journal is not None
    out = [ids(await mover.checkout(Q, 1, batch, 1)) for batch in journal.out]
    assert sorted(name for batch in out for name in batch) == everyone


async def test_people_change_a_job_here_or_hear_that_it_left(
    contended: None, harness: Harness, mover: MovingStore
) -> None:
    everyone = [f"j{n:03}" for n in range(JOBS)]
    await Producer(mover).put(*everyone)
    await leave(harness, mover)
    found: list[Parcel] = []
    answers: dict[str, tuple[bool, No | None]] = {}

    async def people(store: JobStore) -> None:
        for name in reversed(everyone):
            answer = await change(store, name, Verb.REPLACE, body=b"new")
            answers[name] = answer.ok, answer.no
            await breathe()

    async def out(store: JobStore) -> None:
        found.extend(await everything(cast("MovingStore", store), limit=2))

    await together(mover, people, out)
    assert sorted(ids(found)) == everyone
    told = {one.record.id: one.record.body for one in found}
    assert {name: body == b"new" for name, body in told.items()} == {name: ok for name, (ok, _) in answers.items()}
    assert {no for ok, no in answers.values() if not ok} <= {No.MOVED}


async def test_parcels_come_in_while_others_are_worked_on(contended: None, mover: MovingStore) -> None:
    coming = await arrive(mover, room=JOBS)
    await coming.go()
    everyone = [f"m{n:03}" for n in range(JOBS)] + [f"p{n:03}" for n in range(JOBS // 2)]
    ran: list[str] = []

    async def bring(store: JobStore) -> None:
        target = cast("MovingStore", store)
        for batch in range(JOBS // 6):
            parcels = [coming.parcel(f"m{batch * 6 + n:03}", keep_completed=KEEP_ALL) for n in range(6)]
            assert await target.import_batch(Q, coming.epoch, batch + 1, parcels, [], b"") == []
            await breathe()

    async def produce(store: JobStore) -> None:
        actor = Actor()
        for n in range(JOBS // 2):
            await store.enqueue(Q, [spec(f"p{n:03}", keep_completed=KEEP_ALL)], actor.op(), None, True)
            await breathe()

    async def work(store: JobStore) -> None:
        worker, held = Worker(store), list[JobRecord]()
        for _ in range(20_000):
            answer = await worker.exchange([done(job) for job in held], 5)
            assert answer.refused == []
            ran.extend(names(held))
            await breathe()
            held = answer.claims
            if len(ran) == len(everyone):
                return

    await together(mover, bring, produce, work, work)
    assert sorted(ran) == everyone
    assert await counted(mover) == {State.COMPLETED: len(everyone)}
    assert await state(mover, "m000") is State.COMPLETED
