"""`every`, job schedulers and `repeat`: schedules on every store, and what they do as time goes by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from queuekit import InvalidName, InvalidOption, PayloadError, QueueKit, Schedule, State, recipes
from queuekit.compat.agenda import JobProcessor
from queuekit.compat.bull import Job, Queue, create_worker, get_queue
from queuekit.testing import TestKit

PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def jobs(kit: QueueKit) -> JobProcessor:
    return JobProcessor(kit=kit)


@pytest.fixture
def queue(kit: QueueKit) -> Queue:
    return get_queue("mail", kit=kit)


def stored(kit: QueueKit, id: str) -> Schedule:
    found = kit.schedules.get(id)
    assert found is not None
    return found


# ---------------------------------------------------------------- on every store
def test_every_writes_one_schedule_however_often_it_is_said(jobs: JobProcessor, kit: QueueKit) -> None:
    for _ in range(3):
        assert jobs.every("3 minutes", "report", {"day": "today"}, {"priority": "high"}) == "report"
    (one,) = kit.schedules.all("jobs")
    assert (one.id, one.task, one.payload, one.rule["every"], one.rule["overlap"]) == (
        "report", "report", {"day": "today"}, "3m", "skip",
    )  # fmt: skip
    assert one.options["priority"] == 5
    assert jobs.every("0 3 * * *", ["a", "b"], None, {"timezone": "Europe/Berlin"}) == ["a", "b"]
    assert [one.id for one in kit.schedules.all("jobs")] == ["a", "b", "report"]
    assert jobs.disable("report")
    jobs.every("3 minutes", "report", {"day": "today"}, {"priority": "high"})  # a program that starts again
    assert stored(kit, "report").paused == "disabled"
    assert jobs.enable("report")
    assert (jobs.cancel_every("report"), jobs.cancel_every("report"), jobs.enable("report")) == (True, False, False)


def test_an_interval_begins_at_once_and_only_when_it_is_new(jobs: JobProcessor, kit: QueueKit) -> None:
    jobs.every("1 hour", "report")
    one = stored(kit, "report")
    assert one.anchor is not None
    assert one.next_at == one.anchor
    jobs.every("1 day", "later", None, {"skipImmediate": True})
    later = stored(kit, "later")
    assert later.anchor is not None
    assert later.next_at == later.anchor + timedelta(days=1)
    kit.schedules.pause("report")
    kit.schedules.resume("report")  # the next one is an hour away, whoever says `every` again
    jobs.every("1 hour", "report")
    assert stored(kit, "report").next_at == one.anchor + timedelta(hours=1)


def test_many_who_say_it_at_once_have_one_first_run(jobs: JobProcessor, kit: QueueKit) -> None:
    def say(_: int) -> None:
        jobs.every("1 hour", "report", {"day": "today"})

    if isinstance(kit, TestKit):
        list(map(say, range(8)))
    else:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(say, range(24)))
    one = stored(kit, "report")
    assert one.next_at == one.anchor
    assert len(kit.schedules.all()) == 1


async def test_the_awaited_verbs_do_the_same(tmp_path: Any) -> None:
    async with QueueKit(f"sqlite:///{tmp_path}/q.db", name="awaited-every") as kit:
        jobs, queue = JobProcessor(kit=kit), get_queue("mail", kit=kit)
        assert await jobs.aevery("3 minutes", "report") == "report"
        assert await jobs.create("nightly").repeat_at("3am").asave() == "nightly"
        assert await jobs.adisable("report")
        assert await jobs.aenable("report")
        assert await jobs.acancel_every("report")
        assert await jobs.create("once", {"n": 1}).schedule("in 5 minutes").priority("low").asave()
        await queue.aupsert_job_scheduler("daily", {"pattern": "0 3 * * *"}, {"name": "send"})
        await queue.aadd("send", {}, {"repeat": {"every": 60_000}})
        assert [one.name for one in await queue.aget_job_schedulers()] == ["send", "send"]
        found = await queue.aget_job_scheduler("daily")
        assert found is not None
        assert found.pattern == "0 3 * * *"
        assert await queue.aremove_repeatable("send", {"every": 60_000})
        assert await queue.aremove_job_scheduler("daily")
        assert await queue.aget_repeatable_jobs() == []


def test_a_job_scheduler_is_written_changed_listed_and_removed(queue: Queue, kit: QueueKit) -> None:
    template = {"name": "send", "data": {"to": "ada"}, "opts": {"attempts": 5, "removeOnComplete": 10}}
    job = queue.upsert_job_scheduler("daily", {"pattern": "0 0 3 * * *", "tz": "Europe/Berlin", "limit": 7}, template)
    assert (job.name, job.data, job.created, job.get_state()) == ("send", {"to": "ada"}, None, "unknown")
    one = stored(kit, "mail:daily")
    assert one.next_at is not None
    assert job.id == f"mail:daily@{one.next_at:%Y-%m-%dT%H:%M:%SZ}"
    assert (one.options["attempts"], one.rule["count"]) == (5, 7)
    found = queue.get_job_scheduler("daily")
    assert found is not None
    assert (found.key, found.name, found.pattern, found.tz, found.limit, found.iteration_count, found.template) == (
        "daily", "send", "0 0 3 * * *", "Europe/Berlin", 7, 0, {"data": {"to": "ada"}},
    )  # fmt: skip
    assert found.next == int(one.next_at.timestamp() * 1000)
    queue.upsert_job_scheduler("daily", {"every": 60_000, "startDate": "2030-01-01T00:00:00Z"}, {"name": "send"})
    changed = queue.get_job_scheduler("daily")
    assert changed is not None
    assert (changed.pattern, changed.every, changed.start_date, changed.next) == (
        None, 60_000, 1_893_456_000_000, 1_893_456_000_000,
    )  # fmt: skip
    other = get_queue("other", kit=kit)
    other.upsert_job_scheduler("daily", {"every": 1000})  # ids are of a queue, in Bull
    assert [one.key for one in other.get_job_schedulers()] == ["daily"]
    assert (other.remove_job_scheduler("daily"), other.remove_job_scheduler("daily")) == (True, False)
    assert queue.get_job_scheduler("daily") == changed


def test_repeat_adds_one_schedule_for_each_rule(queue: Queue, kit: QueueKit) -> None:
    for _ in range(2):
        queue.add("sync", {"n": 1}, {"repeat": {"every": 60_000}, "attempts": 2})
        queue.add("sync", {"n": 1}, {"repeat": {"cron": "*/5 * * * *"}})
        queue.add("sync", {"n": 1}, {"repeat": {"cron": "*/5 * * * *", "key": "mine"}})
        queue.add("sync", {"n": 1}, {"repeat": None})
    listed = queue.get_repeatable_jobs()
    assert len(listed) == 3
    assert sorted((one.every, one.pattern) for one in listed if one.every) == [(60_000, None)]
    assert [one.next for one in listed] == sorted((one.next for one in listed), reverse=True)  # type: ignore[type-var]
    assert all(one.next is not None and one.next % 60_000 == 0 for one in listed)
    assert queue.get_repeatable_jobs(0, 0, True) == [min(listed, key=lambda one: (one.next, one.key))]
    assert queue.get_job_counts("waiting") == {"waiting": 2}
    assert queue.remove_repeatable("sync", {"every": 60_000})
    assert not queue.remove_repeatable("sync", {"every": 60_000})
    assert queue.remove_repeatable_by_key("mine")
    assert [one.pattern for one in queue.get_repeatable_jobs()] == ["*/5 * * * *"]


# ---------------------------------------------------------------- as time goes by
@pytest.fixture
def later(test_kit: TestKit) -> JobProcessor:
    return JobProcessor(kit=test_kit)


def test_agendas_every_runs_at_once_then_in_its_interval_and_never_beside_itself(
    later: JobProcessor, test_kit: TestKit
) -> None:
    begun = test_kit.clock.now()
    ran: list[timedelta] = []
    later.define("check", lambda: ran.append(test_kit.clock.now() - begun))
    later.every("3 minutes", "check")
    for _ in range(7):
        test_kit.drain()
        later.every("3 minutes", "check")  # as a program that starts again says it
        test_kit.clock.travel(minutes=1)
    assert ran == [timedelta(minutes=n) for n in (0, 3, 6)]
    made = stored(test_kit, "check")
    assert made.fired == 3
    test_kit.clock.travel(hours=1)  # nobody was there: once, not twenty times
    test_kit.drain()
    assert len(ran) == 4


def test_a_slow_job_of_every_leaves_slots_out(later: JobProcessor, test_kit: TestKit) -> None:
    """As long as its last job waits there is no second one, as with Agenda's one document."""
    later.every("1 minute", "nobody-runs-it")
    for _ in range(5):
        test_kit.drain()
        test_kit.clock.travel(minutes=1)
    assert [job.state for job in test_kit.jobs()].count(State.WAITING) <= 1


