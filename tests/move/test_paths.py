"""What an export is written to and an import read from: a file has its name only when it is whole."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest

from queuekit.errors import MissingExtra
from queuekit.move import files
from queuekit.move.contents import check
from queuekit.move.exporter import export
from queuekit.move.files import Source, writing
from queuekit.move.lines import LINE_MAX, Damaged, FileError, Truncated
from tests.move.stores import filled, model

T = TypeVar("T")


@pytest.fixture
async def lines() -> list[bytes]:
    """An export of some size."""
    some: list[bytes] = []
    one = await filled(model(), jobs=200)
    await export(one.store, some.append, namespace="t", schedules=False)  # one of them does not pack
    return some


def through(name: Path, read: Callable[[Source], T]) -> T:
    with closing(Source(str(name))) as source:
        return read(source)


def write(name: Path, lines: list[bytes], **how: Any) -> None:
    with writing(str(name), **how) as out:
        for line in lines:
            out.write(line)


def break_off(name: Path, line: bytes, error: type[BaseException], **how: Any) -> None:
    with writing(str(name), **how) as out:
        out.write(line)
        assert name.with_name(name.name + ".part").exists()
        raise error


@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.jsonl.zst"])
def test_what_is_written_is_read_again_and_again(tmp_path: Path, lines: list[bytes], name: str) -> None:
    write(tmp_path / name, lines)
    source = Source(str(tmp_path / name))
    assert list(source.lines()) == list(source.lines()) == lines
    assert check(source.lines).jobs > 100
    source.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_compressed_file_is_small_and_told_by_its_first_bytes(tmp_path: Path, lines: list[bytes]) -> None:
    write(tmp_path / "a.jsonl", lines)
    write(tmp_path / "a.jsonl.zst", lines)
    sizes = [(tmp_path / name).stat().st_size for name in ("a.jsonl.zst", "a.jsonl")]
    assert sizes[0] * 1.5 < sizes[1]
    (tmp_path / "a.jsonl.zst").rename(tmp_path / "whatever")
    assert through(tmp_path / "whatever", lambda source: list(source.lines())) == lines


def test_an_export_that_fails_leaves_nothing(tmp_path: Path, lines: list[bytes]) -> None:
    for name in ("a.jsonl", "a.jsonl.zst"):
        for error in (RuntimeError, KeyboardInterrupt, SystemExit):
            with pytest.raises(error):
                break_off(tmp_path / name, lines[0], error)
            assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_a_full_disk_is_told_and_leaves_nothing(
    tmp_path: Path, lines: list[bytes], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_open", lambda _: Path("/dev/full").open("wb"))  # noqa: SIM115  as the real one
    with pytest.raises(
        FileError, match=r"a\.jsonl.* cannot be written: No space left on device; nothing is left of it"
    ):
        write(tmp_path / name, lines * 50)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_exists_is_replaced_only_when_asked_and_only_by_a_whole_one(
    tmp_path: Path, lines: list[bytes]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match=r"exists already.*--overwrite"):
        write(path, lines)
    with pytest.raises(RuntimeError):
        break_off(path, lines[0], RuntimeError, overwrite=True)
    assert path.read_bytes() == b"old"
    write(path, lines, overwrite=True)
    assert path.read_bytes() == b"".join(lines)


def test_two_exports_to_one_name_do_not_mix(tmp_path: Path, lines: list[bytes]) -> None:
    with writing(str(tmp_path / "a.jsonl")) as out:
        out.write(lines[0])
        with pytest.raises(FileError, match=r"a\.jsonl\.part is there: another export writes it"):
            write(tmp_path / "a.jsonl", lines)
        for line in lines[1:]:
            out.write(line)
    assert (tmp_path / "a.jsonl").read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    ("name", "says"),
    [("a.csv", "ends in .jsonl or .jsonl.zst"), ("a.zst", "ends in"), ("none/a.jsonl", "No such file or directory")],
)
def test_a_name_that_cannot_be_written_is_told(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(FileError, match=says):
        write(tmp_path / name, [])


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.jsonl cannot be read: No such file"):
        Source(str(tmp_path / "none.jsonl"))
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        through(tmp_path, lambda source: list(source.lines()))


def test_a_compressed_file_cut_off_anywhere_is_refused(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a.jsonl.zst"
    write(path, lines)
    whole = path.read_bytes()
    for size in range(4, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:size])
        with pytest.raises(Truncated):
            through(path, lambda source: check(source.lines))
    refused = 0
    for at in range(20, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            through(path, lambda source: check(source.lines))
        except Damaged:
            refused += 1
        else:  # a bit that zstd does not use
            assert through(path, lambda source: list(source.lines())) == lines
    assert refused > 50


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(LINE_MAX * 16)  # a hole: it takes no disk
    with pytest.raises(Damaged, match="a line of more than"):
        through(path, lambda source: check(source.lines))


def test_without_the_extra_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=r"pip install 'queuekit\[zstd\]'"):
        write(tmp_path / "a.jsonl.zst", [])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").write_bytes(b"\x28\xb5\x2f\xfd...")
    with pytest.raises(MissingExtra):
        through(tmp_path / "b", lambda source: list(source.lines()))


def test_standard_input_is_read_twice_too(lines: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"".join(lines))))
    source = Source("-")
    assert list(source.lines()) == list(source.lines()) == lines
    source.close()
