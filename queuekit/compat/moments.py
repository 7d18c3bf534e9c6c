"""Moments as JavaScript's callers give them: dates, ISO 8601 text, milliseconds since 1970."""

from __future__ import annotations

from datetime import datetime

from queuekit import InvalidOption, clock


def moment_of(name: str, said: object) -> datetime:
    """An aware datetime. Raises InvalidOption, which names the option, for one without a time zone too."""
    if isinstance(said, int | float) and not isinstance(said, bool):
        try:
            return clock.to_datetime(round(said))
        except (OverflowError, ValueError):
            raise InvalidOption(f"{name} {said!r}: no such moment, in milliseconds since 1970") from None
    read = said
    if isinstance(said, str):
        try:
            read = datetime.fromisoformat(said)
        except ValueError:
            raise InvalidOption(f"{name} {said!r}: no such moment; write it as 2026-12-01T09:00:00Z") from None
    if not isinstance(read, datetime) or read.tzinfo is None:
        raise InvalidOption(f"{name} {said!r}: use an aware datetime, 2026-12-01T09:00:00Z, or milliseconds since 1970")
    return read
