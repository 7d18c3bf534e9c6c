"""Jobs as MongoDB documents: what goes in comes out, and nothing a user wrote is ever more than bytes."""

from __future__ import annotations

from typing import Any

import bson
import mongomock
import pytest
from queuekit_mongo import documents, moves, pages, queries
from queuekit_mongo.documents import Document

from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Kind, Outcome
from queuekit.domain.query import Note, WorkerBeat
from queuekit.domain.state import Line, State

NOW = 1_800_000_000_000
OPAQUE = [
    b"",
    b"j\x00\x00",
    b'j"$secret"',
    b'j{"$concat":["$token","x"]}',
    b"j\xff\xfe",
    "j\ud800".encode("utf-8", "surrogatepass"),
]


def spec(**said: Any) -> JobSpec:
    return JobSpec(**({"id": "a", "task": "t", "body": b"j{}"} | said))


def made(job: JobSpec) -> Document:
    return documents.new(job, id="ns/q/a", queue="ns/q", epoch=0, now=NOW, place=7, op="actor:1")


def through_bson(doc: Document) -> Document:
    back: Document = bson.decode(bson.encode(doc))
    return back


def test_a_plain_job_is_a_small_document() -> None:
    assert made(spec()) == {
        "_id": "ns/q/a", "queue": "ns/q", "part": 0, "task": "t", "body": b"j{}", "priority": 10, "place": 7,
        "created_at": NOW, "rev": 1, "epoch": 0, "op": "actor:1", "state": "waiting", "line": 1,
    }  # fmt: skip


def test_everything_a_producer_says_comes_back() -> None:
    key = UniqueKey("k", until="time", on_conflict="replace", ttl=5, max_wait=9)
    said = spec(
        body=b"j[1]", version=3, priority=0, delay=1000, options=b"{}", keep_completed=Retention(5, 6),
        keep_failed=Retention(), unique=key, expires_in=50, trace="00-1",
    )  # fmt: skip
    job = documents.record(through_bson(made(said)))
    assert (job.queue, job.id, job.task, job.body, job.version, job.priority) == ("q", "a", "t", b"j[1]", 3, 0)
    assert (job.options, job.keep_completed, job.keep_failed) == (b"{}", Retention(5, 6), Retention())
    assert (job.unique, job.trace, job.state, job.line) == (key, "00-1", State.DELAYED, None)
    assert (job.run_at, job.expires_at, job.created_at, job.rev, job.place) == (NOW + 1000, NOW + 50, NOW, 1, 7)


def test_times_come_back_as_plain_integers() -> None:
    """BSON's 64-bit integers are a subclass of int that JSON writers refuse."""
    job = documents.record(through_bson(made(spec(delay=1000, expires_in=5))))
    assert {type(v) for v in (job.run_at, job.expires_at, job.created_at, job.place, job.rev)} == {int}


@pytest.mark.parametrize("data", OPAQUE)
def test_bytes_stay_bytes_on_every_way(data: bytes) -> None:
    doc = made(spec(body=data, options=data)) | {"state": "active", "token": "w:1", "at": NOW + 5}
    doc.pop("line")
    draft = moves.Draft(doc, now=NOW, conf=QueueConf(), back=lambda: 1)
    moves.settle(draft, Outcome("a", "w:1", Kind.COMPLETED, data, data, None, progress=data, logs=(data,)), 1000)

    update = through_bson(draft.update())
    assert (update["$set"]["result"], update["$set"]["progress"]) == (data, data)
    assert update["$push"]["logs"]["$each"] == update["$push"]["errors"]["$each"] == [data]
    assert through_bson(doc)["body"] == data


def test_an_update_of_users_bytes_is_never_a_pipeline() -> None:
    """In a pipeline "$secret" would be evaluated; a classic update takes values as they are."""
    complete = queries.complete(["x"], "w:1", op="w:2", now=NOW, result=b"$secret", keep=None)
    note = queries.note("x", "w:1", Note(progress=b"$secret"), until=None, kept=5)
    assert isinstance(complete.update, dict)
    assert isinstance(note.update, dict)


@pytest.mark.parametrize("start", [None, 3])
def test_lines_and_what_comes_with_them_go_into_their_pipeline_as_literals_only(start: int | None) -> None:
    write = queries.note("x", "$w:1", Note(progress=b"$secret", logs=(b"$x",), start=start), until=NOW, kept=5)

    def bare(value: object) -> list[object]:
        """What a server would evaluate."""
        if isinstance(value, dict):
            return [] if set(value) == {"$literal"} else [found for one in value.values() for found in bare(one)]
        return [found for one in value for found in bare(one)] if isinstance(value, list) else [value]

    assert {value for value in bare(write.update) if isinstance(value, str)} == {"$said.token", "$said.lines", "$logs"}
    assert not [value for value in bare(write.update) if isinstance(value, bytes)]


def test_what_a_worker_tells_goes_into_its_pipeline_as_literals_only() -> None:
    said = documents.beat(
        WorkerBeat(id="w", host="$host", pid=1, queues=("$q",), concurrency=1, started_at=0, info='{"$x":1}'), "ns"
    )
    (stage,) = pages.seen_worker("ns/w", said, ttl=5, shift=0).update
    assert all(set(stage["$set"][name]) == {"$literal"} for name in said)  # type: ignore[index]  # a pipeline


def test_an_active_job_stands_on_the_line_it_came_from() -> None:
    doc = made(spec()) | {"state": "active", "at": NOW + 5, "claims": 1}
    doc.pop("line")
    assert documents.record(doc).line is Line.READY
    assert documents.record(doc | {"was": documents.SUSPECT}).line is Line.SUSPECT
    assert documents.record(doc).lease_until == NOW + 5


def test_a_configuration_comes_back_and_a_queue_without_one_has_the_defaults() -> None:
    override = Limits(paused="$night", max_size=5, keep_failed=Retention(3))
    stored = {"rev": 4, "epoch": 2, "home": "moving", "to": "other", "override": override.to_json()}
    conf = documents.conf(stored)
    assert (conf.rev, conf.epoch, conf.home, conf.to, conf.override) == (4, 2, "moving", "other", override)
    assert documents.conf({}) == QueueConf()


def test_a_draft_becomes_what_it_says_when_it_is_applied() -> None:
    """The shape of updates, on mongomock; claims are never tried there."""
    collection: Any = mongomock.MongoClient()["db"]["jobs"]
    doc = made(spec(expires_in=99)) | {"state": "active", "token": "w:1", "at": NOW + 5, "was": 0, "cancel": "no"}
    doc.pop("line")
    doc.pop("expiry")
    collection.insert_one(doc)
    draft = moves.Draft(doc, now=NOW, conf=QueueConf(), back=lambda: 1)
    moves.settle(draft, Outcome("a", "w:1", Kind.COMPLETED, b"$r", logs=(b"one", b"two")), 1000)

    write = queries.drafted(draft.old, draft.update())
    assert collection.update_one(write.filter, write.update).matched_count == 1

    assert collection.find_one({"_id": "ns/q/a"}) == draft.doc | {"logs": [b"one", b"two"]}
    assert {"was", "cancel", "line"} & set(draft.doc) == set()
    assert collection.update_one(write.filter, write.update).matched_count == 0
