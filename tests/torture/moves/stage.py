"""What is put into a queue before it moves, and what is read from both stores behind it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from queuekit.domain.job import KEEP_ALL, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Home
from queuekit.domain.query import Where
from queuekit.domain.state import State
from tests.torture.moves import firing
from tests.torture.moves.judge import ENDS, SOURCE, TARGET, Final
from tests.torture.moves.load import FORGOTTEN, LONG, TRACELESS, Load

SEEDED = 24  # plain ones


async def seed(load: Load, plain: int = SEEDED) -> None:
    """A queue with a past: ended jobs, running ones, some that wait, are delayed or hold keys."""
    store, queue = load.stores[SOURCE], load.queue
    conf = await store.conf(queue)
    declared = Limits(keep_completed=KEEP_ALL, keep_failed=KEEP_ALL, max_crashes=100)
    await store.configure(queue, replace(conf, declared=declared))
    await load.enqueue(SOURCE, [load.spec(f"old{n}") for n in range(4)])
    unique = UniqueKey(FORGOTTEN, until="time", ttl=3_600_000)
    await load.enqueue(SOURCE, [load.spec(FORGOTTEN, unique=unique, keep_completed=Retention(count=0))])
    worker = asyncio.create_task(load.work(SOURCE, "before"))
    await load.rested()
    load.crashes.add("before")
    await worker
    await load.enqueue(SOURCE, [load.spec(f"{LONG}{n}") for n in range(2)])
    await load.enqueue(SOURCE, [load.spec(TRACELESS, keep_completed=Retention(count=0))])
    for n in range(0, plain, 6):
        await load.enqueue(SOURCE, [load.spec(f"w{i}") for i in range(n, n + 6)])
    await load.enqueue(SOURCE, [load.spec(f"late{n}", delay=30 * n) for n in range(4)])
    for n in range(2):
        await load.enqueue(SOURCE, [load.spec(f"fk{n}", unique=UniqueKey(f"k{n}"))])
        await load.enqueue(SOURCE, [load.spec(f"tk{n}", unique=UniqueKey(f"t{n}", until="time", ttl=3_600_000))])
    await firing.begin(load)


async def final(load: Load, ends: str) -> None:
    """Write down what both stores hold, and where the queue stands."""
    for side, store in load.stores.items():
        for state in State:
            where = Where(state=state, limit=500)
            while True:
                found = await store.find(load.queue, where)
                for job in found.records:
                    one = Final(
                        side=side,
                        job=job.id,
                        state=job.state.value,
                        body=job.body.decode(),
                        priority=job.priority,
                        claims=job.claims,
                        failures=job.failures,
                        crashes=job.crashes,
                    )
                    load.history.final.append(one)
                if found.cursor is None:
                    break
                where = replace(where, cursor=found.cursor)
        conf, journal = await store.conf(load.queue), await store.journal(load.queue)
        said = [conf.home.value]
        if conf.to is not None:
            said.append("to")
        if journal is not None and (journal.out or conf.home is Home.HERE):
            said.append("journal")
        load.history.standing[side] = " ".join(said)
    await firing.final(load)
    made = {one.job for one in load.history.asked if one.created and one.side == SOURCE}
    live = {run.job for run in load.history.runs if run.side == TARGET}
    load.history.moved = len(made & live)
    totals = (await load.stores[ends].count(load.queue)).totals
    load.history.totals = {name: getattr(totals, name) for name in ("enqueued", *sorted(ENDS))}
