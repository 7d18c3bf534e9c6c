"""Runs of Django's tasks: states as statuses, attempts and options, signals, transactions, and what is never run."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import json
import os
import re
import subprocess
import sys
import threading
import traceback
import types
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync

from queuekit import JobCancelled, JobFailed, PayloadError, QueueKit, State, ids
from queuekit.errors import InvalidOption
from queuekit.producing.definition import Finders
from queuekit.testing import VirtualClock, isolated
from tests.contrib.django_tasks import BACKEND, fresh, one, tasks, work

if TYPE_CHECKING:
    from queuekit.contrib.django import DjangoKit

pytestmark = pytest.mark.usefixtures("django_db")


@pytest.fixture
def kit(tmp_path: Path, django_db: None) -> Iterator[DjangoKit]:
    """A kit, which the only backend of TASKS works through."""
    with fresh(f"sqlite:///{tmp_path}/jobs.db") as kit, tasks(default=one(kit)):
        yield kit


@pytest.fixture
def shop(kit: DjangoKit) -> Any:
    """The application's tasks."""
    from tests.contrib import tasks_shop

    tasks_shop.ran.clear()
    return tasks_shop


@pytest.fixture
def root(django: None) -> Any:
    """Whichever of the two modules is there."""
    from queuekit.contrib.django.tasks_backend import root

    return root


@contextmanager
def heard(root: Any) -> Iterator[list[tuple[str, Any, Any]]]:
    """(signal, sender, result) as they are sent."""
    told: list[tuple[str, Any, Any]] = []
    receivers = []
    for name in ("task_enqueued", "task_started", "task_finished"):

        def receive(sender: Any, task_result: Any, said: str = name, **_: Any) -> None:
            told.append((said, sender, task_result))

        getattr(root, name).connect(receive, weak=False)
        receivers.append((name, receive))
    try:
        yield told
    finally:
        for name, receive in receivers:
            getattr(root, name).disconnect(receive)


def handle_of(kit: QueueKit, result: Any) -> Any:
    """The job behind a result."""
    job, _, queue = result.id.partition("@")
    return kit.job(job, queue=queue)


# ------------------------------------------------------------ states
def test_a_cancelled_task_has_failed(shop: Any, kit: DjangoKit) -> None:
    result = shop.bare.enqueue()
    assert handle_of(kit, result).cancel("wanted no more")
    result.refresh()
    assert result.status.value == "FAILED"
    assert result.is_finished
    assert result.finished_at is not None
    (error,) = result.errors
    assert error.exception_class is JobCancelled
    assert "wanted no more" in error.traceback
    assert result.attempts == 0


def test_a_task_that_no_worker_could_start_has_failed_until_it_is_reopened(shop: Any, kit: DjangoKit) -> None:
    clock = VirtualClock()
    with isolated(kit, clock) as test:
        result = shop.bare.enqueue()
        finders, test.finders = test.finders, Finders()  # a worker of a program without these tasks
        for _ in range(6):
            test.drain()
            clock.travel(minutes=1)
            result.refresh()
        assert handle_of(kit, result).status() is State.PARKED
        assert (result.status.value, result.is_finished, result.attempts) == ("FAILED", True, 0)
        (error,) = result.errors
        assert error.exception_class is PayloadError
        assert "unknown task" in error.traceback
        assert handle_of(kit, result).retry()
        result.refresh()
        assert (result.status.value, result.errors) == ("READY", [])
        test.finders = finders
        test.drain()
        result.refresh()
        assert (result.return_value, result.attempts) == (42, 1)


def test_every_state_of_a_job_has_a_status(shop: Any, kit: DjangoKit, root: Any) -> None:
    from queuekit.contrib.django.tasks_backend import results

    shop.bare.enqueue()
    (job,) = kit.find().jobs
    for state in State:
        result = results.result_of(
            dataclasses.replace(job, state=state, worker="w", reason="why"), shop.bare, "default"
        )
        assert (result.status.value, result.attempts, len(result.errors)) == {
            State.WAITING: ("READY", 0, 0),
            State.DELAYED: ("READY", 0, 0),
            State.BLOCKED: ("READY", 0, 0),
            State.ACTIVE: ("RUNNING", 1, 0),
            State.COMPLETED: ("SUCCESSFUL", 1, 0),
            State.FAILED: ("FAILED", 0, 1),
            State.CANCELLED: ("FAILED", 0, 1),
            State.PARKED: ("FAILED", 0, 1),
        }[state]


