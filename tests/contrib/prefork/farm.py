"""A real web server in its own processes, on a socket that is open before it: a request waits for its worker."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from queuekit import ids

HERE = "127.0.0.1"
PATIENCE = 60.0
ROOT = Path(__file__).parents[3]


class Farm:
    """A server under test. `urls` are its stores, all in one fresh namespace."""

    def __init__(self, urls: dict[str, str], folder: Path) -> None:
        self.urls, self.folder = urls, folder
        self.namespace = f"t{ids.nonce()[:12]}"
        self.expected = dict.fromkeys(urls, 0)  # jobs it said it enqueued
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = socket.create_server((HERE, 0))
        self.port: int = self._socket.getsockname()[1]

    @property
    def pid(self) -> int:
        """The first process of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def start(self, command: Sequence[str], **variables: str) -> None:
        """Start `python -m COMMAND`, in which FD is the number of the open socket."""
        self._socket.set_inheritable(True)
        number = self._socket.fileno()
        stores = {f"SITE_{store.upper()}": url for store, url in self.urls.items()}
        env = os.environ | stores | {"SITE_NAMESPACE": self.namespace, "SITE_FOLDER": str(self.folder)} | variables
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(part.replace("FD", str(number)) for part in command)],
                env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[number],
            )  # fmt: skip
        if "SITE_USED" in variables:
            self.expected = dict.fromkeys(self.urls, 1)

    def get(self, path: str) -> dict[str, Any]:
        """The answer, as JSON."""
        connection = http.client.HTTPConnection(HERE, self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            raise AssertionError(f"GET {path}: {error!r}\n{self.log}") from error
        finally:
            connection.close()
        assert response.status == 200, f"GET {path}: {response.status}\n{self.log}"
        said: dict[str, Any] = json.loads(body)
        store = path.split("/")[1]
        if store in self.expected:
            self.expected[store] += 1
        return said

    def get_all(self, paths: Sequence[str]) -> list[dict[str, Any]]:
        """The answers to requests that are under way at the same time."""
        with ThreadPoolExecutor(len(paths)) as threads:
            return list(threads.map(self.get, paths))

    def meet(self, store: str, n: int) -> list[dict[str, Any]]:
        """`n` requests that are answered when `n` processes have enqueued. Each is sent when all before it are held."""
        at = ids.nonce()
        with ThreadPoolExecutor(n) as threads:
            asked = []
            for held in range(n):
                if held:
                    until(lambda held=held: self._held(at) == held, f"{held} of {n} processes came to meet\n{self.log}")  # type: ignore[misc]  # bound now
                asked.append(threads.submit(self.get, f"/{store}/meet?n={n}&at={at}"))
            return [answer.result() for answer in asked]

    def _held(self, at: str) -> int:
        place = self.folder / at
        return len(list(place.iterdir())) if place.exists() else 0

    def tell(self, number: signal.Signals) -> None:
        """Send the first process a signal."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """TERM, and the exit code; killed when that takes too long."""
        process = self._process
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            self._process = None

    def close(self) -> None:
        """End it, and its socket."""
        try:
            self.end()
        finally:
            self._socket.close()


@contextmanager
def farm(urls: dict[str, str]) -> Iterator[Farm]:
    """A farm with a folder of its own, ended whatever happens."""
    with tempfile.TemporaryDirectory(prefix="queuekit-farm-") as folder:
        made = Farm({"sqlite": f"sqlite:///{folder}/jobs.db"} | urls, Path(folder))
        try:
            yield made
        finally:
            made.close()


def until(true: Callable[[], bool], what: str) -> None:
    """Ask again and again; fail where it does not come true in a minute."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
