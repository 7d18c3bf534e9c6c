"""A driven connection: what it does when the server is slow, silent, talks without being asked, or goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import hiredis
import pytest
import redis.asyncio
from queuekit_redis.line import Line, Spoken, opened
from redis import exceptions as rx

from queuekit import clock

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
WAIT = 10.0  # seconds, for what comes at once


async def no_handshake(made: Any) -> None:
    made._parser.on_connect(made)


def connection(port: int, **more: Any) -> Any:
    return redis.asyncio.Connection(
        **{"host": "127.0.0.1", "port": port, "protocol": 2, "redis_connect_func": no_handshake, **more}
    )


async def spoiled(line: Any) -> None:
    """Until the loop has seen it."""
    loop = asyncio.get_running_loop()
    until = loop.time() + WAIT
    while line.usable() and loop.time() < until:  # noqa: ASYNC110  no event tells it
        await asyncio.sleep(0)
    assert not line.usable()


@asynccontextmanager
async def answered_by(answer: Answer, **more: Any) -> AsyncIterator[Any]:
    """A line to a server that does what `answer` says."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = await opened(connection(server.sockets[0].getsockname()[1], **more))
    assert isinstance(line, Line)
    try:
        yield line
    finally:
        await line.close()
        await asyncio.wait_for(ended.wait(), 5)
        server.close()
        await server.wait_closed()


PING = [b"*1\r\n$4\r\nPING\r\n"]


async def test_questions_get_their_answers_in_order(redis_url: str) -> None:
    line = await opened(connection(_port(redis_url)))
    assert isinstance(line, Line)
    assert await line.ask(line.pack((b"PING",))) == [b"PONG"]
    many = [(b"ECHO", b"%d" % n) for n in range(100)]
    assert await line.ask(line.pack(*many), 100) == [b"%d" % n for n in range(100)]
    large = b"x" * 3_000_000
    assert await line.ask(line.pack((b"ECHO", large))) == [large]
    refused, fine = await line.ask(line.pack((b"NOSUCH",), (b"PING",)), 2)
    assert isinstance(refused, rx.ResponseError)
    assert fine == b"PONG"
    assert line.usable()
    await line.close()
    assert not line.usable()
    with pytest.raises(rx.ConnectionError):
        await line.ask(PING)


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        for byte in b"*2\r\n$3\r\nabc\r\n:7\r\n":
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        await reader.read()

    async with answered_by(answer) as line:
        assert await line.ask(PING) == [[b"abc", 7]]
        assert line.usable()


async def test_a_silent_server_is_given_up_after_the_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answered_by(answer, socket_timeout=0.2) as line:
        start = clock.monotonic()
        with pytest.raises(rx.TimeoutError):
            await line.ask(PING)
        assert 0.15 < clock.monotonic() - start < 2
        assert not line.usable()


async def test_a_second_question_has_the_whole_time_for_itself() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            await reader.readuntil(b"PING\r\n")
            await asyncio.sleep(0.8)
            writer.write(b"+PONG\r\n")
        await reader.read()

    async with answered_by(answer, socket_timeout=2) as line:
        for _ in range(3):
            assert await line.ask(PING) == [b"PONG"]


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_an_answer_that_came_while_the_loop_was_held_up_counts(redis_url: str, kind: str) -> None:
    async def main() -> None:
        line = await opened(connection(_port(redis_url), socket_timeout=0.1))
        asked = asyncio.create_task(line.ask(PING))
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251  a handler that blocks the loop, well beyond the time-out
        assert await asked == [b"PONG"]
        assert line.usable()
        await line.close()

    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


async def test_a_large_question_has_time_as_long_as_it_leaves() -> None:
    size = 30_000_000

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = size
        while left > 0:
            left -= len(await reader.readexactly(min(left, 3_000_000)))
            await asyncio.sleep(0.2)
        writer.write(b"+OK\r\n")
        await reader.read()

    async with answered_by(answer, socket_timeout=1.5) as line:
        start = clock.monotonic()
        assert await line.ask([b"x" * size]) == [b"OK"]
        assert clock.monotonic() - start > 1.5


async def test_a_server_that_goes_away_fails_the_question() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")

    async with answered_by(answer) as line:
        with pytest.raises(rx.ConnectionError):
            await line.ask(PING)
        assert not line.usable()


async def test_what_nobody_asked_for_spoils_the_connection() -> None:
    said = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n")
        await said.wait()
        writer.write(b"+PONG\r\n")
        await reader.read()

    async with answered_by(answer) as line:
        assert await line.ask(PING) == [b"PONG"]
        said.set()
        await spoiled(line)


async def test_two_answers_to_one_question_spoil_the_connection() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"+PONG\r\n+PONG\r\n")
        await reader.read()

    async with answered_by(answer) as line:
        assert await line.ask(PING) == [b"PONG"]
        assert not line.usable()


async def test_nonsense_is_an_error() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"nonsense\r\n")
        await reader.read()

    async with answered_by(answer) as line:
        with pytest.raises(rx.InvalidResponse):
            await line.ask(PING)
        assert not line.usable()


@pytest.mark.skipif(not hasattr(hiredis, "PushNotification"), reason="before 3.2 hiredis gives news as plain lists")
async def test_news_in_the_third_protocol_are_no_answer() -> None:
    """We speak the second protocol, in which no news come; this is for a client that somebody hands in."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b">2\r\n$6\r\nMOVING\r\n:1\r\n+PONG\r\n")
        await reader.read()

    async with answered_by(answer) as line:
        assert await line.ask(PING) == [b"PONG"]


async def test_a_cancelled_question_leaves_nothing_for_the_next() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        await cancelled.wait()
        writer.write(b"+PONG\r\n")
        await reader.read()

    cancelled = asyncio.Event()
    async with answered_by(answer) as line:
        asked = asyncio.create_task(line.ask(PING))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        cancelled.set()
        await spoiled(line)


async def test_what_is_no_transport_is_left_to_the_driver() -> None:
    fakeredis = pytest.importorskip("fakeredis")
    client = fakeredis.FakeAsyncRedis()
    line = await opened(client.connection_pool.make_connection())
    assert isinstance(line, Spoken)
    assert await line.ask(line.pack((b"PING",))) == [b"PONG"]
    (refused,) = await line.ask(line.pack((b"NOSUCH",)))
    assert isinstance(refused, rx.ResponseError)
    await line.close()
    await client.aclose()
