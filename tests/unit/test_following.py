"""A producer whose queue moved: it goes on in the other store, with the same ids, or says which variable to set."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, Settings, Unique, clock
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Home, Op
from queuekit.errors import Arriving, Conflict, Moved, QueueFull, StoreUnavailable, Unsupported
from queuekit.producing import access, following, roads
from queuekit.store.direct import direct
from tests.two_stores import Worlds

SENDERS = ["plain", "awaited", "many", "many awaited"]


@pytest.fixture
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    for kit in made.kits:
        kit.close()


@pytest.fixture
def at_each_pause(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens instead of the pauses of a call that waits."""
    turns: list[Callable[[], object]] = []

    async def sleep(self: object, seconds: float) -> None:
        for turn in turns:
            turn()

    monkeypatch.setattr(access.Blocking, "sleep", sleep)
    monkeypatch.setattr(access.Loop, "sleep", sleep)
    return turns


Turns = list[Callable[[], object]]


def send(kit: QueueKit, how: str, n: int = 0, **options: Any) -> Any:
    """One job by each of the four ways: its handle."""
    queue = kit.queue("q")
    if how == "plain":
        return queue.enqueue("t", {"n": n}, **options)
    if how == "many":
        return kit.enqueue_many([queue.make("t", {"n": n}, **options)])[0]

    async def awaited() -> Any:
        try:
            if how == "awaited":
                return await queue.aenqueue("t", {"n": n}, **options)
            return (await kit.aenqueue_many([queue.make("t", {"n": n}, **options)]))[0]
        finally:
            await kit.aclose()

    return asyncio.run(awaited())


every_way = pytest.mark.parametrize("how", SENDERS)


# ---------------------------------------------------------------- to where the queue lives


@every_way
@pytest.mark.parametrize("phase", ["moving", "open", "gone", "over"])
def test_a_forgotten_producer_strands_nothing(worlds: Worlds, how: str, phase: str) -> None:
    old = worlds.kit()
    before = send(old, how, id="before")
    move = worlds.move().begin()
    for step in (move.open, move.gone, move.end)[: ("moving", "open", "gone", "over").index(phase)]:
        while move.carry():
            continue
        step()
    after = send(old, how, id="after")
    fresh = send(old, how)
    assert (before.created, after.created, fresh.created) == (True, True, True)
    assert {"after", fresh.id} <= worlds.ids("blue")
    assert worlds.ids("red") == ({"before"} if phase == "moving" else set())


@every_way
def test_the_job_goes_over_with_the_id_and_the_op_that_were_refused(worlds: Worlds, how: str) -> None:
    worlds.move().through()
    kit = worlds.kit()
    job = send(kit, how)
    record = direct(worlds.store("blue").get("q", [job.id]))[0]
    assert record is not None
    ops = {name: set(worlds.store(name).peek("q").ops) for name in ("red", "blue")}
    assert ops["red"] == set(), "refusals leave no record"
    assert len(ops["blue"]) == 1


def test_it_is_said_once_and_the_line_names_what_to_change(worlds: Worlds, caplog: pytest.LogCaptureFixture) -> None:
    worlds.move().through()
    kit = worlds.kit()
    with caplog.at_level(logging.INFO, "queuekit"):
        for _ in range(3):
            send(kit, "plain")
    (line,) = [record for record in caplog.records if "lives in" in record.getMessage()]
    assert line.levelno == logging.WARNING
    assert "queue q lives in blue now" in line.getMessage()
    assert "QUEUEKIT_TO_URL" in line.getMessage()
    assert line.getMessage().endswith("Point this process to it: set QUEUEKIT_URL to its URL")


