"""Jobs that wait for a transaction of the application, whatever tells of it: on every store."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from queuekit import JobHandle, QueueKit, State, ids
from queuekit.domain.outcome import Enqueued
from queuekit.errors import (
    ConfigError,
    EnqueueNotApplied,
    InvalidOption,
    PayloadTooLarge,
    QueueFull,
    StoreUnavailable,
    Unsupported,
    WouldDeadlock,
)
from queuekit.producing import produce
from queuekit.producing.newjob import Later, Register


class Transaction:
    """One transaction of an application; what waits for it is held here only."""

    def __init__(self, kit: QueueKit) -> None:
        self.open = False
        self.held: list[Later] = []
        kit.transactions = self

    def opened(self) -> Register | None:
        return self.held.append if self.open else None

    async def aopened(self) -> Register | None:
        return self.opened()

    def begin(self) -> None:
        self.open = True

    def end(self, *, commit: bool) -> None:
        self.open, held = False, self.held
        self.held = []
        if commit:
            produce.commit(held)


@pytest.fixture(params=["sqlite", "memory", "redis", "mongo"])
def store(request: pytest.FixtureRequest) -> str:
    """Which store a test runs on."""
    return str(request.param)


@pytest.fixture
def kit(store: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on a fresh namespace."""
    url = {"sqlite": f"sqlite:///{tmp_path}/jobs.db", "memory": "memory://"}.get(store)
    url = url or request.getfixturevalue(f"{store}_url")
    kit = QueueKit(url, name=f"t{ids.nonce()[:8]}", namespace=f"t{ids.nonce()[:8]}")
    kit.blocking_store()
    yield kit
    for queue in kit.health():
        kit.queue(queue).obliterate(confirm=queue, force=True)
    kit.close()


@pytest.fixture
def transaction(kit: QueueKit) -> Transaction:
    return Transaction(kit)


def test_jobs_are_written_when_the_transaction_commits(kit: QueueKit, transaction: Transaction) -> None:
    @kit.task
    def send(to: str) -> None: ...

    assert send.enqueue("before").created is True
    transaction.begin()
    one = send.enqueue("a")
    many = kit.enqueue_many([send.using(queue="other").make("b"), send.make("c")])
    named = kit.queue("mail").enqueue("send", {"to": "d"})
    waiting: list[JobHandle[Any]] = [one, *many, named]
    assert [(h.created, h.status(), h.get()) for h in waiting] == [(None, "uncommitted", None)] * 4
    with pytest.raises(WouldDeadlock, match="when its transaction commits"):
        one.result(timeout=0)
    assert sorted(kit.health()) == ["default"]
    copy = pickle.loads(pickle.dumps(one))
    assert copy.status() == "unknown"  # that process sees no transaction
    transaction.end(commit=True)
    assert [(h.created, h.status()) for h in waiting] == [(True, State.WAITING)] * 4
    assert copy.status() == State.WAITING
    jobs = [handle.get() for handle in waiting]
    assert [job.payload for job in jobs if job is not None] == [{"to": to} for to in "abcd"]


def test_nothing_is_written_when_it_is_rolled_back(kit: QueueKit, transaction: Transaction) -> None:
    @kit.task
    def send(to: str) -> None: ...

    transaction.begin()
    one, other = send.enqueue("a"), kit.enqueue_many([send.make("b")])[0]
    transaction.end(commit=False)
    gc.collect()
    assert [(h.created, h.status()) for h in (one, other)] == [(None, "unknown")] * 2
    assert kit.health("default")["default"].waiting == 0


async def test_async_calls_wait_as_well(kit: QueueKit, transaction: Transaction) -> None:
    @kit.task
    def send(to: str) -> None: ...

    transaction.begin()
    one = await send.aenqueue("a")
    many = await kit.aenqueue_many([send.make("b"), send.make("c")])
    assert await one.astatus() == "uncommitted"
    assert (await kit.ahealth("default"))["default"].waiting == 0
    await asyncio.to_thread(transaction.end, commit=True)
    assert [await h.astatus() for h in (one, *many)] == [State.WAITING] * 3
    await kit.aclose()
    kit.blocking_store()


