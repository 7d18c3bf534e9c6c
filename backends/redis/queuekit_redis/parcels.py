"""Parcels as bytes and back: what import.lua is sent, and what checkout.lua and parcels.lua answer.

The layout of a record itself stands in records.py; nothing here talks to a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Any, Final

from queuekit.domain.job import JobRecord
from queuekit.domain.moving import Clash, Parcel
from queuekit.domain.state import TERMINAL, Line, State
from queuekit_redis.records import (
    BAND,
    LENT,
    LINES,
    MID,
    NAMELESS,
    NUMBERS,
    RUN,
    RUN_LEAST,
    given,
    pack_entry,
    pack_items,
    pack_opts,
    record,
)

Args = list["bytes | int"]
_OWN: Final = 1 << 45  # the band of ended jobs with a retention of their own
_SHELVES: Final = {
    State.WAITING: 1, State.DELAYED: 2, State.BLOCKED: 3, State.PARKED: 5, State.COMPLETED: 6, State.FAILED: 7,
    State.CANCELLED: 8, State.ACTIVE: LENT,
}  # fmt: skip
_SUSPECT: Final = 4
_LINE_NUMBERS: Final = {line: number for number, line in enumerate(LINES)}
_U16, _U32, _U64 = Struct("<H"), Struct("<I"), Struct("<Q")
_WAITING, _DELAYED, _ACTIVE = State.WAITING, State.DELAYED, State.ACTIVE


def unpack_parcels(queue: str, epoch: int, reply: Sequence[Any]) -> Iterator[Parcel]:
    """Parcels of the lists that a script answers: ids, entries, runs or scores, extras, marks, and leases if any."""
    ids, entries, runs, mores, marks, *rest = reply
    leases = rest[0] if rest else [None] * len(ids)
    for name, entry, run, more, mark, lease in zip(ids, entries, runs, mores, marks, leases, strict=True):
        fresh = run is None or len(run) < RUN_LEAST
        job = record(queue, name.decode(), (entry, None, more, run) if fresh else (entry, run, more, lease), epoch)
        parcel = Parcel(record=job)
        if mark is not None:
            _mark(parcel, mark)
        yield parcel


def _mark(parcel: Parcel, mark: bytes) -> None:
    parcel.awaited = mark.startswith(b"+")
    held = mark[1:] if parcel.awaited else mark
    parcel.holds = bool(held)
    if held and held != b"=":
        parcel.key_expires = int(held)


def pack_parcels(parcels: Iterable[Parcel]) -> tuple[Args, Args]:
    """(three arguments for each plain ready job, what all other jobs need)."""
    plain: Args = []
    others: Args = []
    for parcel in parcels:
        job = parcel.record
        state, opts = job.state, _has_opts(job)
        fresh = (
            job.rev == 1 and not job.claims and not job.failures and not job.snoozes and not job.crashes
            and not job.errors and not job.logs and job.reason is None and job.cancel is None and job.ended_at is None
            and (state is _DELAYED or (state is _WAITING and job.line is not Line.SUSPECT)) and job.progress is None
            and job.result is None and job.token is None and job.keep is None and job.claimed_at is None
        )  # fmt: skip
        base = job.priority * BAND + MID
        flags = (1 if job.run_at is not None and fresh else 0) | (4 if opts else 0) | (8 if job.unique else 0)
        entry = pack_entry(job, flags)
        if fresh and not opts and state is _WAITING and not parcel.back and not parcel.awaited:
            plain += (job.id.encode(), entry, b"%d" % (base + job.place))
            continue
        pairs = _pairs(parcel, opts, base)
        run = b"" if fresh else _pack_run(job, opts, base + job.place)
        shelf, score = _stand(job, base + job.place)
        others += (job.id.encode(), entry, run, shelf, score, len(pairs) // 2, *pairs)
    return plain, others


def _stand(job: JobRecord, place: int) -> tuple[int, int]:
    """Where a job stands, and with which score."""
    shelf, state = _SHELVES[job.state], job.state
    if state is _WAITING:
        return (_SUSPECT if job.line is Line.SUSPECT else shelf), place
    if state is _ACTIVE:
        return shelf, 0
    if state is _DELAYED:
        return shelf, job.run_at or 0
    ended = job.ended_at or job.created_at
    return shelf, ended + _OWN if job.keep is not None and state in TERMINAL else ended


def _pairs(parcel: Parcel, opts: bool, base: int) -> Args:
    job, pairs = parcel.record, Args()
    live = job.state not in TERMINAL
    if opts:
        pairs += (b"o", _U64.pack(job.expires_at or 0) + pack_opts(job))
        if live and job.expires_at is not None:
            pairs += (b"x", job.expires_at)
    key = job.unique if parcel.holds else None
    if key is not None:
        expires = b"" if parcel.key_expires is None else b"%d" % parcel.key_expires
        pairs += (b"h", expires + b"|" + key.key.encode())
    if job.keep is not None and not live:
        member = f"{NUMBERS[job.state]}|{job.keep}|{job.ended_at or 0:015d}|{job.id}"
        pairs += (b"k", member.encode())
    if parcel.awaited and live:
        pairs += (b"w", b"1")
    if parcel.back:
        pairs += (b"b", base)
    for kind, data in ((b"r", job.result), (b"p", job.progress)):
        if data is not None:
            pairs += (kind, data)
    for kind, items in ((b"e", job.errors), (b"l", job.logs)):
        if items:
            pairs += (kind, _U32.pack(len(items)) + pack_items(items))
    return pairs


def _has_opts(job: JobRecord) -> bool:
    return bool(
        job.options or job.unique is not None or job.expires_at is not None or job.keep_completed is not None
        or job.keep_failed is not None or job.trace is not None
    )  # fmt: skip


def _pack_run(job: JobRecord, opts: bool, score: int) -> bytes:
    held = job.state is _ACTIVE
    bits = (
        (0 if job.result is None else 1) | (0 if job.progress is None else 2) | (4 if job.errors else 0)
        | (8 if job.logs else 0) | (16 if opts else 0) | (0 if job.cancel is None else 32)
        | (NAMELESS if job.claims and job.worker is None else 0)
    )  # fmt: skip
    token = b"" if held or job.token is None else job.token.encode()
    worker = (job.worker or "").encode()
    cancel, reason, keep = given(job.cancel), given(job.reason), (job.keep or "").encode()
    head = RUN.pack(
        LENT if held else NUMBERS[job.state], _LINE_NUMBERS[job.line], bits, job.rev, job.ended_at or 0,
        job.run_at or 0, job.claimed_at or 0, float(score), job.claims, job.failures, job.snoozes, job.crashes,
        len(token),
    )  # fmt: skip
    return b"".join((
        head, token, _U16.pack(len(worker)), worker, _U32.pack(len(cancel)), cancel, _U32.pack(len(reason)), reason,
        bytes((len(keep),)), keep,
    ))  # fmt: skip


def unpack_clashes(said: bytes) -> list[Clash]:
    """What import.lua says of those that were not taken in."""
    clashes = []
    for one in said.decode().split(";")[:-1]:
        job, by = one[1:].split(",")
        clashes.append(Clash(id=job, why="id" if one[0] == "i" else "key", by=by))
    return clashes


def unpack_taken(kept: bytes | None) -> list[str]:
    """The ids of a batch as the journal has it."""
    if kept is None:
        return []
    ids = kept[4 + _U32.unpack_from(kept)[0] :].decode()
    return ids.split(",") if ids else []
