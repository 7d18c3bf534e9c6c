"""The contract of Django's tasks: flags, methods, fields of a result, ids, JSON, queues, priorities, times."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from queuekit import State, ids
from queuekit.testing import VirtualClock, isolated
from tests.contrib.django_tasks import fresh, one, tasks, work

if TYPE_CHECKING:
    from queuekit.contrib.django import DjangoKit

pytestmark = pytest.mark.usefixtures("django_db")


@pytest.fixture(params=["sqlite"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


every_store = pytest.mark.parametrize("store", ["sqlite", "redis", "mongo"])


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path, django_db: None) -> Iterator[DjangoKit]:
    """A kit, which the only backend of TASKS works through."""
    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    with fresh(url) as kit, tasks(default=one(kit)):
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


@pytest.fixture
def backend(kit: DjangoKit, root: Any) -> Any:
    """The backend."""
    return root.task_backends["default"]


# ------------------------------------------------------------ what it says it can
def test_it_can_all_that_a_backend_may(backend: Any, kit: DjangoKit, root: Any) -> None:
    assert isinstance(backend, root.BaseTaskBackend)
    assert backend.supports_defer
    assert backend.supports_async_task
    assert backend.supports_get_result
    assert backend.supports_priority
    assert backend.alias == "default"
    assert backend.options == {"kit": kit}


# ------------------------------------------------------------ a life
@every_store
def test_a_task_from_enqueue_to_its_result(shop: Any, kit: DjangoKit, root: Any) -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    result = shop.echo.enqueue(1, two=[3, {"four": None}])
    assert isinstance(result, root.TaskResult)
    assert result.status == root.TaskResultStatus.READY
    assert isinstance(result.id, str)
    assert len(result.id) < 64
    assert result.enqueued_at >= before
    assert result.task == shop.echo
    assert result.backend == "default"
    assert (result.args, result.kwargs) == ([1], {"two": [3, {"four": None}]})
    assert (result.started_at, result.finished_at, result.last_attempted_at) == (None, None, None)
    assert (result.errors, result.worker_ids, result.attempts, result.is_finished) == ([], [], 0, False)
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value
    assert shop.echo.get_result(result.id) == result
    stale = dataclasses.replace(result)
    work(kit)
    assert result.status == root.TaskResultStatus.READY  # as it was when it was taken
    result.refresh()
    assert result.status == root.TaskResultStatus.SUCCESSFUL
    assert result.is_finished
    assert result.return_value == [[1], {"two": [3, {"four": None}]}]
    assert result.enqueued_at == stale.enqueued_at
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at
    assert result.attempts == 1
    assert len(result.worker_ids) == 1
    assert result.worker_ids[0]
    assert result.errors == []
    assert shop.echo.get_result(result.id) == result


@every_store
async def test_coroutines_of_the_backend_are_its_twins(shop: Any, kit: DjangoKit, backend: Any) -> None:
    plain, coroutine = await shop.echo.aenqueue("a"), await backend.aenqueue(shop.aecho, ["b"], {})
    assert await shop.echo.aget_result(plain.id) == plain
    assert await backend.aget_result(coroutine.id) == coroutine
    await kit.worker(burst=True).arun()
    await plain.arefresh()
    await coroutine.arefresh()
    assert (plain.return_value, coroutine.return_value) == ([["a"], {}], "b")
    await kit.aclose()


@every_store
def test_what_a_task_raises_is_kept(shop: Any, kit: DjangoKit, root: Any) -> None:
    for task, kind, text in (
        (shop.fails, shop.OwnError, "no"),
        (shop.afails, shop.OwnError, "no"),
        (shop.leaves, SystemExit, "3"),
    ):
        result = task.enqueue()
        work(kit)
        result.refresh()
        assert result.status == root.TaskResultStatus.FAILED
        assert result.is_finished
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value
        (error,) = result.errors
        assert isinstance(error, root.TaskError)
        assert error.exception_class is kind
        assert error.traceback.startswith("Traceback")
        assert error.traceback.rstrip().endswith(f"{kind.__name__}: {text}")
        assert f"in {task.name}" in error.traceback
        assert "queuekit" not in error.traceback.replace("queuekit/tests", "")
        assert result.attempts == 1
        assert result.enqueued_at <= result.started_at <= result.finished_at


def test_a_result_is_there_for_another_thread(shop: Any, kit: DjangoKit, root: Any) -> None:
    result, found = shop.bare.enqueue(), []
    thread = threading.Thread(target=lambda: found.append(root.task_backends["default"].get_result(result.id)))
    thread.start()
    thread.join()
    assert found == [result]


def test_the_context_is_of_the_run_under_way(shop: Any, kit: DjangoKit, root: Any) -> None:
    plain, coroutine = shop.told.enqueue("x"), shop.atold.enqueue()
    work(kit)
    plain.refresh()
    coroutine.refresh()
    assert plain.return_value == [1, plain.id, "RUNNING", plain.worker_ids, "x"]
    assert coroutine.return_value == [1, coroutine.id]
    (seen,) = shop.ran
    assert isinstance(seen, root.TaskResult)
    assert seen.args == ["x"]
    assert seen.finished_at is None
    assert seen.started_at is not None
    assert seen.task.func is shop.told.func


def test_a_task_in_a_class_is_found(shop: Any, kit: DjangoKit) -> None:
    result = shop.Room.inside.enqueue()
    work(kit)
    assert shop.Room.inside.get_result(result.id).return_value == "inside"


# ------------------------------------------------------------ ids
def test_an_id_says_where_its_job_is(shop: Any, kit: DjangoKit, backend: Any) -> None:
    result = shop.report.enqueue()
    job, _, queue = result.id.partition("@")
    assert queue == "reports"
    assert kit.get(job, queue=queue) is not None
    assert backend.get_result(job) == result  # as people copy it from a list of jobs


def test_an_id_stays_short_however_long_the_queue_is(shop: Any, kit: DjangoKit, backend: Any) -> None:
    for length in (40, 41, 128):
        task = shop.bare.using(queue_name="q" * length)
        result = task.enqueue()
        assert len(result.id) < 64
        assert ("@" in result.id) == (length == 40)
        assert backend.get_result(result.id) == result
        assert backend.get_result(result.id).task.queue_name == "q" * length


async def test_what_is_no_result_does_not_exist(shop: Any, kit: DjangoKit, backend: Any, root: Any) -> None:
    own = await kit.queue("default").aenqueue("own", {"args": 1})
    stranger = await kit.queue("default").aenqueue("os.getcwd", {"args": [], "kwargs": {}})
    odd = ["123", "", "a b", "@", "x@", "@x", "x@y@z", "ä", ids.job_id(), f"{ids.job_id()}@default", 123, None]
    for result_id in (*odd, own.id, f"{own.id}@default", f"{stranger.id}@default", f"{own.id}@other"):
        with pytest.raises(root.TaskResultDoesNotExist):
            await backend.aget_result(result_id)
    result = await shop.echo.aenqueue()
    with pytest.raises(Exception, match="does not match") as mismatch:
        await shop.bare.aget_result(result.id)
    assert type(mismatch.value).__name__ == "TaskResultMismatch"
    await kit.aclose()


def test_what_is_no_result_does_not_exist_for_plain_calls(kit: DjangoKit, backend: Any, root: Any) -> None:
    with pytest.raises(root.TaskResultDoesNotExist):
        backend.get_result("123")


def test_a_result_that_is_no_longer_kept_does_not_exist(shop: Any, kit: DjangoKit, backend: Any, root: Any) -> None:
    with tasks(default=one(kit, keep_completed=False)):
        result = shop.bare.enqueue()
        work(kit)
        with pytest.raises(root.TaskResultDoesNotExist):
            result.refresh()


# ------------------------------------------------------------ JSON
class Size(enum.StrEnum):
    """A text that is more than a text."""

    SMALL = "small"


class Level(enum.IntEnum):
    """A number that is more than a number."""

    HIGH = 5


@every_store
def test_arguments_and_results_come_back_as_they_went(shop: Any, kit: DjangoKit) -> None:
    from django.utils.safestring import mark_safe

    values = [
        None, True, 0, -1, 2**53 + 1, 2**70, 1.5, 1e300, "", "ä\u2028😀", "\x00", [], {}, [[{"a": [1.0]}]],
        {"": 1, "ä.$": 2},
    ]  # fmt: skip
    results = [(shop.echo.enqueue(value, key=value), value) for value in values]
    changed = [
        (shop.echo.enqueue(value), same)
        for value, same in (
            ((1, (2,)), [1, [2]]), (mark_safe("<b>"), "<b>"), (Size.SMALL, "small"), (Level.HIGH, 5), (b"b", "b"),
        )
    ]  # fmt: skip
    work(kit)
    for result, value in results:
        assert result.args == [value]
        assert result.kwargs == {"key": value}
        again = shop.echo.get_result(result.id)
        assert again.return_value == [[value], {"key": value}]
        assert (again.args, again.kwargs) == (result.args, result.kwargs)
        assert type(again.args[0]) is type(value)
    for result, same in changed:
        again = shop.echo.get_result(result.id)
        assert again.return_value == [[same], {}]
        assert again.args == result.args == [same]
        assert type(result.args[0]) is type(same)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (datetime.now(UTC), TypeError), (date.today(), TypeError), (Decimal(1), TypeError), ({1}, TypeError),
        (object(), TypeError), (UUID(int=1), TypeError), (len, TypeError), ({1: 2}, TypeError),
        ([{"a": {None: 1}}], TypeError), (float("nan"), ValueError), ([float("-inf")], ValueError),
        (b"\xff", ValueError),
    ],
)  # fmt: skip
def test_what_json_would_change_is_refused(shop: Any, kit: DjangoKit, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="Unsupported"):
        shop.echo.enqueue(value)
    with pytest.raises(error, match="Unsupported"):
        shop.echo.enqueue(key=value)
    assert kit.health() == {}


def test_a_value_that_is_too_deep_is_refused(shop: Any, kit: DjangoKit) -> None:
    value: Any = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError, match="deeper"):
        shop.echo.enqueue(value)


@pytest.mark.parametrize("kind", ["function", "nan", "key", "set"])
def test_a_return_value_that_json_cannot_carry_fails_once(shop: Any, kit: DjangoKit, root: Any, kind: str) -> None:
    with tasks(default=one(kit, attempts=3, backoff=0)):
        result = shop.unfit.enqueue(kind)
        work(kit)
        result.refresh()
    assert result.status == root.TaskResultStatus.FAILED
    assert [error.exception_class for error in result.errors] == [TypeError]
    assert "Unsupported" in result.errors[0].traceback
    assert shop.ran == [kind]  # it did its work: not again


# ------------------------------------------------------------ queues
def test_queues_are_those_that_are_set(shop: Any, kit: DjangoKit, root: Any) -> None:
    with tasks(default=one(kit, QUEUES=["default", "reports"])):
        assert shop.bare.using(queue_name="reports").enqueue().task.queue_name == "reports"
        with pytest.raises(root.InvalidTask, match="Queue 'other' is not valid"):
            shop.bare.using(queue_name="other")
    anywhere = shop.bare.using(queue_name="other")
    with (
        tasks(default=one(kit, QUEUES=["default"])),
        pytest.raises(root.InvalidTask, match="Queue 'other' is not valid"),
    ):
        anywhere.enqueue()
    backend = dict(one(kit))
    del backend["QUEUES"]
    with tasks(default=backend), pytest.raises(root.InvalidTask, match="Queue 'reports' is not valid"):
        shop.bare.using(queue_name="reports")


def test_a_queue_must_have_a_name_that_stores_can_keep(shop: Any, kit: DjangoKit, root: Any) -> None:
    with pytest.raises(root.InvalidTask, match="queue name"):
        shop.bare.using(queue_name="two words")


def test_a_queue_taken_from_the_setting_is_still_worked_off(shop: Any, kit: DjangoKit, root: Any) -> None:
    result = shop.report.enqueue()
    with tasks(default=one(kit, QUEUES=["default"])):
        work(kit, "reports")
        again = root.task_backends["default"].get_result(result.id)
        assert again.status == root.TaskResultStatus.SUCCESSFUL
        assert again.task.queue_name == "reports"


def test_a_worker_takes_the_queues_of_the_setting(shop: Any, kit: DjangoKit) -> None:
    with tasks(default=one(kit, QUEUES=["a", "b"]), more=one(kit, QUEUES=["c"])):
        shop.bare.using(queue_name="a").enqueue()
        assert sorted(kit.finders.queues()) == ["a", "b", "c"]
    shop.bare.using(queue_name="default").enqueue()
    assert {"default", "reports"} <= set(kit.finders.queues())  # any queue: those of the tasks that are known


# ------------------------------------------------------------ priorities and times
@every_store
def test_larger_priorities_run_first(shop: Any, kit: DjangoKit) -> None:
    for priority in (0, -100, 100, 1, -1):
        shop.ordered.using(priority=priority).enqueue(priority)
    work(kit, "default")
    assert shop.ran == [100, 1, 0, -1, -100]


def test_every_priority_comes_back_as_it_went(shop: Any, kit: DjangoKit, backend: Any) -> None:
    from queuekit.contrib.django.tasks_backend import results

    said = range(-100, 101)
    ours = [results.to_priority(priority) for priority in said]
    assert ours == sorted(ours, reverse=True)
    assert min(ours) >= 0
    assert max(ours) <= 1000
    assert [results.from_priority(priority) for priority in ours] == list(said)
    for priority in (-100, -7, 100):
        assert backend.get_result(shop.bare.using(priority=priority).enqueue().id).task.priority == priority
    assert backend.get_result(shop.report.enqueue().id).task.priority == 7


@pytest.mark.parametrize("priority", [101, -101, 1.5])
def test_other_priorities_are_refused(shop: Any, kit: DjangoKit, root: Any, priority: float) -> None:
    with pytest.raises(root.InvalidTask, match="whole number between -100 and 100"):
        shop.bare.using(priority=priority)


def test_a_task_never_runs_before_its_time(shop: Any, kit: DjangoKit, root: Any) -> None:
    clock = VirtualClock()
    at = clock.now() + timedelta(hours=1, microseconds=1)
    with isolated(kit, clock) as test:
        result = shop.bare.using(run_after=at).enqueue()
        assert result.task.run_after == at
        again = shop.bare.get_result(result.id)
        assert at <= again.task.run_after < at + timedelta(milliseconds=1)
        for forward, status in ((timedelta(hours=1), "READY"), (timedelta(milliseconds=1), "SUCCESSFUL")):
            clock.travel(seconds=forward.total_seconds())
            test.drain()
            result.refresh()
            assert result.status.value == status


def test_a_time_must_be_aware(shop: Any, kit: DjangoKit, root: Any) -> None:
    with pytest.raises(root.InvalidTask, match="aware"):
        shop.bare.using(run_after=datetime.now())


def test_a_project_without_time_zones_has_naive_times(shop: Any, kit: DjangoKit) -> None:
    from django.test import override_settings

    with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
        now = datetime.now(UTC)
        later = (now + timedelta(hours=10)).replace(tzinfo=None)  # an hour from now, in Tokyo
        result = shop.bare.using(run_after=later).enqueue()
        job = kit.get(result.id.partition("@")[0], queue="default")
        assert job is not None
        assert job.state is State.DELAYED
        assert job.run_at is not None
        assert abs(job.run_at - now - timedelta(hours=1)) < timedelta(seconds=1)
        again = shop.bare.get_result(result.id)
        assert again.enqueued_at.tzinfo is None
        assert again.task.run_after.tzinfo is None
        assert abs(again.enqueued_at - (now + timedelta(hours=9)).replace(tzinfo=None)) < timedelta(minutes=1)


# ------------------------------------------------------------ tasks
def test_using_makes_a_copy(shop: Any, kit: DjangoKit) -> None:
    other = shop.bare.using(priority=3, queue_name="x")
    assert (other.priority, other.queue_name, shop.bare.priority, shop.bare.queue_name) == (3, "x", 0, "default")
    assert shop.bare.using() == shop.bare
    assert shop.bare.using() is not shop.bare


def test_a_task_must_be_a_function_of_a_module(kit: DjangoKit, root: Any, shop: Any) -> None:
    decorate = root.task_backends["default"].task_class

    def local() -> None:
        """Nobody else can find it."""

    for fn in (len, lambda: None, local):
        with pytest.raises(root.InvalidTask, match=r"module level|task name"):
            decorate(func=fn, priority=0, backend="default", queue_name="default", run_after=None, takes_context=False)
    with pytest.raises(root.InvalidTask, match="context"):
        decorate(
            func=shop.bare.func, priority=0, backend="default", queue_name="default", run_after=None, takes_context=True
        )


def test_a_task_of_another_backend_may_be_enqueued_here(shop: Any, kit: DjangoKit, root: Any) -> None:
    immediate = (
        "django_tasks.backends.immediate.ImmediateBackend"
        if root.BACKPORT
        else "django.tasks.backends.immediate.ImmediateBackend"
    )
    with tasks(default={"BACKEND": immediate}, later=one(kit)):
        result = shop.bare.using(backend="later").enqueue()
        assert result.backend == "later"
        assert result.status == root.TaskResultStatus.READY
        work(kit, "default")
        result.refresh()
        assert result.return_value == 42
        assert result.task.backend == "later"
