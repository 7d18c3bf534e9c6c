"""The judge itself: a good history passes, and each kind of bad one is caught under its own rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.torture.history import MS, Breach, Call, Final, History, Promises, Rule, Run, check, recoveries, reruns
from tests.torture.records import Pen, read

S = 1_000_000
NOTHING = Promises()


def run(job: str, at: int, *, actor: str = "w1", claims: int = 1, last: int = 10 * MS, **said: object) -> Run:
    """A run that ended after `last` µs."""
    run = Run(
        actor=actor, job=job, token=f"{actor}:{claims}{job}", claims=claims, claimed=at, started=at, ended=at + last
    )
    return replace(run, **said)  # type: ignore[arg-type]  # fields of Run


def good() -> History:
    """Three jobs of two producers; `b` ran twice, since its first worker was killed."""
    return History(
        calls=[
            Call(actor="p1", jobs=[("a", 5), ("b", 5)], invoked=1 * S, answered=1 * S + 5),
            Call(actor="p2", jobs=[("c", 5)], invoked=2 * S, answered=2 * S + 5),
            Call(actor="p2", jobs=[("maybe", 5)], invoked=9 * S),
        ],
        runs=[
            run("a", 3 * S),
            run("b", 3 * S + MS, actor="w2", ended=None),
            run("c", 3 * S + 2 * MS),
            run("b", 6 * S, claims=2, suspect=True),
        ],
        accepted=[("a", 4 * S), ("c", 4 * S), ("b", 7 * S)],
        killed={"w2": 4 * S},
        server_kills=1,
        final=[Final(job=job, state="completed") for job in "abc"],
        counts={"completed": 3},
        totals={"enqueued": 3, "completed": 3},
    )


def rules(history: History, promises: Promises = NOTHING) -> set[Rule]:
    return {breach.rule for breach in check(history, promises)}


def test_a_good_history_breaks_nothing() -> None:
    assert check(good(), Promises(kills=1, server_kills=1)) == []
    assert reruns(good()) == 1
    assert recoveries(good()) == [2.0]


def test_an_unknown_call_may_have_happened_or_not() -> None:
    history = good()
    history.final.append(Final(job="maybe", state="completed"))
    history.counts = history.totals = {"completed": 4, "enqueued": 4}
    history.counts = {"completed": 4}
    assert check(history, NOTHING) == []


def test_a_total_may_lag_only_where_the_store_says_so() -> None:
    history = good()
    history.totals["completed"] = 2
    assert rules(history) == {Rule.TOTALS}
    assert rules(history, Promises(exact_totals=False)) == set()
    history.totals["completed"] = 4
    assert rules(history, Promises(exact_totals=False)) == {Rule.TOTALS}


def lost(history: History) -> None:
    del history.final[0]
    history.counts["completed"] = history.totals["completed"] = history.totals["enqueued"] = 2
    history.runs = [one for one in history.runs if one.job != "a"]
    history.accepted = [pair for pair in history.accepted if pair[0] != "a"]


def lost_after_it_ran(history: History) -> None:
    history.calls[0].answered = None
    lost(history)
    history.runs.append(run("a", 3 * S))


def ghost(history: History) -> None:
    history.final.append(Final(job="nobody", state="completed"))
    history.counts["completed"] = history.totals["completed"] = history.totals["enqueued"] = 4


def in_two_places(history: History) -> None:
    history.final.append(Final(job="a", state="waiting"))
    history.counts["waiting"] = 1
    history.totals["enqueued"] = 4
    history.final[-1] = replace(history.final[-1], state="completed")
    history.counts = {"completed": 4}
    history.totals["completed"] = 4


def accepted_twice(history: History) -> None:
    history.accepted.append(("b", 8 * S))


def ran_after_its_end(history: History) -> None:
    history.accepted[0] = ("b", 5 * S)
    history.accepted.pop()


def ran_again_without_a_crash(history: History) -> None:
    history.killed = {}
    history.runs[1].ended = 3 * S + 2 * MS


def overlapping_runs(history: History) -> None:
    history.killed = {"w2": 6 * S + MS}


def never_ended(history: History) -> None:
    history.killed = {}
    history.runs[1].ended = None


def one_claim_for_two_runs(history: History) -> None:
    history.runs[3].token = history.runs[1].token


def claim_number_again(history: History) -> None:
    history.runs[3].claims = 1


def overtaken_by_a_later_call(history: History) -> None:
    for run in history.runs[:2]:
        run.claimed = run.started = history.runs[2].claimed + MS


def overtaken_in_the_same_call(history: History) -> None:
    history.runs[0].claimed = history.runs[1].claimed + MS
    history.calls[0].answered = None


def overtaken_by_a_lower_priority(history: History) -> None:
    history.calls[1].jobs = [("c", 4)]
    history.calls[1].invoked, history.calls[1].answered = 1 * S + 7, 1 * S + 9
    history.runs[2].claimed = history.runs[0].claimed + MS


def started_before_it_was_asked_for(history: History) -> None:
    history.calls[1].invoked = 3 * S + 5 * MS


def wrong_total(history: History) -> None:
    history.totals["enqueued"] = 2


def wrong_count(history: History) -> None:
    history.counts = {"completed": 2, "active": 1}


def failed(history: History) -> None:
    history.final[0].state = "failed"
    history.counts = {"completed": 2, "failed": 1}
    history.totals["completed"] = 2


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lost, Rule.LOST),
        (lost_after_it_ran, Rule.LOST),
        (ghost, Rule.GHOST),
        (in_two_places, Rule.TWICE),
        (accepted_twice, Rule.ACCEPTED),
        (ran_after_its_end, Rule.AFTER),
        (ran_again_without_a_crash, Rule.EXECUTIONS),
        (overlapping_runs, Rule.DOUBLE),
        (one_claim_for_two_runs, Rule.CLAIM),
        (claim_number_again, Rule.CLAIM),
        (overtaken_by_a_later_call, Rule.OVERTAKEN),
        (overtaken_in_the_same_call, Rule.OVERTAKEN),
        (overtaken_by_a_lower_priority, Rule.OVERTAKEN),
        (started_before_it_was_asked_for, Rule.EARLY),
        (wrong_total, Rule.TOTALS),
        (wrong_count, Rule.TOTALS),
        (failed, Rule.STATE),
    ],
)
def test_a_bad_history_is_caught_under_its_rule_and_no_other(spoil: Callable[[History], None], rule: Rule) -> None:
    history = good()
    spoil(history)
    assert rules(history) == {rule}


def test_a_run_that_never_ended_overlaps_the_next() -> None:
    history = good()
    never_ended(history)
    assert rules(history) == {Rule.DOUBLE, Rule.EXECUTIONS}


@pytest.mark.parametrize("skew", [0, 2000])
def test_overtaking_within_the_declared_skew_is_none(skew: int) -> None:
    history = good()
    overtaken_by_a_later_call(history)
    assert rules(history, Promises(skew=skew)) == (set() if skew else {Rule.OVERTAKEN})


def test_overtaking_a_job_that_was_just_ready_is_none_where_the_store_says_so() -> None:
    history = good()
    overtaken_by_a_later_call(history)
    history.calls[0].answered = 3 * S - 200 * MS
    assert rules(history, Promises(late=250)) == set()
    assert rules(history, Promises(late=150)) == set(), "the later call was made before the earlier was answered"
    history.calls[1].invoked = 3 * S - 100 * MS
    assert rules(history, Promises(late=150)) == {Rule.OVERTAKEN}


def test_an_exchange_that_takes_its_time_has_returned_when_a_run_begins() -> None:
    history = good()
    overtaken_by_a_later_call(history)
    history.runs[2].started += 2 * MS
    assert rules(history, Promises(one_step=False)) == set()
    history.runs[2].started = history.runs[2].claimed
    assert rules(history, Promises(one_step=False)) == {Rule.OVERTAKEN}


@pytest.mark.parametrize("promises", [Promises(kills=2), Promises(server_kills=2)])
def test_a_run_without_enough_faults_proves_nothing(promises: Promises) -> None:
    assert rules(good(), promises) == {Rule.INJECTED}


def test_kills_that_cut_off_no_run_prove_nothing() -> None:
    history = good()
    history.runs[1].stopped = 3 * S + 2 * MS
    assert rules(history, Promises(kills=1)) == {Rule.INJECTED}


def test_what_processes_wrote_down_is_read_back(tmp_path: Path) -> None:
    producer, worker = Pen(tmp_path, "p1"), Pen(tmp_path, "w1")
    producer.write("invoke", "a/5", "b/9")
    producer.write("ok")
    producer.write("invoke", "c/5")
    worker.write("start", "a", "actor:1", 1, 17, "ready")
    worker.write("end", "a", "actor:1")
    worker.write("accepted", "a")
    worker.write("start", "b", "actor:1", 2, 18, "suspect")
    worker.write("stop", "b", "actor:1")
    with (tmp_path / "w1.log").open("a") as file:
        file.write("123 start cut-o")
    history = read(tmp_path)
    first, second = history.calls
    assert (first.jobs, second.jobs) == ([("a", 5), ("b", 9)], [("c", 5)])
    assert first.answered is not None
    assert second.answered is None
    a, b = history.runs
    assert (a.job, a.token, a.claims, a.claimed, a.suspect) == ("a", "actor:1", 1, 17 * MS, False)
    assert a.ended is not None
    assert (b.suspect, b.ended, b.stopped is None) == (True, None, False)
    assert [job for job, _ in history.accepted] == ["a"]


def test_a_breach_says_what_and_where() -> None:
    assert str(Breach(Rule.LOST, "a", "it is gone")) == "an acknowledged job is lost: a: it is gone"
