"""What a handler's signature says: context, injected arguments, arguments that travel. Nothing is encoded here."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from queuekit.context import JobContext
from queuekit.errors import InvalidOption
from queuekit.producing.inject import InjectMarker

MISSING: Final = inspect.Parameter.empty


@dataclass(slots=True)
class Param:
    """One argument that travels. `annotation` may still be text until `Signature.resolve`."""

    name: str
    annotation: Any
    required: bool
    positional_only: bool = False
    keyword_only: bool = False


@dataclass(slots=True)
class Signature:
    """A handler's signature, taken apart when it is decorated; annotations are resolved at the first use."""

    task: str
    params: tuple[Param, ...]
    injects: Mapping[str, InjectMarker]
    wants_context: bool
    open: bool  # has **kwargs: any further JSON argument
    returns: Any
    names: Mapping[str, Any]  # where text annotations are looked up

    def resolve(self) -> None:
        """Turn text annotations into types. Raises InvalidOption naming the one that cannot be."""
        for param in self.params:
            if isinstance(param.annotation, str):
                where = f"argument {param.name!r} of task {self.task!r}"
                param.annotation = _resolved(param.annotation, self.names, where)
                _no_depends(param.name, getattr(param.annotation, "__metadata__", ()), where)

    def result_type(self) -> Any:
        """The return annotation, MISSING where there is none or it cannot be resolved: then results are plain JSON."""
        if isinstance(self.returns, str):
            try:
                self.returns = _resolved(self.returns, self.names, "result")
            except InvalidOption:
                self.returns = MISSING
        return self.returns


def read(fn: Callable[..., object], task: str) -> Signature:
    """The signature of a handler. Raises InvalidOption for one that cannot be a task's."""
    plain = _plain(fn)
    names = _names(plain)
    signature = inspect.signature(fn)
    params: list[Param] = []
    injects: dict[str, InjectMarker] = {}
    wants_context = any_kwargs = False
    for index, param in enumerate(signature.parameters.values()):
        where = f"argument {param.name!r} of task {task!r}"
        if _is_context(param.annotation, names):
            if index:
                raise InvalidOption(f"{where} is a JobContext: put it first, or use current_job() anywhere")
            wants_context = True
        elif isinstance(param.default, InjectMarker):
            injects[param.name] = param.default
        elif param.kind is param.VAR_POSITIONAL:
            raise InvalidOption(f"{where}: *{param.name} has no name to travel under; take a list instead")
        elif param.kind is param.VAR_KEYWORD:
            any_kwargs = True
        else:
            annotation = _early(param.annotation, names)
            _no_depends(param.name, (param.default, *getattr(annotation, "__metadata__", ())), where)
            params.append(
                Param(
                    param.name,
                    annotation,
                    param.default is MISSING,
                    param.kind is param.POSITIONAL_ONLY,
                    param.kind is param.KEYWORD_ONLY,
                )
            )
    return Signature(
        task, tuple(params), injects, wants_context, any_kwargs, _early(signature.return_annotation, names), names
    )


def is_coroutine(fn: Callable[..., object]) -> bool:
    """Whether calling it gives a coroutine. Raises InvalidOption for a generator: it has no one result."""
    plain = _plain(fn)
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise InvalidOption(
            f"{_called(fn)} is a generator; a task returns one value: return a list, or enqueue one job each"
        )
    return inspect.iscoroutinefunction(plain) or inspect.iscoroutinefunction(fn)


def name_of(fn: Callable[..., object]) -> str:
    """The bare name of a function. Raises InvalidOption where it has none to be found by."""
    name = getattr(fn, "__name__", "")
    if not name or name == "<lambda>":
        raise InvalidOption(f'{_called(fn)} has no name: give one, @kit.task("name")')
    return str(name)


def is_model(annotation: object) -> bool:
    """Whether a payload may be this as a whole: a pydantic model, a dataclass or a TypedDict."""
    if not isinstance(annotation, type):
        return False
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(annotation, pydantic.BaseModel):
        return True
    return dataclasses.is_dataclass(annotation) or is_typeddict(annotation)


def is_typeddict(annotation: object) -> bool:
    """Whether it is a TypedDict, of typing or of typing_extensions."""
    return isinstance(annotation, type) and issubclass(annotation, dict) and hasattr(annotation, "__total__")


def _plain(fn: Callable[..., object]) -> Callable[..., object]:
    while isinstance(fn, functools.partial):
        fn = fn.func
    if not inspect.isroutine(fn):
        fn = type(fn).__call__
    plain: Callable[..., object] = inspect.unwrap(fn)
    return plain


def _names(fn: Callable[..., object]) -> Mapping[str, Any]:
    """Globals of the function's module, and the locals of the function it is made in: classes may live there too."""
    own: Mapping[str, Any] = getattr(fn, "__globals__", {})
    outer = getattr(fn, "__qualname__", "").rpartition(".<locals>")[0]
    if not outer or not _has_text(fn):
        return own
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_qualname != outer:
        frame = frame.f_back
    return own if frame is None else {**own, **frame.f_locals}


def _has_text(fn: Callable[..., object]) -> bool:
    return any(isinstance(one, str) for one in getattr(fn, "__annotations__", {}).values())


def _early(annotation: Any, names: Mapping[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return _resolved(annotation, names, "")
    except InvalidOption:
        return annotation  # a name that is defined further down: tried again at the first use


def _resolved(text: str, names: Mapping[str, Any], where: str) -> Any:
    holder = SimpleNamespace(__annotations__={"it": text})
    try:
        return typing.get_type_hints(holder, dict(names), include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise InvalidOption(f"annotation {text!r} of {where} cannot be resolved: {error}") from error


def _is_context(annotation: object, names: Mapping[str, Any]) -> bool:
    if isinstance(annotation, str):
        resolved = _early(annotation, names)
        if isinstance(resolved, str):  # imported for type checkers only
            return resolved.strip("'\"").rpartition(".")[2] == "JobContext"
        annotation = resolved
    return isinstance(annotation, type) and issubclass(annotation, JobContext)


def _no_depends(name: str, said: tuple[object, ...], where: str) -> None:
    """Raise InvalidOption for a FastAPI Depends, or Security, as a default or in an Annotated."""
    for one in said:
        if any(kind.__name__ == "Depends" and kind.__module__.startswith("fastapi.") for kind in type(one).__mro__):
            raise InvalidOption(
                f"{where} is a FastAPI Depends, which only answers requests: `from queuekit import Inject` and write"
                f" {name} = Inject(...) with the same provider"
            )


def _called(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or repr(fn)
