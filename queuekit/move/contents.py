"""What an export holds: read to its end and checked before anything of it is used, then handed out by batches.

What a line is stands in `lines`, what a record is in `records`; no store is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from queuekit.domain.limits import Limits
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.query import Totals
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.state import Line as Lane
from queuekit.domain.state import State
from queuekit.errors import PayloadError
from queuekit.move.lines import Line, read
from queuekit.move.reading import Unreadable, held_key, parse, schedule
from queuekit.move.records import Digests, compact

BATCH: Final = 500  # jobs and keys; fixed: the number of a batch says which jobs it holds
BATCH_BYTES: Final = 4 * 1024 * 1024
_ABOUT: Final = {"name", "declared", "override", "totals", "jobs"}
_END: Final = {"jobs", "keys", "changed", "queues"}
SCHEDULES: Final = 500  # a page

Lines = Callable[[], Iterable[bytes]]  # the file from its begin, each time


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a file says of a queue."""

    name: str
    declared: Limits
    override: Limits
    totals: Totals


@dataclass(slots=True, kw_only=True)
class Contents:
    """What a file says and holds: no line is missing or altered."""

    id: str
    at: int  # ms of the clock of the store it is from
    header: dict[str, Any]
    queues: dict[str, Digests] = field(default_factory=dict)
    keys: int = 0
    schedules: dict[str, int] = field(default_factory=dict)  # by queue; without those that have none
    changed: list[str] = field(default_factory=list)  # queues that went on while they were exported
    last: dict[tuple[str, str], int] = field(default_factory=dict)  # (queue, id) that comes again -> its last line

    @property
    def jobs(self) -> int:
        return sum(one.total for one in self.queues.values())

    @property
    def ran(self) -> int:
        """Jobs that ran at the time."""
        return sum(one.counts.get(State.ACTIVE, 0) for one in self.queues.values())


@dataclass(slots=True, kw_only=True)
class Batch:
    """Some lines of one queue."""

    about: About
    parcels: list[Parcel] = field(default_factory=list)
    keys: list[HeldKey] = field(default_factory=list)
    ran: int = 0  # of the jobs, at the time of the export

    @property
    def queue(self) -> str:
        return self.about.name


def check(lines: Lines) -> Contents:
    """Read a file to its end. Raises Damaged where a line is altered, missing or not ours, and at an end too early."""
    found: Contents | None = None
    name = ""
    for line in read(lines()):
        if found is None:
            found = _header(line)
        elif line.kind == "queue":
            name = _about(line).name
            if name in found.queues:
                raise line.damaged(f"the queue {name} comes twice")
            found.queues[name] = Digests()
        elif line.kind == "schedule":
            _under(line, name)
            _schedule(line)
            found.schedules[name] = found.schedules.get(name, 0) + 1
        elif line.kind == "job":
            found.queues[_under(line, name)].add(_parcel(line).record)
        elif line.kind == "key":
            _under(line, name)
            _key(line)
            found.keys += 1
        elif line.kind == "end":
            _end(line, found)
    assert found is not None, "read() raises where there is no header"
    if found.changed:
        found.last = _again(lines, found.changed)
    return found


def batches(lines: Lines, contents: Contents, queues: Collection[str] = ()) -> Iterator[Batch]:
    """The jobs and keys of `queues` (none named: all), in the order of the file, always cut at the same places.

    A job that is in the file more than once comes as its last line tells it. A queue without any comes too.
    """
    batch: Batch | None = None
    size = 0
    for line in read(lines()):
        full = batch is not None and (size > BATCH_BYTES or len(batch.parcels) + len(batch.keys) >= BATCH)
        if batch is not None and (full or line.kind in ("queue", "end")):
            if not queues or batch.queue in queues:
                yield batch
            batch, size = Batch(about=batch.about), 0
        if line.kind == "queue":
            batch = Batch(about=_about(line))
        elif line.kind == "job" and batch is not None:
            if contents.last.get((batch.queue, line.said["id"]), line.number) != line.number:
                continue
            parcel = _parcel(line)
            size += len(parcel.record.body) + len(parcel.record.result or b"")
            batch.ran += parcel.record.state is State.ACTIVE
            batch.parcels.append(rested(parcel, contents.at))
        elif line.kind == "key" and batch is not None:
            batch.keys.append(_key(line))