def test_for_a_while_the_own_store_is_not_asked_then_it_is(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.move().through()
    kit = worlds.kit()
    now = [clock.monotonic()]
    asked = watched(kit, kit.blocking_store())
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    send(kit, "plain")
    assert asked == ["q"]
    now[0] += roads.REMEMBERED - 0.1
    send(kit, "plain")
    assert asked == ["q"], "remembered"
    now[0] += 0.2
    send(kit, "plain")
    assert asked == ["q", "q"], "and not for ever"
    assert len(worlds.ids("blue")) == 3


def test_a_queue_that_did_not_move_is_asked_at_once_beside_one_that_did(worlds: Worlds) -> None:
    worlds.move().through()
    kit = worlds.kit()
    send(kit, "plain")
    other = kit.queue("other").enqueue("t")
    assert other.created
    assert worlds.ids("red", "other") == {other.id}
    assert worlds.ids("blue", "other") == set()


def test_a_queue_that_moved_makes_no_other_one_dearer(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.move().through()
    kit = worlds.kit()
    send(kit, "plain")
    trips: list[str] = []
    real = following._Trip.__init__

    def counted(self: Any, access: Any, at: Any, queue: str, within: Any) -> None:
        trips.append(queue)
        real(self, access, at, queue, within)

    monkeypatch.setattr(following._Trip, "__init__", counted)
    kit.queue("other").enqueue("t")
    kit.enqueue_many([kit.queue("other").make("t")])
    send(kit, "plain")
    assert trips == ["q"]


def test_what_was_remembered_is_bounded(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roads, "_KEPT", 3)
    kit = worlds.kit()
    for n in range(8):
        worlds.move(f"q{n}").through()
        kit.queue(f"q{n}").enqueue("t")
    assert 1 <= len(kit.access.roads.known) <= 3
    assert 1 <= len(kit.access.roads.told) <= 3


def test_a_queue_that_moved_twice_is_followed_twice() -> None:
    worlds = Worlds("red", "blue", "green")
    worlds.move().through()
    worlds.move(source="blue", target="green").through()
    kit = worlds.kit(from_url="green://")
    job = send(kit, "plain")
    assert worlds.ids("green") == {job.id}
    assert send(kit, "plain", id="x").created
    kit.close()


def test_a_queue_that_came_back_is_found_at_home_again(worlds: Worlds) -> None:
    move = worlds.move().through()
    kit = worlds.kit()
    send(kit, "plain", id="one")
    move.back().through()
    assert send(kit, "plain", id="one").created is False
    two = send(kit, "plain", id="two")
    assert two.created
    assert worlds.ids("red") == {"one", "two"}


@every_way
def test_within_an_abort_both_say_moved_and_the_caller_gets_through_when_it_ends(
    worlds: Worlds, at_each_pause: Turns, how: str
) -> None:
    move = worlds.move().begin()
    kit = worlds.kit()
    back = move.back()
    back.say(back.source, Home.MOVING, "red")  # now both are moving
    sleeps = 0

    def turn() -> None:
        nonlocal sleeps
        sleeps += 1
        if sleeps == 2:
            back.arrive()

    at_each_pause.append(turn)
    job = send(kit, how, id="x")
    assert job.created
    assert sleeps >= 2
    assert worlds.ids("red") == {"x"}


@every_way
def test_two_stores_that_send_round_in_circles_end_in_an_error_that_says_so(worlds: Worlds, how: str) -> None:
    move = worlds.move().begin()
    move.say(move.target, Home.MOVING, "red")
    kit = worlds.kit(timeout=100)
    with pytest.raises(Moved, match=r"between two stores that both say moved.* queuekit migrate --resume") as caught:
        send(kit, how, id="x")
    assert str(caught.value).endswith("Nothing was enqueued")
    assert not isinstance(caught.value, Arriving)
    assert worlds.ids("red") | worlds.ids("blue") == set()


# ---------------------------------------------------------------- where it cannot


@every_way
def test_without_a_url_the_caller_is_told_which_variable_to_set(worlds: Worlds, how: str) -> None:
    worlds.move().through()
    kit = worlds.kit(to_url=None)
    with pytest.raises(Moved, match="lives in blue now, and this process has no URL of it") as caught:
        send(kit, how)
    assert caught.value.to == "blue"
    assert "Set QUEUEKIT_TO_URL to its URL" in str(caught.value)
    assert "set QUEUEKIT_URL to its URL. Nothing was enqueued" in str(caught.value)
    assert worlds.ids("red") | worlds.ids("blue") == set()


@pytest.mark.parametrize(
    ("chosen_by", "expected"),
    [
        ("QUEUE_PROVIDER", "set QUEUE_PROVIDER=blue"), ("REDIS_URL", "set QUEUE_PROVIDER=blue"),
        ("QueueKit(url=…)", "set the URL in QueueKit(url=…)"), ("QUEUEKIT_URL", "set QUEUEKIT_URL to its URL"),
    ],
)  # fmt: skip
def test_what_to_change_depends_on_what_chose_the_store(worlds: Worlds, chosen_by: str, expected: str) -> None:
    worlds.move().through()
    kit = worlds.kit(to_url=None)
    settings = replace(kit.settings, chosen_by=chosen_by)
    kit._configuration._settings = settings
    with pytest.raises(Moved) as caught:
        send(kit, "plain")
    assert f"point this process to it: {expected}" in str(caught.value)


def test_a_store_that_knows_of_no_move_is_not_the_one(worlds: Worlds) -> None:
    worlds = Worlds("red", "blue", "green")
    worlds.move().through()
    kit = worlds.kit(to_url="green://")
    kit._configuration._settings = replace(kit.settings, to_url="green://")
    with pytest.raises(Moved, match="this process has no URL of it"):
        send(kit, "plain")
    stray = Worlds()
    stray.move().through()
    stray.worlds["blue"] = Worlds().worlds["blue"]  # another server of that name
    with pytest.raises(Moved, match="but the store that QUEUEKIT_TO_URL names knows of no move"):
        send(stray.kit(), "plain")
    assert stray.ids("blue") == set()


def test_a_store_that_cannot_be_opened_here_is_told_with_the_reason(worlds: Worlds) -> None:
    worlds.move().through()
    kit = worlds.kit()

    def refuse(settings: Settings, *, blocking: bool) -> Any:
        if settings.url == "blue://":
            raise Unsupported("pip install it first")
        return worlds.store("red")

    kit.access._make = refuse  # type: ignore[method-assign]  # no such driver in this process
    with pytest.raises(Moved, match=r"which cannot be opened here \(QUEUEKIT_TO_URL\): pip install it first"):
        send(kit, "plain")


def test_a_file_that_is_not_there_is_not_made(worlds: Worlds, tmp_path: Any) -> None:
    move = worlds.move()
    move.target_name = "sqlite"
    move.through()
    kit = worlds.kit(to_url=f"sqlite:///{tmp_path}/new.db")
    with pytest.raises(Moved, match=r"there is no file .*new\.db \(QUEUEKIT_TO_URL\)"):
        send(kit, "plain")
    assert not (tmp_path / "new.db").exists()


def test_an_error_of_the_other_store_reaches_the_caller(worlds: Worlds) -> None:
    move = worlds.move().through()
    conf = direct(move.target.conf("q"))
    direct(move.target.configure("q", replace(conf, override=replace(conf.override, max_size=1))))
    kit = worlds.kit()
    send(kit, "plain")
    with pytest.raises(QueueFull):
        send(kit, "plain")


@every_way
def test_another_store_that_is_away_is_told_with_what_led_there(worlds: Worlds, how: str) -> None:
    worlds.move().through()
    kit = worlds.kit(timeout=1)
    real = kit.access._make

    def away(settings: Settings, *, blocking: bool) -> Any:
        store = real(settings, blocking=blocking)

        async def enqueue(*args: Any) -> Any:
            raise StoreUnavailable("no answer", outcome="refused")

        if settings.url == "blue://":
            store.enqueue = enqueue  # type: ignore[method-assign,assignment]  # made to be away
        return store

    kit.access._make = away  # type: ignore[method-assign]  # as above
    with pytest.raises(StoreUnavailable) as caught:
        send(kit, how)
    assert caught.value.outcome == "refused"
    assert "queue 'q' lives in blue now (by QUEUEKIT_TO_URL)" in caught.value.__notes__


def test_an_unknown_outcome_before_a_move_that_cannot_be_followed_is_told(worlds: Worlds) -> None:
    move = worlds.move()
    kit = worlds.kit(to_url=None)
    lose_first(kit, move.begin)
    with pytest.raises(Moved) as caught:
        send(kit, "plain", id="x")
    assert str(caught.value).endswith("may have written q/x: enqueue with the same id again is safe")
    assert "Nothing" not in str(caught.value)


# ---------------------------------------------------------------- while jobs still come


@every_way
def test_an_id_that_is_still_on_its_way_exists(worlds: Worlds, how: str) -> None:
    old, new = worlds.kit(), worlds.kit("blue://")
    send(old, how, id="x")
    move = worlds.move().begin()
    for kit in (old, new):
        again = send(kit, how, id="x", n=1)
        assert (again.id, again.created) == ("x", False)
    parcels = move.out()
    assert send(new, how, id="x").created is False, "checked out"
    move.bring(parcels)
    assert send(new, how, id="x").created is False, "in both"
    move.forget(parcels)
    assert send(new, how, id="x").created is False, "here"
    assert worlds.ids("blue") == {"x"}


@every_way
@pytest.mark.parametrize("url", ["red://", "blue://"])
def test_a_key_that_is_still_on_its_way_is_held(worlds: Worlds, how: str, url: str) -> None:
    send(worlds.kit(), "plain", id="x", unique="k")
    worlds.move().begin()
    kit = worlds.kit(url)
    again = send(kit, how, unique="k")
    assert (again.id, again.created) == ("x", False)
    with pytest.raises(Conflict, match=r"the unique key 'k' is held by x, still in red"):
        send(kit, how, unique=Unique("k", on_conflict="error"))
    assert send(kit, how, unique="other").created
    assert len(worlds.ids("blue")) == 1


@every_way
def test_a_job_is_replaced_once_it_has_come_over(worlds: Worlds, at_each_pause: Turns, how: str) -> None:
    send(worlds.kit(), "plain", id="x", unique="k", delay=60)
    move = worlds.move().begin()
    kit = worlds.kit("blue://")
    at_each_pause.append(move.carry)
    again = send(kit, how, 7, unique=Unique("k", on_conflict="replace"))
    assert (again.id, again.created) == ("x", False)
    record = direct(worlds.store("blue").get("q", ["x"]))[0]
    assert record is not None
    assert record.body == b'j{"n":7}'


@every_way
def test_a_job_that_does_not_come_over_is_not_replaced_and_the_caller_is_told(worlds: Worlds, how: str) -> None:
    send(worlds.kit(), "plain", 1, id="x", unique="k")
    worlds.move().begin()
    kit = worlds.kit("blue://", timeout=60)
    with pytest.raises(Arriving, match="job x, which is to be replaced, has not come over"):
        send(kit, how, 7, unique=Unique("k", on_conflict="replace"))
    assert worlds.ids("blue") == set()


def test_a_running_holder_is_not_replaced(worlds: Worlds) -> None:
    send(worlds.kit(), "plain", 1, id="x", unique="k")
    direct(worlds.store("red").exchange("q", Op("w", 1), [], Ask(want=1)))
    worlds.move().begin()
    again = send(worlds.kit("blue://"), "plain", 7, unique=Unique("k", on_conflict="replace"))
    assert (again.id, again.created) == ("x", False)
    assert worlds.ids("blue") == set()


def test_a_key_held_for_a_time_by_a_job_that_is_gone_is_held(worlds: Worlds) -> None:
    kit = worlds.kit()
    job = send(kit, "plain", 1, id="x", unique=Unique("k", until=60))
    job.delete()
    holder = worlds.worlds["red"].peek("queuekit", "q").unique
    if not holder:  # a deleted job gives its key back: hold it as a job would that ended and was not kept
        from queuekit.testing.model.world import Held

        holder["k"] = Held("x", "time", worlds.clock.ms() + 60_000)
    worlds.move().begin()
    for conflict in ("existing", "replace"):
        again = send(worlds.kit("blue://"), "plain", unique=Unique("k", on_conflict=conflict))
        assert (again.id, again.created) == ("x", False)


@every_way
def test_before_the_source_stands_still_it_is_waited_for(worlds: Worlds, at_each_pause: Turns, how: str) -> None:
    send(worlds.kit(), "plain", id="x")
    move = worlds.move().arrive()
    kit = worlds.kit("blue://")
    at_each_pause.append(move.leave)
    assert send(kit, how, id="x").created is False
    assert worlds.ids("blue") == set()


@every_way
def test_a_mover_that_stands_before_the_source_does_is_told(worlds: Worlds, how: str) -> None:
    worlds.move().arrive()
    with pytest.raises(Arriving, match="red cannot say yet what it has: its mover has just begun, or stands still"):
        send(worlds.kit("blue://", timeout=60), how, id="x")
    assert worlds.ids("blue") == set()


@every_way
def test_without_the_sources_url_an_own_id_is_refused_and_others_are_taken(worlds: Worlds, how: str) -> None:
    worlds.move().begin()
    kit = worlds.kit("blue://", from_url=None)
    with pytest.raises(Arriving, match="jobs are still coming from red, which must be asked") as caught:
        send(kit, how, id="x")
    assert "Set QUEUEKIT_FROM_URL to its URL" in str(caught.value)
    with pytest.raises(Arriving):
        send(kit, how, unique="k")
    if how in ("plain", "awaited"):  # a made job may have been enqueued before, by whoever made it
        assert send(kit, how).created
    assert len(worlds.ids("blue")) == (how in ("plain", "awaited"))


def test_many_jobs_are_mixed_of_those_on_their_way_and_new_ones(worlds: Worlds) -> None:
    old = worlds.kit()
    queue = old.queue("q")
    old.enqueue_many([queue.make("t", {"n": n}, id=f"j{n}") for n in range(0, 1500, 3)])
    queue.enqueue("t", id="holder", unique="k")
    move = worlds.move().begin()
    move.carry(100)
    made = [queue.make("t", {"n": n}, id=f"j{n}") for n in range(1500)] + [queue.make("t", id="late", unique="k")]
    handles = old.enqueue_many(made)
    assert [h.id for h in handles] == [job.id for job in made[:-1]] + ["holder"]
    assert [h.created for h in handles] == [n % 3 != 0 for n in range(1500)] + [False]
    while move.carry():
        continue
    assert worlds.ids("blue") == {f"j{n}" for n in range(1500)} | {"holder"}
    assert worlds.ids("red") == set()


def test_an_error_for_one_key_refuses_the_whole_call(worlds: Worlds) -> None:
    kit = worlds.kit()
    kit.queue("q").enqueue("t", id="holder", unique="k")
    worlds.move().begin()
    with pytest.raises(Conflict):
        kit.enqueue_many([kit.queue("q").make("t"), kit.queue("q").make("t", unique=Unique("k", on_conflict="error"))])
    assert worlds.ids("blue") == set()


def test_a_lost_answer_at_the_source_makes_no_second_job_at_the_target(worlds: Worlds) -> None:
    move = worlds.move()
    kit = worlds.kit()
    lose_first(kit, move.begin, op_records=False)
    job = send(kit, "plain")
    assert job.created is True, "it is the caller's own, written by the try whose answer was lost"
    while move.carry():
        continue
    move.open().gone().end()
    assert worlds.ids("blue") == {job.id}


def test_other_words_under_an_id_that_went_over_are_worth_a_line(
    worlds: Worlds, caplog: pytest.LogCaptureFixture
) -> None:
    send(worlds.kit(), "plain", 1, id="x")
    worlds.move().through()
    send(worlds.kit(), "plain", 2, id="x")
    assert "job q/x exists with another payload or task" in caplog.text


# ---------------------------------------------------------------- what is opened, and closed


def test_one_blocking_store_is_opened_beside_and_closed_with_the_kit(worlds: Worlds) -> None:
    worlds.move().through()
    kit = worlds.kit()
    threads = [threading.Thread(target=send, args=(kit, "plain")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worlds.opened == ["red", "blue"]
    other = kit.access.beside("blue://", "")
    closed = closing(other.blocking().store)
    kit.close()
    assert closed == ["closed"]
    send(kit, "plain")
    assert worlds.opened == ["red", "blue", "blue", "red"] or worlds.opened == ["red", "blue", "red", "blue"]


def test_each_loop_opens_one_beside_and_closes_it_at_its_end(worlds: Worlds) -> None:
    worlds.move().through()
    kit = worlds.kit()
    closed: list[list[str]] = []

    async def use() -> None:
        await asyncio.gather(*(kit.queue("q").aenqueue("t") for _ in range(5)))
        closed.append(closing((await kit.access.beside("blue://", "").asynchronous()).store))

    asyncio.run(use())
    asyncio.run(use())
    assert worlds.opened.count("blue") == 2
    assert closed == [["closed"], ["closed"]]
    assert len(worlds.ids("blue")) == 10


def test_a_child_uses_none_of_the_parents_stores(worlds: Worlds, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.move().through()
    kit = worlds.kit()
    send(kit, "plain")
    parents = kit.access.beside("blue://", "").blocking().store
    real = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: real + 1)  # what a fork changes
    send(kit, "plain")
    child = kit.access.beside("blue://", "").blocking().store
    assert child is not parents


def test_a_forked_child_follows_through_stores_of_its_own(tmp_path: Path) -> None:
    """A real fork, two real files: what the parent opened is neither used nor closed by the child."""
    program = f"""
import os
from queuekit import QueueKit, Settings
from tests.two_stores import Move

urls = [f"sqlite:///{tmp_path}/{{name}}.db" for name in ("old", "new")]
kits = [QueueKit(settings=Settings(url=url, chosen_by="test", to_url=urls[1]), name=url) for url in urls]
Move(*(kit.blocking_store() for kit in kits), queue="q", names=("sqlite-from", "sqlite-to")).through()
kit = kits[0]
kit.queue("q").enqueue("t", id="parent")
parents = kit.access.beside(urls[1], "").blocking()
child = os.fork()
if child == 0:
    kit.queue("q").enqueue("t", id="child")
    entry = kit.access.beside(urls[1], "").blocking()
    ok = entry is not parents and entry.pid == os.getpid()
    kit.close()
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert kit.access.beside(urls[1], "").blocking() is parents
assert kit.queue("q").enqueue("t", id="after").created
assert sorted(job.id for job in kits[1].find(queue="q").jobs) == ["after", "child", "parent"]
for one in kits:
    one.close()
print("done")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr


def test_a_store_of_the_applications_own_client_is_followed_by_url(worlds: Worlds) -> None:
    kit = worlds.kit()
    settings = replace(kit.settings, url="", chosen_by="QueueKit(client=…)")
    worlds.worlds[""] = worlds.worlds["red"]
    kit._configuration._settings = settings
    kit.access._client = object()
    worlds.move().through()
    assert send(kit, "plain").created
    assert len(worlds.ids("blue")) == 1


# ---------------------------------------------------------------- help


def watched(kit: QueueKit, store: Any) -> list[str]:
    """The queues that `enqueue` of a store was called for, as they come."""
    asked: list[str] = []
    real = store.enqueue

    async def enqueue(queue: str, *args: Any, **kwargs: Any) -> Any:
        asked.append(queue)
        return await real(queue, *args, **kwargs)

    store.enqueue = enqueue
    return asked


def lose_first(kit: QueueKit, then: Callable[[], Any], *, op_records: bool = True) -> None:
    """The answer of the first enqueue is lost, and something happens before it is repeated."""
    store = kit.blocking_store()
    real, calls = store.enqueue, []

    async def enqueue(
        queue: str, jobs: Sequence[JobSpec], op: Op, within: object | None = None, asked: bool = False
    ) -> Any:
        calls.append(op)
        if len(calls) > 1:
            return await real(queue, jobs, op, within, asked)
        if not op_records:
            await real(queue, jobs, op, within, asked)
            store.peek(queue).ops.clear()  # type: ignore[attr-defined]  # as a store that keeps none
        then()
        raise StoreUnavailable("the answer was lost", outcome="unknown")

    store.enqueue = enqueue  # type: ignore[method-assign]  # made to lose an answer


def closing(store: Any) -> list[str]:
    closed: list[str] = []
    real = store.close

    async def close() -> None:
        closed.append("closed")
        await real()

    store.close = close
    return closed
