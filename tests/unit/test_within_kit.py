"""`within=` through a kit on MongoDB: sessions of the application, blocking and asynchronous."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient

from queuekit import JobNotFound, QueueFull, QueueKit, ids
from queuekit.errors import InvalidOption


@pytest.fixture
def kit(mongo_url: str) -> Iterator[QueueKit]:
    namespace = "u" + ids.nonce()[:11]
    made = QueueKit(mongo_url, name=namespace, namespace=namespace)
    yield made
    made.close()


@pytest.fixture
def client(mongo_url: str, kit: QueueKit) -> Iterator[MongoClient[Any]]:
    made: MongoClient[Any] = MongoClient(mongo_url)
    with made:
        yield made
        made.get_default_database()["orders"].delete_many({"kit": kit.name})


def test_a_kit_writes_jobs_within_a_session(kit: QueueKit, client: MongoClient[Any]) -> None:
    orders = client.get_default_database()["orders"]
    tries = 0

    @kit.task(queue="q")
    def charge(n: int) -> None:
        raise AssertionError(n)

    def pay(session: Any) -> list[Any]:
        nonlocal tries
        tries += 1
        orders.insert_one({"kit": kit.name, "try": tries}, session=session)
        handles: list[Any] = [charge.using(within=session, id="receipt").enqueue(1)]
        handles += kit.enqueue_many([charge.using(within=session).make(n) for n in range(3)])
        handles.append(kit.queue("other").enqueue("charge", {"n": 7}, within=session))
        if tries == 1:  # as if another write had come between: the driver's own error, with its label
            with client.start_session() as other, other.start_transaction():
                kit.queue("q").enqueue("charge", {"n": 1}, id="receipt", within=other)
        assert {handle.created for handle in handles} == {None}
        return handles

    with client.start_session() as session:
        handles = session.with_transaction(pay)
    assert tries == 2, "with_transaction did not begin anew"
    assert [handle.status() for handle in handles] == ["waiting"] * 5
    assert orders.count_documents({"kit": kit.name}) == 1
    assert kit.health("q")["q"].waiting == 4


def test_an_aborted_session_leaves_handles_of_nothing(kit: QueueKit, client: MongoClient[Any]) -> None:
    with client.start_session() as session, session.start_transaction():
        handle = kit.queue("q").enqueue("work", {}, within=session)
        session.abort_transaction()
    assert handle.status() == "unknown"
    with pytest.raises(JobNotFound):
        handle.result(timeout=1)


def test_a_full_queue_refuses_and_takes_the_transaction_along(kit: QueueKit, client: MongoClient[Any]) -> None:
    kit.queue("q").configure(max_size=1)
    kit.queue("q").enqueue("work", {})
    orders = client.get_default_database()["orders"]

    def pay(session: Any) -> None:
        orders.insert_one({"kit": kit.name}, session=session)
        kit.queue("q").enqueue("work", {}, within=session)

    with client.start_session() as session, pytest.raises(QueueFull):
        session.with_transaction(pay)
    assert orders.count_documents({"kit": kit.name}) == 0


async def test_a_kit_writes_jobs_within_an_asynchronous_session(
    kit: QueueKit, mongo_url: str, client: MongoClient[Any]
) -> None:
    async with AsyncMongoClient[Any](mongo_url) as mine:
        orders = mine.get_default_database()["orders"]

        async def pay(session: Any) -> list[Any]:
            await orders.insert_one({"kit": kit.name}, session=session)
            one = await kit.queue("q").aenqueue("work", {}, within=session)
            return [one, *await kit.aenqueue_many([kit.queue("q").make("work", {}, within=session) for _ in range(3)])]

        async with mine.start_session() as session:
            handles = await session.with_transaction(pay)
        assert [await handle.astatus() for handle in handles] == ["waiting"] * 4
        assert await orders.count_documents({"kit": kit.name}) == 1
        with client.start_session() as blocking, blocking.start_transaction(), pytest.raises(InvalidOption):
            await kit.queue("q").aenqueue("work", {}, within=blocking)
    await kit.aclose()
