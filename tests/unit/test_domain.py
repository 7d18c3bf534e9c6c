"""The pure rules: names, durations, states, retention, layers of limits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from queuekit.domain import names
from queuekit.domain.duration import format_duration, parse_duration
from queuekit.domain.job import KEEP_NOTHING, Retention
from queuekit.domain.limits import Limits, QueueConf, kept_awaited, redeclare
from queuekit.domain.state import LIVE, TERMINAL, TRANSITIONS, Move, State, allowed
from queuekit.errors import InvalidName, InvalidOption


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        (90, 90_000),
        (0.0005, 1),
        (1.1, 1100),
        ("5m", 300_000),
        ("30 seconds", 30_000),
        ("1h30m", 5_400_000),
        ("1 hour, 30 minutes", 5_400_000),
        ("2h", 7_200_000),
        ("250ms", 250),
        ("PT5M", 300_000),
        ("P1DT12H", 129_600_000),
        ("15", 15_000),
        (timedelta(milliseconds=1500), 1500),
        (timedelta(microseconds=1), 1),
        (0, 0),
    ],
)
def test_durations_are_read_as_people_write_them(text: object, ms: int) -> None:
    assert parse_duration(text) == ms  # type: ignore[arg-type]  # the table mixes types on purpose


@pytest.mark.parametrize(
    "text", ["", "5 parsecs", "m5", "1h xx", "-5s", -1, True, None, float("nan"), float("inf"), "inf", "P", "PT"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidOption):
        parse_duration(text)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("ms", [0, 1, 999, 1000, 5_400_000, 90_061_001])
def test_a_formatted_duration_reads_back(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize("name", ["a", "portfolio:high_priority", "x" * 128, "A.b-c_d:9"])
def test_names_of_the_grammar_pass(name: str) -> None:
    assert names.queue_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a b", "a/b", "a{b}", "a\n", "ä", "*", "$x", None, 3])
def test_names_outside_the_grammar_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        names.queue_name(name)


def test_a_namespace_has_no_colon_and_a_callers_id_no_at_sign() -> None:
    with pytest.raises(InvalidName):
        names.namespace("a:b")
    with pytest.raises(InvalidName):
        names.chosen_id("nightly@1700000000000")
    assert names.job_id("nightly@1700000000000") == "nightly@1700000000000"


def test_a_reference_splits_into_queue_and_id() -> None:
    assert names.reference("portfolio:high/42") == ("portfolio:high", "42")
    assert names.reference("42") == (None, "42")
    with pytest.raises(InvalidName):
        names.reference("a/b/c")


def test_scheduled_is_another_word_for_delayed() -> None:
    assert State("scheduled") is State.DELAYED


def test_nothing_but_a_person_leaves_a_terminal_state() -> None:
    leaving = {move for (state, move) in TRANSITIONS if state in TERMINAL}
    assert leaving == {Move.REVIVE}


def test_every_live_state_has_a_way_to_an_end() -> None:
    reach = set(TERMINAL)
    for _ in State:
        reach |= {state for state in LIVE for move in Move if allowed(state, move) & reach}
    assert reach == set(State)


@pytest.mark.parametrize(
    "keep", [Retention(), Retention(0), Retention(100), Retention(None, 5), Retention(100, 3_600_000)]
)
def test_a_retention_reads_back_from_its_label(keep: Retention) -> None:
    assert Retention.parse(keep.label) == keep


def test_an_awaited_job_is_kept_at_least_a_minute() -> None:
    assert kept_awaited(KEEP_NOTHING) == Retention(None, 60_000)
    assert kept_awaited(Retention(5, 1000)) == Retention(10_000, 60_000)
    assert kept_awaited(Retention()) == Retention()


def test_layers_read_back_from_json() -> None:
    layer = Limits(paused="", lease=5000, rates=((10, 1000),), keep_failed=Retention(5), by="ann", at=7)
    assert Limits.from_json(layer.to_json()) == layer


def test_an_override_wins_until_its_own_declaration_changes_and_a_pause_stays() -> None:
    conf = QueueConf(declared=Limits(lease=1000, max_size=5), override=Limits(lease=2000, max_size=9, paused="night"))
    assert (conf.effective.lease, conf.effective.max_size) == (2000, 9)
    again = redeclare(conf, Limits(lease=3000, max_size=5, by="deploy", at=1))
    assert (again.effective.lease, again.effective.max_size, again.effective.paused) == (3000, 9, "night")
    assert redeclare(conf, Limits(lease=1000, max_size=5, by="deploy", at=1)) is conf


def test_a_deploy_that_no_longer_pauses_does_not_start_what_a_person_stopped() -> None:
    conf = QueueConf(declared=Limits(paused="until the move is done"), override=Limits(paused="night"))
    again = redeclare(conf, Limits(by="deploy", at=1))
    assert (again.declared.paused, again.effective.paused) == (None, "night")
