"""The lines of an export: `{"job":{…},"sum":"…"}`, each sum over the one before and this line, so that nothing slips.

What the lines mean to a store is not known here; docs/export.md tells the form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from queuekit.errors import QueueKitError
from queuekit.move.reading import Unreadable, parsed
from queuekit.move.records import VERSION

FORMAT: Final = "queuekit-jobs"
KINDS: Final = ("header", "queue", "schedule", "job", "key", "end")
SCHEDULED: Final = 2  # the version of a file that has schedules; without any a file is of the version of its records
_TAIL: Final = len(',"sum":"0123456789abcdef"}')
LINE_MAX: Final = 64 * 1024 * 1024  # a job of 8 MiB, each byte as an escape of six


class FileError(QueueKitError):
    """A file that cannot be written or read: where it stands, and what to do next."""


class Damaged(FileError):
    """A file that is not as it was written. `line` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line


class Truncated(Damaged):
    """A file that ends before its end."""


class Writer:
    """Writes lines, and their sums."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._sum = b""
        self.lines = 0
        self.bytes = 0

    def line(self, kind: str, body: bytes) -> None:
        """A line of `kind` with an object that is written already."""
        said = b'{"' + kind.encode() + b'":' + body
        self._sum = _sum(self._sum, said)
        whole = said + b',"sum":"' + self._sum + b'"}\n'
        self._write(whole)
        self.lines += 1
        self.bytes += len(whole)


@dataclass(frozen=True, slots=True)
class Line:
    """One line as read: its sum is right."""

    number: int
    kind: str
    said: dict[str, Any]

    def damaged(self, what: object) -> Damaged:
        return Damaged(self.number, str(what))


def read(stream: Iterable[bytes]) -> Iterator[Line]:
    """The lines of a file, from the header to the end line. Raises Damaged, or Truncated where the end is missing."""
    before, number, ended = b"", 0, False
    for raw in stream:
        number += 1
        if ended:
            raise Damaged(number, "something stands behind the end: two files in one? Import them one by one")
        if not raw.endswith(b"\n"):
            raise Truncated(number, "the file ends within this line: copy or export it again")
        body = raw[:-1]
        said, given = body[:-_TAIL], body[-_TAIL + 8 : -2]
        kind, value = _parts(number, body)
        if number == 1:
            _check_header(kind, value)
        right = _sum(before, said)
        if body[-_TAIL : -_TAIL + 8] != b',"sum":"' or given != right:
            raise Damaged(
                number, f"it was altered, or lines before it are missing (sum {_shown(given)}, not {right.decode()})"
            )
        before = right
        ended = kind == "end"
        yield Line(number, kind, value)
    if number == 0:
        raise Truncated(1, "the file is empty: export it again")
    if not ended:
        raise Truncated(number, "the file ends here, without its end line: copy or export it again")


def _parts(number: int, body: bytes) -> tuple[str, dict[str, Any]]:
    try:
        whole = parsed(body)
    except Unreadable as error:
        raise Damaged(number, str(error)) from None
    kind = next(iter(whole), "")
    value = whole.get(kind)
    if whole.keys() != {kind, "sum"} or not isinstance(value, dict):
        raise Damaged(number, f"this is no line of {FORMAT}: one object and its sum")
    if kind not in KINDS:
        raise Damaged(number, f"unknown kind of line {kind!r:.40}: written by a newer queuekit? Upgrade this one")
    if (kind == "header") is not (number == 1):
        raise Damaged(number, "the header is the first line, and only that")
    return kind, value


def _check_header(kind: str, said: dict[str, Any]) -> None:
    if said.get("format") != FORMAT:
        raise Damaged(1, f"this is no export of queuekit: its header says {said.get('format')!r:.40}")
    version = said.get("v")
    if type(version) is not int or version < 1:
        raise Damaged(1, f"format version {version!r:.20} is none")
    if version > max(VERSION, SCHEDULED):
        most = max(VERSION, SCHEDULED)
        raise Damaged(1, f"format version {version}; this queuekit reads up to {most}: upgrade it, then import")


def _sum(before: bytes, said: bytes) -> bytes:
    return sha256(before + said).hexdigest()[:16].encode()


def _shown(given: bytes) -> str:
    return given.decode("ascii", "replace")
