"""Whether the files of a program changed: looked at, not listened for. What follows from a change is not here.

Looking works on every file system, also where a container shares a folder and tells nobody. Decision 131.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

Seen: TypeAlias = Mapping[str, tuple[int, int]]  # path -> (time of its last change, size)

NAMES: Final = ("queuekit.toml", "pyproject.toml")
LEFT_OUT: Final = ("__pycache__", "node_modules", "site-packages")


def roots(program: str, path: str | None) -> tuple[str, ...]:
    """The folders a program's own code is in: here, where its script lies, and what PYTHONPATH (`path`) names."""
    said = [Path.cwd(), *map(Path, filter(None, (path or "").split(os.pathsep)))]
    script = Path(program).absolute()
    if script.suffix == ".py" and script.is_file() and "site-packages" not in script.parts:  # manage.py
        said.append(script.parent)
    found: list[Path] = []
    for folder in sorted({one.resolve() for one in said if one.is_dir()}):
        if folder != Path(sys.prefix) and not any(folder.is_relative_to(other) for other in found):
            found.append(folder)
    return tuple(map(str, found))


def look(folders: Iterable[str], files: Iterable[str] = ()) -> Seen:
    """Every Python file below the folders, the configuration beside them, and `files`.

    Hidden folders, virtual environments and other people's packages are left out.
    """
    seen: dict[str, tuple[int, int]] = {}
    todo = list(folders)
    while todo:
        _folder(todo.pop(), todo, seen)
    for path in files:
        _file(path, seen)
    return seen


def changed(before: Seen, after: Seen) -> list[str]:
    """Paths that are new, gone or different."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _folder(folder: str, todo: list[str], seen: dict[str, tuple[int, int]]) -> None:
    below: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".py") or entry.name in NAMES:
                    _file(entry.path, seen)
                elif entry.name == "pyvenv.cfg":
                    return
                elif entry.name[0] != "." and entry.name not in LEFT_OUT and entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
    except OSError:
        return  # it went while it was looked at, or is not ours to see
    todo.extend(below)


def _file(path: str, seen: dict[str, tuple[int, int]]) -> None:
    try:
        stat = os.stat(path)
    except OSError:
        return  # gone: `changed` sees that
    seen[path] = (stat.st_mtime_ns, stat.st_size)
