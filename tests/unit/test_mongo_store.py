"""What only the MongoDB store does: opening, lost replies, standalone servers, adopted clients, marks and streams."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pymongo
import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient, MongoClient
from queuekit_mongo.backend import backend
from queuekit_mongo.collections import INDEXES, JOBS
from queuekit_mongo.commands import Done
from queuekit_mongo.store import MongoStore, exchange
from queuekit_mongo.store.room import Mark

from queuekit import clock, ids
from queuekit.domain.job import JobSpec, Retention, UniqueKey
from queuekit.domain.limits import Limits
from queuekit.domain.outcome import Ask, Exchange, Home, Kind, Op, Outcome, Refusal
from queuekit.domain.query import Change, No, Verb
from queuekit.domain.state import State
from queuekit.errors import ConfigError, Moved, PayloadTooLarge, QueueFull, SchemaMismatch, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.store.retry import repeat
from queuekit.testing.servers import MongoServer

T = TypeVar("T")


class Standalone(MongoServer):
    """A mongod without a replica set."""

    def _command(self) -> list[str]:
        command = super()._command()
        at = command.index("--replSet")
        return [*command[:at], *command[at + 2 :]]

    def _is_ready(self) -> bool:
        client: MongoClient[dict[str, Any]] = MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=2000
        )
        with client:
            try:
                return bool(client.admin.command("serverStatus")["pid"] == self.pid)
            except pymongo.errors.PyMongoError:
                return False


class Faulty(MongoServer):
    """A mongod whose commands can be told to fail."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--setParameter", "enableTestCommands=1"]


@pytest.fixture(scope="module")
def faulty(mongo_server: MongoServer) -> Iterator[Faulty]:
    with Faulty(binary=mongo_server.binary) as server:
        yield server


def options(**said: Any) -> StoreOptions:
    return StoreOptions(**({"namespace": "u" + secrets.token_hex(5)} | said))


def opened(url: str, **said: Any) -> MongoStore:
    store = backend.blocking(url, options(**said))
    direct(store.open())
    return store


@pytest.fixture
def store(mongo_url: str) -> Iterator[MongoStore]:
    made = opened(mongo_url)
    yield made
    direct(made.close())


@pytest_asyncio.fixture
async def astore(mongo_url: str) -> AsyncIterator[MongoStore]:
    made = backend.asynchronous(mongo_url, options())
    await made.open()
    yield made
    await made.close()


def database(store: MongoStore) -> Any:
    port: Any = store.room.port
    return port._database


def jobs_of(store: MongoStore) -> Any:
    return database(store)[store.room.names.prefix]


def queues_of(store: MongoStore) -> Any:
    return database(store)[store.room.names.collection("queues")]


async def again(store: MongoStore, call: Callable[[], Awaitable[T]]) -> T:
    """The one retry there is, around a store as the kit puts it."""
    return await repeat(store.room.port, call, within=30)


def send(store: MongoStore, home: str) -> None:
    """Let the queue move to the store x."""
    queues_of(store).update_one({"_id": store.room.names.queue("q")}, {"$set": {"home": home, "to": "x", "epoch": 1}})


def spec(name: str, **said: Any) -> JobSpec:
    return JobSpec(**({"id": name, "task": "t", "body": b"j{}"} | said))


def put(store: MongoStore, *names: str, actor: str | None = None, n: int = 1) -> list[bool | None]:
    answer = direct(store.enqueue("q", [spec(name) for name in names], Op(actor or ids.nonce(), n)))
    return [receipt.created for receipt in answer.receipts]


def claim(store: MongoStore, want: int = 1, op: Op | None = None, outcomes: tuple[Outcome, ...] = ()) -> Exchange:
    return direct(store.exchange("q", op or Op(ids.nonce(), 1), outcomes, Ask(want=want)))


# ------------------------------------------------------------------ opening


