"""What the families of the model store share."""

from __future__ import annotations

from dataclasses import replace

from queuekit.domain.job import JobRecord
from queuekit.testing.model.world import ModelWorld, QueueData


class Base:
    """One store over a world; `blocking` decides only how it waits."""

    def __init__(
        self,
        world: ModelWorld | None = None,
        *,
        namespace: str = "queuekit",
        blocking: bool = False,
        limit: int = 256 * 1024,
    ) -> None:
        self.world = world or ModelWorld()
        self.namespace = namespace
        self.blocking = blocking
        self.limit = limit  # bytes of a payload or result

    def queue(self, name: str) -> QueueData:
        return self.world.queue(self.namespace, name)

    def peek(self, name: str) -> QueueData:
        return self.world.peek(self.namespace, name)

    def wake(self, q: QueueData) -> None:
        q.marker = True
        self.world.changed()


def snapshot(job: JobRecord) -> JobRecord:
    """A copy that the caller may keep."""
    return replace(job)
