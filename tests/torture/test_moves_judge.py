"""The judge of moves itself: a good history passes, and each kind of bad one is caught under its own rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.torture.moves.judge import (
    SOURCE,
    TARGET,
    Asked,
    Breach,
    Final,
    History,
    Kept,
    Promises,
    Rhythm,
    Rule,
    Run,
    check,
)


def asked(call: int, job: str, at: int, *, side: str = SOURCE, priority: int = 5, **said: object) -> Asked:
    """A call that took one moment and made its job."""
    one = Asked(call=call, side=side, job=job, body=job, priority=priority, invoked=at, answered=at + 1, receipt=job)
    one.created = True
    for name, value in said.items():
        setattr(one, name, value)
    return one


def run(job: str, at: int, *, side: str = TARGET, claims: int = 1, kind: str = "completed", **said: object) -> Run:
    """A run that was claimed at `at`, told its end ten moments later, and was believed."""
    one = Run(side=side, worker=side, job=job, token=f"{side}:{at}", claims=claims, invoked=at, given=at + 1)
    one.kind, one.told, one.accepted = kind, at + 10, at + 11
    for name, value in said.items():
        setattr(one, name, value)
    return one


def final(job: str, *, claims: int = 1, side: str = TARGET, priority: int = 5) -> Final:
    return Final(
        side=side, job=job, state="completed", body=job, priority=priority, claims=claims, failures=0, crashes=0
    )


def good() -> History:
    """`a` ran at the source, `b` was given back there, `c` and `d` of one call waited, `e` came to the target."""
    return History(
        asked=[
            asked(1, "a", 10), asked(2, "b", 20), asked(3, "c", 30), asked(3, "d", 30),
            asked(4, "e", 200, side=TARGET, key="k"),
            asked(5, "f", 400, side=TARGET, key="k"),
            asked(6, "g", 402, side=TARGET, key="k", receipt="f", created=False),
        ],
        runs=[
            run("a", 100, side=SOURCE),
            run("b", 101, side=SOURCE, kind="released"),
            run("b", 300, claims=2),
            run("c", 302), run("d", 303), run("e", 304), run("f", 500),
        ],
        final=[final("a"), final("b", claims=2), final("c"), final("d"), final("e"), final("f")],
        standing={SOURCE: "gone to", TARGET: "here"},
        totals={"enqueued": 6, "completed": 6},
        moved=2,
    )  # fmt: skip


def rules(history: History, promises: Promises | None = None) -> set[Rule]:
    return {breach.rule for breach in check(history, promises or Promises())}


def test_a_good_history_breaks_nothing() -> None:
    assert check(good(), Promises()) == []


def test_a_call_of_unknown_outcome_may_have_happened_or_not() -> None:
    history = good()
    history.asked.append(asked(7, "maybe", 600, answered=None, receipt=None, created=False))
    assert check(history, Promises()) == []
    history.final.append(final("maybe"))
    history.runs.append(run("maybe", 700))
    history.totals = {"enqueued": 7, "completed": 7}
    assert check(history, Promises()) == []


def lost(history: History) -> None:
    del history.final[2]
    del history.runs[3]
    history.totals = {"enqueued": 5, "completed": 5}


def holder_lost(history: History) -> None:
    """Nobody asked for the job a receipt names but by its key."""
    history.asked[6].receipt = "nobody"


def ghost(history: History) -> None:
    history.final.append(final("nobody"))
    history.runs.append(run("nobody", 700))
    history.totals = {"enqueued": 7, "completed": 7}


def at_both_sides(history: History) -> None:
    history.standing[SOURCE] = "gone to"
    history.final.append(final("c"))
    history.totals = {"enqueued": 7, "completed": 7}


def key_twice(history: History) -> None:
    history.asked[6].receipt, history.asked[6].created = "g", True
    history.final.append(final("g"))
    history.runs.append(run("g", 510))
    history.totals = {"enqueued": 7, "completed": 7}


def timed_key_twice(history: History) -> None:
    for one in history.asked[4:]:
        one.until = "time"


def body_changed(history: History) -> None:
    history.final[2].body = "d"


def priority_changed(history: History) -> None:
    history.final[2].priority = 6


def accepted_at_both_sides(history: History) -> None:
    history.runs.append(run("a", 105, claims=2, told=115))
    history.final[0].claims = 2
    history.runs[0].kind = "completed"


def ran_after_its_end(history: History) -> None:
    history.runs.append(run("a", 320, claims=2, kind="released"))
    history.final[0].claims = 2


def ran_again_without_a_reason(history: History) -> None:
    history.runs[1].kind, history.runs[1].accepted = "released", None


def refused_though_it_kept_its_claim(history: History) -> None:
    history.runs[1].accepted, history.runs[1].refused = None, "gone"


def overlapping(history: History) -> None:
    history.runs[1].told = 302


def claim_number_again(history: History) -> None:
    history.runs[2].claims = 1
    history.runs[1].claims = 1


def one_claim_for_two(history: History) -> None:
    history.runs[2].token = history.runs[1].token


def overtaken_in_its_call(history: History) -> None:
    history.runs[3].invoked, history.runs[3].given = 310, 311


def overtaken_by_what_came_to_the_target(history: History) -> None:
    history.runs[5].invoked, history.runs[5].given = 298, 299


def overtaken_by_a_lower_priority(history: History) -> None:
    history.asked[2].priority = history.final[2].priority = 6
    history.runs[4].invoked, history.runs[4].given = 305, 306


def ended_another_way(history: History) -> None:
    history.final[2].state = "cancelled"
    history.totals = {"enqueued": 6, "completed": 5, "cancelled": 1}


def never_ended(history: History) -> None:
    history.final[2].state = "waiting"
    history.totals["completed"] = 5


def claims_lost(history: History) -> None:
    history.final[1].claims = 1


def blamed_for_a_crash(history: History) -> None:
    history.final[1].crashes = 1


def failure_forgotten(history: History) -> None:
    history.runs[1].kind = "retry"


def wrong_total(history: History) -> None:
    history.totals["enqueued"] = 12


def not_gone(history: History) -> None:
    history.standing[SOURCE] = "moving to"


def journal_left(history: History) -> None:
    history.standing[TARGET] = "here journal"


def left_behind(history: History) -> None:
    history.final[0].side = SOURCE


def nothing_moved(history: History) -> None:
    history.moved = 0


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lost, Rule.LOST),
        (holder_lost, Rule.LOST),
        (ghost, Rule.GHOST),
        (at_both_sides, Rule.TWICE),
        (key_twice, Rule.KEY),
        (timed_key_twice, Rule.KEY),
        (body_changed, Rule.CHANGED),
        (priority_changed, Rule.CHANGED),
        (ran_again_without_a_reason, Rule.EXECUTIONS),
        (refused_though_it_kept_its_claim, Rule.REFUSED),
        (overlapping, Rule.OVERLAP),
        (claim_number_again, Rule.CLAIM),
        (one_claim_for_two, Rule.CLAIM),
        (overtaken_in_its_call, Rule.OVERTAKEN),
        (overtaken_by_what_came_to_the_target, Rule.OVERTAKEN),
        (overtaken_by_a_lower_priority, Rule.OVERTAKEN),
        (claims_lost, Rule.COUNTERS),
        (blamed_for_a_crash, Rule.COUNTERS),
        (failure_forgotten, Rule.COUNTERS),
        (wrong_total, Rule.TOTALS),
        (not_gone, Rule.STANDING),
        (journal_left, Rule.STANDING),
        (left_behind, Rule.STANDING),
        (nothing_moved, Rule.INJECTED),
    ],
)
def test_a_bad_history_is_caught_under_its_rule_and_no_other(spoil: Callable[[History], None], rule: Rule) -> None:
    history = good()
    spoil(history)
    assert rules(history) == {rule}


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (ran_after_its_end, {Rule.AFTER, Rule.EXECUTIONS}),
        (accepted_at_both_sides, {Rule.ACCEPTED, Rule.EXECUTIONS, Rule.OVERLAP}),
        (ended_another_way, {Rule.STATE}),
        (never_ended, {Rule.STATE}),
    ],
)
def test_a_history_that_is_bad_in_several_ways(spoil: Callable[[History], None], found: set[Rule]) -> None:
    history = good()
    spoil(history)
    assert rules(history) >= found


def test_what_came_to_the_target_may_be_overtaken_by_what_moved() -> None:
    """`late` was asked for at the source when `e` was at the target already: it goes first all the same."""
    history = good()
    history.asked.append(asked(7, "late", 210, priority=5))
    history.runs.append(run("late", 290))
    history.final.append(final("late"))
    history.totals = {"enqueued": 7, "completed": 7}
    history.runs[3].invoked = history.runs[4].invoked = history.runs[2].invoked = 280
    assert rules(history) == set()


def test_a_worker_that_died_explains_a_run_a_refusal_and_a_crash() -> None:
    history = good()
    history.runs[1].kind, history.runs[1].accepted, history.runs[1].crashed = None, None, True
    assert rules(history) == set()
    history.final[1].crashes = 1
    assert rules(history) == set()


def test_nothing_is_left_of_a_job_that_was_not_to_be_kept() -> None:
    history = good()
    history.asked[2].kept = False
    assert Rule.STATE in rules(history), "it completed, and is there"
    history.final = [one for one in history.final if one.job != "c"]
    assert rules(history) == set()
    history.totals["completed"] = 5
    assert rules(history) == {Rule.TOTALS}, "it completed all the same"
    history.totals["completed"] = 6
    history.runs = [run for run in history.runs if run.job != "c"]
    assert Rule.LOST in rules(history), "it never ran"


def test_after_an_abort_the_queue_stands_at_the_source() -> None:
    history = good()
    for one in history.final:
        one.side = SOURCE
    history.standing = {SOURCE: "here", TARGET: "gone to"}
    assert rules(history, Promises(ends=SOURCE)) == set()
    assert rules(history) == {Rule.STANDING}


def test_only_named_jobs_may_be_doubled_after_a_failover() -> None:
    history = good()
    accepted_at_both_sides(history)
    history.totals["completed"] = 7
    assert rules(history, Promises(doubled=frozenset({"a"}))) == set()
    history.totals["completed"] = 8
    assert rules(history, Promises(doubled=frozenset({"a"}))) == {Rule.TOTALS}
    assert Rule.ACCEPTED in rules(history, Promises(doubled=frozenset({"b"})))


def test_a_named_job_of_which_the_source_knows_more_may_stay_there() -> None:
    history = good()
    history.final.append(final("c", side=SOURCE))
    history.totals = {"enqueued": 7, "completed": 7}
    assert rules(history) == {Rule.TWICE, Rule.STANDING}
    assert rules(history, Promises(doubled=frozenset({"c"}))) == set()


def test_jobs_within_the_declared_skew_may_swap_places() -> None:
    history = good()
    history.runs[5].invoked, history.runs[5].given = 298, 299
    assert rules(history, Promises(skew=150)) == {Rule.OVERTAKEN}, "asked for 169 moments behind"
    assert rules(history, Promises(skew=180)) == set()


def test_a_breach_says_what_and_where() -> None:
    assert str(Breach(Rule.LOST, "a", "it is gone")) == "an acknowledged job is lost: a: it is gone"


def moved_late() -> History:
    """`d` was claimed at the source when `c`, which stood before it, had left already; the source stopped at 90."""
    history = good()
    history.stopped = 85, 90
    history.runs[4] = run("d", 110, side=SOURCE)
    return history


def test_a_claim_that_could_not_know_of_the_stop_may_overtake_what_left() -> None:
    assert rules(moved_late()) == {Rule.OVERTAKEN}, "where a stop holds at once"
    assert rules(moved_late(), Promises(late=19)) == {Rule.OVERTAKEN}, "it was asked for 20 moments behind"
    assert rules(moved_late(), Promises(late=20)) == set()


def test_a_claim_made_before_the_stop_may_not_overtake() -> None:
    history = moved_late()
    history.stopped = 150, 155
    assert rules(history, Promises(late=20)) == {Rule.OVERTAKEN}
    history.stopped = None
    assert rules(history, Promises(late=20)) == {Rule.OVERTAKEN}


def test_a_claim_at_the_target_may_not_overtake_however_late_the_source_is() -> None:
    history = good()
    history.stopped = 85, 90
    history.runs[4].invoked, history.runs[4].given = 298, 299
    assert rules(history, Promises(late=1000)) == {Rule.OVERTAKEN}


def test_what_the_source_took_during_the_move_may_come_behind_what_the_target_took() -> None:
    """`late` was acknowledged by the source at 151; `e` was asked for at the target at 200, and ran first."""
    history = good()
    history.asked.append(asked(7, "late", 150))
    history.runs.append(run("late", 310))
    history.final.append(final("late"))
    history.totals = {"enqueued": 7, "completed": 7}
    history.stopped = 140, 145
    assert rules(history) == {Rule.OVERTAKEN}
    assert rules(history, Promises(late=20)) == set()
    history.stopped = 152, 155
    assert rules(history, Promises(late=20)) == {Rule.OVERTAKEN}, "it was there when the source stopped"


def test_what_the_source_took_shortly_after_its_stop_may_come_behind_what_it_takes_when_it_is_back() -> None:
    """An abort: `late` was acknowledged by the source at 151, and `e`, at 201, by the source that takes jobs again."""
    history = good()
    history.asked.append(asked(7, "late", 150))
    history.runs.append(run("late", 310))
    history.final.append(final("late"))
    history.totals = {"enqueued": 7, "completed": 7}
    history.stopped = 140, 145
    next(one for one in history.asked if one.job == "e").side = SOURCE
    assert rules(history, Promises(late=20)) == set()
    assert rules(history, Promises(late=60)) == {Rule.OVERTAKEN}, "the source may not have known yet, of either"
    assert rules(history, Promises(late=4)) == {Rule.OVERTAKEN}, "it knew of the stop when it took the first"


def test_what_moved_is_ready_since_the_target_opened() -> None:
    """`d` was claimed before `c` when both were ready there for 8 moments."""
    history = good()
    history.opened = {TARGET: 290}
    history.runs[4].invoked, history.runs[4].given = 298, 299
    assert rules(history) == {Rule.OVERTAKEN}
    assert rules(history, Promises(skew=7)) == {Rule.OVERTAKEN}
    assert rules(history, Promises(skew=8)) == set()


def test_a_claim_before_the_stop_is_not_one_of_a_source_that_works_again() -> None:
    history = moved_late()
    history.stopped, history.opened = (150, 155), {SOURCE: 400}
    assert rules(history, Promises(skew=20)) == {Rule.OVERTAKEN}


def scheduled() -> History:
    """As the good one; a schedule fired once at each side, the second time with an answer that nobody heard."""
    history = good()
    history.asked += [
        asked(0, "s@100", 100, delayed=True),
        asked(0, "s@150", 150, side=TARGET, delayed=True, answered=None, receipt=None, created=False),
    ]
    history.runs += [run("s@100", 120, side=SOURCE), run("s@150", 600)]
    history.final += [final("s@100"), final("s@150")]
    history.totals = {"enqueued": 8, "completed": 8}
    history.rhythms["s"] = Rhythm(start=100, every=50, definition="2")
    history.kept.append(Kept(side=TARGET, id="s", next=200, fired=2, skipped=0, definition="2"))
    return history


def slot_missed(history: History) -> None:
    history.kept[0].next = 250
    history.kept[0].fired = 3


def slot_fired_early(history: History) -> None:
    history.rhythms["s"].start = 150
    history.kept[0].fired = 1


def fired_twice_over(history: History) -> None:
    history.kept[0].fired = 3


def slot_skipped(history: History) -> None:
    history.kept[0].skipped = 1


def rhythm_lost(history: History) -> None:
    history.kept[0].next = 210


def schedule_lost(history: History) -> None:
    history.kept.clear()


def schedule_over(history: History) -> None:
    history.kept[0].next = None


def schedule_as_before(history: History) -> None:
    history.kept[0].definition = "1"


def schedule_left_behind(history: History) -> None:
    history.kept.append(Kept(side=SOURCE, id="s", next=200, fired=2, skipped=0, definition="2"))


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (slot_missed, Rule.SLOT),
        (slot_fired_early, Rule.SLOT),
        (fired_twice_over, Rule.SLOT),
        (slot_skipped, Rule.SLOT),
        (rhythm_lost, Rule.SLOT),
        (schedule_lost, Rule.LOST),
        (schedule_over, Rule.LOST),
        (schedule_as_before, Rule.EDITED),
        (schedule_left_behind, Rule.STANDING),
    ],
)
def test_a_schedule_that_moved_badly_is_caught(spoil: Callable[[History], None], rule: Rule) -> None:
    history = scheduled()
    assert not rules(history)
    spoil(history)
    assert rules(history) == {rule}