def test_many_may_open_a_new_store_at_once(mongo_url: str) -> None:
    name = "many" + secrets.token_hex(4)
    stores = [backend.blocking(mongo_url, options(collection=name)) for _ in range(6)]
    threads = [threading.Thread(target=lambda s=store: direct(s.open())) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({direct(store.ping()).store_id for store in stores}) == 1
        assert set(jobs_of(stores[0]).index_information()) == {"_id_", *(index.name for index in INDEXES[JOBS])}
    finally:
        for kind in ("", "_queues", "_workers"):
            database(stores[0]).drop_collection(name + kind)
        for store in stores:
            direct(store.close())


def test_a_collection_of_agenda_is_refused(mongo_url: str) -> None:
    name = "agenda" + secrets.token_hex(4)
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client:
        database = client.get_default_database()
        database[name].insert_one({"name": "send", "nextRunAt": None, "lockedAt": None, "data": {}})
        store = backend.blocking(mongo_url, options(collection=name))
        with pytest.raises(ConfigError, match=r"Agenda.*QUEUE_COLLECTION"):
            direct(store.open())
        assert list(database[name].index_information()) == ["_id_"]
        direct(store.close())
        database.drop_collection(name)


def test_a_store_of_another_schema_is_refused(mongo_url: str) -> None:
    name = "schema" + secrets.token_hex(4)
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client:
        client.get_default_database()[name + "_queues"].insert_one({"_id": "#store", "schema": 99, "store_id": "x"})
        store = backend.blocking(mongo_url, options(collection=name))
        with pytest.raises(SchemaMismatch, match="99"):
            direct(store.open())
        direct(store.close())
        for kind in ("", "_queues", "_workers"):
            client.get_default_database().drop_collection(name + kind)


def test_a_server_that_is_not_there_is_refused_within_the_timeout() -> None:
    store = backend.blocking("mongodb://joe:hunter2@127.0.0.1:1/app", options(timeout=300))
    begun = clock.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        direct(store.open())
    assert caught.value.outcome == "refused"
    assert "hunter2" not in str(caught.value)
    assert clock.monotonic() - begun < 5
    direct(store.close())


# ------------------------------------------------------------------ lost replies


def fail(server: MongoServer, command: str, **how: Any) -> None:
    """Let the next such command be done, and its reply be an error of a server that goes away."""
    client: MongoClient[dict[str, Any]] = MongoClient(server.url)
    with client:
        data = {"failCommands": [command]} | how
        client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": data})


# Code 50, out of time: the driver neither repeats it nor forgets the server. Its own retries are off: nothing may
# need them.
APPLIED = {"writeConcernError": {"code": 50, "errmsg": "out of time"}}
REFUSED = {"errorCode": 50}


def lossy(faulty: Faulty) -> MongoStore:
    return opened(faulty.url + "&retryWrites=false")


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")], ids=["one", "several"])
def test_an_enqueue_whose_reply_was_lost_is_repeated_without_a_second_job(
    faulty: Faulty, names: tuple[str, ...]
) -> None:
    store, actor = lossy(faulty), ids.nonce()
    put(store, "first")
    fail(faulty, "insert" if len(names) == 1 else "commitTransaction", **APPLIED)
    with pytest.raises(StoreUnavailable) as caught:
        put(store, *names, actor=actor)
    assert caught.value.outcome == "unknown"

    assert put(store, *names, actor=actor) == [True] * len(names)
    assert put(store, *names) == [False] * len(names)
    assert direct(store.count("q")).totals.enqueued == len(names) + 1
    direct(store.close())


def test_an_enqueue_repeated_after_its_job_ended_and_went_makes_no_second_one(faulty: Faulty) -> None:
    store, actor = lossy(faulty), ids.nonce()
    put(store, "first")
    direct(store.change("q", [Change(id="first", verb=Verb.DELETE)], Op(ids.nonce(), 1)))
    fail(faulty, "insert", **APPLIED)
    with pytest.raises(StoreUnavailable):
        put(store, "a", actor=actor)
    other = backend.blocking(faulty.url, store.room.options)
    direct(other.open())
    (job,) = claim(other).claims
    ended = Outcome("a", job.token or "", Kind.COMPLETED)
    assert not claim(other, 0, outcomes=(ended,)).refused
    direct(other.prune("q", state=State.COMPLETED))
    assert direct(store.get("q", ["a"])) == [None]

    assert put(store, "a", actor=actor) == [True]
    assert direct(store.get("q", ["a"])) == [None]
    assert put(store, "a") == [True]  # the id is free for everybody else
    for one in (store, other):
        direct(one.close())


def test_an_exchange_whose_reply_was_lost_is_repeated_without_a_second_effect(faulty: Faulty) -> None:
    store, actor = lossy(faulty), ids.nonce()
    put(store, "a", "b", "c", "d")
    (first,) = claim(store, 1, Op(actor, 1)).claims
    done = (Outcome("a", first.token or "", Kind.COMPLETED),)
    fail(faulty, "update", **APPLIED)
    with pytest.raises(StoreUnavailable):
        claim(store, 2, Op(actor, 2), done)

    again = claim(store, 2, Op(actor, 2), done)

    assert ([job.id for job in again.claims], again.refused, again.replayed) == (["b", "c"], [], True)
    assert direct(store.count("q")).totals.completed == 1
    assert direct(store.count("q")).states[State.ACTIVE] == 2
    assert claim(store, 0, Op(actor, 3), done).refused == [("a", Refusal.LOST)]
    direct(store.close())


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.FAILED, Kind.RELEASED, Kind.PARKED])
def test_a_run_whose_end_was_applied_unheard_is_ended_once(faulty: Faulty, kind: Kind) -> None:
    store, actor = lossy(faulty), ids.nonce()
    put(store, "a")
    (job,) = claim(store, 1, Op(actor, 1)).claims
    end = (Outcome("a", job.token or "", kind, error=b"e", delay=60_000),)
    fail(faulty, "update", **APPLIED)
    with pytest.raises(StoreUnavailable):
        claim(store, 0, Op(actor, 2), end)

    assert claim(store, 0, Op(actor, 2), end).refused == []

    (after,) = direct(store.get("q", ["a"]))
    assert after is not None
    assert (after.errors, after.failures) == ((b"e",), 1 if kind is Kind.RETRY else 0)
    direct(store.close())


