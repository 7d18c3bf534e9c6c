"""Jobs as bytes and back: what producers and workers send to scripts, and what scripts answer.

The layouts stand here and in lua/lib/job.lua, nowhere else; user bytes are never looked into.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, TypeAlias

from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.outcome import Kind, Outcome
from queuekit.domain.state import Line, State

Bytes: TypeAlias = "bytes | None"
Extras: TypeAlias = "Sequence[Bytes] | None"  # opts, progress, errors, logs, result
# Entry, run, extras, and a number: the lease's end of an active job; of one without `run`, its score if it is ready.
Parts: TypeAlias = "tuple[bytes, Bytes, Extras, Bytes]"

STATES: Final = (
    State.WAITING, State.WAITING, State.DELAYED, State.BLOCKED, State.ACTIVE, State.PARKED, State.COMPLETED,
    State.FAILED, State.CANCELLED, State.ACTIVE,  # the last: active elsewhere, held here by a mover
)  # fmt: skip
LENT: Final = 9
NAMELESS: Final = 64  # of the bits of `run`: a mover brought a job whose worker is None, not ''
NUMBERS: Final = {state: number for number, state in enumerate(STATES[:LENT]) if number}
LINES: Final = (None, Line.READY, Line.HELD, Line.SUSPECT)
KINDS: Final = {
    Kind.COMPLETED: b"c", Kind.RETRY: b"r", Kind.FAILED: b"f", Kind.RELEASED: b"l", Kind.SNOOZED: b"s",
    Kind.CANCELLED: b"x", Kind.PARKED: b"p", Kind.BLOCKED: b"b",
}  # fmt: skip
_UNTIL: Final = ("", "finished", "started", "time")
_CONFLICT: Final = ("existing", "replace", "error")

BAND: Final = 1 << 43
MID: Final = 1 << 42
_SPEC = Struct("<BHHB")  # flags, priority, version, length of the task's name
_ENTRY = Struct("<QBHHB")  # created, flags, priority, version, length
_TIMED = Struct("<QBQHHB")  # the same with run_at
RUN: Final = Struct("<BBBIQQQdIIIIB")  # state … crashes, length of the token
RUN_LEAST: Final = RUN.size  # bytes of `run` at least; a score is shorter
_OPTS = Struct("<BBQQ")  # until, on_conflict, ttl, max_wait
_U16, _U32, _U64 = Struct("<H"), Struct("<I"), Struct("<Q")
_TIMED_FLAG, _LIFO, _OPTS_FLAG, _UNIQUE = 1, 2, 4, 8
_heads: dict[tuple[str, int, int, int], bytes] = {}
_tasks: dict[bytes, str] = {}


def given(value: bytes | str | None) -> bytes:
    """An argument that may be None: '' or '=value'."""
    if value is None:
        return b""
    return b"=" + (value if isinstance(value, bytes) else value.encode())


def taken(value: bytes) -> str | None:
    """What `given` wrote, as text."""
    return value[1:].decode() if value else None


def moment(at: int | None, delay: int | None) -> bytes:
    """When something is due, as scripts read it."""
    if at is not None:
        return b"@%d" % max(at, 1)  # 0 is no time in a record; whatever was before 1970 is as long over
    return b"" if delay is None else b"+%d" % delay


def pack_items(items: Sequence[bytes]) -> bytes:
    """Opaque items, each behind its length."""
    return b"".join([_U32.pack(len(item)) + item for item in items])


def lines(count: int, start: int | None) -> bytes:
    """How many lines are reported, and how many of the claim came before, where that is told."""
    return b"%d" % count if start is None else b"%d@%d" % (count, start)


def pack_spec(spec: JobSpec, args: list[bytes]) -> int:
    """Add a job's arguments of `enqueue`; 0 for a plain job, 2 for one with a unique key, else 1."""
    flags = 2 if spec.lifo else 0
    timed = spec.run_at is not None or spec.delay is not None
    if timed:
        flags |= _TIMED_FLAG
    special = bool(
        spec.options or spec.unique is not None or spec.expires_at is not None or spec.expires_in is not None
        or spec.keep_completed is not None or spec.keep_failed is not None or spec.trace is not None
    )  # fmt: skip
    if special:
        flags |= _OPTS_FLAG if spec.unique is None else _OPTS_FLAG | _UNIQUE
    kind = (spec.task, spec.version, spec.priority, flags)
    head = _heads.get(kind)
    if head is None:
        if len(_heads) > 10_000:
            _heads.clear()
        task = spec.task.encode()
        head = _heads[kind] = _SPEC.pack(flags, spec.priority, spec.version, len(task)) + task
    args.append(spec.id.encode())
    args.append(head + spec.body)
    if timed:
        args.append(moment(spec.run_at, spec.delay))
    if special:
        args.append(pack_opts(spec))
        args.append(moment(spec.expires_at, spec.expires_in))
    return 2 if spec.unique is not None else 1 if flags else 0


def pack_opts(spec: JobSpec | JobRecord) -> bytes:
    """What is not default, but for the first field: when it expires."""
    key = spec.unique
    if key is None:
        head, name = _OPTS.pack(0, 0, 0, 0), b""
    else:
        name = key.key.encode()
        head = _OPTS.pack(
            _UNTIL.index(key.until), _CONFLICT.index(key.on_conflict), key.ttl or 0, key.max_wait or 0
        )  # fmt: skip
    parts = [head]
    for keep in (spec.keep_completed, spec.keep_failed):
        label = b"" if keep is None else keep.label.encode()
        parts += (bytes((len(label),)), label)
    for text in (name, spec.options, given(spec.trace)):
        parts += (_U32.pack(len(text)), text)
    return b"".join(parts)


