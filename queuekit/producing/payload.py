"""Arguments and results to bytes and back, by the shape of a signature; types themselves are read in `schemas`.

On the wire a payload is a JSON object of named arguments, or the whole of a task's only model. Validated lax on both
sides; the validated form is what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from queuekit import codec
from queuekit.domain.options import options_of
from queuekit.domain.values import JSON
from queuekit.errors import PayloadError
from queuekit.producing import schemas
from queuekit.producing.schemas import Schema, plain
from queuekit.producing.signature import Param, Signature, is_model

Call: TypeAlias = tuple[tuple[object, ...], dict[str, Any]]
_SCALARS = frozenset({type(None), bool, int, float, str})


class Wire(Protocol):
    """How the arguments of one task travel."""

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The payload of a call. Raises PayloadError, one entry an argument."""
        ...

    def encode_payload(self, payload: object) -> bytes:
        """A payload given as one object, checked. Raises PayloadError."""
        ...

    def decode(self, body: bytes) -> Call:
        """The arguments for the handler. Raises PayloadError."""
        ...


def plain_json(value: object) -> JSON:
    """The value itself if JSON carries it unchanged. Raises PayloadError."""
    try:
        plain(value)
    except ValueError as error:
        raise PayloadError(f"payload {error}", [str(error)]) from error
    return value  # type: ignore[return-value]  # just checked


def encode_object(payload: object) -> bytes:
    """The payload of a task that this process does not know: a JSON object, a pydantic model or a dataclass."""
    if type(payload) is not dict:
        payload = _as_object(payload)
    return codec.encode_checked(plain_json(payload))


