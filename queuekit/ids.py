"""Identifiers: job ids (UUIDv7 in 22 sortable characters) and random nonces. Nothing here does I/O."""

from __future__ import annotations

import os
import threading

from queuekit import clock

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(a + b for a in _DIGITS for b in _DIGITS)  # two characters a step: 1.2 us an id instead of 2.3
_SPAN = len(_PAIRS)
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_lock = threading.Lock()
_last = [0, 0]  # ms, counter


def _unlocked() -> None:
    """A child forked while another thread held the lock would wait for ever."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlocked)


def job_id() -> str:
    """A new UUIDv7 as 22 base-62 characters whose byte order is the order of making, within this process."""
    now = clock.now_ms()
    with _lock:
        if now > _last[0]:
            _last[0], _last[1] = now, int.from_bytes(os.urandom(1))  # start low in 12 bits: room to count up
        else:
            _last[1] += 1
            if _last[1] > 0xFFF:
                _last[0], _last[1] = _last[0] + 1, 0
        ms, count = _last
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF
    return _text(ms << 80 | 0x7 << 76 | count << 64 | 0x2 << 62 | tail)


def made_at(job_id: str) -> int | None:
    """When an id of ours was made, in ms of its maker's clock; None for ids that people chose."""
    if len(job_id) != 22:
        return None
    number = 0
    for digit in job_id:
        value = _VALUES.get(digit)
        if value is None:
            return None
        number = number * 62 + value
    version, variant = number >> 76 & 0xF, number >> 62 & 0x3
    return number >> 80 if (version, variant) == (7, 2) and number < 1 << 128 else None


def nonce() -> str:
    """128 random bits as 22 characters: an actor's name, never derived from host or process."""
    return _text(int.from_bytes(os.urandom(16)))


def _text(number: int) -> str:
    parts = [""] * 11
    for i in range(10, -1, -1):
        number, rest = divmod(number, _SPAN)
        parts[i] = _PAIRS[rest]
    return "".join(parts)
