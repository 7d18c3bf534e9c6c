"""Every pair of stores: producers, workers and handles of both, while a queue moves between them for real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from queuekit import JobContext, QueueKit, Settings, State, Unique, ids
from queuekit.domain.outcome import Home
from queuekit.domain.query import Where
from queuekit.runtime.worker import Worker
from queuekit.settings import side_names
from queuekit.store.direct import direct
from tests.runtime.conftest import STORES, WAIT, working
from tests.two_stores import Move

PAIRS = [(source, target) for source in STORES for target in STORES]
each_pair = pytest.mark.parametrize(("source_kind", "target_kind"), PAIRS)


class Pair:
    """Kits of two stores that know each other, and the mover's steps between them."""

    def __init__(self, source: str, target: str) -> None:
        self.namespace = f"t{ids.nonce()[:12]}"
        self.urls = (source, target)
        self.kits: list[QueueKit] = []

    def old(self, **settings: Any) -> QueueKit:
        """A kit of the store the queue leaves."""
        return self._kit(0, settings)

    def new(self, **settings: Any) -> QueueKit:
        """A kit of the store it goes to."""
        return self._kit(1, settings)

    def move(self, queue: str = "default") -> Move:
        """The move, not begun."""
        old, new = (kit().blocking_store() for kit in (self.old, self.new))
        return Move(old, new, queue=queue, names=side_names(*self.urls))

    def _kit(self, side: int, said: dict[str, Any]) -> QueueKit:
        given = {"to_url": self.urls[1], "from_url": self.urls[0], "namespace": self.namespace, **said}
        settings = Settings(url=self.urls[side], chosen_by="QUEUEKIT_URL", **given)
        kit = QueueKit(settings=settings, name=f"pair-{ids.nonce()[:8]}")
        self.kits.append(kit)
        return kit


@pytest.fixture
async def pair(
    source_kind: str, target_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Pair]:
    """Two stores, of the same kind too: two files, or two databases of one server."""

    def url(kind: str, side: int) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/{side}.db"
        parts = urlsplit(request.getfixturevalue(f"{kind}_url"))
        return str(parts._replace(path=f"/{side + 1}" if kind == "redis" else f"/moving{side}").geturl())

    made = Pair(url(source_kind, 0), url(target_kind, 1))
    for kit in (made.old(), made.new()):
        can = kit.blocking_store().capabilities
        if "mover" not in can.parts or can.moves != "live":
            pytest.skip("a live move needs the part mover")
    yield made
    for kit in made.kits:
        await kit.aclose()
        kit.close()


async def until(true: Callable[[], object]) -> None:
    async def look() -> None:
        while not true():  # noqa: ASYNC110  what is waited for rings no bell
            await asyncio.sleep(0.01)

    await asyncio.wait_for(look(), WAIT)


def states(store: Any, state: State) -> set[str]:
    return {record.id for record in direct(store.find("default", Where(state=state))).records}


@each_pair
async def test_nobody_restarts_at_one_moment_and_every_job_runs_once(pair: Pair) -> None:
    """Old and new producers and workers, one job that runs all the time of it; each job runs exactly once."""
    old, new, move = pair.old(), pair.new(), pair.move()
    ran: list[tuple[str, str]] = []
    gate = asyncio.Event()

    def register(kit: QueueKit, name: str) -> None:
        @kit.task("t", queue="default")
        async def t(ctx: JobContext, long: bool = False) -> str:
            if long:
                await gate.wait()
            ran.append((name, ctx.job.id))
            return name

    register(old, "old")
    register(new, "new")
    made: list[Any] = []

    async def produce(kit: QueueKit, name: str, count: int = 6) -> None:
        queue = kit.queue("default")
        for n in range(count):
            job = queue.aenqueue("t", id=f"{name}-{n}") if n % 2 else queue.aenqueue("t")
            made.append(await job)

    async with working(old), working(new):
        made.append(await old.queue("default").aenqueue("t", {"long": True}, id="long"))
        await until(lambda: states(move.source, State.ACTIVE) == {"long"})
        await produce(old, "before")
        move.begin()
        await asyncio.gather(produce(old, "old-moving"), produce(new, "new-moving"))
        while move.carry(5):
            continue
        move.hold().open()
        await asyncio.gather(produce(old, "old-open"), produce(new, "new-open"))
        await until(lambda: len(ran) == len(made) - 1)
        assert await new.job("default/long").astatus() == "active"
        gate.set()
        await until(lambda: not states(move.source, State.ACTIVE))
        while move.carry():
            continue
        move.gone().end()
        await asyncio.gather(produce(old, "old-end"), produce(new, "new-end"))
        results = [await handle.aresult(timeout=WAIT) for handle in made]
    assert sorted(job for _, job in ran) == sorted(handle.id for handle in made)
    assert all(handle.created for handle in made)
    assert results[0] == "old"
    assert results.count("new") >= 36, "all that was enqueued from the move's begin on"
    assert direct(move.source.count("default")).states == dict.fromkeys(State, 0)


