"""Workers as processes: signals, exit codes, death by kill -9, and several of them under one supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queuekit import JobHandle, QueueKit, State
from queuekit.codec import JSON
from queuekit.runtime.supervisor import Supervisor
from queuekit.runtime.worker import GAVE_BACK
from tests.runtime.conftest import WAIT, each_store

PATIENCE = 40
LEASE = 3.0  # seconds: a killed worker's jobs wait for it, a living one's must not be ended by a busy machine


class Bench:
    """Starts worker programs on one store and namespace, and ends those that are left by their process ids."""

    def __init__(self, kit: QueueKit, url: str, folder: Path) -> None:
        self.kit = kit
        self.folder = folder
        said = {"URL": url, "NAMESPACE": kit.settings.namespace, "FOLDER": str(folder), "LEASE": str(LEASE)}
        self._env = {**os.environ, **{f"PROGRAM_{name}": value for name, value in said.items()}}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, **options: object) -> subprocess.Popen[bytes]:
        said = [f"{name}={json.dumps(value)}" for name, value in {"concurrency": 2, **options}.items()]
        with (self.folder / f"log{len(self._processes)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.runtime.program", *said],
                env=self._env,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    async def enqueue(self, task: str, *, name: str | None = None) -> JobHandle[JSON]:
        return await self.kit.queue("default").aenqueue(task, {} if name is None else {"name": name})

    async def marked(self, name: str, times: int = 1) -> list[int]:
        """The process ids that ran the job called `name`, once there are so many."""

        async def look() -> list[int] | None:
            path = self.folder / name
            lines = path.read_text().split() if path.exists() else []
            return [int(line) for line in lines] if len(lines) >= times else None

        return await until(look, f"{name} ran {times} times", self)

    def go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("log*")))

    async def ended(self, process: subprocess.Popen[bytes]) -> int:
        return await asyncio.to_thread(process.wait, PATIENCE)

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait(WAIT)


async def until(look: Callable[[], Awaitable[list[int] | None]], what: str, bench: Bench) -> list[int]:
    """What `look` finds: other processes tell by files, which nothing can wait for."""
    for _ in range(PATIENCE * 50):
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"never: {what}\n{bench.logs()}")


@pytest.fixture
def bench(kit: QueueKit, store_url: str, tmp_path: Path) -> Iterator[Bench]:
    with contextlib.closing(Bench(kit, store_url, tmp_path)) as one:
        yield one


async def test_term_finishes_what_runs_and_exits_with_zero(bench: Bench) -> None:
    process = bench.start()
    running = await bench.enqueue("hold", name="a")
    await bench.marked("a")
    process.send_signal(signal.SIGTERM)
    waiting = await bench.enqueue("note", name="b")
    bench.go("a")
    assert await bench.ended(process) == 0, bench.logs()
    assert await running.aresult(timeout=WAIT) == "held"
    assert await waiting.astatus() is State.WAITING


@pytest.mark.parametrize(
    "signals", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)]
)
async def test_a_second_signal_gives_everything_back_at_once(bench: Bench, signals: tuple[signal.Signals, ...]) -> None:
    async def stops() -> list[int] | None:
        return [] if " stops: " in bench.logs() else None

    process = bench.start(grace="1h")
    on_loop, in_thread = await bench.enqueue("hold", name="a"), await bench.enqueue("hold_thread", name="b")
    await bench.marked("a")
    await bench.marked("b")
    for number in signals:
        process.send_signal(number)
        await until(stops, "a signal was heard", bench)  # two signals of one kind at once are one
    assert await bench.ended(process) == (130 if signals.count(signal.SIGINT) > 1 else GAVE_BACK), bench.logs()
    for handle in (on_loop, in_thread):
        job = await handle.aget()
        assert job is not None
        assert (job.state, job.attempt, job.crashes) == (State.WAITING, 1, 0)


async def test_usr1_says_what_runs(bench: Bench) -> None:
    process = bench.start()
    handle = await bench.enqueue("hold", name="a")
    await bench.marked("a")
    process.send_signal(signal.SIGUSR1)

    async def look() -> list[int] | None:
        return [] if f"running: job {handle.ref} (hold) attempt 1" in bench.logs() else None

    await until(look, "USR1 was answered", bench)
    bench.go("a")
    process.terminate()
    assert await bench.ended(process) == 0


async def test_a_worker_process_uses_uvloop_where_it_is_installed(bench: Bench) -> None:
    pytest.importorskip("uvloop")
    process = bench.start()
    assert str(await (await bench.enqueue("loop_kind")).aresult(timeout=PATIENCE)).startswith("uvloop")
    process.terminate()
    assert await bench.ended(process) == 0


@each_store
async def test_jobs_of_a_killed_worker_run_again_elsewhere(bench: Bench) -> None:
    first = bench.start()
    handle = await bench.enqueue("hold", name="a")
    (pid,) = await bench.marked("a")
    assert pid == first.pid
    second = bench.start()
    await (await bench.enqueue("note", name="b")).aresult(timeout=PATIENCE)
    first.kill()
    assert await bench.ended(first) == -signal.SIGKILL
    pids = await bench.marked("a", times=2)
    bench.go("a")
    assert pids == [first.pid, second.pid]
    assert await handle.aresult(timeout=WAIT) == "held"
    job = await handle.aget()
    assert job is not None
    assert (job.state, job.attempt, job.crashes) == (State.COMPLETED, 1, 1)
    second.terminate()
    assert await bench.ended(second) == 0


async def test_a_supervisor_starts_a_killed_worker_again_and_ends_all_on_term(bench: Bench) -> None:
    supervisor = bench.start(processes=2, concurrency=1)
    for name in "ab":
        await bench.enqueue("hold", name=name)
    (victim,), (other,) = await bench.marked("a"), await bench.marked("b")
    assert len({victim, other, supervisor.pid}) == 3
    os.kill(victim, signal.SIGKILL)
    _, again = await bench.marked("a", times=2)
    assert again not in (victim, other, supervisor.pid)
    bench.go("a")
    bench.go("b")
    supervisor.send_signal(signal.SIGTERM)
    assert await bench.ended(supervisor) == 0, bench.logs()
    assert not any(_alive(pid) for pid in (again, other))


async def test_a_supervisor_answers_that_jobs_were_given_back(bench: Bench) -> None:
    supervisor = bench.start(processes=2, concurrency=1, grace=0.1)
    handle = await bench.enqueue("hold", name="a")
    await bench.marked("a")
    supervisor.send_signal(signal.SIGINT)
    assert await bench.ended(supervisor) == GAVE_BACK, bench.logs()
    assert await handle.astatus() is State.WAITING


async def test_workers_end_when_their_supervisor_was_killed(bench: Bench) -> None:
    supervisor = bench.start(processes=2, concurrency=1)
    handle = await bench.enqueue("hold", name="a")
    (pid,) = await bench.marked("a")
    supervisor.kill()
    bench.go("a")
    assert await handle.aresult(timeout=PATIENCE) == "held"

    async def look() -> list[int] | None:
        return None if _alive(pid) else []

    await until(look, "the orphan ended", bench)


def test_a_signal_finds_a_child_that_was_just_fetched() -> None:
    """Its exit code is not kept yet, and its process id is nobody's: the others are told all the same."""
    supervisor = Supervisor("anywhere:kit", {}, 2, grace=1)
    gone, there = subprocess.Popen([sys.executable, "-c", ""]), subprocess.Popen(["sleep", "60"])
    gone.wait(WAIT)
    for child, process in zip(supervisor._children, (gone, there), strict=True):
        child.process = cast(Any, SimpleNamespace(pid=process.pid, exitcode=None))
    supervisor._pass_on(signal.SIGTERM)
    assert there.wait(WAIT) == -signal.SIGTERM


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False
