"""What every driver port has, whatever its driver: the only thing store code may await.

A port exists twice, blocking and asynchronous, with the same coroutine methods; the blocking one never suspends.
It bounds every call by its deadline and translates driver errors; it never repeats a call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol


class Port(Protocol):
    @property
    def blocking(self) -> bool:
        """True where no method ever suspends."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""

    async def close(self) -> None:
        """Give back connections; idempotent."""


class Ported(Protocol):
    """A store that lets another port be put before its own, as `queuekit.testing.faults` does."""

    def through(self, wrap: Callable[[Any], Any]) -> None:
        """Call the driver through `wrap(port)` from now on; it has every method and attribute of the port."""


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
