"""Servers and workers of the examples, as processes of their own: started, waited for, and ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx

from queuekit.settings import VARIABLES
from queuekit.testing.servers import HOST
from tests.architecture import ROOT

BIN = Path(sys.executable).parent
PATIENCE = 60.0  # seconds until something that must happen is taken for lost
T = TypeVar("T")


class Site:
    """The processes of one application, in a folder of their own, and its answers."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        theirs = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        self.env = theirs | {"PATH": f"{BIN}{os.pathsep}{theirs.get('PATH', '')}"} | env
        self.running: list[subprocess.Popen[bytes]] = []
        self.client = httpx.Client(base_url=f"http://{HOST}:{self.port}", timeout=30)

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """A process; what it says goes to a file of its name."""
        with (self.folder / f"{name}.log").open("wb") as said:
            process = subprocess.Popen(command, cwd=self.folder, env=self.env, stdout=said, stderr=said)
        self.running.append(process)
        return process

    def serve(self, *command: str) -> subprocess.Popen[bytes]:
        """A web server; it answers when this returns."""
        process = self.start("server", *command)

        def answers() -> bool:
            assert process.poll() is None, f"the server ended\n{self.said()}"
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return True
            return False

        self.wait("the server answers", answers)
        return process

    def wait(self, what: str, look: Callable[[], T]) -> T:
        """What `look` gives, once it gives anything."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, f"never: {what}\n{self.said()}"
            time.sleep(0.05)
        return found

    def done(self, path: str) -> object:
        """The result of the job whose state `path` tells, once it is completed."""

        def look() -> dict[str, object] | None:
            told: dict[str, object] = self.client.get(path).raise_for_status().json()
            return told if told["state"] == "completed" else None

        return self.wait(f"{path} is completed", look)["result"]  # type: ignore[index]  # wait() gives what is true

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command to its end."""
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """TERM, as a deployment does; the exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE)


@contextlib.contextmanager
def site(example: str, folder: Path, env: dict[str, str]) -> Iterator[Site]:
    """An example's processes; those left are ended at the end."""
    made = Site(folder, env | {"PYTHONPATH": os.pathsep.join((str(ROOT / "examples" / example), str(ROOT)))})
    try:
        yield made
    finally:
        made.client.close()
        for process in made.running:
            process.terminate()
        for process in made.running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def free_port() -> int:
    """A loopback port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
