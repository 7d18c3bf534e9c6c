"""From options of a queue to the limits a store keeps. Which limits there are stands in `domain.limits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from queuekit.domain import options
from queuekit.domain.duration import parse_duration
from queuekit.domain.limits import Limits, checked
from queuekit.domain.values import Profile
from queuekit.errors import InvalidOption

_FIELDS: Mapping[str, str] = {
    "lease": "lease", "concurrency": "concurrency", "global_concurrency": "cap", "rate": "rates",
    "max_size": "max_size", "max_crashes": "max_crashes", "keep_completed": "keep_completed",
    "keep_failed": "keep_failed",
}  # fmt: skip


def limits_from(given: Mapping[str, Any], queue: str) -> Limits:
    """The layer an operator sets. Raises InvalidOption for options that belong to code, which no store keeps."""
    said = options.parse("queue", given, f"queue {queue!r}")
    kept = declared(said)
    others = sorted(said.keys() - _FIELDS.keys() - {"profile"})
    if others:
        raise InvalidOption(
            f"{', '.join(others)} of queue {queue!r} belong to code: QueueKit(queues=…) or queuekit.toml; here go"
            f" {', '.join([*_FIELDS, 'profile'])}"
        )
    if not said:
        raise InvalidOption(f"nothing to configure: say one of {', '.join([*_FIELDS, 'profile'])}")
    return checked(kept)


def declared(said: Mapping[str, Any]) -> Limits:
    """The limits among parsed options of a queue; a profile's concurrency and lease below those said outright."""
    values = {field: said[name] for name, field in _FIELDS.items() if name in said}
    profile = said.get("profile")
    if isinstance(profile, Profile):
        values.setdefault("concurrency", profile.concurrency)
        values.setdefault("lease", parse_duration(profile.lease))
    elif profile is not None:
        raise InvalidOption(f"profile {profile!r} is not known here: light, medium, heavy, or a Profile")
    return Limits(**values)
