"""What becomes of a document by each transition, and what its indexes then see."""

from __future__ import annotations

from typing import Any

import pytest
from queuekit_mongo import documents, moves
from queuekit_mongo.documents import GONE, STUB_FIELDS, Document

from queuekit.domain.job import KEEP_NOTHING, JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Kind, Outcome, Refusal
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.state import TERMINAL, State

NOW = 1_800_000_000_000
INDEXED = {
    "waiting": {"line"},
    "delayed": {"at"},
    "active": {"at"},
    "parked": {"at"},
    "completed": {"at"},
    GONE: set[str](),
}


def job(state: str = "waiting", **more: Any) -> Document:
    doc = documents.new(
        JobSpec(id="a", task="t", body=b"", unique=UniqueKey("k")),
        id="n/q/a", queue="n/q", epoch=0, now=NOW, place=7, op="p:1",
    )  # fmt: skip
    if state != "waiting":
        doc.pop("line")
        doc |= {"state": state, "at": NOW + 5}
    if state == "active":
        doc |= {"token": "w:1", "claims": 1}
    return doc | more


def draft(doc: Document, conf: QueueConf | None = None) -> moves.Draft:
    return moves.Draft(doc, now=NOW, conf=conf or QueueConf(), back=lambda: 99)


def end(doc: Document, kind: Kind, conf: QueueConf | None = None, **said: Any) -> moves.Draft:
    made = draft(doc, conf)
    assert moves.settle(made, Outcome("a", "w:1", kind, **said), 100) is None
    return made


@pytest.mark.parametrize(
    ("kind", "said", "state"),
    [
        (Kind.COMPLETED, {}, "completed"), (Kind.RELEASED, {}, "waiting"), (Kind.PARKED, {}, "parked"),
        (Kind.RETRY, {"delay": 5}, "delayed"), (Kind.RETRY, {}, "waiting"), (Kind.SNOOZED, {"at": NOW + 1}, "delayed"),
        (Kind.COMPLETED, {"keep": KEEP_NOTHING}, GONE),
    ],
)  # fmt: skip
def test_a_document_is_in_the_indexes_of_its_state_only(kind: Kind, said: dict[str, Any], state: str) -> None:
    doc = end(job("active"), kind, **said).doc
    assert doc["state"] == state
    assert {"line", "at"} & set(doc) == INDEXED[state]


def test_release_gives_the_old_place_back_and_retry_a_new_one() -> None:
    released, retried = end(job("active"), Kind.RELEASED).doc, end(job("active"), Kind.RETRY).doc
    assert (released["place"], "failures" in released) == (7, False)
    assert (retried["place"], retried["failures"]) == (99, 1)
    assert "token" not in released


def test_a_released_suspect_is_a_suspect_again_and_a_retried_one_is_none() -> None:
    assert end(job("active", was=0), Kind.RELEASED).doc["line"] == documents.SUSPECT
    assert end(job("active", was=0), Kind.RETRY).doc["line"] == documents.READY


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.SNOOZED, Kind.RELEASED, Kind.PARKED])
def test_a_cancel_that_was_asked_wins_over_what_would_run_again(kind: Kind) -> None:
    doc = end(job("active", cancel="stop"), kind).doc
    assert (doc["state"], doc["reason"], "cancel" in doc) == ("cancelled", "stop", False)


def test_a_stub_holds_no_user_data() -> None:
    made = end(job("active", result=b"r", progress=b"p"), Kind.COMPLETED, keep=KEEP_NOTHING)
    assert set(made.doc) <= STUB_FIELDS | {"state", "expire_at"}
    assert "unique" not in made.doc
    assert {"body", "result", "progress", "task"} <= set(made.update()["$unset"])


