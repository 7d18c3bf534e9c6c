"""What the store awaits: a server over redis-py, blocking or asynchronous, with the same coroutine methods.

Each call is sent once: redis-py's own retries run a script again after a lost reply, so connections are driven
directly. A connection is in one call only; what fails in the middle of one is closed, never used again.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
import weakref
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeVar

from redis.exceptions import NoScriptError, RedisError, ResponseError

from queuekit import clock
from queuekit.errors import ConfigError, NotReplicated
from queuekit.store.port import Port
from queuekit_redis.line import Talks, end_without_loop, let_go_of_copy, opened, spoken
from queuekit_redis.replies import translate
from queuekit_redis.scripts import READ_ONLY, SETTLED, Script
from queuekit_redis.wire import Wire

BLOCK_MAX: Final = 10.0  # seconds a blocking pop lasts; a wait may return early
BLOCK_MORE: Final = 5.0  # a connection that blocks may be silent this much longer
SETTLE_MAX: Final = 1000  # ms that a mover's call waits for replicas; they may be behind, so it answers then
_INFO: Final = (b"INFO", b"replication")
_IDLE: Final = 1.0  # seconds after which a connection is looked at before it is used again
_REPLICA: Final = re.compile(rb"^slave\d+:.*\bstate=online\b.*\blag=(\d+)", re.MULTILINE)
_SILENT: Final = 10  # seconds after which a replica that said nothing is not waited for
T = TypeVar("T")
_dropped: list[object] = []  # what a forked child inherited: kept, so that nothing closes it
_all: Final[weakref.WeakSet[Pooled]] = weakref.WeakSet()


class RedisPort(Port, Protocol):
    """The driver port of the Redis store."""

    where: str  # a redacted address, for messages

    async def script(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> Any:
        """One EVALSHA; an unknown script is sent whole, once."""

    async def commands(self, commands: Sequence[Sequence[bytes | int | str]]) -> list[Any]:
        """Plain commands, one round trip where they go to one server."""
        ...

    async def block_pop(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        """The first of these sorted sets that had a member, now without it; None after `seconds`."""

    async def listen(self, channel: bytes) -> Any:
        """A subscription, to be given to `heard` and `hang_up`."""

    async def heard(self, subscription: Any, seconds: float) -> None:
        """Returns at the next message, or after `seconds`."""

    async def hang_up(self, subscription: Any) -> None:
        """End a subscription."""

    def abandon(self) -> None:
        """`close` where the event loop of the connections has been closed."""


class Pooled:
    """What both ports over one server's connection pool share: making, keeping and dropping connections."""

    def __init__(self, client: Any, where: str, replicas_ms: int = 0, *, sentinels: Sequence[Any] = ()) -> None:
        self._client = client  # its pool must not be collected
        self._pool = client.connection_pool
        self.where = where
        self._sentinels = sentinels  # clients of our own, closed with the port
        self._replicas_ms = replicas_ms
        self._pid = os.getpid()
        self._free: list[tuple[Any, float]] = []
        self._blocking: list[Any] = []
        self._made: weakref.WeakSet[Any] = weakref.WeakSet()  # every connection that may be open, lent or not
        self._wire = Wire()
        _all.add(self)

    def _spare(self) -> tuple[Any, float] | None:
        if self._pid != os.getpid():  # the parent still uses these connections: forget them without closing
            _dropped.extend((self._free, self._blocking))
            self._free, self._blocking, self._pid = [], [], os.getpid()
        try:
            return self._free.pop()
        except IndexError:
            return None

    def _spare_blocking(self) -> Any:
        self._free += [spare] if (spare := self._spare()) else []  # the look at the process id
        return self._blocking.pop() if self._blocking else None

    def _new(self, **more: Any) -> Any:
        try:
            made = self._pool.connection_class(**{**self._pool.connection_kwargs, **more})
            self._made.add(made)
            return made
        except TypeError as error:
            raise ConfigError(f"{self.where} carries an option that redis-py does not know: {error}") from error

    def _new_blocking(self) -> Any:
        return self._new(socket_timeout=BLOCK_MAX + BLOCK_MORE)

    def _keep(self, connection: Any) -> None:
        self._free.append((connection, clock.monotonic()))

    def _waits(self, script: Script) -> bool:
        return self._replicas_ms > 0 and script.name not in READ_ONLY

    def _confirmed(self, replicas: int) -> None:
        if replicas < 1:
            raise NotReplicated(f"Redis at {self.where}: written, but no replica confirmed in {self._replicas_ms} ms")

    def _settling(self, info: Any) -> tuple[bytes, int, int] | None:
        """The command that waits for all replicas which this INFO says follow; None where none does, or no INFO."""
        lags = [] if isinstance(info, Exception) else _REPLICA.findall(info)
        following = sum(int(lag) <= _SILENT for lag in lags)
        timeout = self._pool.connection_kwargs.get("socket_timeout") or 2 * SETTLE_MAX
        return (b"WAIT", following, int(min(SETTLE_MAX, timeout * 500))) if following else None

    def _answers(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, self.where, sent=True) from reply
        return replies

    def _given_back(self) -> list[Any]:
        """The connections to close; none of a parent process."""
        mine, self._free, self._blocking = [*(c for c, _ in self._free), *self._blocking], [], []
        if self._pid != os.getpid():
            _dropped.append(mine)
            return []
        return mine

    def abandon(self) -> None:
        """`close` where the event loop of the connections has been closed: only their sockets are left to close."""
        self._given_back()
        for connection in list(self._made):
            end_without_loop(connection)

    def inherited(self) -> None:
        """In a forked child: keep no copy of the parent's sockets, or the server would not see them close.

        Nothing is closed as such: that would say good-bye on the parent's connection, or take it from its loop.
        """
        for connection in list(self._made):
            let_go_of_copy(connection)
        self._made.clear()


