"""Workers of a Django project, in processes of their own: `manage.py queuekit worker`, on every store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit, State, clock, ids
from tests.architecture import ROOT

MANAGE = [sys.executable, "-m", "tests.contrib.django_project.manage"]
DOOR = [sys.executable, "-m", "queuekit.cli.main"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's database in a file, with tables."""
    file = tmp_path_factory.mktemp("django") / "db.sqlite"
    subprocess.run([*MANAGE, "migrate", "-v0"], cwd=ROOT, env=_env(file, {"URL": "memory://"}), check=True)
    return file


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueKit]:
    """A kit that knows names only, on the project's store."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    kit = QueueKit(url, namespace=f"t{ids.nonce()[:8]}")
    yield kit
    for queue in kit.health():
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


def _env(file: Path, queuekit: dict[str, object], **more: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("QUEUE", "DJANGO_", "TASKS_"))}
    return ours | {
        "DJANGO_SETTINGS_MODULE": "tests.contrib.django_project.settings",
        "DJANGO_DB": str(file),
        "QUEUEKIT_JSON": json.dumps(queuekit),
        **more,
    }


def env_of(kit: QueueKit, tables: Path, **more: str) -> dict[str, str]:
    """The environment of the project's processes on the store of `kit`."""
    said: dict[str, object] = {"URL": kit.settings.url, "NAMESPACE": kit.settings.namespace}
    return _env(tables, said, **more)


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=100, check=False)


SELL = """
import django
django.setup()
from django.test import Client
for path in ("/order/?name=tea", "/order/?name=no&fail=1", "/aorder/?name=cake"):
    Client(raise_request_exception=False).post(path)
"""


def test_what_is_sold_is_done_over_fresh_connections(kit: QueueKit, tables: Path, store: str) -> None:
    sold = run([sys.executable, "-c", SELL], env_of(kit, tables))
    orders = kit.find(queue="mail").jobs
    assert [job.state for job in orders] == [State.WAITING] * 2, sold.stderr  # the third was rolled back
    look = kit.queue("look")
    plain = [look.enqueue("look", {"leak": n == 1}) for n in range(3)]
    later = [look.enqueue("alook") for _ in range(2)]
    if store == "redis":  # the installed command finds the project as well
        ended = run([*DOOR, "worker", "--burst"], env_of(kit, tables, QUEUEKIT_APP="queuekit.contrib.django:get_kit"))
    elif store == "mongo":  # and by a task module of it
        ended = run(
            [*DOOR, "-A", "tests.contrib.django_project.shop.tasks:kit", "worker", "--burst"], env_of(kit, tables)
        )
    else:
        ended = run([*MANAGE, "queuekit", "worker", "--burst"], env_of(kit, tables, DJANGO_DEBUG="1"))
    assert ended.returncode == 0, ended.stderr
    assert [job.state for job in kit.find(queue="mail").jobs] == [State.COMPLETED] * 2, ended.stderr
    results = [handle.result(timeout=0) for handle in plain]
    assert [(one["closed"], one["queries"], one["inside"]) for one in results if isinstance(one, dict)] == [
        (True, 0, False),
        (True, 0, True),
        (True, 0, False),  # what the one before left open does not live on
    ]
    assert f"job {plain[1].ref} left a transaction of database 'default' open" in ended.stderr
    assert [handle.result(timeout=0) for handle in later] == [{"closed": True, "queries": 0}] * 2


@pytest.mark.parametrize("store", ["sqlite"])
def test_several_processes_find_the_project_and_end_with_it(kit: QueueKit, tables: Path) -> None:
    env = env_of(kit, tables)
    command = [*MANAGE, "queuekit", "-l", "warning", "worker", "-p", "2", "-Q", "look"]
    worker = subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    try:
        seen: set[object] = set()
        until = clock.monotonic() + 90  # however late the second of them starts
        while len(seen) < 2 and clock.monotonic() < until:
            found = kit.queue("look").enqueue("look").result(timeout=60)
            seen.add(found["pid"] if isinstance(found, dict) else None)
        assert len(seen - {None, worker.pid}) == 2
    finally:
        worker.send_signal(signal.SIGINT)
        _, said = worker.communicate(timeout=60)
    assert (worker.returncode, said) == (0, "")


@pytest.mark.parametrize("store", ["sqlite"])
def test_a_task_module_that_cannot_be_imported_is_named(kit: QueueKit, tables: Path) -> None:
    env = env_of(kit, tables, DJANGO_APPS="tests.contrib.django_project.broken")
    ended = run([*MANAGE, "queuekit", "worker", "--burst"], env)
    assert ended.returncode == 2
    assert "task module 'tests.contrib.django_project.broken.tasks' (app 'broken')" in ended.stderr
    assert "No module named 'no_such_module_anywhere'" in ended.stderr
    assert run([*MANAGE, "queuekit", "health", "--json"], env).returncode == 0  # to look needs no task


@pytest.mark.parametrize("store", ["sqlite"])
def test_a_task_name_of_two_apps_is_an_error_of_the_check(kit: QueueKit, tables: Path) -> None:
    ended = run([*MANAGE, "check"], env_of(kit, tables, DJANGO_APPS="tests.contrib.django_project.twice"))
    assert ended.returncode == 1
    assert "queuekit.E008" in ended.stderr
    assert "task 'send_receipt' is registered twice" in ended.stderr
    assert "twice.tasks" in ended.stderr


@pytest.mark.parametrize("store", ["sqlite"])
def test_the_tests_of_the_project_pass(kit: QueueKit, tables: Path) -> None:
    ended = run([*MANAGE, "test", "tests.contrib.django_project.shop"], env_of(kit, tables))
    assert ended.returncode == 0, ended.stderr
    assert "Ran 12 tests" in ended.stderr
    assert kit.health() == {}
