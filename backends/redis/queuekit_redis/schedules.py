"""Schedules as bytes and back: what scripts are sent and answer. The layout stands here and in lua/lib/plans.lua."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Any, Final

from queuekit.domain.outcome import Receipt
from queuekit.domain.schedule import Due, Fired, Firing, NoFire, ScheduleRecord, lenient
from queuekit_redis.records import pack_spec

Args = list["bytes | int"]
_HEAD: Final = Struct("<QQQB")  # rev, fired, skipped, length of the next slot's text
_COUNTS: Final = Struct("<QQ")
_NOS: Final = {b"c": NoFire.CHANGED, b"f": NoFire.FULL, b"l": NoFire.LATER}


def slot_text(at: int | None) -> bytes:
    return b"" if at is None else b"%d" % at


def pack_schedule(schedule: ScheduleRecord) -> Args:
    """Id, rev, next slot, what follows the rev in the hash `slots`, definition."""
    next_at = slot_text(schedule.next)
    tail = (
        _COUNTS.pack(schedule.fired, schedule.skipped), bytes((len(next_at),)), next_at,
        (schedule.last_job or "").encode(),
    )  # fmt: skip
    return [schedule.id.encode(), schedule.rev, next_at, b"".join(tail), schedule.definition]


def unpack_schedule(queue: str, id: str, slot: bytes, definition: bytes) -> ScheduleRecord:
    rev, fired, skipped, n = _HEAD.unpack_from(slot)
    end = _HEAD.size + n
    return ScheduleRecord(
        id=id, queue=queue, definition=definition, rev=rev, fired=fired, skipped=skipped,
        next=int(slot[_HEAD.size : end]) if n else None, last_job=slot[end:].decode() or None,
    )  # fmt: skip


def unpack_schedules(queue: str, lists: Sequence[Sequence[bytes]]) -> list[ScheduleRecord]:
    """Of the three lists that scripts answer: ids, slots, definitions."""
    return [unpack_schedule(queue, name.decode(), slot, rule) for name, slot, rule in zip(*lists, strict=True)]


def unpack_due(queue: str, reply: Sequence[Any]) -> Due:
    now, next_at, *lists = reply
    return Due(now=now, records=unpack_schedules(queue, lists), next_at=None if next_at is None else int(next_at))


def pack_firings(firings: Sequence[Firing]) -> Args:
    """All arguments of fire.lua behind the clock."""
    args: Args = [len(firings), b"", 1]
    for firing in firings:
        jobs: list[bytes] = []
        keyed = [pack_spec(lenient(spec), jobs) == 2 for spec in firing.jobs]
        if any(keyed):
            args[2] = 2
        last = firing.jobs[-1].id.encode() if firing.jobs else b""
        args += (
            firing.id.encode(), firing.rev, slot_text(firing.next_at), firing.skipped, last, 1 if any(keyed) else 0,
            len(firing.jobs), len(jobs), *jobs,
        )  # fmt: skip
    return args


def unpack_fired(firing: Firing, said: bytes) -> Fired:
    """What fire.lua says of one firing."""
    if said in _NOS:
        return Fired(id=firing.id, no=_NOS[said])
    words = said[1:].decode().split(",") if said else ["+"] * len(firing.jobs)
    pairs = zip(firing.jobs, words, strict=True)
    receipts = (Receipt(spec.id if word in ("+", "=") else word, word == "+") for spec, word in pairs)
    return Fired(id=firing.id, receipts=tuple(receipts))