def test_disabled_jobs_rest_and_go_on_with_what_comes(later: JobProcessor, test_kit: TestKit) -> None:
    ran: list[datetime] = []
    later.define("check", lambda: ran.append(test_kit.clock.now()))
    later.every("1 minute", "check", None, {"skipImmediate": True})
    assert later.disable("check")
    test_kit.clock.travel(minutes=10.5)
    test_kit.drain()
    assert ran == []
    assert later.enable("check")
    test_kit.drain()
    assert ran == []
    test_kit.clock.travel(minutes=1)
    test_kit.drain()
    assert len(ran) == 1


def test_a_chain_says_the_same(later: JobProcessor, test_kit: TestKit) -> None:
    got: list[Any] = []

    @later.define("report")
    def report(day: str) -> None:
        got.append(day)

    later.create("report", {"day": "now"}).save()
    later.create("report", {"day": "every"}).repeat_every("1 hour").priority("high").save()
    assert stored(test_kit, "report").options == {"priority": 5}
    test_kit.drain()
    assert got == ["every", "now"]
    later.create("report", {"day": "later"}).repeat_every("1 day").schedule("in 2 hours").save()
    coming = stored(test_kit, "report").next_at
    assert coming is not None
    assert timedelta(hours=1, minutes=59) < coming - datetime.now(UTC) < timedelta(hours=2, minutes=1)
    with pytest.raises(InvalidOption, match="one of them"):
        later.create("report").repeat_every("1 day", {"startDate": PAST}).schedule("in 2 hours").save()


