"""Kits on fresh namespaces for worker tests: on SQLite, and on every store where a test asks for `each_store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, clock, ids
from queuekit.runtime import lease_keeper, source
from queuekit.runtime.listener import Listener
from queuekit.runtime.worker import Worker

STORES = ("sqlite", "redis", "mongo")
each_store = pytest.mark.parametrize("store_kind", STORES)
WAIT = 20  # seconds a test waits for what must come


@pytest.fixture
def store_kind() -> str:
    """Which store a test runs on; `each_store` gives it every one."""
    return "sqlite"


@pytest.fixture
def store_url(store_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store of that kind."""
    if store_kind == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    url: str = request.getfixturevalue(f"{store_kind}_url")
    return url


@pytest.fixture
async def new_kit(store_url: str) -> AsyncIterator[Callable[..., QueueKit]]:
    """Makes kits that share one store and one fresh namespace, and closes them."""
    namespace = f"t{ids.nonce()[:12]}"
    made: list[QueueKit] = []

    def make(**options: Any) -> QueueKit:
        kit = QueueKit(store_url, name=f"test-{ids.nonce()[:8]}", namespace=namespace, **options)
        made.append(kit)
        return kit

    yield make
    for kit in made:
        await kit.aclose()
        kit.close()


@pytest.fixture
def kit(new_kit: Callable[..., QueueKit]) -> QueueKit:
    """One kit."""
    return new_kit()


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed every moment, however long they are: a test need not wait for one, nor shorten it.

    A lease that is as short as a test can wait for ends by itself wherever the machine is held up.
    """
    monkeypatch.setattr(lease_keeper, "LONGEST", 0.1)
    monkeypatch.setattr(lease_keeper, "_TICK", 0.05)


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No queue is looked at for having gone unasked: what comes late by a poll otherwise does not come at all."""
    monkeypatch.setattr(source, "POLL", 3600.0)
    monkeypatch.setattr(Listener, "_poll", lambda self, seconds: None)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the clock by which this process measures its leases; the stores' own clocks stay."""
    gone, plain = [0.0], clock.monotonic
    monkeypatch.setattr(clock, "monotonic", lambda: plain() + sum(gone))
    return gone.append


@asynccontextmanager
async def working(kit: QueueKit, **options: Any) -> AsyncIterator[Worker]:
    """A worker on this loop, stopped at the end within a short grace."""
    worker = Worker(kit, **{"concurrency": 4, "grace": 5, **options})
    async with worker:
        yield worker
