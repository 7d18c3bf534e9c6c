"""What a stored schedule is, and what stores and schedulers tell each other about it. Values only; times in ms.

What its rule says and which job it makes stands in `definition`, which stores do not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from queuekit.domain.job import BATCH_MAX, JobSpec
from queuekit.domain.outcome import Receipt
from queuekit.errors import InvalidOption

FIRE_MAX: Final = 100  # jobs of one firing
DEFINITION_FACTOR: Final = 2  # a definition may have this many times the bytes of a payload: it holds one as base64
DEFINITION_MAX: Final = 12 * 1024 * 1024  # and never more: the largest payload as base64, and a document of MongoDB


@dataclass(slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as kept, identified by (queue, id). A snapshot: changing it changes nothing in the store."""

    id: str
    queue: str
    definition: bytes
    rev: int = 0  # another one, and a higher one, with every write, firings too; 0: none is stored
    next: int | None = None  # the slot that is due next; None: paused, or over
    fired: int = 0  # slots that were to make a job, whether it was new or not
    skipped: int = 0  # slots that made none: missed, or overlapping
    last_job: str | None = None


@dataclass(slots=True, kw_only=True)
class Firing:
    """What is to become of a schedule: jobs of slots that are due (none: they are skipped), and its next slot."""

    id: str
    rev: int  # as it was read
    next_at: int | None
    jobs: tuple[JobSpec, ...] = ()  # at most FIRE_MAX
    skipped: int = 0


class NoFire(StrEnum):
    """Why a firing was not applied; nothing of it was."""

    CHANGED = "changed"  # another rev, or no such schedule: somebody fired or changed it
    FULL = "full"  # its jobs are over the queue's max_size
    LATER = "later"  # a unique key, while jobs are still coming from another store


@dataclass(slots=True, kw_only=True)
class Fired:
    """The answer to one firing."""

    id: str
    no: NoFire | None = None
    receipts: tuple[Receipt, ...] = ()  # of its jobs


@dataclass(slots=True, kw_only=True)
class Due:
    """The schedules of a queue whose slot has come, and when the next one does."""

    now: int
    records: list[ScheduleRecord] = field(default_factory=list)
    next_at: int | None = None  # of those that are not in `records`; not after `now`: there are more that are due


def checked(firings: Sequence[Firing]) -> None:
    """Raise InvalidOption for a call that no store takes."""
    most = max((len(firing.jobs) for firing in firings), default=0)
    if most > FIRE_MAX:
        raise InvalidOption(f"{most} jobs in one firing are over the limit of {FIRE_MAX}")
    jobs = sum(len(firing.jobs) for firing in firings)
    if max(jobs, len(firings)) > BATCH_MAX:
        raise InvalidOption(f"{jobs} jobs of {len(firings)} firings in one call are over the limit of {BATCH_MAX}")
    if len({firing.id for firing in firings}) < len(firings):
        raise InvalidOption("a schedule stands in one call of fire once")


def definition_error(definition: bytes, limit: int) -> str | None:
    """What is wrong with the size of a definition where payloads may have `limit` bytes, or None."""
    bound = min(DEFINITION_FACTOR * limit, DEFINITION_MAX)
    if len(definition) <= bound:
        return None
    return f"its definition has {len(definition)} bytes, over the limit of {bound}; store the payload elsewhere"


def lenient(spec: JobSpec) -> JobSpec:
    """The job as `fire` takes it: a slot has nobody to tell of a conflict."""
    if spec.unique is None or spec.unique.on_conflict != "error":
        return spec
    return replace(spec, unique=replace(spec.unique, on_conflict="existing"))
