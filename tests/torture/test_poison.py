"""A job that kills its process, among ninety-nine that were claimed with it: it dies alone, and they run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter

import pytest

from queuekit.store.direct import direct
from tests.torture.conftest import each_store
from tests.torture.crowd import versions
from tests.torture.director import Director, staging
from tests.torture.program import QUEUE, make_kit
from tests.torture.records import read

JOBS, SEED, LEASE = 100, 7, 3.0


@each_store
@pytest.mark.timeout(180)
def test_of_a_hundred_jobs_claimed_together_only_the_poison_ends_as_crash_loop(store: str) -> None:
    with staging(store, lease=LEASE, max_crashes=3) as director:
        _enqueue(director)
        supervisor = _supervise(director)
        try:
            director.wait("all jobs ended", director.at_rest)
        finally:
            supervisor.send_signal(signal.SIGTERM)
            assert supervisor.wait(60) == 0, director.errors()
        totals = direct(director._kit.blocking_store().count(QUEUE)).totals
        history = director.history()
        runs = Counter(run.job for run in read(director.setting.folder).runs)
        first = [run for run in history.runs if run.claims == 1]
        print(
            json.dumps(
                {
                    "torture": "poison", "store": store, "seed": SEED, "versions": versions(director),
                    "jobs": len(history.final), "kills": sum(run.poison for run in history.runs),
                    "runs_of_others": sum(n for job, n in runs.items() if job != "poison"), "crashed": totals.crashed,
                }
            )
        )  # fmt: skip
    ended = {one.job: one for one in history.final}
    poison = ended.pop("poison")
    assert (poison.state, poison.reason, poison.crashes) == ("failed", "crash_loop", 3)
    assert len(ended) == JOBS - 1
    assert {(one.state, one.crashes) for one in ended.values()} == {("completed", 1)}
    assert len(first) == JOBS, "claimed together: all of them had begun"
    assert len({(run.actor, run.token) for run in first}) <= 2, "by one worker, in a call or two"
    assert runs.pop("poison") == 3
    assert set(runs.values()) == {2}
    assert totals.crashed == JOBS + 2


def _enqueue(director: Director) -> None:
    names = [f"j{n}" for n in range(JOBS - 1)]
    names.insert(random.Random(SEED).randrange(JOBS), "poison")
    with make_kit(director.setting) as kit:
        queue = kit.queue(QUEUE)
        kit.enqueue_many([queue.make("poison" if name == "poison" else "harmless", {}, id=name) for name in names])


def _supervise(director: Director) -> subprocess.Popen[bytes]:
    setting = director.setting
    said = {"URL": setting.url, "NAMESPACE": setting.namespace, "FOLDER": setting.folder, "LEASE": setting.lease}
    env = {**os.environ, **{f"POISONED_{name}": str(value) for name, value in said.items()}}
    with (setting.folder / "supervisor.err").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.torture.poisoned"], env=env, stderr=log, start_new_session=True
        )
