"""How long to wait before the next run."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuekit import Backoff
from queuekit.domain.backoff import backoff_json, to_backoff
from queuekit.errors import InvalidOption


def test_exponential_doubles_from_one_second_up_to_an_hour() -> None:
    backoff = Backoff.exponential()
    assert [backoff.delay_ms(n) for n in (1, 2, 3, 12, 13, 5000)] == [1000, 2000, 4000, 2_048_000, 3_600_000, 3_600_000]
    assert backoff.delay(2) == timedelta(seconds=2)


def test_fixed_and_linear() -> None:
    assert [Backoff.fixed("2h").delay_ms(n) for n in (1, 9)] == [7_200_000, 7_200_000]
    assert [Backoff.linear(2, cap=5).delay_ms(n) for n in (1, 2, 3, 4)] == [2000, 4000, 5000, 5000]
    assert to_backoff("5s") == Backoff.fixed(5)


def test_a_custom_function_may_stop() -> None:
    seen: list[tuple[int, Exception]] = []

    def mine(attempt: int, error: Exception) -> str | None:
        seen.append((attempt, error))
        return "3s" if attempt < 2 else None

    backoff, error = Backoff.custom(mine), ValueError("x")
    assert (backoff.delay_ms(1, error), backoff.delay_ms(2, error)) == (3000, None)
    assert seen == [(1, error), (2, error)]
    with pytest.raises(InvalidOption, match="stops retrying"):
        backoff.delay(2, error)


@given(st.integers(1, 40), st.floats(0, 1), st.integers())
def test_jitter_spreads_downwards_only(attempt: int, jitter: float, seed: int) -> None:
    whole = Backoff.exponential(1).delay_ms(attempt)
    random.seed(seed)
    spread = Backoff.exponential(1, jitter=jitter).delay_ms(attempt)
    assert whole is not None
    assert spread is not None
    assert round(whole * (1 - jitter)) - 1 <= spread <= whole


def test_jitter_does_spread() -> None:
    backoff = Backoff.exponential(100, jitter=0.5)
    assert len({backoff.delay_ms(1) for _ in range(50)}) > 10


@pytest.mark.parametrize(
    "backoff", [Backoff.fixed("1h30m"), Backoff.linear(3, jitter=0.1), Backoff.exponential("1.5s", factor=3)]
)
def test_json_reads_back(backoff: Backoff) -> None:
    assert to_backoff(backoff_json(backoff)) == backoff


def test_a_table_as_in_the_settings_file() -> None:
    assert to_backoff({"type": "exponential", "delay": "1s"}) == Backoff.exponential(1)
    assert to_backoff({"delay": "2s", "factor": 3}) == Backoff.exponential(2, factor=3)


@pytest.mark.parametrize("make", [
    lambda: Backoff.exponential(jitter=2), lambda: Backoff.exponential(factor=0.5), lambda: Backoff.fixed(-1),
    lambda: Backoff.custom("no"),  # type: ignore[arg-type]  # what the checker refuses too
    lambda: to_backoff("soon"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(InvalidOption):
        make()
