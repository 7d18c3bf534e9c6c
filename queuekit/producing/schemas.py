"""Types to JSON and back through pydantic, which is imported at the first typed use: it alone costs a start 60 ms.

Nothing here knows tasks or bytes on a wire; `queuekit.producing.payload` does.
"""

from __future__ import annotations

import collections.abc
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, Required, TypeAlias, Union, get_args, get_origin

from queuekit import codec
from queuekit.domain.values import JSON
from queuekit.errors import PayloadError
from queuekit.producing.signature import MISSING, Signature, is_typeddict

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import SchemaSerializer, SchemaValidator

Unfit: TypeAlias = Callable[[Sequence[tuple[str, str]]], PayloadError]
_SCALARS = frozenset({type(None), bool, int, float, str})
_ANYTHING = (MISSING, Any, object)
_BARE: Mapping[object, object] = {
    dict: dict, list: list, typing.Dict: dict, typing.List: list,  # noqa: UP006  people still write these
    collections.abc.Mapping: dict, collections.abc.Sequence: list, typing.Mapping: dict, typing.Sequence: list,
}  # fmt: skip
_BYTES: Mapping[str, object] = {"ser_json_bytes": "base64", "val_json_bytes": "base64"}  # any bytes travel


def plain(value: object, depth: int = 0) -> None:
    """Raise ValueError unless the value is of JSON types through and through. NaN is the codec's to refuse."""
    kind = type(value)
    if kind in _SCALARS:
        return
    if depth > codec.MAX_DEPTH:
        raise ValueError(f"nested deeper than {codec.MAX_DEPTH} levels")
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]  # it is a dict
            if type(key) is not str:
                raise ValueError(f"holds the key {key!r:.80} of type {type(key).__name__}; JSON keys are text")
            if type(item) not in _SCALARS:
                plain(item, depth + 1)
    elif kind is list or kind is tuple:
        for item in value:  # type: ignore[attr-defined]  # it is a list or a tuple
            if type(item) not in _SCALARS:
                plain(item, depth + 1)
    else:
        raise ValueError(
            f"holds a {kind.__name__}, which JSON cannot carry: annotate the argument with its type, or pass its id"
        )


def is_untyped(annotation: object) -> bool:
    """Whether the annotation says nothing: then JSON types pass as they are."""
    return any(annotation is one for one in _ANYTHING)


def of_arguments(signature: Signature) -> Schema | None:
    """The schema of named arguments; None where none is typed. Raises PayloadError for a type JSON has no form of."""
    if all(is_untyped(param.annotation) for param in signature.params):
        return None
    fields: dict[str, Any] = {}
    for param in signature.params:
        fields[param.name] = (Required if param.required else NotRequired)[_prepared(param.annotation)]
    arguments = _typeddict("arguments", fields, {**_BYTES, "extra": "allow" if signature.open else "forbid"})
    known = frozenset(fields) if signature.open else None
    return _schema(arguments, f"task {signature.task!r}", {p.name: p.annotation for p in signature.params}, known)


def of_value(task: str, name: str, annotation: object) -> Schema | None:
    """The schema of a payload taken as a whole; None for any JSON object."""
    if is_untyped(annotation) or annotation in _BARE or annotation is type(None) or annotation is None:
        return None
    return _schema(_prepared(annotation), f"task {task!r}", {name: annotation}, None)


def of_result(annotation: object) -> Schema | None:
    """The schema of a result; None where it is plain JSON, or a type pydantic knows nothing of."""
    if is_untyped(annotation) or annotation is None or annotation is type(None):
        return None
    try:
        return _schema(_prepared(annotation), "result", {}, None)
    except PayloadError:
        return None


def dataclass_object(value: object) -> dict[str, Any]:
    """A dataclass instance as a JSON object, by its annotations."""
    schema = _schema(type(value), type(value).__name__, {}, None)
    written = schema.write(value, lambda problems: PayloadError(str(problems), [what for _, what in problems]))
    return dict(written) if isinstance(written, Mapping) else {}


class Schema:
    """Validates and serializes one type."""

    __slots__ = ("_known", "_load", "_validate", "_write")

    def __init__(self, validator: SchemaValidator, serializer: SchemaSerializer, known: frozenset[str] | None) -> None:
        self._validate = validator.validate_python
        self._load = validator.validate_json
        self._write = serializer.to_python
        self._known = known  # names with a type, where others are allowed beside them

    def dump(self, value: object, unfit: Unfit) -> JSON:
        """Validate, lax; answer the validated value's JSON form."""
        try:
            valid = self._validate(value)
        except ValueError as error:
            raise unfit(_problems(error)) from None  # its text shows the values: they stay out of tracebacks
        if self._known is not None:
            _check_others(valid, self._known, unfit)
        return self.write(valid, unfit)

    def write(self, value: object, unfit: Unfit) -> JSON:
        """The JSON form of a value that is of the type."""
        try:
            form: JSON = self._write(value, mode="json", by_alias=True, round_trip=True, warnings=False)
        except UnicodeDecodeError as error:
            raise unfit(
                [("", "bytes that are no UTF-8; set ser_json_bytes, val_json_bytes = 'base64' in the model")]
            ) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise unfit([("", f"{error}; pass its id")]) from error
        return form

    def load(self, body: bytes, unfit: Unfit) -> Any:
        """The value of codec bytes. Raises what `unfit` makes, and PayloadError for bytes that are no JSON."""
        if body[:1] not in (b"j", b"J"):
            codec.decode(body)
        try:
            value = self._load(body[1:])
        except ValueError as error:
            if not _is_json_error(error):
                raise unfit(_problems(error)) from None
            value = self._from_codec(body, unfit)
        if self._known is not None:
            _check_others(value, self._known, unfit)
        return value

    def _from_codec(self, body: bytes, unfit: Unfit) -> Any:
        """Text that pydantic's parser refuses and the codec reads: half surrogate pairs."""
        try:
            return self._validate(codec.decode(body))
        except ValueError as error:
            raise unfit(_problems(error)) from None


