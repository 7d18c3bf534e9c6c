"""The table of all that the seed documents name: which test shows a row. `python -m tests.acceptance.table` makes it.

The first two columns of docs/seeds.md are kept by hand; the third is made from the names of the tests here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "seeds.md"
_ROW = re.compile(r"^\| (S\d\.\d+) \| (.*) \| ([^|]*) \|$")
_TEST = re.compile(r"test((?:_S\d_\d+)+)(?:_|$)")  # test_S1_4_S1_5_…: a test may show several rows
_ID = re.compile(r"_(S\d)_(\d+)")


def tests() -> dict[str, list[str]]:
    """Row id -> the tests that show it, as "file::name"."""
    found: dict[str, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := _TEST.match(node.name)):
                for seed, number in _ID.findall(match[1]):
                    found.setdefault(f"{seed}.{number}", []).append(f"{path.name}::{node.name}")
    return found


def rows(text: str) -> dict[str, str]:
    """Row id -> what its third column says."""
    return {match[1]: match[3] for line in text.splitlines() if (match := _ROW.match(line))}


def written(text: str) -> str:
    """The page with its third column made anew."""
    shown = tests()
    lines = []
    for line in text.splitlines():
        match = _ROW.match(line)
        if match is not None:
            names = ", ".join(f"`{name.partition('::')[2]}`" for name in shown.get(match[1], []))
            line = f"| {match[1]} | {match[2]} | {names or 'not yet'} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
