"""Jobs within a transaction of pymongo: which sessions are taken, what the driver's errors do, and what totals say."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure
from queuekit_mongo import pages
from queuekit_mongo.backend import backend
from queuekit_mongo.store import MongoStore

from queuekit import ids
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.outcome import Home, Op, Receipt
from queuekit.errors import InvalidOption, Unsupported
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from tests.unit.test_mongo_store import Standalone

Client = MongoClient[dict[str, Any]]


@pytest.fixture
def store(mongo_url: str) -> Iterator[MongoStore]:
    made = backend.blocking(mongo_url, StoreOptions(namespace="w" + secrets.token_hex(5)))
    direct(made.open())
    yield made
    direct(made.close())


@pytest.fixture
def client(mongo_url: str) -> Iterator[Client]:
    made: Client = MongoClient(mongo_url)
    with made:
        yield made


def join(store: MongoStore, session: object, *names: str, **said: Any) -> list[Receipt]:
    specs = [JobSpec(id=name, task="t", body=b"j{}", **said) for name in names]
    return direct(store.enqueue("q", specs, Op(ids.nonce(), 1), session)).receipts


def put(store: MongoStore, name: str, **said: Any) -> Receipt:
    return direct(store.enqueue("q", [JobSpec(id=name, task="t", body=b"j{}", **said)], Op(ids.nonce(), 1))).receipts[0]


def test_with_transaction_begins_anew_until_the_key_is_known(store: MongoStore, mongo_url: str, client: Client) -> None:
    """Another producer takes the key between the look and the write: the driver's label goes through."""
    key, tries = UniqueKey("k"), list[str]()
    other = backend.blocking(mongo_url, store.room.options)
    direct(other.open())
    put(store, "first")
    data = client.get_default_database()["application"]

    def work(session: ClientSession) -> list[Receipt]:
        data.insert_one({"of": store.room.names.namespace}, session=session)
        tries.append("begun")
        if len(tries) == 1:
            assert put(other, "holder", unique=key).created  # after this transaction's first write: unseen by it
        return join(store, session, "mine", unique=key)

    with client.start_session() as session:
        assert session.with_transaction(work) == [Receipt("holder", False)]
    assert tries == ["begun", "begun"]
    direct(other.close())


def test_what_the_server_refuses_in_a_transaction_keeps_its_label(store: MongoStore, client: Client) -> None:
    put(store, "first")
    with client.start_session() as one, client.start_session() as other:
        one.start_transaction()
        other.start_transaction()
        join(store, one, "a")
        with pytest.raises(OperationFailure) as caught:
            join(store, other, "a")
        assert caught.value.has_error_label("TransientTransactionError")
        one.commit_transaction()
    assert put(store, "a") == Receipt("a", False)


def test_a_session_without_a_transaction_is_refused(store: MongoStore, client: Client) -> None:
    with client.start_session() as session, pytest.raises(InvalidOption, match="start_transaction"):
        join(store, session, "a")
    session = client.start_session()
    session.end_session()
    with pytest.raises(InvalidOption, match="start_transaction"):
        join(store, session, "a")


def test_a_session_of_another_store_is_refused(store: MongoStore, client: Client) -> None:
    with client.start_session() as session:
        session.start_transaction()
        store.room.store_id, mine = "another", store.room.store_id
        with pytest.raises(InvalidOption, match="another server"):
            join(store, session, "a")
        store.room.store_id = mine
        assert join(store, session, "a") == [Receipt("a", None)]


@pytest.mark.parametrize("what", [object(), "session", 1])
def test_what_is_no_session_is_refused(store: MongoStore, what: object) -> None:
    with pytest.raises(InvalidOption, match="ClientSession"):
        join(store, what, "a")


async def test_each_kind_of_session_goes_with_its_own_side(store: MongoStore, mongo_url: str, client: Client) -> None:
    asynchronous: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
    async with asynchronous, asynchronous.start_session() as session:
        await session.start_transaction()
        with pytest.raises(InvalidOption, match="ClientSession"):
            join(store, session, "a")
    adopted = backend.adopt(client, store.room.options)
    assert adopted is not None
    assert adopted[1] is not None
    await adopted[1].open()
    with client.start_session() as plain:
        plain.start_transaction()
        said = await adopted[1].enqueue("q", [JobSpec(id="t", task="t", body=b"")], Op(ids.nonce(), 1), plain)
        assert said.receipts == [Receipt("t", None)]
        plain.commit_transaction()
    assert put(store, "t") == Receipt("t", False)
    await adopted[1].close()


