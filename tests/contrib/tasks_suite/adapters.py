"""Our backend with the two doors that Django's tests use: the list of what was enqueued, and running it at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from asgiref.sync import sync_to_async

from queuekit.contrib.django import TaskBackend
from queuekit.testing.drain import drain


class _AsDjangos(TaskBackend):
    """Django's own write inside a transaction; ours wait for its commit where nobody says otherwise."""

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, {"ENQUEUE_ON_COMMIT": False, **params})


class Kept(_AsDjangos):
    """What Django's dummy backend has beside the contract."""

    @property
    def results(self) -> list[Any]:
        """Every result, oldest first."""
        page = self.kit.find(limit=100)
        return [self.get_result(f"{job.id}@{job.queue}") for job in reversed(page.jobs)]

    def clear(self) -> None:
        """Forget all."""
        for name in self.kit.health():
            self.kit.queue(name).obliterate(confirm=name, force=True)


class AtOnce(_AsDjangos):
    """Runs what it enqueued before it returns, as a worker would: through the store, the runner and the signals."""

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Write, run, read."""
        result: Any = super().enqueue(task, args, kwargs)
        self._run()
        return self.get_result(result.id)

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """The same beside a running loop."""
        result: Any = await super().aenqueue(task, args, kwargs)
        await sync_to_async(self._run)()
        return await self.aget_result(result.id)

    def _run(self) -> None:
        thread = threading.Thread(target=lambda: asyncio.run(drain(self.kit)))
        thread.start()
        thread.join()
