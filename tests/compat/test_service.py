"""The scheduler service: tasks in one place, switched on and off, and jobs as all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from queuekit import InvalidOption, JobNotFound, QueueKit
from queuekit.compat.bull import Job, SchedulerService, create_worker, get_queue, process
from queuekit.testing import TestKit

TASKS: dict[str, dict[str, Any]] = {
    "sync-screener": {"cron": "*/15 * * * *", "tz": "Europe/Berlin", "data": {"exchange": "XETRA"}},
    "prices": {"every": 60_000, "type": "sync-prices", "options": {"attempts": 7, "priority": 1}},
    "clean-up": {"every": 3_600_000, "enabled": False},
}


def test_its_tasks_are_written_listed_and_switched(kit: QueueKit) -> None:
    service = SchedulerService(TASKS, queue="market", kit=kit)
    for _ in range(2):
        assert service.start() == ["sync-screener", "prices", "clean-up"]
    found = {one.key: one for one in service.tasks()}
    assert list(found) == ["prices", "sync-screener", "clean-up"]
    assert [(one.name, one.pattern, one.every) for one in found.values()] == [
        ("sync-prices", None, 60_000), ("sync-screener", "*/15 * * * *", None), ("clean-up", None, 3_600_000),
    ]  # fmt: skip
    assert [one.paused for one in found.values()] == [None, None, "switched off in its configuration"]
    assert (service.disable("prices", "the exchange is closed"), service.disable("prices")) == (True, False)
    assert service.start()
    stored = kit.schedules.get("market:prices")
    assert stored is not None
    assert (stored.paused, stored.options) == ("the exchange is closed", {"attempts": 7, "priority": 1})
    assert (service.enable("prices"), service.enable("prices"), service.enable("nothing")) == (True, False, False)
    SchedulerService({**TASKS, "clean-up": {"every": 3_600_000}}, queue="market", kit=kit).start()
    assert [one.paused for one in service.tasks()] == [None] * 3


def test_a_task_that_somebody_deletes_at_the_start_stops_no_other(
    kit: QueueKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = type(kit.schedules).get

    def get(self: Any, id: str) -> Any:
        if id == "market:prices":
            self.delete(id)
        return plain(self, id)

    monkeypatch.setattr(type(kit.schedules), "get", get)
    assert SchedulerService(TASKS, queue="market", kit=kit).start() == list(TASKS)
    assert sorted(one.id for one in kit.schedules.all()) == ["market:clean-up", "market:sync-screener"]


async def test_its_awaited_verbs_do_the_same(tmp_path: Path) -> None:
    async with QueueKit(f"sqlite:///{tmp_path}/q.db", name="service") as kit:
        service = SchedulerService(TASKS, queue="market", kit=kit)
        assert await service.astart() == list(TASKS)
        assert await service.adisable("prices")
        assert [one.key for one in await service.atasks() if one.paused is not None] == ["clean-up", "prices"]
        assert await service.aenable("prices")
        assert (await service.atrigger("sync-screener")).data == {"exchange": "XETRA"}
        with pytest.raises(JobNotFound):
            await service.atrigger("nothing")


def test_what_it_makes_goes_the_way_of_all_jobs(test_kit: TestKit) -> None:
    """Scheduler, queue, processor, service: the same processors, hooks and attempts as for a job that was added."""
    service = SchedulerService(TASKS, queue=get_queue("market", kit=test_kit))
    seen: list[tuple[str, Any, int]] = []
    heard: list[str] = []

    @process("market", "sync-prices", kit=test_kit)
    def prices(job: Job[Any]) -> None:
        seen.append((job.name, job.data, job.priority or 0))

    create_worker("market", lambda job: seen.append((job.name, job.data, job.priority or 0)), kit=test_kit)
    test_kit.on("completed", lambda fact: heard.append(fact.job.task if fact.job else ""))
    service.start()
    test_kit.drain()  # what has an interval begins at once, what is switched off does not
    assert seen == [("sync-prices", {}, 1)]
    test_kit.clock.travel(minutes=16)
    test_kit.drain()
    assert [name for name, _, _ in seen] == ["sync-prices", "sync-prices", "sync-screener"]
    assert service.trigger("clean-up").refresh()
    test_kit.drain()
    assert seen[-1][0] == "clean-up"
    assert heard == [name for name, _, _ in seen]


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ({}, "scheduled task 'x': .*either 'pattern'"),
        ({"every": 60}, "scheduled task 'x': repeat: every 60 is 60 ms, and a schedule needs 1000 or more"),
        ({"every": 1000, "cron": "* * * * *"}, "either"),
        ({"every": 1000, "job_id": "7"}, "its own id"),
        ({"every": 1000, "intervall": 7}, "intervall"),
        ({"every": 1000, "options": {"atempts": 7}}, "did you mean 'attempts'"),
    ],
)
def test_a_task_that_cannot_be_is_named_when_the_service_is_made(
    test_kit: TestKit, task: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidOption, match=said):
        SchedulerService({"x": task}, queue="market", kit=test_kit)