def test_a_handle_learns_what_its_commit_found(
    kit: QueueKit, transaction: Transaction, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.task
    def send(to: str) -> None: ...

    holder = send.using(unique="key").enqueue("a")
    send.using(id="mine").enqueue("a")
    transaction.begin()
    second = send.using(unique="key").enqueue("b")
    same = send.using(id="mine").enqueue("another")
    transaction.end(commit=True)
    assert (second.created, second.ref, second.status()) == (False, holder.ref, State.WAITING)
    assert (same.created, same.ref) == (False, "default/mine")
    assert "exists with another payload" in caplog.text


def test_a_job_within_something_of_its_own_does_not_wait(
    kit: QueueKit, transaction: Transaction, store: str, request: pytest.FixtureRequest
) -> None:
    transaction.begin()
    if store != "redis":
        with pytest.raises((Unsupported, InvalidOption)):
            kit.enqueue_many([kit.queue("mail").make("send", within=object())])
        return
    import redis

    with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client, client.pipeline() as pipe:
        with_it = kit.queue("mail").make("send", within=pipe)
        handles = kit.enqueue_many([kit.queue("mail").make("send"), with_it])
        assert [handle.status() for handle in handles] == ["uncommitted", "unknown"]
        pipe.execute()
    assert [handle.status() for handle in handles] == ["uncommitted", State.WAITING]


def test_what_can_be_refused_before_the_commit_is(kit: QueueKit, transaction: Transaction) -> None:
    transaction.begin()
    with pytest.raises(PayloadTooLarge):
        kit.queue("mail").enqueue("send", {"text": "x" * 300_000})
    assert transaction.held == []


def test_a_store_that_cannot_be_opened_is_told_before_the_commit(tmp_path: Path) -> None:
    """While there is something to roll back; from coroutines, too."""
    kit = QueueKit(f"sqlite:///{tmp_path}/no/such/folder/jobs.db", name="nowhere")
    transaction = Transaction(kit)
    transaction.begin()
    queue = kit.queue("mail")
    for enqueue in (
        lambda: queue.enqueue("send"),
        lambda: kit.enqueue_many([queue.make("send")]),
        lambda: asyncio.run(queue.aenqueue("send")),
        lambda: asyncio.run(kit.aenqueue_many([queue.make("send")])),
    ):
        with pytest.raises(ConfigError, match="does not exist"):
            enqueue()
    assert transaction.held == []


def test_a_full_queue_is_told_after_the_commit_and_the_others_are_written(
    kit: QueueKit, transaction: Transaction, caplog: pytest.LogCaptureFixture
) -> None:
    kit.queue("full").configure(max_size=1)
    kit.queue("full").enqueue("send")
    transaction.begin()
    lost = kit.queue("full").enqueue("send", {"secret": "4711"})
    other = kit.queue("mail").enqueue("send")
    with pytest.raises(EnqueueNotApplied) as caught:
        transaction.end(commit=True)
    assert caught.value.jobs == (lost.ref,)
    assert isinstance(caught.value.__cause__, QueueFull)
    assert (lost.created, lost.status()) == (None, "unknown")
    assert (other.created, other.status()) == (True, State.WAITING)
    assert [record.levelno for record in caplog.records if lost.ref in record.message] == [logging.ERROR]
    assert "4711" not in caplog.text


@pytest.mark.parametrize("store", ["memory"])
def test_a_store_that_is_away_after_the_commit_is_asked_once(
    kit: QueueKit, transaction: Transaction, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    async def enqueue(queue: str, *given: Any) -> Enqueued:
        asked.append(queue)
        raise StoreUnavailable("redis://:geheim@h:1 is gone", outcome="unknown")

    transaction.begin()
    handles = [kit.queue(name).enqueue("send", id=name) for name in ("a", "b", "c")]
    entry = kit.access.blocking()
    entry.within = 0
    monkeypatch.setattr(entry, "store", type("Away", (), {"enqueue": staticmethod(enqueue)})())
    with pytest.raises(EnqueueNotApplied, match="a/a, b/b, c/c") as caught:
        transaction.end(commit=True)
    monkeypatch.undo()
    assert set(asked) == {"a"}
    assert caught.value.jobs == ("a/a", "b/b", "c/c")
    assert [handle.status() for handle in handles] == ["unknown"] * 3
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3
    assert "may not have been written" in errors[0]
    assert "geheim" not in f"{caplog.text}{caught.value}"


@pytest.mark.parametrize("store", ["memory"])
def test_jobs_written_before_ctrl_c_are_told_as_written(
    kit: QueueKit, transaction: Transaction, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Signals and old reminders hang on it: the jobs are there, so what belongs to them must happen."""
    real = produce._write

    async def interrupted(access: Any, at: Any, queue: str, specs: list[Any], within: object) -> Any:
        if queue == "second":
            raise KeyboardInterrupt
        return await real(access, at, queue, specs, within)

    monkeypatch.setattr(produce, "_write", interrupted)
    transaction.begin()
    there, lost = (kit.queue(name).enqueue("send") for name in ("first", "second"))
    told: list[str] = []
    for later, name in zip(transaction.held, ("first", "second"), strict=True):
        later.written = partial(told.append, name)
    with pytest.raises(KeyboardInterrupt):
        transaction.end(commit=True)
    assert told == ["first"]
    assert (there.status(), lost.status()) == (State.WAITING, "unknown")
    assert [lost.ref in record.message for record in caplog.records] == [True]


def test_a_commit_of_many_jobs_is_one_call_a_queue(
    kit: QueueKit, transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = produce._write

    async def counted(access: Any, at: Any, queue: str, specs: list[Any], within: object) -> Any:
        calls.append(len(specs))
        return await real(access, at, queue, specs, within)

    monkeypatch.setattr(produce, "_write", counted)
    transaction.begin()
    handles = [kit.queue("mail").enqueue("send", {"n": n}) for n in range(30)]
    transaction.end(commit=True)
    assert calls == [30]
    found = [job.payload for job in kit.find(queue="mail").jobs]
    assert sorted(job["n"] for job in found if isinstance(job, dict)) == list(range(30))
    assert all(handle.created for handle in handles)


def test_jobs_go_to_the_store_of_the_time_they_were_made(kit: QueueKit, transaction: Transaction) -> None:
    from queuekit.testing import isolated

    transaction.begin()
    with isolated(kit) as test:
        test.queue("mail").enqueue("send", id="mine")
        held = transaction.held
        assert held[0].access is test.access
    transaction.end(commit=True)
    assert kit.get("mail/mine") is None