class Arguments:
    """Named arguments. `schema` None: none of them is typed, so JSON types pass as they are."""

    __slots__ = ("_injects", "_known", "_open", "_order", "_positional", "_required", "_schema", "_task")

    def __init__(self, signature: Signature, schema: Schema | None) -> None:
        self._task = signature.task
        self._order = tuple(p.name for p in signature.params if not p.keyword_only)
        self._required = tuple(p.name for p in signature.params if p.required)
        self._positional = tuple(p.name for p in signature.params if p.positional_only)
        self._known = frozenset(p.name for p in signature.params)
        self._injects = frozenset(signature.injects)
        self._open = signature.open
        self._schema = schema

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The payload of a call. Raises PayloadError, one entry an argument."""
        if args:
            if len(args) > len(self._order):
                raise self._refused([f"{len(args)} positional arguments, at most {len(self._order)} are taken"])
            data = dict(zip(self._order, args, strict=False))
            if kwargs:
                if not data.keys().isdisjoint(kwargs):
                    twice = sorted(data.keys() & kwargs.keys())
                    raise self._refused([f"{name}: given twice, by position and by name" for name in twice])
                data.update(kwargs)
        else:
            data = dict(kwargs)
        return self._encode(data)

    def encode_payload(self, payload: object) -> bytes:
        """A payload given as one object, checked. Raises PayloadError."""
        return self._encode(dict(_as_object(payload)))

    def decode(self, body: bytes) -> Call:
        """The arguments for the handler. Raises PayloadError."""
        if self._schema is None:
            data = codec.decode(body)
            if not isinstance(data, dict):
                raise PayloadError(f"payload of task {self._task!r} is a {type(data).__name__}, not an object")
            self._check_names(data)
        else:
            data = self._schema.load(body, self._unfit)
        if not self._positional:
            return (), data
        return tuple(data.pop(name) for name in self._positional if name in data), data

    def _encode(self, data: dict[str, object]) -> bytes:
        if self._injects and not self._injects.isdisjoint(data):
            self._check_injects(data)
        if self._schema is not None:
            return codec.encode_checked(self._schema.dump(data, self._unfit))
        self._check_names(data)
        problems = []
        for name, value in data.items():
            if type(value) not in _SCALARS:
                try:
                    plain(value)
                except ValueError as error:
                    problems.append(f"{name}: {error}")
        if problems:
            raise self._refused(problems)
        return codec.encode_checked(data)  # type: ignore[arg-type]  # just checked

    def _check_names(self, data: Mapping[str, object]) -> None:
        if len(data) == len(self._known) and self._known.issuperset(data):
            return
        problems = [f"{name}: missing" for name in self._required if name not in data]
        if not self._open:
            problems += [f"{name}: no such argument{_as_option(name)}" for name in data if name not in self._known]
        if problems:
            raise self._refused(problems)

    def _check_injects(self, data: Sequence[str] | Mapping[str, object]) -> None:
        passed = [name for name in data if name in self._injects]
        if passed:
            raise self._refused([f"{name}: the worker provides it (Inject); do not pass it" for name in passed])

    def _unfit(self, problems: Sequence[tuple[str, str]]) -> PayloadError:
        return self._refused(_lines(problems, "no such argument", _as_option))

    def _refused(self, problems: Sequence[str]) -> PayloadError:
        return _refused(self._task, problems)


class Whole:
    """The whole payload goes to a task's only argument. `schema` None: any JSON object."""

    __slots__ = ("_param", "_schema", "_task")

    def __init__(self, task: str, param: Param, schema: Schema | None) -> None:
        self._task = task
        self._param = param
        self._schema = schema

    def encode(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> bytes:
        """The payload of a call with that one argument. Raises PayloadError."""
        if len(args) + len(kwargs) != 1 or (kwargs and self._param.name not in kwargs):
            raise self._unfit([(self._param.name, f"the task takes this one argument, not {len(args) + len(kwargs)}")])
        return self.encode_payload(args[0] if args else kwargs[self._param.name])

    def encode_payload(self, payload: object) -> bytes:
        """The payload itself, checked. Raises PayloadError."""
        if self._schema is None:
            return encode_object(payload)
        return codec.encode_checked(self._schema.dump(payload, self._unfit))

    def decode(self, body: bytes) -> Call:
        """The argument for the handler. Raises PayloadError."""
        value = codec.decode(body) if self._schema is None else self._schema.load(body, self._unfit)
        return ((value,), {}) if self._param.positional_only else ((), {self._param.name: value})

    def _unfit(self, problems: Sequence[tuple[str, str]]) -> PayloadError:
        return _refused(self._task, _lines(problems, "no such field"))


class Result:
    """What a handler returns, to bytes and back, by its return annotation."""

    __slots__ = ("_schema", "_task")

    def __init__(self, task: str, schema: Schema | None) -> None:
        self._task = task
        self._schema = schema

    def encode(self, value: object) -> bytes:
        """The stored form. Raises PayloadError for what JSON cannot carry."""
        if type(value) in _SCALARS:
            return codec.encode_checked(value)  # type: ignore[arg-type]  # a JSON scalar
        if self._schema is None:
            try:
                plain(value)
            except ValueError as error:
                raise PayloadError(f"result of task {self._task!r} {error}", [str(error)]) from error
            return codec.encode_checked(value)  # type: ignore[arg-type]  # just checked
        return codec.encode_checked(self._schema.write(value, self._unfit))

    def decode(self, data: bytes) -> object:
        """The value as the annotation says. Raises PayloadError where it no longer fits."""
        return codec.decode(data) if self._schema is None else self._schema.load(data, self._unfit)

    def _unfit(self, problems: Sequence[tuple[str, str]]) -> PayloadError:
        lines = _lines(problems, "no such field")
        return PayloadError(f"result of task {self._task!r} does not fit its type: {'; '.join(lines)}", lines)


def wire_of(signature: Signature, *, whole: bool = False) -> Wire:
    """How a handler's arguments travel. `whole`: its only argument takes the payload, whatever its type."""
    signature.resolve()
    params = signature.params
    if whole or (len(params) == 1 and not signature.open and is_model(params[0].annotation)):
        return Whole(signature.task, params[0], schemas.of_value(signature.task, params[0].name, params[0].annotation))
    return Arguments(signature, schemas.of_arguments(signature))


def result_of(signature: Signature) -> Result:
    """How a handler's result travels."""
    return Result(signature.task, schemas.of_result(signature.result_type()))


def _refused(task: str, problems: Sequence[str]) -> PayloadError:
    return PayloadError(f"payload does not fit task {task!r}: {'; '.join(problems)}", problems)


def _lines(problems: Sequence[tuple[str, str]], extra: str, hint: Callable[[str], str] = lambda name: "") -> list[str]:
    texts = [(where, f"{extra}{hint(where)}" if what == "extra" else what) for where, what in problems]
    return [f"{where}: {what}" if where else what for where, what in texts]


def _as_option(name: str) -> str:
    return f" (an option? then .using({name}=…))" if name in options_of("job") else ""


def _as_object(payload: object) -> dict[str, Any]:
    if isinstance(payload, Mapping):
        return dict(payload)
    dump: Callable[..., Any] | None = getattr(payload, "model_dump", None)
    if dump is not None and not isinstance(payload, type):
        shown: dict[str, Any] = dump(mode="json", by_alias=True, round_trip=True)
        return shown
    if hasattr(payload, "__dataclass_fields__") and not isinstance(payload, type):
        return schemas.dataclass_object(payload)
    raise PayloadError(
        f'payload is a {type(payload).__name__}: give an object of named arguments, for example {{"path": …}}',
        [f"payload: a {type(payload).__name__}, not an object"],
    )
