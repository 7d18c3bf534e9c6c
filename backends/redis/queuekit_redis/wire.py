"""Script calls as the bytes that go to a server. All but the arguments of a call is packed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import hiredis

from queuekit_redis.scripts import Script

_HEADS_MAX: Final = 10_000  # scripts times queues


def plainly(command: tuple[Any, ...]) -> bytes:
    """A command in the protocol, by Python alone: for hiredis before 2.2, which only reads."""
    parts = [b"*%d\r\n" % len(command)]
    for value in command:
        data = value if isinstance(value, bytes) else b"%d" % value
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


pack: Final[Callable[[tuple[Any, ...]], bytes]] = getattr(hiredis, "pack_command", plainly)


class Wire:
    """Packs EVALSHA calls; remembers the head of each script on each queue (packing twenty keys costs 5 us)."""

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, tuple[bytes, ...]], bytes] = {}

    def evalsha(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> list[bytes]:
        """The call, as a list for `send_packed_command`."""
        call = (script.sha, tuple(keys))
        head = self._heads.get(call)
        if head is None:
            if len(self._heads) > _HEADS_MAX:
                self._heads.clear()
            head = self._heads[call] = _tail(pack((b"EVALSHA", script.sha, len(keys), *keys)))
        return [b"*%d\r\n%b%b" % (3 + len(keys) + len(args), head, _tail(pack(tuple(args))) if args else b"")]


def _tail(packed: bytes) -> bytes:
    """Without the count in front."""
    return packed[packed.index(b"\r\n") + 2 :]
