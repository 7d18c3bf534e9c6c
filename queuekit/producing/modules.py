"""Importing the modules that register tasks: by name, or a whole package. Only a worker comes here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from queuekit.errors import ConfigError

WHOLE = ".*"  # ends the name of a package, all of whose modules are meant


def load(imports: Iterable[str]) -> None:
    """Import each; "jobs.*" is the package jobs and every module below it, in the order of their names.

    Raises ConfigError for a module that is not there; whatever a module itself raises goes through.
    """
    for name in imports:
        _import(name.removesuffix(WHOLE), within=name.endswith(WHOLE))


def _import(name: str, *, within: bool) -> None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"imports: there is no module {name!r}, from here or on the path") from error
        raise
    if not within:
        return
    if not hasattr(module, "__path__"):
        raise ConfigError(f"imports: {name!r} is one module, not a package: name it without {WHOLE!r}")
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
