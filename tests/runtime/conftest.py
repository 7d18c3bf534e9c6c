"""Kits on fresh namespaces for worker tests: on SQLite, and on every store where a test asks for `each_store`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit, ids
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


@asynccontextmanager
async def working(kit: QueueKit, **options: Any) -> AsyncIterator[Worker]:
    """A worker on this loop, stopped at the end within a short grace."""
    worker = Worker(kit, **{"concurrency": 4, "grace": 5, **options})
    async with worker:
        yield worker
