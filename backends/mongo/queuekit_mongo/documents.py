"""Jobs, configurations and workers as documents and back. Pure; no query and no driver call belongs here.

Bytes of users are BSON binary: nothing a user wrote can be an operator, a field path or a field name. What is at its
default is left out. Some fields exist for an index only: `line` while a job waits; `at`, the time its state is
sorted by (due, lease end, end); `unique` while it holds its key; `expiry` while it may still expire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from bson.datetime_ms import DatetimeMS

from queuekit.domain.job import JobRecord, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Home
from queuekit.domain.query import Totals, WorkerBeat
from queuekit.domain.state import TERMINAL, Line, State
from queuekit_mongo.collections import PART, after_slash

Document: TypeAlias = dict[str, Any]

GONE: Final = "gone"  # a stub: the job was removed, its id still answers repeats; no state of the domain
OUT: Final = "out"  # a job that its mover has checked out; what it was stands in the field `out`
OWN: Final = "/own"  # behind the state of an ended job whose retention is not the queue's: counted by itself
STUB_KEPT: Final = 120_000  # ms a stub answers repeats; producers stop repeating after 60 s (seam.md 2)
DID_KEPT: Final = 32  # calls a job remembers, each for as long
# Numbers, because the index sorts by them: suspects before ready before held.
LINES: Final = {Line.SUSPECT: 0, Line.READY: 1, Line.HELD: 2}
SUSPECT: Final = LINES[Line.SUSPECT]
READY: Final = LINES[Line.READY]
CONF_FIELDS: Final = ("rev", "epoch", "home", "to", "declared", "override")
_LINES: Final = (Line.SUSPECT, Line.READY, Line.HELD)
_STATES: Final = {str(s): s for s in State} | {s + OWN: s for s in TERMINAL}
_ENDED: Final = frozenset({*TERMINAL, State.PARKED})
_ALWAYS: Final = frozenset(
    {"_id", "queue", "part", "task", "body", "priority", "state", "line", "place", "created_at", "rev", "epoch", "op"}
)
# Fields of a document that are fields of a record. BSON's 64-bit integers come as a subclass of int, which JSON
# writers refuse: times become plain ones.
_READERS: Final[dict[str, Callable[[Any], Any]]] = (
    dict.fromkeys(("run_at", "claimed_at", "expires_at"), int)
    | dict.fromkeys(("logs", "errors"), tuple)
    | dict.fromkeys(("keep_completed", "keep_failed"), Retention.parse)
    | dict.fromkeys(
        ("version", "options", "claims", "failures", "snoozes", "crashes", "token", "worker", "cancel", "progress",
         "result", "reason", "keep", "group", "trace"),
        lambda value: value,
    )
)  # fmt: skip
# What stays of a removed job: who it was, which calls made, settled and changed it, and a key held for a time.
STUB_FIELDS: Final = frozenset(
    {"_id", "part", "queue", "op", "nth", "settled", "did", "created_at", "unique", "unique_until"}
)
# Fields that may be large; what decides about a job reads its document without them.
HEAVY: Final = ("body", "result", "progress", "logs", "errors")
JOB_FIELDS: Final = (
    "task", "version", "body", "priority", "options", "state", "line", "place", "run_at", "rev", "epoch", "claims",
    "failures", "snoozes", "crashes", "token", "worker", "claimed_at", "at", "was", "cancel", "progress", "logs",
    "said", "errors", "result", "reason", "keep", "keep_completed", "keep_failed", "awaited", "care", "uniq", "group",
    "expires_at", "expiry", "trace", "out", "known", "back", "making",
)  # fmt: skip


def new(spec: JobSpec, *, id: str, queue: str, epoch: int, now: int, place: int, op: str) -> Document:
    """The document of a job that a producer asked for. `id` and `queue` are keys."""
    due = spec.run_at if spec.run_at is not None else None if spec.delay is None else now + spec.delay
    doc: Document = {
        "_id": id, "queue": queue, "part": PART, "task": spec.task, "body": bytes(spec.body),
        "priority": spec.priority, "place": place, "created_at": now, "rev": 1, "epoch": epoch, "op": op,
    }  # fmt: skip
    if due is not None:
        doc["run_at"] = due
    if due is not None and due > now:
        doc["state"], doc["at"] = "delayed", due
    else:
        doc["state"], doc["line"] = "waiting", READY
    if spec.version != 1:
        doc["version"] = spec.version
    if spec.options:
        doc["options"] = bytes(spec.options)
    if spec.trace is not None:
        doc["trace"] = spec.trace
    if spec.keep_completed is not None:
        doc["keep_completed"], doc["care"] = spec.keep_completed.label, True
    if spec.keep_failed is not None:
        doc["keep_failed"] = spec.keep_failed.label
    if spec.unique is not None:
        doc |= _unique(spec.unique, now)
    expires = spec.expires_at if spec.expires_in is None else now + spec.expires_in
    if expires is not None:
        doc["expires_at"] = doc["expiry"] = expires
    return doc


def _unique(key: UniqueKey, now: int) -> Document:
    held = said_of_key(key) | {"unique": key.key}
    if key.until == "time":
        held["unique_until"] = now + (key.ttl or 0)
    return held


def said_of_key(key: UniqueKey) -> Document:
    """What the caller said of a unique key, whether the job holds it or not."""
    said: Document = {"key": key.key, "until": key.until, "on_conflict": key.on_conflict}
    if key.ttl is not None:
        said["ttl"] = key.ttl
    if key.max_wait is not None:
        said["max_wait"] = key.max_wait
    return {"uniq": said, "care": True}


def holder(doc: Mapping[str, Any]) -> str:
    """The key of the job that a document in the unique index stands for: its own, unless it stands for a key alone."""
    found: str = doc.get("holder", doc["_id"])
    return found


def record(doc: Mapping[str, Any]) -> JobRecord:
    """The job a document holds. Fields that most documents lack are looked at only where they are."""
    if doc["state"] == OUT:
        doc = {**doc, **doc["out"]}
    stored, own = doc["state"], doc.keys() - _ALWAYS
    state = _STATES[stored]
    line = doc.get("was", READY) if state is State.ACTIVE else doc.get("line")
    job = JobRecord(
        queue=after_slash(doc["queue"]), id=after_slash(doc["_id"]), task=doc["task"], body=doc["body"],
        priority=doc["priority"], state=state, line=None if line is None else _LINES[line], place=int(doc["place"]),
        created_at=int(doc["created_at"]), rev=doc["rev"], epoch=doc["epoch"],
    )  # fmt: skip
    for name in own:
        read = _READERS.get(name)
        if read is not None:
            setattr(job, name, read(doc[name]))
    if "at" in own:
        if state is State.ACTIVE:
            job.lease_until = int(doc["at"]) or None  # 0: held, it runs in the store that its queue comes from
        elif state in _ENDED:
            job.ended_at = int(doc["at"])
    if "uniq" in own:
        job.unique = UniqueKey(**doc["uniq"])
    return job


def did(doc: Mapping[str, Any], op: str) -> Document | None:
    """What a call did to this job, while it may still be repeated."""
    return next((one for one in doc.get("did", ()) if one["op"] == op), None)


def note(doc: Document, op: str, now: int, **told: object) -> None:
    """Let the document remember a call, and others that may still be repeated: `DID_KEPT` of them at most."""
    others = [one for one in doc.get("did", ()) if one["op"] != op and one["at"] > now - STUB_KEPT]
    doc["did"] = [*others[1 - DID_KEPT :], {"op": op, "at": now, **told}]


def state_of(doc: Mapping[str, Any]) -> State | None:
    """The state of a document's job; None for a stub."""
    stored: str = doc["state"]
    return _STATES.get(doc["out"]["state"] if stored == OUT else stored)


