"""The generator of mixed jobs: what it makes is every field and state there is, and the same for the same seed.

Standing rule: whoever adds a field or a state makes `queuekit/testing/mixed.py` reach it. These tests demand it.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

import pytest

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.moving import Parcel
from queuekit.domain.outcome import Op
from queuekit.domain.query import Totals
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import Line, State
from queuekit.errors import Unsupported
from tests.move.stores import Filled, digests, every, filled, model, parcels, sqlite

NO_STORE_YET = {"group"}  # the two tests below fail as soon as a store has it
NO_LIMITS_YET = {"cap", "rates"}
MOVERS = {"epoch"}  # a mover's epoch: `import_batch` writes it
AUTHORITYS = {"home", "to"}  # only while a queue moves


def unset(cls: type[Any], some: list[Any]) -> set[str]:
    """The fields that are at their default, or equal, in all of them."""
    missed = set()
    for f in fields(cls):
        default = f.default if f.default is not MISSING else None
        if f.default_factory is not MISSING:
            default = f.default_factory()
        values = [getattr(one, f.name) for one in some]
        if all(value == default for value in values):
            missed.add(f.name)
    return missed


async def test_the_same_seed_makes_the_same_jobs_in_every_store_with_a_clock_of_ours() -> None:
    one, two, other = await filled(model()), await filled(sqlite()), await filled(sqlite(), seed=2)
    for queue in one.queues:
        expected = await digests(one.store, queue)
        assert expected.total > 150
        assert await digests(two.store, queue) == expected
        assert await digests(other.store, queue) != expected
        assert (await one.store.count(queue)).totals == (await two.store.count(queue)).totals
    for some in (two, other):
        await some.store.close()


@pytest.fixture
async def mixed() -> Filled:
    return await filled(model(), jobs=1500)


async def test_every_field_of_a_job_takes_a_value(mixed: Filled) -> None:
    records = [record for queue in mixed.queues for record in await every(mixed.store, queue)]
    assert unset(JobRecord, records) == NO_STORE_YET | MOVERS


async def test_every_state_and_line_is_reached(mixed: Filled) -> None:
    records = [record for queue in mixed.queues for record in await every(mixed.store, queue)]
    assert set(State) - {record.state for record in records} == {State.BLOCKED}  # comes with flows
    assert set(Line) - {record.line for record in records if record.line} == {Line.HELD}  # comes with groups
    assert {"crash_loop", "expired"} <= {record.reason for record in records}


async def test_every_layer_and_total_takes_a_value(mixed: Filled) -> None:
    confs = [await mixed.store.conf(queue) for queue in mixed.queues]
    assert unset(QueueConf, confs) == AUTHORITYS
    for layer in ("declared", "override"):
        assert unset(Limits, [getattr(conf, layer) for conf in confs]) == NO_LIMITS_YET
    assert "" in [conf.override.paused for conf in confs]  # a pause without a reason is one too
    assert not unset(Totals, [(await mixed.store.count(queue)).totals for queue in mixed.queues])


async def test_everything_a_parcel_adds_takes_a_value(mixed: Filled) -> None:
    found: list[Parcel] = []
    keys = []
    for queue in mixed.queues:
        some, held = await parcels(mixed.store, queue)
        found += some
        keys += held
    assert unset(Parcel, found) == {"back"}  # says where it goes, not what it is
    assert keys, "no key is held by a job that is gone"
    assert {parcel.record.unique.until for parcel in found if parcel.record.unique and parcel.holds} == {
        "finished",
        "started",
        "time",
    }


async def test_every_field_and_plan_of_a_schedule_takes_a_value(mixed: Filled) -> None:
    for queue in mixed.queues:
        found: list[ScheduleRecord] = await mixed.store.schedules(queue)
        assert not unset(ScheduleRecord, found)
        now = (await mixed.store.ping()).now
        coming, due, none = (
            [one for one in found if one.next is not None and one.next > now],
            [one for one in found if one.next is not None and one.next <= now],
            [one for one in found if one.next is None],
        )
        assert {one.fired > 0 for one in coming} == {True, False}
        assert due
        assert {(one.fired > 0, one.skipped > 0) for one in none} == {(True, False), (True, True)}
        assert any(one.skipped and not one.fired for one in coming)
        jobs = await mixed.store.get(queue, [one.last_job for one in found if one.last_job])
        assert {job is None for job in jobs} == {True, False}
        assert max(len(one.definition) for one in found) == 100_000
        assert len({one.definition for one in found}) > 4


async def test_the_same_seed_makes_the_same_schedules_in_every_store() -> None:
    one, two = await filled(model(), jobs=30), await filled(sqlite(), jobs=30)
    for queue in one.queues:
        assert await two.store.schedules(queue) == await one.store.schedules(queue)
    await two.store.close()


async def test_no_store_takes_a_group_yet(mixed: Filled) -> None:
    with pytest.raises(Unsupported):  # once one does: make grouped jobs in mixed.py, and take "group" from above
        await mixed.store.enqueue("mail", [JobSpec(id="g", task="t", body=b"", group="g")], Op("t", 1))


async def test_no_store_takes_limits_over_all_workers_yet(mixed: Filled) -> None:
    conf = await mixed.store.conf("mail")
    for limits in (Limits(cap=1), Limits(rates=((1, 1000),))):
        with pytest.raises(Unsupported):  # once one does: give a queue of mixed.py cap and rates
            await mixed.store.configure("mail", QueueConf(rev=conf.rev, declared=limits))