def test_a_job_scheduler_begins_at_once_and_stops_at_its_limit(test_kit: TestKit) -> None:
    queue, ran = get_queue("mail", kit=test_kit), list[tuple[str, float]]()
    begun = test_kit.clock.now()
    create_worker(
        "mail", lambda job: ran.append((job.name, (test_kit.clock.now() - begun).total_seconds())), kit=test_kit
    )
    first = queue.upsert_job_scheduler("check", {"every": 30_000, "limit": 3}, {"name": "sync"})
    test_kit.drain()
    assert first.get_state() == "completed"
    for _ in range(5):
        test_kit.clock.travel(seconds=30)
        test_kit.drain()
    assert ran == [("sync", 0), ("sync", 30), ("sync", 60)]
    over = queue.get_job_scheduler("check")
    assert over is not None
    assert (over.next, over.iteration_count) == (None, 3)
    queue.upsert_job_scheduler("nightly", {"pattern": "0 3 * * *", "immediately": True}, {"name": "night"})
    test_kit.drain()
    assert ran[-1] == ("night", 150)


def test_a_repeated_job_falls_on_whole_multiples(test_kit: TestKit) -> None:
    queue, ran = get_queue("mail", kit=test_kit), list[int]()
    create_worker("mail", lambda job: ran.append(round(test_kit.clock.now().timestamp())), kit=test_kit)
    queue.add("sync", {}, {"repeat": {"every": 10_000}})
    test_kit.drain()
    assert ran == []
    for _ in range(30):
        test_kit.clock.travel(seconds=1)
        test_kit.drain()
    assert len(ran) == 3
    assert all(at % 10 <= 1 for at in ran)


