"""Again: changes that are repeated, also through another store, as a process does that came back without its answer."""

from __future__ import annotations

import pytest

from queuekit.domain.outcome import Kind, Receipt
from queuekit.domain.query import Change, Verb
from queuekit.domain.state import State
from queuekit.errors import Stale
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.fixtures import Open
from queuekit.testing.conformance.unique import keyed
from queuekit.testing.conformance.words import (
    HOUR,
    MINUTE,
    Actor,
    Producer,
    Q,
    Worker,
    change,
    created,
    look,
    spec,
    specs,
    totals,
)


async def test_several_changes_of_one_job_are_each_answered_as_before(open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=HOUR))
    changes = [
        Change(id="a", verb=Verb.RETRY), Change(id="a", verb=Verb.CANCEL), Change(id="c", verb=Verb.PROMOTE),
        Change(id="a", verb=Verb.RETRY), Change(id="b", verb=Verb.DELETE), Change(id="a", verb=Verb.CANCEL),
    ]  # fmt: skip
    op = Actor().op()

    first = await store.change(Q, changes, op)
    kept = await store.get(Q, ["a", "b", "c"])
    again = await (await open_store()).change(Q, changes, op)

    assert [(answer.ok, answer.state) for answer in first] == [
        (False, State.WAITING), (True, State.CANCELLED), (True, State.WAITING), (True, State.WAITING), (True, None),
        (True, State.CANCELLED),
    ]  # fmt: skip
    # What is gone was deleted, by this call or another: a store that keeps no record cannot tell.
    assert [answer for answer in again if answer.id != "b"] == [answer for answer in first if answer.id != "b"]
    assert await store.get(Q, ["a", "b", "c"]) == kept
    assert (await totals(store)).cancelled == 2


async def test_a_repeated_change_answers_the_same_and_does_nothing(store: JobStore) -> None:
    await Producer(store).put("a", "b", spec("c", delay=HOUR))
    changes = [
        Change(id="a", verb=Verb.CANCEL, reason="r"), Change(id="c", verb=Verb.PROMOTE),
        Change(id="b", verb=Verb.RETRY), Change(id="d", verb=Verb.DELETE), Change(id="b", verb=Verb.DELETE),
    ]  # fmt: skip
    op = Actor().op()

    first = await store.change(Q, changes, op)
    kept = await store.get(Q, ["a", "b", "c"])
    again = await store.change(Q, changes, op)

    assert again == first
    assert [answer.ok for answer in first] == [True, True, False, False, True]
    assert await store.get(Q, ["a", "b", "c"]) == kept
    assert (await totals(store)).cancelled == 1


@pytest.mark.parametrize("verb", [Verb.RETRY, Verb.CANCEL, Verb.DELETE, Verb.RESCHEDULE])
async def test_a_repeated_change_does_not_undo_what_others_did_since(store: JobStore, verb: Verb) -> None:
    await Producer(store).put("a")
    worker = Worker(store)
    if verb is Verb.RETRY:
        await worker.end(await worker.take("a"), Kind.FAILED)
    changes, op = [Change(id="a", verb=verb, delay=MINUTE if verb is Verb.RESCHEDULE else None)], Actor().op()
    first = await store.change(Q, changes, op)
    assert first[0].ok
    if verb is Verb.RETRY:
        await worker.end(await worker.take("a"), Kind.FAILED)
    elif verb is Verb.CANCEL:
        await change(store, "a", Verb.RETRY)
    elif verb is Verb.DELETE:
        await Producer(store).put("a")
    else:
        await change(store, "a", Verb.PROMOTE)
    after = await look(store, "a")

    assert await store.change(Q, changes, op) == first
    assert await look(store, "a") == after


async def test_a_change_older_than_the_last_of_its_lane_has_no_effect(store: JobStore) -> None:
    await Producer(store).put("a")
    lane = Actor()
    old, new = lane.op(), lane.op()
    await store.change(Q, [Change(id="a", verb=Verb.CANCEL)], old)
    await store.change(Q, [Change(id="a", verb=Verb.RETRY)], new)
    after = await look(store, "a")

    try:
        await store.change(Q, [Change(id="a", verb=Verb.CANCEL)], old)
    except Stale:
        pass
    assert await look(store, "a") == after


async def test_a_lane_may_enqueue_change_and_enqueue_again(store: JobStore) -> None:
    lane = Actor()
    assert created(await store.enqueue(Q, specs(["a"]), lane.op())) == [True]
    assert (await store.change(Q, [Change(id="a", verb=Verb.CANCEL)], lane.op()))[0].ok
    assert created(await store.enqueue(Q, specs(["a", "b"]), lane.op())) == [False, True]


async def test_a_change_repeated_after_others_changed_the_job_does_nothing(open_store: Open, store: JobStore) -> None:
    await Producer(store).put("a")
    op, cancel = Actor().op(), [Change(id="a", verb=Verb.CANCEL)]
    first = await store.change(Q, cancel, op)
    for verb in (Verb.RETRY, Verb.CANCEL, Verb.RETRY):
        await store.change(Q, [Change(id="a", verb=verb)], Actor().op())
    kept = await look(store, "a")

    assert await (await open_store()).change(Q, cancel, op) == first
    assert await look(store, "a") == kept
    assert (await totals(store)).cancelled == 2


async def test_a_replacement_repeated_after_another_one_does_nothing(open_store: Open, able: JobStore) -> None:
    await Producer(able).put(keyed("holder", body=b"jold"))
    op, late = Actor().op(), keyed("b", how="replace", body=b"jb")
    assert (await able.enqueue(Q, [late], op)).receipts == [Receipt("holder", False)]
    await Producer(able).put(keyed("c", how="replace", body=b"jc"))
    kept = await look(able, "holder")

    again = await (await open_store()).enqueue(Q, [late], op)
    assert again.receipts == [Receipt("holder", False)]
    assert await look(able, "holder") == kept
