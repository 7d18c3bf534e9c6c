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
