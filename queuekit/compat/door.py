"""The two ways to the public API behind one shape, so that each verb of the facade is written once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from queuekit import JSON, JobHandle, Page, QueueHealth, QueueKit
from queuekit.producing.access import Entry
from queuekit.producing.newjob import Register

T = TypeVar("T")


class Door(Protocol):
    """Calls of one kit's API. Behind `Blocking` none of them suspends, so that `direct` can step what uses it."""

    kit: QueueKit

    async def enqueue(self, queue: str, task: str, data: object, **options: Any) -> JobHandle[JSON]: ...

    async def find(self, **where: Any) -> Page: ...

    async def health(self, queue: str) -> QueueHealth: ...

    async def op(self, op: Callable[[Entry], Coroutine[Any, Any, T]]) -> T: ...

    async def do(self, handle: JobHandle[Any], verb: str, *args: Any) -> Any: ...

    async def schedules(self, verb: str, *args: Any, **options: Any) -> Any: ...

    async def opened(self) -> Register | None: ...


class Blocking:
    """Through this process's store."""

    def __init__(self, kit: QueueKit) -> None:
        self.kit = kit

    async def enqueue(self, queue: str, task: str, data: object, **options: Any) -> JobHandle[JSON]:
        return self.kit.queue(queue).enqueue(task, data, **options)

    async def find(self, **where: Any) -> Page:
        return self.kit.find(**where)

    async def health(self, queue: str) -> QueueHealth:
        return self.kit.health(queue)[queue]

    async def op(self, op: Callable[[Entry], Coroutine[Any, Any, T]]) -> T:
        return self.kit.run(op)

    async def do(self, handle: JobHandle[Any], verb: str, *args: Any) -> Any:
        return getattr(handle, verb)(*args)

    async def schedules(self, verb: str, *args: Any, **options: Any) -> Any:
        return getattr(self.kit.schedules, verb)(*args, **options)

    async def opened(self) -> Register | None:
        return None if self.kit.transactions is None else self.kit.transactions.opened()


class Awaiting:
    """Through the running loop's store."""

    def __init__(self, kit: QueueKit) -> None:
        self.kit = kit

    async def enqueue(self, queue: str, task: str, data: object, **options: Any) -> JobHandle[JSON]:
        return await self.kit.queue(queue).aenqueue(task, data, **options)

    async def find(self, **where: Any) -> Page:
        return await self.kit.afind(**where)

    async def health(self, queue: str) -> QueueHealth:
        return (await self.kit.ahealth(queue))[queue]

    async def op(self, op: Callable[[Entry], Coroutine[Any, Any, T]]) -> T:
        return await self.kit.arun(op)

    async def do(self, handle: JobHandle[Any], verb: str, *args: Any) -> Any:
        return await getattr(handle, f"a{verb}")(*args)

    async def schedules(self, verb: str, *args: Any, **options: Any) -> Any:
        return await getattr(self.kit.schedules, f"a{verb}")(*args, **options)

    async def opened(self) -> Register | None:
        return None if self.kit.transactions is None else await self.kit.transactions.aopened()
