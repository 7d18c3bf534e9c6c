"""Rows of the acceptance list are tested through the public names only, on a store that needs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queuekit import QueueKit


@pytest.fixture(autouse=True)
def no_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """The facades find their kit as in a process without a framework."""
    monkeypatch.setattr("queuekit.compat.current._held", {})
    monkeypatch.setattr("queuekit.compat.bull.queue._own", {})


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[QueueKit]:
    """A kit on a SQLite file of its own."""
    with QueueKit(f"sqlite:///{tmp_path / 'queue.db'}") as made:
        yield made


@pytest.fixture
def run(kit: QueueKit) -> Callable[..., int]:
    """Run a worker until nothing is due; its exit code."""

    def burst(*queues: str, **options: Any) -> int:
        chosen = {"queues": list(queues), **options} if queues else options
        return kit.worker(burst=True, **chosen).run()

    return burst
