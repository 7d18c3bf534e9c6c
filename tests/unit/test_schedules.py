"""`kit.schedule` and `kit.schedules`: what is declared, put, paused, fired, reset and deleted, in what order."""

from __future__ import annotations

import inspect
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queuekit import QueueKit, Schedules, Unique
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.domain.scheduled import Definition
from queuekit.errors import (
    Conflict,
    InvalidName,
    InvalidOption,
    JobNotFound,
    PayloadTooLarge,
    Unsupported,
)
from queuekit.producing.scheduling import declaring, verbs
from queuekit.store.direct import direct
from queuekit.testing import TestKit, VirtualClock
from queuekit.testing.model import ModelStore

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
Kit = TestKit


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NINE)


@pytest.fixture
def kit(clock: VirtualClock) -> TestKit:
    kit = TestKit(clock=clock)

    @kit.task(queue="mail")
    def send(to: str = "team") -> None: ...

    @kit.task(queue="other")
    def count() -> None: ...

    return kit


def send(kit: QueueKit, to: str = "team", **options: Any) -> Any:
    return kit.tasks()["send"].using(**options).make(to)


def declare(kit: QueueKit, *queues: str) -> declaring.Written:
    return kit.run(lambda at: declaring.declare_schedules(kit, at, queues or None))


def stored(kit: TestKit, id: str, queue: str = "mail") -> ScheduleRecord:
    record = direct(store(kit).get_schedules(queue, [id]))[0]
    assert record is not None
    return record


def store(kit: TestKit) -> ModelStore:
    found = kit.blocking_store()
    assert isinstance(found, ModelStore)
    return found


def fire_slot(kit: TestKit, id: str, next_at: datetime | None, queue: str = "mail") -> str:
    """What a scheduler does with the slot that is due."""
    record = stored(kit, id, queue)
    assert record.next is not None
    job = Definition.load(record.definition).job(id, record.next)
    following = None if next_at is None else round(next_at.timestamp() * 1000)
    said = direct(store(kit).fire(queue, [Firing(id=id, rev=record.rev, next_at=following, jobs=(job,))]))
    assert said[0].no is None
    return job.id


# ---------------------------------------------------------------- put
def test_a_put_schedule_is_there_as_it_was_put(kit: Kit) -> None:
    said = kit.schedules.put("digest", send(kit, "ada", attempts=5, priority="high"), cron="0 9 * * mon-fri",
                             timezone="Europe/Berlin")  # fmt: skip
    assert said == kit.schedules.get("digest") == kit.schedules.get("mail/digest")
    assert (said.id, said.queue, said.task, said.payload) == ("digest", "mail", "send", {"to": "ada"})
    assert said.rule == {"cron": "0 9 * * mon-fri", "timezone": "Europe/Berlin"}
    assert said.options == {"attempts": 5, "priority": 5}
    assert said.next_at == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert (said.origin, said.paused, said.last_job, said.fired, said.skipped) == ("operator", None, None, 0, 0)
    assert said.override is not None
    assert "@" in str(said.override["by"])
    assert said.declared is None