def schedules(lines: Lines, queues: Collection[str]) -> Iterator[list[ScheduleRecord]]:
    """Pages of the schedules of these queues, each page of one queue."""
    page, size = list[ScheduleRecord](), 0
    for line in read(lines()):
        if page and (line.kind != "schedule" or len(page) >= SCHEDULES or size > BATCH_BYTES):
            yield page
            page, size = [], 0
        if line.kind == "schedule" and line.said["queue"] in queues:
            page.append(_schedule(line))
            size += len(page[-1].definition)


def rested(parcel: Parcel, at: int) -> Parcel:
    """The parcel as it comes in: at the back. A run whose worker is not here is as one whose worker died, uncounted."""
    job = parcel.record
    if job.state is not State.ACTIVE:
        return replace(parcel, back=True, awaited=False)
    job = replace(job, token=None, lease_until=None, rev=job.rev + 1)
    if job.cancel is None:
        return replace(parcel, record=replace(job, state=State.WAITING, line=Lane.SUSPECT), back=True, awaited=False)
    keep = None if job.keep_failed is None else job.keep_failed.label
    job = replace(job, state=State.CANCELLED, line=None, reason=job.cancel, cancel=None, ended_at=at, keep=keep)
    timed = parcel.key_expires is not None
    return Parcel(record=job, back=True, holds=parcel.holds and timed, key_expires=parcel.key_expires)


def _again(lines: Lines, queues: Collection[str]) -> dict[tuple[str, str], int]:
    """The last line of every job that has several. Some 70 bytes a job, so only for queues that went on."""
    seen, twice = set[int](), dict[tuple[str, str], int]()
    for line in read(lines()):
        if line.kind == "job" and line.said["queue"] in queues:
            name = (line.said["queue"], line.said["id"])
            if hash(name) in seen:
                twice[name] = line.number
            seen.add(hash(name))
    return twice


def _header(line: Line) -> Contents:
    said = line.said
    name, at = said.get("id"), said.get("at")
    if not isinstance(name, str) or type(at) is not int:
        raise line.damaged("the header says no id, or no time")
    return Contents(id=name, at=at, header=said)


def _under(line: Line, name: str) -> str:
    said = line.said.get("queue")
    if not name or said != name:
        raise line.damaged(f"it is of the queue {said!r:.60}, but stands under {name or 'none'}")
    return name


def _parcel(line: Line) -> Parcel:
    try:
        return parse(line.said)
    except PayloadError as error:
        raise line.damaged(error) from None


def _key(line: Line) -> HeldKey:
    try:
        return held_key({name: value for name, value in line.said.items() if name != "queue"})
    except Unreadable as error:
        raise line.damaged(error) from None


def _schedule(line: Line) -> ScheduleRecord:
    try:
        return schedule(line.said)
    except PayloadError as error:
        raise line.damaged(error) from None


def _about(line: Line) -> About:
    said = line.said
    try:
        if said.keys() != _ABOUT:
            raise Unreadable(f"it says {', '.join(sorted(said))}")
        totals = Totals(**{str(name): int(n) for name, n in said["totals"].items()})
        declared, override = _limits(said["declared"]), _limits(said["override"])
        return About(name=str(said["name"]), declared=declared, override=override, totals=totals)
    except (AttributeError, KeyError, TypeError, ValueError, PayloadError) as error:
        raise line.damaged(f"this is no line of a queue: {error}") from None


def _limits(said: dict[str, object]) -> Limits:
    unknown = sorted(said.keys() - {f.name for f in fields(Limits)})
    if unknown:
        raise Unreadable(f"unknown limit {unknown[0]!r}: written by another queuekit")
    return Limits.from_json(compact(said))


def _end(line: Line, found: Contents) -> None:
    said = line.said
    told = said.get("schedules", 0)
    if said.keys() - {"schedules"} != _END or not isinstance(said["changed"], list):
        raise line.damaged("this is no end line")
    seen = {name: sums.as_dict() for name, sums in found.queues.items()}
    if (said["jobs"], said["keys"], said["queues"]) != (found.jobs, found.keys, seen):
        raise line.damaged(
            f"it tells of {said['jobs']} jobs, and of other digests than the {found.jobs} before it have"
        )
    if told != sum(found.schedules.values()):
        raise line.damaged(f"it tells of {told} schedules, and there are {sum(found.schedules.values())}")
    found.changed = [str(name) for name in said["changed"]]
