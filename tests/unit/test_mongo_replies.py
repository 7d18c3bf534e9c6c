"""Driver errors by meaning, without credentials."""

from __future__ import annotations

import pytest
from pymongo import errors
from queuekit_mongo.asynchronous import together
from queuekit_mongo.backend import backend
from queuekit_mongo.replies import Contended, Duplicate, StreamLost, meaning

from queuekit.errors import (
    ConfigError,
    NotReplicated,
    PayloadTooLarge,
    QueueFull,
    QueueKitError,
    StoreError,
    StoreUnavailable,
)
from queuekit.store.registry import StoreOptions

WHERE = "mongodb://u:***@db/app"


def failed(code: int, labels: list[str] | None = None) -> errors.OperationFailure:
    return errors.OperationFailure("no", code, {"errorLabels": labels or []})


def bulk(*codes: int, concern: int | None = None) -> errors.BulkWriteError:
    concerns = [] if concern is None else [{"code": concern, "errmsg": "late"}]
    found = [{"index": i, "code": code, "errmsg": "no"} for i, code in enumerate(codes)]
    return errors.BulkWriteError({"writeErrors": found, "writeConcernErrors": concerns})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (failed(11000), Duplicate), (bulk(11000, 11000), Duplicate),
        (errors.DuplicateKeyError("dup", 11000), Duplicate),
        (failed(112), Contended), (failed(0, ["TransientTransactionError"]), Contended),
        (failed(13), ConfigError), (failed(18), ConfigError), (failed(100), ConfigError),
        (failed(14031), QueueFull), (failed(17419), PayloadTooLarge), (errors.DocumentTooLarge("big"), PayloadTooLarge),
        (failed(64), NotReplicated), (bulk(concern=64), NotReplicated), (failed(286), StreamLost),
        (failed(4711), StoreError), (bulk(4711, 11000), StoreError), (errors.ConfigurationError("x"), ConfigError),
    ],
    ids=str,
)  # fmt: skip
def test_an_error_is_known_by_what_it_means(error: errors.PyMongoError, kind: type[QueueKitError]) -> None:
    assert type(meaning(error, WHERE)) is kind


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.ServerSelectionTimeoutError("nobody"), "refused"), (errors.WaitQueueTimeoutError("busy"), "refused"),
        (errors.AutoReconnect("reset"), "unknown"), (errors.NetworkTimeout("late"), "unknown"),
        (errors.NotPrimaryError("stepped down"), "unknown"), (failed(91), "unknown"), (failed(50), "unknown"),
        (bulk(concern=91), "unknown"), (failed(11601), "unknown"), (bulk(concern=11601), "unknown"),
    ],
    ids=str,
)  # fmt: skip
def test_a_store_that_is_away_says_whether_it_did_anything(error: errors.PyMongoError, outcome: str) -> None:
    said = meaning(error, WHERE)
    assert isinstance(said, StoreUnavailable)
    assert said.outcome == outcome


def test_a_message_is_the_cause_and_not_what_the_driver_thinks_of_every_server() -> None:
    said = (
        "db:1: [Errno 111] Connection refused (configured timeouts: socketTimeoutMS: 5000.0ms), Timeout: 4.99s, "
        "Topology Description: <TopologyDescription id: 6b>"
    )
    told = str(meaning(errors.ServerSelectionTimeoutError(said), "mongodb://db:1"))
    assert told == "MongoDB at mongodb://db:1 did not answer: db:1: [Errno 111] Connection refused"
    plain = str(
        meaning(
            errors.ServerSelectionTimeoutError(
                "No replica set members found yet, Timeout: 5s, Topology Description: <T>"
            ),
            "m",
        )
    )
    assert plain == "MongoDB at m did not answer: No replica set members found yet"


def test_no_message_tells_a_password_or_runs_to_pages() -> None:
    said = str(meaning(errors.AutoReconnect("mongodb://joe:hunter2@db:1 closed " + "x" * 5000), WHERE))
    assert "hunter2" not in said
    assert len(said) < 500


@pytest.mark.parametrize("url", ["mongodb://joe:hun/ter2@db/app", "mongodb://joe:hunter2@db:99999/app"])
def test_a_bad_url_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        backend.blocking(url, StoreOptions())
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None  # the driver quotes what it took for a database
    assert caught.value.__suppress_context__


async def _answer() -> str:
    return "done"


async def _fail(error: Exception) -> str:
    raise error


async def test_of_two_commands_one_that_was_never_sent_says_nothing_of_the_other() -> None:
    unsent, lost = errors.ServerSelectionTimeoutError("nobody"), errors.AutoReconnect("gone")
    assert await together([_answer(), _answer()]) == ["done", "done"]
    with pytest.raises(errors.AutoReconnect, match="nobody") as half:
        await together([_answer(), _fail(unsent)])
    assert not isinstance(half.value, errors.ServerSelectionTimeoutError)
    with pytest.raises(errors.AutoReconnect, match="gone"):
        await together([_fail(unsent), _fail(lost)])
    with pytest.raises(errors.ServerSelectionTimeoutError):
        await together([_fail(unsent), _fail(unsent)])
