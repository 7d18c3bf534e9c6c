"""A task called directly: its function here and now, with a local context and injected arguments. Nothing is stored."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from queuekit.context import local_context, running
from queuekit.errors import ConfigError, InvalidOption
from queuekit.producing.definition import Definition
from queuekit.producing.inject import InjectMarker


def call_sync(definition: Definition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the function returns. Raises InvalidOption where an injected argument needs an event loop to be made."""
    fn = _function(definition)
    ctx = local_context(definition.name, definition.queue)
    given = dict(kwargs)
    for name, marker in _missing(definition, args, given).items():
        if inspect.isasyncgenfunction(marker.provider) or inspect.iscoroutinefunction(marker.provider):
            raise InvalidOption(
                f"calling {definition.name} here: argument {name!r} is made by a coroutine; pass it by name"
            )
        given[name] = marker.provider()
    with running(ctx):
        return fn(ctx, *args, **given) if definition.wants_context else fn(*args, **given)


async def call_async(definition: Definition, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What the coroutine returns."""
    fn = _function(definition)
    ctx = local_context(definition.name, definition.queue)
    given = dict(kwargs)
    async with AsyncExitStack() as stack:
        for name, marker in _missing(definition, args, given).items():
            given[name] = await _made(marker, stack)
        with running(ctx):
            return await (fn(ctx, *args, **given) if definition.wants_context else fn(*args, **given))


def _function(definition: Definition) -> Any:
    if definition.fn is None:
        raise ConfigError(f"task {definition.name!r} is declared only: its handler is not imported in this process")
    return definition.fn


def _missing(definition: Definition, args: tuple[Any, ...], given: Mapping[str, Any]) -> dict[str, InjectMarker]:
    """The injected arguments that the caller did not pass."""
    if not definition.injects or definition.fn is None:
        return {}
    ctx = (None,) if definition.wants_context else ()
    passed = inspect.signature(definition.fn).bind_partial(*ctx, *args, **given).arguments
    return {name: marker for name, marker in definition.injects.items() if name not in passed}


async def _made(marker: InjectMarker, stack: AsyncExitStack) -> Any:
    made = marker.provider()
    if inspect.isasyncgen(made):
        value = await anext(made)
        stack.push_async_callback(_finish, made)
        return value
    return await made if inspect.isawaitable(made) else made


async def _finish(generator: Any) -> None:
    """Let what stands behind the `yield` run."""
    try:
        await anext(generator)
    except StopAsyncIteration:
        return
    await generator.aclose()
