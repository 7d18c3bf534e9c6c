"""What the port is asked, as commands of the wire, and their answers as values. Pure; no driver call here.

The driver's collections cost a tenth of a millisecond more for each call and repeat some by themselves; nothing here is
repeated, and one form serves both ports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pymongo.errors import BulkWriteError

from queuekit_mongo.documents import Document
from queuekit_mongo.statements import Find, Pipe, Write

DUPLICATE: Final = 11000
TOO_LARGE: Final = frozenset({10334, 17280, 17419, 17420})
BATCH: Final = 1001  # documents in a first answer, at least
SAFE: Final[Document] = {"w": "majority", "j": True}
LIGHT: Final[Document] = {"w": 1}  # statistics only


@dataclass(slots=True)
class Done:
    """What a command of several statements did: documents met, and the statements refused by their index."""

    met: int = 0
    duplicates: tuple[int, ...] = ()
    too_large: tuple[int, ...] = ()


def find(collection: str, query: Find) -> Document:
    command: Document = {"find": collection, "filter": query.filter, "hint": query.index}
    projection = query.projection
    if projection:
        command["projection"] = projection
    if query.sort:
        command["sort"] = dict(query.sort)
    if query.limit:
        command["limit"] = query.limit
    command["batchSize"] = max(query.limit, BATCH)
    return command


def aggregate(collection: str, pipe: Pipe) -> Document:
    cursor = {"batchSize": BATCH}
    return {"aggregate": collection, "pipeline": pipe.stages, "hint": pipe.index, "cursor": cursor}


def count(collection: str, query: Find) -> Document:
    """Counted by a pipeline: it may run in a transaction, and knows no `limit` of zero."""
    stages: list[Document] = [{"$match": query.filter}]
    if query.limit:
        stages.append({"$limit": query.limit})
    stages.append({"$group": {"_id": 1, "n": {"$sum": 1}}})
    return {"aggregate": collection, "pipeline": stages, "hint": query.index, "cursor": {}}


def insert(collection: str, docs: Sequence[Document], concern: Document | None) -> Document:
    return _write({"insert": collection, "documents": list(docs), "ordered": False}, concern)


def update(collection: str, writes: Sequence[Write], concern: Document | None) -> Document:
    updates = [
        {"q": w.filter, "u": w.update, "upsert": True, "multi": w.many}
        if w.upsert
        else {"q": w.filter, "u": w.update, "hint": w.index, "multi": w.many}
        for w in writes
    ]
    return _write({"update": collection, "updates": updates, "ordered": False}, concern)


def delete(collection: str, filter: Document, concern: Document | None) -> Document:
    return _write({"delete": collection, "deletes": [{"q": filter, "limit": 0}]}, concern)


def modify(collection: str, write: Write, concern: Document | None) -> Document:
    """One document changed, or made, and answered as it is then."""
    said: Document = {"query": write.filter, "update": write.update, "upsert": write.upsert, "new": True}
    if write.sort:
        said |= {"sort": dict(write.sort), "hint": write.index}
    return _write({"findAndModify": collection} | said, concern)


def documents_of(reply: Mapping[str, Any]) -> list[Document] | None:
    """The documents of a cursor's first answer; None where there are more than one answer holds."""
    cursor = reply["cursor"]
    found: list[Document] = cursor["firstBatch"]
    return None if cursor["id"] else found


def counted(reply: Mapping[str, Any]) -> int:
    found = reply["cursor"]["firstBatch"]
    return int(found[0]["n"]) if found else 0


def modified(reply: Mapping[str, Any]) -> Document | None:
    """The document a `modify` left."""
    _confirmed(reply)
    found: Document | None = reply["value"]
    return found


def done(reply: Mapping[str, Any]) -> Done:
    """What a write did besides statements refused one by one. Raises, as the driver would, where more went wrong."""
    errors: Sequence[Mapping[str, Any]] = reply.get("writeErrors", ())
    if "writeConcernError" in reply or any(e["code"] != DUPLICATE and e["code"] not in TOO_LARGE for e in errors):
        _confirmed(reply)
        raise BulkWriteError({"writeErrors": list(errors)})
    return refused(errors, int(reply["n"]))


def refused(errors: Sequence[Mapping[str, Any]], met: int) -> Done:
    """An answer whose errors are all of single statements."""
    if not errors:
        return Done(met=met)
    return Done(
        met=met,
        duplicates=tuple(e["index"] for e in errors if e["code"] == DUPLICATE),
        too_large=tuple(e["index"] for e in errors if e["code"] in TOO_LARGE),
    )


def done_by_driver(error: BulkWriteError) -> Done:
    """The same of what the driver's collection raises."""
    details: Mapping[str, Any] = error.details or {}
    errors: Sequence[Mapping[str, Any]] = details.get("writeErrors", ())
    if details.get("writeConcernErrors") or any(e["code"] not in (DUPLICATE, *TOO_LARGE) for e in errors):
        raise error
    return refused(errors, details.get("nMatched", 0) + details.get("nInserted", 0) + details.get("nUpserted", 0))


def _confirmed(reply: Mapping[str, Any]) -> None:
    if "writeConcernError" in reply:
        raise BulkWriteError({"writeErrors": [], "writeConcernErrors": [reply["writeConcernError"]]})


def _write(command: Document, concern: Document | None) -> Document:
    """`concern` None: within a transaction, whose commit says it."""
    if concern is not None:
        command["writeConcern"] = concern
    return command