def test_runs_that_ended_with_their_worker_are_counted(shop: Any, kit: DjangoKit) -> None:
    from queuekit.contrib.django.tasks_backend import results

    shop.bare.enqueue()
    (job,) = kit.find().jobs
    lost = dataclasses.replace(job, state=State.FAILED, crashes=3, reason="crash_loop", worker="w")
    result = results.result_of(lost, shop.bare, "default")
    assert (result.status.value, result.attempts) == ("FAILED", 3)
    assert [error.exception_class for error in result.errors] == [JobFailed]
    assert "3 runs ended with a dead worker" in result.errors[0].traceback
    again = results.result_of(dataclasses.replace(lost, state=State.ACTIVE, crashes=1), shop.bare, "default")
    assert (again.attempts, again.worker_ids) == (2, ["unknown", "w"])


# ------------------------------------------------------------ attempts and options
def test_a_task_runs_once_where_nobody_says_otherwise(shop: Any, kit: DjangoKit) -> None:
    result = shop.third_time.enqueue()
    work(kit)
    result.refresh()
    assert (result.status.value, result.attempts, shop.ran) == ("FAILED", 1, [1])


def test_a_retried_task_is_ready_until_its_last_run(shop: Any, kit: DjangoKit, root: Any) -> None:
    clock = VirtualClock()
    with tasks(default=one(kit, attempts=3, backoff="1m")), isolated(kit, clock) as test, heard(root) as told:
        result = shop.third_time.enqueue()
        seen = []
        for _ in range(3):
            test.drain()
            result.refresh()
            seen.append((result.status.value, result.attempts, len(result.errors), result.is_finished))
            clock.travel(minutes=2)
        assert seen == [("READY", 1, 1, False), ("READY", 2, 2, False), ("SUCCESSFUL", 3, 2, True)]
        assert shop.ran == [1, 2, 3]
        assert result.return_value == 3
        assert len(result.worker_ids) == 3
        assert result.enqueued_at <= result.started_at < result.last_attempted_at <= result.finished_at
        assert [error.traceback.split("OwnError: ")[1].strip() for error in result.errors] == ["run 1", "run 2"]
    assert [said for said, _, _ in told] == ["task_enqueued", *["task_started"] * 3, "task_finished"]
    assert [one.attempts for said, _, one in told if said == "task_started"] == [1, 2, 3]


def test_options_stand_on_the_task_as_well(shop: Any, kit: DjangoKit) -> None:
    plain, chosen = shop.twice.enqueue(), shop.twice.enqueue("KeyError")
    work(kit)
    assert shop.twice.get_result(plain.id).attempts == 2
    assert shop.twice.get_result(chosen.id).attempts == 1  # fail_on
    assert [error.exception_class for error in shop.twice.get_result(chosen.id).errors] == [KeyError]


def test_two_backends_of_one_kit_keep_their_own_options(shop: Any, kit: DjangoKit) -> None:
    with tasks(default=one(kit), thrice=one(kit, attempts=3, backoff=0)):
        once, thrice = shop.fails.enqueue(), shop.fails.using(backend="thrice").enqueue()
        own = shop.twice.using(backend="thrice").enqueue()
        work(kit)
        for result, attempts, alias in ((once, 1, "default"), (thrice, 3, "thrice"), (own, 2, "thrice")):
            result.refresh()
            assert (result.attempts, result.backend, result.task.backend) == (attempts, alias, alias)


def test_options_that_change_reach_what_waits(shop: Any, kit: DjangoKit) -> None:
    result = shop.fails.enqueue()
    with tasks(default=one(kit, attempts=3, backoff=0)):
        work(kit)
        result.refresh()
    assert result.attempts == 3


def test_a_task_may_use_what_queuekits_own_have(shop: Any, kit: DjangoKit) -> None:
    with tasks(default=one(kit, attempts=2)):
        retried, cancelled = shop.uses_queuekit.enqueue("retry"), shop.uses_queuekit.enqueue("cancel")
        work(kit)
        retried.refresh()
        cancelled.refresh()
        assert (retried.status.value, retried.attempts) == ("SUCCESSFUL", 2)
        assert handle_of(kit, retried).get().progress == {"value": 0.5, "message": "retry"}
        assert (cancelled.status.value, cancelled.errors[-1].exception_class) == ("FAILED", JobCancelled)


