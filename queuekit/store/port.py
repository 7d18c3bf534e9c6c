"""What every driver port has, whatever its driver: the only thing store code may await.

A port exists twice, blocking and asynchronous, with the same coroutine methods; the blocking one never suspends.
It bounds every call by its deadline and translates driver errors; it never repeats a call.
"""

from __future__ import annotations

from typing import Protocol


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
