"""Jobs that wait for Django's transactions, on every store: commits, rollbacks, savepoints, several databases."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from queuekit import State, ids
from queuekit.errors import EnqueueNotApplied, QueueFull, Unsupported
from queuekit.producing import produce

if TYPE_CHECKING:
    from queuekit.contrib.django import DjangoKit

pytestmark = pytest.mark.usefixtures("django_db")


@pytest.fixture(params=["sqlite", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path, django_db: None) -> Iterator[DjangoKit]:
    """A kit of a Django project on a fresh namespace."""
    from queuekit.contrib.django import DjangoKit

    url = f"sqlite:///{tmp_path}/jobs.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    kit = DjangoKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
    yield kit
    for queue in kit.health():
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


sqlite_only = pytest.mark.parametrize("store", ["sqlite"])


@contextmanager
def rolled_back(using: str | None = None) -> Iterator[None]:
    """A transaction, or a savepoint of the one around it, that an error ends."""
    from django.db import transaction

    try:
        with transaction.atomic(using):
            yield
            raise ZeroDivisionError
    except ZeroDivisionError:
        return


@contextmanager
def refused(found: list[EnqueueNotApplied]) -> Iterator[None]:
    """A transaction behind whose commit jobs cannot be written."""
    from django.db import transaction

    with pytest.raises(EnqueueNotApplied) as caught, transaction.atomic():
        yield
    found.append(caught.value)


def waiting(kit: DjangoKit) -> list[Any]:
    return [job.payload["n"] for job in reversed(kit.find().jobs) if isinstance(job.payload, dict)]


def test_jobs_are_there_with_the_commit_and_not_before(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")
    outside = mail.enqueue("send", {"n": 0})
    assert outside.created is True
    with transaction.atomic():
        one = mail.enqueue("send", {"n": 1})
        with transaction.atomic():
            many = kit.enqueue_many([mail.make("send", {"n": 2}), mail.make("send", {"n": 3})])
        handles = [one, *many]
        assert [(h.created, h.status()) for h in handles] == [(None, "uncommitted")] * 3
        assert waiting(kit) == [0]
    assert [(h.created, h.status()) for h in handles] == [(True, State.WAITING)] * 3
    assert sorted(waiting(kit)) == [0, 1, 2, 3]


def test_nothing_is_there_after_a_rollback(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")
    with rolled_back():
        lost = mail.enqueue("send", {"n": 1})
    with transaction.atomic():
        marked = mail.enqueue("send", {"n": 2})
        transaction.set_rollback(True)
    assert [(h.created, h.status()) for h in (lost, marked)] == [(None, "unknown")] * 2
    assert waiting(kit) == []


def test_a_savepoint_takes_its_own_jobs_with_it(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")
    with transaction.atomic():
        before = mail.enqueue("send", {"n": 1})
        with rolled_back():
            inside = mail.enqueue("send", {"n": 2})
            with transaction.atomic():
                deeper = mail.enqueue("send", {"n": 3})
            assert deeper.status() == "uncommitted"
        assert [h.status() for h in (before, inside, deeper)] == ["uncommitted", "unknown", "unknown"]
        after = mail.enqueue("send", {"n": 4})
    assert [h.status() for h in (before, after)] == [State.WAITING] * 2
    assert sorted(waiting(kit)) == [1, 4]


def test_a_store_that_refuses_after_the_commit_is_told(kit: DjangoKit, caplog: pytest.LogCaptureFixture) -> None:

    from tests.contrib.django_project.shop.models import Order

    kit.queue("full").configure(max_size=1)
    kit.queue("full").enqueue("send", {"n": 0})
    told: list[EnqueueNotApplied] = []
    with refused(told):
        order = Order.objects.create(name="tea")
        lost = kit.queue("full").enqueue("send", {"n": 1})
        there = kit.queue("mail").enqueue("send", {"n": 2})
    assert (told[0].jobs, type(told[0].__cause__)) == ((lost.ref,), QueueFull)
    assert Order.objects.filter(pk=order.pk).delete()[0] == 1
    assert (lost.status(), there.status()) == ("unknown", State.WAITING)
    assert [r.levelno for r in caplog.records if lost.ref in r.getMessage()] == [logging.ERROR]


def test_coroutines_called_from_a_view_wait_for_its_transaction(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")

    @async_to_sync
    async def enqueue(n: int) -> Any:
        return await mail.aenqueue("send", {"n": n})

    with transaction.atomic():
        handle = enqueue(1)
        assert handle.status() == "uncommitted"
    assert handle.status() == State.WAITING
    with rolled_back():
        lost = enqueue(2)
    assert lost.status() == "unknown"
    assert waiting(kit) == [1]


@sqlite_only
def test_coroutines_called_from_a_view_on_a_server_with_a_loop_wait_too(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")

    def view() -> tuple[str, str]:
        with transaction.atomic():
            handle = async_to_sync(mail.aenqueue)("send", {"n": 1})
            before = handle.status()
        return before, handle.status()

    async def server() -> tuple[str, str]:
        return await sync_to_async(view)()

    assert asyncio.run(server()) == ("uncommitted", State.WAITING)


@sqlite_only
def test_a_coroutine_that_outlives_its_caller_writes_at_once(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")
    over = asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    async def later() -> Any:
        await over.wait()
        return await mail.aenqueue("send", {"n": 1})

    async def begin() -> None:
        left.append(asyncio.create_task(later()))

    def view() -> None:
        with transaction.atomic():
            async_to_sync(begin)()

    async def server() -> Any:
        await sync_to_async(view)()
        over.set()
        handle = await left[0]
        await kit.aclose()
        return handle

    assert asyncio.run(server()).created is True


@sqlite_only
@pytest.mark.filterwarnings("ignore:a plain queuekit call stops the running event loop")
def test_a_loop_inside_a_transaction_sees_it(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")

    async def plain() -> Any:
        return mail.enqueue("send", {"n": 1})

    with transaction.atomic():
        handles = [asyncio.run(mail.aenqueue("send", {"n": 2})), asyncio.run(plain())]
        assert [handle.status() for handle in handles] == ["uncommitted"] * 2
    assert [handle.status() for handle in handles] == [State.WAITING] * 2


@sqlite_only
def test_a_loop_in_a_thread_that_a_coroutine_waits_for_sees_its_transaction(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")

    def inner() -> Any:
        with transaction.atomic():
            handle = asyncio.run(mail.aenqueue("send", {"n": 1}))
            assert handle.status() == "uncommitted"
        return handle.status()

    async def outer() -> Any:
        return await sync_to_async(inner)()

    assert async_to_sync(outer)() == State.WAITING


@sqlite_only
async def test_a_coroutine_without_a_transaction_writes_at_once(kit: DjangoKit) -> None:
    handle = await kit.queue("mail").aenqueue("send", {"n": 1})
    [other] = await kit.aenqueue_many([kit.queue("mail").make("send", {"n": 2})])
    assert (handle.created, other.created) == (True, True)
    await kit.aclose()


@sqlite_only
def test_several_databases_must_all_commit(kit: DjangoKit) -> None:
    from django.db import transaction

    mail = kit.queue("mail")
    with transaction.atomic("other"):
        with transaction.atomic():
            both = mail.enqueue("send", {"n": 1})
        assert both.status() == "uncommitted"
    assert both.status() == State.WAITING
    with transaction.atomic():
        with rolled_back("other"):
            half = mail.enqueue("send", {"n": 2})
        third = mail.enqueue("send", {"n": 3})
    assert (half.status(), third.status()) == ("unknown", State.WAITING)
    with rolled_back(), transaction.atomic("other"):
        half = mail.enqueue("send", {"n": 4})
    assert half.status() == "unknown"
    assert sorted(waiting(kit)) == [1, 3]


@sqlite_only
@pytest.mark.parametrize(
    ("setting", "waits"),
    [(True, True), (None, True), (False, False), ("default", True), (["default", "other"], True), ("other", False)],
)
def test_the_setting_says_whose_commit_is_waited_for(kit: DjangoKit, setting: object, waits: bool) -> None:
    from django.conf import settings
    from django.db import transaction
    from django.test import override_settings

    with override_settings(QUEUEKIT={**settings.QUEUEKIT, "ON_COMMIT": setting}), transaction.atomic():
        handle = kit.queue("mail").enqueue("send", {"n": 1})
        assert handle.status() == ("uncommitted" if waits else State.WAITING)


@sqlite_only
def test_a_job_written_at_once_stays_after_a_rollback(kit: DjangoKit) -> None:

    from queuekit.contrib.django import at_once

    with rolled_back():
        with at_once():
            audit = kit.queue("audit").enqueue("tell", {"n": 1})
            assert async_to_sync(kit.queue("audit").aenqueue)("tell", {"n": 2}).created is True
        lost = kit.queue("audit").enqueue("tell", {"n": 3})
    assert (audit.status(), lost.status()) == (State.WAITING, "unknown")


@sqlite_only
def test_autocommit_off_is_refused(kit: DjangoKit) -> None:
    from django.db import transaction

    from queuekit.contrib.django import at_once

    transaction.set_autocommit(False)
    try:
        with pytest.raises(Unsupported, match="'default' has autocommit off"):
            kit.queue("mail").enqueue("send", {"n": 1})
        with at_once():
            kit.queue("mail").enqueue("send", {"n": 2})
        with transaction.atomic():
            inside = kit.queue("mail").enqueue("send", {"n": 3})
        transaction.commit()
        assert inside.status() == "uncommitted"
    finally:
        transaction.set_autocommit(True)
    assert inside.status() == State.WAITING
    assert sorted(waiting(kit)) == [2, 3]


@sqlite_only
def test_hooks_of_others_keep_their_place_and_jobs_between_go_in_one_call(
    kit: DjangoKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction

    seen: list[object] = []
    real = produce._write

    async def counted(access: Any, at: Any, queue: str, specs: list[Any], within: object) -> Any:
        seen.append(len(specs))
        return await real(access, at, queue, specs, within)

    monkeypatch.setattr(produce, "_write", counted)
    mail = kit.queue("mail")
    with transaction.atomic():
        for n in range(3):
            mail.enqueue("send", {"n": n})
        transaction.on_commit(lambda: seen.append("uploaded"))
        for n in range(3, 5):
            mail.enqueue("send", {"n": n})
        with rolled_back():
            mail.enqueue("send", {"n": 99})
        mail.enqueue("send", {"n": 5})
    assert seen == [3, "uploaded", 3]
    assert sorted(waiting(kit)) == list(range(6))


@sqlite_only
def test_what_django_does_not_try_any_more_is_told_as_well(kit: DjangoKit, caplog: pytest.LogCaptureFixture) -> None:
    from django.db import transaction

    kit.queue("full").configure(max_size=1)
    kit.queue("full").enqueue("send", {"n": 0})
    called: list[str] = []
    told: list[EnqueueNotApplied] = []
    with refused(told):
        first = kit.queue("full").enqueue("send", {"n": 1})
        transaction.on_commit(lambda: called.append("never"))
        behind = kit.queue("mail").enqueue("send", {"n": 2})
    assert told[0].jobs == (first.ref, behind.ref)
    assert (behind.status(), called) == ("unknown", [])
    assert behind.ref in caplog.text


@sqlite_only
def test_a_job_that_a_hook_of_others_takes_along_is_told(kit: DjangoKit, caplog: pytest.LogCaptureFixture) -> None:
    from django.db import transaction

    def rolls_back() -> str:
        with transaction.atomic():
            kit.queue("mail").enqueue("send", {"n": 1})
            with rolled_back():
                inner = kit.queue("mail").enqueue("send", {"n": 2})
            assert inner.status() == "unknown"
        with rolled_back():
            return kit.queue("mail").enqueue("send", {"n": 3}).ref
        raise AssertionError

    def is_taken_along() -> Any:
        try:
            with transaction.atomic():
                transaction.on_commit(lambda: 1 / 0)
                lost.append(kit.queue("mail").enqueue("send", {"n": 4}))
        except ZeroDivisionError:
            return
        raise AssertionError

    lost: list[Any] = []
    rolls_back()
    gc.collect()
    assert caplog.text == ""
    is_taken_along()
    gc.collect()
    assert lost[0].status() == "unknown"
    assert [r.levelno for r in caplog.records if lost[0].ref in r.getMessage()] == [logging.ERROR]
    caplog.clear()
    rolls_back()  # with what that hook left in the connection
    gc.collect()
    assert caplog.text == ""


@sqlite_only
def test_two_kits_in_one_transaction(kit: DjangoKit, tmp_path: Path) -> None:
    from django.db import transaction

    from queuekit.contrib.django import DjangoKit

    with DjangoKit(f"sqlite:///{tmp_path}/other.db", name="second") as second:
        with transaction.atomic():
            handles = [one.queue("mail").enqueue("send", {"n": n}) for n, one in enumerate((kit, second, kit, second))]
        assert [h.status() for h in handles] == [State.WAITING] * 4
        assert (sorted(waiting(kit)), sorted(waiting(second))) == ([0, 2], [1, 3])


@sqlite_only
def test_other_threads_have_transactions_of_their_own(kit: DjangoKit, in_thread: Callable[..., Any]) -> None:
    from django.db import transaction

    with transaction.atomic():
        assert in_thread(kit.queue("mail").enqueue, "send", {"n": 1}).created is True
        assert kit.queue("mail").enqueue("send", {"n": 2}).created is None


@pytest.fixture
def in_thread() -> Callable[..., Any]:
    """Call something in a new thread."""
    from concurrent.futures import ThreadPoolExecutor

    def call(fn: Callable[..., Any], *args: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(fn, *args).result()

    return call
