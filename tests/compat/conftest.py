"""A kit on each store, in a namespace of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuekit import QueueKit
from queuekit.testing import TestKit
from tests.conftest import STORES

_made = iter(range(10_000))


@pytest.fixture(autouse=True)
def no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process without a framework, whatever this one has set up before."""
    monkeypatch.setattr("queuekit.compat.current._held", {})
    monkeypatch.setattr("queuekit.compat.bull.queue._own", {})


@pytest.fixture(params=STORES)
def kit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on the model, SQLite, Redis and MongoDB in turn."""
    if request.param == "model":
        with TestKit() as made:
            yield made
        return
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/q.db" if sqlite else request.getfixturevalue(f"{request.param}_url")
    with QueueKit(url, name=f"compat-{next(_made)}", namespace=f"compat-{os.getpid()}-{next(_made)}") as made:
        yield made
        for queue in made.health():
            made.queue(queue).obliterate(confirm=queue, force=True)


@pytest.fixture
def test_kit() -> Iterator[TestKit]:
    """A kit over the model, whose clock travels."""
    with TestKit() as made:
        yield made
