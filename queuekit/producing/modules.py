"""Importing the modules that register tasks: by name, or a whole package; and what is said of one that fails.

Only a worker comes here: who enqueues imports what it uses.
"""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from queuekit.errors import ConfigError

WHOLE = ".*"  # ends the name of a package, all of whose modules are meant
_OURS = ("importlib", str(Path(__file__).parents[1]))  # files whose lines say nothing to whom the module belongs


class NotImported(ConfigError):
    """A module that registers tasks cannot be imported; the message shows its own lines."""


def load(imports: Iterable[str]) -> None:
    """Import each; "jobs.*" is the package jobs and every module below it, in the order of their names.

    Raises NotImported for a module that is not there; whatever a module itself raises goes through.
    """
    for name in imports:
        _import(name.removesuffix(WHOLE), within=name.endswith(WHOLE))


def said(error: BaseException) -> str:
    """What an import raised, and the lines of the user's that led to it: the machinery between them says nothing."""
    if isinstance(error, SyntaxError):  # it has no frame: the line that is wrong is its own
        *lines, what = "".join(traceback.format_exception_only(error)).rstrip().split("\n")
        return "\n".join((what, *lines))
    frames = [one for one in traceback.extract_tb(error.__traceback__) if not any(own in one.filename for own in _OURS)]
    return f"{type(error).__name__}: {error}\n{''.join(traceback.format_list(frames))}".rstrip()


def _import(name: str, *, within: bool) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotImported(f"imports: there is no module {name!r}, from here or on the path") from error
        raise
    if not within:
        return
    if not hasattr(module, "__path__"):
        raise NotImported(f"imports: {name!r} is one module, not a package: name it without {WHOLE!r}")
    for below, package in sorted(_within(module).items()):
        if below != "__main__":  # that is a program, not a module to import
            _import(f"{name}.{below}", within=package)


def _within(package: ModuleType) -> dict[str, bool]:
    """Names directly in a package, and whether each is one: a folder of modules is, also without an `__init__.py`."""
    found = {one.name: one.ispkg for one in pkgutil.iter_modules(package.__path__)}
    for folder in map(Path, package.__path__):
        if folder.is_dir():
            found.update(
                {one.name: True for one in folder.iterdir() if one.name.isidentifier() and any(one.glob("*.py"))}
            )
    return found
