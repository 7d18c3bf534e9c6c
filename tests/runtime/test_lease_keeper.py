"""The lease keeper's table: what is sent when, and that notes reach the store once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from queuekit import clock
from queuekit.context import Report
from queuekit.domain.job import LOGS_KEPT, JobRecord
from queuekit.domain.outcome import Hold, Outcome, Renewal
from queuekit.domain.query import Note
from queuekit.errors import StoreUnavailable
from queuekit.runtime.claim import Claim, Stop
from queuekit.runtime.lease_keeper import LeaseKeeper
from queuekit.runtime.source import Source
from queuekit.store.protocol import Capabilities

LEASE = 30.0


class Store:
    """Remembers renewals and answers what the test says."""

    def __init__(self) -> None:
        self.renewed: list[list[Hold]] = []
        self.reply = Renewal(now=0, lease_until=30_000)
        self.during: Callable[[], object] = lambda: None
        self.away: set[str] = set()
        self.broken: Exception | None = None
        self.capabilities = Capabilities(strays=True)

    async def renew(self, queue: str, holds: list[Hold], lease: int, actor: str, upto: int) -> Renewal:
        self.renewed.append(list(holds))
        self.during()
        if queue in self.away:
            raise StoreUnavailable("away")
        if self.broken is not None:
            raise self.broken
        return self.reply


class Table:
    """A keeper whose thread never runs: the test takes its turns."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[tuple[str, Stop, str]] = []
        self.woken = 0
        self.found: list[Outcome] = []
        self.source = Source("q", cap=9, lease=int(LEASE * 1000))
        self.keeper = LeaseKeeper(
            lambda: self.store,  # type: ignore[arg-type,return-value]  # all it needs of one
            tell=lambda claim, stop, reason: self.told.append((claim.id, stop, reason)),
            found=lambda source, outcome: self.found.append(outcome),
            wake=self._wake,
        )
        self.serve(self.source)

    def serve(self, source: Source) -> None:
        self.keeper._held[source] = {}
        self.keeper._settling[source] = set()
        self.keeper._order.append(source)

    def _wake(self, source: Source) -> None:
        self.woken += 1

    def claim(self, name: str, *, age: float = 0.0, token: str = "a:1") -> Claim:
        record = JobRecord(queue="q", id=name, task="t", body=b"", token=token)
        claim = Claim(record, self.source, clock.monotonic() + LEASE - age)
        claim.report = Report()
        return claim

    def turn(self) -> None:
        self.keeper._turn()

    def sent(self) -> list[list[str]]:
        return [[hold.id for hold in holds] for holds in self.store.renewed]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Table:
    """A table at which no time passes by itself."""
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    return Table()


def test_nothing_is_renewed_before_a_third_of_the_lease_and_then_what_is_due_soon_goes_along(table: Table) -> None:
    table.keeper.hold(table.source, [table.claim("young", age=2), table.claim("middle", age=6)])
    table.turn()
    assert table.sent() == []
    table.keeper.hold(table.source, [table.claim("old", age=10.5)])
    table.turn()
    assert table.sent() == [["middle", "old"]]
    table.turn()
    assert len(table.sent()) == 1, "a renewed lease is young again"


def test_a_short_lease_is_renewed_when_a_third_of_it_has_passed(table: Table) -> None:
    table.source.lease, table.store.reply.lease_until = 3000, 3000
    claim = table.claim("a")
    table.keeper.hold(table.source, [claim])
    for age, sent in ((0.8, []), (1.1, [["a"]])):
        claim.lease_end = clock.monotonic() + 3 - age
        table.turn()
        assert table.sent() == sent


def test_a_long_lease_is_renewed_every_ten_seconds_all_the_same(table: Table) -> None:
    table.source.lease = 3_600_000
    claim = table.claim("a")
    claim.lease_end = clock.monotonic() + 3600 - 10.5
    table.store.reply.lease_until = 3_600_000
    table.keeper.hold(table.source, [claim])
    table.turn()
    assert table.sent() == [["a"]]
    assert claim.lease_end - clock.monotonic() > 3599


