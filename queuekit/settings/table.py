"""The one table of variables: name, field, type, parser. Where values come from and what follows is not known here."""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from queuekit.domain import names
from queuekit.domain.duration import parse_duration
from queuekit.domain.job import HARD_PAYLOAD_LIMIT
from queuekit.domain.redact import MASK, redact
from queuekit.errors import ConfigError, InvalidOption

if TYPE_CHECKING:
    from pydantic import BaseModel

LEVELS = ("debug", "info", "warning", "error", "critical")
LEASE_MIN = 100  # ms
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "k": 1024, "kib": 1024, "m": 1024**2, "mib": 1024**2}


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, and where: the variable's name, or "queuekit.toml [kit] lease"."""

    value: object
    origin: str
    from_file: bool
    mapped: bool = False  # in a framework's own settings

    @property
    def rank(self) -> int:
        """Lower goes first: the environment, a framework's settings, the file."""
        return 2 if self.from_file else int(self.mapped)


@dataclass(frozen=True, slots=True)
class Variable:
    """One row: an environment variable, and the key of the same meaning in [kit]."""

    name: str
    field: str
    kind: object = str
    parse: Callable[[Any], object] | None = None
    secret: bool = False  # never shown
    in_file: bool = True  # may stand in [kit], under the field's name


def _count(least: int, most: int = 2**31 - 1) -> Callable[[object], object]:
    def parse(value: object) -> object:
        text = str(value)
        if not (text.isascii() and text.isdecimal()):
            raise ValueError("use a whole number")
        if not least <= int(text) <= most:
            raise ValueError(f"use {least} to {most}")
        return int(text)

    return parse


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _duration(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError('use seconds, or text such as "30s"')
    ms = parse_duration(value)
    if ms == 0:
        raise ValueError("use more than nothing")
    return ms


def _lease(value: object) -> object:
    ms = _duration(value)
    if isinstance(ms, int) and ms < LEASE_MIN:
        raise ValueError("use 100ms or more: no worker could renew a shorter one in time")
    return ms


def _grace(value: object) -> object:
    return 0 if value in (0, "0") else _duration(value)


def _size(value: object) -> object:
    text = str(value).lower()
    unit = text.lstrip("0123456789")
    if unit == text or not text.isascii() or unit.strip() not in _SIZES:
        raise ValueError('use bytes, or text such as "256KiB" or "1MiB"')
    size = int(text.removesuffix(unit)) * _SIZES[unit.strip()]
    if not 1 <= size <= HARD_PAYLOAD_LIMIT:
        raise ValueError(f"use 1 to {HARD_PAYLOAD_LIMIT} bytes (8 MiB)")
    return size


def _keys(value: object) -> object:
    for part in str(value).split(","):
        name, _, key = part.strip().partition(":")
        try:
            valid = bool(name and base64.b64decode(key, validate=True))
        except binascii.Error:
            valid = False
        if not valid:
            raise ValueError("use id:base64,id:base64,…; the first one encrypts")
    return value


def log_levels(text: str) -> dict[str, str]:
    """Levels by logger: "info,queuekit.runtime=debug" gives queuekit info and queuekit.runtime debug."""
    levels = {"queuekit": "info"}
    for part in text.split(","):
        logger, _, level = part.rpartition("=")
        if level.strip().lower() not in LEVELS:
            raise ValueError(f"{part!r} names no level: use {', '.join(LEVELS)}, or queuekit.runtime=debug,…")
        levels[logger.strip() or "queuekit"] = level.strip().lower()
    return levels


def _log(value: object) -> object:
    log_levels(str(value))
    return value


def _preset(value: object) -> object:
    from queuekit.domain.presets import preset_name  # where one is set only: a producer's start counts modules

    return preset_name(value)


def _timezone(value: object) -> object:
    from queuekit.domain.timetable.values import zone_name  # where one is set only, as above

    try:
        return zone_name(value, "")
    except InvalidOption as error:
        raise ValueError(str(error).rpartition("no time zone: ")[2]) from None


TABLE = (
    Variable("QUEUEKIT_URL", "url"),
    Variable("QUEUE_PROVIDER", "provider", str, _lower),
    Variable("REDIS_URL", "redis_url", in_file=False),
    Variable("REDIS_HOST", "redis_host", in_file=False),
    Variable("REDIS_PORT", "redis_port", int, _count(1, 65535), in_file=False),
    Variable("REDIS_USERNAME", "redis_username", in_file=False),
    Variable("REDIS_PASSWORD", "redis_password", secret=True, in_file=False),
    Variable("REDIS_DB", "redis_db", int, _count(0), in_file=False),
    Variable("MONGODB_URL", "mongodb_url", in_file=False),
    Variable("QUEUE_COLLECTION", "collection"),
    Variable("QUEUEKIT_SQLITE_PATH", "sqlite_path"),
    Variable("QUEUEKIT_TO_URL", "to_url"),
    Variable("QUEUEKIT_FROM_URL", "from_url"),
    Variable("QUEUEKIT_NAMESPACE", "namespace", str, names.namespace),
    Variable("QUEUEKIT_APP", "app"),
    Variable("QUEUEKIT_CONFIG", "config", in_file=False),
    Variable("QUEUEKIT_ENV_FILE", "env_file", in_file=False),
    Variable("WORKER_TYPE", "worker_type"),
    Variable("QUEUEKIT_CONCURRENCY", "concurrency", int, _count(1)),
    Variable("QUEUEKIT_GRACE", "grace", int, _grace),
    Variable("QUEUEKIT_PROCESSES", "processes", int, _count(1)),
    Variable("QUEUEKIT_LEASE", "lease", int, _lease),
    Variable("QUEUEKIT_TIMEOUT", "timeout", int, _duration),
    Variable("QUEUEKIT_DURABILITY", "durability", Literal["acknowledged", "replicated"], _lower),
    Variable("QUEUEKIT_ALLOW_EVICTION", "allow_eviction", bool),
    Variable("QUEUEKIT_PAYLOAD_LIMIT", "payload_limit", int, _size),
    Variable("QUEUEKIT_KEYS", "keys", str, _keys, secret=True, in_file=False),
    Variable("QUEUEKIT_KEYS_FILE", "keys_file"),
    Variable("QUEUEKIT_LOG", "log", str, _log),
    Variable("QUEUEKIT_DEBUG", "debug", bool, in_file=False),
    Variable("QUEUEKIT_LOG_FORMAT", "log_format", Literal["text", "json"], _lower),
    Variable("QUEUEKIT_HEALTH_PORT", "health_port", int, _count(1, 65535)),
    Variable("QUEUEKIT_DASHBOARD_TOKEN", "dashboard_token", secret=True, in_file=False),
    Variable("QUEUEKIT_REQUIRE_PROVIDER", "require_provider", bool),
    Variable("QUEUEKIT_PRESET", "preset", str, _preset),
    Variable("QUEUEKIT_TIMEZONE", "timezone", str, _timezone),
)
VARIABLES = tuple(row.name for row in TABLE)
SECRETS = frozenset(row.field for row in TABLE if row.secret)


def check(given: Mapping[str, Given]) -> dict[str, Any]:
    """The values as their types, by field. Raises ConfigError: a line for each that cannot be, naming its origin."""
    simple = _texts(given)
    if simple is not None:
        return simple
    from pydantic import ValidationError

    try:
        return _model()(**{name: one.value for name, one in given.items()}).model_dump(exclude_unset=True)
    except ValidationError as error:
        lines = [_line(given, str(problem["loc"][0]), problem["msg"]) for problem in error.errors(include_url=False)]
    raise ConfigError("\n".join(lines))  # out here: as its context, pydantic's error would show values in a traceback


def _texts(given: Mapping[str, Given]) -> dict[str, Any] | None:
    """The values where all are texts that are fine: then a first enqueue starts without pydantic, 65 ms sooner."""
    rows = {row.field: row for row in TABLE if row.kind is str}
    values: dict[str, Any] = {}
    for name, one in given.items():
        row = rows.get(name)
        if row is None or not isinstance(one.value, str):
            return None
        try:
            values[name] = one.value if row.parse is None else row.parse(one.value)
        except (ValueError, InvalidOption):
            return None  # pydantic says it, with all the others
    return values


@functools.cache
def _model() -> type[BaseModel]:
    from pydantic import BeforeValidator, create_model

    fields: dict[str, Any] = {}
    for row in TABLE:
        fields[row.field] = (
            Annotated[row.kind, BeforeValidator(_value_errors(row.parse))] if row.parse else row.kind,
            None,
        )
    model: type[BaseModel] = create_model("Variables", **fields)
    return model


def _value_errors(parse: Callable[[Any], object]) -> Callable[[Any], object]:
    """Let pydantic collect what the domain's parsers refuse; a wrong name keeps its own class."""

    def run(value: object) -> object:
        try:
            return parse(value)
        except InvalidOption as error:
            raise ValueError(str(error)) from None

    return run


def _line(given: Mapping[str, Given], name: str, message: str) -> str:
    one = given[name]
    if name in SECRETS:
        return f"{one.origin}={MASK}: {message.removeprefix('Value error, ')}"
    shown = redact(f"{one.origin}={one.value!r}")  # whole: what is cut in the middle of a secret is not recognized
    return f"{shown:.200}: {message.removeprefix('Value error, ')}"