def _schema(annotation: Any, what: str, named: Mapping[str, object], known: frozenset[str] | None) -> Schema:
    from pydantic import PydanticUserError, TypeAdapter
    from pydantic_core import CoreConfig, SchemaSerializer, SchemaValidator

    try:
        schema = TypeAdapter(annotation).core_schema
    except (PydanticUserError, TypeError, NameError) as error:
        shown = _culprit(named)
        raise PayloadError(
            f"{what}: {shown} has no JSON form ({_first(error)}); pass its id, or annotate a pydantic model", [shown]
        ) from error
    config = CoreConfig(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
    return Schema(SchemaValidator(schema, config), SchemaSerializer(schema, config), known)


def _culprit(named: Mapping[str, object]) -> str:
    """Which of the annotations cannot be: each is tried alone."""
    from pydantic import PydanticUserError, TypeAdapter

    for name, annotation in named.items():
        try:
            TypeAdapter(Any if is_untyped(annotation) else _prepared(annotation))
        except (PydanticUserError, TypeError, NameError):
            return f"argument {name!r}: {getattr(annotation, '__name__', annotation)}"
    return "one of its types"


def _first(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(". ", 1)[0][:200]


def _problems(error: ValueError) -> list[tuple[str, str]]:
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return [("", str(error))]
    return [_problem(dict(one)) for one in error.errors(include_url=False, include_context=False, include_input=False)]


def _problem(one: Mapping[str, Any]) -> tuple[str, str]:
    where = ".".join(str(part) for part in one["loc"])
    if len(one["loc"]) == 1 and one["type"] == "missing":
        return where, "missing"
    if len(one["loc"]) == 1 and one["type"] == "extra_forbidden":
        return where, "extra"
    return where, str(one["msg"]).removeprefix("Value error, ")


def _is_json_error(error: ValueError) -> bool:
    from pydantic import ValidationError

    return isinstance(error, ValidationError) and any(one["type"] == "json_invalid" for one in _errors(error))


def _errors(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    return error.errors(include_url=False, include_context=False, include_input=False)


def _check_others(value: Mapping[str, object], known: frozenset[str], unfit: Unfit) -> None:
    problems = []
    for name, item in value.items():
        if name not in known:
            try:
                plain(item)
            except ValueError as error:
                problems.append((name, str(error)))
    if problems:
        raise unfit(problems)


def _prepared(annotation: Any, inside: tuple[object, ...] = ()) -> Any:
    """The annotation with every "anything" in it bound to JSON types, and TypedDicts in a form pydantic takes.

    Pydantic would turn a Decimal inside `dict[str, Any]` into text; and below Python 3.12 it refuses typing.TypedDict.
    """
    from pydantic import AfterValidator

    if is_untyped(annotation):
        return Annotated[Any, AfterValidator(_json_only)]
    if annotation in _BARE if isinstance(annotation, collections.abc.Hashable) else False:
        return Annotated[_BARE[annotation], AfterValidator(_json_only)]
    if is_typeddict(annotation):
        return _converted(annotation, inside)
    origin, args = get_origin(annotation), get_args(annotation)
    if not args or origin is typing.Literal or origin is collections.abc.Callable:
        return annotation
    if origin is Annotated:
        first = _prepared(args[0], inside)
        return annotation if first is args[0] else Annotated[(first, *args[1:])]
    new = tuple(arg if arg is Ellipsis else _prepared(arg, inside) for arg in args)
    if all(a is b for a, b in zip(new, args, strict=True)):
        return annotation
    if origin in (Union, types.UnionType):
        return Union[new]  # noqa: UP007  built at run time
    made: Any = annotation if hasattr(annotation, "copy_with") else origin
    return made.copy_with(new) if made is annotation else made[new]


def _json_only(value: object) -> object:
    plain(value)
    return value


def _converted(annotation: Any, inside: tuple[object, ...]) -> Any:
    if annotation in inside:
        return annotation
    fields: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(annotation, include_extras=True).items():
        while get_origin(hint) in (Required, NotRequired):
            hint = get_args(hint)[0]
        marker = Required if name in annotation.__required_keys__ else NotRequired
        fields[name] = marker[_prepared(hint, (*inside, annotation))]
    return _typeddict(annotation.__name__, fields, {**_BYTES, **getattr(annotation, "__pydantic_config__", {})})


def _typeddict(name: str, fields: Mapping[str, Any], config: Mapping[str, object]) -> Any:
    import typing_extensions

    make: Any = typing_extensions.TypedDict
    made = make(name, dict(fields))
    made.__pydantic_config__ = config
    return made
