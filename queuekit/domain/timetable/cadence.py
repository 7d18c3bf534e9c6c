"""The plain cadences: a fixed period, and one moment. What every cadence answers stands here too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

LAST_MOMENT: Final = 253_370_764_800_000  # 9999-01-01: slots are before it, so that each has a date in every zone


class Cadence(Protocol):
    """Slots in order. The answer depends on the arguments alone."""

    def after(self, moment: int, anchor: int) -> int | None:
        """The first slot strictly after `moment`; None: none comes any more."""

    def to_json(self) -> dict[str, Any]:
        """The keys of a rule that say it."""


@dataclass(frozen=True, slots=True)
class Every:
    """start, start + period, …; without a start: anchor + period, anchor + 2 periods, …"""

    period: int
    text: str
    start: int | None = None
    end: int | None = None

    def after(self, moment: int, anchor: int) -> int | None:
        first = anchor + self.period if self.start is None else self.start
        slot = first if moment < first else moment + self.period - (moment - first) % self.period
        last = LAST_MOMENT if self.end is None else min(self.end, LAST_MOMENT)
        return slot if slot <= last else None

    def to_json(self) -> dict[str, Any]:
        return {"every": self.text}


@dataclass(frozen=True, slots=True)
class Once:
    """One moment."""

    at: int
    text: str

    def after(self, moment: int, anchor: int) -> int | None:
        return self.at if moment < self.at else None

    def to_json(self) -> dict[str, Any]:
        return {"at": self.text}
