"""Registering tasks and writing jobs, over the model store."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from queuekit import JobContext, Priority, Processor, QueueKit, Settings, State, Unique
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.outcome import Op
from queuekit.errors import (
    ConfigError,
    Conflict,
    DuplicateTask,
    InvalidName,
    InvalidOption,
    PayloadError,
    PayloadTooLarge,
    StoreUnavailable,
    Unsupported,
)
from queuekit.producing.local import call_sync
from queuekit.testing import TestKit, VirtualClock


class Order(BaseModel):
    id: str
    cents: int


@dataclass
class Point:
    x: int


def record(kit: QueueKit, queue: str, id: str) -> JobRecord:
    found = kit.run(lambda at: at.store.get(queue, [id]))[0]
    assert found is not None
    return found


def test_a_job_carries_what_its_caller_set_and_nothing_else(kit: TestKit) -> None:
    @kit.task(queue="mail", attempts=9, timeout="1m", keep_completed=5)
    def send(to: str) -> None: ...

    plain = record(kit, "mail", send.enqueue("a").id)
    assert (plain.options, plain.keep_completed, plain.priority) == (b"", None, 10)
    handle = send.using(attempts=2, keep_completed=7, priority="low", id="mine", expires="1h").enqueue("a")
    set_ = record(kit, "mail", handle.id)
    assert (handle.ref, set_.options, set_.priority) == ("mail/mine", b'j{"attempts":2}', 15)
    assert set_.keep_completed is not None
    assert set_.expires_at == kit.clock.ms() + 3_600_000
    job = handle.get()
    assert job is not None
    assert job.attempts == 2
    other = kit.get("mail/" + plain.id)
    assert other is not None
    assert other.attempts == 9


def test_priority_is_resolved_at_enqueue_job_over_task_over_queue_over_kit() -> None:
    kit = TestKit(queues={"q": {"priority": "low"}, "hot": {"priority": 1}})

    @kit.task(queue="q")
    def plain() -> None: ...

    @kit.task(queue="q", priority=Priority.HIGH)
    def high() -> None: ...

    def of(handle: Any) -> int:
        return record(kit, handle.queue, handle.id).priority

    assert [of(plain.enqueue()), of(high.enqueue()), of(high.using(priority=7).enqueue())] == [15, 5, 7]
    assert of(plain.using(queue="hot").enqueue()) == 1
    assert of(kit.queue("q").enqueue("unknown")) == 15
    assert of(kit.queue("q").enqueue("high")) == 5

    @kit.processor("q", priority=2)
    class Late(Processor[dict[str, int], None]):
        task = "late"

        def process(self, ctx: JobContext, payload: dict[str, int], /) -> None: ...

    assert of(plain.enqueue()) == 2, "queue options that come later hold for what is enqueued later"


def test_times_are_the_store_s(kit: TestKit, clock: VirtualClock) -> None:
    @kit.task
    def later() -> None: ...

    delayed = later.using(delay="90s").enqueue()
    moment = later.using(run_at=clock.now() + timedelta(hours=1)).enqueue()
    assert [record(kit, "default", h.id).run_at for h in (delayed, moment)] == [
        clock.ms() + 90_000,
        clock.ms() + 3_600_000,
    ]
    last = [
        later.using(delay=5).using(run_at=clock.now() + timedelta(hours=2)).enqueue(),
        later.using(run_at=clock.now() + timedelta(hours=2)).using(delay=5).enqueue(),
    ]
    due = [record(kit, "default", handle.id).run_at for handle in last]
    assert due == [clock.ms() + 7_200_000, clock.ms() + 5000], "the later word counts"


def test_the_same_id_is_the_same_job_and_another_payload_is_worth_a_word(
    kit: TestKit, caplog: pytest.LogCaptureFixture
) -> None:
    @kit.task
    def pay(order: str) -> None: ...

    assert pay.using(id="o1").enqueue("a").created is True
    with caplog.at_level(logging.WARNING, "queuekit"):
        assert pay.using(id="o1").enqueue("a").created is False
        assert caplog.records == []
        assert pay.using(id="o1").enqueue("b").created is False
    assert "default/o1 exists with another payload" in caplog.text
    job = kit.get("o1")
    assert job is not None
    assert job.payload == {"order": "a"}


def test_unique_keys_answer_with_the_job_that_holds_them(kit: TestKit) -> None:
    @kit.task
    def sync(user: int) -> None: ...

    first = sync.using(unique="u7").enqueue(7)
    second = sync.using(unique="u7").enqueue(7)
    assert (second.id, second.created) == (first.id, False)
    with pytest.raises(Conflict):
        sync.using(unique=Unique("u7", on_conflict="error")).enqueue(7)


def test_by_name_without_the_handler(kit: TestKit) -> None:
    handle = kit.queue("portfolio:high").enqueue("recalculate", {"user": "u", "n": [1, None]}, delay=5)
    job = handle.get()
    assert job is not None
    assert (job.task, job.payload, job.state) == ("recalculate", {"user": "u", "n": [1, None]}, State.DELAYED)
    assert kit.queue("q").enqueue("empty").get().payload == {}  # type: ignore[union-attr]  # it is there
    assert kit.queue("q").enqueue("model", Order(id="1", cents=5)).get().payload == {"id": "1", "cents": 5}  # type: ignore[union-attr]  # it is there
    assert kit.queue("q").enqueue("data", Point(3)).get().payload == {"x": 3}  # type: ignore[union-attr]  # it is there
    for payload in ("text", [1], 5, object()):
        with pytest.raises(PayloadError):
            kit.queue("q").enqueue("x", payload)
    with pytest.raises(InvalidOption, match="did you mean 'delay'"):
        kit.queue("q").enqueue("x", {}, dely=5)  # type: ignore[call-arg]  # what the checker refuses too
    with pytest.raises(InvalidName):
        kit.queue("q").enqueue("no name")
    with pytest.raises(InvalidName):
        kit.queue("no queue")
    with pytest.raises(InvalidName, match="option 'id'"):
        kit.queue("q").enqueue("x", id="a/b")
    with pytest.raises(InvalidName, match="option 'queue'"):
        kit.queue("q").enqueue("x", queue="no queue")


def test_by_name_of_a_task_that_is_known_the_payload_is_validated(kit: TestKit) -> None:
    @kit.task(version=3)
    def resize(path: str, width: int = 800) -> None: ...

    handle = kit.queue("q").enqueue("resize", {"path": "p", "width": "5"})
    stored = record(kit, "q", handle.id)
    assert (stored.body, stored.version) == (b'j{"path":"p","width":5}', 3)
    with pytest.raises(PayloadError, match="width"):
        kit.queue("q").enqueue("resize", {"path": "p", "width": "x"})


def test_many_jobs_of_several_queues_come_back_in_order(kit: TestKit) -> None:
    calls: list[tuple[str, int]] = []
    store = kit.blocking_store()
    real = store.enqueue

    async def counted(
        queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Any:
        calls.append((queue, len(jobs)))
        return await real(queue, jobs, op, within)

    store.enqueue = counted  # type: ignore[method-assign]  # watched by this test

    @kit.task
    def even(n: int) -> None: ...

    jobs = [even.using(queue="a" if n % 3 else "b").make(n) for n in range(1500)]
    handles = kit.enqueue_many(jobs)
    assert [h.id for h in handles] == [j.id for j in jobs]
    assert all(h.created for h in handles)
    assert sorted(calls) == [("a", 1000), ("b", 500)]
    assert [h.created for h in kit.enqueue_many(jobs[:3])] == [False] * 3
    assert kit.enqueue_many([]) == []
    assert [job.payload for job in kit.find(queue="b", limit=3).jobs] == [{"n": 0}, {"n": 3}, {"n": 6}]


async def test_many_jobs_async(kit: TestKit) -> None:
    @kit.task
    def even(n: int) -> None: ...

    jobs = [even.using(queue=f"q{n % 7 and 1}").make(n) for n in range(1200)]
    assert [h.id for h in await kit.aenqueue_many(iter(jobs))] == [j.id for j in jobs]
    assert await kit.aenqueue_many([]) == []
    await kit.aclose()


def test_an_error_of_one_queue_says_what_was_written_before(kit: TestKit) -> None:
    kit.queue("small").configure(max_size=1)
    jobs = [kit.queue(queue).make("x") for queue in ("big", "small", "small")]
    with pytest.raises(Exception, match="small") as caught:
        kit.enqueue_many(jobs)
    (note,) = caught.value.__notes__
    assert note.startswith("written before this: 1 on 'big'")


async def test_errors_of_several_queues_are_all_told(kit: TestKit) -> None:
    for queue in ("one", "two"):
        await kit.queue(queue).aconfigure(max_size=1)
    with pytest.raises(Exception, match="one") as caught:
        await kit.aenqueue_many([kit.queue(queue).make("x") for queue in ("one", "one", "two", "two", "free")])
    first, second = caught.value.__notes__
    assert first.startswith("written before this: 1 on 'free'")
    assert "another queue's call: queue two" in second
    await kit.aclose()


def test_too_large_is_refused_before_the_store_is_asked() -> None:
    kit = TestKit(settings=Settings(url="model://", chosen_by="test", payload_limit=100))
    with pytest.raises(PayloadTooLarge, match="QUEUEKIT_PAYLOAD_LIMIT"):
        kit.queue("q").enqueue("x", {"data": "x" * 100})
    assert kit.queue("q").enqueue("x", {"data": "x" * 80}).created


def test_a_lost_answer_is_repeated_under_the_same_op_and_makes_one_job(kit: TestKit) -> None:
    store = kit.blocking_store()
    real, ops = store.enqueue, []

    async def lossy(
        queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Any:
        ops.append(op)
        answer = await real(queue, jobs, op, within)
        if len(ops) < 3:
            raise StoreUnavailable("the answer was lost")
        return answer

    store.enqueue = lossy  # type: ignore[method-assign]  # made to lose answers
    handle = kit.queue("q").enqueue("x", {})
    assert handle.created is True
    assert len(set(ops)) == 1
    assert len(ops) == 3
    assert kit.health("q")["q"].waiting == 1
    kit.queue("q").enqueue("x", {})
    assert ops[-1] == Op(ops[0].actor, ops[0].n + 1)


def test_a_lane_whose_call_never_got_an_answer_is_used_no_more() -> None:
    kit = TestKit(settings=Settings(url="model://", chosen_by="test", timeout=1))
    store = kit.blocking_store()
    real, ops = store.enqueue, []

    async def away(
        queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Any:
        ops.append(op)
        if len(ops) <= 2:
            raise StoreUnavailable("away", outcome="unknown")
        return await real(queue, jobs, op, within)

    store.enqueue = away  # type: ignore[method-assign]  # made to be away
    with pytest.raises(StoreUnavailable) as caught:
        kit.queue("q").enqueue("x", {}, id="mine")
    assert (caught.value.outcome, caught.value.op) == ("unknown", ops[0].token)
    assert "q/mine; enqueue with the same id again is safe" in caught.value.__notes__[0]
    kit.queue("q").enqueue("x", {})
    assert ops[0] == ops[1]
    assert ops[0].actor != ops[-1].actor


def test_within_is_refused_where_the_store_cannot(kit: TestKit) -> None:
    with pytest.raises(Unsupported, match="within"):
        kit.queue("q").enqueue("x", {}, within=object())
    with pytest.raises(Unsupported, match="within"):
        kit.enqueue_many([kit.queue("q").make("x", {}, within=object())])


def test_names_of_tasks(kit: TestKit) -> None:
    @kit.task("image.resize", queue="media")
    def resize(path: str) -> int:
        """Make it small."""
        return 1

    assert (resize.name, resize.queue, resize.__doc__) == ("image.resize", "media", "Make it small.")
    assert dict(kit.tasks()) == {"image.resize": resize}
    with pytest.raises(DuplicateTask, match=r"image\.resize.*test_producing\.py, line \d+, and .*line \d+"):
        kit.task("image.resize")(lambda: None)
    with pytest.raises(InvalidOption, match="has no name"):
        kit.task(lambda: None)
    with pytest.raises(InvalidName):
        kit.task("no name")(resize.definition.fn or print)
    with pytest.raises(InvalidOption, match="did you mean 'attempts'"):
        kit.task("other", atempts=3)(lambda: None)  # type: ignore[call-overload]  # what the checker refuses too


def test_a_declared_task_and_its_handler(kit: TestKit) -> None:
    charge = kit.declare("charge", Order, str, queue="pay")
    handle = charge.enqueue(Order(id="1", cents=5))
    assert kit.definitions == {}, "nobody can run it yet"
    assert handle.status() is State.WAITING

    @charge.handler
    async def run(order: Order) -> str:
        return f"{order.id}:{order.cents}"

    assert [job.result for job in kit.drain()] == ["1:5"]
    assert handle.result(timeout=1) == "1:5"
    with pytest.raises(DuplicateTask, match="has a handler"):
        charge.handler(run.definition.fn)  # type: ignore[arg-type]  # the same again
    with pytest.raises(DuplicateTask):
        kit.declare("charge", Order)


def test_processors_by_name_and_for_all_names_of_a_queue(kit: TestKit) -> None:
    @kit.processor("video", attempts=1)
    class Video(Processor[Order, int]):
        task = "encode"

        async def process(self, ctx: JobContext, payload: Order, /) -> int:
            return payload.cents

    @kit.processor("video")
    class Rest(Processor[dict[str, int], list[int]]):
        task = None

        def process(self, ctx: JobContext, payload: dict[str, int], /) -> list[int]:
            return [ctx.job.attempts, *payload.values()]

    kit.queue("video").enqueue("encode", {"id": "1", "cents": 5})
    kit.queue("video").enqueue("anything", {"a": 7})
    assert [job.result for job in kit.drain()] == [5, [1, 7]]
    with pytest.raises(DuplicateTask, match="every name"):
        kit.processor("video")(Rest)


def test_a_direct_call_runs_here_and_stores_nothing(kit: TestKit) -> None:
    @kit.task
    def add(ctx: JobContext, a: int, b: int = 2) -> str:
        ctx.progress(0.5, "half")
        ctx.log("line")
        return f"{ctx.job.task} {a + b} {ctx.attempt} {ctx.last_attempt}"

    assert add(1, b=4) == "add 5 1 True"
    assert kit.jobs() == []
    later = kit.declare("later", Order)
    with pytest.raises(ConfigError, match="declared only"):
        call_sync(later.definition, (), {})


async def test_a_direct_async_call_gets_its_injected_arguments(kit: TestKit) -> None:
    from collections.abc import AsyncIterator

    from queuekit import Inject, current_job

    events: list[str] = []

    async def connection() -> AsyncIterator[str]:
        events.append("open")
        yield "db"
        events.append("closed")

    async def token() -> str:
        return "t"

    @kit.task
    async def load(
        name: str, db: str = Inject(connection), key: str = Inject(token), plain: int = Inject(lambda: 3)
    ) -> str:
        ctx = current_job()
        assert ctx is not None
        events.append(ctx.job.task)
        return f"{name} {db} {key} {plain}"

    @kit.task
    def sync(db: str = Inject(connection)) -> str:
        return db

    assert await load("n") == "n db t 3"
    assert events == ["open", "load", "closed"]
    assert await load("n", "mine") == "n mine t 3"
    assert current_job() is None
    assert sync(db="here") == "here"
    with pytest.raises(InvalidOption, match="pass it by name"):
        sync()


def test_what_comes_later_says_when(kit: TestKit) -> None:
    job = kit.queue("q").make("x")
    for call in (lambda: kit.flow(job, children=[]), lambda: kit.chain(job)):
        with pytest.raises(Unsupported, match=r"queuekit 0\.3"):
            call()


def test_modules_that_register_tasks(kit: TestKit, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good_tasks.py").write_text("done = True\n")
    (tmp_path / "bad_tasks.py").write_text("import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    TestKit(imports=["good_tasks"]).load()
    with pytest.raises(ConfigError, match="no module 'missing_tasks'"):
        TestKit(imports=["missing_tasks"]).load()
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        TestKit(imports=["bad_tasks"]).load()


def test_a_whole_package_registers_its_tasks(kit: TestKit, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "whole_tasks"
    for name in ("__init__.py", "mail/__init__.py", "mail/send.py", "mail/__main__.py", "bill.py", "notes/bill.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("raise SystemExit\n" if "__main__" in name else "")
    monkeypatch.syspath_prepend(tmp_path)
    TestKit(imports=["whole_tasks.*"]).load()
    found = {name for name in sys.modules if name.startswith("whole_tasks")}
    modules = {"bill", "mail", "mail.send", "notes", "notes.bill"}  # notes has no __init__.py, and is one all the same
    assert found == {"whole_tasks", *(f"whole_tasks.{name}" for name in modules)}
    with pytest.raises(ConfigError, match=r"'whole_tasks\.bill' is one module"):
        TestKit(imports=["whole_tasks.bill.*"]).load()
    (package / "wrong.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        TestKit(imports=["whole_tasks.*"]).load()


def test_a_queue_for_each_tenant_grows_no_process_for_ever(kit: TestKit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuekit.queue._TEMPLATES_KEPT", 10)
    monkeypatch.setattr("queuekit.kit._QUEUES_KEPT", 10)
    for n in range(50):
        assert kit.queue(f"tenant{n}").make("x").queue == f"tenant{n}"
    assert len(kit.templates) <= 10
    assert len(kit._queues) <= 10


def test_a_snapshot_shows_the_options_of_what_runs_it_and_says_when_nobody_here_knows(kit: TestKit) -> None:
    @kit.processor("video", attempts=1)
    class Rest(Processor[dict[str, int], None]):
        task = None

        def process(self, ctx: JobContext, payload: dict[str, int], /) -> None: ...

    caught = kit.queue("video").enqueue("resize", {}).get()
    stranger = kit.queue("sound").enqueue("resize", {}).get()
    assert caught is not None
    assert (caught.attempts, caught.to_dict()["attempts"]) == (1, 1)
    assert stranger is not None
    assert (stranger.attempts, stranger.to_dict()["attempts"]) == (3, None)
