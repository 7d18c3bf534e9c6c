"""Worker processes that demo and bench start and end themselves.

They live no longer than the process that started them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from queuekit.cli import screen
from queuekit.settings import Settings

GRACE = 5.0  # seconds a worker may take to end by itself
NAMESPACE_LIMIT = 64


class Crew:
    """Processes of one module (`python -m module`), told by one JSON line on standard input what to do.

    That pipe is also how they learn that this process ended, in whatever way: they read its end and stop.
    """

    def __init__(self, module: str, settings: Settings) -> None:
        self.module = module
        self.env = environment(settings)
        self._folder = tempfile.TemporaryDirectory(prefix="queuekit-crew-")
        self._hands: list[subprocess.Popen[bytes]] = []

    def start(self, told: Mapping[str, object], *, listen: bool = False) -> subprocess.Popen[bytes]:
        """One more process. With `listen` its standard output is a pipe, to be read by the caller."""
        with self._log(len(self._hands)).open("wb") as log, _uninterrupted():  # or a process is begun that nobody knows
            hand = subprocess.Popen(
                [sys.executable, "-m", self.module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if listen else log,
                stderr=log,
                env=self.env,
                start_new_session=True,  # Ctrl-C is for the process the person looks at; it ends the others in order
            )
            self._hands.append(hand)
        pipe = _in(hand)
        with contextlib.suppress(BrokenPipeError):  # it ended at once: `fallen` tells it
            pipe.write(json.dumps(told).encode() + b"\n")
            pipe.flush()
        return hand

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [hand for hand in self._hands if hand.poll() is None]

    def fallen(self, known: set[int]) -> list[tuple[int, int]]:
        """(pid, exit code) of processes that ended by themselves and are not in `known`, which then knows them."""
        gone = [(hand.pid, code) for hand in self._hands if (code := hand.poll()) is not None and hand.pid not in known]
        known.update(pid for pid, _ in gone)
        return gone

    def last_words(self, lines: int = 15) -> str:
        """The end of what the processes wrote on standard error, made harmless."""
        texts = [self._log(n).read_text("utf-8", "replace") for n in range(len(self._hands))]
        return screen.clean_lines("\n".join("\n".join(texts).split("\n")[-lines:])).strip()

    def stop(self) -> None:
        """End all of them by their process ids, politely first. Idempotent."""
        for hand in self.alive:
            hand.terminate()
        for hand in self._hands:
            try:
                hand.wait(GRACE)
            except subprocess.TimeoutExpired:
                hand.kill()
                hand.wait()
            for pipe in (hand.stdin, hand.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):
                        pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def _log(self, n: int) -> Path:
        return Path(self._folder.name) / f"{n}.log"


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """INT and TERM that come meanwhile are answered at the end. Only the main thread is interrupted by them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    held = {number: answer for number, answer in before.items() if callable(answer)}
    for number in held:
        signal.signal(number, lambda n, frame: came.append((n, frame)))
    try:
        yield
    finally:
        for number, answer in held.items():
            signal.signal(number, answer)
        for n, frame in came[:1]:
            held[signal.Signals(n)](n, frame)


def environment(settings: Settings) -> dict[str, str]:
    """The environment that makes a child process see exactly this store, and no configuration file."""
    ours = {
        "QUEUEKIT_URL": settings.url,
        "QUEUEKIT_NAMESPACE": settings.namespace,
        "QUEUE_COLLECTION": settings.collection,
        "QUEUEKIT_TIMEOUT": f"{settings.timeout}ms",
        "QUEUEKIT_LEASE": f"{settings.lease}ms",
        "QUEUEKIT_DURABILITY": settings.durability,
        "QUEUEKIT_ALLOW_EVICTION": "1" if settings.allow_eviction else "",
        "QUEUEKIT_CONFIG": os.devnull,
        "QUEUEKIT_ENV_FILE": "",
        "QUEUEKIT_LOG": "warning",
        "QUEUEKIT_LOG_FORMAT": "text",
        "QUEUEKIT_REQUIRE_PROVIDER": "",
        "WORKER_TYPE": "",
    }
    return os.environ | ours


def apart(settings: Settings, room: str, folder: str | None = None) -> Settings:
    """The same store in a namespace of its own: nothing of the user's is touched. `folder`: a SQLite file there."""
    namespace = f"{settings.namespace[: NAMESPACE_LIMIT - len(room) - 1]}-{room}"
    apart = dataclasses.replace(settings, namespace=namespace, file=None, file_tables={}, app=None, notes=())
    return apart if folder is None else dataclasses.replace(apart, url=f"sqlite:///{folder}/{room}.db")


@contextlib.contextmanager
def room(settings: Settings, name: str) -> Iterator[Settings]:
    """The store's settings `apart`; where it cannot be shared by processes, a SQLite file in a temporary folder."""
    if not private(settings):
        yield apart(settings, name)
        return
    with tempfile.TemporaryDirectory(prefix=f"queuekit-{name}-") as folder:
        yield apart(settings, name, folder)


def private(settings: Settings) -> bool:
    """Whether several processes need another store than this one: none was named, or it lives in one process."""
    return settings.chosen_by == "default" or settings.url.startswith("memory:")


def told(pipe: IO[bytes] | None = None) -> dict[str, object]:
    """In a child: what it was told. Afterwards the end of the pipe ends this process like TERM does."""
    stdin = pipe or sys.stdin.buffer
    said: dict[str, object] = json.loads(stdin.readline())

    def watch() -> None:
        stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="queuekit-parent", daemon=True).start()
    return said


def _in(hand: subprocess.Popen[bytes]) -> IO[bytes]:
    if hand.stdin is None:
        raise ValueError("started without a pipe")
    return hand.stdin