def test_a_timeout_is_an_error_of_the_task(kit: DjangoKit, shop: Any) -> None:
    from queuekit.contrib.django.tasks_backend import results
    from queuekit.contrib.django.tasks_backend.options import Unfit
    from queuekit.producing.snapshot import error_from
    from queuekit.runtime.failure import TimedOut, UnfitResult, describe

    shop.bare.enqueue()
    (job,) = kit.find().jobs
    for error, kind in ((TimedOut("5 s"), TimeoutError), (UnfitResult("x"), TypeError), (Unfit("x"), TypeError)):
        said = error_from(describe(error, attempt=1, worker="w"))
        failed = dataclasses.replace(job, state=State.FAILED, errors=(said,))
        (shown,) = results.result_of(failed, shop.bare, "default").errors
        assert shown.exception_class is kind


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"attemps": 2}, "did you mean 'attempts'"),
        ({"priority": 2}, "@task(priority"),
        ({"queue": "x"}, "queue_name"),
        ({"attempts": 0}, "attempts"),
        ({"backoff": "soon"}, "backoff"),
    ],
)
def test_wrong_options_of_a_task_are_refused_where_they_stand(
    kit: DjangoKit, given: dict[str, Any], words: str
) -> None:
    from queuekit.contrib.django import task_options

    with pytest.raises(InvalidOption, match=re.escape(words)):
        task_options(**given)


def test_options_stand_below_the_decorator(kit: DjangoKit, shop: Any) -> None:
    from queuekit.contrib.django import task_options

    with pytest.raises(InvalidOption, match="below @task"):
        task_options(attempts=2)(shop.bare)


def test_other_backends_do_not_see_the_options(shop: Any, kit: DjangoKit, root: Any) -> None:
    path = "django_tasks" if root.BACKPORT else "django.tasks"
    with tasks(default={"BACKEND": f"{path}.backends.immediate.ImmediateBackend"}):
        result = shop.twice.enqueue()
    assert (result.status.value, len(shop.ran)) == ("FAILED", 1)


# ------------------------------------------------------------ signals
@pytest.mark.parametrize("name", ["bare", "aecho", "fails", "afails"])
def test_signals_tell_of_a_life(shop: Any, kit: DjangoKit, root: Any, name: str) -> None:
    from queuekit.contrib.django import TaskBackend

    with heard(root) as told:
        result = getattr(shop, name).enqueue(*["x"] * (name == "aecho"))
        assert [(said, sender, one) for said, sender, one in told] == [("task_enqueued", TaskBackend, result)]
        work(kit)
    assert [said for said, _, _ in told] == ["task_enqueued", "task_started", "task_finished"]
    assert {sender for _, sender, _ in told} == {TaskBackend}
    started, finished = told[1][2], told[2][2]
    result.refresh()
    assert (started.id, started.status.value, started.attempts) == (result.id, "RUNNING", 1)
    assert (finished.id, finished.status) == (result.id, result.status)
    assert finished._return_value == result._return_value
    assert [error.exception_class for error in finished.errors] == [error.exception_class for error in result.errors]
    assert finished.worker_ids == result.worker_ids
    assert finished.is_finished
    assert finished.finished_at is not None


async def test_signals_of_coroutines(shop: Any, kit: DjangoKit, root: Any) -> None:
    with heard(root) as told:
        result = await shop.bare.aenqueue()
    assert [(said, one) for said, _, one in told] == [("task_enqueued", result)]
    await kit.aclose()


def test_receivers_see_what_was_raised(shop: Any, kit: DjangoKit, root: Any) -> None:
    seen: list[Any] = []

    def receive(**_: Any) -> None:
        seen.append(sys.exc_info()[1])

    root.task_finished.connect(receive)
    try:
        shop.fails.enqueue("of the task")
        shop.bare.enqueue()
        work(kit)
    finally:
        root.task_finished.disconnect(receive)
    assert isinstance(seen[0], shop.OwnError)
    assert str(seen[0]) == "of the task"
    files = [Path(one.filename).name for one in traceback.extract_tb(seen[0].__traceback__)]
    assert files == ["finder.py", "tasks_shop.py"], "what runs tasks says nothing of why one failed"
    assert seen[1:] == [None]
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    assert not finder_of(kit)._raised  # nothing is held longer


