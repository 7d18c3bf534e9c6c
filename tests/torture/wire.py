"""A wire between a worker and its store that can be cut: nothing is refused and nothing answered until it is mended."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class Wire:
    """Forwards bytes to `port`, in a thread of its own. While cut it keeps every connection and moves no byte."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._others: dict[socket.socket, socket.socket] = {}
        self._cut = threading.Event()
        self._mend = threading.Event()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="torture-wire", daemon=True)
        self.moved = 0  # bytes

    def url(self, direct: str) -> str:
        """A store's URL by way of this wire."""
        return re.sub(rf":{self._target}\b", f":{self._listener.getsockname()[1]}", direct)

    def cut(self) -> None:
        """From now on nothing arrives."""
        self._cut.set()

    def mend(self) -> None:
        """What hung is reset, as a router that comes back would; new connections work."""
        self._mend.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.005 if self._cut.is_set() else 0):
            if self._mend.is_set():
                self._mend.clear()
                self._cut.clear()
                self._drop(*self._others)
            if self._cut.is_set():
                continue
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._join()
                elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._others:
                    self._pass_on(key.fileobj)
        self._drop(*self._others)
        self._listener.close()
        self._selector.close()

    def _join(self) -> None:
        ours, _ = self._listener.accept()
        try:
            theirs = socket.create_connection((HOST, self._target))
        except OSError:
            ours.close()
            return
        for one, other in ((ours, theirs), (theirs, ours)):
            self._others[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(65536)
            self._others[one].sendall(data)
        except OSError:
            data = b""
        self.moved += len(data)
        if not data:
            self._drop(one)

    def _drop(self, *sockets: socket.socket) -> None:
        for one in sockets:
            other = self._others.pop(one, None)
            if other is not None:
                self._others.pop(other, None)
                for end in (one, other):
                    self._selector.unregister(end)
                    with contextlib.suppress(OSError):
                        end.close()
