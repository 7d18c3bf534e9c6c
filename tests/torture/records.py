"""What every process writes down, one line at a time in a file of its own, and how it is read back afterwards.

`O_APPEND` and one write a line: a process killed between two lines loses nothing it wrote, one killed inside a line
leaves a last line without an end, which is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.torture.history import MS, Call, History, Run

_host = time.time_ns  # whatever a process does to its own clock later


def now() -> int:
    """This host's clock in µs; the stores of these tests run on the same host."""
    return _host() // 1000


class Pen:
    """One process's file."""

    def __init__(self, folder: Path, actor: str) -> None:
        self.actor = actor
        self._file = os.open(folder / f"{actor}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """One line: a moment, then the words."""
        os.write(self._file, f"{now()} {' '.join(map(str, words))}\n".encode())


def lines(path: Path) -> Iterator[list[str]]:
    """The whole lines of one file."""
    text = path.read_bytes().decode()
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield line.split(" ")


def read(folder: Path) -> History:
    """All that was written down in a folder."""
    history = History()
    for path in sorted(folder.glob("*.log")):
        actor = path.stem
        if actor.startswith("p"):
            _producer(history, actor, path)
        else:
            _worker(history, actor, path)
    return history


def _producer(history: History, actor: str, path: Path) -> None:
    open_call: Call | None = None
    for at, kind, *words in lines(path):
        if kind == "invoke":
            jobs = [(job, int(priority)) for job, _, priority in (word.partition("/") for word in words)]
            open_call = Call(actor=actor, jobs=jobs, invoked=int(at))
            history.calls.append(open_call)
        elif kind == "ok" and open_call is not None:
            open_call.answered = int(at)


def _worker(history: History, actor: str, path: Path) -> None:
    runs: dict[str, Run] = {}
    for at, kind, job, *words in lines(path):
        if kind == "accepted":
            history.accepted.append((job, int(at)))
        elif kind == "start":
            token, claims, claimed, line = words
            runs[token + job] = Run(
                actor=actor, job=job, token=token, claims=int(claims), claimed=int(claimed) * MS, started=int(at),
                suspect=line == "suspect",
            )  # fmt: skip
            history.runs.append(runs[token + job])
        elif kind == "end":
            runs[words[0] + job].ended = int(at)
        elif kind == "stop":
            runs[words[0] + job].stopped = int(at)
        elif kind == "poison":
            runs[words[0] + job].poison = True
