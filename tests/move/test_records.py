"""The canonical record of a job: written, read back, and compared by its digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queuekit.domain.job import JobRecord, Retention, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.state import Line, State
from queuekit.move.reading import Unreadable, held_key, loads
from queuekit.move.records import APART, Digests, digest, dumps

PLAIN = JobRecord(queue="orders", id="j1", task="send", body=b'j{"to":"a"}', place=7, line=Line.READY, created_at=5)
LINE = (
    b'{"body":"j{\\"to\\":\\"a\\"}","created_at":5,"id":"j1","line":"ready","place":7,"queue":"orders",'
    b'"state":"waiting","task":"send","v":1}'
)

_name = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)
_count = st.integers(0, 2**53 - 1)
_retention = st.builds(Retention, st.none() | _count, st.none() | _count)
_text = st.text(max_size=20)  # lone surrogates too
_bytes = st.binary(max_size=30) | _text.map(lambda t: t.encode("utf-8", "replace"))
_unique = st.builds(
    UniqueKey,
    _text,
    st.sampled_from(["finished", "started", "time"]),
    st.sampled_from(["existing", "replace", "error"]),
    st.none() | _count,
    st.none() | _count,
)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": _text, "str | None": st.none() | _text, "int": _count, "int | None": st.none() | _count,
    "bytes": _bytes, "bytes | None": st.none() | _bytes, "tuple[bytes, ...]": st.lists(_bytes, max_size=3).map(tuple),
    "State": st.sampled_from(State), "Line | None": st.none() | st.sampled_from(Line),
    "Retention | None": st.none() | _retention, "UniqueKey | None": st.none() | _unique,
}  # fmt: skip
SPECIAL = {"queue": _name, "id": _name, "task": _name, "priority": st.integers(0, 1000),
           "place": st.integers(-(2**53) + 1, 2**53 - 1),
           "keep": st.none() | _retention.map(lambda r: r.label)}  # fmt: skip


@st.composite
def parcels(draw: st.DrawFn) -> Parcel:
    """Any parcel that a store could hand out."""
    record = JobRecord(**{f.name: draw(SPECIAL.get(f.name, BY_TYPE[str(f.type)])) for f in fields(JobRecord)})
    if record.state not in (State.WAITING, State.ACTIVE):
        record.line = None
    holds = record.unique is not None and draw(st.booleans())
    expires = draw(st.none() | _count) if holds else None
    return Parcel(record=record, holds=holds, key_expires=expires, awaited=draw(st.booleans()))


def test_a_record_is_one_compact_line_of_what_is_set_with_sorted_keys() -> None:
    assert dumps(Parcel(record=PLAIN)) == LINE


def test_a_parcel_adds_what_its_record_does_not_say() -> None:
    unique = UniqueKey("k", "time", ttl=9)
    said = json.loads(dumps(Parcel(record=replace(PLAIN, unique=unique), holds=True, key_expires=99, awaited=True)))
    assert {name: said[name] for name in ("unique", "holds", "key_expires", "awaited")} == {
        "unique": {"key": "k", "ttl": 9, "until": "time"}, "holds": True, "key_expires": 99, "awaited": True,
    }  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(parcels())
def test_what_is_written_is_read_back_the_same(parcel: Parcel) -> None:
    line = dumps(parcel)
    assert b"\n" not in line
    line.decode()  # UTF-8 whatever the job holds
    back = loads(line)
    assert back == parcel
    assert dumps(back) == line
    assert digest(back.record) == digest(parcel.record)


@settings(max_examples=80, deadline=None)
@given(parcels())
def test_anybody_can_compute_the_digest_from_the_line(parcel: Parcel) -> None:
    said = json.loads(dumps(parcel))
    for name in (*APART, "v", "holds", "key_expires", "awaited"):
        said.pop(name, None)
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    assert hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest() == digest(parcel.record)


def test_bytes_that_are_no_utf8_come_back_as_they_were() -> None:
    record = replace(PLAIN, body=b"\xff\x00", result=b"", errors=(b"j{}", b"\x80"), logs=(b"\xed\xa0\x80",))
    line = dumps(Parcel(record=record))
    assert json.loads(line)["body"] == {"b64": "/wA="}
    assert json.loads(line)["result"] == ""
    assert loads(line).record == record


@pytest.mark.parametrize("name", [f.name for f in fields(JobRecord)])
def test_every_field_changes_the_digest_unless_a_store_decides_it(name: str) -> None:
    other: dict[str, Any] = {
        "str": "x", "str | None": "x", "int": 3, "int | None": 3, "bytes": b"x", "bytes | None": b"x",
        "tuple[bytes, ...]": (b"x",), "State": State.PARKED, "Line | None": Line.SUSPECT,
        "Retention | None": Retention(3), "UniqueKey | None": UniqueKey("x"),
    }  # fmt: skip
    kind = next(str(f.type) for f in fields(JobRecord) if f.name == name)
    changed = replace(PLAIN, **{name: other[kind]})
    assert (digest(changed) == digest(PLAIN)) is (name in {"queue", "place", "epoch", "lease_until"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"v": 2}, "format version 2; this queuekit reads up to 1"),
        ({"v": None}, "no format version"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"body": None}, "body is None"),
        ({"body": {"b64": "?"}}, "body is"),
        ({"body": "\ud800"}, "text that UTF-8 can hold"),
        ({"id": "no spaces"}, "is no job id"),
        ({"queue": "a/b"}, "is no queue name"),
        ({"state": "scheduled"}, "state is 'scheduled'"),
        ({"state": "completed"}, "stands on no line"),
        ({"line": "front"}, "line is 'front'"),
        ({"priority": 1001}, "priority is 1001"),
        ({"claims": -1}, "claims is -1"),
        ({"claims": True}, "claims is True"),
        ({"created_at": 2**53}, "created_at is"),
        ({"created_at": 1.5}, "created_at is 1.5"),
        ({"errors": "x"}, "errors is 'x'"),
        ({"errors": ["x"] * 21}, "at most 20"),
        ({"keep": "1000"}, "keep is '1000'"),
        ({"keep_failed": "a/b"}, "keep_failed is 'a/b'"),
        ({"unique": {"key": "k", "until": "noon"}}, "kind that is known"),
        ({"unique": {"until": "time"}}, "unique.key is None"),
        ({"unique": {"key": "k", "more": 1}}, "unique is"),
        ({"holds": 1}, "holds is 1"),
        ({"holds": True}, "'holds' without 'unique'"),
        ({"key_expires": 5}, "'key_expires' without 'holds'"),
    ],
)
def test_what_was_not_written_by_us_is_refused(change: dict[str, object], says: str) -> None:
    said = json.loads(LINE) | change
    with pytest.raises(Unreadable, match=says.replace("(", r"\(")):
        loads(json.dumps(said))


@pytest.mark.parametrize("name", ["body", "id", "queue", "state", "task"])
def test_a_record_without_what_every_job_has_is_refused(name: str) -> None:
    said = json.loads(LINE)
    del said[name]
    with pytest.raises(Unreadable, match=f"'{name}' is missing"):
        loads(json.dumps(said))


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b"\xff", b'"x"', b"[" * 100_000])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(Unreadable):
        loads(line)


def test_held_keys_are_read_as_strictly() -> None:
    assert held_key({"key": "k", "id": "a", "expires": 5}) == HeldKey(key="k", id="a", expires=5)
    for wrong in ({"key": "k", "id": "a"}, {"key": 1, "id": "a", "expires": 5}, {"key": "k", "id": "", "expires": 5}):
        with pytest.raises(Unreadable):
            held_key(wrong)


def test_digests_do_not_depend_on_the_order() -> None:
    some = [replace(PLAIN, id=f"j{n}", state=State.WAITING if n % 2 else State.DELAYED, line=None) for n in range(9)]
    one, two, three = Digests(), Digests(), Digests()
    for record in some:
        one.add(record)
    for record in reversed(some[:5]):
        two.add(replace(record, place=99, epoch=3, queue="other"))
    for record in some[5:]:
        three.add(record)
    assert one == three.merge([two])
    assert one.hex == three.hex
    assert (one.total, one.counts) == (9, {State.WAITING: 4, State.DELAYED: 5})


def test_digests_show_a_job_that_changed_swapped_or_was_taken_out() -> None:
    one, two = Digests(), Digests()
    one.add(PLAIN)
    two.add(replace(PLAIN, failures=1))
    assert one != two
    assert one.hex != two.hex
    two.take(State.WAITING, digest(replace(PLAIN, failures=1)))
    assert two == Digests()
    two.add(PLAIN)
    assert one == two
    two.add(replace(PLAIN, id="j2", state=State.PARKED, line=None))
    assert two.as_dict().keys() == {"waiting", "parked"}
    assert one != two