def test_a_standalone_server_refuses(mongo_server: Any) -> None:
    with Standalone(binary=mongo_server.binary) as server:
        alone = backend.blocking(server.url, StoreOptions(namespace="w"))
        direct(alone.open())
        assert "within" not in alone.capabilities.parts
        own: Client = MongoClient(server.url)
        with own, own.start_session() as session, pytest.raises(Unsupported):
            join(alone, session, "a")
        direct(alone.close())


def test_what_transactions_added_to_the_totals_is_brought_together_once(store: MongoStore, client: Client) -> None:
    for name in ("a", "b", "c"):
        with client.start_session() as session, session.start_transaction():
            join(store, session, name, name + "2")
    port: Any = store.room.port
    kept = port._database[store.room.names.prefix]
    said = {"_id": {"$regex": "^" + store.room.names.totals("q")}}
    assert kept.count_documents(said) == 3
    assert direct(store.count("q")).totals.enqueued == 6
    for _ in range(2):
        direct(store.prune("q"))
        assert kept.count_documents(said) == 1
        assert direct(store.count("q")).totals.enqueued == 6
    with client.start_session() as session, session.start_transaction():
        join(store, session, "d")
    assert direct(store.count("q")).totals.enqueued == 7
    while direct(store.obliterate("q"))[1]:
        continue
    assert kept.count_documents(said) == 0


def test_a_transaction_of_many_large_jobs_comes_whole(store: MongoStore, client: Client) -> None:
    body = secrets.token_bytes(200_000)
    specs = [JobSpec(id=f"j{n}", task="t", body=body) for n in range(90)]  # 18 MB: more than one command holds
    with client.start_session() as session:
        session.start_transaction()
        direct(store.enqueue("q", specs, Op(ids.nonce(), 1), session))
        session.abort_transaction()
        assert direct(store.get("q", ["j0", "j89"])) == [None, None]
        session.start_transaction()
        direct(store.enqueue("q", specs, Op(ids.nonce(), 1), session))
        session.commit_transaction()
    assert [job is not None and job.body == body for job in direct(store.get("q", ["j0", "j89"]))] == [True, True]


def test_what_a_silent_process_added_to_the_totals_is_merged_and_what_a_busy_one_adds_is_not_lost(
    store: MongoStore, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = backend.blocking(mongo_url, store.room.options)
    direct(silent.open())
    put(silent, "a")
    direct(silent.close())
    port: Any = store.room.port
    kept = port._database[store.room.names.prefix]
    said = {"_id": {"$regex": "^" + store.room.names.totals("q")}}
    put(store, "b")
    assert direct(store.count("q")).totals.enqueued == 2
    direct(store.prune("q"))
    assert kept.count_documents(said) == 2  # one of each process: both were heard of just now

    store.room.shift = lambda: 2 * 3_600_000
    put(store, "c")
    find = port.find

    async def back(query: Any) -> Any:
        found = await find(query)
        if query == pages.additions(store.room.names.totals("q"), 1000):
            kept.update_one({"_id": silent.room.names.addition("q", silent.room.lane)}, {"$inc": {"enqueued": 1}})
        return found

    monkeypatch.setattr(port, "find", back)
    direct(store.prune("q"))  # it comes back between the look and the merge: nothing is merged
    monkeypatch.undo()
    assert direct(store.count("q")).totals.enqueued == 4
    direct(store.prune("q"))
    assert {doc["_id"].rpartition("/")[2] for doc in kept.find(said)} == {"q#totals", store.room.lane}
    assert direct(store.count("q")).totals.enqueued == 4


def test_a_job_that_came_when_the_queue_was_gone_holds_no_key(store: MongoStore, client: Client) -> None:
    """It is removed where it is met; the transaction, which sees it still, begins anew."""
    names = store.room.names
    direct(store.authority("q", 1, "m", Home.GONE, "far"))
    stranded = {
        "_id": names.job("q", "late"), "queue": names.queue("q"), "part": 0, "task": "t", "body": b"", "priority": 100,
        "state": "waiting", "line": 1, "place": 1, "created_at": 1, "rev": 1, "epoch": 0, "op": "x:1", "unique": "k",
        "uniq": {"key": "k", "until": "finished", "on_conflict": "existing"}, "care": True,
    }  # fmt: skip
    client.get_default_database()[names.prefix].insert_one(stranded)
    direct(store.authority("q", 2, "m", Home.ARRIVING, "far"))
    direct(store.authority("q", 3, "m", Home.HERE, None))
    with client.start_session() as session:
        told = session.with_transaction(lambda mine: join(store, mine, "a", unique=UniqueKey("k")))
    assert told == [Receipt("a", None)]
    assert [job is not None for job in direct(store.get("q", ["late", "a"]))] == [False, True]
