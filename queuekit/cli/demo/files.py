"""Which files the demo reads, and what it counts in one. Plain functions: no queue is known here."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from queuekit.errors import InvalidOption

LEFT_OUT: Final = frozenset({"__pycache__", "site-packages", "dist-packages"})  # of the standard library's folder
_PLAIN: Final = " !#$&'()*+,/:;=?@[]^`{|}"  # shown as they are in a path; "%" and all beyond ASCII are not


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one text file holds."""

    bytes: int
    lines: int  # newline characters
    words: int  # what str.split() gives
    code_points: int
    sha256: str


def standard_library() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def scan(folder: Path, *, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    """Every regular file below `folder` as a relative path in transport form, sorted. Links are not followed.

    Raises InvalidOption where `folder` is no folder, or cannot be read.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InvalidOption(f"{str(folder)!r} {what}: name a folder whose files are to be read")
    found: list[bytes] = []
    root = os.fsencode(folder)
    stack = [root]
    while stack:
        try:
            entries = list(os.scandir(stack.pop()))
        except PermissionError as error:
            raise InvalidOption(f"{os.fsdecode(error.filename)!r} cannot be read: {error.strerror}") from error
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if os.fsdecode(entry.name) not in left_out:
                    stack.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                found.append(os.path.relpath(entry.path, root))
    yield from (packed(path) for path in sorted(found))


def packed(path: bytes) -> str:
    """A path as text that every store carries unchanged, whatever bytes it is made of."""
    return quote_from_bytes(path, safe=_PLAIN)


def unpacked(path: str) -> str:
    """What `packed` wrote, as the operating system takes it."""
    return os.fsdecode(unquote_to_bytes(path))


def count(data: bytes) -> Counted:
    """Count a file. Raises UnicodeDecodeError where it is not UTF-8."""
    text = data.decode("utf-8")
    return Counted(
        bytes=len(data),
        lines=data.count(b"\n"),
        words=len(text.split()),
        code_points=len(text),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def stumbles(path: str, share: int) -> bool:
    """Whether the first run on this file meets an injected error: one file in `share`, always the same ones."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:4]) % share == 0
