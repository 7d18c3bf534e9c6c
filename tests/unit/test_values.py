"""Bytes, ids, clocks and the small machinery of the seam."""

from __future__ import annotations

import asyncio
import math
import threading
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit import clock, codec, ids
from queuekit.domain.outcome import Kind
from queuekit.errors import PayloadError, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.lanes import Lanes
from queuekit.store.retry import repeat

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSONS)
def test_any_json_value_returns_as_it_went(value: codec.JSON) -> None:
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize("value", [2**63, -(2**70), "\ud800 alone", {"$secret": "$x", "a.b": 1, "": None, "\0": "\0"}])
def test_values_that_trip_databases_return_as_they_went(value: codec.JSON) -> None:
    assert codec.decode(codec.encode(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [math.inf],
        {"a": {1: 2}},
        object(),
        {1, 2},
        b"x",
        datetime(2026, 1, 1, tzinfo=UTC),
        UUID(int=1),
        Kind.RETRY,
    ],
)
def test_what_json_cannot_carry_is_refused(value: codec.JSON) -> None:
    with pytest.raises(PayloadError):
        codec.encode(value)


@pytest.mark.parametrize("depth", [65, 300, 100_000])
def test_nesting_deeper_than_64_levels_is_refused(depth: int) -> None:
    value: codec.JSON = 1
    for _ in range(depth):
        value = [value]
    with pytest.raises(PayloadError):
        codec.encode(value)


@pytest.mark.parametrize("data", [b"", b"x{}", b"j{", b"J[", b"jnull x"])
def test_damaged_bytes_are_a_payload_error(data: bytes) -> None:
    with pytest.raises(PayloadError):
        codec.decode(data)


def test_ids_are_22_characters_unique_and_in_order_of_making() -> None:
    made = [ids.job_id() for _ in range(20_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert {len(i) for i in made} == {22}


def test_an_id_says_when_it_was_made() -> None:
    before = clock.now_ms()
    said = ids.made_at(ids.job_id())
    assert said is not None
    assert before <= said <= clock.now_ms() + 1000  # ids of one moment may run ahead
    for other in (
        "",
        "x",
        "order-17",
        "A" * 22,
        "z" * 22,
        ids.job_id()[:-1],
        ids.job_id()[:-1] + "-",
        ids.job_id() + "A",
    ):
        assert ids.made_at(other) is None


def test_ids_made_by_threads_are_unique() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend([ids.job_id() for _ in range(5000)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20_000


def test_an_id_carries_the_time_of_uuid7() -> None:
    before = clock.now_ms()
    number = 0
    for char in ids.job_id():
        number = number * 62 + "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".index(char)
    assert (number >> 76) & 0xF == 7
    assert before - 1000 <= number >> 80 <= clock.now_ms() + 20  # the counter may run some ms ahead


def test_times_round_up_and_naive_ones_are_refused() -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert clock.to_ms(moment) == clock.to_ms(datetime(2026, 3, 1, 10, tzinfo=UTC)) + 1
    assert clock.to_datetime(clock.to_ms(datetime(2026, 3, 1, 10, tzinfo=UTC))) == datetime(2026, 3, 1, 10, tzinfo=UTC)
    with pytest.raises(ValueError, match="naive"):
        clock.to_ms(datetime(2026, 3, 1))


def test_a_coroutine_that_suspends_on_a_blocking_port_is_named() -> None:
    async def sleeper() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="sleeper"):
        direct(sleeper())


class Waiter:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


async def test_a_call_is_repeated_until_it_answers() -> None:
    tries = 0

    async def call() -> str:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise StoreUnavailable("away", outcome="refused")
        return "done"

    assert await repeat(Waiter(), call, within=60) == "done"
    assert tries == 4


async def test_one_unknown_try_makes_the_whole_outcome_unknown_and_time_ends() -> None:
    waiter, outcomes = Waiter(), iter(["unknown"] + ["refused"] * 1000)

    async def call() -> None:
        raise StoreUnavailable("away", outcome=next(outcomes))  # type: ignore[arg-type]  # a literal from a list

    with pytest.raises(StoreUnavailable) as caught:
        await repeat(waiter, call, within=5)
    assert caught.value.outcome == "unknown"
    assert waiter.now < 5


@pytest.mark.parametrize(("lasts", "tries"), [(10.0, 5), (5.0, 1), (6.0, 1)])
async def test_a_try_that_was_answered_meanwhile_begins_the_time_anew(lasts: float, tries: int) -> None:
    """Who waits ten seconds for a result meets a hiccup now and then; a store that is silent for five is away."""
    waiter, tried = Waiter(), 0

    async def call() -> str:
        nonlocal tried
        tried += 1
        waiter.now += lasts
        if tried < 5:
            raise StoreUnavailable("a hiccup")
        return "done"

    if tries == 5:
        assert await repeat(waiter, call, within=5) == "done"
    else:
        with pytest.raises(StoreUnavailable):
            await repeat(waiter, call, within=5)
    assert tried == tries


def test_a_lane_is_used_by_one_call_at_a_time_and_dropped_after_a_failure() -> None:
    lanes = Lanes()
    with lanes.op() as first, lanes.op() as second:
        assert first.actor != second.actor
    with lanes.op() as third:
        assert (third.actor, third.n) in {(first.actor, 2), (second.actor, 2)}
    broken = Lanes()
    with pytest.raises(StoreUnavailable), broken.op() as failed:
        raise StoreUnavailable("away")
    with broken.op() as fresh:
        assert fresh.actor != failed.actor


def test_store_unavailable_says_what_is_known() -> None:
    error = StoreUnavailable("away", outcome="refused", op="a:1")
    assert (error.outcome, error.op) == ("refused", "a:1")
