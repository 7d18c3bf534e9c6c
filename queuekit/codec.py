"""Values to bytes and back: strict JSON behind a one-byte codec id. Never pickle; below this line bytes are opaque.

`j` is JSON written by orjson; `J` is JSON written by the standard library, used where orjson would lose
something (integers over 64 bits, lone surrogates). The reader obeys the byte, so a value returns as it went.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import orjson

from queuekit.errors import PayloadError

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

MAX_DEPTH = 64
_PLAIN = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(value: JSON) -> bytes:
    """JSON types to bytes. Raises PayloadError for anything else, for NaN, and deeper than 64 levels."""
    _check(value, 0)  # orjson would also write UUIDs and enums, which do not return as they went
    return encode_checked(value)


def encode_checked(value: JSON) -> bytes:
    """`encode` for a value whose types were checked by its schema already: 1 us instead of 3 for a small payload."""
    try:
        data = orjson.dumps(value, option=_PLAIN)
    except (TypeError, RecursionError):
        _check(value, 0)
        return b"J" + json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
    if b"null" in data or data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _check(value, 0)  # orjson writes NaN as null, and knows no depth we would accept on every store
    return b"j" + data


def decode(data: bytes) -> JSON:
    """What `encode` wrote. Raises PayloadError for an unknown codec id or damaged bytes."""
    kind, text = data[:1], data[1:]
    try:
        if kind == b"j":
            value: JSON = orjson.loads(text)
            return value
        if kind == b"J":
            slow: JSON = json.loads(text)
            return slow
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"payload cannot be decoded: {error}") from error
    raise PayloadError(f"payload has codec id {kind!r}; this queuekit reads b'j' and b'J'")


def _check(value: object, depth: int) -> None:
    """Refuse what JSON cannot carry back unchanged."""
    if depth > MAX_DEPTH:
        raise PayloadError(f"payload is nested deeper than {MAX_DEPTH} levels")
    if value is None or type(value) in (bool, int, str):
        return
    if type(value) is float:
        if value != value or value in (float("inf"), float("-inf")):
            raise PayloadError(f"payload holds {value}, which JSON cannot carry")
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                raise PayloadError(f"payload has the key {key!r} of type {type(key).__name__}; JSON keys are text")
            _check(item, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check(item, depth + 1)
    else:
        raise PayloadError(
            f"payload holds a {type(value).__name__}, which JSON cannot carry; convert it, or pass its id"
        )
