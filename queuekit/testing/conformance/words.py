"""The words the tests are written in: specs, a producer, a worker, and looking at one job.

Nothing here asserts a promise of a store, but for the few that a helper needs to go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from queuekit import ids
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Enqueued, Exchange, Hold, Kind, Op, Outcome, Receipt, Recovery
from queuekit.domain.query import Change, Changed, Found, Totals, Verb, Where
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore

Q = "orders"
SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LEASE = 30 * SECOND
NEVER_AWAY = 3650 * DAY  # as `every` of `recover`: no grace, however far a test moved the clock


def spec(id: str, **said: Any) -> JobSpec:
    """A job that says only what the test says."""
    return JobSpec(**({"id": id, "task": "mail.send", "body": b"j{}"} | said))


def specs(names: Iterable[str], **said: Any) -> list[JobSpec]:
    return [spec(name, **said) for name in names]


class Actor:
    """Counts the calls of one consumer start or producer lane."""

    def __init__(self) -> None:
        self.name, self.n = ids.nonce(), 0

    def op(self) -> Op:
        self.n += 1
        return Op(self.name, self.n)


class Producer:
    """One lane."""

    def __init__(self, store: JobStore, queue: str = Q) -> None:
        self.store, self.queue, self.actor = store, queue, Actor()

    async def put(self, *jobs: JobSpec | str) -> Enqueued:
        """Enqueue all of them in one call; a bare name is a job that says nothing else."""
        return await self.store.enqueue(
            self.queue, [spec(j) if isinstance(j, str) else j for j in jobs], self.actor.op()
        )


class Worker:
    """One consumer start."""

    def __init__(self, store: JobStore, queue: str = Q, *, lease: int = LEASE, name: str = "") -> None:
        self.store, self.queue, self.lease, self.name, self.actor = store, queue, lease, name, Actor()

    async def exchange(self, outcomes: Sequence[Outcome] = (), want: int = 0, *, suspect: bool = True) -> Exchange:
        ask = Ask(want=want, lease=self.lease, suspect=suspect, worker=self.name)
        return await self.store.exchange(self.queue, self.actor.op(), outcomes, ask)

    async def claim(self, want: int = 1, *, suspect: bool = True) -> list[JobRecord]:
        return (await self.exchange((), want, suspect=suspect)).claims

    async def claim_all(self) -> list[JobRecord]:
        """Claim until the store has no more."""
        claims: list[JobRecord] = []
        more = True
        while more:
            answer = await self.exchange((), 500)
            claims += answer.claims
            more = bool(answer.claims) or answer.more
        return claims

    async def take(self, id: str) -> JobRecord:
        """Claim one job, which must be this one."""
        claims = await self.claim()
        assert names(claims) == [id]
        return claims[0]

    async def settle(self, *outcomes: Outcome) -> Exchange:
        return await self.exchange(outcomes)

    async def end(self, job: JobRecord, kind: Kind = Kind.COMPLETED, **said: Any) -> None:
        """Settle one job, which must be accepted."""
        assert (await self.settle(done(job, kind, **said))).refused == []


def done(job: JobRecord, kind: Kind = Kind.COMPLETED, **said: Any) -> Outcome:
    """The end of a claimed job's run."""
    assert job.token is not None
    return Outcome(job.id, job.token, kind, **said)


def hold(job: JobRecord, **said: Any) -> Hold:
    """A claimed job, to be renewed."""
    assert job.token is not None
    return Hold(id=job.id, token=job.token, **said)


def names(records: Iterable[JobRecord]) -> list[str]:
    return [record.id for record in records]


def created(answer: Enqueued) -> list[bool | None]:
    return [receipt.created for receipt in answer.receipts]


def receipts(*pairs: tuple[str, bool]) -> list[Receipt]:
    return [Receipt(name, bit) for name, bit in pairs]


async def look(store: JobStore, id: str, queue: str = Q) -> JobRecord:
    """One job, which must be there."""
    (record,) = await store.get(queue, [id])
    assert record is not None, f"no job {id}"
    return record


async def state(store: JobStore, id: str, queue: str = Q) -> State | None:
    """The state of one job, None where it is not."""
    (record,) = await store.get(queue, [id])
    return None if record is None else record.state


async def recover(store: JobStore, queue: str = Q, limit: int = 100) -> Recovery:
    """Recover as if the store had never been away."""
    return await store.recover(queue, limit, every=NEVER_AWAY)


async def change(store: JobStore, id: str, verb: Verb, *, queue: str = Q, **said: Any) -> Changed:
    """Do one thing to one job, as a person who asks once."""
    (answer,) = await store.change(queue, [Change(id=id, verb=verb, **said)], Actor().op())
    return answer


async def set_limits(store: JobStore, queue: str = Q, **said: Any) -> QueueConf:
    """Change the override layer of a queue."""
    conf = await store.conf(queue)
    return await store.configure(queue, dataclasses.replace(conf, override=Limits(**said)))


async def tidy(store: JobStore, queue: str = Q) -> int:
    """Prune until nothing is left to prune: how many went."""
    removed, more = await store.prune(queue)
    while more:
        gone, more = await store.prune(queue)
        removed += gone
    return removed


async def settled(store: JobStore, queue: str = Q) -> None:
    """Bring retention by count about where the store leaves it to prune."""
    if store.capabilities.counted_at == "prune":
        await tidy(store, queue)


async def pages(store: JobStore, where: Where, queue: str = Q) -> AsyncIterator[Found]:
    """Every page of a search, to the end."""
    while True:
        found = await store.find(queue, where)
        yield found
        if found.cursor is None:
            return
        where = dataclasses.replace(where, cursor=found.cursor)


async def bring(store: JobStore, id: str, to: State) -> None:
    """Make a job of a given state; nothing else may be ready to run."""
    await Producer(store).put(spec(id, delay=HOUR if to is State.DELAYED else None))
    if to in (State.WAITING, State.DELAYED):
        return
    if to is State.CANCELLED:
        assert (await change(store, id, Verb.CANCEL)).ok
        return
    worker = Worker(store)
    job = await worker.take(id)
    kinds = {State.COMPLETED: Kind.COMPLETED, State.FAILED: Kind.FAILED, State.PARKED: Kind.PARKED}
    if to in kinds:
        await worker.end(job, kinds[to])


async def listed(
    store: JobStore, state: State, *, limit: int = 100, task: str | None = None, queue: str = Q
) -> list[str]:
    """The ids of every page, in order."""
    where = Where(state=state, limit=limit, task=task)
    return [record.id async for found in pages(store, where, queue) for record in found.records]


async def counted(store: JobStore, queue: str = Q) -> dict[State, int]:
    """How many jobs are in each state that has some."""
    return {state: n for state, n in (await store.count(queue)).states.items() if n}


async def totals(store: JobStore, queue: str = Q) -> Totals:
    return (await store.count(queue)).totals
