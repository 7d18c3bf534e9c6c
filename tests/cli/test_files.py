"""What the demo takes for a file, and what it counts in one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit.cli.demo.files import LEFT_OUT, count, packed, scan, standard_library, stumbles, unpacked
from queuekit.errors import InvalidOption


def test_every_regular_file_is_scanned_once_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "sub/.hidden").mkdir(parents=True)
    for name in ("a.txt", "sub/b b.txt", "sub/.hidden/ü\n.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "pipe")

    found = [unpacked(path) for path in scan(tmp_path)]

    assert sorted(found) == ["a.txt", "sub/.hidden/ü\n.txt", "sub/b b.txt"]


def test_a_link_to_a_folder_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    assert list(scan(tmp_path / "link")) == ["a"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("x")
    with pytest.raises(InvalidOption, match="is a file, not a folder"):
        list(scan(path))
    with pytest.raises(InvalidOption, match="does not exist"):
        list(scan(tmp_path / "nowhere"))


def test_the_standard_library_is_large_and_without_caches() -> None:
    found = list(scan(standard_library(), left_out=LEFT_OUT))
    assert len(found) > 500
    assert "json/__init__.py" in found
    assert not [path for path in found if "__pycache__" in path or "site-packages" in path]


@given(st.binary(min_size=1).filter(lambda b: b"\0" not in b))
def test_a_path_of_any_bytes_survives_the_transport(path: bytes) -> None:
    text = packed(path)
    assert text.isascii()
    assert os.fsencode(unpacked(text)) == path


@given(st.text())
def test_a_text_is_counted_as_python_counts(text: str) -> None:
    data = text.encode("utf-8", "replace")
    counted = count(data)
    again = data.decode()
    assert (counted.words, counted.code_points) == (len(again.split()), len(again))
    assert (counted.bytes, counted.lines) == (len(data), data.count(b"\n"))
    assert counted.sha256 == hashlib.sha256(data).hexdigest()


def test_lines_and_digest_are_those_of_wc_and_sha256sum(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("eins zwei\r\nd\u2028rei\n\nno end".encode())
    counted = count(path.read_bytes())
    assert counted.lines == int(subprocess.check_output(["wc", "-l", path]).split()[0])
    assert counted.sha256 == subprocess.check_output(["sha256sum", path]).split()[0].decode()


def test_what_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        count(b"caf\xe9")
    with pytest.raises(UnicodeDecodeError):
        count(b"\xed\xa0\x80")  # a surrogate, which UTF-8 does not have


def test_some_files_stumble_and_always_the_same() -> None:
    paths = [f"folder/{n}.py" for n in range(5000)]
    chosen = [path for path in paths if stumbles(path, 25)]
    assert 100 < len(chosen) < 320
    assert chosen == [path for path in paths if stumbles(path, 25)]
