"""Schedules that code and file declare: written when they changed, under what people set, by however many at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from queuekit import JobContext, NewJob, QueueKit, Settings
from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import ConfigError, InvalidOption, PayloadTooLarge, QueueFull
from queuekit.producing.scheduling import declaring
from queuekit.runtime.scheduler import Scheduling
from queuekit.store.direct import direct
from queuekit.testing import TestKit, VirtualClock
from queuekit.testing.model import ModelStore
from tests.unit.test_schedules import declare, fire_slot, send, store, stored

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NINE)


@pytest.fixture
def deploy(clock: VirtualClock) -> Callable[..., TestKit]:
    """Kits of one application, one after the other, over one store."""
    first: list[TestKit] = []

    def make(settings: Settings | None = None, **more: Any) -> TestKit:
        if settings is not None:
            more["settings"] = settings
        kit = TestKit(clock=clock, **more)
        if first:
            kit.world = first[0].world
            kit.access = first[0].access
        first.append(kit)

        @kit.task(queue="mail")
        def send(to: str = "team") -> None: ...

        @kit.task("sum", queue="sums")
        def total(n: int) -> None: ...

        return kit

    return make


@pytest.fixture
def in_file(tmp_path: Path, deploy: Callable[..., TestKit]) -> Callable[[str], TestKit]:
    """A kit with these lines in its queuekit.toml."""

    def make(text: str) -> TestKit:
        path = tmp_path / "queuekit.toml"
        path.write_text(text)
        return deploy(Settings.load({"QUEUEKIT_URL": "memory://"}, file=str(path)))

    return make


Deploy = Callable[..., TestKit]


def test_a_declaration_asks_nothing_and_a_workers_start_writes_it(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    assert kit.schedules.all() == []
    assert declare(kit, "mail").written == ["d"]
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.origin, said.next_at) == ("code", NINE + timedelta(hours=1))
    assert said.declared is not None
    assert (said.declared["by"], said.override) == ("test", None)


def test_declaring_reads_no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "queuekit.toml").write_text("wrong = 1")
    monkeypatch.chdir(tmp_path)
    kit = QueueKit()

    @kit.task(queue="mail")
    def send(to: str) -> None: ...

    kit.schedule("d", send.using(attempts=3).make("ada"), cron="0 9 * * *")
    kit.schedule("e", kit.queue("mail").make("send", {"to": "ada"}, delay=5), every=60)
    with pytest.raises(ConfigError, match="wrong"):
        declare(kit)


def test_a_job_made_before_the_settings_are_read_is_a_job_like_any_other(clock: VirtualClock) -> None:
    kit = TestKit(clock=clock, settings=Settings(url="model://", chosen_by="here", payload_limit=100))

    @kit.task(queue="mail", priority="low")
    def send(to: str) -> None: ...

    early: list[NewJob[Any]] = [
        send.using(id="x", delay=5).make("ada"),
        kit.queue("mail").make("send", {"to": "bob"}),
        send.make("b" * 200),
    ]
    assert not kit.settled
    assert (early[0].id, early[0].queue, early[0].task, early[0].chosen) == ("x", "mail", "send", True)
    assert repr(early[0]) == "NewJob(mail/x, task='send')"
    handles = kit.enqueue_many(early[:2])
    assert [handle.id for handle in handles] == [job.id for job in early[:2]] == [job.spec.id for job in early[:2]]
    job = handles[0].get()
    assert job is not None
    assert (job.priority, job.payload, job.run_at is not None) == (15, {"to": "ada"}, True)
    with pytest.raises(PayloadTooLarge):
        kit.enqueue_many(early[2:])


def test_an_unchanged_declaration_is_not_written_again(deploy: Deploy, clock: VirtualClock) -> None:
    first = deploy()
    first.schedule("d", send(first), every="1h")
    declare(first)
    before = stored(first, "d")
    clock.travel(minutes=90)
    second = deploy()
    second.schedule("d", send(second), every="60m")
    assert declare(second).unchanged == ["d"]
    assert stored(second, "d") == before


def test_a_changed_declaration_keeps_anchor_counts_and_a_slot_that_is_due(deploy: Deploy, clock: VirtualClock) -> None:
    first = deploy()
    first.schedule("d", send(first), every="1h")
    declare(first)
    clock.travel(hours=1)
    fire_slot(first, "d", NINE + timedelta(hours=2))
    clock.travel(minutes=61)
    second = deploy()
    second.schedule("d", send(second, "ada"), every="1h", missed="all")
    assert declare(second).written == ["d"]
    said = second.schedules.get("d")
    assert said is not None
    assert (said.anchor, said.fired, said.next_at) == (NINE, 1, NINE + timedelta(hours=2))
    assert said.payload == {"to": "ada"}


def test_only_schedules_of_the_queues_a_worker_consumes_are_written(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    kit.schedule("s", kit.tasks()["sum"].make(1), every="1h")
    assert declare(kit, "mail").written == ["d"]
    assert declare(kit, "mail", "idle").written == []
    assert declare(kit).written == ["s"]


def test_what_a_person_put_survives_a_deploy_until_that_very_thing_is_declared_anew(deploy: Deploy) -> None:
    first = deploy()
    first.schedule("d", send(first), every="1h")
    declare(first)
    first.schedules.put("d", send(first), every="10m")
    first.schedules.pause("d", "night")
    second = deploy()
    second.schedule("d", send(second, "ada"), every="1h")
    declare(second)
    said = second.schedules.get("d")
    assert said is not None
    assert (said.rule, said.payload, said.paused) == ({"every": "10m"}, {"to": "ada"}, "night")
    third = deploy()
    third.schedule("d", send(third, "ada"), every="2h")
    declare(third)
    said = third.schedules.get("d")
    assert said is not None
    assert (said.rule, said.override, said.paused, said.next_at) == ({"every": "2h"}, None, "night", None)


def test_reset_goes_back_to_the_declaration_and_leaves_a_pause(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    declare(kit)
    assert not kit.schedules.reset("d")
    kit.schedules.put("d", send(kit, "ada"), every="10m")
    kit.schedules.pause("d")
    assert kit.schedules.reset("d")
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.rule, said.payload, said.override, said.paused) == ({"every": "1h"}, {"to": "team"}, None, "")
    assert not kit.schedules.reset("d")


def test_what_was_put_before_it_was_declared_stays_as_an_override(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedules.put("d", send(kit), every="10m")
    assert not kit.schedules.reset("d")
    later = deploy()
    later.schedule("d", send(later), every="1h")
    declare(later)
    said = later.schedules.get("d")
    assert said is not None
    assert (said.origin, said.rule) == ("code", {"every": "10m"})
    assert said.override is not None
    assert "job" not in said.override


def test_a_declared_one_stays_in_the_queue_that_is_declared(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    with pytest.raises(InvalidOption, match="declared for queue 'mail'"):
        kit.schedules.put("d", send(kit, queue="other"), every="1h")
    declare(kit)
    kit.declarations.clear()
    with pytest.raises(InvalidOption, match="declared for queue 'mail'"):
        kit.schedules.put("d", send(kit, queue="other"), every="1h")


def test_deleting_a_declared_one_warns_that_it_comes_back(deploy: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    declare(kit)
    assert kit.schedules.delete("d")
    assert "writes it again" in caplog.text
    assert "test_schedule_declarations.py" in caplog.text
    assert declare(kit).written == ["d"]


def test_one_id_declared_twice_names_both_places(deploy: Deploy) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), every="1h")
    with pytest.raises(InvalidOption, match=r"twice in kit 'test': .*declarations\.py:\d+, and .*declarations\.py:\d+"):
        kit.schedule("d", send(kit), every="1h")


def test_the_same_line_run_again_is_no_second_declaration_unless_it_says_something_else(deploy: Deploy) -> None:
    kit = deploy()

    def declared(to: str = "team", every: str = "1h") -> None:
        kit.schedule("d", send(kit, to), every=every)

    declared()
    declared()
    for other in ({"to": "ada"}, {"every": "2h"}):
        with pytest.raises(InvalidOption, match="twice"):
            declared(**other)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"cron": "0 25 * * *"}, r"schedule 'd' \(.*declarations\.py:\d+\): cron"),
        ({"every": "1h", "at": NINE}, "every and at"),
        ({"every": "1h", "missd": "all"}, "missed"),
        ({"every": "1h", "timezone": "Nowhere"}, "timezone"),
    ],
)
def test_a_wrong_rule_is_told_where_it_is_declared(deploy: Deploy, rule: Any, words: str) -> None:
    kit = deploy()
    with pytest.raises(InvalidOption, match=words):
        kit.schedule("d", send(kit), **rule)
    assert kit.declarations == {}


@pytest.mark.parametrize(
    "rule", [{"at": NINE - timedelta(days=900)}, {"every": "1h", "end": NINE - timedelta(days=900)}]
)
def test_time_that_went_by_is_a_warning_and_no_failed_deploy(
    deploy: Deploy, rule: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kit = deploy()
    kit.schedule("d", send(kit), **rule)
    assert "would never fire" in caplog.text
    assert declare(kit).written == ["d"]
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.next_at, said.preview()) == (None, [])


def test_a_zone_of_the_settings_holds_where_none_is_named(deploy: Deploy) -> None:
    kit = deploy(Settings(url="model://", chosen_by="here", timezone="America/New_York"))
    kit.schedule("d", send(kit), cron="0 9 * * *")
    kit.schedule("e", send(kit), cron="0 9 * * *", timezone="Asia/Tokyo")
    declare(kit)
    assert [one.rule.get("timezone") for one in kit.schedules.all()] == ["America/New_York", "Asia/Tokyo"]
    put = kit.schedules.put("f", send(kit), cron="0 9 * * *")
    assert put.next_at == datetime(2026, 11, 22, 14, tzinfo=UTC)


# ---------------------------------------------------------------- queuekit.toml
FILE = """
[kit]
timezone = "Europe/Berlin"

