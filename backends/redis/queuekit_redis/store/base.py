"""What the families of the Redis store share: port, keys, options. No verb of the seam lives here."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from queuekit import clock
from queuekit.domain.job import BATCH_MAX
from queuekit.errors import InvalidOption, QueueFull
from queuekit.store.registry import StoreOptions
from queuekit_redis.keys import Keys, queue_keys, store_keys
from queuekit_redis.port import RedisPort
from queuekit_redis.scripts import SCRIPTS, Script

_ANNOUNCED: Final = 60.0  # seconds after which a producer names its queue again: the list may have been lost


class Base:
    """One store over a port. `scripts` may be stand-ins, for a test on a server that is none."""

    def __init__(
        self,
        port: RedisPort,
        options: StoreOptions,
        *,
        scripts: Mapping[str, Script] = SCRIPTS,
    ) -> None:
        self._port = port
        self._options = options
        self._limit = options.payload_limit
        self._namespace = options.namespace
        self._shift: Callable[[], int] | None = None
        self._scripts = scripts
        self._store = store_keys(options.namespace)
        self._queues: dict[str, Keys] = {}
        self._ordered: dict[tuple[str, str], tuple[bytes, ...]] = {}
        self._announced: dict[str, float] = {}
        self._listed: dict[str, tuple[bytes, list[bytes]]] = {}  # of a mover's pages: behind which key, what comes next
        self._joined: weakref.WeakSet[Any] = weakref.WeakSet()  # callers' connection pools that lead to our server

    def move_clock(self, shift: Callable[[], int]) -> None:
        """For tests: what this store takes for the server's time is `shift()` ms ahead."""
        self._shift = shift

    def through(self, wrap: Callable[[Any], Any]) -> None:
        """For tests: call the server through `wrap(port)`."""
        self._port = wrap(self._port)

    def _keys(self, queue: str) -> Keys:
        keys = self._queues.get(queue)
        if keys is None:
            if len(self._queues) > 10_000:
                self._queues.clear()
            keys = self._queues[queue] = queue_keys(self._namespace, queue)
        return keys

    async def _call(self, name: str, queue: str, args: Sequence[bytes | int]) -> Any:
        """Run one script on a queue."""
        script = self._scripts[name]
        keys = self._ordered.get((name, queue))
        if keys is None:
            if len(self._ordered) > 10_000:
                self._ordered.clear()
            by_name = self._keys(queue)
            keys = self._ordered[name, queue] = tuple(by_name[key] for key in script.keys)
        return await self._port.script(script, keys, args)

    def _moved(self) -> int:
        """How far tests moved the clock."""
        return 0 if self._shift is None else self._shift()

    async def _announce(self, queues: Sequence[str], *, anew: bool = False) -> bool:
        """Put queues on the list of all, which is in another slot, before their first job. Answers whether it asked.

        They are known to be there for a minute, or as long as their first job does not come `anew`.
        """
        now = clock.monotonic()
        fresh = [queue for queue in queues if anew or now - self._announced.get(queue, -_ANNOUNCED) >= _ANNOUNCED]
        if fresh:
            await self._port.commands([(b"SADD", self._store["queues"], *fresh)])
            self._announced.update(dict.fromkeys(fresh, now))
        return bool(fresh)

    async def _announce_if_room(self, queues: Sequence[str], *, anew: bool = False) -> None:
        """On a full server people pause queues, move them away and look for workers: the list of all can wait."""
        with suppress(QueueFull):
            await self._announce(queues, anew=anew)


def bounded(many: int, what: str) -> None:
    """Raises InvalidOption for more than a call takes."""
    if many > BATCH_MAX:
        raise InvalidOption(f"{many} {what} in one call are over the limit of {BATCH_MAX}")
