"""Rows of `001`: a BullMQ API process and its workers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import pytest
from pydantic import BaseModel

from queuekit import JobContext, Priority, Processor, Profile, QueueKit, Settings, State
from queuekit.domain.duration import Duration, parse_duration
from queuekit.errors import PayloadError, PayloadTooLarge
from queuekit.settings import VARIABLES

PRODUCER = """
import sys
from queuekit import QueueKit
kit = QueueKit(sys.argv[1])
handle = kit.queue("example").enqueue("process", {"userId": "u1", "action": "send-email", "data": {"email": "a@b.c"}})
print(handle.ref)
far = ("queuekit.runtime", "queuekit.cli", "typer", "rich", "redis", "pymongo")
handlers = [name for name in sys.modules if name.startswith(far)]
assert not handlers, handlers
"""


def seconds(duration: Duration) -> float:
    return parse_duration(duration) / 1000


class ExampleJobPayload(BaseModel):
    userId: str
    action: str
    data: dict[str, str]


class ExampleJobResult(TypedDict):
    success: bool
    processedAt: str


def test_S1_1_a_producer_imports_no_handler(kit: QueueKit, run: Callable[..., int], tmp_path: Path) -> None:
    command = [sys.executable, "-c", PRODUCER, f"sqlite:///{tmp_path / 'queue.db'}"]
    ref = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @kit.task("process", queue="example")
    def process(payload: ExampleJobPayload) -> str:
        return payload.data["email"]

    run("example")
    assert kit.job(ref).result(timeout=0) == "a@b.c"


def test_S1_3_the_producers_call_returns_what_an_endpoint_needs(kit: QueueKit) -> None:
    handle = kit.queue("example").enqueue("process", {"userId": "u1"})
    assert handle.created is True
    assert handle.ref == f"example/{handle.id}"
    assert handle.status() == State.WAITING


def test_S1_4_S1_5_S1_29_a_class_takes_a_typed_payload_and_gives_a_typed_result(kit: QueueKit) -> None:
    @kit.processor("example", concurrency=5, lease="60s")
    class ExampleProcessor(Processor[ExampleJobPayload, ExampleJobResult]):
        task = "process"

        async def process(self, ctx: JobContext, payload: ExampleJobPayload, /) -> ExampleJobResult:
            assert payload.action == "send-email"
            return {"success": True, "processedAt": "2026-01-01T00:00:00Z"}

    handle = kit.queue("example").enqueue("process", {"userId": "u", "action": "send-email", "data": {"email": "e"}})
    kit.worker(queues=["example"], burst=True).run()
    assert handle.result(timeout=0) == {"success": True, "processedAt": "2026-01-01T00:00:00Z"}
    with pytest.raises(PayloadError, match="action"):
        kit.queue("example").enqueue("process", {"userId": "u"})


def test_S1_7_a_queue_has_concurrency_and_lease(tmp_path: Path) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues={"example": {"concurrency": 5, "lease": "60s"}}) as kit:
        peak = 0
        running = 0

        @kit.task(queue="example")
        async def work() -> None:
            nonlocal peak, running
            running += 1
            peak = max(peak, running)
            await asyncio.sleep(0.01)
            running -= 1

        kit.enqueue_many([work.make() for _ in range(20)])
        kit.worker(burst=True).run()
        assert peak == 5


def test_S1_9_the_light_profile() -> None:
    assert (Profile.LIGHT.concurrency, seconds(Profile.LIGHT.lease)) == (50, 30)


def test_S1_10_the_medium_profile() -> None:
    assert (Profile.MEDIUM.concurrency, seconds(Profile.MEDIUM.lease)) == (10, 300)


def test_S1_11_the_heavy_profile() -> None:
    heavy = Profile.HEAVY
    assert (heavy.concurrency, seconds(heavy.lease), seconds(heavy.stalled_check)) == (1, 3600, 300)


def test_S1_12_a_profile_of_ones_own(tmp_path: Path) -> None:
    own = Profile(name="video", concurrency=2, lease="2h")
    with QueueKit(
        f"sqlite:///{tmp_path}/q.db", queues={"clips": {"profile": own}, "mail": {"profile": "light"}}
    ) as kit:
        seen: list[str] = []

        @kit.task(queue="clips")
        def clip() -> None:
            seen.append("clip")

        @kit.task(queue="mail")
        def mail() -> None:
            seen.append("mail")

        clip.enqueue()
        mail.enqueue()
        kit.worker(type="video", burst=True).run()
        assert seen == ["clip"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("light", ["mail"]), ("heavy", ["film"]), ("all", ["film", "mail"]), ("", ["film", "mail"])],
)
def test_S1_13_worker_type_chooses_the_queues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, expected: list[str]
) -> None:
    monkeypatch.setenv("WORKER_TYPE", chosen)
    queues = {"mail": {"profile": Profile.LIGHT}, "film": {"profile": Profile.HEAVY}}
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues=queues) as kit:  # type: ignore[arg-type]  # a TypedDict by its keys
        seen: list[str] = []

        @kit.task(queue="mail")
        def mail() -> None:
            seen.append("mail")

        @kit.task(queue="film")
        def film() -> None:
            seen.append("film")

        mail.enqueue()
        film.enqueue()
        kit.worker(burst=True).run()
        assert sorted(seen) == expected


def test_S1_15_a_worker_leaves_queues_out(kit: QueueKit, run: Callable[..., int]) -> None:
    seen: list[str] = []

    @kit.task
    def note(name: str) -> None:
        seen.append(name)

    for name in ("a", "b", "c"):
        note.using(queue=name).enqueue(name)
    run("a", "b", "c", exclude=["b"])
    assert seen == ["a", "c"]


def test_S1_16_workers_of_one_queue_share_its_jobs(kit: QueueKit) -> None:
    seen: list[tuple[int, str]] = []
    together = threading.Barrier(2, timeout=30)

    @kit.task(queue="q")
    def work(ctx: JobContext, n: int) -> None:
        if n < 2:
            together.wait()  # two workers hold a job each, or this never ends
        seen.append((n, ctx.job.worker or ""))

    kit.enqueue_many([work.make(n) for n in range(20)])

    async def both() -> None:
        await asyncio.gather(*(kit.worker(queues=["q"], concurrency=1, burst=True).arun() for _ in range(2)))

    asyncio.run(both())
    assert sorted(n for n, _ in seen) == list(range(20))
    assert len({worker for _, worker in seen}) == 2


def test_S1_18_defaults_of_a_worker(kit: QueueKit) -> None:
    assert kit.settings.concurrency == 1
    assert kit.settings.lease == 30_000


def test_S1_19_lower_priority_runs_first_and_three_attempts_are_the_default(
    kit: QueueKit, run: Callable[..., int]
) -> None:
    @kit.task(queue="q")
    def work() -> None:
        return None

    handle = work.enqueue()
    job = handle.get()
    assert job is not None
    assert (job.priority, job.attempts, job.run_at) == (Priority.NORMAL, 3, None)


def test_S1_21_a_job_may_run_longer_than_its_lease(tmp_path: Path) -> None:
    with QueueKit(f"sqlite:///{tmp_path}/q.db", queues={"q": {"lease": "3s"}}) as kit:
        runs: list[int] = []

        @kit.task(queue="q")
        async def long(ctx: JobContext) -> None:
            runs.append(ctx.attempt)
            await asyncio.sleep(3.5)

        handle = long.enqueue()
        kit.worker(burst=True).run()
        job = handle.get()
        assert job is not None
        assert (job.state, runs, job.crashes) == (State.COMPLETED, [1], 0)


def test_S1_23_large_data_is_refused_with_advice(kit: QueueKit) -> None:
    with pytest.raises(PayloadTooLarge, match="pass its id"):
        kit.queue("q").enqueue("work", {"blob": "x" * 300_000})


LEAKS = """
import os
from queuekit import QueueKit

kit = QueueKit()

@kit.task(queue="q")
def work(n: int) -> int:
    return os.getpid()
"""


def test_S1_27_what_leaks_memory_is_recycled_and_the_page_says_what_to_do_first(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(LEAKS)
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env["QUEUEKIT_URL"] = f"sqlite:///{tmp_path}/q.db"
    command = [str(Path(sys.executable).with_name("queuekit")), "worker", "app:kit", "--processes", "2"]
    with QueueKit(settings=Settings.load(env)) as kit, (tmp_path / "log").open("wb") as log:
        queue = kit.queue("q")
        handles = kit.enqueue_many([queue.make("work", {"n": n}) for n in range(12)])
        command += ["--max-jobs", "3", "--max-rss", "1GiB"]
        worker = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=log, stderr=log)
        try:
            ran = Counter(handle.result(timeout=60) for handle in handles)
        finally:
            worker.terminate()
            code = worker.wait(30)
    assert code == 0
    assert max(ran.values()) <= 3  # and then another process
    assert len(ran) >= 4
    page = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
    for word in ("lower the concurrency", "chunks", "workers of\ntheir own", "--max-jobs", "--max-rss"):
        assert word in page
