"""Opens what an export is written to and an import is read from: plain, compressed, standard streams.

A file appears under its name only when it is whole; what its lines mean is not known here.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, cast

from queuekit.errors import MissingExtra
from queuekit.move.lines import LINE_MAX, Damaged, FileError, Truncated

STANDARD: Final = "-"
ENDINGS: Final = (".jsonl", ".jsonl.zst")
_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # of zstd


@contextmanager
def writing(name: str, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A stream to write an export to. The file gets its name when the block ended well; else nothing is left.

    Raises FileError, also where the disk is full.
    """
    if name == STANDARD:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # the reader has enough
            raise
        except OSError as error:
            raise FileError(f"standard output cannot be written: {error.strerror or error}") from error
        return
    path = Path(name)
    if not name.endswith(ENDINGS):
        raise FileError(f"{name}: a name that ends in {' or '.join(ENDINGS)}, or - for standard output")
    if path.exists() and not overwrite:
        raise FileError(f"{name} exists already: name another file, or say --overwrite")
    part = path.with_name(path.name + ".part")
    compress = _zstd().ZstdCompressor(level=3) if name.endswith(".zst") else None
    opened = _open(part)
    try:
        with opened as raw:
            stream = cast("BinaryIO", compress.stream_writer(raw, closefd=False)) if compress else raw
            yield stream
            if compress:
                stream.close()
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(path)
        _settle(path.parent)
    except OSError as error:
        raise FileError(f"{name} cannot be written: {error.strerror or error}; nothing is left of it") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _open(part: Path) -> BinaryIO:
    try:
        return part.open("xb")
    except FileExistsError:
        raise FileError(f"{part} is there: another export writes it, or one was killed; remove it then") from None
    except OSError as error:
        raise FileError(f"{part} cannot be written: {error.strerror or error}") from None


def _settle(folder: Path) -> None:
    """The name too survives a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Source:
    """A file to read twice: first whole, to see that it is, then to import it. Standard input is set down on disk."""

    def __init__(self, name: str) -> None:
        self.name = "standard input" if name == STANDARD else name
        try:
            self._file: IO[bytes] = _set_down() if name == STANDARD else Path(name).open("rb")  # noqa: SIM115  close()
        except OSError as error:
            raise FileError(f"{name} cannot be read: {error.strerror or error}") from None

    def lines(self) -> Iterator[bytes]:
        """All lines from the first on, with their newlines. Raises FileError."""
        try:
            self._file.seek(0)
            packed = self._file.read(len(_MAGIC)) == _MAGIC
            self._file.seek(0)
            yield from _unpacked(self._file) if packed else _limited(self._file)
        except OSError as error:
            raise FileError(f"{self.name} cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        self._file.close()


def _set_down() -> IO[bytes]:
    spool = tempfile.TemporaryFile()  # noqa: SIM115  Source.close()
    shutil.copyfileobj(sys.stdin.buffer, spool, 1024 * 1024)
    return spool


def _limited(file: IO[bytes] | io.BufferedReader) -> Iterator[bytes]:
    """Lines; one without an end would fill the memory."""
    number = 0
    while line := file.readline(LINE_MAX + 1):
        number += 1
        if len(line) > LINE_MAX:
            raise Damaged(number, f"a line of more than {LINE_MAX} bytes: this is no export of queuekit")
        yield line


def _unpacked(file: IO[bytes]) -> Iterator[bytes]:
    zstd = _zstd()
    number = 0
    try:
        with zstd.ZstdDecompressor().stream_reader(file, closefd=False) as raw:
            for line in _limited(io.BufferedReader(raw, 1024 * 1024)):
                number += 1
                yield line
        if not number:
            raise Truncated(1, "the compressed file is empty, or cut off near its start: copy or export it again")
    except zstd.ZstdError as error:
        raise Truncated(number + 1, f"the compressed file is damaged or cut off: {error}") from None


def _zstd() -> Any:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise MissingExtra("a .zst file needs a package that is not installed: pip install 'queuekit[zstd]'") from None
    return zstandard
