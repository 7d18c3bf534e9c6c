"""Once around: from store to store and back again, and every field of every job is as it was.

In full with QUEUEKIT_SCALE=100000 (`make around`); a small form runs always.
"""

from __future__ import annotations

import importlib
import itertools
import os
from dataclasses import replace
from typing import Any

import pytest

from queuekit.domain.job import JobSpec
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Ask, Hold, Home, Kind, Op, Outcome
from queuekit.move import Side, move
from queuekit.move.contents import check
from queuekit.move.exporter import export
from queuekit.move.importer import take_in
from queuekit.move.reading import loads
from queuekit.move.records import dumps
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.mixed import mix
from tests.move.stores import Filled, filled, model, parcels, sqlite

JOBS = int(os.environ.get("QUEUEKIT_SCALE", "900"))
SMALL = min(JOBS, 400)


async def seen(store: Any, queues: tuple[str, ...]) -> dict[str, tuple[list[bytes], list[HeldKey], Any]]:
    """All there is of the queues, but for what each store gives anew: places as their order, and no epoch."""
    found = {}
    for queue in queues:
        some, keys = await parcels(store, queue)
        conf, counts = await store.conf(queue), await store.count(queue)
        schedules = await store.schedules(queue)
        rest = (conf.declared, conf.override, conf.home, conf.to, counts.totals, counts.states, schedules)
        found[queue] = ([_line(parcel) for parcel in some], keys, rest)
    return found


def _line(parcel: Parcel) -> bytes:
    return dumps(replace(parcel, record=replace(parcel.record, place=0, epoch=0)))


def later(found: dict[str, Any], now: int) -> dict[str, Any]:
    """The same at a later moment: keys held for a time run out meanwhile."""

    def aged(line: bytes) -> bytes:
        parcel = loads(line)
        over = parcel.key_expires is not None and parcel.key_expires <= now
        return dumps(replace(parcel, holds=False, key_expires=None)) if over else line

    return {
        queue: ([aged(line) for line in lines], [key for key in keys if key.expires > now], rest)
        for queue, (lines, keys, rest) in found.items()
    }


def same(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Line by line, so that a failure is short."""
    assert before.keys() == after.keys()
    for queue, (lines, keys, rest) in before.items():
        others, other_keys, other_rest = after[queue]
        for one, other in zip(lines, others, strict=False):
            assert one == other
        assert len(lines) == len(others)
        assert keys == other_keys
        assert rest == other_rest


async def around(stores: list[tuple[str, Any]], queues: tuple[str, ...]) -> None:
    """Move `queues` from each store to the next."""
    for (one, source), (other, target) in itertools.pairwise(stores):
        report = await move(Side(store=source, name=one), Side(store=target, name=other), queues)
        assert report.agrees, report
        for queue in queues:
            assert (await source.conf(queue)).home is Home.GONE


async def through_a_file(source: Any, target: Any, *, there: int = 0) -> None:
    lines: list[bytes] = []
    done = await export(source, lines.append, namespace="t")
    assert not done.changed
    came = await take_in(target, lambda: lines, check(lambda: lines))
    assert (len(came.clashes), came.damaged) == (there, [])  # those that run by now are not as in the file
    assert came.jobs == done.jobs - there


@pytest.mark.parametrize("kind", ["model", "sqlite"])
async def test_once_around_with_a_clock_of_ours(kind: str) -> None:
    """The order of the lines is the model's; every step is seen."""
    make: Any = {"model": model, "sqlite": sqlite}[kind]
    first: Filled = await filled(make(), jobs=SMALL, running=False)
    others = [make(clock=first.clock) for _ in range(2)]
    for other in others:
        await other.store.open()
    before = await seen(first.store, first.queues)
    assert sum(len(lines) for lines, _, _ in before.values()) > SMALL * 0.8
    trip = [("one", first.store), ("two", others[0].store), ("three", others[1].store), ("one", first.store)]
    await around(trip, first.queues)
    same(before, await seen(first.store, first.queues))
    for some in (first, *others):
        await some.store.close()


@pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"])
async def test_an_import_goes_beside_live_work_on_every_store(store: str, request: pytest.FixtureRequest) -> None:
    """The queue stays here: what runs goes on and ends, what waits goes first, and every job can be claimed."""
    one = model().store
    await one.enqueue("q", [JobSpec(id=f"f{n}", task="t", body=b"") for n in range(3)], Op("p", 1))
    harness: Harness = importlib.import_module(f"tests.contract.harness_{store}").make(request)
    try:
        two: Any = await harness.open_store()
        await two.enqueue("q", [JobSpec(id=n, task="t", body=b"") for n in ("own", "next")], Op("p", 1))
        (running,) = (await two.exchange("q", Op("w", 1), [], Ask(want=1, lease=10**9))).claims
        await through_a_file(one, two)
        await two.enqueue("q", [JobSpec(id="last", task="t", body=b"")], Op("p", 2))
        assert not (await two.renew("q", [Hold(id="own", token=running.token or "")], 10**9)).lost
        answer = await two.exchange("q", Op("w", 2), [Outcome("own", running.token or "", Kind.COMPLETED)], Ask(want=9))
        assert not answer.refused
        assert [job.id for job in answer.claims] == ["next", "f0", "f1", "f2", "last"]
        await through_a_file(one, two, there=3)
    finally:
        await harness.close()


async def _harnesses(request: pytest.FixtureRequest) -> dict[str, Harness]:
    made: dict[str, Harness] = {}
    for name in ("redis", "mongo", "sqlite"):
        made[name] = importlib.import_module(f"tests.contract.harness_{name}").make(request)
    return made


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["moves", "files"])
async def test_once_around_redis_mongodb_and_sqlite(
    way: str, request: pytest.FixtureRequest, redis_url: str, mongo_url: str
) -> None:
    made = await _harnesses(request)
    try:
        stores = {name: await harness.open_store() for name, harness in made.items()}
        queues = await mix(stores["redis"], made["redis"].advance, seed=5, jobs=JOBS, running=False)
        ahead = made["redis"].ahead  # type: ignore[attr-defined]  # each of the three has it
        for name in ("mongo", "sqlite"):
            await made[name].advance(ahead)
        before = await seen(stores["redis"], queues)
        assert sum(len(lines) for lines, _, _ in before.values()) > JOBS * 0.8
        if way == "moves":
            trip = [(name, stores[name]) for name in ("redis", "mongo", "sqlite", "redis")]
            await around(trip, queues)
            after = await seen(stores["redis"], queues)
            now = (await stores["redis"].ping()).now
            same(later(before, now), later(after, now))
            return
        last = await made["redis"].open_store(suffix="back")
        for one, other in (("redis", "mongo"), ("mongo", "sqlite")):
            await through_a_file(stores[one], stores[other])
        await through_a_file(stores["sqlite"], last)
        after, now = await seen(last, queues), (await last.ping()).now
        same(_as_files_carry(later(before, now)), _as_files_carry(later(after, now)))
    finally:
        for harness in made.values():
            await harness.close()


def _as_files_carry(found: dict[str, Any]) -> dict[str, Any]:
    """Without what docs/export.md says is not in a file: who waits, and a key until "started" that was taken again."""

    def known(line: bytes) -> bytes:
        parcel = loads(line)
        taken_again = parcel.record.unique is not None and parcel.record.unique.until == "started"
        holds = parcel.holds and not (taken_again and parcel.record.claims)
        return dumps(replace(parcel, awaited=False, holds=holds))

    return {queue: ([known(line) for line in lines], keys, rest) for queue, (lines, keys, rest) in found.items()}
