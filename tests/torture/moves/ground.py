"""Where moves are tortured: two model stores and a mover in this process, or two real ones and mover processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import multiprocessing
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from queuekit import ids
from queuekit.move.values import MovingStore
from queuekit.settings import side_names
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions, backend
from queuekit.testing.faults import Faults, faulty_store
from queuekit.testing.model import ModelStore, ModelWorld
from queuekit.testing.servers import MongoServer, RedisServer, Server
from tests.torture.moves.judge import SOURCE, TARGET
from tests.torture.moves.kill import Lived
from tests.torture.moves.mover import MoverJob, drive, run
from tests.torture.moves.sites import Aim, Killed, Site, Watch, drop, watched
from tests.torture.records import now

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.torture.moves.mover"])
STORES = ("redis", "mongo", "sqlite")
PAIRS = tuple(f"{one}-{other}" for one, other in itertools.permutations(STORES, 2))
LATE = 1_000_000  # µs for which MongoDB's clients trust what they read of a queue (docs/decisions/084)
SKEW = 250_000  # µs: MongoDB's declared 100 ms of places, and what it takes to see a new job


class ModelGround:
    """Everything in this process; a mover that dies raises, and none of its calls reaches a store again."""

    name = "model-model"
    exact = True
    skew = late = 0

    def __init__(self, faults: Faults | None = None) -> None:
        self._faults = faults
        self._worlds = {side: ModelWorld() for side in (SOURCE, TARGET)}
        self.stores = {side: cast("MovingStore", ModelStore(world)) for side, world in self._worlds.items()}
        self.tick = itertools.count(1).__next__

    async def move(self, queue: str, mode: str, aim: Aim | None) -> Lived:
        watch = Watch(aim, drop)
        stores = {side: watched(self._below(world), side, watch) for side, world in self._worlds.items()}
        try:
            ended = await drive(stores, queue, mode, names={side: side for side in stores})
        except Killed:
            return Lived(killed=True, sites=watch.sites())
        return Lived(
            killed=False, ended=True, agreed=ended.agreed, sites=watch.sites(),
            doubled=frozenset(ended.doubled), said=ended.said,
        )  # fmt: skip

    def _below(self, world: ModelWorld) -> JobStore:
        store = ModelStore(world)
        return store if self._faults is None else faulty_store(store, self._faults)


class RealGround:
    """Two real stores; each mover is a process of its own, which dies by SIGKILL."""

    def __init__(self, name: str, urls: dict[str, str], folder: Path, namespace: str) -> None:
        self.name = name
        self.urls = urls
        self.stores: dict[str, MovingStore] = {}
        self.exact = "mongo" not in name
        self.skew = 0 if self.exact else SKEW
        self.late = LATE if name.startswith("mongo") else 0
        self.tick = now
        self.namespace = namespace
        self.names = dict(zip((SOURCE, TARGET), side_names(urls[SOURCE], urls[TARGET]), strict=True))
        self.servers: dict[str, Server] = {}  # by side
        self.rate: int | None = None  # jobs a second, at most
        self._folder = folder
        self._lives = 0

    async def open(self) -> None:
        """Connect the load's stores."""
        for side, url in self.urls.items():
            store = backend(url).asynchronous(url, StoreOptions(namespace=self.namespace))
            await store.open()
            self.stores[side] = cast("MovingStore", store)

    async def replace(self, side: str, url: str, store: MovingStore) -> None:
        """From now on a side is somewhere else."""
        before, self.stores[side], self.urls[side] = self.stores[side], store, url
        await before.close()

    async def close(self) -> None:
        """Hang up."""
        for store in self.stores.values():
            await store.close()

    async def move(self, queue: str, mode: str, aim: Aim | None, halt: Path | None = None) -> Lived:
        """With `halt` the mover waits at its aim, until that folder holds `go`; it makes `here` when it waits."""
        self._lives += 1
        report = self._folder / f"mover{self._lives}.json"
        job = MoverJob(
            urls=self.urls, names=self.names, namespace=self.namespace, queue=queue, mode=mode, aim=aim, report=report,
            log=self._folder / f"mover{self._lives}.err", halt=halt, rate=self.rate,
        )  # fmt: skip
        process = _context.Process(target=run, args=(job,))
        try:
            await asyncio.to_thread(process.start)
            await asyncio.to_thread(process.join)
        finally:
            if process.is_alive():
                process.kill()
        if process.exitcode == -signal.SIGKILL or report.with_suffix(".killed").exists():
            return Lived(killed=True)
        told = job.log.read_text()[-2000:] if job.log.exists() else "it did not begin"
        said = json.loads(report.read_text()) if report.exists() else {}
        return Lived(
            killed=False, ended="agreed" in said, agreed=bool(said.get("agreed")),
            sites={Site(**one) for one in said.get("sites", [])},
            doubled=frozenset(said.get("doubled", ())), said=f"{said.get('said')} exit {process.exitcode} {told}",
        )  # fmt: skip


@contextlib.asynccontextmanager
async def grounds(names: list[str]) -> AsyncIterator[dict[str, RealGround]]:
    """Servers for these pairs, each started once, and a ground for each pair."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queuekit-moves-")))
        kinds = {kind for name in names for kind in name.split("-")}
        servers: dict[str, Server] = {}
        if "redis" in kinds:
            servers["redis"] = stack.enter_context(RedisServer(options={"appendonly": "yes"}))
        if "mongo" in kinds:
            servers["mongo"] = stack.enter_context(MongoServer())
        made: dict[str, RealGround] = {}
        async with contextlib.AsyncExitStack() as later:
            for name in names:
                there = folder / name
                there.mkdir()
                sides = dict(zip((SOURCE, TARGET), name.split("-"), strict=True))
                urls = {side: _url(kind, side, servers, there) for side, kind in sides.items()}
                made[name] = RealGround(name, urls, there, f"moves{ids.nonce()[:6]}")
                made[name].servers = {side: servers[kind] for side, kind in sides.items() if kind in servers}
                await made[name].open()
                later.push_async_callback(made[name].close)
            yield made


def _url(kind: str, side: str, servers: dict[str, Server], folder: Path) -> str:
    """The two sides are in databases of their own, even on one server."""
    if kind not in servers:
        return f"sqlite:///{folder}/{side}.db"
    number = int(side == TARGET)
    if kind == "redis":
        return f"{servers[kind].url.removesuffix('/0')}/{number}"
    return servers[kind].url.replace("/queuekit?", f"/moves{number}?")
