"""What a mover keeps at the target, written in the same step as each batch: all that a successor must know."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import orjson

from queuekit.domain.query import Totals
from queuekit.domain.state import State
from queuekit.errors import SchemaMismatch

VERSION: Final = 1
MODULUS: Final = 2**256


@dataclass(slots=True, kw_only=True)
class Note:
    """The state of one queue's move. Small: it is written with every batch."""

    batch: int = 0  # the last even number that is counted in here
    compared: int = 0  # the last one read back, as far as it is known here
    rank: int = 0  # given so far; places are base + rank
    base: int = 0  # the first place of the room at the target
    room: int = 0
    last: list[Any] | None = None  # where the last waiting job stood at the source: line, priority, place, id
    pending: dict[str, int] = field(
        default_factory=dict
    )  # places of jobs that are not there yet: running, or sent again
    source_epoch: int = 0  # that the source had: an older one there means that it rolled back
    began: int = 0  # ms of the source's clock, when it stopped giving claims
    arriving: int = 0  # ms of the target's clock, when it began to take in
    total: int = 0  # jobs at the source then
    moved: dict[str, int] = field(default_factory=dict)  # by state
    left: int = 0  # sum of the digests of what left the source
    arrived: int = 0  # and of what was read back, up to the batch before
    owed: dict[str, int] = field(default_factory=dict)  # of the source's totals, what the target has counted itself
    carried: dict[str, int] | None = None  # totals that the target gets, or got, when it opens
    returned: bool = False  # the target was GONE when this move began: its configuration is an old one
    both: list[str] = field(default_factory=list)  # ids that both sides may have run
    schedules: int = 0  # that were copied
    schedules_apart: list[str] = field(default_factory=list)  # ids under which the sides had different ones

    def count(self, state: str, own: bytes, by: int = 1) -> None:
        """Count a job as gone from the source; `by` -1 takes it back."""
        self.moved[state] = self.moved.get(state, 0) + by
        self.left = (self.left + by * int.from_bytes(own)) % MODULUS

    def arrive(self, own: bytes, by: int = 1) -> None:
        """Count a job as read back at the target; `by` -1 takes it back."""
        self.arrived = (self.arrived + by * int.from_bytes(own)) % MODULUS

    def name(self, job: str) -> None:
        """Both sides may have run this job."""
        if job not in self.both:
            self.both.append(job)

    def by_state(self) -> dict[State, int]:
        """How many have moved, by the state they were in."""
        return {State(name): n for name, n in self.moved.items() if n}

    def dump(self) -> bytes:
        """Compact JSON."""
        said = asdict(self)
        said["left"], said["arrived"] = f"{self.left:x}", f"{self.arrived:x}"
        return orjson.dumps({"v": VERSION, **said})

    @classmethod
    def load(cls, text: bytes) -> Note:
        """What `dump` wrote; an empty one where there is none. Raises SchemaMismatch for one of a newer mover."""
        if not text:
            return cls()
        said = orjson.loads(text)
        if "v" not in said:
            return cls()  # of an import from a file
        if said.pop("v") > VERSION:
            raise SchemaMismatch("this move was begun by a newer queuekit: go on with that one")
        known = {f.name for f in fields(cls)}
        note = cls(**{name: value for name, value in said.items() if name in known})
        note.left, note.arrived = int(said["left"], 16), int(said["arrived"], 16)
        return note


def minus(totals: Totals, *others: dict[str, int] | None) -> Totals:
    """What is left of totals, nothing below 0."""
    left = asdict(totals)
    return Totals(**{name: max(0, n - sum((other or {}).get(name, 0) for other in others)) for name, n in left.items()})
