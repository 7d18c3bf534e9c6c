"""A worker that is cut off from a store that others reach, and many workers at one hot queue."""

from __future__ import annotations

import json
import time

import pytest

from queuekit.domain.state import State
from tests.torture.conftest import FULL, each_store
from tests.torture.director import staging
from tests.torture.records import now
from tests.torture.wire import Wire

pytestmark = pytest.mark.timeout(150)
LEASE = 3.0
TIMEOUT = 20.0  # seconds of the driver: what hangs for so long must not be what ends a run


@pytest.mark.parametrize("store", ["redis", "mongo"] if FULL else ["redis"])
def test_a_worker_that_is_cut_off_stops_its_runs_when_their_leases_end(store: str) -> None:
    """Nothing is refused and nothing answered, so its calls hang; the job moves on, and its late word is refused."""
    with staging(store, lease=LEASE, grace=5.0, concurrency=4, timeout=TIMEOUT) as director:
        assert director.server is not None
        with Wire(director.server.port) as wire:
            (cut_off,) = director.start_workers(1, url=wire.url(director.setting.url))
            jobs = ["a", "b", "c"]
            director.enqueue("holds", jobs, {"ms": 60_000})
            director.wait("all began", director.started(3))
            (other,) = director.start_workers(1)
            assert wire.moved, "its calls go over the wire"
            wire.cut()
            cut = now()
            director.wait("others took them", director.at_rest)
            director.wait("its runs were stopped", lambda: sum(run.stopped is not None for run in director.runs()) == 3)
            wire.mend()
            director.enqueue("sleeps", ["after"], {"ms": 0})
            director.wait("work goes on", lambda: director.counts().get("completed") == 4)
            codes = director.stop()
            history = director.history()
        first = {run.job: run for run in history.runs if run.claims == 1}
        second = {run.job: run for run in history.runs if run.claims == 2}
        stopped = [(first[job].stopped or 0) - cut for job in jobs]
        overlap = max((first[job].stopped or 0) - second[job].started for job in jobs)
        print(
            json.dumps(
                {
                    "torture": "cut off", "store": store, "lease_s": LEASE, "overlap_ms": max(0, overlap // 1000),
                    "stopped_after_s": round(max(stopped) / 1e6, 2),
                }
            )
        )  # fmt: skip
        assert set(codes.values()) == {0}, director.errors()
        assert {first[job].actor for job in jobs} == {cut_off}
        assert {second[job].actor for job in jobs} == {other}
        for job in jobs:
            assert (director.job(job).state, director.job(job).crashes) == (State.COMPLETED, 1)
        assert max(stopped) < TIMEOUT / 2 * 1_000_000, "stopped by its lease, not by the driver's time-out"


@each_store
@pytest.mark.parametrize("concurrency", [1, 10])
def test_many_workers_at_one_hot_queue_run_each_job_once(store: str, concurrency: int) -> None:
    workers, least = (16, 4000) if FULL else (4, 300)
    jobs = least
    with staging(store, lease=30.0, concurrency=concurrency) as director:
        director.start_workers(workers)
        begun = time.monotonic()
        for start in range(0, jobs, 500):
            director.enqueue("sleeps", [f"j{n}" for n in range(start, min(jobs, start + 500))], {"ms": 0})
        director.wait("all work ended", director.at_rest)
        seconds = time.monotonic() - begun
        while len({run.actor for run in director.runs()}) == 1 and jobs < 10_000:  # one of them had done it all already
            director.enqueue("sleeps", [f"j{n}" for n in range(jobs, jobs + 300)], {"ms": 0})
            jobs += 300
            director.wait("more work ended", director.at_rest)
        director.stop()
        history = director.history()
        ran = sorted(run.job for run in history.runs)
        waits = sorted(run.started - run.claimed for run in history.runs)
        print(
            json.dumps(
                {
                    "torture": "hot queue", "store": store, "workers": workers, "concurrency": concurrency,
                    "jobs_per_s": round(least / seconds),
                    "claim_to_start_p99_ms": waits[int(0.99 * len(waits))] // 1000,
                }
            )
        )  # fmt: skip
        assert ran == sorted(f"j{n}" for n in range(jobs))
        assert len({run.actor for run in history.runs}) > 1, "workers that never meet prove nothing"
        assert {(one.state, one.claims) for one in history.final} == {("completed", 1)}
