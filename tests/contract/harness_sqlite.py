"""The embedded store's harness: one fresh file a test, with the real clock moved by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from queuekit.clock import now_ms  # bound here: a run may tell queuekit a wrong time
from queuekit.embedded import backend
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness


class SqliteHarness(Harness):
    """Stores over one file."""

    name = "sqlite"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ahead = 0
        self.url = f"sqlite:///{path}"

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        make = backend.blocking if blocking else backend.asynchronous
        return make(self.url, options, lambda: now_ms() + self.ahead)

    async def advance(self, ms: int) -> None:
        self.ahead += ms


def make(request: pytest.FixtureRequest) -> Harness:
    folder: Path = request.getfixturevalue("tmp_path")
    return SqliteHarness(folder / "queuekit.db")
