"""An asynchronous connection as the port uses it: one question at a time, and the answers to it.

redis-py connects, logs in and names the settings. From there on `Line` drives the transport itself: a question leaves
at once and costs one future, where redis-py takes a task for each write and a time-out for each read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import hiredis
from redis import exceptions as rx

from queuekit.store.direct import close_without_loop

_MORE: Final = object()  # what the reader answers while a reply is incomplete
_Push: Final = getattr(hiredis, "PushNotification", ())  # RESP3, hiredis 3.2: not the answer to anything


class Talks(Protocol):
    """A connection that was opened."""

    def usable(self) -> bool:
        """Whether it may be used: as far as the event loop knows it is open, and nothing lies unread."""

    async def ask(self, packed: Sequence[bytes], replies: int = 1) -> list[Any]:
        """The replies, errors among them. Raises what redis-py raises where there are none; then it must be closed."""
        ...

    def pack(self, *commands: Sequence[bytes | int | str]) -> Sequence[bytes]:
        """Commands as bytes."""
        ...

    async def close(self) -> None:
        """Close it at once."""


async def opened(connection: Any) -> Talks:
    """Connect. Raises what redis-py raises; then nothing is left open."""
    line = await spoken(connection)
    reader, writer = getattr(connection, "_reader", None), getattr(connection, "_writer", None)
    if not (isinstance(reader, asyncio.StreamReader) and isinstance(writer, asyncio.StreamWriter)):
        return line  # a test's stand-in
    return line if getattr(reader, "_buffer", b"") else Line(connection, writer.transport)


async def spoken(connection: Any) -> Spoken:
    """Connect, and leave the transport to redis-py: for a subscription."""
    try:
        await connection.connect()
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return Spoken(connection)


class Line(asyncio.Protocol):
    """One transport. `_waiter` is there while a question is under way."""

    def __init__(self, connection: Any, transport: Any) -> None:
        self._connection = connection
        self._transport = transport
        self._timeout: float | None = connection.socket_timeout
        self._loop = asyncio.get_running_loop()
        self._parser = hiredis.Reader(
            protocolError=rx.InvalidResponse,
            notEnoughData=_MORE,
            replyError=connection._parser.parse_error,  # noqa: SLF001  its errors by class; the same in redis-py 5 to 8
        )
        self._waiter: asyncio.Future[list[Any]] | None = None
        self._wanted = 0
        self._replies: list[Any] = []
        self._spoiled = False  # closed, or something came that nobody had asked for
        self._deadline = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=0)  # uvloop then writes at once, not when its turn ends

    def usable(self) -> bool:
        return not (self._spoiled or self._transport.is_closing())

    def pack(self, *commands: Sequence[bytes | int | str]) -> Sequence[bytes]:
        packed: Sequence[bytes] = self._connection.pack_commands(commands)
        return packed

    async def ask(self, packed: Sequence[bytes], replies: int = 1) -> list[Any]:
        if not self.usable():
            raise rx.ConnectionError("Connection closed by server.")
        self._wanted, self._replies = replies, []
        waiter: asyncio.Future[list[Any]] = self._loop.create_future()
        self._waiter = waiter
        self._transport.write(packed[0] if len(packed) == 1 else b"".join(packed))
        if self._timeout is not None:
            self._allow(self._timeout)
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout, self._look)
        try:
            return await waiter
        finally:
            self._waiter = None

    async def close(self) -> None:
        self._end(rx.ConnectionError("Connection closed."))
        await self._connection.disconnect(nowait=True)

    def _allow(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        self._unsent = self._transport.get_write_buffer_size()

    def _look(self) -> None:
        """The earliest moment at which a question may be overdue. A timer for each question would cost more."""
        self._timer = None
        if self._waiter is None or self._waiter.done() or self._timeout is None:
            return
        left = self._deadline - self._loop.time()
        if left <= 0:
            if self._transport.get_write_buffer_size() >= self._unsent:
                self._end(rx.TimeoutError("Timeout reading from socket"))
                return
            self._allow(self._timeout)  # large, and still leaving
            left = self._timeout
        self._timer = self._loop.call_later(left, self._look)

    def _end(self, error: rx.RedisError) -> None:
        self._spoiled = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    # ------------------------------------------------------------ called by the transport
    def data_received(self, data: bytes) -> None:
        parser, waiter = self._parser, self._waiter
        parser.feed(data)
        if waiter is None or waiter.done():
            self._spoiled = True  # nobody asked, or nobody waits any more
            return
        try:
            while (reply := parser.gets(False)) is not _MORE:
                if _Push and isinstance(reply, _Push):
                    continue
                self._replies.append(reply)
                if len(self._replies) == self._wanted:
                    waiter.set_result(self._replies)
                    self._spoiled = parser.has_data()
                    return
        except rx.RedisError as error:
            self._end(error)

    def eof_received(self) -> bool:
        self._end(rx.ConnectionError("Connection closed by server."))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._end(rx.ConnectionError(f"{error}" if error else "Connection closed by server."))


class Spoken:
    """A connection that redis-py drives: a subscription, or a test's stand-in."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def usable(self) -> bool:
        """Looked at without waiting: redis-py before 8 looks with a time-out of zero, which can swallow a cancel."""
        stream = getattr(self._connection, "_reader", None)
        return stream is not None and not stream.at_eof()

    def pack(self, *commands: Sequence[bytes | int | str]) -> Sequence[bytes]:
        packed: Sequence[bytes] = self._connection.pack_commands(commands)
        return packed

    async def ask(self, packed: Sequence[bytes], replies: int = 1) -> list[Any]:
        await self._connection.send_packed_command(packed)
        answers: list[Any] = []
        for _ in range(replies):
            try:
                answers.append(await self._connection.read_response(disable_decoding=True))
            except rx.ResponseError as error:
                answers.append(error)
        return answers

    async def heard(self, seconds: float) -> None:
        """Returns at the next message, or after `seconds`."""
        with suppress(TimeoutError):
            await self._connection.read_response(disable_decoding=True, timeout=seconds, disconnect_on_error=False)

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


def end_without_loop(connection: Any) -> None:
    """Close a connection of redis-py whose event loop has been closed."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        connection._reader = connection._writer = None  # noqa: SLF001  else its finalizer says that it was left open
        close_without_loop(writer.transport)


def let_go_of_copy(connection: Any) -> None:
    """In a forked child: /dev/null in the place of a connection's socket. Its number stays taken: whoever still has it
    would close another file that got it."""
    writer = getattr(connection, "_writer", None)
    sock = getattr(connection, "_sock", None) if writer is None else writer.get_extra_info("socket")
    number = -1 if sock is None else int(sock.fileno())
    if number >= 0:
        instead = os.open(os.devnull, os.O_RDWR)
        os.dup2(instead, number, inheritable=False)
        os.close(instead)
