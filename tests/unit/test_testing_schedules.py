"""Schedules in the testing kit: a drain fires what is due, travel is an outage, run_for lives through the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from queuekit import JobContext, QueueKit
from queuekit.testing import TestKit, VirtualClock, inline, isolated

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NINE)


@pytest.fixture
def kit(clock: VirtualClock) -> TestKit:
    return TestKit(clock=clock)


@pytest.fixture
def ticks(kit: TestKit, clock: VirtualClock) -> list[datetime]:
    """When the task `tick` ran."""
    ran: list[datetime] = []

    @kit.task
    def tick() -> None:
        ran.append(clock.now())

    return ran


def test_an_hour_of_every_ten_minutes_gives_six_jobs(kit: TestKit, ticks: list[datetime]) -> None:
    kit.schedule("tick", kit.queue("default").make("tick"), every="10m")
    ran = kit.run_for(hours=1)
    assert [job.id for job in ran] == [f"tick@2026-11-22T09:{n}0:00Z" for n in range(1, 6)] + [
        "tick@2026-11-22T10:00:00Z"
    ]
    assert ticks == [NINE + timedelta(minutes=10 * n) for n in range(1, 7)]
    assert kit.clock.now() == NINE + timedelta(hours=1)


def test_travel_jumps_as_over_an_outage(kit: TestKit, clock: VirtualClock, ticks: list[datetime]) -> None:
    kit.schedule("one", kit.queue("default").make("tick"), every="10m")
    kit.schedule("all", kit.queue("default").make("tick"), every="10m", missed="all")
    clock.travel(hours=1)
    assert sorted(job.id for job in kit.drain()) == [
        *(f"all@2026-11-22T{at}:00Z" for at in ("09:10", "09:20", "09:30", "09:40", "09:50", "10:00")),
        "one@2026-11-22T10:00:00Z",
    ]
    assert kit.drain() == []


def test_a_declared_schedule_begins_with_the_test(kit: TestKit, clock: VirtualClock, ticks: list[datetime]) -> None:
    kit.schedule("tick", kit.queue("default").make("tick"), every="1h")
    clock.travel(minutes=59)
    assert kit.drain() == []
    clock.travel(minutes=1)
    assert [job.id for job in kit.drain()] == ["tick@2026-11-22T10:00:00Z"]
    assert len(ticks) == 1


def test_run_for_stops_at_delayed_jobs_and_backoffs_too(kit: TestKit, clock: VirtualClock) -> None:
    ran: list[tuple[datetime, int]] = []

    @kit.task(attempts=3, backoff=60)
    def flaky(ctx: JobContext) -> None:
        ran.append((clock.now(), ctx.attempt))
        if ctx.attempt < 3:
            raise ValueError("not yet")

    flaky.using(delay="5m").enqueue()
    assert [job.state.value for job in kit.run_for("1h")] == ["delayed", "delayed", "completed"]
    assert [attempt for _, attempt in ran] == [1, 2, 3]
    assert ran[0][0] == NINE + timedelta(minutes=5)


def test_run_for_ends_where_it_was_told_and_does_not_go_back(kit: TestKit, ticks: list[datetime]) -> None:
    kit.schedule("tick", kit.queue("default").make("tick"), cron="10,50 * * * *")
    kit.run_for(to=NINE + timedelta(minutes=45))
    assert ticks == [NINE + timedelta(minutes=10)]
    with pytest.raises(ValueError, match="does not go back"):
        kit.run_for(to=NINE)


def test_run_for_of_one_queue_leaves_the_others(kit: TestKit) -> None:
    @kit.task(queue="mail")
    def mail() -> None: ...

    @kit.task(queue="other")
    def other() -> None: ...

    kit.schedule("m", mail.make(), every="10m")
    kit.schedule("o", other.make(), every="10m")
    assert {job.queue for job in kit.run_for(hours=1, queue="mail")} == {"mail"}
    assert {job.queue for job in kit.drain()} == {"other"}


async def test_the_same_inside_an_event_loop(kit: TestKit, ticks: list[datetime]) -> None:
    kit.schedule("tick", kit.queue("default").make("tick"), every="10m")
    with pytest.raises(RuntimeError, match="arun_for"):
        kit.run_for(hours=1)
    assert len(await kit.arun_for(hours=1)) == 6
    kit.clock.travel(minutes=10)
    assert len(await kit.adrain()) == 1


def test_an_applications_schedules_in_isolation(clock: VirtualClock) -> None:
    app = QueueKit("memory://", name="app-of-schedules")

    @app.task
    def report() -> None: ...

    app.schedule("report", report.make(), cron="0 10 * * *")
    with isolated(app, clock) as test:
        assert [job.id for job in test.run_for(days=2)] == [
            "report@2026-11-22T10:00:00Z", "report@2026-11-23T10:00:00Z",
        ]  # fmt: skip
    assert clock.leaving == []
    with isolated(app, VirtualClock(NINE)) as test:
        assert len(test.run_for(days=1)) == 1


def test_inline_runs_what_a_person_fires_at_once(kit: TestKit, ticks: list[datetime]) -> None:
    with inline(kit) as test:
        test.schedules.put("tick", test.queue("default").make("tick"), every="1h")
        test.schedules.fire("tick")
        assert len(ticks) == 1
        test.clock.travel(hours=1)
        assert len(test.drain()) == 1
    assert len(ticks) == 2


def test_a_drain_of_a_schedule_that_overlaps_itself_comes_to_rest(kit: TestKit, ticks: list[datetime]) -> None:
    for overlap in ("skip", "replace"):
        kit.schedule(overlap, kit.queue("default").make("tick"), every="1m", missed="all", overlap=overlap)
    kit.clock.travel(minutes=30)
    assert sorted(job.id for job in kit.drain()) == ["replace@2026-11-22T09:30:00Z", "skip@2026-11-22T09:01:00Z"]
    assert len(ticks) == 2