def test_a_key_held_for_a_time_outlives_its_job_in_the_stub() -> None:
    doc = job("active", unique_until=NOW + 500_000)
    kept = end(doc, Kind.COMPLETED, keep=KEEP_NOTHING).doc
    assert kept["unique"] == "k"
    assert int(kept["expire_at"]) == NOW + 500_000
    over = end(job("active", unique_until=NOW), Kind.COMPLETED, keep=KEEP_NOTHING).doc
    assert "unique" not in over


def test_retention_is_the_jobs_own_then_the_workers_then_the_queues() -> None:
    none = QueueConf(declared=Limits(keep_completed=KEEP_NOTHING))
    own = end(job("active", keep_completed="5/"), Kind.COMPLETED, none, keep=Retention(9)).doc
    workers = end(job("active"), Kind.COMPLETED, none, keep=Retention(9)).doc
    queues = end(job("active"), Kind.COMPLETED, none).doc
    assert (own["keep"], workers["keep"], queues["state"]) == ("5/", "9/", GONE)
    assert own["state"] == workers["state"] == "completed/own"


def test_a_crash_counts_for_a_suspect_and_for_the_first_time() -> None:
    first, second = draft(job("active")), draft(job("active", crashes=1))
    suspect, last = draft(job("active", crashes=1, was=0)), draft(job("active", crashes=2, was=0))
    assert [moves.lose(d) for d in (first, second, suspect, last)] == [State.WAITING] * 3 + [State.FAILED]
    assert [d.doc["crashes"] for d in (first, second, suspect, last)] == [1, 1, 2, 3]
    assert last.doc["reason"] == "crash_loop"


def test_results_over_the_limit_and_unknown_ends_are_refused_untouched() -> None:
    for outcome, why in (
        (Outcome("a", "w:1", Kind.COMPLETED, b"x" * 101), Refusal.TOO_LARGE),
        (Outcome("a", "w:1", Kind.BLOCKED), Refusal.ILLEGAL),
    ):
        made = draft(job("active"))
        assert moves.settle(made, outcome, 100) is why
        assert made.update() == {}


@pytest.mark.parametrize("state", ["waiting", "delayed", "active", "parked", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("verb", list(Verb))
def test_a_change_is_made_or_refused_never_half(verb: Verb, state: str) -> None:
    made = draft(job(state))
    no = moves.change(made, Change(id="a", verb=verb, body=b"new" if verb is Verb.REPLACE else None))
    if no is not None:
        assert no is No.ILLEGAL
        assert made.update() == {}
    elif made.doc["state"] != GONE:
        assert made.doc["rev"] == made.old["rev"] + 1


def test_a_person_who_retries_clears_what_the_runs_left_but_the_errors() -> None:
    made = draft(job("failed", failures=3, crashes=2, reason="x", result=b"r", expires_at=1, errors=[b"e"], keep="1/"))
    made.doc.pop("unique")
    made.old.pop("unique")
    assert moves.change(made, Change(id="a", verb=Verb.RETRY)) is None
    assert {"failures", "crashes", "reason", "result", "expires_at", "expiry", "keep", "at"} & set(made.doc) == set()
    assert (made.doc["errors"], made.doc["unique"], made.doc["state"]) == ([b"e"], "k", "waiting")


def test_what_was_not_read_is_removed_all_the_same() -> None:
    """Documents are read without what may be large in them."""
    light = {k: v for k, v in job("failed").items() if k not in documents.HEAVY}
    retried, deleted = draft(light), draft(light)
    assert moves.change(retried, Change(id="a", verb=Verb.RETRY)) is None
    assert moves.change(deleted, Change(id="a", verb=Verb.DELETE)) is None
    assert "result" in retried.update()["$unset"]
    assert "body" not in retried.update()["$unset"]
    assert set(documents.HEAVY) <= set(deleted.update()["$unset"])


def test_every_terminal_state_frees_the_key() -> None:
    for kind in (Kind.COMPLETED, Kind.FAILED, Kind.CANCELLED):
        made = end(job("active"), kind)
        assert made.state in TERMINAL
        assert "unique" not in made.doc
