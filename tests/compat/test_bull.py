"""A queue, its jobs, workers and health by Bull's names."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel

from queuekit import DuplicateTask, InvalidOption, JobFact, PayloadError, QueueKit, State, Unsupported, clock
from queuekit.compat import bull
from queuekit.compat.bull import (
    Envelope,
    Job,
    JobProcessor,
    QueueManager,
    QueuePriority,
    QueueProfile,
    UnrecoverableError,
    create_worker,
    get_all_queues_health,
    get_queue,
    get_queue_health,
    on_worker_event,
    process,
    processor,
)
from queuekit.compat.current import current, provide
from queuekit.domain.values import Profile
from queuekit.testing import TestKit


class QueueName(StrEnum):
    HIGH = "portfolio:high_priority"
    LOW = "portfolio:low_priority"


class Fill(TypedDict):
    userId: str
    symbol: str
    fillId: str


class Payment(BaseModel):
    userId: str  # noqa: N815  as its sender writes it
    amount: Decimal


@dataclass
class Receipt:
    success: bool
    transactionId: str  # noqa: N815  as above


FILL: Fill = {"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456"}


def burst(kit: QueueKit, *queues: str) -> None:
    """Run what is due: in the model under its own clock, else with a worker."""
    if isinstance(kit, TestKit):
        for queue in queues:
            kit.drain(queue)
    else:
        kit.worker(queues=list(queues), burst=True).run()


def test_a_worker_that_is_closed_leaves_no_listener_in_the_kit() -> None:
    """A process that makes workers again and again would tell ever more of them."""
    kit, heard = TestKit(), list[str]()

    def listening() -> int:
        return sum(map(len, kit.hooks._hooks.values()))

    def deaf(job: Any, *_: Any) -> None:
        heard.append("deaf")

    def once(job: Any, *_: Any) -> None:
        heard.append("once")
        worker.off("completed", once)

    worker = create_worker("mail", lambda job: None, kit=kit)
    for event, fn in (("completed", once), ("failed", deaf), ("completed", deaf), ("closed", deaf)):
        worker.on(event, fn)
    worker.on("completed", lambda job, result: heard.append("last"))
    worker.off("completed", deaf)
    assert listening() == 4, "failed is told by two of ours"
    for _ in range(2):
        get_queue("mail", kit=kit).add("send")
        kit.drain()
    assert heard == ["once", "last", "last"]
    worker.close()
    assert listening() == 0
    assert not kit.hooks.wants("completed")


def test_a_job_that_was_just_added_says_when(kit: QueueKit) -> None:
    queue = get_queue("mail", kit=kit)
    before = clock.now_ms()
    added, (bulk,) = queue.add("send", None, {"job_id": "a"}), queue.add_bulk([{"name": "send"}])
    assert before <= added.to_json()["timestamp"] <= bulk.to_json()["timestamp"] <= clock.now_ms()
    again = queue.add("send", None, {"job_id": "a"})
    assert (again.created, again.timestamp) == (False, None), "another one's, added nobody knows when"


# ---------------------------------------------------------------- the queue, on every store
def test_a_job_is_added_run_and_looked_at(kit: QueueKit) -> None:
    queue = get_queue(QueueName.HIGH, kit=kit)
    seen: list[tuple[Any, int, str]] = []

    async def recalculate(job: Job[Fill]) -> dict[str, Any]:
        seen.append((job.data, job.attempts_made, job.name))
        job.log("looked up")
        return {"symbol": job.data["symbol"]}

    create_worker(QueueName.HIGH, recalculate, {"concurrency": 20, "lockDuration": 60_000}, kit=kit)
    added = queue.add("recalculate-position", FILL, {"priority": QueuePriority.CRITICAL, "jobId": "fill-456"})
    assert (added.id, added.name, added.data, added.created) == ("fill-456", "recalculate-position", FILL, True)
    assert added.opts == {"priority": 1, "job_id": "fill-456"}
    assert queue.add("recalculate-position", FILL, {"jobId": "fill-456"}).created is False
    found = queue.get_job("fill-456")
    assert found is not None
    assert (found.get_state(), found.priority, found.attempts_made, found.returnvalue) == ("waiting", 1, 0, None)
    burst(kit, QueueName.HIGH)
    assert seen == [(FILL, 0, "recalculate-position")]
    assert found.refresh()
    assert (found.get_state(), found.attempts_made, found.returnvalue) == ("completed", 1, {"symbol": "BTCUSDT"})
    assert found.wait_until_finished(1000) == {"symbol": "BTCUSDT"}
    shown = found.to_json()
    assert {name: shown[name] for name in ("id", "name", "data", "returnvalue", "failed_reason")} == {
        "id": "fill-456", "name": "recalculate-position", "data": FILL, "returnvalue": {"symbol": "BTCUSDT"},
        "failed_reason": None,
    }  # fmt: skip
    assert shown["timestamp"] <= shown["processed_on"] <= shown["finished_on"]
    assert queue.get_job("nobody") is None


def test_verbs_of_a_queue(kit: QueueKit) -> None:
    queue = get_queue("q", kit=kit)
    made = queue.add_bulk(
        [{"name": "t", "data": {"n": n}, "opts": {"delay": 60_000 if n > 2 else 0}} for n in range(5)]
    )
    assert [job.created for job in made] == [True] * 5
    assert queue.get_job_counts() == {"waiting": 3, "active": 0, "completed": 0, "failed": 0, "delayed": 2}
    assert queue.get_job_counts("wait", "delayed") == {"wait": 3, "delayed": 2}
    assert queue.count() == 5
    assert [job.data for job in queue.get_jobs("waiting")] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [job.data for job in queue.get_jobs(["wait"], 1, 1)] == [{"n": 1}]
    assert len(queue.get_jobs(["waiting", "delayed"], 0, 0)) == 2
    queue.pause()
    assert queue.is_paused()
    queue.resume()
    assert not queue.is_paused()
    late = made[3]
    assert late.change_delay(120_000)
    assert late.refresh()
    assert 119_000 <= late.delay <= 180_000
    assert late.promote()
    assert late.update_data({"n": 30})
    assert late.refresh()
    assert (late.get_state(), late.data) == ("waiting", {"n": 30})
    assert queue.remove(late.id)
    assert not queue.remove(late.id)
    assert (late.get_state(), late.refresh()) == ("unknown", False)
    assert queue.drain() == 3
    assert queue.drain(delayed=True) == 1
    assert queue.count() == 0
    with pytest.raises(InvalidOption, match="active"):
        queue.clean(0, 10, "active")
    with pytest.raises(InvalidOption, match="no state 'done'"):
        queue.get_jobs("done")
    with pytest.raises(InvalidOption, match="not counted"):
        queue.get_job_counts("cancelled")


def test_failed_jobs_are_told_kept_retried_and_cleaned(kit: QueueKit) -> None:
    queue = get_queue("q", {"defaultJobOptions": {"attempts": 2, "backoff": 0}}, kit=kit)
    heard: list[Any] = []
    healed: list[bool] = []

    def work(job: Job[Any]) -> str:
        if not healed:
            raise ValueError(f"run {job.attempts_made + 1}")
        return "well"

    worker = create_worker(queue, work, kit=kit)
    worker.on("failed", lambda job, error: heard.append((job.attempts_made, job.failed_reason, error.message)))
    worker.on("completed", lambda job, result: heard.append((job.id, result)))
    job = queue.add("t")
    burst(kit, "q")
    assert heard == [(1, "run 1", "run 1"), (2, "run 2", "run 2")]
    assert job.refresh()
    assert (job.get_state(), job.failed_reason, job.attempts_made, len(job.stacktrace)) == ("failed", "run 2", 2, 2)
    assert "ValueError: run 1" in job.stacktrace[0]
    healed.append(True)
    assert job.retry()
    burst(kit, "q")
    assert heard[2:] == [(job.id, "well")]
    assert queue.clean(60_000, 0, "completed") == 0
    assert queue.clean(0, 0, "completed") == 1


async def test_every_verb_is_awaited_with_an_a_in_front(kit: QueueKit) -> None:
    queue = get_queue("q", kit=kit)
    job = await queue.aadd("t", {"n": 1}, {"delay": 60_000})
    await queue.aadd_bulk([{"name": "t"}, {"name": "t"}])
    assert await queue.aget_job_counts("waiting", "delayed") == {"waiting": 2, "delayed": 1}
    assert await queue.acount() == 3
    assert len(await queue.aget_jobs(["waiting", "delayed"])) == 3
    await queue.apause()
    assert await queue.ais_paused()
    await queue.aresume()
    assert await job.achange_delay(1)
    assert await job.aupdate_data({"n": 2})
    assert await job.aget_state() == "delayed"
    found = await queue.aget_job(job.id)
    assert found is not None
    assert found.data == {"n": 2}
    assert await found.apromote()
    assert await found.arefresh()
    assert not await found.aretry()
    assert (await bull.aget_queue_health("q", kit=kit))["waiting"] == 3
    assert [one["name"] for one in await bull.aget_all_queues_health(kit=kit)] == ["q"]
    assert await found.aremove()
    assert not await queue.aremove(found.id)
    assert await queue.aclean(0, 1, "waiting") == 1
    assert await queue.adrain(delayed=True) == 1
    assert (await QueueManager(queue).aadd_job({"type": "t"})).created
    assert await queue.aobliterate() == 1
    await queue.aclose()


def test_health_has_exactly_the_six_numbers(kit: QueueKit) -> None:
    get_queue(QueueName.LOW, kit=kit)
    get_queue(QueueName.HIGH, kit=kit).add("t")
    get_queue(QueueName.HIGH, kit=kit).add("t", {}, {"delay": 60_000})
    high = get_queue_health(QueueName.HIGH, kit=kit)
    assert list(high.items()) == [
        ("name", "portfolio:high_priority"), ("waiting", 1), ("active", 0), ("completed", 0), ("failed", 0),
        ("delayed", 1),
    ]  # fmt: skip
    empty = {"name": "portfolio:low_priority", "waiting": 0, "active": 0, "completed": 0, "failed": 0, "delayed": 0}
    assert get_all_queues_health(kit=kit) == [high, empty]
    assert get_queue_health(get_queue(QueueName.LOW, kit=kit)) == empty


def test_the_envelope_of_a_queue_manager(kit: QueueKit) -> None:
    manager = QueueManager("market", kit=kit)
    sent = {"instrumentId": "i-7", "timestamp": 1_700_000_000_000}
    options = {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}}
    job = manager.add_job({"type": "sync-screener", "data": sent, "options": options})
    assert (job.queue_name, job.name, job.data) == ("market", "sync-screener", sent)
    manager.add_job(Envelope(type="sync-screener", data=sent))
    assert manager.queue.get_job_counts("waiting") == {"waiting": 2}
    wrongs: list[dict[str, Any]] = [{"data": {}}, {"type": "t", "payload": {}}]
    for wrong in wrongs:
        with pytest.raises(InvalidOption, match=r"\{type, data, options\}"):
            manager.add_job(wrong)


# ---------------------------------------------------------------- a real worker
async def test_progress_lines_and_the_end_are_told_and_kept(tmp_path: Path) -> None:
    async with QueueKit(f"sqlite:///{tmp_path}/q.db") as kit:
        heard: list[Any] = []
        go = asyncio.Event()

        async def render(job: Job[Any]) -> str:
            job.update_progress(57)
            await go.wait()
            job.update_progress({"frames": 9})
            return "done"

        worker = create_worker("video", render, QueueProfile.HEAVY, kit=kit)

        @worker.on("progress")
        def told(job: Job[Any], progress: Any) -> None:
            heard.append(progress)
            go.set()

        worker.on("active", lambda job: heard.append(job.attempts_made))
        worker.on("closed", lambda: heard.append("closed"))
        deaf: Callable[[Job[Any], Any], None] = lambda job, result: heard.append("deaf")  # noqa: E731
        worker.on("completed", deaf)
        worker.off("completed", deaf)
        job = await get_queue("video", kit=kit).aadd("render")
        async with worker:
            assert await job.await_until_finished(30_000) == "done"
        assert heard == [0, 57, "closed"] or heard == [0, 57, {"frames": 9}, "closed"]
        assert await job.arefresh()
        assert job.progress == {"frames": 9}
        conf = await kit.queue("video").aconf()
        assert (conf.effective.lease, conf.effective.concurrency) == (3_600_000, 1)


def test_a_worker_is_closed_from_another_thread_and_another_may_take_over(tmp_path: Path) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db") as kit:
        queue = get_queue("q", kit=kit)

        def one(job: Job[Any]) -> int:
            return 1

        def two(job: Job[Any]) -> int:
            return 2

        first = create_worker("q", one, kit=kit)
        create_worker("q", one, kit=kit).close()  # the same again is one more worker
        with pytest.raises(DuplicateTask, match=r"close\(\) its worker"):
            create_worker("q", two, kit=kit)

        async def until_closed() -> Any:
            job = await queue.aadd("t")
            running = asyncio.create_task(first.arun())
            result = await job.await_until_finished(30_000)
            await asyncio.to_thread(first.close)
            await running
            return result

        assert asyncio.run(until_closed()) == 1
        second = create_worker("q", two, kit=kit)
        job = queue.add("t")

        async def closed_on_its_own_loop() -> Any:
            async with second:
                result = await job.await_until_finished(30_000)
                second.close()
                return result

        assert asyncio.run(closed_on_its_own_loop()) == 2


def test_the_class_form_and_its_listeners(tmp_path: Path) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db") as kit:
        heard: list[Any] = []

        @processor("payment", {"concurrency": 5}, kit=kit)
        class PaymentProcessor:
            def __init__(self) -> None:
                heard.append("made")

            async def process(self, job: Job[Payment]) -> Receipt:
                assert job.data.amount == Decimal("0.10")
                return Receipt(True, f"tx_{job.data.userId}")

            @on_worker_event("completed")
            def completed(self, job: Job[Any], result: Any) -> None:
                heard.append(result)

        assert heard == []
        queue = get_queue("payment", kit=kit)
        kept = {"removeOnComplete": 100, "removeOnFail": 20}
        job = queue.add("process-payment", {"userId": "u", "amount": "0.10"}, kept)
        wrong = queue.add("process-payment", {"userId": "u", "amount": "a secret"}, {"attempts": 5})
        kit.worker(burst=True).run()  # finds the queue by itself, as `queuekit worker` does
        assert heard == ["made", {"success": True, "transactionId": "tx_u"}]
        assert job.wait_until_finished(0) == {"success": True, "transactionId": "tx_u"}
        assert wrong.refresh()
        assert (wrong.get_state(), wrong.attempts_made) == ("failed", 1)  # it will not fit in another run either
        assert "amount" in str(wrong.failed_reason)
        assert "a secret" not in str(wrong.to_json()["failed_reason"])
        assert type(PaymentProcessor).__name__ == "type"


def test_a_processor_class_needs_process() -> None:
    with pytest.raises(InvalidOption, match=r"no method process\(self, job\)"):
        processor("q", kit=TestKit())(type("Nothing", (), {}))


def test_names_of_one_queue_have_processors_of_their_own(test_kit: TestKit) -> None:
    seen: list[Any] = []

    @process("market", "sync-screener", kit=test_kit)
    def screener(job: Job[Any]) -> None:
        seen.append(("screener", job.data["instrumentId"]))

    process("market", "sync-prices", lambda job: seen.append(("prices", job.name)), kit=test_kit)
    queue = get_queue("market", kit=test_kit)
    queue.add("sync-screener", {"instrumentId": "i1"})
    queue.add("sync-prices")
    other = queue.add("unheard-of", {}, {"attempts": 1})
    test_kit.drain()
    assert seen == [("screener", "i1"), ("prices", "sync-prices")]
    assert other.refresh()
    assert other.failed_reason == "queue 'market' has no processor for job type 'unheard-of'"
    create_worker("market", lambda job: seen.append(("rest", job.name)), kit=test_kit)
    assert other.retry()
    test_kit.drain()
    assert seen[2:] == [("rest", "unheard-of")]
    with pytest.raises(DuplicateTask, match="for 'sync-prices'"):
        process("market", "sync-prices", lambda job: None, kit=test_kit)

    async def awaited(job: Job[Any]) -> None: ...

    with pytest.raises(InvalidOption, match="all plain ones"):
        process("market", "another", awaited, kit=test_kit)


def test_an_unrecoverable_error_is_not_tried_again(test_kit: TestKit) -> None:
    def work(job: Job[Any]) -> None:
        raise UnrecoverableError("no such account")

    create_worker("q", work, kit=test_kit)
    job = get_queue("q", kit=test_kit).add("t", {}, {"attempts": 5})
    test_kit.drain()
    assert job.refresh()
    assert (job.get_state(), job.attempts_made, job.failed_reason) == ("failed", 1, "no such account")


def test_what_a_processor_may_do_nobody_else_may(test_kit: TestKit) -> None:
    job = get_queue("q", kit=test_kit).add("t")
    with pytest.raises(InvalidOption, match="only its processor"):
        job.update_progress(5)
    with pytest.raises(InvalidOption, match="only its processor"):
        job.log("line")


def test_options_of_a_queue_are_its_jobs_defaults(test_kit: TestKit) -> None:
    heavy = {
        "name": "heavy-processing",
        "defaultJobOptions": {
            "attempts": 2, "backoff": {"type": "fixed", "delay": 60_000}, "removeOnComplete": {"count": 100},
            "removeOnFail": False, "priority": 5,
        },
    }  # fmt: skip
    defaults = {name: value for name, value in heavy.items() if name != "name"}
    get_queue("heavy-processing", defaults, kit=test_kit)
    queue = get_queue("heavy-processing", kit=test_kit)  # whoever gets it later
    job = queue.add("t", {}, {"removeOnFail": True})
    assert job.opts == {**snake(heavy["defaultJobOptions"]), "remove_on_fail": True}
    found = queue.get_job(job.id)
    assert found is not None
    assert (found.opts["attempts"], found.priority) == (2, 5)
    assert queue.add("t", {}, {"priority": 0}).refresh()
    with pytest.raises(InvalidOption, match="both spellings"):
        queue.add("t", {}, {"jobId": "a", "job_id": "b"})
    with pytest.raises(InvalidOption, match="did you mean 'attempts'"):
        get_queue("q", {"defaultJobOptions": {"attempt": 1}}, kit=test_kit)
    with pytest.raises(InvalidOption, match="the kit knows its store"):
        get_queue("q", {"connection": {}}, kit=test_kit)
    with pytest.raises(InvalidOption, match="did you mean 'default_job_options'"):
        get_queue("q", {"defaultJobOption": {}}, kit=test_kit)


def snake(options: Any) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in options.items()}


def test_bad_calls_are_refused_before_anything_is_written(test_kit: TestKit) -> None:
    queue = get_queue("q", kit=test_kit)
    with pytest.raises(PayloadError, match="object of named arguments"):
        queue.add("t", [1, 2])
    with pytest.raises(Unsupported, match="parent"):
        queue.add("t", {}, {"parent": {"id": "1"}})
    with pytest.raises(InvalidOption, match="either 'pattern'"):
        queue.add("t", {}, {"repeat": {}})
    with pytest.raises(InvalidOption, match="upsert_job_scheduler"):
        get_queue("q", {"defaultJobOptions": {"repeat": {"every": 1000}}}, kit=test_kit)
    with pytest.raises(InvalidOption, match="name, data and opts"):
        queue.add_bulk([{"name": "t"}, {"nam": "t"}])
    with pytest.raises(InvalidOption, match="listen where the worker runs"):
        queue.on("global:completed", print)
    with pytest.raises(InvalidOption, match="there are: active, completed"):
        queue.on("finished", print)
    assert test_kit.jobs() == []


def test_a_queue_hears_its_own_jobs_only(test_kit: TestKit) -> None:
    heard: list[str] = []
    get_queue("a", kit=test_kit).on("completed")(lambda job, result: heard.append(job.queue_name))
    for name in ("a", "b"):
        create_worker(name, lambda job: None, kit=test_kit)
        get_queue(name, kit=test_kit).add("t")
    test_kit.drain()
    assert heard == ["a"]


def test_a_job_that_kills_its_workers_is_told_as_failed_with_the_reason(test_kit: TestKit) -> None:
    heard: list[Any] = []
    queue = get_queue("q", kit=test_kit)
    queue.on("failed", lambda job, error: heard.append((job.id, error.type, error.message)))
    seen = test_kit.get(queue.add("t", {}, {"jobId": "k"}).handle.ref)
    assert seen is not None
    dead = replace(seen, state=State.FAILED, reason="crash_loop", crashes=2)
    test_kit.hooks.emit("failed", JobFact(event="failed", at=test_kit.clock.now(), queue="q", job=dead))
    assert heard == [("k", "crash_loop", "2 runs ended with a dead worker")]


async def test_a_listener_may_be_a_coroutine_function(test_kit: TestKit) -> None:
    heard: list[str] = []

    async def told(job: Job[Any], result: Any) -> None:
        await asyncio.sleep(0)
        heard.append(result)

    create_worker("q", lambda job: "r", kit=test_kit).on("completed", told)
    await get_queue("q", kit=test_kit).aadd("t")
    await test_kit.adrain()
    assert heard == ["r"]


# ---------------------------------------------------------------- which kit
def test_a_project_that_is_found_by_an_import_holds_nobody_up(test_kit: TestKit) -> None:
    """The import waits for another thread that imports the same module, which asks for the kit in its first lines."""
    waited: list[bool] = []

    def project() -> QueueKit:
        if not waited:
            other = threading.Thread(target=current, daemon=True)
            waited.append(True)
            other.start()
            other.join(30)
            waited.append(other.is_alive())
        return test_kit

    provide(project)
    assert current() is test_kit
    assert waited == [True, False]


def test_without_a_kit_the_process_own_one_is_used(tmp_path: Path) -> None:
    queue = get_queue("named-before-the-kit-is-made")
    with QueueKit(f"sqlite:///{tmp_path}/q.db") as kit:
        assert current() is kit
        assert queue.add("t").created
        assert kit.health()["named-before-the-kit-is-made"].waiting == 1
        assert get_queue("named-before-the-kit-is-made") is queue
        other = TestKit(name="another")
        bull.use(other)
        try:
            assert queue.kit is other
        finally:
            bull.use(None)
        assert queue.kit is kit


def test_a_process_that_only_adds_imports_no_worker(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom queuekit.compat.bull import get_queue\nget_queue('q').add('t', {'n': 1}, {'delay': 5})\n"
        "far = ('queuekit.runtime', 'queuekit.cli', 'queuekit.testing', 'pydantic', 'typer')\n"
        "print([name for name in sys.modules if name.startswith(far)])"
    )
    env = {"QUEUEKIT_URL": f"sqlite:///{tmp_path}/q.db", "PATH": ""}
    said = subprocess.check_output([sys.executable, "-c", program], env=env, cwd=tmp_path, text=True, timeout=60)
    assert said == "[]\n"


def test_a_typed_processor_is_a_job_processor(test_kit: TestKit) -> None:
    async def typed(job: Job[Fill]) -> None:
        assert job.data["symbol"]

    assert bull.Worker("p", typed, QueueProfile.HEAVY, kit=test_kit).name == "p"
    taken: JobProcessor[Fill] = typed
    again: Callable[[Job[Fill]], Awaitable[object] | object] = taken
    assert create_worker("q", again, kit=test_kit).name == "q"
    assert isinstance(QueueProfile.LIGHT, Profile)
