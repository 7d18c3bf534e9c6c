"""From `module:attr` to a kit: the working directory on the path, factories called.

It imports user code and nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

from queuekit import QueueKit
from queuekit.errors import ConfigError
from queuekit.producing.modules import said


class AppError(ConfigError):
    """The app that was named cannot be had; the message says which part of the name is wrong."""


def load(name: str) -> QueueKit:
    """The kit that `name` ("module:attr") leads to: a QueueKit, an object with `.queuekit`, or a factory of one.

    A Flask app has it in its `extensions`; this room knows it by that.

    Raises AppError naming what was found instead.
    """
    path, colon, attr = name.partition(":")
    if not path or not colon or not attr or name.endswith(".py"):
        raise AppError(f"{name!r} is not MODULE:ATTR, for example shop.tasks:kit")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    value: object = _module(path, name)
    for part in attr.removesuffix("()").split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise AppError(f"{name}: {_called(value)} has no {part!r}; it has {_kits(value)}") from None
    kit = _kit(value, name).concrete()
    imports(kit, name)
    return kit


def imports(kit: QueueKit, name: str) -> None:
    """Import the modules that register the kit's tasks. Raises ConfigError, and AppError for one that fails."""
    try:
        kit.load()
    except ConfigError:
        raise
    except Exception as error:
        raise AppError(f"{name}: a module of imports= failed: {said(error)}") from error


def _module(path: str, name: str) -> object:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is not None and (path == error.name or path.startswith(error.name + ".")):
            raise AppError(f"{name}: no module {error.name!r} here ({Path.cwd()}) or on the path") from error
        raise AppError(f"{name}: importing {path} failed: {said(error)}") from error
    except Exception as error:
        raise AppError(f"{name}: importing {path} failed: {said(error)}") from error


def _kit(value: object, name: str) -> QueueKit:
    if isinstance(value, QueueKit):
        return value
    inner = getattr(value, "queuekit", None)
    if isinstance(inner, QueueKit):
        return inner
    extensions = getattr(value, "extensions", None)
    if isinstance(extensions, dict):
        found = extensions.get("queuekit")
        if isinstance(found, QueueKit):
            return found
        raise AppError(f"{name} is a {type(value).__name__} without a kit: call kit.init_app(app)")
    if hasattr(value, "routes") and hasattr(value, "state"):  # FastAPI, Starlette: it can be called, but is no factory
        raise AppError(f"{name} is a {type(value).__name__} app: name the kit itself; {_beside(name)}")
    if callable(value) and not inspect.isclass(value):
        try:
            made = value()
        except Exception as error:
            raise AppError(f"{name}: the factory failed: {said(error)}") from error
        if not callable(made) or isinstance(made, QueueKit) or hasattr(made, "extensions"):
            return _kit(made, f"{name}()")
    raise AppError(f"{name} is a {type(value).__name__}, not a QueueKit, a Flask app, nor a factory of one")


def _beside(name: str) -> str:
    """What kits there are in the module that a name begins with."""
    module = name.partition(":")[0]
    return f"{module} has {_kits(sys.modules.get(module))}"


def _called(value: object) -> str:
    return f"module {value.__name__}" if inspect.ismodule(value) else f"the {type(value).__name__}"


def _kits(value: object) -> str:
    found = [k for k, v in vars(value).items() if isinstance(v, QueueKit)] if hasattr(value, "__dict__") else []
    return ("the kit" + "s" * (len(found) > 1) + " " + ", ".join(found)) if found else "no kit at all"
