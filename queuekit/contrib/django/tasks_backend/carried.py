"""Values as JSON carries them and brings them back unchanged; whatever it would change on the way is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from queuekit import codec
from queuekit.contrib.django.tasks_backend.root import normalize_json
from queuekit.errors import PayloadError


def carried(value: object) -> Any:
    """`value` as Django normalizes it, in plain types: what comes out of the store equals this.

    Raises TypeError for what JSON has no form for (also keys that are no text), ValueError for NaN and infinities.
    """
    return _plain(normalize_json(value))


def encoded(payload: dict[str, Any]) -> bytes:
    """The bytes of carried values. Raises ValueError where they are nested too deep."""
    try:
        return codec.encode(payload)
    except PayloadError as error:
        raise ValueError(str(error)) from error


def _plain(value: Any) -> Any:
    """Subclasses of text and numbers as what they are: safe strings, members of enums."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"Unsupported type: {type(key)} as the key {key!r}; JSON would bring it back as text")
        return {str.__str__(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"Unsupported value: {value!r} has no form in JSON")
        return float(value)
    return int(value)
