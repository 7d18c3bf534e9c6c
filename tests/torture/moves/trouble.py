"""What else happens in the middle of a move: servers that die, a replica that missed the tail, workers that are gone.

Each is a script for `kill.play`. The mover stands still at one of its calls while the director acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from queuekit import Moved, QueueKit, Settings, StoreUnavailable, Unique
from queuekit.move.values import MovingStore
from queuekit.store.registry import StoreOptions, backend
from queuekit.testing.servers import HOST, RedisServer, Server
from tests.torture.moves.ground import RealGround
from tests.torture.moves.judge import SOURCE, TARGET
from tests.torture.moves.kill import Ground, Lived, Script
from tests.torture.moves.load import WORKERS, Load
from tests.torture.moves.sites import Aim, Site
from tests.torture.moves.stage import SEEDED
from tests.torture.wire import Wire


@contextlib.asynccontextmanager
async def standing_still(ground: RealGround, queue: str, mode: str, aim: Aim) -> AsyncIterator[asyncio.Task[Lived]]:
    """A mover that waits at `aim` while the block runs, and goes on behind it."""
    with tempfile.TemporaryDirectory(prefix="queuekit-halt-") as name:
        halt = Path(name)
        mover = asyncio.create_task(ground.move(queue, mode, aim, halt))
        while not (halt / "here").exists():
            if mover.done():
                raise AssertionError(f"it never came to {aim}: {mover.result()}")
            await asyncio.sleep(0.005)
        yield mover
        (halt / "go").touch()
        await mover


def server_dies(ground: RealGround, server: Server, aim: Aim, *, away: float = 0.3) -> Script:
    """`kill -9` while the mover has asked and not yet been answered, as far as it knows; back on its data soon."""

    async def script(load: Load) -> list[Lived]:
        async with standing_still(ground, load.queue, "start", aim) as mover:
            server.kill9()

            async def back() -> None:
                await asyncio.sleep(away)
                await asyncio.to_thread(server.restart)

            returning = asyncio.create_task(back())
        await returning
        lives = [mover.result()]
        if not lives[-1].agreed:
            lives.append(await ground.move(load.queue, "resume", None))
        return lives

    return script


def worker_dies(ground: Ground, *, lease: int = 1000) -> Script:
    """A worker of the source has begun what it never ends, and nobody renews it; it is dead before the tail."""

    async def script(load: Load) -> list[Lived]:
        name = "mortal"
        load.keepers.add(name)
        load.leases[name] = lease
        mortal = asyncio.create_task(load.work(SOURCE, name, slots=2))
        while not load.held.get(name):  # noqa: ASYNC110  it is told nowhere else
            await asyncio.sleep(0.005)
        load.crashes.add(name)
        await mortal
        return [await ground.move(load.queue, "start", None)]

    return script


def contended(ground: Ground, times: int, done: list[int]) -> Script:
    """The same id and the same key are asked for at both sides at once, all the time."""

    async def script(load: Load) -> list[Lived]:
        contest = asyncio.create_task(load.contend(times))
        lives = [await ground.move(load.queue, "start", None)]
        load.quiet.set()
        done.append(await contest)
        return lives

    return script


def kits_contend(ground: RealGround, times: int, done: list[int]) -> Script:
    """As `contended`, by two kits, each of which knows the other store from its settings only."""

    async def script(load: Load) -> list[Lived]:
        source, target = ground.urls[SOURCE], ground.urls[TARGET]
        kits = {
            SOURCE: _kit("contest-source", source, namespace=ground.namespace, to_url=target),
            TARGET: _kit("contest-target", target, namespace=ground.namespace, from_url=source),
        }
        contest = asyncio.create_task(_contest(load, kits, times))
        lives = [await ground.move(load.queue, "start", None)]
        load.quiet.set()
        done.append(await contest)
        for kit in kits.values():
            await kit.aclose()
        return lives

    return script


def _kit(name: str, url: str, *, namespace: str, to_url: str | None = None, from_url: str | None = None) -> QueueKit:
    settings = Settings(url=url, chosen_by="QUEUEKIT_URL", namespace=namespace, to_url=to_url, from_url=from_url)
    return QueueKit(name=name, settings=settings)


async def _contest(load: Load, kits: dict[str, QueueKit], times: int) -> int:
    await load.begun_there()
    for n in range(times):
        if load.quiet.is_set():
            return n
        await asyncio.gather(
            *(_ask(load, side, kit, f"cx{n}", None) for side, kit in kits.items()),
            *(_ask(load, side, kit, f"c{side}{n}", f"c{n}") for side, kit in kits.items()),
        )
    return times


async def _ask(load: Load, side: str, kit: QueueKit, job: str, key: str | None) -> None:
    line = load.line(side, job, key)
    while line.answered is None:
        with contextlib.suppress(Moved, StoreUnavailable):  # no mover for longer than a call may last
            made = kit.queue(load.queue).make("t", {"job": job}, id=job, priority=5)
            if key is not None:
                unique = Unique(key=key, until=3600.0)
                made = kit.queue(load.queue).make("t", {"job": job}, id=job, priority=5, unique=unique)
            (handle,) = await kit.aenqueue_many([made])
            line.receipt, line.created = handle.id, bool(handle.created)
            line.answered = load.moment()


class Replicated:
    """A Redis with one replica, whose link can be cut, and which can take over."""

    def __init__(self) -> None:
        self.primary = RedisServer(options={"appendonly": "yes"})

    def __enter__(self) -> Replicated:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.primary)
            self.link = stack.enter_context(Wire(self.primary.port))
            port = self.link.url(f":{self.primary.port}")[1:]
            options = {"appendonly": "yes", "replicaof": f"{HOST} {port}", "repl-diskless-sync-delay": "0"}
            self.replica = stack.enter_context(RedisServer(options=options))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    async def in_step(self) -> None:
        """Until the replica has what the primary has."""
        import redis.asyncio as driver

        async with driver.from_url(self.primary.url) as client:
            while not await client.wait(1, 1000):
                pass

    async def fail_over(self) -> None:
        """The primary is gone for good; the replica knows only what came over the link."""
        import redis.asyncio as driver

        self.primary.kill9()
        async with driver.from_url(self.replica.url) as client:
            await client.replicaof("NO", "ONE")


def fails_over(ground: RealGround, redis: Replicated, cut: Aim, stop: Aim, *, works_between: bool) -> Script:
    """The replica misses everything behind `cut`; the mover dies at `stop`, then the primary does.

    Clients of the source rest meanwhile, so that only the mover's doing is lost; `works_between`: before the move is
    taken up again they work at the new primary, which may know of no move.
    """

    async def script(load: Load) -> list[Lived]:
        lives = [await ground.move(load.queue, "start", cut)]
        assert lives[0].killed, f"it never came to {cut}: {lives[0].said}"
        await load.rest(SOURCE)
        waited = {f"w{n}" for n in range(SEEDED)} - _ran(
            load, SOURCE
        )  # jobs that the replica will have, as will the target
        await redis.in_step()
        redis.link.cut()
        lives.append(await ground.move(load.queue, "resume", stop))
        assert lives[1].killed, f"it never came to {stop}: {lives[1].said}"
        opened = stop.site.step != "confirm"
        while opened and len(_ran(load, TARGET) & waited) < 5:  # noqa: ASYNC110  it is open, so they come
            await asyncio.sleep(0.01)
        await redis.fail_over()
        load.failed_over = ground.tick()
        store = backend(redis.replica.url).asynchronous(redis.replica.url, StoreOptions(namespace=ground.namespace))
        await store.open()
        await ground.replace(SOURCE, redis.replica.url, cast("MovingStore", store))
        load.go_on(SOURCE, WORKERS)  # what a producer is told now, at a source that knows of no move, nobody can keep
        there = _ran(load, TARGET) & waited if opened else waited
        while works_between and not _ran(load, SOURCE, load.failed_over) & there:  # noqa: ASYNC110  they work, so it comes
            await asyncio.sleep(0.01)
        lives.append(await ground.move(load.queue, "resume", None))
        load.go_on(SOURCE)
        assert lives[-1].ended, lives[-1].said
        return lives

    return script


def at(side: str, step: str, nth: int = 1, *, after: bool = True) -> Aim:
    """An aim at the nth call of a verb, whoever makes it."""
    return Aim(Site(side, step, nth=nth), after)


def _ran(load: Load, side: str, since: int = 0) -> set[str]:
    """The jobs that a side has given out."""
    return {run.job for run in load.history.runs if run.side == side and run.given > since}


STEPS = (
    at(TARGET, "authority.arriving.to"), at(SOURCE, "authority.moving.to"), at(SOURCE, "checkout"),
    at(TARGET, "import_batch", 2), at(SOURCE, "confirm"), at(TARGET, "authority.here.to"),
    at(SOURCE, "checkout.history"), at(SOURCE, "authority.gone.to"), at(TARGET, "authority.here"),
)  # fmt: skip
