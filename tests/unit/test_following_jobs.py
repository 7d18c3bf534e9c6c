"""Looking at jobs and changing them while their queue moves, from processes of either store."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queuekit import Job, JobHandle, QueueKit
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.errors import Arriving, JobCancelled, JobNotFound, Moved, ResultTimeout
from queuekit.producing import access, roads
from queuekit.store.direct import direct
from queuekit.testing.model import ModelStore
from tests.two_stores import Move, Worlds

URLS = ["red://", "blue://"]
Turns = list[Callable[[], object]]
each_side = pytest.mark.parametrize("url", URLS)
each_way = pytest.mark.parametrize("awaited", [False, True], ids=["plain", "awaited"])


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
    monkeypatch.setattr(access.Loop, "sleep", sleep)
    return turns


def say(kit: QueueKit, awaited: bool, what: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The answer of a verb, or of its twin."""
    if not awaited:
        return what(*args, **kwargs)
    twin = getattr(what.__self__, f"a{what.__name__}")  # type: ignore[attr-defined]  # bound methods only

    async def run() -> Any:
        try:
            answer = twin(*args, **kwargs)
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            await kit.aclose()

    return asyncio.run(run())


def phases(move: Move) -> Iterator[str]:
    """The job q/x on its way: yields after each step of the mover."""
    yield "before"
    move.arrive()
    yield "arriving"
    move.leave()
    yield "moving"
    parcels = move.out()
    yield "out"
    move.bring(parcels)
    yield "in both"
    move.forget(parcels)
    yield "over"
    move.open()
    yield "open"
    move.gone()
    yield "gone"
    move.end()
    yield "end"


def unmoved(url: str, phase: str) -> bool:
    """Whether that side has not heard of the move yet, so that it says what it says of any job."""
    return url == "blue://" and phase == "before"


@each_side
@each_way
def test_a_job_is_found_at_every_step(worlds: Worlds, url: str, awaited: bool) -> None:
    worlds.kit().queue("q").enqueue("t", {"n": 1}, id="x")
    kit = worlds.kit(url)
    seen = []
    for phase in phases(worlds.move()):
        if unmoved(url, phase):
            continue
        kit.access.roads = roads.Roads()  # nothing is remembered from step to step
        job = say(kit, awaited, kit.job("x", queue="q").get)
        assert isinstance(job, Job), phase
        assert (job.ref, job.payload) == ("q/x", {"n": 1})
        assert say(kit, awaited, kit.job("q/x").status) == "waiting"
        bare = say(kit, awaited, kit.get, "x")
        assert bare is not None, phase
        assert bare.ref == "q/x"
        seen.append(phase)
    assert len(seen) >= 8


@each_side
@each_way
def test_a_job_that_never_was_is_not_found_at_any_step(worlds: Worlds, url: str, awaited: bool) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    kit = worlds.kit(url)
    for phase in phases(worlds.move()):
        none = kit.job("q/none")
        assert say(kit, awaited, none.get) is None, phase
        assert say(kit, awaited, none.status) == "unknown"
        assert say(kit, awaited, none.cancel) is False
        assert say(kit, awaited, none.delete) is False
        assert say(kit, awaited, kit.get, "none") is None
        with pytest.raises(JobNotFound):
            say(kit, awaited, none.result, timeout=0.01)


@each_side
@each_way
@pytest.mark.parametrize("verb", ["cancel", "reschedule", "replace", "delete", "promote"])
def test_a_verb_reaches_the_job_at_every_step_where_it_is_on_a_line(
    worlds: Worlds, url: str, awaited: bool, verb: str
) -> None:
    kit, move = worlds.kit(url), worlds.move()
    names = iter(f"x{n}" for n in range(100))
    for phase in phases(move):
        if phase in ("out", "in both") or unmoved(url, phase):
            continue
        name = next(names)
        made = worlds.kit().queue("q").enqueue("t", id=name, delay=3600)
        assert made.created, phase
        handle = kit.job(name, queue="q")
        args: dict[str, Any] = {"reschedule": {"priority": 3}}.get(verb, {})
        given = ({"n": 2},) if verb == "replace" else ()
        assert say(kit, awaited, getattr(handle, verb), *given, **args) is True, (phase, verb)
        job = handle.get()
        if verb == "delete":
            assert job is None
            continue
        assert job is not None
        assert {"cancel": job.state == "cancelled", "reschedule": job.priority == 3, "replace": job.payload == {"n": 2},
                "promote": job.state == "waiting"}[verb]  # fmt: skip


@each_side
@each_way
def test_a_verb_waits_for_a_job_that_is_on_its_way(
    worlds: Worlds, at_each_pause: Turns, url: str, awaited: bool
) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    move = worlds.move().begin()
    parcels = move.out()
    steps = [lambda: None, lambda: move.bring(parcels), lambda: move.forget(parcels)]
    at_each_pause.append(lambda: steps.pop(0)() if steps else None)
    kit = worlds.kit(url)
    assert say(kit, awaited, kit.job("q/x").cancel, "no more") is True
    assert steps == [] or len(steps) == 1, "once it is over, or in both: the copy that counts is the target's"
    record = direct(worlds.store("blue").get("q", ["x"]))[0]
    assert record is not None
    assert (record.state, record.reason) == ("cancelled", "no more")


