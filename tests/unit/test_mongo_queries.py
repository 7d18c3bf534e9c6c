"""The queries that decide who gets a job, word for word; a change here is a change of the store's promises."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import queuekit_mongo
from queuekit_mongo import pages, queries, removals
from queuekit_mongo.collections import INDEXES, JOBS
from queuekit_mongo.documents import when
from queuekit_mongo.statements import Group, Write, under

from queuekit.domain.job import KEEP_NOTHING, Retention

Q = "ns/orders"
NOW = 1_800_000_000_000
ROOMS = [
    Path(queuekit_mongo.__file__).parent / name for name in ("queries.py", "pages.py", "removals.py", "transit.py")
]


def test_candidates_stand_in_order_suspects_first() -> None:
    find = queries.candidates(Q, 12, suspects=True)
    assert find.filter == {"queue": Q, "part": 0, "line": {"$gte": 0, "$lte": 1}}
    assert [name for name, way in find.sort if way == 1] == ["queue", "part", "line", "priority", "place", "_id"]
    assert (find.limit, find.index) == (12, "line")
    assert queries.candidates(Q, 1, suspects=False).filter["line"] == 1


def test_a_claim_takes_only_what_is_as_it_was_seen() -> None:
    group = Group(line=0, rev=3, frees=True, expires=True, ids=["a", "b"])
    assert queries.claim(group, epoch=2, token="w:5", now=NOW, lease=1000, worker="here") == Write(
        filter={"_id": {"$in": ["a", "b"]}, "line": 0, "rev": 3, "epoch": 2},
        update={
            "$set": {
                "state": "active", "token": "w:5", "at": NOW + 1000, "claimed_at": NOW, "worker": "here", "was": 0,
            },
            "$unset": {"line": "", "unique": "", "expiry": ""},
            "$inc": {"rev": 1, "claims": 1},
        },
        many=True, expects=2,
    )  # fmt: skip


def test_a_completion_meets_the_current_claim_only_and_no_job_that_needs_care() -> None:
    write = queries.complete(["a", "b"], "w:5", op="w:6", now=NOW, result=b"j1", keep=Retention(5))
    assert write.filter == {
        "_id": {"$in": ["a", "b"]}, "token": "w:5", "state": "active", "care": {"$exists": False},
    }  # fmt: skip
    assert isinstance(write.update, dict)
    assert write.update["$set"] == {
        "state": "completed/own", "keep": "5/", "at": NOW, "settled": "w:6", "result": b"j1",
    }  # fmt: skip


def test_a_job_that_nobody_keeps_becomes_a_stub_in_the_same_write() -> None:
    write = queries.complete(["a"], "w:5", op="w:6", now=NOW, result=b"j1", keep=KEEP_NOTHING)
    assert isinstance(write.update, dict)
    assert write.update["$set"] == {"state": "gone", "expire_at": when(NOW + 120_000), "settled": "w:6"}
    assert {"body", "task", "token", "at"} <= set(write.update["$unset"])


def test_a_lease_is_taken_only_if_nobody_renewed_it() -> None:
    old = {"_id": "x", "state": "active", "rev": 4, "at": NOW}
    assert queries.lost(old, {}).filter == old | {"awaited": None}


def test_due_jobs_wait_in_the_order_they_were_due() -> None:
    write = queries.promote(["b", "a"], first=70, now=NOW)
    assert isinstance(write.update, list)
    assert write.update[0]["$set"]["place"] == {
        "$add": [70, {"$indexOfArray": [{"$literal": ["b", "a"]}, "$_id"]}],
    }  # fmt: skip
    assert write.filter == {"_id": {"$in": ["b", "a"]}, "state": "delayed", "at": {"$lte": NOW}}


def test_an_actor_is_not_taken_for_another_whose_name_begins_alike() -> None:
    token = queries.held_by(Q, "abc").filter["token"]
    assert token["$gt"] < "abc:1" < token["$lt"]
    assert not token["$gt"] < "abcd:1" < token["$lt"]


def test_a_queue_is_not_taken_for_another_whose_name_begins_alike() -> None:
    span = under("ns/orders")
    assert span["$gte"] <= "ns/orders/a" < span["$lt"]
    assert not span["$gte"] <= "ns/orders-eu/a" < span["$lt"]
    assert not span["$gte"] <= "ns/orders#totals" < span["$lt"]


def test_places_of_ends_are_sought_on_both_sides_of_zero() -> None:
    back, front = pages.ends_of(Q, 1, 10)
    assert (back.sort[0], front.sort[0]) == (("place", 1), ("place", -1))


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.stem))
def test_no_query_runs_code_or_meets_a_text_pattern(path: Path) -> None:
    text = path.read_text()
    assert not [word for word in ("$where", "$function", "$accumulator", "mapReduce", "$regex") if word in text]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.stem))
def test_pipelines_let_no_parameter_in_but_as_literal_number_or_match(path: Path) -> None:
    """Every update that is a list: names inside it are numbers of ours, or go through `literal`."""
    allowed = {"literal", "place", "times", "k", "v", "READY", "said", "list", "ids", "first", "name", "back", "_LEFT"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "update" and isinstance(node.value, ast.List):
            names = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
            assert names <= allowed, f"{path.name}:{node.value.lineno} lets {names - allowed} into a pipeline"


def test_every_index_is_partial_and_leads_with_the_queue_but_for_the_net() -> None:
    for index in INDEXES[JOBS]:
        assert index.definition()["partialFilterExpression"] == {index.present: {"$exists": True}}
        assert index.keys[:2] == (("queue", 1), ("part", 1)) or index.name == "ttl"


def test_stubs_keep_what_answers_repeats() -> None:
    dropped = set(removals.stub_update(NOW)["$unset"])
    assert {"_id", "queue", "part", "op", "settled", "did", "created_at", "state"} & dropped == set()
