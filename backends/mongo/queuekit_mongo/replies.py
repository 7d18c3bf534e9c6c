"""What driver errors mean: each becomes an error of queuekit, or one of the three answers the store itself handles.

Nothing else in this package reads error codes. Messages never carry credentials.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from bson.errors import InvalidBSON
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

from queuekit.domain.redact import redact
from queuekit.errors import (
    ConfigError,
    NotReplicated,
    PayloadTooLarge,
    QueueFull,
    QueueKitError,
    StoreError,
    StoreUnavailable,
)
from queuekit_mongo.commands import DUPLICATE, TOO_LARGE

NO_SPACE: Final = frozenset({14031, 12501})  # out of disk, over a hosted quota
DENIED: Final = frozenset({13, 18, 31, 8000})  # unauthorized, authentication failed, no such role, hosted
CONTENDED: Final = frozenset({112, 24, 251})  # write conflict, lock timeout, no such transaction: aborted, nothing done
NOT_PRIMARY: Final = frozenset({10107, 13435, 11602, 189, 91, 11600, 13436, 10058})
TIMED_OUT: Final = frozenset({50, 262, 89, 202})
INTERRUPTED: Final = frozenset({11601})  # somebody ended the session, who changes the queue's home, say: maybe too late
UNCONFIRMED: Final = frozenset({64})  # wtimeout
UNSATISFIABLE: Final = frozenset({100, 79})
NO_COLLECTION: Final = 26
CHANGE_STREAM_GONE: Final = frozenset({286, 280, 43, 136, 234, 222, 217, 237})
_LONGEST = 300  # characters of a driver's message
_TRAILER = re.compile(r" \(configured timeouts: |, Timeout: [\d.]+s,? Topology Description: |, full error: ")


class Duplicate(QueueKitError):
    """An insert or update met a value that a unique index holds. Never leaves this package."""


class Contended(QueueKitError):
    """A transaction was aborted by another one; nothing was written. Never leaves this package."""


class Absent(QueueKitError):
    """There is no such collection. Never leaves this package."""


class StreamLost(QueueKitError):
    """A change stream ended; another one may be opened. Never leaves this package."""


def transient(text: str) -> OperationFailure:
    """What a caller's own transaction met, as the driver says it: `with_transaction` begins it anew."""
    return OperationFailure(text, 112, {"code": 112, "errorLabels": ["TransientTransactionError"]})


def meaning(error: PyMongoError | InvalidBSON, where: str) -> QueueKitError:
    """The error of queuekit that says what a driver error means for a caller; `where` is the redacted address."""
    if isinstance(error, BulkWriteError):
        return _bulk(error, where)
    text = _text(error)
    if isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError)):
        return _away(text, where, "refused")
    if isinstance(error, (DuplicateKeyError,)):
        return Duplicate(text)
    if isinstance(error, DocumentTooLarge):
        return PayloadTooLarge(f"the document of a job would be over 16 MiB: {text}")
    if isinstance(error, (NetworkTimeout, NotPrimaryError, AutoReconnect, ConnectionFailure)):
        return _away(text, where, "unknown")
    if isinstance(error, OperationFailure):
        return _failure(error, error.code or 0, text, where)
    if isinstance(error, ConfigurationError):
        return ConfigError(f"MongoDB client: {text}")
    if isinstance(error, InvalidOperation):
        return StoreError(f"MongoDB at {where}: {text}")
    if getattr(error, "timeout", False):
        return _away(text, where, "unknown")
    return StoreError(f"MongoDB at {where}: {text}")


def _bulk(error: BulkWriteError, where: str) -> QueueKitError:
    details: Mapping[str, Any] = error.details or {}
    for concern in details.get("writeConcernErrors", ()):
        return _by_code(int(concern.get("code", 0)), redact(str(concern.get("errmsg", ""))), where)
    codes = {int(e.get("code", 0)) for e in details.get("writeErrors", ())}
    if codes == {DUPLICATE}:
        return Duplicate(_text(error))
    worst = next((code for code in codes if code != DUPLICATE), 0)
    first: Mapping[str, Any] = next((e for e in details.get("writeErrors", ()) if e.get("code") == worst), {})
    return _by_code(worst, redact(str(first.get("errmsg", error)))[:_LONGEST], where)


def _failure(error: OperationFailure, code: int, text: str, where: str) -> QueueKitError:
    if error.has_error_label("TransientTransactionError"):
        return Contended(text)
    return _by_code(code, text, where)


def _by_code(code: int, text: str, where: str) -> QueueKitError:
    if code == DUPLICATE:
        return Duplicate(text)
    if code in TOO_LARGE:
        return PayloadTooLarge(f"the document of a job would be over 16 MiB: {text}")
    if code in NO_SPACE or (code == 8000 and "quota" in text):
        return QueueFull(f"MongoDB at {where} has no space left: {text}")
    if code in DENIED:
        return ConfigError(f"MongoDB at {where} refuses this user: {text}")
    if code in CONTENDED:
        return Contended(text)
    if code in UNCONFIRMED:
        return NotReplicated(f"MongoDB at {where}: written on the primary, not confirmed by the majority: {text}")
    if code in UNSATISFIABLE:
        return ConfigError(f"MongoDB at {where} has not the members its write concern asks for: {text}")
    if code == NO_COLLECTION:
        return Absent(text)
    if code in CHANGE_STREAM_GONE:
        return StreamLost(text)
    if code in NOT_PRIMARY | TIMED_OUT | INTERRUPTED:
        return _away(text, where, "unknown")
    return StoreError(f"MongoDB at {where}: {text} (code {code})")


def _away(text: str, where: str, outcome: Literal["refused", "unknown"]) -> StoreUnavailable:
    return StoreUnavailable(f"MongoDB at {where} did not answer: {text}", outcome=outcome)


def _text(error: BaseException) -> str:
    """The cause in one line; pymongo adds its settings and what it thinks of every server."""
    text = redact(_TRAILER.split(" ".join(str(error).split()))[0])
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
