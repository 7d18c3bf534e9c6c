"""Presets: the seeds' literal defaults, chosen by a setting, below everything somebody says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from queuekit import ConfigError, InvalidOption, QueueKit, Settings, State
from queuekit.domain.job import KEEP_ALL, KEEP_NOTHING, Retention
from queuekit.testing import TestKit


def settings(**said: str) -> Settings:
    return Settings.load({"QUEUEKIT_URL": "memory://", **said})


def test_a_variable_or_the_file_chooses_a_preset(tmp_path: Path) -> None:
    assert settings().preset is None
    assert settings(QUEUEKIT_PRESET=" Bull ").preset == "bull"
    file = tmp_path / "queuekit.toml"
    file.write_text('[kit]\npreset = "bull-tuned"\n')
    assert settings(QUEUEKIT_CONFIG=str(file)).preset == "bull-tuned"
    assert settings(QUEUEKIT_CONFIG=str(file), QUEUEKIT_PRESET="bull").preset == "bull"


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"QUEUEKIT_PRESET.*use bull, bull-tuned"):
        settings(QUEUEKIT_PRESET="celery")
    with pytest.raises(InvalidOption, match="use bull, bull-tuned"):
        QueueKit(settings=replace(settings(), preset="celery")).defaults  # noqa: B018  reading it is the test


def test_under_the_preset_jobs_are_as_bulls_defaults_have_them() -> None:
    with TestKit(settings=Settings(url="model://", chosen_by="test", preset="bull")) as kit:
        seen = []

        @kit.task(queue="q")
        def work(name: str) -> str:
            seen.append(name)
            if name == "bad":
                raise ValueError
            return name

        work.using(priority="critical").enqueue("urgent")
        work.enqueue("plain")
        bad = work.enqueue("bad")
        kit.drain()
        assert seen == ["plain", "bad", "urgent"]  # no priority goes before all that have one
        for seconds in (1, 2):
            kit.clock.travel(seconds=seconds)
            kit.drain()
        found = bad.get()
        assert found is not None
        assert (found.state, found.attempt) == (State.FAILED, 3)  # three attempts, and kept
        kit.clock.travel(days=400)
        assert bad.status() == "failed"


def test_the_tuned_preset_waits_2_and_4_seconds() -> None:
    with TestKit(settings=Settings(url="model://", chosen_by="test", preset="bull-tuned")) as kit:

        @kit.task(queue="q")
        def fails() -> None:
            raise ValueError

        handle, waits = fails.enqueue(), []
        for _ in range(3):
            kit.drain()
            found = handle.get()
            if found is not None and found.state is State.DELAYED and found.run_at is not None:
                waits.append(found.run_at - kit.clock.now())
                kit.clock.travel(waits[-1])
        assert waits == [timedelta(seconds=2), timedelta(seconds=4)]
        assert handle.status() == "failed"


def test_the_tuned_preset_keeps_the_last_50_and_25(tmp_path: Path) -> None:
    chosen = replace(settings(QUEUEKIT_PRESET="bull-tuned"), url=f"sqlite:///{tmp_path}/q.db")
    with QueueKit(settings=chosen) as kit:

        @kit.task(queue="q", attempts=1)
        def work(ok: bool) -> None:
            if not ok:
                raise ValueError

        kit.enqueue_many([work.make(n % 2 == 0) for n in range(120)])
        kit.worker(burst=True).run()
        health = kit.health("q")["q"]
        assert (health.completed, health.failed) == (50, 25)


def test_task_queue_and_file_go_before_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "queuekit.toml"
    file.write_text('[kit]\npreset = "bull"\ndefaults = { attempts = 7 }\n')
    with QueueKit(settings=settings(QUEUEKIT_CONFIG=str(file)), queues={"q": {"keep_completed": 3}}) as kit:
        assert kit.defaults["attempts"] == 7
        assert kit.defaults["keep_completed"] == KEEP_NOTHING
        assert kit.queue_options["q"]["keep_completed"] == Retention(count=3)


def test_a_worker_writes_the_presets_limits_for_the_store_to_keep(tmp_path: Path) -> None:
    chosen = replace(settings(QUEUEKIT_PRESET="bull"), url=f"sqlite:///{tmp_path}/q.db")
    with QueueKit(settings=chosen) as kit:

        @kit.task(queue="q")
        def work() -> int:
            return 1

        handle = work.enqueue()
        kit.worker(burst=True).run()
        conf = kit.queue("q").conf()
        assert (conf.max_crashes, conf.keep_completed, conf.keep_failed) == (2, KEEP_NOTHING, KEEP_ALL)
        assert handle.status() == "unknown"