def test_news_goes_out_at_the_next_turn_and_once(table: Table) -> None:
    claim = table.claim("a")
    table.keeper.hold(table.source, [claim])
    assert claim.report is not None
    claim.report.put_line(b"1")
    table.turn()
    table.turn()
    assert [(hold.logs, hold.progress) for hold in table.store.renewed[0]] == [((b"1",), None)]
    assert len(table.store.renewed) == 1
    assert claim.notes() == Note()


def test_notes_that_did_not_arrive_are_sent_with_what_came_after(table: Table) -> None:
    claim = table.claim("a")
    table.keeper.hold(table.source, [claim])
    assert claim.report is not None
    claim.report.put_line(b"1")
    claim.report.put_progress(b"10%")
    table.store.away = {"q"}
    table.turn()
    claim.report.put_line(b"2")
    assert claim.notes() == Note(progress=b"10%", logs=(b"1", b"2"), start=0), "an outcome takes them along"


def test_a_flood_while_the_store_is_away_keeps_the_last_lines_and_their_numbers(table: Table) -> None:
    claim = table.claim("a")
    table.keeper.hold(table.source, [claim])
    assert claim.report is not None
    table.store.away = {"q"}
    lines = [b"%d" % n for n in range(2 * LOGS_KEPT + 10)]
    for line in lines[:10]:
        claim.report.put_line(line)
    table.turn()
    for line in lines[10 : LOGS_KEPT + 5]:
        claim.report.put_line(line)
    assert claim.notes() == Note(logs=tuple(lines[5 : LOGS_KEPT + 5]), start=5)

    for line in lines[:10]:
        claim.report.put_line(line)
    table.turn()
    for line in lines:  # more than a report keeps: there is a gap behind the ten
        claim.report.put_line(line)
    start = LOGS_KEPT + 5 + 10 + LOGS_KEPT + 10
    assert claim.notes() == Note(logs=tuple(lines[-LOGS_KEPT:]), start=start)


def test_an_end_waits_while_its_notes_are_under_way(table: Table) -> None:
    claim, other = table.claim("a"), table.claim("b")
    table.keeper.hold(table.source, [claim, other])
    assert claim.report is not None
    claim.report.put_line(b"1")
    busy: list[set[Claim]] = []
    table.store.during = lambda: busy.append(table.keeper.settling(table.source, [claim, other]))
    table.turn()
    assert busy == [{claim}]
    assert table.woken == 1, "the consumer is told that the notes have arrived"
    assert table.keeper.settling(table.source, [claim]) == set()
    assert claim.notes() == Note()


def test_what_is_being_settled_is_not_renewed_and_not_called_lost(table: Table) -> None:
    claim = table.claim("a", age=11)
    table.keeper.hold(table.source, [claim])
    table.store.reply.lost = ["a"]
    table.store.during = lambda: table.keeper.settling(table.source, [claim])
    table.turn()
    assert table.told == []
    table.turn()
    assert len(table.store.renewed) == 1


def test_lost_and_cancelled_claims_are_told_and_only_the_lost_are_dropped(table: Table) -> None:
    table.keeper.hold(table.source, [table.claim(name, age=11) for name in "abc"])
    table.store.reply.lost, table.store.reply.cancels = ["a"], {"b": "enough"}
    table.turn()
    assert table.told == [("a", Stop.LOST, ""), ("b", Stop.CANCEL, "enough")]
    assert sorted(table.keeper._held[table.source]) == ["b", "c"]


def test_a_claim_of_the_same_job_replaces_one_that_was_lost_unnoticed(table: Table) -> None:
    first, second = table.claim("a"), table.claim("a", token="a:2")
    assert table.keeper.hold(table.source, [first]) == []
    assert table.keeper.hold(table.source, [second]) == [first]
    table.keeper.settling(table.source, [first])
    assert table.keeper._held[table.source] == {"a": second}, "the end of the first does not let go of the second"


def test_only_claims_whose_lease_has_ended_are_fenced(table: Table) -> None:
    table.store.away = {"q"}
    table.keeper.hold(table.source, [table.claim("over", age=LEASE + 0.01), table.claim("near", age=LEASE - 1)])
    table.turn()
    assert table.told == [("over", Stop.FENCED, "")]
    assert list(table.keeper._held[table.source]) == ["near"]


