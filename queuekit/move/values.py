"""What a move is told and what it answers. Values only: nothing here asks a store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from queuekit.domain.job import BATCH_MAX
from queuekit.domain.moving import Clash
from queuekit.domain.outcome import Home
from queuekit.domain.state import State
from queuekit.errors import InvalidOption
from queuekit.store import parts

MovingStore = parts.MovingStore
SCHEDULES: Final = "schedules"  # the part of stores that keep them


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One end of a move: a store that is open and asynchronous, and its name.

    `name` is the store's configured name: what the other side's queues are told as `to`.
    """

    store: MovingStore
    name: str
    namespace: str = "queuekit"  # as the store was opened with
    payload_limit: int | None = None  # likewise; for `plan`, which asks a sample whether it fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to move."""

    batch: int = 500  # jobs on their way at once, three times over
    rate: int | None = None  # jobs a second, at most
    merge: bool = False  # the target may hold jobs of the queue already
    offline: bool = False  # nobody works: what a side needs that moves "offline" only
    patience: float = 60.0  # seconds a store may be away before the move stops

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= BATCH_MAX:
            raise InvalidOption(f"batch={self.batch} is not between 1 and {BATCH_MAX}")
        if self.rate is not None and self.rate < 1:
            raise InvalidOption(f"rate={self.rate} is below 1 job a second")


class Phase(StrEnum):
    """Where the move of a queue is."""

    BEGIN = "begin"  # the authority changes hands
    JOBS = "jobs"  # live jobs; nobody claims
    OPEN = "open"  # the target works from here on; there is no way back by abort
    HISTORY = "history"  # what ended, while the target works
    TAIL = "tail"  # jobs that still run at the source
    SWEEP = "sweep"  # the last look at the source
    BACK = "back"  # an abort: the same the other way
    DONE = "done"
    VERIFY = "verify"  # of `verify`: reading both sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Told after every batch and every look at the tail; who prints it thins it out."""

    queue: str
    phase: Phase
    moved: int = 0  # jobs of this queue so far, by all starts of this move
    total: int = 0  # as it was when the move began; it may grow
    rate: float = 0.0  # jobs a second, of late
    left: float | None = None  # seconds, as far as the rate tells
    active: int = 0  # jobs that still run at the source
    since: int | None = None  # ms of the source's clock: when the longest-running of them was claimed
    text: str = ""  # a line for people, where there is more to say


OnProgress = Callable[[Progress], None]


@dataclass(slots=True, kw_only=True)
class QueueReport:
    """What became of one queue."""

    queue: str
    phase: Phase = Phase.BEGIN  # reached
    moved: dict[State, int] = field(default_factory=dict)  # by the state they were moved in, each job once
    before: int = 0  # of them, by earlier starts
    digest: str = ""  # sum of the digests of what left the source, hex
    arrived: str = ""  # and of what was read back at the target
    changed: list[str] = field(default_factory=list)  # ids that a person changed at the target before it was read back
    clashes: list[Clash] = field(default_factory=list)  # not taken in; they stay at the source
    ran_on_both: list[str] = field(default_factory=list)  # ids that both sides may have run: the source rolled back
    suspects: list[str] = field(default_factory=list)  # ids on the suspect line, since the source was given up
    schedules: int = 0  # that came along, by all starts of this move
    schedules_apart: list[str] = field(default_factory=list)  # ids under which the sides had different ones
    seconds: float = 0.0  # of this start
    pause: float | None = None  # seconds in which nobody could claim
    phases: dict[Phase, float] = field(default_factory=dict)  # seconds in each
    notes: list[str] = field(default_factory=list)  # sentences for people

    @property
    def jobs(self) -> int:
        return sum(self.moved.values())

    @property
    def rate(self) -> float:
        """Jobs a second, of this start."""
        return max(0, self.jobs - self.before) / self.seconds if self.seconds else 0.0

    @property
    def agrees(self) -> bool:
        """Both sides agree: all of it is at the target, once."""
        wrong = self.clashes or self.ran_on_both or self.schedules_apart
        return self.phase is Phase.DONE and self.digest == self.arrived and not wrong


@dataclass(slots=True, kw_only=True)
class Report:
    """What `move`, `resume`, `abort` and `abandon` answer."""

    source: str
    target: str
    queues: list[QueueReport] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        return sum(q.jobs for q in self.queues)

    @property
    def agrees(self) -> bool:
        """Exit 0."""
        return all(q.agrees for q in self.queues)


class Standing(StrEnum):
    """Where a queue stands between two stores."""

    HERE = "here"  # at the source, nothing began
    ARRIVING = "arriving"  # under way, before the commit point: resume or abort
    OPEN = "open"  # under way, the target works: resume
    MOVED = "moved"  # done
    BACK = "back"  # an abort, or a move the other way, is under way: abort again
    LOST = "lost"  # the target knows nothing of the move the source is in: replaced, or its last writes are lost
    BEHIND = "behind"  # it has moved, and the source rolled back to before that: it has jobs again
    ELSEWHERE = "elsewhere"  # it lives in, or is on its way to, a third store


@dataclass(slots=True, kw_only=True)
class QueuePlan:
    """What a move of one queue would do."""

    queue: str
    standing: Standing
    home: Home = Home.HERE  # at the source
    jobs: dict[State, int] = field(default_factory=dict)
    bytes: int = 0  # of the records as lines, estimated from a sample
    seconds: float | None = None  # estimated; None where nothing could be measured
    pause: float | None = None  # of them, those in which nobody can claim
    workers: dict[str, list[str]] = field(default_factory=dict)  # by the name of the side
    at_target: dict[State, int] = field(default_factory=dict)
    schedules: int = 0  # at the source
    schedules_at_target: int = 0
    clashes: list[Clash] = field(default_factory=list)  # found by id, at most `CLASHES_SHOWN`
    refused: list[str] = field(default_factory=list)  # why `move` would not begin
    warnings: list[str] = field(default_factory=list)


CLASHES_SHOWN: Final = 1000


@dataclass(slots=True, kw_only=True)
class Plan:
    """What `plan` answers; nothing was written."""

    source: str
    target: str
    queues: list[QueuePlan] = field(default_factory=list)
    rate: float | None = None  # jobs a second that the estimate reckons with
    rate_from: str = ""  # where that figure is from
    refused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def possible(self) -> bool:
        return not self.refused and not any(q.refused for q in self.queues)


@dataclass(slots=True, kw_only=True)
class QueueVerdict:
    """One queue on two sides."""

    queue: str
    standing: Standing
    source: dict[State, int] = field(default_factory=dict)
    target: dict[State, int] = field(default_factory=dict)
    source_digest: str = ""  # sha256 over the sorted (id, digest), hex
    target_digest: str = ""
    differ: list[str] = field(default_factory=list)  # ids on both sides, not alike; at most DIFFERENCES_SHOWN each
    only_source: list[str] = field(default_factory=list)
    only_target: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)  # of a queue that has moved: ids on both sides
    source_schedules: int = 0
    target_schedules: int = 0
    schedules_apart: list[str] = field(default_factory=list)  # ids of schedules that are not as they should be
    differences: int = 0  # all of them that are wrong where the queue stands so, schedules too
    notes: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return self.differences == 0


DIFFERENCES_SHOWN: Final = 1000


@dataclass(slots=True, kw_only=True)
class Verdict:
    """What `verify` answers."""

    source: str
    target: str
    queues: list[QueueVerdict] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return all(q.agrees for q in self.queues)
