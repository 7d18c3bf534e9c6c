"""What the shape of the tree promises: sizes, imports, names, packages. The tests here read code rather than run it."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "queuekit": ROOT / "queuekit",
    "queuekit-redis": ROOT / "backends" / "redis" / "queuekit_redis",
    "queuekit-mongo": ROOT / "backends" / "mongo" / "queuekit_mongo",
}


def shipped(suffix: str) -> list[Path]:
    """Every file of the three packages with this suffix."""
    return sorted(path for folder in PACKAGES.values() for path in folder.rglob(f"*{suffix}"))


@cache
def tree(path: Path) -> ast.Module:
    """The module as Python reads it."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, inner ones and methods too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their full names, wherever the import stands."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def tracked() -> list[str]:
    """The files of the project, as git knows them; in an unpacked archive, those that lie there."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.split("\0") if name]
    return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]