def test_a_queue_whose_store_does_not_answer_costs_the_others_one_turn_at_most(table: Table) -> None:
    table.store.away = {"q"}
    table.keeper.hold(table.source, [table.claim("a", age=11)])
    other = Source("other", cap=9, lease=int(LEASE * 1000))
    table.serve(other)
    table.keeper.hold(other, [table.claim("b", age=11)])
    table.turn()
    table.turn()
    assert ["b"] in table.sent()


def test_a_renewal_that_breaks_keeps_no_end_waiting(table: Table) -> None:
    claim = table.claim("a")
    table.keeper.hold(table.source, [claim])
    assert claim.report is not None
    claim.report.put_line(b"1")
    table.store.broken = KeyError("a driver's")
    table.turn()
    assert table.keeper.settling(table.source, [claim]) == set()
    assert table.woken == 1
    assert claim.notes() == Note(logs=(b"1",), start=0)


def test_a_fenced_claim_is_no_stray_while_its_run_goes_on(table: Table) -> None:
    table.store.away = {"q"}
    fenced = table.claim("over", age=LEASE + 0.01)
    table.keeper.hold(table.source, [fenced])
    table.turn()
    table.store.away = set()
    table.store.reply.strays = [("over", fenced.token), ("never", "a:2")]
    table.keeper.hold(table.source, [table.claim("young", age=11)])
    table.turn()
    assert [outcome.id for outcome in table.found] == ["never"]
    table.keeper.gone(table.source, [fenced])
    assert not table.keeper._settling[table.source]


def test_a_renewal_that_hangs_does_not_hold_up_the_fence() -> None:
    """A driver may wait for seconds on a network that swallows everything; somebody else may have the job by then."""
    table = Table()  # threads run here, by a clock that goes
    hangs, told = threading.Event(), threading.Event()
    table.source.lease, table.store.during = 300, lambda: hangs.wait(20)

    def tell(claim: Claim, stop: Stop, reason: str) -> None:
        table.told.append((claim.id, stop, reason))
        told.set()

    table.keeper._tell = tell
    over, fresh = table.claim("over"), table.claim("fresh")
    over.lease_end = clock.monotonic() + 0.15
    table.keeper.start([table.source])
    table.keeper.hold(table.source, [over, fresh])
    try:
        assert told.wait(10), "fenced while the call hangs"
        assert not hangs.is_set()
        assert table.told == [("over", Stop.FENCED, "")]
    finally:
        hangs.set()
        table.keeper.stop()
    assert table.told == [("over", Stop.FENCED, "")]
    assert not any(thread.is_alive() for thread in table.keeper._threads)


def test_a_worker_that_was_held_up_itself_renews_before_it_fences(table: Table) -> None:
    """No call is under way then: the guard leaves the run to the next turn, which asks first."""
    waits = iter([False, True])
    table.keeper._stop = cast(threading.Event, SimpleNamespace(wait=lambda seconds: next(waits)))
    late = table.claim("late", age=LEASE + 1)
    table.keeper.hold(table.source, [late])
    table.keeper._guard()
    assert table.told == []
    table.turn()
    assert (table.told, table.sent()) == ([], [["late"]])


def test_a_worker_that_holds_nothing_looks_for_strays_while_a_lost_call_may_arrive(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    table.store.reply.strays = [("never", "a:2")]
    table.turn()
    assert table.sent() == [], "every call was answered"

    table.source.doubt = now + LEASE
    for _ in range(3):
        table.turn()
    assert (table.sent(), [outcome.id for outcome in table.found]) == ([[]], ["never"])
    now += 2.1
    table.turn()
    assert table.sent() == [[], []]
    now += LEASE
    table.turn()
    assert table.sent() == [[], []], "a call arrives within the lease it asks for, or claims what is lost again"


def test_a_store_that_knows_no_strays_is_not_asked_for_them(table: Table) -> None:
    table.store.capabilities = Capabilities()
    table.source.doubt = clock.monotonic() + LEASE
    table.turn()
    assert table.sent() == []
