"""wait, watch: being told, with a look at the truth now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from queuekit.domain.job import JobRecord
from queuekit.domain.state import TERMINAL
from queuekit_redis.replies import Forbidden
from queuekit_redis.store.read import Read
from queuekit_redis.wakeup import pop_marker

LOOK_FROM: Final = 5000  # ms of a wait from which on it looks at the lines when it was in vain
_FLOOR: Final = 1.0  # seconds between two looks at a watched job: a message may be lost


class Notify(Read):
    async def wait(self, queues: Sequence[str], timeout: int) -> list[str]:
        """A blocking pop on the queues' markers, never on data. After a long wait in vain it looks by itself: who
        popped a marker may have died of it."""
        markers = {self._keys(queue)["marker"]: queue for queue in queues}
        woken = await pop_marker(self._port, markers, timeout / 1000)
        return woken if woken or timeout < LOOK_FROM else await self._with_work(queues)

    async def _with_work(self, queues: Sequence[str]) -> list[str]:
        lines = [[self._keys(queue)[line] for line in ("ready", "suspect", "delayed")] for queue in queues]
        found = await self._port.commands([(b"EXISTS", *keys) for keys in lines])
        return [queue for queue, some in zip(queues, found, strict=True) if some]

    async def watch(self, queue: str, id: str, timeout: int) -> JobRecord | None:
        """Marks the job, then listens to its queue's channel and looks again at each message and each second."""
        deadline = self._port.monotonic() + timeout / 1000
        if not await self._call("watch", queue, [id.encode()]) or timeout <= 0:
            return (await self.get(queue, [id]))[0]
        line = await self._listen(queue)
        try:
            while True:
                job = (await self.get(queue, [id]))[0]
                left = deadline - self._port.monotonic()
                if job is None or job.state in TERMINAL or left <= 0:
                    return job
                if line is None:
                    await self._port.sleep(min(left, _FLOOR))
                else:
                    await self._port.heard(line, min(left, _FLOOR))
        finally:
            if line is not None:
                await self._port.hang_up(line)

    async def _listen(self, queue: str) -> Any:
        """A subscription to the ends of awaited jobs; None where this user may not have one."""
        try:
            return await self._port.listen(self._keys(queue)["awaited"])
        except Forbidden:
            return None
