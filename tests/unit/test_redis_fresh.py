"""Records of first claims: the same as whole ones, whatever is looked at or changed first."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from queuekit_redis.fresh import fresh
from queuekit_redis.records import pack_spec, record

from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.state import Line, State

SCORE = b"%d" % (7 * (1 << 43) + (1 << 42) + 12)
COMMON = ("actor:3", 1000, 31_000, "w")


def entry(**more: Any) -> bytes:
    args: list[bytes] = []
    pack_spec(JobSpec(id="a", task="wörk", body=b"j[1]", priority=7, version=2, **more), args)
    head = args[1]
    timed = (500).to_bytes(8, "little") if more else b""  # what enqueue.lua puts in
    return (400).to_bytes(8, "little") + head[:1] + timed + head[1:]


def whole(**more: Any) -> JobRecord:
    return JobRecord(
        queue="q", id="a", task="wörk", body=b"j[1]", priority=7, version=2, state=State.ACTIVE, line=Line.READY,
        place=12, created_at=400, rev=2, claims=1, token="actor:3", worker="w", claimed_at=1000, lease_until=31_000,
        **more,
    )  # fmt: skip


def made(**more: Any) -> JobRecord:
    return fresh("q", "a", entry(**more), SCORE, COMMON)


def test_it_says_what_a_whole_record_says() -> None:
    assert made() == whole()
    assert whole() == made()
    assert made(run_at=500) == whole(run_at=500)
    assert made() != dataclasses.replace(whole(), rev=3)
    assert made().__eq__("a") is NotImplemented


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(JobRecord)])
def test_any_field_may_be_asked_for_first(name: str) -> None:
    assert getattr(made(), name) == getattr(whole(), name)


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(JobRecord)])
def test_what_was_changed_stays_changed(name: str) -> None:
    job = made()
    setattr(job, name, "changed")
    _ = job.errors, job.crashes, job.place
    assert getattr(job, name) == "changed"


def test_it_can_be_copied_replaced_and_pickled() -> None:
    assert dataclasses.replace(made(), rev=9).rev == 9
    assert copy.copy(made()) == whole()
    assert pickle.loads(pickle.dumps(made())) == whole()
    assert dataclasses.asdict(made()) == dataclasses.asdict(whole())
    with pytest.raises(AttributeError):
        made().nonsense  # type: ignore[attr-defined]  # noqa: B018


def test_an_entry_reads_the_same_in_both() -> None:
    plain = record("q", "a", (entry(), None, None, SCORE))
    assert (plain.task, plain.body, plain.place) == (made().task, made().body, made().place)
