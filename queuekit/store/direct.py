"""Run a store coroutine without an event loop: over a blocking port it never suspends, so one step ends it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


def direct(call: Coroutine[Any, Any, R]) -> R:
    """The coroutine's result. Raises RuntimeError naming the method if it suspends: then its port is not blocking."""
    try:
        call.send(None)
    except StopIteration as stop:
        result: R = stop.value
        return result
    name = getattr(call, "__qualname__", repr(call))
    call.close()
    raise RuntimeError(f"{name} suspended on a blocking port: a store awaits nothing but its driver port")
