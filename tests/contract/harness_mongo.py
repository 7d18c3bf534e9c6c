"""The MongoDB store's harness: one database for the session, a namespace of its own for each test."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo import MongoClient
from queuekit_mongo.backend import backend

from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness


class MongoHarness(Harness):
    """Stores over a real server; its clock is put forward in what the stores make of the server's answers."""

    name = "mongo"

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.ahead = url, 0

    def make(self, blocking: bool, options: StoreOptions) -> JobStore:
        maker = backend.blocking if blocking else backend.asynchronous
        return maker(self.url, options, shift=lambda: self.ahead)

    async def advance(self, ms: int) -> None:
        self.ahead += ms

    async def drop(self) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(self.url)
        with client:
            database = client.get_default_database()
            for name in ("queuekit_jobs", "queuekit_jobs_queues", "queuekit_jobs_workers"):
                database[name].delete_many({"_id": {"$gte": self.namespace, "$lt": self.namespace + "~"}})


def make(request: pytest.FixtureRequest) -> Harness:
    return MongoHarness(request.getfixturevalue("mongo_url"))
