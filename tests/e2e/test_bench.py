"""The bench runs on every store, prints one shape, proves its counts, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess

import pytest

from queuekit import QueueKit
from queuekit.cli.bench.ground import BenchFailed, Ground, Line, Sizes, percentile
from queuekit.cli.bench.metrics import METRICS
from tests.e2e.conftest import QUEUEKIT

SHORT = ("enqueue_one", "drain_noop", "latency_idle", "bytes_per_job")


def test_the_metrics_are_those_that_were_asked_for() -> None:
    assert list(METRICS) == [
        "enqueue_one", "enqueue_many", "drain_noop", "drain_sleep50", "latency_idle", "lateness_delayed",
        "idle_commands", "bytes_per_job", "worker_rss", "redelivery",
    ]  # fmt: skip


def test_each_line_has_one_shape_on_every_store(store_env: dict[str, str]) -> None:
    command = [str(QUEUEKIT), "bench", "--quick", "--jobs", "200", "--json"]
    for name in SHORT:
        command += ["-m", name]
    ran = subprocess.run(command, env=store_env, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {tuple(line) for line in lines} == {("metric", "settings", "median", "min", "max", "unit", "runs")}
    assert {line["metric"] for line in lines} == set(SHORT)
    assert all(0 < line["min"] <= line["median"] <= line["max"] and line["runs"] == 1 for line in lines)
    assert [line["settings"].rpartition(" ")[2] for line in lines if line["metric"] == "drain_noop"] == [
        "1",
        "10",
        "100",
    ]
    facts = json.loads(next(line for line in ran.stderr.splitlines() if line.startswith('{"server"')))
    assert facts["versions"]["queuekit"]
    for namespace in ("queuekit", "queuekit-bench"):
        listed = subprocess.check_output([QUEUEKIT, "-n", namespace, "queues", "list", "--json"], env=store_env)
        assert json.loads(listed) == []


def test_a_killed_workers_job_starts_again(clean_env: dict[str, str]) -> None:
    command = [str(QUEUEKIT), "bench", "--quick", "--json", "-m", "redelivery", "-m", "lateness_delayed"]
    ran = subprocess.run(command, env=clean_env, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = {(line["metric"], line["settings"]): line for line in map(json.loads, ran.stdout.splitlines())}
    assert 1.5 < lines["redelivery", "lease 2 s"]["median"] < 20
    assert lines["lateness_delayed", "earliest of 50 jobs"]["min"] >= 0  # never early


@pytest.mark.parametrize(("jobs", "runs"), [(9, 9), (9, 10), (10, 11)])
def test_a_job_lost_or_run_twice_is_no_figure(kit: QueueKit, jobs: int, runs: int) -> None:
    ground = Ground(kit, kit.settings, Sizes(jobs=10, runs=1))
    with pytest.raises(BenchFailed, match="10 jobs were enqueued"):
        ground.prove("q", {"jobs": jobs, "runs": runs}, 10)


def test_jobs_that_are_left_are_no_figure(kit: QueueKit) -> None:
    kit.queue("q").enqueue("t")
    with pytest.raises(BenchFailed, match="1 left"):
        Ground(kit, kit.settings, Sizes(jobs=10, runs=1)).prove("q", {"jobs": 10, "runs": 10}, 10)


def test_a_line_tells_median_and_spread() -> None:
    line = Line(metric="m", settings="s", values=(3.0, 1.0, 1234.567), unit="ms").to_dict()
    assert (line["median"], line["min"], line["max"], line["runs"]) == (3.0, 1.0, 1234.6, 3)
    assert percentile([float(n) for n in range(100)], 0.99) == 99.0
    assert percentile([5.0], 0.5) == 5.0