@each_side
def test_a_job_that_stays_on_its_way_is_told_and_nothing_was_done(worlds: Worlds, url: str) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    worlds.move().begin().out()
    kit = worlds.kit(url, timeout=50)
    with pytest.raises(Moved, match="job q/x is on its way between two stores: nothing was done, try again"):
        kit.job("q/x").cancel()


@each_side
@each_way
def test_a_result_is_read_where_the_job_ended(worlds: Worlds, url: str, awaited: bool) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    worlds.kit().queue("q").enqueue("t", id="y").cancel("no")
    store = worlds.store("red")
    (claim,) = direct(store.exchange("q", Op("w", 1), [], Ask(want=1))).claims
    move = worlds.move().begin().hold().open()
    kit = worlds.kit(url)
    handle: JobHandle[Any] = kit.job("q/x")
    with pytest.raises(ResultTimeout, match="is active"):
        say(kit, awaited, handle.result, timeout=0)
    direct(store.exchange("q", Op("w", 2), [Outcome("x", claim.token or "", Kind.COMPLETED, b"j5")], Ask()))
    if url == "red://":
        assert say(kit, awaited, handle.result) == 5
    while move.carry():
        continue
    move.gone().end()
    assert say(kit, awaited, handle.result) == 5
    with pytest.raises(JobCancelled):
        say(kit, awaited, kit.job("q/y").result)


@each_way
def test_a_wait_that_began_here_ends_in_time_in_the_other_store(
    worlds: Worlds, awaited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    worlds.move().through()
    kit = worlds.kit()
    real, waits = ModelStore.watch, list[int]()

    async def watch(self: ModelStore, queue: str, id: str, timeout: int) -> Any:
        waits.append(timeout)
        return await real(self, queue, id, timeout)

    monkeypatch.setattr(ModelStore, "watch", watch)
    with pytest.raises(ResultTimeout):
        say(kit, awaited, kit.job("q/x").result, timeout=0.05)
    assert len(waits) >= 2
    assert max(waits) <= 50, "no wait is longer than what is left"
    assert worlds.store("blue").peek("q").awaited == {"x"}


@pytest.mark.parametrize(("url", "variable"), [("red://", "QUEUEKIT_TO_URL"), ("blue://", "QUEUEKIT_FROM_URL")])
def test_who_cannot_ask_the_other_store_does_not_say_that_there_is_no_job(
    worlds: Worlds, url: str, variable: str
) -> None:
    worlds.kit().queue("q").enqueue("t", id="x")
    move = worlds.move().begin()
    if url == "red://":
        move.carry()
    kit = worlds.kit(url, to_url=None, from_url=None)
    for verb in (kit.job("q/x").get, kit.job("q/x").status, kit.job("q/x").cancel, kit.job("x").get):
        with pytest.raises(Moved, match=f"Set {variable} to its URL") as caught:
            verb()
        assert isinstance(caught.value, Arriving) == (url == "blue://")


def test_jobs_of_other_queues_cost_no_more_than_before(worlds: Worlds) -> None:
    worlds.move().through()
    kit = worlds.kit()
    handle = kit.queue("other").enqueue("t")
    store: Any = kit.blocking_store()
    asked: list[str] = []

    def counted(name: str) -> None:
        real = getattr(store, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            asked.append(name)
            return await real(*args, **kwargs)

        setattr(store, name, call)

    for name in ("get", "conf", "change", "watch", "locate", "enqueue"):
        counted(name)
    assert handle.get() is not None
    assert handle.cancel() is True
    kit.queue("other").enqueue("t")
    assert asked == ["get", "change", "enqueue"]
    assert worlds.opened == ["red"]


def test_a_bare_id_that_nobody_knows_asks_for_the_other_stores_once_in_a_while(worlds: Worlds) -> None:
    for n in range(5):
        worlds.move(f"q{n}").through()
    kit = worlds.kit()
    store: Any = kit.blocking_store()
    real, asked = store.conf, []

    async def conf(queue: str) -> Any:
        asked.append(queue)
        return await real(queue)

    store.conf = conf
    for _ in range(3):
        assert kit.get("none") is None
    assert sorted(asked) == [f"q{n}" for n in range(5)]


@pytest.mark.parametrize("phase", ["moving", "open", "gone", "end"])
@each_side
def test_a_pause_goes_where_the_queue_goes(worlds: Worlds, url: str, phase: str) -> None:
    move = worlds.move().begin()
    for name, step in (("open", move.open), ("gone", move.gone), ("end", move.end)):
        if phase != "moving" and ["open", "gone", "end"].index(name) <= ["open", "gone", "end"].index(phase):
            step()
    kit = worlds.kit(url)
    kit.queue("q").pause("night")
    assert direct(worlds.store("blue").conf("q")).effective.paused == "night"
    assert direct(worlds.store("red").conf("q")).effective.paused is None
    kit.queue("q").resume()
    assert direct(worlds.store("blue").conf("q")).effective.paused is None


def test_a_pause_between_two_stores_that_both_say_moved_is_told(worlds: Worlds) -> None:
    move = worlds.move().begin()
    move.say(move.target, Home.MOVING, "red")
    with pytest.raises(Moved, match="nothing was changed, try again"):
        worlds.kit().queue("q").pause()