[schedules.nightly]
task = "send"
payload = { to = "ada" }
cron = "0 3 * * *"
priority = "high"
attempts = 7
delay = "5m"
expires = "1h"
unique = "nightly"

[schedules.sums]
task = "sum"
queue = "elsewhere"
payload = { n = 3 }
every = "30 seconds"
start = 2026-11-22T12:00:00Z
"""


def test_a_file_declares_schedules(in_file: Callable[[str], TestKit]) -> None:
    kit = in_file(FILE)
    assert declare(kit).written == ["nightly", "sums"]
    nightly, sums = sorted(kit.schedules.all(), key=lambda one: one.id)
    assert (nightly.queue, nightly.origin, nightly.payload) == ("mail", "file", {"to": "ada"})
    assert nightly.rule == {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    assert nightly.options == {"priority": 5, "attempts": 7, "delay": "5m", "expires": "1h", "unique": "nightly"}
    assert (sums.queue, sums.task, sums.payload) == ("elsewhere", "sum", {"n": 3})
    assert sums.rule == {"every": "30s", "start": "2026-11-22T12:00:00Z"}
    assert declare(kit, "mail").unchanged == ["nightly"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('task = "send"\nevry = "1h"', r'queuekit.toml \[schedules."d"\] has no key \'evry\': did you mean \'every\''),
        ('task = "send"\nid = "x"\nevery = "1h"', "has no key 'id'"),
        ('task = "sedn"\nevery = "1h"', "there is no task 'sedn': did you mean 'send'"),
        ('task = "sedn"\nqueue = "mail"\nevery = "1h"', "there is no task 'sedn'"),
        ('every = "1h"', "names no task"),
        ('task = "send"', "give one of cron"),
        ('task = "send"\ncron = "0 25 * * *"', r'\[schedules."d"\].*cron'),
        ('task = "send"\nevery = "1h"\npayload = 3', "payload is a table"),
        ('task = "send"\nevery = "1h"\npayload = { tto = "x" }', r'\[schedules."d"\]'),
        ('task = "send"\nevery = "1h"\nqueue = 3', "queue is a name"),
        ('task = "send"\nevery = "1h"\npriority = "urgent"', "priority"),
        ('task = "send"\nevery = "1h"\nexpires = "2026-11-22T12:00:00Z"', "expires is a moment"),
        ('task = "send"\nat = 2026-11-22T12:00:00', "zone"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_table(in_file: Any, lines: str, words: str) -> None:
    kit = in_file(f"[schedules.d]\n{lines}\n")
    with pytest.raises(ConfigError, match=words) as told:
        declare(kit)
    assert "schedules" in str(told.value)
    assert type(told.value) is ConfigError  # a wrong setting, not a wrong call


def test_a_file_is_not_looked_at_before_a_worker_starts(in_file: Callable[[str], TestKit]) -> None:
    kit = in_file('[schedules.d]\ntask = "sedn"\nqueue = "far"\nevery = "1h"\n')
    kit.queue("mail").enqueue("send", {"to": "ada"})
    assert declare(kit, "mail").written == []  # it is of a queue that this worker does not consume
    with pytest.raises(ConfigError, match="sedn"):
        declare(kit, "far")


def test_a_task_of_a_queue_whose_processor_takes_every_name_needs_no_name(in_file: Callable[[str], TestKit]) -> None:
    kit = in_file('[schedules.d]\ntask = "whatever"\nqueue = "raw"\nevery = "1h"\n')

    @kit.processor("raw")
    class Raw:
        task: str | None = None

        def process(self, ctx: JobContext, payload: dict[str, Any], /) -> None: ...

    assert declare(kit).written == ["d"]


def test_code_goes_before_the_file_and_says_so(
    in_file: Callable[[str], TestKit], caplog: pytest.LogCaptureFixture
) -> None:
    kit = in_file('[schedules.d]\ntask = "send"\nevery = "1h"\n')
    kit.schedule("d", send(kit), every="2h")
    assert declare(kit).written == ["d"]
    said = kit.schedules.get("d")
    assert said is not None
    assert (said.origin, said.rule) == ("code", {"every": "2h"})
    assert "code goes before the file" in caplog.text


def test_a_schedule_of_the_file_that_is_over_is_told_once(
    in_file: Callable[[str], TestKit], caplog: pytest.LogCaptureFixture
) -> None:
    kit = in_file('[schedules.old]\ntask = "send"\nevery = "1h"\nend = 2020-01-01T00:00:00Z\n')
    with caplog.at_level(logging.WARNING, "queuekit"):
        assert declare(kit).written == ["old"]
        assert declare(kit).unchanged == ["old"]
    assert caplog.text.count("would never fire: end=2020-01-01T00:00:00Z") == 1
    assert '[schedules."old"]' in caplog.text


async def test_a_worker_tells_which_schedules_are_of_queues_it_does_not_take(
    in_file: Callable[[str], TestKit], caplog: pytest.LogCaptureFixture
) -> None:
    kit = in_file(
        '[schedules.slip]\ntask = "send"\nqueue = "maill"\nevery = "1h"\n'
        '[schedules.mine]\ntask = "send"\nevery = "1h"\n'
    )
    kit.schedule("sums", kit.queue("sums").make("sum", {"n": 1}), every="1h")
    with caplog.at_level(logging.INFO, "queuekit"):
        await Scheduling.declared(kit, await kit.async_store(), ["mail"])
    said = {record.levelname: record.getMessage() for record in caplog.records if "none of this" in record.getMessage()}
    assert {level: text.split()[1] for level, text in said.items()} == {"WARNING": "maill", "INFO": "sums"}
    assert {level: text.rpartition(": ")[2] for level, text in said.items()} == {"WARNING": "slip", "INFO": "sums"}
    caplog.clear()
    with caplog.at_level(logging.INFO, "queuekit"):
        await Scheduling.declared(kit, await kit.async_store(), ["mail", "maill", "sums"])
    assert "none of this" not in caplog.text


# ---------------------------------------------------------------- orphans
def test_orphans_are_found_and_left_alone_until_somebody_prunes(deploy: Deploy) -> None:
    old = deploy()
    for name in ("kept", "gone"):
        old.schedule(name, send(old), every="1h")
    declare(old)
    old.schedules.put("person", send(old), every="1h")
    other = deploy(name="other")
    other.schedule("theirs", send(other), every="1h")
    declare(other)
    new = deploy()
    new.schedule("kept", send(new), every="1h")
    declare(new)
    found = new.run(lambda at: declaring.orphans(new, at))
    assert [one.ref for one in found] == ["mail/gone"]
    assert new.schedules.get("gone") is not None
    assert new.run(lambda at: declaring.prune(new, at, found)) == ["gone"]
    assert [one.id for one in new.schedules.all()] == ["kept", "person", "theirs"]


# ---------------------------------------------------------------- many at once
def test_an_id_that_two_queues_have_stops_no_worker(deploy: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    kit = deploy()
    kit.schedules.put("d", send(kit), every="1h")
    twin = stored(kit, "d")
    direct(store(kit).take_schedules("other", 0, [twin]))  # as an import brings it
    kit.schedule("d", kit.tasks()["sum"].make(1), every="1h")
    kit.schedule("e", kit.tasks()["sum"].make(1), every="1h")
    said = declare(kit, "sums")
    assert (said.written, list(said.refused)) == (["e"], ["d"])
    assert "mail, other" in said.refused["d"]
    assert "schedule d" in caplog.text


def test_a_full_store_stops_no_worker_and_is_asked_again(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kit = deploy()
    kit.schedule("old", send(kit), every="1h")
    declare(kit, "mail")
    again = deploy()
    again.schedule("new", send(again), every="1h")
    again.schedule("old", send(again), every="2h")
    plain = ModelStore.put_schedule

    async def full(self: ModelStore, queue: str, schedule: ScheduleRecord) -> ScheduleRecord:
        if schedule.rev == 0:
            raise QueueFull("out of memory")
        return await plain(self, queue, schedule)

    monkeypatch.setattr(ModelStore, "put_schedule", full)
    said = declare(again, "mail")
    assert (said.written, said.later) == (["old"], {"mail"})
    assert "out of memory" in caplog.text
    monkeypatch.undo()
    assert declare(again, "mail").written == ["new"]


def test_two_threads_that_declare_at_once_write_one(deploy: Deploy) -> None:
    kits = [deploy() for _ in range(8)]
    for kit in kits:
        for n in range(10):
            kit.schedule(f"s{n}", send(kit), every="1h")
    answers: list[declaring.Written] = []
    threads = [threading.Thread(target=lambda kit=kit: answers.append(declare(kit))) for kit in kits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for answer in answers for name in answer.written) == sorted(f"s{n}" for n in range(10))
    assert len(kits[0].schedules.all()) == 10


def test_a_schedule_of_a_newer_queuekit_is_left_alone(deploy: Deploy, caplog: pytest.LogCaptureFixture) -> None:
    kit = deploy()
    newer = ScheduleRecord(id="d", queue="mail", definition=b'{"v":2,"anchor":0}', next=5)
    direct(store(kit).put_schedule("mail", newer))
    kit.schedule("d", send(kit), every="1h")
    kit.schedule("e", send(kit), every="1h")
    said = declare(kit)
    assert (said.written, list(said.refused)) == (["e"], ["d"])
    assert stored(kit, "d").definition == newer.definition
    assert "newer queuekit" in caplog.text


@pytest.fixture(autouse=True)
def _logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="queuekit"):
        yield


def test_what_another_kit_declares_is_not_taken_from_it(deploy: Deploy) -> None:
    """Else two applications on one store would exchange their jobs at every start."""
    one = deploy(name="shop")
    one.schedule("d", send(one), every="1h")
    one.schedule("same", send(one), every="1h")
    assert declare(one).written == ["d", "same"]
    other = deploy(name="post")
    other.schedule("d", send(other, queue="sums"), every="2h")
    other.schedule("e", send(other), every="2h")
    other.schedule("same", send(other), every="1h")
    said = declare(other)
    assert (said.written, said.unchanged, list(said.refused)) == (["e"], ["same"], ["d"])
    assert "'shop'" in said.refused["d"]
    assert "queuekit schedules delete mail/d" in said.refused["d"]
    kept = one.schedules.get("d")
    assert kept is not None
    assert (kept.queue, kept.rule) == ("mail", {"every": "1h"})
    other.declarations.clear()
    other.schedule("d", send(other), every="2h")
    trial = direct(declaring.compared(other, other.access.blocking()))
    assert (trial.written, list(trial.refused)) == ([], ["d"])
    assert list(declare(other).refused) == ["d"]
    assert one.schedules.delete("d")
    assert declare(other).written == ["d"]
