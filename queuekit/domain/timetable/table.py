"""The timetable of one schedule: its cadence within its bounds, and what becomes of slots that were missed.

Everything is a pure function of what is passed in; moments are ms UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from queuekit.domain.duration import format_duration
from queuekit.domain.schedule import FIRE_MAX
from queuekit.domain.timetable.cadence import Cadence, Every, Once
from queuekit.domain.timetable.combined import Written
from queuekit.domain.timetable.given import parsed
from queuekit.domain.timetable.values import slot_name

SKIPPED_MAX: Final = 100  # slots of one turn that are counted one by one; more are counted as so many
SKIP_GRACE: Final = 60_000  # how late a slot may be with missed="skip"
LEEWAY: Final = 60_000  # a start this long ago is still "now": it takes a moment to write a schedule

Missed = Literal["skip", "once", "all"]
Overlap = Literal["allow", "skip", "replace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What becomes of a schedule that is due: the slots that fire now, in order, and the next one."""

    slots: tuple[int, ...]  # at most FIRE_MAX
    next_at: int | None  # not after `now`: there are more to fire; None: over
    skipped: int  # slots passed over; no more than SKIPPED_MAX are counted in one turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """A rule, read and checked. `anchor` is the moment from which `every` counts where there is no start."""

    cadence: Cadence
    zone: str = "UTC"
    start: int | None = None
    end: int | None = None
    count: int | None = None
    jitter: int = 0
    missed: Missed = "once"
    grace: int | None = None
    overlap: Overlap = "allow"

    @classmethod
    def parse(cls, given: Mapping[str, Any], *, where: str, zone: str = "UTC") -> Timetable:
        """The keys of `Rule`, as in code or in TOML; `zone` where it names none. `where` begins the message.
        Raises InvalidOption, which names the key and shows a right one."""
        return cls(**parsed(given, where=where, zone=zone, check=True))

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Timetable:
        """What `to_json` wrote."""
        return cls(**parsed(stored, where="stored schedule", zone="UTC", check=False))

    def to_json(self) -> dict[str, Any]:
        """Plain and shortest, with defaults left out: equal rules give equal answers."""
        plain = self.cadence.to_json()
        if self.zone != "UTC":
            plain["timezone"] = self.zone
        for key, moment in (("start", self.start), ("end", self.end)):
            if moment is not None:
                plain[key] = slot_name(moment)
        if self.count is not None:
            plain["count"] = self.count
        if self.jitter:
            plain["jitter"] = format_duration(self.jitter)
        if self.missed != "once":
            plain["missed"] = self.missed
        if self.grace is not None:
            plain["grace"] = format_duration(self.grace)
        if self.overlap != "allow":
            plain["overlap"] = self.overlap
        return plain

    def after(self, moment: int, anchor: int) -> int | None:
        """The first slot strictly later; None: it is over."""
        if self.start is not None and moment < self.start:
            moment = self.start - 1
        slot = self.cadence.after(moment, anchor)
        return None if slot is None or (self.end is not None and slot > self.end) else slot

    def first(self, now: int, anchor: int) -> int | None:
        """The first slot of a new schedule: none that has passed, but that a start, or a single moment, of the last
        minute counts as now. One that was there before goes on with `after(now, anchor)`: it may have fired."""
        begun = _begin(self.cadence) if self.start is None else self.start
        if begun is not None and now - LEEWAY <= begun < now:
            now = begun
        return self.after(now - 1, anchor)

    def moments(self, n: int, after: int, anchor: int) -> list[int]:
        """The next `n` slots, fewer where it ends; `count` bounds them as if none had fired yet."""
        found: list[int] = []
        left = n if self.count is None else min(n, self.count)
        slot = self.after(after, anchor)
        while slot is not None and len(found) < left:
            found.append(slot)
            slot = self.after(slot, anchor)
        return found

    def turn(self, next: int, fired: int, now: int, anchor: int) -> Turn:
        """Of a schedule whose slot `next` has come and that made `fired` jobs so far."""
        if next > now:
            return Turn(slots=(), next_at=next, skipped=0)
        left = FIRE_MAX if self.count is None else self.count - fired
        if left <= 0:
            return Turn(slots=(), next_at=None, skipped=0)
        turn = (
            self._all(next, min(left, FIRE_MAX), now, anchor)
            if self.missed == "all"
            else self._latest(next, now, anchor)
        )
        if self.count is not None and len(turn.slots) >= left:
            return Turn(slots=turn.slots, next_at=None, skipped=turn.skipped)
        return turn

    def jitter_of(self, id: str, slot: int) -> int:
        """By how many ms the job of this slot is put off: 0 to `jitter`, always the same ones."""
        if not self.jitter:
            return 0
        digest = hashlib.blake2b(f"{id}@{slot}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") * (self.jitter + 1) >> 64

    def _latest(self, next: int, now: int, anchor: int) -> Turn:
        """The latest slot that has come, if it is not too late; the ones before it are missed."""
        latest, missed, following = self._passed(next, now, anchor)
        grace = SKIP_GRACE if self.grace is None and self.missed == "skip" else self.grace
        if grace is not None and now - latest > grace:
            return Turn(slots=(), next_at=following, skipped=min(missed + 1, SKIPPED_MAX))
        return Turn(slots=(latest,), next_at=following, skipped=missed)

    def _all(self, next: int, most: int, now: int, anchor: int) -> Turn:
        """Every slot within the grace, in order."""
        slot: int | None = next
        missed = 0
        if self.grace is not None and now - next > self.grace:
            begin = now - self.grace
            _, missed, slot = self._passed(next, begin - 1, anchor)
            missed = min(missed + 1, SKIPPED_MAX)
        slots: list[int] = []
        while slot is not None and slot <= now and len(slots) < most:
            slots.append(slot)
            slot = self.after(slot, anchor)
        return Turn(slots=tuple(slots), next_at=slot, skipped=missed)

    def _passed(self, next: int, now: int, anchor: int) -> tuple[int, int, int | None]:
        """The latest slot up to `now`, how many from `next` on are before it, and the one behind it."""
        slot, passed = next, 0
        following = self.after(slot, anchor)
        while following is not None and following <= now and passed < SKIPPED_MAX:
            slot, passed = following, passed + 1
            following = self.after(slot, anchor)
        if following is None or following > now:
            return slot, passed, following
        low, high = slot, now  # a slot comes after `low`, up to `now`; none after `high`
        while high - low > 1:
            middle = (low + high) // 2
            found = self.after(middle, anchor)
            if found is not None and found <= now:
                low = found
            else:
                high = middle
        return low, passed, self.after(low, anchor)


def _begin(cadence: Cadence) -> int | None:
    while isinstance(cadence, Written):
        cadence = cadence.cadence
    return cadence.at if isinstance(cadence, Once) else cadence.start if isinstance(cadence, Every) else None