def test_a_command_that_never_arrived_is_repeated_with_its_whole_effect(faulty: Faulty) -> None:
    store, actor = lossy(faulty), ids.nonce()
    put(store, "a", "b")
    fail(faulty, "update", **REFUSED)
    with pytest.raises(StoreUnavailable):
        claim(store, 2, Op(actor, 1))
    assert [job.id for job in claim(store, 2, Op(actor, 1)).claims] == ["a", "b"]
    direct(store.close())


def test_a_change_whose_reply_was_lost_is_answered_as_done(faulty: Faulty) -> None:
    store, op = lossy(faulty), Op(ids.nonce(), 1)
    put(store, "a", "b")
    changes = [Change(id="a", verb=Verb.CANCEL), Change(id="b", verb=Verb.DELETE)]
    fail(faulty, "update", **APPLIED)
    with pytest.raises(StoreUnavailable):
        direct(store.change("q", changes, op))
    answers = direct(store.change("q", changes, op))
    assert [(a.ok, a.state) for a in answers] == [(True, State.CANCELLED), (True, None)]
    assert direct(store.count("q")).totals.cancelled <= 1
    direct(store.close())


def test_calls_that_another_process_repeats_are_counted_once(mongo_url: str) -> None:
    store, actor, producer = opened(mongo_url), ids.nonce(), ids.nonce()
    put(store, "a", "b", actor=producer)
    (job,) = claim(store, 1, Op(actor, 1)).claims
    done = (Outcome("a", job.token or "", Kind.COMPLETED),)
    claim(store, 1, Op(actor, 2), done)

    other = backend.blocking(mongo_url, store.room.options)
    direct(other.open())
    assert put(other, "a", "b", actor=producer) == [True, True]
    again = claim(other, 1, Op(actor, 2), done)

    assert ([job.id for job in again.claims], again.refused) == (["b"], [])
    direct(store.count("q"))
    totals = direct(other.count("q")).totals
    assert (totals.enqueued, totals.completed) == (2, 1)
    for one in (store, other):
        direct(one.close())


def test_totals_that_cannot_be_written_fail_no_call(faulty: Faulty) -> None:
    store = lossy(faulty)
    put(store, "a")
    store.room.tally("q", {"enqueued": 5})
    fail(faulty, "update", **REFUSED)
    assert direct(store.count("q")).totals.enqueued == 1  # lost rather than counted twice
    direct(store.close())


