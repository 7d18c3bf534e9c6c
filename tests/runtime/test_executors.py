"""The threads of plain functions, without a worker."""

from __future__ import annotations

import asyncio
import threading

import pytest

from queuekit.runtime.executors import Threads


async def test_a_system_that_is_out_of_threads_costs_one_run_and_no_later_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="new thread"):
            await threads.run(lambda: 1)
    try:
        assert await asyncio.wait_for(threads.run(lambda: 2), 5) == 2
    finally:
        threads.close()


async def test_so_many_calls_run_at_once_as_there_may_be_threads() -> None:
    threads, together = Threads(3), threading.Barrier(3)
    try:
        waiting = asyncio.gather(*(threads.run(lambda: together.wait(5)) for _ in range(3)))
        assert sorted(await asyncio.wait_for(waiting, 10)) == [0, 1, 2]  # type: ignore[type-var]  # what a barrier gives
        assert len([one for one in threading.enumerate() if one.name.startswith("queuekit")]) <= 3
        threads.grow(4)
        four = threading.Barrier(4)
        await asyncio.wait_for(asyncio.gather(*(threads.run(lambda: four.wait(5)) for _ in range(4))), 10)
    finally:
        threads.close()
        together.abort()
