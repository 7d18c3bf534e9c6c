"""The many processes of `make torture`, fewer of them and for seconds: what CI runs of it on every store."""

from __future__ import annotations

import json

import pytest

from tests.torture.conftest import STORES
from tests.torture.crowd import Crowd, run

SMALL = Crowd(lease=4.0, jobs=400, producers=3, workers=4, longest=250, seconds=2.5, strikes=1, kills=5)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.timeout(180)
def test_killed_workers_producers_and_servers_cost_no_job_and_end_none_twice(store: str) -> None:
    breaches, figures = run(store, SMALL, seed=20)
    print(json.dumps(figures))
    assert not breaches, "\n".join(map(str, breaches[:20]))
    assert figures["re_runs"], "kills that cut off no run prove nothing"
