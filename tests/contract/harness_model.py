"""The model store's harness: one world a test, with the real clock moved by hand."""

from __future__ import annotations

import pytest

from queuekit.clock import now_ms  # bound here: a run may tell queuekit a wrong time
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness
from queuekit.testing.model import ModelStore, ModelWorld


class ModelHarness(Harness):
    """Stores over one world."""

    name = "model"

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0
        self.world = ModelWorld(lambda: now_ms() + self.ahead)

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        return ModelStore(self.world, namespace=options.namespace, blocking=blocking, limit=options.payload_limit)

    async def advance(self, ms: int) -> None:
        self.ahead += ms


def make(request: pytest.FixtureRequest) -> Harness:
    return ModelHarness()
