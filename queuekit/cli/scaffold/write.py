"""Writing files that are not there yet, and adding lines to one that is. Nothing is ever overwritten."""

from __future__ import annotations

import ast
import builtins
import keyword
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from queuekit.errors import ConfigError, InvalidOption


class Taken(ConfigError):
    """Something of that name is there already; nothing was written."""


def new_files(folder: Path, files: Mapping[str, str], *, clash: Path | None = None) -> list[Path]:
    """Write all of them below the folder, or none. Raises Taken naming what is there, InvalidOption where one cannot.

    `clash` would be the same module in the other form.
    """
    paths = {folder / name: text for name, text in files.items()}
    there = [path for path in (*paths, *filter(None, [clash])) if os.path.lexists(path)]
    if there:
        raise Taken(f"nothing was written, because this is there already: {', '.join(map(shown, there))}")
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise InvalidOption(f"{shown(Path(error.filename or folder))} cannot be written: {error.strerror}") from error
    return list(paths)


def insert(path: Path, text: str) -> int:
    """Add top-level lines to a module: before what only a program runs, else at its end. The first line's number."""
    with path.open(encoding="utf-8", newline="") as file:
        source = file.read()
    ending = "\r\n" if "\r\n" in source else "\n"
    lines = source.replace("\r\n", "\n").rstrip("\n").split("\n")
    at = _main(ast.parse(source)) or len(lines)
    head, tail = "\n".join(lines[:at]).rstrip("\n"), "\n".join(lines[at:])
    whole = f"{head}\n\n\n{text}" + (f"\n\n{tail}\n" if tail else "")
    _replace(path, whole.replace("\n", ending))
    return head.count("\n") + 4


def identifier(queue: str) -> str:
    """A name for the module and the function of a queue: execution:order gives execution_order."""
    name = re.sub(r"\W+", "_", queue).strip("_").lower() or "queue"
    if name[0].isdigit():
        name = f"queue_{name}"
    return f"{name}_" if keyword.iskeyword(name) or hasattr(builtins, name) else name


def shown(path: Path) -> str:
    """A path as a person in this folder writes it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _main(tree: ast.Module) -> int | None:
    """How many lines come before an `if __name__ == "__main__":` that ends the module; None where none does."""
    last = tree.body[-1] if tree.body else None
    test = ast.dump(last.test) if isinstance(last, ast.If) else ""
    return last.lineno - 1 if last is not None and "__name__" in test and "__main__" in test else None


def _replace(path: Path, text: str) -> None:
    """The file whole, old or new, at every moment; its rights stay."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        Path(name).chmod(path.stat().st_mode)
        Path(name).replace(path.resolve())
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
