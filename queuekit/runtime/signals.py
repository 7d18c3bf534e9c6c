"""Signals of a process whose event loop must hear each of them once. Decision 155."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType


@contextmanager
def heard(handlers: Mapping[int, Callable[[], None]]) -> Iterator[None]:
    """Inside the block, call a handler on the running loop for each signal that comes; then signals do as by default.

    Nothing where signals cannot be heard: on another thread than the main one, or without Unix.
    """
    loop = asyncio.get_running_loop()
    installed = []
    for number, handler in handlers.items():
        with suppress(NotImplementedError, ValueError, RuntimeError):
            _hear(loop, number, handler)
            installed.append(number)
    try:
        yield
    finally:
        for number in installed:
            loop.remove_signal_handler(number)


def _hear(loop: asyncio.AbstractEventLoop, number: int, handler: Callable[[], None]) -> None:
    """Count where Python counts.

    uvloop calls what `add_signal_handler` was given a second time when the signal came just behind another one. So the
    loop's own handler only wakes the loop, also when another thread took the signal.
    """

    def came(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(handler)

    loop.add_signal_handler(number, _nothing)
    signal.signal(number, came)
    signal.siginterrupt(number, False)  # as the loops set it: `signal.signal` took it back


def _nothing() -> None:
    """Wake, that is all."""
