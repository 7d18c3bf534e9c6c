"""Schedules of a queue that moves, or is about to: verbs follow it, and only one of the two stores has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from queuekit import QueueKit, clock
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import ScheduleRecord
from queuekit.errors import Moved, StoreUnavailable
from queuekit.producing import access
from queuekit.producing.scheduling import declaring, gate
from queuekit.store.direct import direct
from queuekit.testing.model import ModelStore
from tests.two_stores import Move, Worlds

Turns = list[Callable[[], object]]


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    for kit in made.kits:
        kit.close()


@pytest.fixture
def at_each_pause(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """What happens instead of the pauses of a call that waits."""
    turns: Turns = []

    async def sleep(self: object, seconds: float) -> None:
        for turn in turns:
            turn()

    monkeypatch.setattr(access.Blocking, "sleep", sleep)
    return turns


def kit_of(worlds: Worlds, url: str, **settings: Any) -> QueueKit:
    kit = worlds.kit(url, **settings)

    @kit.task(queue="q")
    def send(to: str = "team") -> None: ...

    return kit


def job(kit: QueueKit, to: str = "team") -> Any:
    return kit.tasks()["send"].make(to)


def records(worlds: Worlds, name: str) -> list[ScheduleRecord]:
    return direct(worlds.store(name).schedules("q"))


def carry(move: Move) -> None:
    """What the mover does with schedules: copies, before the target opens."""
    found = direct(move.source.schedules("q"))
    direct(move.target.take_schedules("q", move.epochs[id(move.target)], found))


def moved(worlds: Worlds, upto: str = "gone") -> Move:
    """The move of the queue, up to a state."""
    move = worlds.move("q").begin()
    if upto == "begun":
        return move
    carry(move)
    if upto == "carried":
        return move
    move.open()
    if upto == "open":
        return move
    return move.gone().end()


# ---------------------------------------------------------------- the gate
def test_without_a_store_it_comes_from_nothing_is_asked(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = kit_of(worlds, "blue://", from_url=None)
    at = kit.access.blocking()
    monkeypatch.setattr(ModelStore, "conf", None)
    assert direct(gate.fires_here(kit, at, "q"))


@pytest.mark.parametrize("upto", ["before", "begun", "carried", "open", "gone"])
def test_schedules_of_a_queue_fire_in_one_of_two_stores(worlds: Worlds, upto: str) -> None:
    old = kit_of(worlds, "red://")
    old.schedules.put("d", job(old), every="1h")
    if upto != "before":
        moved(worlds, upto)
    new = kit_of(worlds, "blue://")
    said = new.run(lambda at: gate.fires_here(new, at, "q"))
    assert said == (upto != "before")  # from then on the stores themselves say which
    assert old.run(lambda at: gate.fires_here(old, at, "q"))
    here = {name: direct(worlds.store(name).conf("q")).home for name in ("red", "blue")}
    assert not (said and here["blue"] is Home.HERE and here["red"] is Home.HERE)


def test_a_queue_that_the_old_store_never_had_is_ours(worlds: Worlds) -> None:
    new = kit_of(worlds, "blue://")
    assert new.run(lambda at: gate.fires_here(new, at, "q"))
    kit_of(worlds, "red://").queue("q").enqueue("x")
    assert new.run(lambda at: gate.fires_here(new, at, "q"))  # as was asked a moment ago


def test_the_answer_is_remembered_for_a_few_seconds(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = kit_of(worlds, "red://"), kit_of(worlds, "blue://")
    old.queue("q").enqueue("x")
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    assert not new.run(lambda at: gate.fires_here(new, at, "q"))
    moved(worlds)
    assert not new.run(lambda at: gate.fires_here(new, at, "q"))
    now[0] += 5
    assert new.run(lambda at: gate.fires_here(new, at, "q"))


def test_a_queue_that_opens_here_does_not_wait_for_what_was_remembered(worlds: Worlds) -> None:
    old, new = kit_of(worlds, "red://"), kit_of(worlds, "blue://")
    old.queue("q").enqueue("x")
    assert not new.run(lambda at: gate.fires_here(new, at, "q"))
    moved(worlds, "open")
    assert new.run(lambda at: gate.fires_here(new, at, "q"))


@pytest.mark.parametrize("came", [False, True])
def test_while_the_old_store_is_away_only_what_came_from_it_fires(
    worlds: Worlds, monkeypatch: pytest.MonkeyPatch, came: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if came:
        kit_of(worlds, "red://").queue("q").enqueue("x")
        moved(worlds)
    new = kit_of(worlds, "blue://")

    async def away(self: ModelStore) -> None:
        if self.world is worlds.worlds["red"]:
            raise StoreUnavailable("away", outcome="refused")

    monkeypatch.setattr(ModelStore, "ping", away)
    monkeypatch.setattr(access.Blocking, "ask", lambda self, call: call())
    assert new.run(lambda at: gate.fires_here(new, at, "q")) is came
    assert ("do not fire here" in caplog.text) is not came


def test_a_url_that_is_no_store_of_ours_hinders_nothing(worlds: Worlds) -> None:
    new = kit_of(worlds, "blue://", from_url="green://")
    with pytest.MonkeyPatch.context() as patch:
        from queuekit.errors import UnknownProvider

        async def opened(self: object, like: object) -> None:
            raise UnknownProvider("no backend for green")

        patch.setattr(access.Access, "opened", opened)
        assert new.run(lambda at: gate.fires_here(new, at, "q"))


def test_a_worker_of_the_new_store_declares_nothing_before_the_move(worlds: Worlds) -> None:
    old, new = kit_of(worlds, "red://"), kit_of(worlds, "blue://")
    old.queue("q").enqueue("x")
    new.schedule("d", job(new), every="1h")
    said = new.run(lambda at: declaring.declare_schedules(new, at, ["q"]))
    assert (said.written, said.later) == ([], {"q"})
    assert (records(worlds, "red"), records(worlds, "blue")) == ([], [])


# ---------------------------------------------------------------- verbs
def test_a_put_in_the_new_store_before_the_move_goes_to_the_old_one(worlds: Worlds) -> None:
    old, new = kit_of(worlds, "red://"), kit_of(worlds, "blue://")
    old.queue("q").enqueue("x")
    made = new.schedules.put("d", job(new), every="1h")
    assert (len(records(worlds, "red")), records(worlds, "blue")) == (1, [])
    assert new.schedules.get("d") == new.schedules.get("q/d") == made == old.schedules.get("d")
    assert new.schedules.all() == [made] == new.schedules.all("q")
    assert new.schedules.pause("d")
    assert new.schedules.fire("d").created
    assert len(worlds.ids("red")) == 2
    assert new.schedules.delete("d")


@pytest.mark.parametrize("url", ["red://", "blue://"])
@pytest.mark.parametrize("upto", ["open", "gone"])
def test_every_verb_follows_a_queue_that_moved(worlds: Worlds, url: str, upto: str) -> None:
    first = kit_of(worlds, "red://")
    first.schedules.put("d", job(first), every="1h")
    moved(worlds, upto)
    kit = kit_of(worlds, url)
    for name in ("d", "q/d"):
        found = kit.schedules.get(name)
        assert found is not None
    assert kit.schedules.pause("d", "why")
    assert [one.paused for one in kit.schedules.all()] == ["why"] == [one.paused for one in kit.schedules.all("q")]
    assert kit.schedules.resume("d")
    handle = kit.schedules.fire("d")
    assert handle.id in worlds.ids("blue")
    assert kit.schedules.put("d", job(kit, "ada"), every="2h").payload == {"to": "ada"}
    assert kit.schedules.put("e", job(kit), every="1h").queue == "q"
    assert [one.id for one in records(worlds, "blue")] == ["d", "e"]
    if upto == "gone":
        assert records(worlds, "red") == []
    assert kit.schedules.delete("d")
    assert not kit.schedules.delete("d")


@pytest.mark.parametrize("url", ["red://", "blue://"])
@pytest.mark.parametrize("upto", ["begun", "carried"])
def test_a_change_waits_for_a_queue_that_moves(worlds: Worlds, url: str, upto: str, at_each_pause: Turns) -> None:
    first = kit_of(worlds, "red://")
    first.schedules.put("d", job(first), every="1h")
    move = moved(worlds, upto)
    kit = kit_of(worlds, url)
    found = kit.schedules.get("d")
    assert found is not None
    assert [one.id for one in kit.schedules.all()] == ["d"]

    def ends() -> None:
        at_each_pause.clear()
        if upto == "begun":
            carry(move)
        move.open().gone().end()

    at_each_pause.append(ends)
    assert kit.schedules.pause("d", "why")
    assert [one.next for one in records(worlds, "blue")] == [None]
    assert kit.schedules.put("e", job(kit), every="1h").queue == "q"


def test_a_change_that_waits_too_long_says_that_nothing_was_done(
    worlds: Worlds, at_each_pause: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = kit_of(worlds, "red://")
    kit.schedules.put("d", job(kit), every="1h")
    moved(worlds, "begun")
    now = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    at_each_pause.append(lambda: now.__setitem__(0, now[0] + 0.5))
    for act in (
        lambda: kit.schedules.pause("d"), lambda: kit.schedules.put("e", job(kit), every="1h"),
        lambda: kit.schedules.delete("d"),
    ):  # fmt: skip
        with pytest.raises(Moved, match="nothing was changed"):
            cast("Any", act)()
    assert [one.id for one in records(worlds, "red")] == ["d"]


def test_declarations_of_a_queue_that_moves_are_for_later(worlds: Worlds, at_each_pause: Turns) -> None:
    kit = kit_of(worlds, "red://", timeout=0)
    kit.schedule("d", job(kit), every="1h")
    move = moved(worlds, "carried")
    said = kit.run(lambda at: declaring.declare_schedules(kit, at, ["q"]))
    assert (said.written, said.later) == ([], {"q"})
    move.open().gone().end()
    assert kit.run(lambda at: declaring.declare_schedules(kit, at)).written == ["d"]
    assert [one.id for one in records(worlds, "blue")] == ["d"]
    assert records(worlds, "red") == []