def pack_outcome(outcome: Outcome, too_large: bool) -> list[bytes]:
    """The eleven arguments of an outcome that is no plain completion."""
    return [
        outcome.id.encode(), outcome.token.encode(), b"t" if too_large else KINDS[outcome.kind],
        b"" if too_large else given(outcome.result),
        b"" if outcome.error is None else pack_items((outcome.error,)), given(outcome.reason),
        moment(outcome.at, outcome.delay), b"" if outcome.keep is None else outcome.keep.label.encode(),
        given(outcome.progress), lines(len(outcome.logs), outcome.start), pack_items(outcome.logs),
    ]  # fmt: skip


def pack_entry(job: JobRecord, flags: int) -> bytes:
    """The entry of the hash jobs; with flag 1 its `run_at` is in it."""
    task = job.task.encode()
    if flags & _TIMED_FLAG:
        head = _TIMED.pack(job.created_at, flags, job.run_at or 0, job.priority, job.version, len(task))
    else:
        head = _ENTRY.pack(job.created_at, flags, job.priority, job.version, len(task))
    return head + task + job.body


def record(queue: str, id: str, parts: Parts, epoch: int = 0) -> JobRecord:
    """A whole record of what scripts answer of a job."""
    entry, run, extras, number = parts
    created, run_at, priority, version, task, body = read_entry(entry)
    job = JobRecord(
        queue=queue, id=id, task=task, body=body, version=version, priority=priority, created_at=created, epoch=epoch
    )  # fmt: skip
    if run is not None:
        _read_run(job, run, number)
    else:
        job.rev, job.run_at = 1, run_at or None
        if number is None:
            job.state = State.DELAYED
        else:
            job.line, job.place = Line.READY, place_of(number)
    if extras:
        _read_extras(job, extras)
    return job


def place_of(score: bytes) -> int:
    """The rank inside the queue that a score says."""
    return int(float(score)) % BAND - MID


def read_entry(entry: bytes) -> tuple[int, int, int, int, str, bytes]:
    """(created, run_at or 0, priority, version, task, body) of an entry of the hash jobs."""
    if entry[8] & _TIMED_FLAG:
        created, _, run_at, priority, version, length = _TIMED.unpack_from(entry)
        start = 22
    else:
        created, _, priority, version, length = _ENTRY.unpack_from(entry)
        run_at, start = 0, 14
    end = start + length
    name = entry[start:end]
    task = _tasks.get(name)
    if task is None:
        if len(_tasks) > 10_000:
            _tasks.clear()
        task = _tasks[name] = name.decode()
    return created, run_at, priority, version, task, entry[end:]


def _read_run(job: JobRecord, run: bytes, lease: Bytes) -> None:
    (
        state, line, bits, job.rev, ended, run_at, claimed, score, job.claims, job.failures, job.snoozes, job.crashes,
        n,
    ) = RUN.unpack_from(run)  # fmt: skip
    job.state, job.line = STATES[state], LINES[line]
    job.priority, place = divmod(int(score), BAND)
    job.place = place - MID
    job.ended_at, job.run_at, job.claimed_at = ended or None, run_at or None, claimed or None
    at = 56 + n
    if n:
        job.token = run[56:at].decode()
    (n,) = _U16.unpack_from(run, at)
    at += 2 + n
    if job.claims and (n or bits < NAMELESS):
        job.worker = run[at - n : at].decode()
    if lease is not None:
        job.lease_until = int(lease)
    if run[at:] == _NOTHING:
        return
    texts = []
    for _ in range(2):
        (n,) = _U32.unpack_from(run, at)
        texts.append(run[at + 4 : at + 4 + n])
        at += 4 + n
    job.cancel, job.reason = taken(texts[0]), taken(texts[1])
    job.keep = run[at + 1 :].decode() or None


_NOTHING = bytes(9)  # no cancel, no reason, no retention of its own


def _read_extras(job: JobRecord, extras: Sequence[Bytes]) -> None:
    opts, job.progress, errors, logs, job.result = extras
    if errors is not None:
        job.errors = _items(errors)
    if logs is not None:
        job.logs = _items(logs)
    if opts is not None:
        _read_opts(job, opts)


def _read_opts(job: JobRecord, opts: bytes) -> None:
    (expires,) = _U64.unpack_from(opts)
    until, conflict, ttl, max_wait = _OPTS.unpack_from(opts, 8)
    at, keeps, texts = 8 + _OPTS.size, [], []
    for _ in range(2):
        n = opts[at]
        keeps.append(Retention.parse(opts[at + 1 : at + 1 + n].decode()) if n else None)
        at += 1 + n
    for _ in range(3):
        (n,) = _U32.unpack_from(opts, at)
        texts.append(opts[at + 4 : at + 4 + n])
        at += 4 + n
    job.expires_at, (job.keep_completed, job.keep_failed) = expires or None, keeps
    job.options, job.trace = texts[1], taken(texts[2])
    if until:
        job.unique = UniqueKey(
            texts[0].decode(), _UNTIL[until], _CONFLICT[conflict], ttl or None, max_wait or None  # type: ignore[arg-type]  # the tuples hold the literals
        )  # fmt: skip


def _items(packed: bytes) -> tuple[bytes, ...]:
    items, at = [], 4
    while at < len(packed):
        (n,) = _U32.unpack_from(packed, at)
        items.append(packed[at + 4 : at + 4 + n])
        at += 4 + n
    return tuple(items)