def test_receivers_may_use_the_database(shop: Any, kit: DjangoKit, root: Any) -> None:
    from django.db import connection

    rows: list[Any] = []

    def receive(**_: Any) -> None:
        with connection.cursor() as cursor:
            rows.append(cursor.execute("SELECT 1").fetchone())

    for signal in (root.task_started, root.task_finished):
        signal.connect(receive)
    try:
        shop.reads_the_database.enqueue()
        work(kit)
    finally:
        for signal in (root.task_started, root.task_finished):
            signal.disconnect(receive)
    assert rows == [(1,), (1,)]


def test_a_receiver_that_raises_does_not_undo_a_task(
    shop: Any, kit: DjangoKit, root: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError("of the receiver")

    root.task_finished.connect(receive)
    try:
        result = shop.bare.enqueue()
        work(kit)
    finally:
        root.task_finished.disconnect(receive)
    result.refresh()
    assert result.return_value == 42
    assert "of the receiver" in caplog.text


def test_a_cancel_is_an_end_too(shop: Any, kit: DjangoKit, root: Any) -> None:
    result = shop.bare.enqueue()
    with heard(root) as told:
        handle_of(kit, result).cancel()
    assert [(said, one.id, one.status.value) for said, _, one in told] == [("task_finished", result.id, "FAILED")]


def test_jobs_of_the_kits_own_tasks_send_nothing(kit: DjangoKit, root: Any) -> None:
    kit.task(_own)
    with heard(root) as told:
        handle = kit.queue("default").enqueue("_own", {"n": 1})
        work(kit, "default")
    assert handle.result(timeout=0) == 2
    assert told == []


def test_the_end_of_another_job_imports_no_module_of_its_name(
    shop: Any, kit: DjangoKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task of the kit may be called as a module is."""
    (tmp_path / "billing_of_old.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    shop.bare.enqueue()
    kit.task("billing_of_old.send")(_own)
    handle = kit.queue("default").enqueue("billing_of_old.send", {"n": 1})
    work(kit, "default")
    assert handle.result(timeout=0) == 2
    assert not finder_of(kit)._missing.waits("billing_of_old.send")


def _own(n: int) -> int:
    return n + 1


# ------------------------------------------------------------ transactions
@pytest.mark.parametrize("said", [None, True])
def test_a_task_waits_for_the_commit(shop: Any, kit: DjangoKit, root: Any, said: bool | None) -> None:
    from django.db import transaction

    with tasks(default=one(kit, **({} if said is None else {"ENQUEUE_ON_COMMIT": said}))), heard(root) as told:
        with transaction.atomic():
            result = shop.bare.enqueue()
            assert (result.enqueued_at, result.status.value, told, kit.health()) == (None, "READY", [], {})
            with pytest.raises(root.TaskResultDoesNotExist):
                result.refresh()
        assert result.enqueued_at is None  # as it was taken
        result.refresh()
        assert [(name, one) for name, _, one in told] == [("task_enqueued", result)]
        assert result.enqueued_at == told[0][2].enqueued_at
        assert shop.bare.get_result(result.id) == result
        work(kit)
        result.refresh()
        assert result.return_value == 42


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction that an error ends."""
    from django.db import transaction

    try:
        with transaction.atomic():
            yield
            raise ZeroDivisionError
    except ZeroDivisionError:
        return


def test_a_task_goes_with_the_transaction_that_is_rolled_back(shop: Any, kit: DjangoKit, root: Any) -> None:
    with heard(root) as told, rolled_back():
        shop.bare.enqueue()
    assert (told, kit.health()) == ([], {})


def test_a_task_is_written_at_once_where_the_setting_says_so(shop: Any, kit: DjangoKit, root: Any) -> None:
    with tasks(default=one(kit, ENQUEUE_ON_COMMIT=False)), heard(root) as told:
        with rolled_back():
            result = shop.bare.enqueue()
            assert result.enqueued_at is not None
            assert [name for name, _, _ in told] == ["task_enqueued"]
        assert shop.bare.get_result(result.id) == result


def test_the_projects_setting_holds_where_the_backend_says_nothing(shop: Any, kit: DjangoKit) -> None:
    from django.db import transaction
    from django.test import override_settings

    with override_settings(QUEUEKIT={"ON_COMMIT": False}), transaction.atomic():
        assert shop.bare.enqueue().enqueued_at is not None
    said = tasks(default=one(kit, ENQUEUE_ON_COMMIT=True))
    with override_settings(QUEUEKIT={"ON_COMMIT": False}), said, transaction.atomic():
        assert shop.bare.enqueue().enqueued_at is None


def test_tasks_of_a_plain_kit_wait_too(shop: Any, kit: DjangoKit, tmp_path: Path) -> None:
    from django.db import transaction

    with QueueKit(f"sqlite:///{tmp_path}/plain.db", name=f"p{ids.nonce()[:8]}") as plain, tasks(default=one(plain)):
        with transaction.atomic():
            result = shop.reads_the_database.enqueue()
            assert (result.enqueued_at, plain.health()) == (None, {})
        work(plain)
        result.refresh()
        assert result.return_value is True


def test_coroutines_wait_for_the_transaction_of_their_view(shop: Any, kit: DjangoKit, root: Any) -> None:
    from django.db import transaction

    with heard(root) as told:
        with transaction.atomic():
            result = async_to_sync(shop.bare.aenqueue)()
            assert (result.enqueued_at, told, kit.health()) == (None, [], {})
        result.refresh()
        assert [(name, one) for name, _, one in told] == [("task_enqueued", result)]


def test_a_receiver_that_raises_behind_the_commit_stops_nobody(
    shop: Any, kit: DjangoKit, root: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from django.db import transaction

    def receive(**_: Any) -> None:
        raise ZeroDivisionError("of the receiver")

    called: list[int] = []
    root.task_enqueued.connect(receive)
    try:
        with transaction.atomic():
            result = shop.bare.enqueue()
            transaction.on_commit(lambda: called.append(1))
    finally:
        root.task_enqueued.disconnect(receive)
    assert called == [1]
    assert shop.bare.get_result(result.id).enqueued_at is not None
    assert "of the receiver" in caplog.text


# ------------------------------------------------------------ what a path of the store leads to
@pytest.mark.parametrize(
    "path",
    [
        "os.abort", "os.system", "tests.contrib.tasks_shop.not_a_task", "tests.contrib.tasks_shop.echo.func",
        "tests.contrib.tasks_shop.Room", "tests.contrib.tasks_shop.nothing", "tests.contrib.nowhere.bare",
        "builtins.exit",
        "tests.contrib.tasks_shop.bare.enqueue", "tests.contrib.tasks_alias.renamed", "bare", "..",
        "tests.contrib.tasks_shop",
    ],
)  # fmt: skip
def test_only_tasks_are_run(shop: Any, kit: DjangoKit, root: Any, path: str) -> None:
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    shop.bare.enqueue()
    module = types.ModuleType("tests.contrib.tasks_alias")
    module.renamed = shop.bare  # type: ignore[attr-defined]  # a task, under a path that no producer writes
    sys.modules["tests.contrib.tasks_alias"] = module
    try:
        assert finder_of(kit).task(path) is None
        assert finder_of(kit).find(path) is None
    finally:
        del sys.modules["tests.contrib.tasks_alias"]


def test_a_job_with_the_path_of_something_else_is_not_run(shop: Any, kit: DjangoKit) -> None:
    clock = VirtualClock()
    shop.bare.enqueue()
    with isolated(kit, clock) as test:
        handle = kit.queue("default").enqueue("tests.contrib.tasks_shop.not_a_task", {"args": [], "kwargs": {}})
        for _ in range(6):
            test.drain()
            clock.travel(minutes=1)
        assert handle.status() is State.PARKED


def test_a_payload_that_is_no_call_is_parked(shop: Any, kit: DjangoKit, root: Any) -> None:
    shop.bare.enqueue()
    with QueueKit(kit.settings.url, namespace=kit.settings.namespace, name=f"o{ids.nonce()[:8]}") as other:
        strange = other.queue("default").enqueue("tests.contrib.tasks_shop.bare", {"args": 5, "kwargs": {}})
        work(kit, "default")
        assert strange.status() is State.PARKED
    with pytest.raises(root.TaskResultDoesNotExist):
        root.task_backends["default"].get_result(f"{strange.id}@default")


def test_a_module_that_cannot_be_imported_is_told(
    shop: Any, kit: DjangoKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    (tmp_path / "broken_tasks_module.py").write_text("raise ZeroDivisionError('at import')\n")
    monkeypatch.syspath_prepend(tmp_path)
    shop.bare.enqueue()
    assert finder_of(kit).find("broken_tasks_module.task") is None
    assert "broken_tasks_module" in caplog.text
    assert "at import" in caplog.text


def test_a_module_that_could_not_be_imported_is_tried_again_later(
    shop: Any,
    kit: DjangoKit,
    root: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its tasks would be parked until the worker is restarted, however short the failure was."""
    from queuekit import clock
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    gate = types.ModuleType("gate_of_failing_tasks")
    gate.error, gate.tries = OSError("no database yet"), 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, gate.__name__, gate)
    (tmp_path / "tasks_that_fail_once.py").write_text(
        "import gate_of_failing_tasks as gate\ngate.tries += 1\nif gate.error: raise gate.error\n"
        f"from {root.Task.__module__.rpartition('.')[0]} import task\n\n\n@task()\ndef late():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    shop.bare.enqueue()
    finder = finder_of(kit)
    tries = []
    for seconds in (0, 1, 4, 5, 4, 1, 600, 600, 79, 1):
        now[0] += seconds
        assert finder.find("tasks_that_fail_once.late") is None
        tries.append(gate.tries)
    assert tries == [1, 1, 2, 2, 2, 3, 4, 5, 5, 6], "not at each job"
    assert caplog.text.count("no database yet") == 1
    gate.error = None  # type: ignore[attr-defined]
    now[0] += 300
    definition = finder.find("tasks_that_fail_once.late")
    assert definition is not None
    assert definition.fn is not None
    del sys.modules["tasks_that_fail_once"]


# ------------------------------------------------------------ one worker, other process
ENQUEUE = """
import django; django.setup()
from tests.contrib import tasks_shop
print(tasks_shop.echo.enqueue(1, a="b").id, tasks_shop.report.enqueue(5.0).id)
"""


def test_a_worker_of_manage_py_runs_what_another_process_enqueued(kit: DjangoKit, shop: Any, tmp_path: Path) -> None:
    settings = {"URL": kit.settings.url, "NAMESPACE": kit.settings.namespace, "AUTODISCOVER": False}
    env = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.contrib.django_project.settings",
        "QUEUEKIT_JSON": json.dumps(settings),
        "TASKS_JSON": json.dumps({"default": {"BACKEND": BACKEND, "QUEUES": ["default", "reports"]}}),
        "DJANGO_DB": str(tmp_path / "project.db"),
    }
    echo, report = run([sys.executable, "-c", ENQUEUE], env).split()
    assert shop.echo.get_result(echo).status.value == "READY"
    run([sys.executable, "-m", "tests.contrib.django_project.manage", "queuekit", "worker", "--burst"], env)
    assert shop.echo.get_result(echo).return_value == [[1], {"a": "b"}]
    assert shop.report.get_result(report).return_value == 5.0


def run(command: list[str], env: dict[str, str]) -> str:
    """What it printed."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tasks_are_listed_as_the_kits_own(shop: Any, kit: DjangoKit) -> None:
    shop.twice.enqueue()
    assert {"tests.contrib.tasks_shop.twice", "tests.contrib.tasks_shop.report"} <= kit.known()
    definition = kit.definition("tests.contrib.tasks_shop.report")
    assert definition is not None
    assert (definition.queue, definition.options["attempts"]) == ("reports", 1)


def test_a_kit_that_could_not_be_had_is_asked_for_again(
    shop: Any, kit: DjangoKit, root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with tasks(default=one(kit), late=one("late_kit_module.kit")):
        assert shop.bare.enqueue().status.value == "READY"  # one backend's trouble is not another's
        with pytest.raises(root.InvalidTaskBackend, match="late_kit_module"):
            shop.bare.using(backend="late").enqueue()
        (tmp_path / "late_kit_module.py").write_text(
            f"from queuekit import QueueKit\nkit = QueueKit('sqlite:///{tmp_path}/l.db')\n"
        )
        importlib.invalidate_caches()
        result = shop.bare.using(backend="late").enqueue()
        root.task_backends["late"].kit.close()
    assert result.backend == "late"


def test_a_callers_clock_that_goes_wrong_is_not_believed(shop: Any, kit: DjangoKit) -> None:
    from queuekit.contrib.django.tasks_backend import results

    shop.bare.enqueue()
    (job,) = kit.find().jobs
    made = results.enqueued_at(job.id)
    assert made is not None
    for behind, believed in ((-5, True), (0, True), (0.5, True), (2, False)):  # seconds of the store
        created = made - timedelta(seconds=behind)
        changed = dataclasses.replace(
            job, state=State.COMPLETED, created_at=created, started_at=created, finished_at=created
        )
        result: Any = results.result_of(changed, shop.bare, "default")
        assert result.enqueued_at == (made if believed else created)
        assert result.enqueued_at <= result.started_at <= result.last_attempted_at <= result.finished_at


def test_a_module_that_another_thread_imports_is_waited_for(
    shop: Any, kit: DjangoKit, root: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it is there already: what is not yet in it must not be taken for missing, by this worker for good."""
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    gate = types.ModuleType("gate_of_tasks")
    gate.reached, gate.opened = threading.Event(), threading.Event()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "gate_of_tasks", gate)
    (tmp_path / "tasks_half_there.py").write_text(
        "import gate_of_tasks as gate\ngate.reached.set()\ngate.opened.wait(60)\n"
        f"from {root.Task.__module__.rpartition('.')[0]} import task\n\n\n@task()\ndef late():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    shop.bare.enqueue()
    with ThreadPoolExecutor(2) as threads:
        try:
            importing = threads.submit(importlib.import_module, "tasks_half_there")
            assert gate.reached.wait(60)
            finding = threads.submit(finder_of(kit).task, "tasks_half_there.late")
            wait([finding], timeout=0.2)  # it does not end before the import does
        finally:
            gate.opened.set()
        assert finding.result(60) is importing.result(60).late
    del sys.modules["tasks_half_there"]


@pytest.mark.parametrize("module", ["leaving_tasks_module", "leaving_package.__main__"])
def test_a_module_that_ends_the_program_does_not_end_the_worker(
    shop: Any, kit: DjangoKit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    (tmp_path / "leaving_package").mkdir()
    for path in ("leaving_tasks_module.py", "leaving_package/__init__.py", "leaving_package/__main__.py"):
        (tmp_path / path).write_text("" if path.endswith("__init__.py") else "raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    shop.bare.enqueue()
    assert finder_of(kit).find(f"{module}.task") is None


def test_a_kit_is_not_held_by_what_finds_its_tasks(django: None) -> None:
    from queuekit.contrib.django.tasks_backend.connect import finder_of

    kit = QueueKit("memory://", name=f"g{ids.nonce()[:8]}")
    assert finder_of(kit) is finder_of(kit)
    assert len(kit.finders) == 1
    gone = weakref.ref(kit)
    del kit
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("said", [{}, {"ENQUEUE_ON_COMMIT": True}, {"ENQUEUE_ON_COMMIT": False}])
def test_tasks_run_in_test_cases_of_a_project(shop: Any, django_db: None, said: dict[str, bool]) -> None:
    from django.db import connection, transaction

    from queuekit.contrib.django.test import queue_testing

    around: Any = transaction.atomic()
    around._from_testcase = True  # as Django's TestCase opens it
    with tasks(default=one(None, **said)), around, queue_testing() as queues:
        result, fails = shop.reads_the_database.enqueue(), shop.fails.enqueue()
        queues.assert_enqueued("tests.contrib.tasks_shop.reads_the_database", {"args": []}, times=1)
        assert [job.state for job in queues.drain()] == [State.COMPLETED, State.FAILED]
        assert connection.in_atomic_block
        result.refresh()
        fails.refresh()
    assert result.return_value is True
    assert fails.errors[0].exception_class is shop.OwnError
