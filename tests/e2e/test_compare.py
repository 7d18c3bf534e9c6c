"""The comparison with the floors: what its rows say, and that it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.compare import Figure
from tests.bench.floors import SqliteFloor
from tests.bench.targets import TARGETS, flat

ROOT = Path(__file__).resolve().parents[2]


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    figure = Figure("redis", "drain_100", "jobs/s")
    for ours, floor in ((50.0, 100.0), (60.0, 100.0), (10.0, 100.0)):
        figure.add(ours, floor)
    row = figure.to_dict(scaled=False)
    assert (row["median"], row["min"], row["max"], row["runs"]) == (50.0, 10.0, 60.0, 3)
    assert (row["floor"], row["ratio"], row["ratio_min"], row["ratio_max"]) == (100.0, 0.5, 0.1, 0.6)
    assert (row["target"], row["met"]) == ("≥ 0.55 × floor", False)


def test_a_call_may_take_so_many_times_the_floor() -> None:
    figure = Figure("redis", "enqueue_one", "us/call")
    figure.add(130.0, 100.0)
    assert figure.to_dict(scaled=False)["met"] is True
    figure.add(170.0, 100.0)
    assert figure.to_dict(scaled=False)["met"] is False


def test_a_figure_is_flat_within_a_fifth_and_may_become_better() -> None:
    assert [flat("jobs/s").met(0, ratio) for ratio in (0.79, 0.81, 2.0)] == [False, True, True]
    assert [flat("ms").met(0, ratio) for ratio in (1.21, 1.19, 0.5)] == [False, True, True]
    assert not flat("ms").met(0, None)


def test_every_store_is_asked_for_the_figures_of_the_stage() -> None:
    for store in ("redis", "mongo", "sqlite"):
        assert {"drain_100", "enqueue_many", "latency_p99", "worker_rss", "first_enqueue"} <= TARGETS[store].keys()


def test_a_floor_that_loses_a_job_is_no_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floor = SqliteFloor(f"sqlite:///{tmp_path}/jobs.db")
    assert floor.drain(10, 100) > 0
    monkeypatch.setattr(floor, "fill", lambda jobs: floor._put(jobs[1:]))
    with pytest.raises(AssertionError, match="99 of 100"):
        floor.drain(10, 100)
    floor.close()


@pytest.mark.parametrize("more", [(), ("--scale", "2000")])
def test_it_runs_and_says_a_line_a_figure(more: tuple[str, ...]) -> None:
    command = [sys.executable, "tests/bench/compare.py", "--stores", "sqlite", "--metrics", "drain_100", "--quick"]
    ran = subprocess.run(
        [*command, "--json", *more], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert ran.returncode in (0, 1), ran.stderr
    rows = {row["metric"]: row for row in map(json.loads, ran.stdout.splitlines())}
    assert rows["drain_100"]["median"] > 0
    assert rows["drain_100"]["floor"] > 0
    assert "drain_100_worker_cpu" in ran.stderr
