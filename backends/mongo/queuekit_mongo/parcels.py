"""Jobs on their way as documents and back: what leaves a store in a parcel, and what a parcel becomes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from queuekit.domain.job import JobRecord, UniqueKey
from queuekit.domain.moving import Clash, HeldKey, Parcel
from queuekit.domain.state import LIVE, TERMINAL, State
from queuekit_mongo import documents
from queuekit_mongo.collections import PART, after_slash
from queuekit_mongo.documents import GONE, JOB_FIELDS, LINES, OWN, READY, Document

# Fields of a record that its document has under the same name, where they say anything.
_PLAIN: Final = ("run_at", "worker", "claimed_at", "cancel", "reason", "keep", "group", "expires_at", "trace")
_COUNTS: Final = ("claims", "failures", "snoozes", "crashes")
_BYTES: Final = ("options", "progress", "result")
_CALLS: Final = ("op", "nth", "settled", "did", "expire_at", "unique", "unique_until")


def outgoing(doc: Mapping[str, Any], now: int) -> Parcel:
    """The parcel of a document's job."""
    holds = "unique" in doc and doc.get("unique_until", now + 1) > now
    until = doc.get("unique_until") if holds else None
    return Parcel(
        record=documents.record(doc),
        holds=holds,
        key_expires=None if until is None else int(until),
        awaited=bool(doc.get("awaited", False)),
    )


def incoming(parcel: Parcel, *, id: str, queue: str, epoch: int, place: int, op: str, now: int) -> Document:
    """The document that a parcel becomes; an active job is held. `id` and `queue` are keys."""
    job = parcel.record
    doc: Document = {
        "_id": id, "queue": queue, "part": PART, "task": job.task, "body": bytes(job.body), "priority": job.priority,
        "place": place, "created_at": job.created_at, "rev": job.rev, "epoch": epoch, "op": op, "state": str(job.state),
    }  # fmt: skip
    for name in _PLAIN:
        value = getattr(job, name)
        if value is not None:
            doc[name] = value
    for name in _COUNTS:
        if getattr(job, name):
            doc[name] = getattr(job, name)
    for name in _BYTES:
        value = getattr(job, name)
        if value is not None and (value or name != "options"):
            doc[name] = bytes(value)
    for name in ("logs", "errors"):
        if getattr(job, name):
            doc[name] = [bytes(value) for value in getattr(job, name)]
    if job.version != 1:
        doc["version"] = job.version
    if job.token is not None and job.state is not State.ACTIVE:
        doc["token"] = job.token
    _stand(doc, job)
    _keep(doc, job)
    if parcel.awaited and job.state in LIVE:
        doc["awaited"] = doc["care"] = True
    key = held_key(parcel, now)
    if key is not None:
        doc["unique"] = key.key
        if key.until == "time":
            doc["unique_until"] = parcel.key_expires
    return doc


def _stand(doc: Document, job: JobRecord) -> None:
    """What the indexes see of a job's state."""
    line = READY if job.line is None else LINES[job.line]
    if job.state is State.WAITING:
        doc["line"] = line
    elif job.state is State.DELAYED:
        doc["at"] = job.run_at or 0
    elif job.state is State.ACTIVE:
        doc["at"] = 0
        if line != READY:
            doc["was"] = line
    elif job.ended_at is not None:
        doc["at"] = job.ended_at
    if job.state in (State.WAITING, State.DELAYED) and job.expires_at is not None:
        doc["expiry"] = job.expires_at
    if job.state in TERMINAL and job.keep is not None:
        doc["state"] = job.state + OWN


def _keep(doc: Document, job: JobRecord) -> None:
    """What the caller said of retention and of a unique key."""
    if job.keep_completed is not None:
        doc["keep_completed"], doc["care"] = job.keep_completed.label, True
    if job.keep_failed is not None:
        doc["keep_failed"] = job.keep_failed.label
    if job.unique is not None:
        doc |= documents.said_of_key(job.unique)


def held_key(parcel: Parcel, now: int) -> UniqueKey | None:
    """The key that a parcel's job holds; none that ran out on the way."""
    key = parcel.record.unique if parcel.holds else None
    return None if key is not None and key.until == "time" and (parcel.key_expires or 0) <= now else key


def instead(old: Mapping[str, Any], doc: Document) -> tuple[Document, Document]:
    """(filter, update) that put an incoming job where a stub or a held one stands, and nothing of that with it.
    Who waits for a held one waits for the job."""
    there = {"_id": old["_id"], "state": old["state"]}
    if old["state"] == GONE:
        there["expire_at"] = old["expire_at"]
    else:
        there |= {"token": None, "rev": old["rev"], "awaited": old.get("awaited")}
    said = {k: v for k, v in doc.items() if k != "_id"}
    if old.get("awaited") and documents.state_of(doc) in LIVE:
        said["awaited"] = said["care"] = True
    gone = {k: "" for k in (*_CALLS, *JOB_FIELDS) if k not in said}
    return there, {"$set": said, "$unset": gone}


def lone_key(key: HeldKey, *, id: str, holder: str, queue: str) -> Document:
    """The document of a key that no job's document can hold: as a stub that names the holder."""
    return {
        "_id": id, "queue": queue, "part": PART, "state": GONE, "unique": key.key, "unique_until": key.expires,
        "expire_at": documents.when(key.expires), "holder": holder,
    }  # fmt: skip


def timed_key(doc: Mapping[str, Any]) -> HeldKey:
    """The key of a stub."""
    return HeldKey(key=doc["unique"], id=after_slash(documents.holder(doc)), expires=int(doc["unique_until"]))


def clash(told: list[str]) -> Clash:
    """As the journal keeps it."""
    return Clash(**dict(zip(("id", "why", "by"), told, strict=True)))
