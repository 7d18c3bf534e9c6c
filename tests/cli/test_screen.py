"""Text of jobs must not steer a terminal."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit.cli import screen


@given(st.text())
def test_no_control_character_survives(text: str) -> None:
    shown = screen.clean(text)
    assert not [
        c
        for c in shown
        if ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or 0xD800 <= ord(c) < 0xE000 or c in "\u202e\u2066\u2028"
    ]


@pytest.mark.parametrize(
    "evil", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "a\rb", "\u202etxt", "\x7f", "\ud800", "a\nb"]
)
def test_terminal_sequences_are_shown_as_escapes(evil: str) -> None:
    assert "\\" in screen.clean(evil)
    screen.clean(evil).encode()


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_readable_text_stays_as_it_is(text: str) -> None:
    assert screen.clean(text) == text


def test_long_cells_are_cut() -> None:
    assert screen.clean("x" * 50, 10) == "x" * 9 + "…"


def test_json_is_ascii_and_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    screen.show_json({"a": "ü\x1b", "b": timedelta(seconds=1.5), "c": "\ud800"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": "ü\x1b", "b": 1.5, "c": "\ud800"}


def test_tables_are_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(("name", "n"), [("x" * 300, 1), ("[bold]y", 22)], right=("n",))
    out = capsys.readouterr().out
    assert "x" * 300 in out
    assert "[bold]y" in out
    assert out.splitlines()[0].split() == ["NAME", "N"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "250ms"), (59, "59s"), (90, "1m30s"), (3700, "1h1m"), (90_000, "1d1h"), (0, "0ms")]
)
def test_spans_have_two_units(seconds: float, text: str) -> None:
    assert screen.ago(timedelta(seconds=seconds)) == text