class BlockingPort(Pooled):
    """Over redis.Redis; no method ever suspends. Threads may share it."""

    blocking = True

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  no loop runs below a blocking port

    def monotonic(self) -> float:
        return clock.monotonic()

    def _take(self) -> Any:
        spare = self._spare()
        if spare is not None and clock.monotonic() - spare[1] < _IDLE:
            return spare[0]
        connection = spare[0] if spare else self._new()
        self._ready(connection)
        return connection

    def _ready(self, connection: Any) -> None:
        """Connected, and not closed by the server while it lay idle."""
        try:
            connection.connect()
            try:
                if not connection.can_read(0):
                    return
            except (RedisError, OSError):
                pass  # closed: a new connection decides
            connection.disconnect()
            connection.connect()
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise translate(error, self.where, sent=False) from error

    def _ask(self, connection: Any, *command: Any) -> Any:
        """One command. A refusal (ResponseError) leaves the connection usable, anything else closes it."""
        return self._tell(connection, connection.pack_command(*command))

    def _tell(self, connection: Any, packed: Any) -> Any:
        try:
            connection.send_packed_command(packed)
            return connection.read_response(disable_decoding=True)
        except ResponseError:
            raise
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise translate(error, self.where, sent=True) from error
        except BaseException:
            connection.disconnect()
            raise

    async def script(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> Any:
        connection = self._take()
        try:
            try:
                reply = self._tell(connection, self._wire.evalsha(script, keys, args))
            except NoScriptError:
                reply = self._ask(connection, b"EVAL", script.text, len(keys), *keys, *args)
            replicas = self._ask(connection, b"WAIT", 1, self._replicas_ms) if self._waits(script) else 1
            if script.name in SETTLED:
                self._settle(connection)
        except ResponseError as error:
            self._keep(connection)
            raise translate(error, self.where, sent=True) from error
        self._keep(connection)
        self._confirmed(replicas)
        return reply

    def _settle(self, connection: Any) -> None:
        with suppress(ResponseError):  # a user who may not ask this
            command = self._settling(self._ask(connection, *_INFO))
            if command is not None:
                self._ask(connection, *command)

    async def commands(self, commands: Sequence[Sequence[bytes | int | str]]) -> list[Any]:
        connection = self._take()
        replies: list[Any] = []
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(connection.read_response(disable_decoding=True))
                except ResponseError as error:
                    replies.append(error)
        except (RedisError, OSError) as error:
            connection.disconnect()
            raise translate(error, self.where, sent=True) from error
        except BaseException:
            connection.disconnect()
            raise
        self._keep(connection)
        return self._answers(replies)

    async def block_pop(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        connection = self._spare_blocking() or self._new_blocking()
        self._ready(connection)
        try:
            reply = self._ask(connection, b"BZPOPMIN", *keys, _block(seconds))
        except ResponseError as error:
            self._blocking.append(connection)
            raise translate(error, self.where, sent=True) from error
        self._blocking.append(connection)
        return reply[0] if reply else None

    async def listen(self, channel: bytes) -> Any:
        connection = self._new_blocking()
        self._ready(connection)
        try:
            self._ask(connection, b"SUBSCRIBE", channel)
        except ResponseError as error:
            connection.disconnect()
            raise translate(error, self.where, sent=True) from error
        return connection

    async def heard(self, subscription: Any, seconds: float) -> None:
        try:
            if subscription.can_read(timeout=seconds):
                subscription.read_response(disable_decoding=True)
        except (RedisError, OSError) as error:
            raise translate(error, self.where, sent=True) from error

    async def hang_up(self, subscription: Any) -> None:
        subscription.disconnect()

    async def close(self) -> None:
        for connection in self._given_back():
            connection.disconnect()
        for sentinel in self._sentinels:
            sentinel.close()


class AsyncPort(Pooled):
    """Over redis.asyncio.Redis, for one event loop. A cancelled call closes its connection."""

    blocking = False

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def monotonic(self) -> float:
        return clock.monotonic()

    async def _take(self) -> Talks:
        """A connection that is ready, and was not closed by the server while it lay idle."""
        while (spare := self._spare()) is not None:
            line: Talks = spare[0]
            if line.usable():
                return line
            await line.close()
        return await self._opened(opened(self._new()))

    async def _opened(self, opening: Awaitable[T]) -> T:
        try:
            return await opening
        except (RedisError, OSError) as error:
            raise translate(error, self.where, sent=False) from error

    async def _ask(self, line: Talks, packed: Sequence[bytes], replies: int = 1) -> list[Any]:
        """What the server says, refusals among it. What fails in the middle of a call closes the connection."""
        try:
            answers = await line.ask(packed, replies)
            for answer in answers:
                if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
                    raise answer
        except (RedisError, OSError) as error:
            await line.close()
            raise translate(error, self.where, sent=True) from error
        except BaseException:
            await line.close()
            raise
        return answers

    async def script(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int]) -> Any:
        line = await self._take()
        reply = (await self._ask(line, self._wire.evalsha(script, keys, args)))[0]
        if isinstance(reply, NoScriptError):
            reply = (await self._ask(line, line.pack((b"EVAL", script.text, len(keys), *keys, *args))))[0]
        if script.name in SETTLED and not isinstance(reply, ResponseError):
            command = self._settling((await self._ask(line, line.pack(_INFO)))[0])
            if command is not None:
                await self._ask(line, line.pack(command))  # what it says matters to nobody
        if self._replicas_ms and self._waits(script) and not isinstance(reply, ResponseError):
            (replicas,) = await self._ask(line, line.pack((b"WAIT", 1, self._replicas_ms)))
            self._keep(line)
            self._answers([replicas])
            self._confirmed(replicas)
            return reply
        self._keep(line)
        if isinstance(reply, ResponseError):
            raise translate(reply, self.where, sent=True) from reply
        return reply

    async def commands(self, commands: Sequence[Sequence[bytes | int | str]]) -> list[Any]:
        line = await self._take()
        replies = await self._ask(line, line.pack(*commands), len(commands))
        self._keep(line)
        return self._answers(replies)

    async def block_pop(self, keys: Sequence[bytes], seconds: float) -> bytes | None:
        line: Talks = self._spare_blocking() or await self._opened(opened(self._new_blocking()))
        if not line.usable():
            await line.close()
            line = await self._opened(opened(self._new_blocking()))
        replies = await self._ask(line, line.pack((b"BZPOPMIN", *keys, _block(seconds))))
        self._blocking.append(line)
        (reply,) = self._answers(replies)
        return reply[0] if reply else None

    async def listen(self, channel: bytes) -> Any:
        line = await self._opened(spoken(self._new_blocking()))
        (reply,) = await self._ask(line, line.pack((b"SUBSCRIBE", channel)))
        if isinstance(reply, ResponseError):
            await line.close()
            raise translate(reply, self.where, sent=True) from reply
        return line

    async def heard(self, subscription: Any, seconds: float) -> None:
        try:
            await subscription.heard(seconds)
        except (RedisError, OSError) as error:
            raise translate(error, self.where, sent=True) from error

    async def hang_up(self, subscription: Any) -> None:
        await subscription.close()

    async def close(self) -> None:
        for line in self._given_back():
            await line.close()
        for sentinel in self._sentinels:
            await sentinel.aclose()


def _in_child() -> None:
    for port in list(_all):
        port.inherited()


os.register_at_fork(after_in_child=_in_child)


def _block(seconds: float) -> str:
    """The time-out of a blocking pop: 0 would block for ever, and so does 0.001 on Redis 6.2, which cuts it to 0."""
    return f"{min(max(seconds, 0.01), BLOCK_MAX):.3f}"