async def test_a_store_comes_back_with_its_server(mongo_server: MongoServer) -> None:
    """Killed while one consumer waits, and asked while it is away: every call says so, and then all is there."""
    with MongoServer(binary=mongo_server.binary) as server:
        store = backend.asynchronous(server.url, options(timeout=1500))
        await store.open()
        await store.enqueue("q", [spec("a")], Op(ids.nonce(), 1))
        actor = ids.nonce()
        (job,) = (await store.exchange("q", Op(actor, 1), (), Ask(want=1))).claims
        waiting = asyncio.create_task(store.wait(["q"], 60_000))
        await store.wait(["other"], 50)
        server.kill9()
        with pytest.raises(StoreUnavailable):
            await waiting
        ended = [Outcome("a", job.token or "", Kind.COMPLETED, b"j1")]
        with pytest.raises(StoreUnavailable):
            await store.exchange("q", Op(actor, 2), ended, Ask(want=1))
        server.restart()
        answer = await again(store, lambda: store.exchange("q", Op(actor, 2), ended, Ask(want=1)))
        assert (answer.refused, answer.claims) == ([], [])
        (after,) = await store.get("q", ["a"])
        assert after is not None
        assert (after.state, after.result) == (State.COMPLETED, b"j1")
        await store.close()


# ------------------------------------------------------------------ authority


def test_a_document_of_another_epoch_is_not_claimed(store: MongoStore) -> None:
    put(store, "a", "b")
    jobs_of(store).update_one({"_id": store.room.names.job("q", "a")}, {"$set": {"epoch": 1}})
    assert [job.id for job in claim(store, 5).claims] == ["b"]


def test_a_queue_that_moves_settles_but_gives_and_takes_nothing(store: MongoStore) -> None:
    put(store, "a", "b")
    (job,) = claim(store).claims
    queues_of(store).update_one(
        {"_id": store.room.names.queue("q")}, {"$set": {"home": "moving", "to": "x", "epoch": 1}}
    )
    answer = claim(store, 5, outcomes=(Outcome("a", job.token or "", Kind.COMPLETED),))
    assert (answer.claims, answer.refused, answer.home, answer.to) == ([], [], Home.MOVING, "x")
    with pytest.raises(Moved) as caught:
        put(store, "c")
    assert caught.value.to == "x"
    changes = [Change(id="b", verb=Verb.CANCEL), Change(id="c", verb=Verb.CANCEL)]
    assert [(said.ok, said.no) for said in direct(store.change("q", changes, Op(ids.nonce(), 1)))] == [
        (True, None), (False, No.MOVED),
    ]  # fmt: skip


def test_a_queue_that_is_gone_refuses_settles_as_gone(store: MongoStore) -> None:
    put(store, "a")
    (job,) = claim(store).claims
    send(store, "gone")
    assert claim(store, 1, outcomes=(Outcome("a", job.token or "", Kind.COMPLETED),)).refused == [("a", Refusal.GONE)]


