"""The only place that reads a clock. Stores use their server's time; this is for ids, waits and display."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


def now_ms() -> int:
    """Milliseconds since 1970, this host's clock."""
    return time.time_ns() // 1_000_000


def now() -> datetime:
    """This moment as an aware UTC datetime."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds of a clock that never goes back; for waits and deadlines only."""
    return time.monotonic()


def perf() -> float:
    """Seconds of the finest clock; for measuring only."""
    return time.perf_counter()


def to_datetime(ms: int) -> datetime:
    """Milliseconds since 1970 as an aware UTC datetime, exact."""
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def to_ms(moment: datetime) -> int:
    """An aware datetime as milliseconds since 1970, rounded up so that nothing starts early.

    Raises ValueError for a naive datetime: it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError(
            f"naive datetime {moment.isoformat()}: add a time zone, for example .astimezone() or tzinfo=UTC"
        )
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400 + whole.seconds) * 1000 + -(-whole.microseconds // 1000)
