"""What is done without an event loop: a store's coroutine, which over a blocking port never suspends, so that one step
ends it; and the end of what a loop left behind that was closed.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
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


def close_without_loop(transport: Any) -> None:
    """Close the socket of an asyncio transport whose loop has been closed: its own `close` would need that loop.

    A loop that closes its transports itself, as uvloop does, has none of what is asked for here.
    """
    if hasattr(transport, "_ssl_protocol"):
        transport._closed = True  # noqa: SLF001  else its finalizer says that it was left open
        transport = transport._ssl_protocol._transport  # noqa: SLF001
    lost = getattr(transport, "_call_connection_lost", None)
    if lost is not None and getattr(transport, "_sock", None) is not None:
        transport._protocol_connected = False  # noqa: SLF001  nobody is there to be told
        transport._closing = True  # noqa: SLF001  else a stream over it says that it was left open
        with suppress(Exception):
            lost(None)
