"""What every driver port has, whatever its driver: the only thing store code may await.

A port exists twice, blocking and asynchronous, with the same coroutine methods; the blocking one never suspends.
It bounds every call by its deadline and translates driver errors; it never repeats a call.
"""

from __future__ import annotations

from collections.abc import Callable
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
