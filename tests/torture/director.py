"""Starts the processes of a run, kills them and their store, waits until all work has ended, and collects what is left.

Every process is ended by its own id. Children come from a fork server that has imported everything and opened nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from queuekit import State, ids
from queuekit.domain.job import JobRecord
from queuekit.domain.query import Where
from queuekit.errors import StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.testing.servers import MongoServer, RedisServer, Server
from tests.torture.history import Final, History, Promises, Run
from tests.torture.program import QUEUE, Setting, make_kit, produce, work
from tests.torture.records import now, read

PATIENCE = 120.0  # seconds until a run must have come to rest
WORTH = 5  # ends of jobs that make a worker worth killing
_PAGE = 500
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.torture.program"])


@contextlib.contextmanager
def serving(store: str, folder: Path) -> Iterator[tuple[str, Server | None]]:
    """The URL of a fresh store that survives kills, and its server where it has one."""
    if store == "sqlite":
        yield f"sqlite:///{folder}/jobs.db", None
        return
    options = {"appendonly": "yes", "appendfsync": "everysec"}
    server: Server = RedisServer(options=options) if store == "redis" else MongoServer()
    with server:
        yield server.url, server


@contextlib.contextmanager
def staging(store: str, **said: object) -> Iterator[Director]:
    """A director over a fresh store and folder; whatever it started is ended with it."""
    folder = Path(tempfile.mkdtemp(prefix="queuekit-torture-"))
    try:
        with serving(store, folder) as (url, server):
            setting = Setting(url=url, namespace=f"t{ids.nonce()[:8]}", folder=folder)
            director = Director(replace(setting, **said), server)  # type: ignore[arg-type]  # fields of Setting
            try:
                yield director
            finally:
                director.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Director:
    """One run. Its own acts are told from here: who was killed when."""

    def __init__(self, setting: Setting, server: Server | None) -> None:
        self.setting = setting
        self.server = server
        self.killed: dict[str, int] = {}
        self.server_kills = 0
        self.outages: list[float] = []  # seconds
        self.live: dict[str, ForkServerProcess] = {}
        self._kit = make_kit(setting)
        self._names = 0

    # ------------------------------------------------------------ processes
    def start_worker(self, **said: object) -> str:
        """A new worker process; its name is never used again."""
        self._names += 1
        name = f"w{self._names}"
        self._start(name, work, replace(self.setting, **said), name)  # type: ignore[arg-type]  # fields of Setting
        return name

    def start_workers(self, n: int, **said: object) -> list[str]:
        """Some workers that have told the store of themselves."""
        names = [self.start_worker(**said) for _ in range(n)]
        pids = {self.live[name].pid for name in names}
        self.wait("workers began", lambda: {beat.pid for beat in direct(self.store.workers())} >= pids)
        return names

    def start_producer(self, name: str, jobs: int, seconds: float, seed: int) -> None:
        """A producer; after a kill, under the same name."""
        self._start(name, produce, self.setting, name, jobs, seconds, seed)

    def start_claimant(self, target: Callable[..., None], *args: object) -> str:
        """A process that does one thing, at the moment it is told."""
        self._names += 1
        name = f"u{self._names}"
        self._start(name, target, self.setting, name, *args)
        return name

    def _start(self, name: str, target: Callable[..., None], *args: object) -> None:
        process = _context.Process(target=target, args=args, name=name)
        process.start()
        self.live[name] = process

    def kill(self, *names: str) -> None:
        """SIGKILL to all of them at once; it returns when they are dead."""
        processes = [(name, self.live.pop(name)) for name in names]
        for _, process in processes:
            process.kill()
        for name, process in processes:
            process.join()
            if process.exitcode == -signal.SIGKILL:
                self.killed[name] = now()

    def signal(self, name: str, number: int) -> None:
        """Send any signal to one."""
        pid = self.live[name].pid
        assert pid is not None
        os.kill(pid, number)

    def join(self, name: str, seconds: float = PATIENCE) -> int | None:
        """Wait for one to end by itself: its exit code."""
        process = self.live[name]
        process.join(seconds)
        if process.exitcode is not None:
            del self.live[name]
        return process.exitcode

    def stop(self) -> dict[str, int | None]:
        """TERM to all; exit codes by name."""
        for name in self.live:
            self.signal(name, signal.SIGTERM)
        return {name: self.join(name) for name in list(self.live)}

    def close(self) -> None:
        """End what is left, whatever state it is in."""
        for process in self.live.values():
            process.kill()
            process.join()
        self.live.clear()
        self._kit.close()

    # ------------------------------------------------------------ the store
    def kill_server(self, away: float = 0.0) -> None:
        """SIGKILL the server, and start it again on its data and port after so many seconds."""
        assert self.server is not None
        begun = time.monotonic()
        self.server.kill9()
        self.server_kills += 1
        time.sleep(away)
        self.server.restart()
        self.outages.append(time.monotonic() - begun)

    # ------------------------------------------------------------ jobs
    def enqueue(self, task: str, ids: Sequence[str], payload: object, **options: Any) -> None:
        """Keep jobs of these ids, told to nobody's history."""
        queue = self._kit.queue(QUEUE)
        self._kit.enqueue_many([queue.make(task, payload, id=job, **options) for job in ids])

    def job(self, id: str) -> JobRecord:
        """One job as it is."""
        (record,) = direct(self._kit.blocking_store().get(QUEUE, [id]))
        assert record is not None, f"no job {id}"
        return record

    @property
    def store(self) -> JobStore:
        """The director's own, blocking."""
        return self._kit.blocking_store()

    def runs(self) -> list[Run]:
        """What handlers wrote down so far."""
        return read(self.setting.folder).runs

    def has_worked(self, name: str) -> bool:
        """Whether a worker has ended some jobs: a machine too busy to start workers must not stand still for ever."""
        log = self.setting.folder / f"{name}.log"
        return log.exists() and log.read_bytes().count(b" accepted ") >= WORTH

    def started(self, n: int, *, claims: int = 1) -> Callable[[], bool]:
        """Whether so many runs of such a claim began."""
        return lambda: sum(run.claims == claims for run in self.runs()) >= n

    # ------------------------------------------------------------ looking
    def wait(self, what: str, look: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Until `look` says so; other processes tell by files and stores, which nothing can wait for."""
        deadline = time.monotonic() + seconds
        while not look():
            if time.monotonic() > deadline:
                raise AssertionError(f"never: {what}\n{self.errors()}")
            time.sleep(0.05)

    def counts(self) -> dict[str, int]:
        """Jobs by state, those that are none left out."""
        try:
            states = direct(self._kit.blocking_store().count(QUEUE)).states
        except StoreUnavailable:
            return {}
        return {str(state.value): n for state, n in states.items() if n}

    def at_rest(self) -> bool:
        """Whether nothing waits or runs: asked twice, since MongoDB counts state by state, and a job may step aside."""
        counts = self.counts()
        return bool(counts) and not {"waiting", "delayed", "active"} & set(counts) and counts == self.counts()

    def history(self) -> History:
        """Everything: what was written down, and what the store holds."""
        history = read(self.setting.folder)
        history.killed, history.server_kills = dict(self.killed), self.server_kills
        store = self._kit.blocking_store()
        for state in State:
            where = Where(state=state, limit=_PAGE)
            while True:
                found = direct(store.find(QUEUE, where))
                for record in found.records:
                    final = Final(job=record.id, state=str(record.state.value), reason=record.reason)
                    final.crashes, final.claims = record.crashes, record.claims
                    history.final.append(final)
                if found.cursor is None:
                    break
                where = replace(where, cursor=found.cursor)
        count = direct(store.count(QUEUE))
        history.counts = {str(state.value): n for state, n in count.states.items() if n}
        history.totals = {name: getattr(count.totals, name) for name in ("enqueued", "completed")}
        return history

    def promises(self, *, kills: int, server_kills: int) -> Promises:
        """What this store declares."""
        capabilities = self._kit.blocking_store().capabilities
        exact = capabilities.order_skew == 0
        return Promises(
            skew=capabilities.order_skew, late=0 if exact else 250, one_step=exact, exact_totals=exact, kills=kills,
            server_kills=server_kills if self.server is not None else 0,
        )  # fmt: skip

    def server_version(self) -> str:
        """Of the store's server, or of the library that is one."""
        return direct(self._kit.blocking_store().ping()).server

    def errors(self) -> str:
        """What the processes logged, the ends of it."""
        parts = [f"--- {path.stem}\n{path.read_text()[-1500:]}" for path in sorted(self.setting.folder.glob("*.err"))]
        return "\n".join(parts[-8:])


class Havoc:
    """Kills while the work goes on: a worker each `every` seconds, now and then a producer, and the server."""

    def __init__(self, director: Director, rng: random.Random, *, every: float = 0.2, producer_each: int = 10) -> None:
        self._director = director
        self._rng = rng
        self._every = every
        self._producer_each = producer_each
        self._restarts: list[threading.Thread] = []
        self.kills = 0
        self.producer_kills = 0

    def round(self, producer: Callable[[str], None]) -> None:
        """Kill a worker that has worked, start another; each tenth time a producer too, started again by `producer`."""
        director = self._director
        time.sleep(self._every)
        workers = [name for name in director.live if name.startswith("w")]
        if self._rng.random() > 0.1:  # now and then one that has only begun; else the work would stand still
            workers = [name for name in workers if director.has_worked(name)]
        if not workers:
            return
        director.kill(self._rng.choice(workers))
        director.start_worker()
        self.kills += 1
        producers = [name for name in director.live if name.startswith("p")]
        if self.kills % self._producer_each == 0 and producers:
            victim = self._rng.choice(producers)
            director.kill(victim)
            producer(victim)
            self.producer_kills += 1

    def strike(self, away: float = 0.0) -> None:
        """Kill the server meanwhile; where there is none, all workers at once."""
        director = self._director
        if director.server is None:
            workers = [name for name in director.live if name.startswith("w")]
            director.kill(*workers)
            for _ in workers:
                director.start_worker()
            self.kills += len(workers)
            return
        self.settle()
        thread = threading.Thread(target=director.kill_server, args=(away,))
        thread.start()
        self._restarts.append(thread)

    def settle(self) -> None:
        """Until the server is back."""
        for thread in self._restarts:
            thread.join()
        self._restarts.clear()
