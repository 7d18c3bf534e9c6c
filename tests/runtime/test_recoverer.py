"""How often a worker looks for jobs of silent workers: as often as the leases of its queue ask for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from queuekit.domain.outcome import Recovery
from queuekit.runtime.announcer import Announcer
from queuekit.runtime.recoverer import Recoverer, cadence
from queuekit.runtime.source import Source
from queuekit.store.protocol import JobStore


class Told:
    """A store that notes what `recover` was told."""

    def __init__(self, *, calm: bool = False) -> None:
        self.every: list[int] = []
        self.calm = calm

    async def recover(self, queue: str, limit: int, every: int) -> Recovery:
        self.every.append(every)
        return Recovery(now=0, calm=self.calm)


@pytest.mark.parametrize(
    ("lease", "check", "every"),
    [(30_000, 5000, 5000), (2000, 5000, 333), (3_600_000, 300_000, 300_000), (600_000, 5000, 5000), (100, 5000, 100)],
)
def test_the_cadence_is_a_sixth_of_the_lease_and_no_slower_than_the_check(lease: int, check: int, every: int) -> None:
    assert cadence(Source("q", cap=1, lease=lease, check=check)) == every


async def test_a_lease_changed_meanwhile_changes_the_cadence_and_what_the_store_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, store, slept = Source("q", cap=1, lease=30_000), Told(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        source.lease = 2000
        if len(slept) > 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("queuekit.runtime.agent.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Recoverer(cast(JobStore, store), source, cast(Announcer, cast(Any, None))).run()
    assert store.every[0] == 333  # the first wait, of nothing, came before the first look
    _, *pauses = slept
    assert all(0.25 < pause <= 0.333 for pause in pauses)


async def test_by_default_a_look_comes_soon_enough_for_thirty_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    store, slept = Told(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 200:
            raise asyncio.CancelledError

    monkeypatch.setattr("queuekit.runtime.agent.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Recoverer(cast(JobStore, store), Source("q", cap=1, lease=30_000), cast(Announcer, cast(Any, None))).run()
    assert set(store.every) == {5000}
    assert 4.0 < min(slept[1:]) <= max(slept) < 4.7


@pytest.mark.parametrize(("lease", "least", "most"), [(30_000, 12.0, 14.5), (2000, 0.25, 0.333)])
async def test_where_no_job_is_active_a_look_is_rare_and_never_an_absence(
    lease: int, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, store, slept = Source("q", cap=1, lease=lease), Told(calm=True), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        store.calm = len(slept) < 100
        if len(slept) > 200:
            raise asyncio.CancelledError

    monkeypatch.setattr("queuekit.runtime.agent.asyncio.sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await Recoverer(cast(JobStore, store), source, cast(Announcer, cast(Any, None))).run()
    assert least < min(slept[1:100]) <= max(slept[1:100]) < most
    assert max(slept[101:]) <= cadence(source) / 1000, "and often again as soon as one is"