@each_pair
async def test_ids_and_keys_on_their_way_are_taken_for_what_they_are(pair: Pair) -> None:
    old, new, move = pair.old(), pair.new(), pair.move()
    queue = old.queue("default")
    await queue.aenqueue("t", {"n": 1}, id="x", delay=3600)
    await queue.aenqueue("t", {"n": 1}, id="keyed", unique="k", delay=3600)
    move.begin()
    for kit in (old, new):
        there = kit.queue("default")
        again = await there.aenqueue("t", {"n": 1}, id="x")
        held = await there.aenqueue("t", unique="k")
        assert [(again.id, again.created), (held.id, held.created)] == [("x", False), ("keyed", False)]
        assert await kit.job("default/x").astatus() == "delayed"
    many = await new.aenqueue_many([new.queue("default").make("t", {"n": 1}, id=name) for name in ("x", "y")])
    assert [handle.created for handle in many] == [False, True]
    replace = asyncio.create_task(
        new.queue("default").aenqueue("t", {"n": 2}, unique=Unique("k", on_conflict="replace"), delay=3600)
    )
    await asyncio.sleep(0)
    while move.carry():
        continue
    assert (await replace).id == "keyed"
    move.open().gone().end()
    assert await old.job("default/x").acancel("late") is True
    found = {name: await new.aget(name, queue="default") for name in ("x", "y", "keyed")}
    assert {name: job.payload for name, job in found.items() if job} == {
        "x": {"n": 1},
        "y": {"n": 1},
        "keyed": {"n": 2},
    }
    assert found["x"] is not None
    assert (found["x"].state, found["x"].reason) == ("cancelled", "late")


@each_pair
async def test_a_move_that_turns_round_leaves_nothing_behind(pair: Pair) -> None:
    old, new, move = pair.old(), pair.new(), pair.move()
    ran: list[str] = []
    opened = asyncio.Event()
    for kit in (old, new):

        @kit.task("t", queue="default")
        async def t(ctx: JobContext) -> None:
            ran.append(ctx.job.id)
            opened.set()

    await old.queue("default").apause("until it turns")
    made = [await old.queue("default").aenqueue("t", id=f"j{n}") for n in range(6)]
    async with working(old):
        move.begin()
        made.append(await old.queue("default").aenqueue("t", id="there"))
        move.carry(3)
        back = move.back()
        back.say(back.source, Home.MOVING, back.target_name)
        back.arrive()
        made.append(await new.queue("default").aenqueue("t", id="back"))
        while back.carry():
            continue
        back.open()
        back.gone()
        back.end()
        await new.queue("default").aresume()  # of the store it left: said where the queue lives
        await until(lambda: len(ran) == len(made))
    assert sorted(ran) == sorted(handle.id for handle in made)
    assert direct(move.target.count("default")).states == dict.fromkeys(State, 0)


@each_pair
async def test_a_burst_and_a_start_on_a_queue_that_is_away(pair: Pair) -> None:
    old, new, move = pair.old(), pair.new(), pair.move()
    for kit in (old, new):
        kit.task("t", queue="default")(_nothing)
        kit._configuration.declare("default", {"max_size": 100})
    await old.queue("default").aenqueue("t")
    await old.queue("default").aenqueue("t", delay=0.001)
    move.begin()
    for kit in (old, new):
        await asyncio.wait_for(Worker(kit, burst=True).arun(), WAIT)
    while move.carry():
        continue
    move.open().gone().end()
    await asyncio.wait_for(Worker(old, burst=True).arun(), WAIT)
    assert len(states(move.target, State.COMPLETED)) == 0
    await asyncio.wait_for(Worker(new, burst=True).arun(), WAIT)
    assert len(states(move.target, State.COMPLETED)) == 2


async def _nothing() -> None:
    return
