"""Cadences made of others: all of them agree, or any of them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from queuekit.domain.timetable.cadence import Cadence

ROUNDS: Final = 2000  # slots looked at until all agree; who does not by then is over


@dataclass(frozen=True, slots=True)
class Both:
    """The moments that are a slot of every part. Over when a part is, or when ROUNDS do not find one."""

    parts: tuple[Cadence, ...]

    def after(self, moment: int, anchor: int) -> int | None:
        for _ in range(ROUNDS):
            slots = [part.after(moment, anchor) for part in self.parts]
            found = [slot for slot in slots if slot is not None]
            if len(found) < len(slots):
                return None
            latest = max(found)
            if latest == min(found):
                return latest
            moment = latest - 1
        return None

    def to_json(self) -> dict[str, Any]:
        return {"and": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Either:
    """The moments that are a slot of any part, each once."""

    parts: tuple[Cadence, ...]

    def after(self, moment: int, anchor: int) -> int | None:
        return min((slot for part in self.parts if (slot := part.after(moment, anchor)) is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        return {"or": [part.to_json() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Written:
    """A cadence with the plain form that a rule gives it."""

    cadence: Cadence
    plain: dict[str, Any] = field(hash=False)

    def after(self, moment: int, anchor: int) -> int | None:
        return self.cadence.after(moment, anchor)

    def to_json(self) -> dict[str, Any]:
        return deepcopy(self.plain)