def is_held(doc: Mapping[str, Any]) -> bool:
    """Whether a document only stands for a job that runs in the store its queue comes from."""
    return bool(doc["state"] == State.ACTIVE and "token" not in doc)


def is_moving(doc: Mapping[str, Any]) -> bool:
    """Whether a mover has this job: checked out here, or held."""
    return doc["state"] == OUT or is_held(doc)


def ended(state: State) -> bool:
    """Whether jobs of this state are sorted by their end."""
    return state in TERMINAL


def when(ms: int) -> DatetimeMS:
    """A moment as the date that a TTL index reads."""
    return DatetimeMS(int(ms))


def conf(doc: Mapping[str, Any]) -> QueueConf:
    """The configuration a queue's document holds."""
    return QueueConf(
        rev=doc.get("rev", 0), home=Home(doc.get("home", "here")), to=doc.get("to"), epoch=doc.get("epoch", 0),
        declared=Limits.from_json(doc.get("declared", "")), override=Limits.from_json(doc.get("override", "")),
    )  # fmt: skip


def totals(docs: Sequence[Mapping[str, Any]]) -> Totals:
    """What was counted, in all; names of a newer queuekit, and what else the documents say, are ignored."""
    return Totals(**{name: sum(int(doc.get(name, 0)) for doc in docs) for name in Totals.__slots__})


def beat(worker: WorkerBeat, namespace: str) -> Document:
    """The fields of a worker's document that it tells itself; `info` is bytes, so that nothing of it is evaluated."""
    return {
        "namespace": namespace, "host": worker.host, "pid": worker.pid, "queues": list(worker.queues),
        "concurrency": worker.concurrency, "started_at": worker.started_at, "running": worker.running,
        "done": worker.done, "version": worker.version, "rss": worker.rss, "lag": worker.lag,
        "info": worker.info.encode("utf-8", "surrogatepass"),
    }  # fmt: skip


def worker(doc: Mapping[str, Any]) -> WorkerBeat:
    return WorkerBeat(
        id=after_slash(doc["_id"]), host=doc["host"], pid=doc["pid"], queues=tuple(doc["queues"]),
        concurrency=doc["concurrency"], started_at=doc["started_at"], running=doc["running"], done=doc["done"],
        version=doc["version"], rss=doc["rss"], lag=doc["lag"], seen=doc["seen"],
        info=bytes(doc["info"]).decode("utf-8", "surrogatepass"),
    )  # fmt: skip