def test_a_producer_that_was_slow_takes_its_jobs_back_if_the_queue_left_meanwhile(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    port: Any = store.room.port
    insert = port.insert

    async def slow(room: str, docs: Any) -> Any:
        queues_of(store).update_one(
            {"_id": store.room.names.queue("q")}, {"$set": {"home": "gone", "to": "x", "epoch": 1}}
        )
        monkeypatch.setattr("queuekit_mongo.store.room.CONF_AGE", -1.0)
        return await insert(room, docs)

    monkeypatch.setattr(port, "insert", slow)
    with pytest.raises(Moved):
        put(store, "b")
    assert direct(store.get("q", ["b"])) == [None]


# ------------------------------------------------------------------ many at once


def test_an_end_that_could_not_be_written_is_not_passed_over(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "a")
    (job,) = claim(store).claims
    port: Any = store.room.port
    plain = port.bulk

    async def outrun(room: str, writes: Any) -> Any:
        jobs_of(store).update_one({"_id": store.room.names.job("q", "a")}, {"$inc": {"rev": 1}})
        return await plain(room, writes)

    op, ends = Op(ids.nonce(), 1), (Outcome("a", job.token or "", Kind.FAILED),)
    with monkeypatch.context() as patch:
        patch.setattr(port, "bulk", outrun)
        with pytest.raises(StoreUnavailable) as caught:
            claim(store, 0, op, ends)
    assert caught.value.outcome == "unknown"
    assert claim(store, 0, op, ends).refused == []
    (ended,) = direct(store.get("q", ["a"]))
    assert ended is not None
    assert ended.state is State.FAILED


def test_of_two_that_prune_at_once_none_removes_what_is_kept(
    mongo_url: str, store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"j{i}" for i in range(9)]
    put(store, *names)
    jobs = claim(store, 9).claims
    claim(store, 0, outcomes=tuple(Outcome(job.id, job.token or "", Kind.COMPLETED) for job in jobs))
    conf = direct(store.conf("q"))
    direct(store.configure("q", dataclasses.replace(conf, override=Limits(keep_completed=Retention(3)))))
    other = opened(mongo_url, namespace=store.room.names.namespace)
    port: Any = store.room.port
    plain, removed = port.find, list[int]()

    async def later(query: Any) -> Any:
        if query.filter.get("state") == "completed" and not removed:
            removed.append(direct(other.prune("q"))[0])
        return await plain(query)

    monkeypatch.setattr(port, "find", later)
    assert direct(store.prune("q")) == (0, False)
    assert removed == [6]
    assert direct(store.count("q")).states[State.COMPLETED] == 3
    direct(other.close())


def test_a_claim_passes_a_bounded_number_of_jobs_that_were_not_started_in_time(
    mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = opened(mongo_url)
    put(made, "run")
    (job,) = claim(made).claims
    direct(made.enqueue("q", [spec(f"j{i}", expires_in=1) for i in range(300)], Op(ids.nonce(), 1)))
    put(made, "live")
    monkeypatch.setattr(made.room, "shift", lambda: 1000)
    monkeypatch.setattr(exchange, "EXPIRED", 10)
    answer = claim(made, outcomes=(Outcome("run", job.token or "", Kind.COMPLETED),))
    assert (answer.claims, answer.refused, answer.more) == ([], [], True)
    counts = direct(made.count("q")).states
    assert counts[State.COMPLETED] == 1
    assert 0 < counts[State.CANCELLED] < 100
    monkeypatch.undo()
    monkeypatch.setattr(made.room, "shift", lambda: 1000)
    claimed = [job.id for _ in range(2) for job in claim(made).claims]
    assert claimed == ["live"]
    direct(made.close())


def test_a_job_whose_document_the_server_refuses_is_no_job(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(room: str, docs: Any) -> Done:
        return Done(met=0, too_large=(0,))

    monkeypatch.setattr(store.room.port, "insert", refused)
    with pytest.raises(PayloadTooLarge):
        put(store, "a")


# ------------------------------------------------------------------ the low-water mark


def test_empty_is_never_concluded_from_the_mark(store: MongoStore) -> None:
    put(store, "a", "b")
    store.room.marks["q"] = Mark(10, 2**62, clock.monotonic() + 60)
    answer = claim(store, 5)
    assert [job.id for job in answer.claims] == ["a", "b"]
    assert not answer.more


def test_behind_the_mark_order_is_kept(store: MongoStore) -> None:
    put(store, *"abcdef")
    docs = list(jobs_of(store).find({"queue": store.room.names.queue("q")}).sort("place"))
    store.room.marks["q"] = Mark(10, docs[1]["place"], clock.monotonic() + 60)
    assert [job.id for job in claim(store, 2).claims] == ["c", "d"]
    del store.room.marks["q"]
    assert [job.id for job in claim(store, 9).claims] == ["a", "b", "e", "f"]


def test_a_repeated_exchange_looks_for_no_more_jobs(store: MongoStore) -> None:
    put(store, *"abcdef")
    op = Op(ids.nonce(), 1)
    first = claim(store, 2, op)
    store.room.marks["q"] = Mark(10, 0, clock.monotonic() + 60)
    again = claim(store, 2, op)
    assert [job.id for job in again.claims] == [job.id for job in first.claims] == ["a", "b"]
    assert again.more


def test_what_this_store_puts_back_drops_the_mark(store: MongoStore) -> None:
    put(store, *"abc")
    (job,) = claim(store).claims
    store.room.marks["q"] = Mark(10, 2**62, clock.monotonic() + 60)
    claim(store, 0, outcomes=(Outcome("a", job.token or "", Kind.RELEASED),))
    assert "q" not in store.room.marks


# ------------------------------------------------------------------ waking


async def test_what_came_between_two_waits_is_not_lost(astore: MongoStore) -> None:
    assert await astore.wait(["q"], 50) == []
    await astore.enqueue("q", [spec("a")], Op(ids.nonce(), 1))
    assert await astore.wait(["q"], 5000) == ["q"]


async def test_a_cancelled_wait_leaves_the_store_as_it_was(astore: MongoStore) -> None:
    waiting = asyncio.create_task(astore.wait(["q"], 60_000))
    await astore.wait(["other"], 50)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await astore.enqueue("q", [spec("a")], Op(ids.nonce(), 1))
    assert await astore.wait(["q"], 5000) == ["q"]


async def test_a_paused_queue_with_jobs_does_not_make_its_consumers_spin(astore: MongoStore) -> None:
    conf = await astore.conf("q")
    await astore.configure("q", type(conf)(rev=conf.rev, override=Limits(paused="night")))
    await astore.enqueue("q", [spec("a")], Op(ids.nonce(), 1))
    rounds, until = 0, clock.monotonic() + 0.8
    while clock.monotonic() < until:
        await astore.wait(["q"], 300)
        rounds += 1
    assert rounds <= 6


async def test_resuming_a_queue_wakes_its_consumers(astore: MongoStore) -> None:
    conf = await astore.conf("q")
    paused = await astore.configure("q", type(conf)(rev=conf.rev, override=Limits(paused="night")))
    await astore.enqueue("q", [spec("a")], Op(ids.nonce(), 1))
    while await astore.wait(["q"], 100):
        pass
    waiting = asyncio.create_task(astore.wait(["q"], 20_000))
    await astore.configure("q", type(conf)(rev=paused.rev))
    assert await waiting == ["q"]


async def test_the_wait_of_one_queue_hears_nothing_of_another_whose_name_begins_alike(astore: MongoStore) -> None:
    assert await astore.wait(["q"], 50) == []
    await astore.enqueue("q-eu", [spec("a")], Op(ids.nonce(), 1))
    assert await astore.wait(["q"], 300) == []


# ------------------------------------------------------------------ standalone


@pytest.fixture(scope="module")
def standalone(mongo_server: MongoServer) -> Iterator[Standalone]:
    with Standalone(binary=mongo_server.binary) as server:
        yield server


def test_a_standalone_server_works_by_polling_and_says_so(standalone: Standalone) -> None:
    store = opened(standalone.url)
    assert store.capabilities.wake == "poll"
    assert any("standalone" in warning for warning in direct(store.ping()).warnings)
    timer = threading.Timer(0.3, lambda: put(store, "a", "b", "c"))
    timer.start()
    assert direct(store.wait(["q"], 10_000)) == ["q"]
    timer.join()
    claims = claim(store, 5).claims
    assert [job.id for job in claims] == ["a", "b", "c"]
    ends = tuple(Outcome(job.id, job.token or "", Kind.COMPLETED, b"j1") for job in claims)
    assert not claim(store, outcomes=ends).refused
    watched = direct(store.watch("q", "a", 1000))
    assert watched is not None
    assert watched.result == b"j1"
    direct(store.close())


def test_a_standalone_server_bounds_a_queue_and_completes_what_died_half_way(standalone: Standalone) -> None:
    store, actor = opened(standalone.url), ids.nonce()
    direct(store.configure("q", type(direct(store.conf("q")))(override=Limits(max_size=3))))
    assert put(store, "a", "b") == [True, True]
    with pytest.raises(QueueFull):
        put(store, "c", "d")
    jobs_of(store).delete_many({})
    put(store, "e", actor=actor)  # as if the call (e, f) had died after its first document
    other = backend.blocking(standalone.url, store.room.options)
    direct(other.open())
    assert put(other, "e", "f", actor=actor) == [True, True]
    for one in (store, other):
        direct(one.close())


# ------------------------------------------------------------------ clients of the application


async def test_an_adopted_client_serves_and_stays_open(mongo_url: str) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url, tz_aware=True, w=0)
    pair = backend.adopt(client, options())
    assert pair is not None
    blocking, threaded = pair
    assert blocking is not None
    assert threaded is not None
    direct(blocking.open())
    await threaded.open()
    assert put(blocking, "a", "b") == [True, True]
    assert [job.id for job in (await threaded.exchange("q", Op(ids.nonce(), 1), (), Ask(want=2))).claims] == ["a", "b"]
    assert await threaded.wait(["q"], 50) == []
    direct(blocking.close())
    await threaded.close()
    assert client.admin.command("ping")["ok"] == 1
    client.close()


async def test_an_asynchronous_client_serves_the_asynchronous_side_only(mongo_url: str) -> None:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
    pair = backend.adopt(client, options())
    assert pair is not None
    assert pair[0] is None
    assert pair[1] is not None
    await pair[1].open()
    await pair[1].enqueue("q", [spec("a")], Op(ids.nonce(), 1))
    await pair[1].close()
    assert (await client.admin.command("ping"))["ok"] == 1
    await client.close()


async def test_a_motor_client_is_unwrapped(mongo_url: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        motor = pytest.importorskip("motor.motor_asyncio")
        client = motor.AsyncIOMotorClient(mongo_url)
    pair = backend.adopt(client, options())
    assert pair is not None
    store = pair[1]
    assert store is not None
    await store.open()
    await store.enqueue("q", [spec("a"), spec("b")], Op(ids.nonce(), 1))
    assert [job.id for job in (await store.exchange("q", Op(ids.nonce(), 1), (), Ask(want=5))).claims] == ["a", "b"]
    await store.close()
    client.close()


def test_a_client_of_another_driver_is_not_taken() -> None:
    assert backend.adopt(object(), options()) is None


def test_the_database_is_the_one_of_the_url() -> None:
    store = backend.blocking("mongodb://127.0.0.1:1/vale_db", options())
    assert database(store).name == "vale_db"
    assert database(backend.blocking("mongodb://127.0.0.1:1", options())).name == "queuekit"


# ------------------------------------------------------------------ many workers on one queue


def test_whoever_lost_its_candidates_takes_what_stands_first(
    store: MongoStore, mongo_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = backend.blocking(mongo_url, store.room.options)
    direct(other.open())
    put(store, *"abcdef")
    port: Any = store.room.port
    bulk = port.bulk

    async def late(room: str, writes: Any, apart: int = 0) -> Done:
        monkeypatch.setattr(port, "bulk", bulk)
        assert [job.id for job in claim(other).claims] == ["a"]  # between the look and the claim of this one
        done: Done = await bulk(room, writes, apart)
        return done

    monkeypatch.setattr(port, "bulk", late)
    assert [job.id for job in claim(store).claims] == ["b"]
    assert "q" in store.room.crowds
    assert [job.id for job in claim(store, 3).claims] == ["c", "d", "e"]
    direct(other.close())


def test_in_a_crowd_jobs_are_claimed_by_the_same_rules(mongo_url: str) -> None:
    """What is taken one by one is what a look and a claim would have got, field by field."""
    found = []
    for crowd in (False, True):
        store = opened(mongo_url)
        key = UniqueKey("k", until="started")
        specs = [
            spec("late", expires_in=1), spec("held", unique=key), spec("plain"), spec("quick", priority=1),
            spec("in-time", expires_in=3_600_000),
        ]  # fmt: skip
        direct(store.enqueue("q", specs, Op("p", 1)))
        store.room.shift = lambda: 1000
        store.room.crowds["q"] = 1e18 if crowd else 0.0
        jobs = [job for n in range(1, 6) for job in claim(store, 1, Op("w", n)).claims]
        found.append([(job.id, job.state, job.line, job.rev, job.claims, job.token, job.expires_at is None)
                      for job in jobs])  # fmt: skip
        assert all(job.lease_until == (job.claimed_at or 0) + 30_000 for job in jobs)
        assert direct(store.enqueue("q", [spec("next", unique=key)], Op("p", 2))).receipts[0].created
        assert not jobs_of(store).count_documents({"_id": {"$regex": store.room.names.namespace}, "state": "active",
                                                   "expiry": {"$exists": True}})  # fmt: skip
        direct(store.close())
    assert [row[0] for row in found[0]] == ["quick", "held", "plain", "in-time"]
    assert found[0] == found[1]
