"""Rows of `004`: two providers behind one service."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, Settings, State
from queuekit.settings import VARIABLES

PARTS = {"unique", "usage", "within", "groups", "limits", "schedules", "relay", "mover", "events"}
APP = """
import asyncio, pathlib
from queuekit import QueueKit

kit = QueueKit()

@kit.task(queue="q")
async def slow() -> str:
    pathlib.Path("started").write_text("")
    await asyncio.sleep(1)
    return "finished"
"""


@pytest.mark.parametrize(
    ("provider", "scheme"),
    [("bull", "redis"), ("redis", "redis"), ("agenda", "mongodb"), ("mongo", "mongodb"), ("mongodb", "mongodb"),
     ("sqlite", "sqlite"), ("memory", "memory")],
)  # fmt: skip
def test_S4_2_providers_have_the_seeds_names(provider: str, scheme: str) -> None:
    assert Settings.load({"QUEUE_PROVIDER": provider}).url.startswith(f"{scheme}:")


def test_S4_2_redis_is_the_default_where_it_is_configured_and_sqlite_where_nothing_is() -> None:
    assert Settings.load({"REDIS_URL": "redis://cache", "MONGODB_URL": "mongodb://db/x"}).url.startswith(
        "redis://cache"
    )
    assert Settings.load({}).url.startswith("sqlite:")
    assert Settings.load({}).chosen_by == "default"


def test_S4_3_redis_variables() -> None:
    env = {"QUEUE_PROVIDER": "bull", "REDIS_HOST": "h", "REDIS_PORT": "1", "REDIS_PASSWORD": "p", "REDIS_DB": "3"}
    assert Settings.load(env).url == "redis://:p@h:1/3"


def test_S4_4_mongodb_variables() -> None:
    settings = Settings.load({"QUEUE_PROVIDER": "agenda"})
    assert settings.url == "mongodb://localhost:27017/vale_db"
    assert settings.collection == "queuekit_jobs"
    assert Settings.load({"QUEUE_PROVIDER": "agenda", "QUEUE_COLLECTION": "agenda_jobs"}).collection == "agenda_jobs"


@pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"])
def test_S4_1_one_program_runs_on_every_provider(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/q.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    with QueueKit(url, namespace=f"acceptance-{tmp_path.name}"[:60]) as kit:

        @kit.task(queue="q")
        def double(n: int) -> int:
            return 2 * n

        handles = kit.enqueue_many([double.make(n) for n in range(5)])
        kit.worker(burst=True).run()
        assert [handle.result(timeout=0) for handle in handles] == [0, 2, 4, 6, 8]
        kit.queue("q").obliterate(confirm="q")


def test_S4_11_status_is_never_a_guess(kit: QueueKit) -> None:
    assert kit.job("q/nobody").status() == "unknown"
    assert kit.get("q/nobody") is None


def test_S4_12_cancel_says_whether_it_did(kit: QueueKit) -> None:
    handle = kit.queue("q").enqueue("t")
    assert handle.cancel("not wanted") is True
    assert handle.status() == State.CANCELLED
    assert handle.cancel() is False


def test_S4_13_jobs_are_listed_by_status_and_task(kit: QueueKit) -> None:
    for n in range(3):
        kit.queue("q").enqueue("remind", {"n": n}, delay="1h")
    kit.queue("q").enqueue("other")
    page = kit.find(queue="q", state="scheduled", task="remind", limit=2)
    rest = kit.find(queue="q", state="scheduled", task="remind", limit=2, cursor=page.cursor or "")
    assert (len(page.jobs), len(rest.jobs), rest.cursor) == (2, 1, None)
    assert {job.state for job in page.jobs} == {State.DELAYED}
    assert kit.find(queue="q", state="scheduled", limit=1).total == 3


def test_S4_16_S4_23_an_id_of_ones_own_makes_one_job(kit: QueueKit) -> None:
    first = kit.queue("q").enqueue("t", {"n": 1}, id="booking-7")
    again = kit.queue("q").enqueue("t", {"n": 1}, id="booking-7")
    assert (first.created, again.created, again.ref) == (True, False, "q/booking-7")
    assert kit.health("q")["q"].waiting == 1


def test_S4_18_term_lets_the_running_job_finish(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    url = f"sqlite:///{tmp_path}/q.db"
    with QueueKit(url) as kit:
        handle = kit.queue("q").enqueue("slow")
        command = [str(Path(sys.executable).parent / "queuekit"), "-u", url, "worker", "app:kit"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as worker:
            while not (tmp_path / "started").exists():
                assert worker.poll() is None
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        assert handle.result(timeout=0) == "finished"


def test_S4_28_a_job_is_shown_as_a_dict(kit: QueueKit) -> None:
    handle = kit.queue("q").enqueue("t", {"n": 1})
    job = kit.get(handle.ref)
    assert job is not None
    shown = job.to_dict()
    assert (shown["id"], shown["queue"], shown["task"], shown["payload"]) == (handle.id, "q", "t", {"n": 1})


def test_S4_30_old_jobs_are_cleaned(kit: QueueKit, run: Callable[..., int]) -> None:
    @kit.task(queue="q")
    def work() -> None:
        return None

    kit.enqueue_many([work.make() for _ in range(5)])
    run("q")
    assert kit.queue("q").prune(State.COMPLETED, older_than="1h") == 0
    assert kit.queue("q").prune(State.COMPLETED, limit=3) == 3
    assert kit.health("q")["q"].completed == 2


def test_S4_33_secrets_are_never_shown() -> None:
    env = {"REDIS_URL": "rediss://app:canary-9@cache:6380/0", "QUEUEKIT_DASHBOARD_TOKEN": "canary-8"}
    shown = repr(Settings.load(env))
    assert "canary" not in shown
    assert "rediss://app:***@cache:6380/0" in shown


def test_S4_34_a_provider_that_needs_nothing(tmp_path: Path) -> None:
    code = (
        "from queuekit import QueueKit\nkit = QueueKit()\n"
        "@kit.task\ndef add(a: int, b: int) -> int:\n    return a + b\n"
        "job = add.enqueue(1, 2)\nkit.worker(burst=True).run()\nprint(job.result(timeout=0))\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES} | {"QUEUE_PROVIDER": "memory"}
    said = subprocess.check_output([sys.executable, "-c", code], env=env, cwd=tmp_path, text=True, timeout=60)
    assert said == "3\n"
    assert list(tmp_path.iterdir()) == []


def test_S4_36_the_page_about_the_stores_tells_what_they_can(tmp_path: Path, redis_url: str, mongo_url: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "stores.md").read_text()
    assert all(f"**{name}**" in page for name in ("Redis", "MongoDB", "SQLite"))  # pros and cons of each
    assert "make compare" in page  # figures, and how to get them
    rows = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("| `")]
    told = {name: cells for first, *cells in rows for name in re.findall(r"`(\w+)`", first) if name != "queuekit bench"}
    urls = (redis_url, mongo_url, f"sqlite:///{tmp_path}/q.db")
    for column, url in enumerate(urls):
        with QueueKit(url) as kit:
            can = kit.blocking_store().capabilities
        said = {name: cells[column].strip() for name, cells in told.items()}
        levels = {name: said.pop(name) for name in ("order_skew", "counted_at", "totals", "wake")}
        assert levels == {name: str(getattr(can, name)) for name in levels}, url
        assert {name for name, cell in said.items() if cell == "yes"} == can.parts, url
        assert {name for name, cell in said.items() if cell != "yes"} == PARTS - can.parts, url


def test_S4_37_the_package_is_typed() -> None:
    import queuekit

    assert (Path(queuekit.__file__).parent / "py.typed").exists()


def test_S4_35_jobs_go_to_another_provider_and_nothing_is_missing(
    tmp_path: Path, redis_url: str, mongo_url: str
) -> None:
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env |= {"REDIS_URL": redis_url, "MONGODB_URL": mongo_url, "QUEUEKIT_NAMESPACE": f"row-s4-35-{os.getpid()}"}

    def queuekit(*args: str, **more: str) -> Any:
        command = [str(Path(sys.executable).parent / "queuekit"), *args]
        said = subprocess.run(
            command, env=env | more, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(said.stdout) if "--json" in args else said.stdout

    with QueueKit(redis_url, namespace=env["QUEUEKIT_NAMESPACE"]) as kit:
        kit.enqueue_many([kit.queue("q").make("t", {"n": n}) for n in range(30)])
        kit.queue("q").enqueue("t", {"n": 30}, delay="1h", id="later")
    # through a file, checked whole before anything of it comes in
    assert queuekit("export", "jobs.jsonl", "--json", QUEUE_PROVIDER="redis")["jobs"] == 31
    assert queuekit("import", "jobs.jsonl", "--json", QUEUE_PROVIDER="sqlite")["agrees"]
    assert queuekit("migrate", "--from", "redis", "--to", f"sqlite:///{tmp_path}/queuekit.db", "--verify", "--json")[
        "agrees"
    ]
    # or live: what it would do, then it, then the comparison by state and digest; --resume where it was stopped
    plan = queuekit("migrate", "--from", "redis", "--to", "mongo", "--dry-run", "--json")
    assert (plan["possible"], plan["queues"]["q"]["jobs"]) == (True, {"waiting": 30, "delayed": 1})
    moved = queuekit("migrate", "--from", "redis", "--to", "mongo", "--json")
    assert (moved["agrees"], moved["queues"]["q"]["moved"]) == (True, {"waiting": 30, "delayed": 1})
    assert moved["queues"]["q"]["digest"] == moved["queues"]["q"]["arrived"]
    assert queuekit("migrate", "--from", "redis", "--to", "mongo", "--resume", "--json")["agrees"]
    assert queuekit("migrate", "--from", "redis", "--to", "mongo", "--verify", "--json")["agrees"]
    with QueueKit(mongo_url, namespace=env["QUEUEKIT_NAMESPACE"]) as kit:
        assert (kit.health("q")["q"].waiting, kit.health("q")["q"].delayed) == (30, 1)
        assert kit.job("later", queue="q").status() is State.DELAYED
