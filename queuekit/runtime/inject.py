"""Values for `Inject(...)` parameters: made for one job or once a worker, and closed in reverse order afterwards."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import Any

from queuekit.producing.inject import InjectMarker


class Injector:
    """The worker-scoped values of one worker, and how to make job-scoped ones.

    Coroutine and async generator providers run on the event loop; plain ones run where the handler runs, so that a
    session opened for a thread is opened in that thread.
    """

    def __init__(self) -> None:
        self._shared: dict[Callable[..., Any], Any] = {}
        self._async_stack = AsyncExitStack()
        self._stack = ExitStack()
        self._making = asyncio.Lock()
        self._guard = threading.Lock()

    async def on_loop(
        self, markers: Mapping[str, InjectMarker], stack: AsyncExitStack, *, in_thread: bool = False
    ) -> dict[str, Any]:
        """Values of the providers that run on the loop; for a handler in a thread only the asynchronous ones."""
        values: dict[str, Any] = {}
        for name, marker in markers.items():
            if in_thread and not _is_async(marker.provider):
                continue
            if marker.scope == "worker":
                values[name] = await self._once(marker.provider)
            else:
                values[name] = await _enter(marker.provider, stack)
        return values

    def in_thread(self, markers: Mapping[str, InjectMarker], stack: ExitStack) -> dict[str, Any]:
        """Values of the plain providers, for a handler in this thread."""
        values: dict[str, Any] = {}
        for name, marker in markers.items():
            if _is_async(marker.provider):
                continue
            if marker.scope == "worker":
                values[name] = self._shared_plain(marker.provider)
            else:
                values[name] = _enter_plain(marker.provider, stack)
        return values

    async def close(self) -> None:
        """Close the worker-scoped values."""
        try:
            await self._async_stack.aclose()
        finally:
            self._stack.close()

    async def _once(self, provider: Callable[..., Any]) -> Any:
        async with self._making:
            if not _is_async(provider):
                return self._shared_plain(provider)
            if provider not in self._shared:
                self._shared[provider] = await _enter(provider, self._async_stack)
            return self._shared[provider]

    def _shared_plain(self, provider: Callable[..., Any]) -> Any:
        with self._guard:
            if provider not in self._shared:
                self._shared[provider] = _enter_plain(provider, self._stack)
            return self._shared[provider]


def _is_async(provider: Callable[..., Any]) -> bool:
    return inspect.isasyncgenfunction(provider) or inspect.iscoroutinefunction(provider)


async def _enter(provider: Callable[..., Any], stack: AsyncExitStack) -> Any:
    if inspect.isasyncgenfunction(provider):
        make: Callable[..., AsyncIterator[Any]] = provider
        return await stack.enter_async_context(asynccontextmanager(make)())
    if inspect.iscoroutinefunction(provider):
        return await provider()
    if inspect.isgeneratorfunction(provider):
        plain: Callable[..., Iterator[Any]] = provider
        return stack.enter_context(contextmanager(plain)())
    return provider()


def _enter_plain(provider: Callable[..., Any], stack: ExitStack) -> Any:
    if inspect.isgeneratorfunction(provider):
        make: Callable[..., Iterator[Any]] = provider
        return stack.enter_context(contextmanager(make)())
    return provider()
