"""The MongoDB store's harness: one database for the session, a namespace of its own for each test."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from queuekit_mongo.backend import backend

from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.conformance.harness import Harness, Transaction


class Session(Transaction):
    """A session of pymongo with its transaction, as an application has one."""

    def __init__(self, url: str, room: str, *, blocking: bool) -> None:
        self._client: Any = (MongoClient if blocking else AsyncMongoClient)(url)
        self._data: Any = self._client.get_default_database()["application"]
        self._room = room
        self.within = self._session = self._client.start_session()

    async def begin(self) -> Session:
        await _answer(self._session.start_transaction())
        return self

    async def write(self, key: str, value: str) -> None:
        await _answer(self._data.insert_one({"room": self._room, "key": key, "value": value}, session=self._session))

    async def commit(self) -> None:
        await _answer(self._session.commit_transaction())

    async def abort(self) -> None:
        await _answer(self._session.end_session())
        await _answer(self._client.close())


async def _answer(said: Any) -> None:
    if inspect.isawaitable(said):
        await said


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

    async def begin(self, blocking: bool) -> Transaction:
        return await Session(self.url, self.namespace, blocking=blocking).begin()

    async def written(self, key: str) -> str | None:
        with MongoClient[dict[str, Any]](self.url) as client:
            found = client.get_default_database()["application"].find_one({"room": self.namespace, "key": key})
        return None if found is None else str(found["value"])

    async def drop(self) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(self.url)
        with client:
            database = client.get_default_database()
            for name in ("queuekit_jobs", "queuekit_jobs_queues", "queuekit_jobs_workers", "queuekit_jobs_schedules"):
                database[name].delete_many({"_id": {"$gte": self.namespace, "$lt": self.namespace + "~"}})


def make(request: pytest.FixtureRequest) -> Harness:
    return MongoHarness(request.getfixturevalue("mongo_url"))
