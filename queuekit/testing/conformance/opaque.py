"""Opaque: whatever bytes a user sends come back as they went, names keep apart, and nothing is ever interpreted."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from queuekit import codec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Kind
from queuekit.domain.query import Note, Verb, WorkerBeat
from queuekit.domain.state import State
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.words import (
    HOUR,
    LEASE,
    Producer,
    Q,
    Worker,
    bring,
    change,
    counted,
    created,
    done,
    hold,
    listed,
    look,
    names,
    set_limits,
    spec,
    state,
)

BYTES = {
    "empty": b"",
    "nul": b"\x00",
    "nuls": b"a\x00b\x00\x00",
    "not-utf8": b"\xff\xfe\x80",
    "every-byte": bytes(range(256)),
    "dollar": b"$secret",
    "operator": b'{"$concat": ["$body", "$token"]}',
    "newlines": b"one\r\ntwo\n",
    "number": b"00012",
    "huge-number": b"9" * 40,
    "quotes": b"'; DROP TABLE jobs; --\"",
    "lua": b"]]..redis.call('FLUSHALL')..[[",
    "spaces": b"  x  ",
    "long": b"x" * 70_000,
}
opaque = pytest.mark.parametrize("data", BYTES.values(), ids=BYTES.keys())

VALUES: dict[str, Any] = {
    "none": None,
    "dollar": {"$set": {"result": "$secret"}, "a.b": 1, "": 2, "$": []},
    "nul": "a\x00b",
    "lone-surrogate": "\ud800 and \udfff",
    "big": [2**63, -(2**64), 10**30, 2**53 + 1],
    "floats": [0.1, 1e308, -0.0, 5e-324],
    "empties": [{}, [], "", [[]], {"": {}}],
    "emoji": "👩‍👩‍👧 наѝве 日本",
    "one-and-true": [1, True, 1.0, "1"],
}

TEXTS = ["$secret", "", "a\x00b", "{}", "line\nbreak", "ключ 👩‍👩‍👧", "x" * 5000, "%s", '"\\']


class Queues(StrEnum):
    MAIL = "mail.out"


@opaque
async def test_a_body_and_options_come_back_as_they_went(store: JobStore, data: bytes) -> None:
    await Producer(store).put(spec("a", body=data, options=data))
    record = await look(store, "a")
    assert (record.body, record.options) == (data, data)
    (claim,) = await Worker(store).claim()
    assert (claim.body, claim.options) == (data, data)
    assert await listed(store, State.ACTIVE) == ["a"]


@opaque
async def test_results_errors_progress_and_logs_come_back_as_they_went(store: JobStore, data: bytes) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, b = await worker.claim(2)
    await store.renew(Q, [hold(a, progress=data, logs=(data, b"x"))], LEASE)
    assert (await look(store, "a")).progress == data
    assert await store.annotate(Q, "b", b.token or "", Note(progress=data, logs=(data,)))

    await worker.settle(done(a, result=data, logs=(data,)), done(b, Kind.RETRY, error=data, progress=data))

    first, second = await look(store, "a"), await look(store, "b")
    assert (first.result, first.logs, first.progress) == (data, (data, b"x", data), data)
    assert (second.errors, second.progress, second.logs) == ((data,), data, (data,))
    (again,) = await worker.claim()
    assert (again.errors, again.progress) == ((data,), data)
    await worker.end(again, Kind.FAILED, error=data + b"2")
    assert (await look(store, "b")).errors == (data, data + b"2")


@opaque
async def test_a_replaced_body_comes_back_as_it_went(store: JobStore, data: bytes) -> None:
    await Producer(store).put("a")
    await change(store, "a", Verb.REPLACE, body=data)
    assert (await look(store, "a")).body == data


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
async def test_a_value_comes_back_through_the_codec(store: JobStore, value: Any) -> None:
    data = codec.encode(value)
    await Producer(store).put(spec("a", body=data))
    worker = Worker(store)
    (job,) = await worker.claim()
    assert repr(codec.decode(job.body)) == repr(value)
    await worker.end(job, result=data)
    assert repr(codec.decode((await look(store, "a")).result or b"")) == repr(value)


async def test_no_result_and_an_empty_result_are_two_things(store: JobStore) -> None:
    await Producer(store).put("a", "b")
    worker = Worker(store)
    a, b = await worker.claim(2)
    await worker.settle(done(a, result=None), done(b, result=b""))
    assert ((await look(store, "a")).result, (await look(store, "b")).result) == (None, b"")


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_reasons_may_be_any_text(store: JobStore, text: str) -> None:
    await Producer(store).put("failed", "parked", "active", "waiting")
    worker = Worker(store)
    failed, parked, active = await worker.claim(3)
    await worker.settle(done(failed, Kind.FAILED, reason=text), done(parked, Kind.PARKED, reason=text))
    await change(store, "active", Verb.CANCEL, reason=text)
    await change(store, "waiting", Verb.CANCEL, reason=text)

    assert (await store.renew(Q, [hold(active)], LEASE)).cancels == {"active": text}
    assert [(await look(store, name)).reason for name in ("failed", "parked", "waiting")] == [text] * 3
    assert (await look(store, "active")).cancel == text
    await worker.end(active, Kind.CANCELLED, reason=text)
    assert (await look(store, "active")).reason == text


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_names_of_workers_and_traces_may_be_any_text(store: JobStore, text: str) -> None:
    await Producer(store).put(spec("a", trace=text))
    (job,) = await Worker(store, name=text).claim()
    assert (job.trace, job.worker) == (text, text)
    record = await look(store, "a")
    assert (record.trace, record.worker) == (text, text)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_what_people_write_may_be_any_text(store: JobStore, text: str) -> None:
    conf = await store.configure(Q, QueueConf(override=Limits(paused=text, by=text, at=1)))
    assert (await store.conf(Q)).override == conf.override == Limits(paused=text, by=text, at=1)
    assert (await Worker(store).exchange((), 1)).paused == text
    assert (await store.count(Q)).paused == text
    told = WorkerBeat(id="w", host=text, pid=1, queues=("a",), concurrency=1, started_at=1, version=text, info=text)
    await store.beat(told, HOUR)
    (known,) = await store.workers()
    assert (known.host, known.version, known.info) == (text, text, text)


# ---- names


ODD = ["a", "A", "0", "-", ".", ":", "_", "a:b", "a.b", "-1", "1e5", "true", "__proto__", "jobs", "conf", "x" * 128]
LONG = ["i" * 200, "0" * 200, ":" * 200, "slot@2026-01-01T00:00:00Z", "@", "-", "."]


@pytest.mark.parametrize("queue", ODD)
async def test_every_name_of_the_grammar_names_a_queue_and_a_task(store: JobStore, queue: str) -> None:
    await Producer(store, queue).put(spec("a", task=queue), spec("b", task=queue, delay=HOUR))
    worker = Worker(store, queue)
    job = await worker.take("a")
    assert (job.queue, job.task) == (queue, queue)
    await worker.end(job)
    await set_limits(store, queue, max_size=7)

    assert await counted(store, queue) == {State.COMPLETED: 1, State.DELAYED: 1}
    assert (await store.conf(queue)).override.max_size == 7
    assert await listed(store, State.COMPLETED, task=queue, queue=queue) == ["a"]
    assert await store.queues() == [queue]
    assert [record.queue for record in await store.locate("b")] == [queue]
    assert await store.obliterate(queue) == (2, False)
    assert await store.queues() == []


async def test_every_name_of_the_grammar_names_a_job(store: JobStore) -> None:
    ids = sorted({*ODD, *LONG})
    worker = Worker(store)
    for name in ids:
        assert created(await Producer(store).put(name)) == [True], name
        await worker.end(await worker.take(name), Kind.RETRY, error=b"e", delay=HOUR)
        assert (await change(store, name, Verb.PROMOTE)).ok, name
        job = await worker.take(name)
        assert (await store.renew(Q, [hold(job)], LEASE)).lost == []
        await worker.end(job, result=name.encode())
    for record, name in zip(await store.get(Q, ids), ids, strict=True):
        assert record is not None, name
        assert (record.id, record.state, record.failures) == (name, State.COMPLETED, 1)
        assert record.result == name.encode()
    assert sorted(await listed(store, State.COMPLETED, limit=7)) == ids


async def test_ids_of_the_greatest_length_page_like_others(store: JobStore) -> None:
    ids = ["i" * 199 + c for c in "abcdef"]
    await Producer(store).put(*(spec(name, delay=HOUR) for name in ids))
    assert sorted(await listed(store, State.DELAYED, limit=2)) == ids


async def test_names_differ_by_case_and_are_never_folded(store: JobStore) -> None:
    assert created(await Producer(store).put("a", "A", "a.", "a-", "a:")) == [True] * 5
    await Producer(store, "ORDERS").put("a")
    assert await counted(store) == {State.WAITING: 5}


async def test_a_name_that_is_an_enum_member_is_its_text(store: JobStore) -> None:
    await Producer(store, Queues.MAIL).put("a")
    job = await Worker(store, "mail.out").take("a")
    assert job.queue == "mail.out"
    assert await state(store, "a", Queues.MAIL) is State.ACTIVE
    assert await store.queues() == ["mail.out"]
    assert [queue.partition(".") for queue in await store.queues()] == [("mail", ".", "out")]


PAIRS = [
    ("a", "b"),
    ("a", "a:b"),
    ("a:b", "a"),
    ("a:b", "a:b:c"),
    ("b:c", "c"),
    ("a.b", "axb"),
    ("q", "q:jobs"),
    ("q-1", "q-10"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=["|".join(pair) for pair in PAIRS])
async def test_queues_whose_names_resemble_do_not_meet(store: JobStore, pair: tuple[str, str]) -> None:
    one, two = pair
    await bring(store, "x", State.WAITING)
    await Producer(store, one).put("x", spec("y", delay=HOUR))
    await Producer(store, two).put("x")
    await set_limits(store, one, paused="p")

    assert await counted(store, two) == {State.WAITING: 1}
    assert names(await Worker(store, two).claim(9)) == ["x"]
    assert await state(store, "x", one) is State.WAITING
    await store.obliterate(two, force=True)
    assert await counted(store, one) == {State.WAITING: 1, State.DELAYED: 1}
    assert (await store.conf(one)).override.paused == "p"
    assert await state(store, "x") is State.WAITING


NAMESPACES = [
    (("", "b.c"), (".b", "c")),
    (("", "b:c"), (".b", "c")),
    (("-a", "b"), ("-a.b", "b")),
    (("_1", "q"), ("_10", "q")),
    (("", "_x.q"), ("_x", "q")),
]


@pytest.mark.parametrize("spaces", NAMESPACES, ids=range(len(NAMESPACES)))
async def test_namespaces_that_resemble_do_not_meet(
    open_store: Open, spaces: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    (space1, queue1), (space2, queue2) = spaces
    one, two = await open_store(suffix=space1), await open_store(suffix=space2)
    await Producer(one, queue1).put(spec("x", body=b"one"), "y")
    await Producer(two, queue2).put(spec("x", body=b"two"))
    await set_limits(one, queue1, max_size=5)
    await one.beat(WorkerBeat(id="w", host="h", pid=1, queues=(), concurrency=1, started_at=1), HOUR)

    assert (await one.queues(), await two.queues()) == ([queue1], [queue2])
    assert (len(await one.locate("x")), len(await two.locate("x"))) == (1, 1)
    assert await two.workers() == []
    assert (await two.conf(queue2)).rev == 0
    (job,) = await Worker(two, queue2).claim(9)
    assert job.body == b"two"
    await two.obliterate(queue2, force=True)
    assert await counted(one, queue1) == {State.WAITING: 2}
