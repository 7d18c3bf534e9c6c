"""The guard: what a job costs each store and the worker, counted and compared with the table of budgets.

A count that grows without a word in the table is a slower queue on every machine, whatever a clock says today.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from queuekit.store.direct import direct
from tests.guard import budgets, stores, worker
from tests.guard.budgets import Counted
from tests.guard.scenes import Stage


@pytest.fixture(scope="module")
def asked() -> dict[str, float]:
    """How often a minute an idle worker makes each call."""
    return worker.idle()


def complaints(place: str, found: dict[str, Counted]) -> list[str]:
    said = [line for scene, counted in found.items() for line in budgets.complaints(place, scene, counted)]
    return said + [f"{place}, {scene}: not counted any more" for scene in budgets.read()[place].keys() - found.keys()]


TRIES = 5


def counts(place: str, count: Callable[[], dict[str, Counted]]) -> dict[str, Counted]:
    """What a server counted of itself, the least of several tries where that was too much: it has work of its own now
    and then, and what an earlier test left behind, which only add. A promise that is broken is broken each time."""
    least = count()
    for _ in range(TRIES - 1):
        if not any(budgets.complaints(place, scene, counted) for scene, counted in least.items()):
            break
        again = count()
        least = {
            scene: {what: min(figure, again[scene][what]) for what, figure in counted.items()}
            for scene, counted in least.items()
        }
    return least


@pytest.mark.store("redis")
def test_redis_gets_no_more_commands_than_its_budget(redis_url: str, asked: dict[str, float]) -> None:
    found = counts("redis", lambda: stores.on_redis(redis_url))
    found["idle_second"] = stores.idle_second(found, asked)
    assert complaints("redis", found) == []


@pytest.mark.store("redis")
def test_redis_gets_no_more_from_an_event_loop(redis_url: str) -> None:
    assert complaints("redis_async", counts("redis_async", lambda: stores.on_redis_async(redis_url))) == []


@pytest.mark.store("mongo")
def test_mongodb_gets_no_more_from_an_event_loop(mongo_url: str) -> None:
    assert complaints("mongo_async", counts("mongo_async", lambda: stores.on_mongo_async(mongo_url))) == []


@pytest.mark.store("mongo")
def test_mongodb_gets_no_more_commands_and_writes_than_its_budget(mongo_url: str, asked: dict[str, float]) -> None:
    found = counts("mongo", lambda: stores.on_mongo(mongo_url))
    found["idle_second"] = stores.idle_second(found, asked)
    assert complaints("mongo", found) == []


@pytest.mark.store("sqlite")
def test_sqlite_gets_no_more_statements_and_commits_than_its_budget(tmp_path: Path, asked: dict[str, float]) -> None:
    found = stores.on_sqlite(tmp_path)
    found["idle_second"] = stores.idle_second(found, asked)
    assert complaints("sqlite", found) == []


def test_an_idle_worker_asks_no_more_than_its_budget(asked: dict[str, float]) -> None:
    assert complaints("worker", {"idle_minute": asked, **_drained()}) == []


def _drained() -> dict[str, Counted]:
    return {"drain_100": worker.drain(100, 500, 1500), "drain_1": worker.drain(1, 100, 300)}


def test_machines_of_another_version_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    over = {what: one.ceiling * 2 for what, one in budgets.read()["sqlite"]["drain_1"].items()}
    here = budgets.versions()
    monkeypatch.setattr(budgets, "versions", lambda: {**here, "sqlite": "9.99"})
    said = budgets.complaints("sqlite", "drain_1", over)
    assert [line.partition(": ")[2].partition(" went")[0] for line in said] == ["commits", "statements"]


@pytest.mark.parametrize("what", ["statements", "commits"])
def test_a_count_above_its_ceiling_is_told_with_both_figures(what: str) -> None:
    budget = budgets.read()["sqlite"]["drain_1"]
    counted = {name: one.figure for name, one in budget.items()}
    assert budgets.complaints("sqlite", "drain_1", counted) == []
    (line,) = budgets.complaints("sqlite", "drain_1", {**counted, what: budget[what].ceiling * 1.01})
    assert f"{what} went from {budget[what].figure:g} to" in line


def test_a_count_without_a_budget_and_a_budget_without_a_count_are_told() -> None:
    (line,) = budgets.complaints("nowhere", "drain", {"commands": 1})
    assert "has no budget" in line
    assert all("was not counted" in line for line in budgets.complaints("redis", "drain_1", {}))
    assert len(budgets.complaints("redis", "drain_1", {})) == 2


def test_one_statement_more_a_job_is_over_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard sees what it is there for: a look at the store that one job in one needs no more."""
    plain = Stage._drain

    def wasteful(self: Stage, queue: str, batch: int, jobs: int) -> None:
        for _ in range(jobs if batch == 1 else 0):
            direct(self._store.conf(queue))
        plain(self, queue, batch, jobs)

    monkeypatch.setattr(Stage, "_drain", wasteful)
    found = stores.on_sqlite(tmp_path)
    assert any("drain_1: statements went from" in line for line in complaints("sqlite", found))