# ---------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("say", "error", "said"),
    [
        (lambda jobs: jobs.every("every day", "report"), InvalidOption, "no interval"),
        (lambda jobs: jobs.every("61 * * * *", "report"), InvalidOption, "cron"),
        (lambda jobs: jobs.every("0 3 * * *", "report", None, {"timezone": "Berlin"}), InvalidOption, "timezone"),
        (lambda jobs: jobs.every("1 day", "report", None, {"endDate": PAST}), InvalidOption, "never fire"),
        (lambda jobs: jobs.every("@daily", "report", None, {"endDate": PAST}), InvalidOption, "never fire"),
        (lambda jobs: jobs.every("1 day", "email_notification", {"to": "ada"}), PayloadError, "template"),
        (lambda jobs: jobs.every("1 day", "send mail"), InvalidName, "send mail"),
        (lambda jobs: jobs.every("10 milliseconds", "report"), InvalidOption, "every '10 m.* shorter than a second"),
        (lambda jobs: jobs.every(10, "report"), InvalidOption, r"^every 10 \(milliseconds\) .* 1000 or more"),
        (lambda jobs: jobs.create("report").repeat_at("tea time"), InvalidOption, "15:30"),
    ],
)  # fmt: skip
def test_what_cannot_repeat_is_refused_before_anything_is_written(
    later: JobProcessor, test_kit: TestKit, say: Callable[[JobProcessor], Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        say(later)
    assert test_kit.schedules.all() == []


def test_a_schedule_of_another_queue_is_not_disabled_by_its_name(later: JobProcessor, test_kit: TestKit) -> None:
    test_kit.schedules.put("report", test_kit.queue("other").make("report", {}), every="1h")
    for verb in (later.disable, later.enable, later.cancel_every):
        with pytest.raises(InvalidOption, match="queue 'other'"):
            verb("report")
    assert stored(test_kit, "report").paused is None


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 5000}, {"nmae": "y"}), "nmae"),
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 5000}, {"opts": {"jobId": "7"}}), "job_id"),
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 5000}, {"opts": {"delay": 7}}), "delay"),
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 5000, "endDate": PAST}), "fire"),
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 999}), "^repeat: every 999 is 999 ms.* 1000 or more"),
        (lambda queue: queue.upsert_job_scheduler("x", {"every": 0}), "^repeat: every 0 is no whole number"),
        (lambda queue: queue.add("x", {}, {"repeat": {"every": 10}}), "give 10000 if seconds .* {'delay': 10}$"),
        (lambda queue: queue.add("x", {}, {"repeat": {"every": 5000}, "delay": 5}), "delay"),
        (lambda queue: queue.add_bulk([{"name": "x", "opts": {"repeat": {"every": 5000}}}]), "one by one"),
        (lambda queue: queue.add("x", {}, {"repeat": {"every": 5000}, "atempts": 5}), "attempts"),
    ],
)
def test_what_bull_cannot_repeat_is_refused(test_kit: TestKit, say: Callable[[Queue], Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        say(get_queue("mail", kit=test_kit))
    assert test_kit.schedules.all() == []
    assert test_kit.jobs() == []


def test_schedules_of_code_stand_among_bulls_under_their_own_names(test_kit: TestKit) -> None:
    queue = get_queue("mail", kit=test_kit)
    test_kit.schedules.put("digest", test_kit.queue("mail").make("send", {}), cron="0 9 * * *")
    assert [one.key for one in queue.get_job_schedulers()] == ["digest"]
    assert get_queue("other", kit=test_kit).get_job_scheduler("digest") is None
    assert queue.remove_job_scheduler("digest")


# ---------------------------------------------------------------- Agenda's tuning
def test_agendas_tuning_has_its_defaults_and_its_words(test_kit: TestKit) -> None:
    plain = JobProcessor(kit=test_kit)
    assert (plain.process_every, plain.max_concurrency, plain.default_concurrency) == (timedelta(seconds=5), 20, 5)
    said = JobProcessor(kit=test_kit, process_every="30 seconds", max_concurrency=20, default_concurrency=5)
    assert said.process_every == timedelta(seconds=30)
    assert JobProcessor(process_every=1000).process_every == timedelta(seconds=1)
    bounded = JobProcessor(kit=test_kit, lock_limit=3, default_lock_limit=2)
    assert (bounded.max_concurrency, bounded.default_concurrency) == (3, 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"process_every": "soon"}, "no interval"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"default_concurrency": True}, "default_concurrency=True"),
        ({"lock_limit": -1}, "lock_limit=-1"),
        ({"default_lock_limit": "2"}, "default_lock_limit='2'"),
    ],
)
def test_a_tuning_that_cannot_be_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        JobProcessor(**options)


