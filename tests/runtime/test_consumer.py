"""What a consumer does with ends of runs, step by step and without a store."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from queuekit.domain.job import BATCH_MAX, JobRecord
from queuekit.domain.outcome import Ask, Exchange, Kind, Op, Outcome, Refusal
from queuekit.domain.state import Line
from queuekit.runtime.allowance import Allowance
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.consumer import SHORT, SOON, Consumer
from queuekit.runtime.ending import Endings
from queuekit.runtime.source import Source


class Quiet:
    """Stands for everybody the consumer talks to."""

    worker = "w"
    endings = Endings("w")

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def consumer(*sources: Source) -> Consumer:
    quiet: Any = Quiet()
    return Consumer(
        list(sources), size=4, strict=True, store=quiet, runner=quiet, keeper=quiet, announcer=quiet,
        allowance=Allowance(),
    )  # fmt: skip


def a_claim(source: Source, name: str = "a", *, line: Line = Line.READY) -> Claim:
    record = JobRecord(queue=source.queue, id=name, task="t", body=b"", token="x:1", line=line)
    return Claim(record, source, float("inf"))


def test_the_second_end_of_a_run_is_dropped() -> None:
    source = Source("q", cap=4, lease=1000)
    one = consumer(source)
    claim = a_claim(source, line=Line.SUSPECT)
    one.allowance.suspects = 1
    one._ended(claim, Outcome("a", "x:1", Kind.RELEASED))
    one._ended(claim, Outcome("a", "x:1", Kind.COMPLETED))
    assert [outcome.kind for _, outcome in source.outbox] == [Kind.RELEASED]
    assert one.allowance.suspects == 0


def test_what_a_stopped_run_says_after_its_job_was_given_back_is_dropped() -> None:
    source = Source("q", cap=4, lease=1000)
    one = consumer(source)
    claim = a_claim(source)
    one.slots.running[claim] = None
    one.abandon()
    one._ended(claim, Outcome("a", "x:1", Kind.COMPLETED))
    assert [outcome.kind for _, outcome in source.outbox] == [Kind.RELEASED]
    assert (claim.stop, one.given_back) == (Stop.SHUTDOWN, 1)


def test_an_outcome_the_store_will_not_take_becomes_a_failure_that_says_so() -> None:
    source = Source("q", cap=4, lease=1000)
    one = consumer(source)
    pairs = [(a_claim(source, name), Outcome(name, "x:1", Kind.COMPLETED, b"much")) for name in "abc"]
    accepted = one._refused(source, pairs, [("a", Refusal.TOO_LARGE), ("b", Refusal.LOST)])
    assert [claim.id for claim, _ in accepted] == ["c"]
    ((claim, outcome),) = source.outbox
    assert (claim.id, outcome.kind, outcome.result) == ("a", Kind.FAILED, None)
    assert b"too_large" in (outcome.error or b"")
    assert one._refused(source, [(claim, outcome)], [("a", Refusal.ILLEGAL)]) == []
    assert len(source.outbox) == 1, "a failure that is refused as well is given up"


def test_work_that_is_not_for_us_is_asked_for_less_and_less() -> None:
    source = Source("q", cap=4, lease=1000)
    waits = []
    for _ in range(8):
        source.answered(want=4, claims=0, more=True, due_in=None)
        waits.append(source.next_look() - source.asked)
    assert all(later >= sooner for sooner, later in itertools.pairwise(waits))
    assert waits[0] < 0.05
    assert 0.9 < waits[-1] < 1.1
    source.answered(want=4, claims=1, more=True, due_in=None)
    assert source.wants(source.asked), "at once again as soon as something came"


def test_a_paused_queue_is_polled_and_not_hurried_by_what_is_due() -> None:
    source = Source("q", cap=4, lease=1000)
    source.paused = "by a person"
    source.answered(want=4, claims=0, more=True, due_in=5)
    assert not source.wants(source.asked + 1)
    assert source.wants(source.asked + 5.1)


async def test_no_call_carries_more_ends_than_a_store_takes() -> None:
    source = Source("q", cap=4, lease=1000)
    one = consumer(source)
    sent: list[int] = []

    async def exchange(queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        sent.append(len(outcomes))
        return Exchange(now=0)

    one.caller.store.exchange = exchange  # type: ignore[method-assign]
    one.keeper.settling = lambda source, claims: set()  # type: ignore[method-assign]
    source.outbox = [(a_claim(source, f"a{n}"), Outcome(f"a{n}", "x:1", Kind.COMPLETED)) for n in range(BATCH_MAX + 3)]
    source.strays = [Outcome(f"s{n}", "x:2", Kind.RELEASED) for n in range(5)]
    await one._exchange(source, 1)
    await one._exchange(source, 1)
    assert sent == [BATCH_MAX, 8]


async def test_only_ends_the_store_has_taken_are_announced() -> None:
    source = Source("q", cap=4, lease=1000)
    one = consumer(source)
    told: list[str] = []

    async def exchange(queue: str, op: Op, outcomes: Sequence[Outcome], ask: Ask) -> Exchange:
        assert told == [], "nothing is announced before the answer"
        return Exchange(now=0, refused=[("a", Refusal.LOST), ("c", Refusal.GONE)])

    one.caller.store.exchange = exchange  # type: ignore[method-assign]
    one.keeper.settling = lambda source, claims: set()  # type: ignore[method-assign]
    one.announcer.settled = lambda pairs: told.extend(claim.id for claim, _ in pairs)  # type: ignore[method-assign]
    source.outbox = [(a_claim(source, name), Outcome(name, "x:1", Kind.COMPLETED)) for name in "abcd"]
    await one._exchange(source, 0)
    assert told == ["b", "d"]


@pytest.mark.parametrize(
    ("size", "occupied", "waiting", "took", "since", "worth"),
    [
        (100, 100, 0, 0.0, 0.0, True),  # nothing waits for a slot: whatever has ended may go
        (100, 51, 1, 0.0, 1.0, False),  # less than half are free
        (100, 50, 50, 0.001, 0.0, True),  # large, and calls are quick: one beside the runs
        (100, 50, 50, 0.007, 0.001, False),  # calls take long: what waits is run in a moment, and one call is for all
        (100, 50, 50, 0.007, 0.003, True),  # it was not
        (10, 5, 5, 0.001, 0.001, False),  # small
        (10, 5, 5, 0.001, 0.003, True),
    ],
)
def test_a_call_that_takes_long_is_not_made_for_half_the_slots(
    monkeypatch: pytest.MonkeyPatch, size: int, occupied: int, waiting: int, took: float, since: float, worth: bool
) -> None:
    source = Source("q", cap=size, lease=1000)
    one = consumer(source)
    one.slots.size, one.slots.occupied = size, occupied
    one.slots.ready.extend(a_claim(source, str(n)) for n in range(waiting))
    one._answered, one._took = 1000.0, took
    monkeypatch.setattr("queuekit.runtime.consumer.clock.monotonic", lambda: 1000.0 + since)
    assert one._worthwhile() is worth


@pytest.mark.parametrize(("occupied", "soon"), [(50, SHORT), (51, SOON)])
async def test_claims_that_wait_are_looked_after_sooner_where_half_the_slots_are_free(
    monkeypatch: pytest.MonkeyPatch, occupied: int, soon: float
) -> None:
    source = Source("q", cap=100, lease=1000)
    one = consumer(source)
    one.slots.size, one.slots.occupied = 100, occupied
    one.slots.ready.append(a_claim(source))
    loop, timers = asyncio.get_running_loop(), []
    call_later = loop.call_later

    def noted(delay: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        timers.append(delay)
        return call_later(delay, act)

    monkeypatch.setattr(loop, "call_later", noted)
    await one._rest()
    assert timers == [soon]


def test_all_consumers_of_a_worker_ask_for_one_suspect_at_a_time() -> None:
    allowance = Allowance()
    a, b = Source("a", cap=4, lease=1000), Source("b", cap=4, lease=1000)
    woken: list[str] = []
    for source in (a, b):
        source.hungry = False

    def may(source: Source) -> bool:
        return allowance.may_take_suspect(source, lambda: woken.append(source.queue))

    assert may(a)
    assert not may(b), "a's call may bring one"
    allowance.suspect_answered(a, 0)
    assert woken == ["b"]
    assert b.hungry
    assert not may(a), "b could not: now it goes first"
    assert may(b)
    allowance.suspect_answered(b, 1)
    assert not may(a)
    assert not may(b)
    woken.clear()
    allowance.suspect_ended()
    assert sorted(woken) == ["a", "b"]
    assert may(a)
    allowance.suspect_answered(a, 0)
    assert may(b)


def test_a_consumer_that_cannot_ask_does_not_keep_suspects_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("queuekit.clock.monotonic", lambda: now)
    allowance = Allowance()
    a, b = Source("a", cap=4, lease=1000), Source("b", cap=4, lease=1000)
    assert allowance.may_take_suspect(a, lambda: None)
    assert not allowance.may_take_suspect(b, lambda: None)
    allowance.suspect_answered(a, 0)
    assert not allowance.may_take_suspect(a, lambda: None)
    now += 1
    assert allowance.may_take_suspect(a, lambda: None)


def test_a_queue_alone_waits_for_nobody() -> None:
    allowance = Allowance()
    source = Source("a", cap=4, lease=1000)
    for _ in range(3):
        assert allowance.may_take_suspect(source, lambda: None)
        allowance.suspect_answered(source, 1)
        assert not allowance.may_take_suspect(source, lambda: None)
        allowance.suspect_ended()
