"""A mover process: two stores, each call watched, and the engine of `queuekit/move` over them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from queuekit.move import abort, move, resume
from queuekit.move.values import MovingStore, Options, Side
from queuekit.store.registry import StoreOptions, backend
from tests.torture.moves.judge import SOURCE, TARGET
from tests.torture.moves.sites import Aim, Watch, sigkill, watched

for _driver in ("queuekit_redis.backend", "queuekit_mongo.backend", "queuekit.embedded"):
    __import__(_driver)  # once, in the fork server: a mover costs a fork and not an interpreter's start

BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MoverJob:
    """What a mover process is told."""

    urls: dict[str, str]
    names: dict[str, str]
    namespace: str
    queue: str
    mode: str
    aim: Aim | None
    report: Path
    log: Path
    rate: int | None = None
    halt: Path | None = None  # wait at the aim instead of dying there


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a mover that was not killed told."""

    agreed: bool  # exit code 0: both sides agree
    doubled: list[str]  # jobs that both sides may have run
    said: str


def run(job: MoverJob) -> None:
    """The process: it ends by itself with a report, or is killed at its aim."""
    out = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    asyncio.run(_run(job))


async def _run(job: MoverJob) -> None:
    watch = Watch(job.aim, lambda: _die(job.report)) if job.halt is None else Watch(job.aim, lambda: _wait(job.halt))
    stores: dict[str, MovingStore] = {}
    for side, url in job.urls.items():
        store = backend(url).asynchronous(url, StoreOptions(namespace=job.namespace))
        await store.open()
        stores[side] = watched(store, side, watch)
    ended = await drive(stores, job.queue, job.mode, rate=job.rate, names=job.names)
    job.report.write_text(json.dumps(asdict(ended) | {"sites": [asdict(site) for site in sorted(watch.sites())]}))
    for store in stores.values():
        await store.close()


def _die(report: Path) -> None:
    """Leave word, since two threads that ask for one exit code can both miss it; then be killed."""
    report.with_suffix(".killed").touch()
    sigkill()


def _wait(folder: Path | None) -> None:
    """Stand still in the middle of a move, until the director has done what it wants."""
    assert folder is not None
    (folder / "here").touch()
    while not (folder / "go").exists():
        time.sleep(0.005)


async def drive(
    stores: dict[str, MovingStore], queue: str, mode: str, *, names: dict[str, str], rate: int | None = None
) -> Ended:
    """One life of the engine."""
    act = {"start": move, "resume": resume, "abort": abort}[mode]
    source, target = (Side(store=stores[side], name=names[side]) for side in (SOURCE, TARGET))
    report = await act(source, target, [queue], options=Options(batch=BATCH, rate=rate, patience=30.0))
    return Ended(
        agreed=report.agrees,
        doubled=sorted(job for one in report.queues for job in one.ran_on_both),
        said=repr(report),
    )
