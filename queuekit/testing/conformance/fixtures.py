"""The fixtures the families ask for. A backend's conftest imports them and adds `made`, which gives its `Harness`.

No test lives here, and nothing that knows a store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, cast

import pytest
import pytest_asyncio

from queuekit import clock
from queuekit.store.parts import MovingStore, SchedulingStore
from queuekit.store.protocol import JobStore
from queuekit.testing.conformance.harness import Blocking, Harness, Transaction
from queuekit.testing.conformance.transit import Pair
from queuekit.testing.model import ModelStore, ModelWorld

Open: TypeAlias = Callable[..., Awaitable[JobStore]]

Begin: TypeAlias = Callable[[], Awaitable[Transaction]]

__all__ = ["able", "begin", "contended", "harness", "mover", "open_store", "pair", "port", "scheduling", "store"]


@pytest.fixture(params=["async", "blocking"])
def port(request: pytest.FixtureRequest) -> str:
    """Over which port the test runs."""
    return str(request.param)


@pytest_asyncio.fixture
async def harness(made: Harness) -> AsyncIterator[Harness]:
    """The backend's harness, closed after the test."""
    yield made
    await made.close()


@pytest_asyncio.fixture
async def open_store(harness: Harness, port: str) -> Open:
    """Opens further stores over the same port; takes what `Harness.open_store` takes but for `blocking`."""

    async def opener(*, suffix: str = "", payload_limit: int = 256 * 1024) -> JobStore:
        if port == "blocking":
            return Blocking(await harness.open_store(True, suffix=suffix, payload_limit=payload_limit))
        return await harness.open_store(suffix=suffix, payload_limit=payload_limit)

    return opener


@pytest_asyncio.fixture
async def store(open_store: Open) -> JobStore:
    """An open store."""
    return await open_store()


@pytest.fixture
def contended(harness: Harness) -> None:
    """For tests that use a store from several threads or tasks at once: skips where the harness cannot."""
    if not harness.contended:
        pytest.skip(f"{harness.name} is driven by one thread only")


@pytest.fixture
def able(store: JobStore) -> JobStore:
    """A store with unique keys; others skip by what they declare."""
    if "unique" not in store.capabilities.parts:
        pytest.skip("the store declares no unique keys")
    return store


@pytest.fixture
def mover(store: JobStore) -> MovingStore:
    """A store that queues can move from and to; others skip by what they declare."""
    if "mover" not in store.capabilities.parts:
        pytest.skip("the store declares no moving")
    return cast("MovingStore", store)


@pytest.fixture
def scheduling(store: JobStore) -> SchedulingStore:
    """A store that keeps schedules; others skip by what they declare."""
    if "schedules" not in store.capabilities.parts:
        pytest.skip("the store declares no schedules")
    return cast("SchedulingStore", store)


@pytest_asyncio.fixture(params=["away", "home"])
async def pair(request: pytest.FixtureRequest, harness: Harness, mover: MovingStore) -> Pair:
    """This store and the model: away from this store, and home to it."""
    ahead = [(await mover.count("unused")).now - clock.now_ms()]
    model: MovingStore = ModelStore(ModelWorld(lambda: clock.now_ms() + ahead[0]))
    source, target = (mover, model) if request.param == "away" else (model, mover)
    return Pair(source, target, harness, ahead)


@pytest_asyncio.fixture
async def begin(harness: Harness, store: JobStore, port: str) -> AsyncIterator[Begin]:
    """Begins transactions of the application; those left open are aborted. Skips where the store takes none."""
    if "within" not in store.capabilities.parts:
        pytest.skip("the store declares no writing within a transaction")
    begun: list[Transaction] = []

    async def beginner() -> Transaction:
        begun.append(await harness.begin(port == "blocking"))
        return begun[-1]

    yield beginner
    for transaction in begun:
        await transaction.abort()
