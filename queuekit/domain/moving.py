"""What stores and a mover tell each other while a queue moves from one store to another. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field

from queuekit.domain.job import JobRecord
from queuekit.domain.limits import QueueConf


@dataclass(slots=True, kw_only=True)
class Standing:
    """The answer to `authority`: where the queue stands now."""

    conf: QueueConf
    now: int
    mark: int = 0  # the last place given at the back when the queue began to move; higher ones were given since
    base: int = 0  # the first place of the room that was made before all; kept as long as the queue arrives
    settles_at: int = 0  # until then calls that began before may still add or claim jobs here; exact stores: now


@dataclass(slots=True, kw_only=True)
class Parcel:
    """A job on its way, with what its record does not say.

    Coming out, `record.place` is the source's; going in, the target's: inside the room, or with `back` a new one.
    A record that is active is held: it runs at the source, and here it only occupies its id and its key.
    """

    record: JobRecord
    back: bool = False  # going in: the place is the next one at the back
    holds: bool = False  # it holds its unique key now
    key_expires: int | None = None  # ms, of a key held for a time
    awaited: bool = False  # somebody waits for its result


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """A unique key held for a time by a job that is gone, or that holds it no longer by its state."""

    key: str
    id: str
    expires: int  # ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Clash:
    """A parcel that was not taken in: another job has its id, or holds its key."""

    id: str
    why: str  # "id" or "key"
    by: str  # the job that is in the way


@dataclass(slots=True, kw_only=True)
class Journal:
    """What a store knows of the move under way: as target what it took in, as source what is out."""

    epoch: int
    taken: list[int] = field(default_factory=list)  # numbers of the batches taken in, ascending
    note: bytes = b""  # the mover's own, of the last batch taken in
    out: list[int] = field(default_factory=list)  # numbers of the batches checked out and not confirmed, ascending


@dataclass(slots=True, kw_only=True)
class Known:
    """What a source still has of ids and keys."""

    ids: set[str] = field(default_factory=set)
    keys: dict[str, str] = field(default_factory=dict)  # key -> id of its holder


@dataclass(slots=True, kw_only=True)
class Confirmed:
    """The answer to `confirm`. `active` were claimed here although their batch had left: only after a rollback."""

    removed: int
    active: list[str] = field(default_factory=list)