def test_the_same_put_again_writes_nothing(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    before = stored(kit, "d")
    kit.clock.travel(minutes=30)
    kit.schedules.put("d", send(kit), every="60 minutes")
    assert stored(kit, "d") == before


def test_every_begins_at_a_whole_second_so_that_its_slots_have_short_names(kit: Kit) -> None:
    kit.clock.travel(NINE + timedelta(milliseconds=958) - kit.clock.now())
    assert kit.schedules.put("d", send(kit), every="1s").next_at == NINE + timedelta(seconds=1)
    kit.clock.travel(seconds=1)
    assert fire_slot(kit, "d", None) == "d@2026-11-22T09:00:01Z"


def test_every_keeps_its_anchor_when_it_is_put_anew(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    kit.clock.travel(minutes=50)
    assert kit.schedules.put("d", send(kit), every="20m").next_at == NINE + timedelta(hours=1)
    kit.clock.travel(minutes=1)
    assert kit.schedules.put("d", send(kit, "ada"), every="20m").next_at == NINE + timedelta(hours=1)


def test_a_slot_that_is_due_is_not_lost_by_an_edit_that_has_it_too(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    kit.clock.travel(minutes=61)
    due = kit.schedules.put("d", send(kit), every="1h", missed="all")
    assert due.next_at == NINE + timedelta(hours=1)
    gone = kit.schedules.put("d", send(kit), every="7m")
    assert gone.next_at == NINE + timedelta(minutes=63)


def test_an_edit_never_fires_a_slot_again(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), at=NINE)
    assert fire_slot(kit, "d", None) == "d@2026-11-22T09:00:00Z"
    kit.schedules.put("d", send(kit, "ada"), every="1h", start=NINE)
    assert stored(kit, "d").next == (NINE + timedelta(hours=1)).timestamp() * 1000


def test_a_clock_that_is_behind_does_not_fire_a_slot_again(kit: Kit, clock: VirtualClock) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    clock.travel(hours=1)
    fire_slot(kit, "d", NINE + timedelta(hours=2))
    kit.world.now = lambda: round((NINE + timedelta(minutes=59)).timestamp() * 1000)
    assert kit.schedules.put("d", send(kit), every="30m").next_at == NINE + timedelta(minutes=90)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"at": NINE - timedelta(hours=1)}, r"at=2026-11-22T08:00:00Z is past"),
        ({"every": "1h", "end": NINE - timedelta(hours=1)}, "end=2026-11-22T08:00:00Z"),
        ({"every": "1h", "end": NINE + timedelta(minutes=1)}, "before its next slot"),
        ({}, "cron, every, at"),
        ({"every": "1h", "cron": "* * * * *"}, "cron and every"),
        ({"every": "1h", "timezone": "Europe/Berln"}, "Europe/Berlin"),
        ({"cron": "61 * * * *"}, "cron"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_and_nothing_is_written(kit: Kit, rule: Any, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        kit.schedules.put("d", send(kit), **rule)
    assert kit.schedules.all() == []


def test_a_count_that_is_past_is_refused_and_counts_over_edits(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h", count=2)
    kit.clock.travel(hours=1)
    fire_slot(kit, "d", NINE + timedelta(hours=2))
    kit.schedules.put("d", send(kit), every="30m", count=2)
    kit.clock.travel(hours=1)
    fire_slot(kit, "d", None)
    with pytest.raises(InvalidOption, match="fired 2 times, and count=2 is past"):
        kit.schedules.put("d", send(kit), every="30m", count=2, jitter="1s")
    assert kit.schedules.put("d", send(kit), every="30m", count=3).next_at is not None


def test_an_unchanged_schedule_that_is_over_may_be_put_again(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), at=NINE + timedelta(hours=1))
    kit.clock.travel(hours=1)
    fire_slot(kit, "d", None)
    kit.clock.travel(hours=1)
    over = kit.schedules.put("d", send(kit), at=NINE + timedelta(hours=1))
    assert (over.next_at, over.fired, over.preview()) == (None, 1, [])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"id": "x"}, "id='x' would be one job"),
        ({"within": object()}, "within= belongs to one write"),
        ({"run_at": NINE}, "run_at is a moment"),
        ({"expires": NINE}, "expires is a moment"),
        ({"unique": Unique("k", on_conflict="error")}, "nobody to tell"),
    ],
)
def test_a_job_that_cannot_be_many_is_refused(kit: Kit, options: Any, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        kit.schedules.put("d", send(kit, **options), every="1h")
    with pytest.raises(InvalidOption, match=words):
        kit.schedule("d", send(kit, **options), every="1h")


def test_what_make_did_not_make_is_refused(kit: Kit) -> None:
    with pytest.raises(InvalidOption, match="what make"):
        kit.schedules.put("d", kit.tasks()["send"], every="1h")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("id", ["", "a b", "a@b", "x" * 129, "q/d"])
def test_an_id_outside_the_grammar_is_refused(kit: Kit, id: str) -> None:
    with pytest.raises(InvalidName):
        kit.schedules.put(id, send(kit), every="1h")
    with pytest.raises(InvalidName):
        kit.schedule(id, send(kit), every="1h")


def test_a_payload_over_the_limit_is_refused(clock: VirtualClock) -> None:
    from queuekit import Settings

    kit = TestKit(clock=clock, settings=Settings(url="model://", chosen_by="here", payload_limit=1000))

    @kit.task(queue="mail")
    def send(to: str) -> None: ...

    with pytest.raises(PayloadTooLarge):
        kit.schedules.put("d", send.make("x" * 1001), every="1h")


# ---------------------------------------------------------------- acting
def test_a_pause_says_who_and_why_and_lasts_until_resume(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    assert kit.schedules.pause("d", "too loud")
    assert not kit.schedules.pause("d", "again")
    paused = kit.schedules.get("d")
    assert paused is not None
    assert (paused.paused, paused.next_at) == ("too loud", None)
    assert "@" in str(paused.paused_by)
    assert paused.paused_at is not None
    assert kit.schedules.put("d", send(kit), every="10m").paused == "too loud"
    kit.clock.travel(minutes=95)
    assert kit.schedules.resume("d")
    assert not kit.schedules.resume("d")
    resumed = kit.schedules.get("d")
    assert resumed is not None
    assert (resumed.paused, resumed.paused_by, resumed.next_at) == (None, None, NINE + timedelta(minutes=100))


def test_a_moment_that_came_while_it_was_paused_does_not_come_with_the_resume(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), at=NINE + timedelta(minutes=1))
    kit.schedules.pause("d")
    kit.clock.travel(seconds=61)
    assert kit.schedules.resume("d")
    over = kit.schedules.get("d")
    assert over is not None
    assert (over.paused, over.next_at) == (None, None)


def test_an_edit_to_begin_now_begins_now(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    assert kit.schedules.put("d", send(kit), at=NINE - timedelta(seconds=1)).next_at == NINE - timedelta(seconds=1)


def test_the_preview_of_a_paused_one_is_as_if_it_were_resumed(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.clock.now_ms", kit.clock.ms)
    kit.schedules.put("d", send(kit), every="1h", count=2)
    kit.schedules.pause("d")
    paused = kit.schedules.get("d")
    assert paused is not None
    assert paused.preview(9) == [NINE + timedelta(hours=1), NINE + timedelta(hours=2)]


def test_preview_goes_on_from_the_next_slot_and_ends_with_the_count(kit: Kit) -> None:
    made = kit.schedules.put("d", send(kit), every="1h", count=3)
    assert made.preview(2) == [NINE + timedelta(hours=1), NINE + timedelta(hours=2)]
    kit.clock.travel(hours=1)
    fire_slot(kit, "d", NINE + timedelta(hours=2))
    one_less = kit.schedules.get("d")
    assert one_less is not None
    assert one_less.preview(9) == [NINE + timedelta(hours=2), NINE + timedelta(hours=3)]


@pytest.mark.parametrize("n", [0, -1, 1001, True, 2.5])
def test_a_preview_of_too_many_moments_is_refused(kit: Kit, n: Any) -> None:
    made = kit.schedules.put("d", send(kit), every="1h")
    for preview in (made.preview, lambda n: kit.schedules.preview(n, every="1h")):
        with pytest.raises(InvalidOption, match="use 1 to 1000"):
            preview(n)


def test_a_rule_can_be_tried_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.clock.now_ms", lambda: round(NINE.timestamp() * 1000))
    kit = QueueKit("redis://nowhere.invalid")
    assert kit.schedules.preview(2, cron="30 9 * * *", timezone="UTC") == [
        NINE + timedelta(minutes=30), NINE + timedelta(days=1, minutes=30),
    ]  # fmt: skip
    with pytest.raises(InvalidOption, match="cron"):
        kit.schedules.preview()


def test_firing_by_hand_makes_a_job_and_moves_nothing_else(kit: Kit) -> None:
    kit.schedules.put("d", send(kit, delay="5m", expires="1h"), every="1h", jitter="30m", count=2)
    before = stored(kit, "d")
    kit.clock.travel(minutes=10)
    handle = kit.schedules.fire("d")
    assert handle.id.startswith("d@manual-")
    assert handle.created
    job = handle.get()
    assert job is not None
    assert (job.queue, job.payload, job.run_at) == ("mail", {"to": "team"}, NINE + timedelta(minutes=15))
    after = stored(kit, "d")
    assert (after.next, after.fired, after.skipped) == (before.next, 0, 0)
    assert after.last_job == handle.id  # what overlap looks at
    said = kit.schedules.get("d")
    assert said is not None
    assert said.by_hand is not None
    assert said.by_hand["job"] == handle.id
    assert "@" in str(said.by_hand["by"])
    assert kit.schedules.fire("d").id != handle.id


def test_a_paused_schedule_can_be_fired_by_hand_and_stays_paused(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    kit.schedules.pause("d")
    assert kit.schedules.fire("d").created
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.paused, said.next_at) == ("", None)


def test_firing_by_hand_obeys_a_unique_key(kit: Kit) -> None:
    kit.schedules.put("d", send(kit, unique="k"), every="1h")
    first = kit.schedules.fire("d")
    second = kit.schedules.fire("d")
    assert (second.id, second.created) == (first.id, False)


def test_what_is_not_there(kit: Kit) -> None:
    assert kit.schedules.get("d") is None
    assert not kit.schedules.pause("d")
    assert not kit.schedules.resume("mail/d")
    assert not kit.schedules.reset("d")
    assert not kit.schedules.delete("d")
    with pytest.raises(JobNotFound, match="no schedule 'd'"):
        kit.schedules.fire("d")


def test_a_deleted_schedule_leaves_its_jobs_and_begins_anew_when_put_again(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    kit.clock.travel(hours=1)
    job = fire_slot(kit, "d", NINE + timedelta(hours=2))
    assert kit.schedules.delete("d")
    assert not kit.schedules.delete("d")
    assert kit.get(f"mail/{job}") is not None
    kit.clock.travel(minutes=10)
    again = kit.schedules.put("d", send(kit), every="1h")
    assert (again.fired, again.next_at) == (0, NINE + timedelta(hours=2, minutes=10))


def test_all_are_listed_by_queue_and_id(kit: Kit) -> None:
    for name in ("b", "a", "c"):
        kit.schedules.put(name, send(kit), every="1h")
    kit.schedules.put("z", kit.tasks()["count"].make(), every="1h")
    kit.queue("idle").enqueue("x")
    assert [one.ref for one in kit.schedules.all()] == ["mail/a", "mail/b", "mail/c", "other/z"]
    assert [one.ref for one in kit.schedules.all("other")] == ["other/z"]
    assert kit.schedules.all("nobody") == []


def test_more_than_one_page_is_listed(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.producing.scheduling.finding._PAGE", 2)
    for n in range(5):
        kit.schedules.put(f"s{n}", send(kit), every="1h")
    assert [one.id for one in kit.schedules.all()] == [f"s{n}" for n in range(5)]


def test_an_id_in_two_queues_must_be_said_with_its_queue(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    direct(
        store(kit).put_schedule("other", ScheduleRecord(id="d", queue="other", definition=stored(kit, "d").definition))
    )
    for act in (kit.schedules.get, kit.schedules.pause, kit.schedules.fire, kit.schedules.delete):
        with pytest.raises(Conflict, match="mail, other: say which"):
            act("d")
    assert kit.schedules.pause("other/d")
    assert kit.schedules.delete("other/d")
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.queue, said.paused) == ("mail", None)


def test_a_schedule_of_a_newer_queuekit_is_listed_with_its_problem_and_not_changed(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    newer = ScheduleRecord(id="n", queue="mail", definition=b'{"v":2,"anchor":0}', next=5)
    direct(store(kit).put_schedule("mail", newer))
    said = {one.id: one for one in kit.schedules.all()}
    assert said["d"].problem is None
    assert "format 2" in str(said["n"].problem)
    assert (said["n"].rule, said["n"].preview()) == ({}, [])
    from queuekit.errors import SchemaMismatch

    with pytest.raises(SchemaMismatch):
        kit.schedules.pause("n")
    assert stored(kit, "n").definition == newer.definition


def test_a_put_on_another_queue_takes_the_schedule_along(kit: Kit) -> None:
    kit.schedules.put("d", send(kit), every="1h")
    kit.clock.travel(hours=1)
    fire_slot(kit, "d", NINE + timedelta(hours=2))
    kit.clock.travel(minutes=5)
    kit.schedules.put("d", send(kit, queue="other"), every="1h")
    assert [one.ref for one in kit.schedules.all()] == ["other/d"]
    there = kit.schedules.get("d")
    assert there is not None
    assert (there.fired, there.next_at, there.anchor) == (1, NINE + timedelta(hours=2), NINE)
    assert there.last_job == "d@2026-11-22T10:00:00Z"


def test_a_schedule_says_itself_as_json(kit: Kit) -> None:
    import json

    said = kit.schedules.put("d", send(kit), every="1h").to_dict()
    assert json.loads(json.dumps(said)) == said
    assert (said["next_at"], said["queue"]) == ("2026-11-22T10:00:00+00:00", "mail")
    assert not [name for name in said if name.startswith("_")]


# ---------------------------------------------------------------- twins
def test_every_verb_has_a_twin() -> None:
    plain = {name for name, found in vars(Schedules).items() if not name.startswith("_") and inspect.isfunction(found)
             and not inspect.iscoroutinefunction(found)} - {"preview"}  # fmt: skip
    assert plain == {"put", "get", "all", "pause", "resume", "fire", "delete", "reset"}
    for name in plain:
        twin = getattr(Schedules, f"a{name}")
        assert inspect.iscoroutinefunction(twin)
        assert inspect.signature(twin) == inspect.signature(getattr(Schedules, name))


async def test_the_twins_do_the_same(kit: Kit) -> None:
    made = await kit.schedules.aput("d", send(kit), every="1h")
    assert made == await kit.schedules.aget("d")
    assert await kit.schedules.aall() == [made]
    assert await kit.schedules.apause("d", "why")
    assert await kit.schedules.aresume("d")
    assert (await kit.schedules.afire("d")).created
    assert not await kit.schedules.areset("d")
    assert await kit.schedules.adelete("d")


def test_a_store_that_keeps_no_schedules_says_what_to_do(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(ModelStore, "capabilities", replace(ModelStore.capabilities, parts=frozenset()))
    with pytest.raises(Unsupported, match="keeps no schedules: use redis"):
        kit.schedules.put("d", send(kit), every="1h")
    with pytest.raises(Unsupported, match="keeps no schedules"):
        kit.schedules.all()
    assert declare(kit).written == []
    kit.schedule("d", send(kit), every="1h")
    with pytest.raises(Unsupported, match="keeps no schedules"):
        declare(kit)


def test_one_that_is_new_may_begin_at_once(kit: Kit) -> None:
    def ensure(**more: Any) -> Any:
        return kit.run(lambda at: verbs.ensure(kit, at, "d", send(kit), {"cron": "0 12 * * *"}, **more))

    made, new = ensure(at_once=True)
    assert (made.next_at, made.anchor, new) == (NINE, NINE, True)
    fire_slot(kit, "d", NINE + timedelta(hours=3))
    again, new = ensure(at_once=True)
    assert (again.next_at, new) == (NINE + timedelta(hours=3), False)
    stays, new = kit.run(lambda at: verbs.ensure(kit, at, "d", send(kit, "ada"), {"every": "1h"}, only_new=True))
    assert (stays.payload, new) == ({"to": "team"}, False)


def test_nothing_is_said_in_the_log_when_all_is_well(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="queuekit"):
        kit.schedules.put("d", send(kit), every="1h")
        kit.schedules.fire("d")
        kit.schedules.delete("d")
    assert caplog.records == []
