"""A port over a Redis Cluster: one port for each primary, found by the slot of a call's first key.

All keys of a queue share a slot, so that a call is answered by one server; what goes to several is sent one by one.
While a slot moves, its scripts are refused by both servers (TRYAGAIN): some key is always missing. Callers repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from queuekit.errors import StoreUnavailable
from queuekit_redis.port import RedisPort
from queuekit_redis.replies import translate
from queuekit_redis.scripts import Script

Address: TypeAlias = "tuple[str, int]"
_TURN: Final = 1.0  # seconds that a wait for several queues blocks on one of them


class ClusterPort:
    """Routes to the ports that `make` gives for an address; asks `seeds`, in turn, who serves what."""

    def __init__(self, seeds: Sequence[Address], make: Callable[[Address], RedisPort], where: str) -> None:
        self._seeds = list(seeds)
        self._make = make
        self._ports: dict[Address, RedisPort] = {}
        self._slots: list[tuple[int, int, Address]] = []
        self._turn = 0
        self.where = where
        self._clock = make(self._seeds[0])  # for sleep and monotonic; connects to nothing by itself

    @property
    def blocking(self) -> bool:
        return self._clock.blocking

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def script(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> Any:
        port = await self._port(keys[0])
        try:
            return await port.script(script, keys, args)
        except StoreUnavailable as error:
            if not self._outdated(error):
                raise
        return await (await self._port(keys[0])).script(script, keys, args)  # refused, so nothing has run yet

    async def commands(self, commands: Sequence[Sequence[bytes | int | str]]) -> list[Any]:
        replies: list[Any] = []
        for command in commands:
            key = command[1] if len(command) > 1 and isinstance(command[1], bytes) else b""
            try:
                replies += await (await self._port(key)).commands([command])
            except StoreUnavailable as error:
                replies.append(await self._redirected(error, key, command))
        return replies

    async def _redirected(self, error: StoreUnavailable, key: bytes, command: Sequence[bytes | int | str]) -> Any:
        """The answer from the server that a refusal names; that refusal again where it names none."""
        cause = error.__cause__
        if isinstance(cause, AskError) and not isinstance(cause, MovedError) and cause.host:
            _, reply = await self._at((cause.host, int(cause.port))).commands([(b"ASKING",), command])
            return reply
        if not self._outdated(error):
            raise error
        return (await (await self._port(key)).commands([command]))[0]

    async def block_pop(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        """One key a call: each is looked at, then one of them, another each time, is waited for."""
        deadline = self.monotonic() + seconds
        while True:
            left = deadline - self.monotonic()
            if len(keys) > 1:
                for key in keys:
                    (popped,) = await self.commands([(b"ZPOPMIN", key)])
                    if popped:
                        return key
                left = min(left, _TURN)
            self._turn += 1
            found = await self._block(keys[self._turn % len(keys)], left)
            if found is not None or self.monotonic() >= deadline:
                return found

    async def _block(self, key: bytes, seconds: float) -> bytes | None:
        try:
            return await (await self._port(key)).block_pop([key], seconds)
        except StoreUnavailable as error:
            if not self._outdated(error):
                raise
            return None

    async def listen(self, channel: bytes) -> Any:
        port = await self._port(channel)
        return port, await port.listen(channel)

    async def heard(self, subscription: Any, seconds: float) -> None:
        port, line = subscription
        await port.heard(line, seconds)

    async def hang_up(self, subscription: Any) -> None:
        port, line = subscription
        await port.hang_up(line)

    async def close(self) -> None:
        ports, self._ports, self._slots = list(self._ports.values()), {}, []
        for port in ports:
            await port.close()

    def abandon(self) -> None:
        ports, self._ports, self._slots = list(self._ports.values()), {}, []
        for port in ports:
            port.abandon()

    def _outdated(self, error: StoreUnavailable) -> bool:
        """Whether the call went to the wrong server. The map is asked for anew then, and after each failure."""
        self._slots = []
        return isinstance(error.__cause__, MovedError)

    async def _port(self, key: bytes) -> RedisPort:
        if not self._slots:
            await self._ask()
        slot = key_slot(key)
        for first, last, address in self._slots:
            if first <= slot <= last:
                return self._at(address)
        raise StoreUnavailable(f"Redis Cluster at {self.where}: nobody serves slot {slot}", outcome="refused")

    def _at(self, address: Address) -> RedisPort:
        port = self._ports.get(address)
        if port is None:
            port = self._ports[address] = self._make(address)
        return port

    async def _ask(self) -> None:
        """The map of slots, from the first server that answers."""
        failure: StoreUnavailable | None = None
        for address in dict.fromkeys([*self._seeds, *self._ports]):
            try:
                (rows,) = await self._at(address).commands([(b"CLUSTER", "SLOTS")])
            except StoreUnavailable as error:
                failure = error
                continue
            self._slots = [(row[0], row[1], (row[2][0].decode() or address[0], int(row[2][1]))) for row in rows]
            return
        raise failure or translate(ConnectionError("no address"), self.where, sent=False)
