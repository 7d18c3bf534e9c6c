"""A TCP proxy before a real server, for what happens below a driver: lost replies, cuts, resets, silence, tiny pieces.

It knows no protocol: a reply is what the server sends between two requests of a connection. Faults of whole driver
calls, exact and without a network, are in `queuekit.testing.faults`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

HOST: Final = "127.0.0.1"
_CHUNK: Final = 65536
_LINGER_NONE: Final = struct.pack("ii", 1, 0)  # close at once, with a RST


@dataclass(slots=True)
class _Rule:
    """What becomes of the n-th request that contains some bytes, or of its reply."""

    to: bytes
    left: int  # such requests until it is hit
    keep: int | None  # bytes that pass before the cut; None: the whole reply is swallowed
    request: bool = False  # the request itself is cut


@dataclass(slots=True, eq=False)
class _Link:
    """One connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asked: bool = False  # something was sent since the last reply
    rule: _Rule | None = None  # of the reply that comes next
    swallow: bool = False  # the rest of this reply goes nowhere
    tasks: tuple[asyncio.Task[None], ...] = ()


class Proxy:
    """Listens on a free loopback port, in a thread of its own, from `with` to its end.

    Attributes say what happens to everything from now on, methods to one reply. Both may be used from any thread.
    """

    def __init__(self, port: int, host: str = HOST) -> None:
        self._upstream = (host, port)
        self.port = 0
        self.delay = 0.0  # seconds each piece of a reply is late
        self.segment = 0  # bytes a piece is cut into; 0: as they come
        self.silent = False  # a black hole: connections are accepted, nothing passes
        self.connections = 0  # ever made
        self.requests = 0
        self.hit = 0  # requests and replies swallowed or cut
        self._rules: list[_Rule] = []
        self._links: set[_Link] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._failed: BaseException | None = None
        self._end: asyncio.Event | None = None

    # ------------------------------------------------------------ what a test says
    def url(self, server: str) -> str:
        """The URL of a server with this proxy in its place."""
        return server.replace(f"{self._upstream[0]}:{self._upstream[1]}", f"{HOST}:{self.port}")

    def drop_reply(self, to: bytes = b"", *, nth: int = 1) -> None:
        """Swallow the reply to the n-th request from now on that contains `to`. The connection stays open."""
        self._rules.append(_Rule(to, nth, None))

    def cut_reply(self, after: int, to: bytes = b"", *, nth: int = 1) -> None:
        """Reset the connection when so many bytes of that reply have passed; 0: before the first."""
        self._rules.append(_Rule(to, nth, after))

    def cut_request(self, after: int, to: bytes = b"", *, nth: int = 1) -> None:
        """Reset the connection when so many bytes of that request have passed."""
        self._rules.append(_Rule(to, nth, after, request=True))

    def reset(self) -> None:
        """Reset every connection that is open now."""

        def all_of_them() -> None:
            for link in list(self._links):
                _abort(link)

        self._do(all_of_them)

    @property
    def open(self) -> int:
        """Connections open now."""
        return len(self._links)

    # ------------------------------------------------------------ its life
    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="queuekit-proxy", daemon=True)
        self._thread.start()
        self._up.wait()
        if self._failed is not None:
            raise self._failed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._end is not None:
            self._do(self._end.set)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  it is raised where the proxy was asked for
            self._failed = error
        finally:
            self._up.set()

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._end.wait()
        server.close()
        tasks = [task for link in list(self._links) for task in link.tasks]
        for link in list(self._links):
            _abort(link)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _do(self, act: Callable[[], Any]) -> None:
        """Run it in the proxy's thread, and wait for it."""
        done = threading.Event()

        def run() -> None:
            try:
                act()
            finally:
                done.set()

        if self._loop is not None and self._thread is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # it ends just now
                self._loop.call_soon_threadsafe(run)
                done.wait(5)

    # ------------------------------------------------------------ one connection
    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        link = _Link(writer, server)
        self._links.add(link)
        link.tasks = (
            asyncio.create_task(self._requests(link, reader)), asyncio.create_task(self._replies(link, answers)),
        )  # fmt: skip
        await asyncio.wait(link.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in link.tasks:
            task.cancel()
        await asyncio.gather(*link.tasks, return_exceptions=True)
        self._links.discard(link)
        for end in (link.client, link.server):
            end.close()

    async def _requests(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                self.requests += 1
                link.asked, link.rule = True, self._rule(data)
                if link.rule is not None and link.rule.request:
                    self.hit += 1
                    link.server.write(data[: link.rule.keep])
                    await link.server.drain()
                    _abort(link)
                    return
                if not self.silent:
                    link.server.write(data)
                    await link.server.drain()

    async def _replies(self, link: _Link, reader: asyncio.StreamReader) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if link.asked:
                    link.asked, link.swallow = False, False
                rule = link.rule
                if rule is not None:
                    link.rule = None
                    self.hit += 1
                    if rule.keep is not None:
                        await self._pass(link, data[: rule.keep])
                        _abort(link)
                        return
                    link.swallow = True
                if not self.silent and not link.swallow:
                    await self._pass(link, data)

    async def _pass(self, link: _Link, data: bytes) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        step = self.segment or max(1, len(data))
        for start in range(0, len(data), step):
            link.client.write(data[start : start + step])
            await link.client.drain()
            if self.segment:
                await asyncio.sleep(0)

    def _rule(self, request: bytes) -> _Rule | None:
        """What becomes of the reply to this request."""
        for rule in self._rules:
            if rule.to in request:
                rule.left -= 1
                if rule.left == 0:
                    self._rules.remove(rule)
                    return rule
        return None


def _abort(link: _Link) -> None:
    for end in (link.client, link.server):
        sock = end.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        end.transport.abort()
