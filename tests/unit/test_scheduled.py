"""The definition of a schedule: its two layers, what a slot's job is, and what another version of it may hold."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from queuekit import clock
from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.schedule import ScheduleRecord
from queuekit.domain.scheduled import Definition, JobForm, Layer, Mark, Passage
from queuekit.domain.timetable import Timetable
from queuekit.errors import InvalidOption, SchemaMismatch
from queuekit.producing.scheduling.view import view

SLOT = 1_795_338_000_000  # 2026-11-22T09:00:00Z
SPEC = JobSpec(
    id="x", task="mail", body=b'j{"to":"\xc3\xa4"}', version=3, priority=5, delay=60_000, lifo=True,
    options=b'j{"attempts":2}', keep_completed=Retention(count=3), keep_failed=Retention(age=5000),
    unique=UniqueKey("k", until="time", ttl=9000, on_conflict="replace", max_wait=7), group="g", expires_in=3_600_000,
)  # fmt: skip


def layer(task: str = "a", rule: dict[str, Any] | None = None, **more: Any) -> Layer:
    form = JobForm(task=task, body=b"j{}")
    return Layer(job=form.to_json(), rule=rule or {"every": "1h"}, by="kit", at=1, origin="code", **more)


def person(job: str | None = None, rule: dict[str, Any] | None = None) -> Layer:
    return Layer(job=None if job is None else JobForm(task=job, body=b"j{}").to_json(), rule=rule, by="ada@pc", at=2)


def test_a_form_is_kept_whole() -> None:
    form = JobForm.of(SPEC, "here")
    assert JobForm.from_json(json.loads(json.dumps(form.to_json()))) == form
    plain = JobForm.of(JobSpec(id="x", task="mail", body=b"\xff\x00"), "here")
    assert JobForm.from_json(plain.to_json()) == plain
    assert set(plain.to_json()) == {"task", "body64"}


def test_every_field_of_a_job_is_kept_or_decided() -> None:
    decided = {"id", "run_at", "expires_at", "trace"}
    assert set(JobSpec.__dataclass_fields__) - decided == set(JobForm.__dataclass_fields__)


def test_a_slots_job_counts_its_times_from_the_slot() -> None:
    rule = Timetable.parse({"every": "1h", "jitter": "10m"}, where="here").to_json()
    definition = Definition(anchor=0, declared=Layer(job=JobForm.of(SPEC, "here").to_json(), rule=rule))
    spec = definition.job("digest", SLOT)
    jitter = definition.timetable.jitter_of("digest", SLOT)
    assert 0 < jitter <= 600_000
    assert spec == replace(
        SPEC, id="digest@2026-11-22T09:00:00Z", delay=None, run_at=SLOT + 60_000 + jitter, expires_in=None,
        expires_at=SLOT + 3_600_000,
    )  # fmt: skip


def test_a_job_without_delay_and_jitter_runs_at_once() -> None:
    spec = Definition(anchor=0, declared=layer()).job("d", SLOT)
    assert (spec.run_at, spec.expires_at, spec.delay) == (None, None, None)


def test_a_job_fired_by_hand_has_an_id_that_says_so_and_no_jitter() -> None:
    definition = Definition(anchor=0, declared=layer(rule={"every": "1h", "jitter": "10m"}))
    spec = definition.job_by_hand("d", SLOT, "z")
    assert (spec.id, spec.run_at) == ("d@manual-z", None)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"run_at": 1}, "run_at is a moment"),
        ({"expires_at": 1}, 'expires="1h"'),
        ({"unique": UniqueKey("k", on_conflict="error")}, "nobody to tell"),
    ],
)
def test_what_holds_for_one_job_only_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        JobForm.of(JobSpec(id="x", task="t", body=b"", **given), "here")


def test_what_is_loaded_is_what_was_dumped() -> None:
    whole = Definition(
        anchor=5, declared=layer(), override=person("b", {"every": "2h"}), paused=Mark(by="ada", at=3, reason="night"),
        by_hand=Mark(by="bob", at=4, job="d@manual-1"), leaving=Passage(queue="q2", next=9),
        coming=Passage(queue="q1", rev=7, next=None), extra={"later": {"a": [1]}},
    )  # fmt: skip
    assert Definition.load(whole.dump()) == whole
    assert Definition.load(whole.dump()).dump() == whole.dump()


def test_keys_of_a_newer_queuekit_survive_a_change() -> None:
    said = json.loads(Definition(anchor=5, declared=layer()).dump())
    read = Definition.load(json.dumps(said | {"alerts": ["x"]}).encode())
    assert json.loads(replace(read, paused=Mark(by="a", at=1)).dump())["alerts"] == ["x"]


@pytest.mark.parametrize(
    "changed",
    [
        {"v": 2},
        {"declared": {"by": "k", "at": 1, "job": {"task": "a", "body": "j{}"}, "rule": {"every": "1h"}, "note": 1}},
        {"paused": {"by": "k", "at": 1, "until": 5}},
    ],
)
def test_what_a_newer_queuekit_means_is_not_guessed(changed: dict[str, Any]) -> None:
    said = json.loads(Definition(anchor=5, declared=layer()).dump())
    with pytest.raises(SchemaMismatch, match="newer"):
        Definition.load(json.dumps(said | changed).encode())


def test_a_job_or_rule_of_a_newer_queuekit_is_not_fired() -> None:
    newer = Definition(anchor=0, declared=Layer(job={"task": "a", "body": "j{}", "shard": 3}, rule={"every": "1h"}))
    with pytest.raises(SchemaMismatch, match="shard"):
        newer.job("d", SLOT)
    with pytest.raises(SchemaMismatch, match="newer"):
        Definition(anchor=0, declared=layer(rule={"every": "1h", "holidays": "de"})).timetable  # noqa: B018


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b"\xff", b"null", b'{"anchor":1}', b'{"v":"new"}', b'{"v":null}', b"[" * 100_000]
)
def test_bytes_that_are_no_definition_are_refused(data: bytes) -> None:
    with pytest.raises(SchemaMismatch, match="no definition"):
        Definition.load(data)


def test_a_refusal_does_not_say_what_it_refuses() -> None:
    with pytest.raises(SchemaMismatch) as told:
        Definition.load(b'{"card":"4111111111111111"}')
    assert "4111" not in str(told.value)


@pytest.mark.parametrize("data", [b'{"v":1}', b'{"v":1,"anchor":0,"declared":"x"}', b'{"v":1,"anchor":0,"paused":{}}'])
def test_a_definition_of_another_shape_is_refused_as_every_other(data: bytes) -> None:
    with pytest.raises(SchemaMismatch, match="cannot be read"):
        Definition.load(data)


@pytest.mark.parametrize(
    "more", [{"unique": {"key": "k", "scope": "kit"}}, {"keep_failed": "until noon"}, {"body64": 7}, {"options": 7}]
)
def test_an_option_of_a_job_that_is_not_known_here_is_told_as_a_problem(more: dict[str, Any]) -> None:
    job = {"task": "a", "body": "j{}", **more}
    newer = Definition(anchor=0, declared=Layer(job=job, rule={"every": "1h"}))
    with pytest.raises(SchemaMismatch, match="newer"):
        newer.job("d", SLOT)
    shown = view(ScheduleRecord(id="d", queue="default", definition=newer.dump(), rev=1))
    assert "newer" in str(shown.problem)


def test_the_override_wins_part_by_part() -> None:
    declared = Definition(anchor=0, declared=layer())
    over = declared.overridden(person(rule={"every": "2h"}))
    assert (over.rule, over.form.task, over.origin) == ({"every": "2h"}, "a", "code")


def test_what_a_person_says_as_the_declaration_does_is_no_override() -> None:
    declared = Definition(anchor=0, declared=layer())
    assert declared.overridden(person("a", {"every": "1h"})).override is None
    over = declared.overridden(person("a", {"every": "2h"})).override
    assert over is not None
    assert (over.job, over.rule) == (None, {"every": "2h"})


def test_an_override_survives_a_declaration_of_something_else() -> None:
    at_night = Definition(anchor=0, declared=layer(), paused=Mark(by="ada", at=1)).overridden(
        person(rule={"every": "2h"})
    )
    deployed = at_night.redeclared(layer("b"))
    assert (deployed.rule, deployed.form.task) == ({"every": "2h"}, "b")
    again = deployed.redeclared(layer("b", {"every": "3h"}))
    assert (again.rule, again.override) == ({"every": "3h"}, None)
    assert again.paused is not None


def test_the_digest_is_of_what_is_said_not_of_who_said_it() -> None:
    assert layer().digest == replace(layer(), by="other", at=99).digest
    assert len({layer().digest, layer("b").digest, layer(rule={"every": "2h"}).digest}) == 3


def test_a_definition_is_small_where_its_payload_is_text() -> None:
    body = b"j" + json.dumps({"text": "häuser " * 1000}, ensure_ascii=False).encode()
    dumped = Definition(
        anchor=0, declared=Layer(job=JobForm(task="t", body=body).to_json(), rule={"every": "1h"})
    ).dump()
    assert len(dumped) < len(body) * 1.05 + 200
    quoted = b"j" + json.dumps({"text": '"\\' * 1000}).encode()
    assert len(json.dumps(JobForm(task="t", body=quoted).to_json())) < len(quoted) * 1.4 + 100


def test_the_slot_of_these_tests() -> None:
    assert clock.to_datetime(SLOT).isoformat() == "2026-11-22T09:00:00+00:00"