def test_a_type_that_was_declared_elsewhere_is_bounded_too(test_kit: TestKit) -> None:
    recipes.declare(test_kit)
    jobs = JobProcessor(kit=test_kit, default_concurrency=2)
    jobs.define("data_cleanup", lambda payload: None)
    jobs.define("report_generation", lambda payload: None, concurrency=7)
    found = test_kit.definitions
    assert (found["data_cleanup"].concurrency, found["report_generation"].concurrency) == (2, 7)
    with pytest.raises(InvalidOption, match="attempts where it is declared"):
        jobs.define("sms_notification", lambda payload: None, attempts=9)


def test_max_concurrency_is_over_all_types_and_default_concurrency_of_one(tmp_path: Any) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db", name="two-types") as kit:
        jobs = JobProcessor(kit=kit, max_concurrency=3, default_concurrency=2)
        running, peaks, together = list[str](), list[tuple[int, int]](), asyncio.Event()

        async def work(type: str) -> None:
            running.append(type)
            peaks.append((len(running), running.count(type)))
            if len(running) == 3:
                together.set()  # as many as there may be are here, or this never ends
            await together.wait()
            for _ in range(100):  # time enough for a third of its type, if it were let in
                await asyncio.sleep(0)
            running.remove(type)

        for name in ("mail", "report"):
            jobs.define(name, partial(work, name))
        for name in ("mail", "report", *["mail"] * 10):
            jobs.schedule_job(None, None, name)
        jobs.run(burst=True)
        assert (len(peaks), max(total for total, _ in peaks), max(own for _, own in peaks)) == (12, 3, 2)


async def test_a_worker_fires_what_every_said(tmp_path: Any) -> None:
    """With a real worker: the first run comes without anybody waiting for an interval."""
    async with QueueKit(f"sqlite:///{tmp_path}/q.db", name="every-worker") as kit:
        jobs, ran = JobProcessor(kit=kit, process_every="30 seconds"), asyncio.Event()

        @jobs.define("check")
        async def check() -> None:
            ran.set()

        await jobs.start()
        await jobs.aevery("1 day", "check")
        await asyncio.wait_for(ran.wait(), 60)
        await jobs.ashutdown()


def test_a_bull_job_knows_nothing_of_its_schedule_before_its_moment(test_kit: TestKit) -> None:
    queue = get_queue("mail", kit=test_kit)
    seen: list[Job[Any]] = []
    create_worker("mail", seen.append, kit=test_kit)
    job = queue.upsert_job_scheduler("check", {"every": 5000}, {"name": "sync", "data": {"n": 1}})
    assert not job.refresh()
    test_kit.drain()
    assert job.refresh()
    assert (seen[0].id, seen[0].data, job.data) == (job.id, {"n": 1}, {"n": 1})
