"""Queues that move to and from MongoDB: calls begun before a mover came, made to arrive at the worst moment.

Two stores of one server: the mover's, and one whose view of the queue is old, because its next call waits for the move.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from queuekit_mongo.backend import backend
from queuekit_mongo.store import MongoStore

from queuekit import ids
from queuekit.domain.job import JobRecord, JobSpec
from queuekit.domain.moving import Parcel, Standing
from queuekit.domain.outcome import Ask, Exchange, Home, Kind, Op, Outcome
from queuekit.domain.query import Change, Verb, Where
from queuekit.domain.state import Line, State
from queuekit.errors import Arriving, Conflict, Moved, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from tests.unit.test_mongo_store import Standalone

BY, FAR = "mover-1", "other"
Make = Callable[[], MongoStore]


@pytest.fixture
def make(mongo_url: str) -> Iterator[Make]:
    """Stores of one namespace."""
    options, made = StoreOptions(namespace="m" + secrets.token_hex(5)), list[MongoStore]()

    def maker() -> MongoStore:
        made.append(backend.blocking(mongo_url, options))
        direct(made[-1].open())
        return made[-1]

    yield maker
    for store in made:
        direct(store.close())


@pytest.fixture
def mover(make: Make) -> MongoStore:
    return make()


@pytest.fixture
def old(make: Make) -> MongoStore:
    """The store of a worker or producer that has not heard of the move."""
    return make()


def put(store: MongoStore, *names: str, op: Op | None = None, **said: Any) -> list[bool | None]:
    specs = [JobSpec(id=name, task="t", body=b"j{}") for name in names]
    told = direct(store.enqueue("q", specs, op or Op(ids.nonce(), 1), **said))
    return [receipt.created for receipt in told.receipts]


def claim(store: MongoStore, want: int = 5, op: Op | None = None, *ends: Outcome) -> Exchange:
    return direct(store.exchange("q", op or Op(ids.nonce(), 1), ends, Ask(want=want)))


def go(store: MongoStore, epoch: int, home: Home, to: str | None = FAR, **said: Any) -> Standing:
    return direct(store.authority("q", epoch, BY, home, to, **said))


def out(store: MongoStore, epoch: int, batch: int, **said: Any) -> list[str]:
    return [parcel.record.id for parcel in direct(store.checkout("q", epoch, batch, 100, **said))]


def take(store: MongoStore, epoch: int, batch: int, place: int, *names: str) -> None:
    now = direct(store.ping()).now
    jobs = [
        JobRecord(queue="q", id=name, task="t", body=b"j{}", line=Line.READY, place=place + at, created_at=now, rev=1)
        for at, name in enumerate(names)
    ]
    assert direct(store.import_batch("q", epoch, batch, [Parcel(record=job) for job in jobs], [], b"")) == []


def before(store: MongoStore, name: str, happens: Callable[[], object], *, call: int = 1) -> None:
    """Let something happen when this store is about to make its next call of that name."""
    port: Any = store.room.port
    plain: Callable[..., Awaitable[Any]] = getattr(port, name)
    calls = [0]

    async def late(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            happens()
        return await plain(*args, **kwargs)

    setattr(port, name, late)


def behind(store: MongoStore, name: str, happens: Callable[[], object]) -> None:
    """Let something happen when the next call of that name was made, and its answer is on its way."""
    port: Any = store.room.port
    plain: Callable[..., Awaitable[Any]] = getattr(port, name)
    calls = [0]

    async def late(*args: Any, **kwargs: Any) -> Any:
        told = await plain(*args, **kwargs)
        calls[0] += 1
        if calls[0] == 1:
            happens()
        return told

    setattr(port, name, late)


def age(store: MongoStore) -> Callable[[], None]:
    """Let more than a second pass for a store."""

    def older() -> None:
        plain = store.room.port.monotonic
        store.room.port.monotonic = lambda: plain() + 2  # type: ignore[method-assign]

    return older


# ------------------------------------------------------------------ stale claims


def test_a_job_that_was_checked_out_is_not_claimed_by_who_saw_it_before(mover: MongoStore, old: MongoStore) -> None:
    put(old, "a", "b")
    taken: list[str] = []

    def leave() -> None:
        go(mover, 1, Home.MOVING)
        taken.extend(out(mover, 1, 1))

    direct(old.count("q"))
    before(old, "bulk", leave)
    assert claim(old).claims == []
    assert sorted(taken) == ["a", "b"]


def test_a_job_that_was_claimed_by_an_old_view_is_not_checked_out_but_runs(mover: MongoStore, old: MongoStore) -> None:
    put(old, "a")
    behind(old, "bulk", lambda: None)
    before(old, "bulk", lambda: go(mover, 1, Home.MOVING))
    (job,) = claim(old).claims
    assert out(mover, 1, 1) == []
    assert [parcel.record.id for parcel in direct(mover.running("q", "", 10))] == ["a"]
    ended = Outcome("a", job.token or "", Kind.COMPLETED)
    assert claim(old, 0, None, ended).refused == []
    assert out(mover, 1, 1, history=True) == ["a"]


def test_what_came_in_is_not_claimed_by_who_read_the_queue_before_it_arrived(
    mover: MongoStore, old: MongoStore
) -> None:
    """The worker looked when the queue was here, and comes for what stands first one by one, without a look."""
    put(old, "native")
    view = direct(old.room.view("q"))

    def arrive() -> None:
        base = go(mover, 1, Home.ARRIVING, room=10).base
        take(mover, 1, 1, base, "moved")

    old.room.crowds["q"] = old.room.port.monotonic() + 60
    before(old, "update", arrive)
    assert view.conf.epoch == 0
    assert [job.id for job in claim(old, 1).claims] == ["native"]
    assert claim(old, 1).claims == []
    go(mover, 2, Home.HERE)
    assert [job.id for job in claim(old, 1).claims] == ["moved"]


def test_a_claim_that_took_long_is_not_told_once_the_queue_has_gone(mover: MongoStore, old: MongoStore) -> None:
    put(old, "a")

    def away() -> None:
        go(mover, 1, Home.MOVING)
        go(mover, 2, Home.GONE)
        age(old)()

    before(old, "bulk", away)
    answer = claim(old)
    assert (answer.claims, answer.home, answer.to) == ([], Home.GONE, FAR)


# ------------------------------------------------------------------ slow producers


@pytest.mark.parametrize("names", [("b",), ("b", "c")])
def test_a_producer_that_was_slow_takes_back_what_nobody_took(
    mover: MongoStore, old: MongoStore, names: tuple[str, ...]
) -> None:
    put(old, "a")

    def slow() -> None:
        go(mover, 1, Home.MOVING)
        age(old)()

    before(old, "insert" if len(names) == 1 else "insert_whole", slow)
    with pytest.raises(Moved) as caught:
        put(old, *names)
    assert caught.value.to == FAR
    assert out(mover, 1, 1) == ["a"]
    assert direct(mover.count("q")).totals.enqueued == 1


def test_a_producer_that_was_slow_leaves_what_was_checked_out(mover: MongoStore, old: MongoStore) -> None:
    put(old, "a")

    def slow() -> None:
        go(mover, 1, Home.MOVING)
        assert out(mover, 1, 1) == ["a", "b"]
        age(old)()

    behind(old, "insert", slow)
    assert put(old, "b") == [True]  # it goes along, so it was kept
    assert [parcel.record.id for parcel in direct(mover.checkout("q", 1, 1, 1))] == ["a", "b"]


def test_a_job_that_somebody_was_told_of_is_not_taken_back(mover: MongoStore, old: MongoStore) -> None:
    put(old, "a")

    def slow() -> None:
        go(mover, 1, Home.MOVING)
        mover.room.shift = lambda: 5000
        known = direct(mover.known("q", ["b", "c"], []))
        assert known is not None
        assert known.ids == {"b"}
        age(old)()

    behind(old, "insert", slow)
    assert put(old, "b") == [True]
    assert out(mover, 1, 1) == ["a", "b"]


def test_nothing_is_known_before_slow_producers_have_looked_again(mover: MongoStore) -> None:
    put(mover, "a")
    standing = go(mover, 1, Home.MOVING)
    assert standing.settles_at > standing.now + 1000
    assert direct(mover.known("q", ["a"], [])) is None
    again = go(mover, 2, Home.MOVING)
    assert again.settles_at == standing.settles_at  # from the transition on, whoever takes over
    mover.room.shift = lambda: 2000
    known = direct(mover.known("q", ["a", "b"], []))
    assert known is not None
    assert known.ids == {"a"}


def test_a_job_that_came_to_a_queue_that_was_gone_never_runs(mover: MongoStore, old: MongoStore) -> None:
    """Its producer died before it could look again: nobody was told of it, and its twin may have run elsewhere."""
    put(old, "a")

    def gone() -> None:
        go(mover, 1, Home.MOVING)
        assert out(mover, 1, 1) == ["a"]
        assert direct(mover.confirm("q", 1, 1, ["a"])).removed == 1
        go(mover, 2, Home.GONE)

    def dies() -> None:
        raise StoreUnavailable("killed", outcome="unknown")

    before(old, "insert", gone)
    behind(old, "insert", dies)
    with pytest.raises(StoreUnavailable):
        put(old, "late")
    assert direct(mover.get("q", ["late"]))[0] is not None
    base = go(mover, 3, Home.ARRIVING, room=5).base
    take(mover, 3, 1, base, "b")
    go(mover, 4, Home.HERE, None)
    assert [job.id for job in claim(mover).claims] == ["b"]
    assert direct(mover.get("q", ["late"])) == [None]


def test_jobs_that_a_mover_put_back_where_the_queue_is_gone_are_its_own_when_it_comes_back(mover: MongoStore) -> None:
    put(mover, "clash")
    go(mover, 1, Home.MOVING)
    assert out(mover, 1, 1) == ["clash"]
    go(mover, 2, Home.GONE)
    assert direct(mover.restore("q", 2, 1)) == 1
    mover.room.shift = lambda: 5000
    known = direct(mover.known("q", ["clash"], []))
    assert known is not None
    assert known.ids == {"clash"}
    go(mover, 3, Home.ARRIVING)
    go(mover, 4, Home.HERE, None)
    assert [job.id for job in claim(mover).claims] == ["clash"]


def test_a_repeated_call_is_answered_where_its_jobs_were_made(mover: MongoStore, old: MongoStore, make: Make) -> None:
    op = Op(ids.nonce(), 1)
    put(old, "a", op=op)
    go(mover, 1, Home.MOVING)
    out(mover, 1, 1)
    direct(mover.confirm("q", 1, 1, ["a"]))
    go(mover, 2, Home.GONE)
    other = make()  # a process that never saw the call
    assert put(other, "a", op=op) == [True]
    with pytest.raises(Moved):
        put(make(), "a", op=Op(ids.nonce(), 1))


def test_a_producer_must_have_asked_while_jobs_still_come(mover: MongoStore) -> None:
    go(mover, 1, Home.ARRIVING)
    with pytest.raises(Arriving):
        put(mover, "a")
    assert put(mover, "a", asked=True) == [True]


# ------------------------------------------------------------------ transactions of producers


def test_a_transaction_that_began_before_the_mover_does_not_come_behind_it(
    mover: MongoStore, old: MongoStore, mongo_url: str
) -> None:
    put(old, "a")
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client, client.start_session() as session:
        session.start_transaction()
        client.get_default_database()["application"].find_one({}, session=session)  # what it sees is of now
        go(mover, 1, Home.MOVING)
        with pytest.raises((OperationFailure, Moved)):
            put(old, "b", within=session)
    assert out(mover, 1, 1) == ["a"]


def test_a_mover_waits_for_the_transactions_of_producers(mover: MongoStore, old: MongoStore, mongo_url: str) -> None:
    put(old, "a")
    mover.room.port.timeout = 0.5  # type: ignore[attr-defined]
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client, client.start_session() as session:
        session.start_transaction()
        put(old, "b", within=session)
        with pytest.raises(StoreUnavailable):
            go(mover, 1, Home.MOVING)
        session.commit_transaction()
    mover.room.port.timeout = 5.0  # type: ignore[attr-defined]
    go(mover, 2, Home.MOVING)
    assert out(mover, 2, 1) == ["a", "b"]


def test_a_mover_waits_for_a_transaction_that_wrote_while_he_came(
    mover: MongoStore, old: MongoStore, mongo_url: str
) -> None:
    """It saw the queue here and wrote to its gate, behind the mover's first look at the gates, before the change."""
    put(old, "a")
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    with client, client.start_session() as session:

        def come() -> None:
            session.start_transaction()
            put(old, "b", within=session)
            mover.room.port.timeout = 0.5  # type: ignore[attr-defined]

        before(mover, "joined", come)
        with pytest.raises(StoreUnavailable):
            go(mover, 1, Home.MOVING)
        assert direct(mover.known("q", ["b"], [])) is None  # the wait for producers has not begun
        session.commit_transaction()
    mover.room.port.timeout = 5.0  # type: ignore[attr-defined]
    assert go(mover, 1, Home.MOVING).settles_at > 0  # the repeat goes on where the first one stopped
    assert out(mover, 1, 1) == ["a", "b"]


# ------------------------------------------------------------------ two movers, late twins


def test_a_late_checkout_of_a_batch_that_was_put_back_takes_nothing(mover: MongoStore, make: Make) -> None:
    """A forgotten mover stops between choosing and taking; another one aborts; then the first one's command arrives."""
    put(mover, "a", "b")
    go(mover, 1, Home.MOVING)
    forgotten = make()
    late: list[Any] = []
    port: Any = forgotten.room.port
    plain = port.bulk

    async def stops(room: str, writes: Any, apart: int = 0) -> Any:
        if any("out.by" in write.update.get("$set", {}) for write in writes if isinstance(write.update, dict)):
            late.append((room, writes))
            raise StoreUnavailable("stopped", outcome="unknown")
        return await plain(room, writes, apart)

    port.bulk = stops
    with pytest.raises(StoreUnavailable):
        out(forgotten, 1, 1)
    journal = direct(mover.journal("q"))
    assert journal is not None
    assert journal.out == [1]
    direct(mover.authority("q", 2, "mover-2", Home.ARRIVING, FAR))
    direct(mover.restore("q", 2, 1))
    direct(mover.authority("q", 3, "mover-2", Home.HERE, None))
    direct(plain(*late[0]))
    assert [job.id for job in claim(mover).claims] == ["a", "b"]


def test_a_batch_chosen_by_a_mover_that_died_is_completed_by_its_repeat(mover: MongoStore, make: Make) -> None:
    put(mover, "a", "b", "c")
    go(mover, 1, Home.MOVING)
    dead = make()
    port: Any = dead.room.port
    plain = port.bulk

    async def dies(room: str, writes: Any, apart: int = 0) -> Any:
        if any("out.by" in write.update.get("$set", {}) for write in writes if isinstance(write.update, dict)):
            raise StoreUnavailable("killed", outcome="unknown")
        return await plain(room, writes, apart)

    port.bulk = dies
    with pytest.raises(StoreUnavailable):
        direct(dead.checkout("q", 1, 7, 2))
    assert direct(mover.change("q", [Change(id="a", verb=Verb.CANCEL)], Op(ids.nonce(), 1)))[0].ok
    assert out(mover, 1, 7) == ["b"]  # what was cancelled meanwhile is as it was left
    assert out(mover, 1, 8, history=True) == ["c", "a"]
    assert direct(mover.find("q", Where(state=State.WAITING))).records == []


def test_a_batch_whose_mover_died_when_it_was_removed_gives_no_others(mover: MongoStore, make: Make) -> None:
    put(mover, "a", "b")
    go(mover, 1, Home.MOVING)
    assert [parcel.record.id for parcel in direct(mover.checkout("q", 1, 2, 1))] == ["a"]
    dead = make()
    port: Any = dead.room.port

    async def dies(room: str, filter: Any) -> Any:
        if "batch" in str(filter) or "#out/" in str(filter):
            raise StoreUnavailable("killed", outcome="unknown")
        return await plain(room, filter)

    plain, port.delete = port.delete, dies
    with pytest.raises(StoreUnavailable):
        direct(dead.confirm("q", 1, 2, ["a"]))
    journal = direct(mover.journal("q"))
    assert journal is not None
    assert journal.out == [2]
    assert out(mover, 1, 2) == []
    assert out(mover, 1, 4) == ["b"]


def test_what_came_with_a_mover_leaves_nothing_behind_when_it_goes_on(mover: MongoStore, mongo_url: str) -> None:
    """No call made it here, so none can be repeated; of a producer's own job a stub stays."""
    base = go(mover, 1, Home.ARRIVING, room=10).base
    take(mover, 1, 2, base, "brought")
    go(mover, 2, Home.HERE, None)
    put(mover, "own")
    go(mover, 3, Home.MOVING)
    assert out(mover, 3, 4) == ["brought", "own"]
    assert direct(mover.confirm("q", 3, 4, ["brought", "own"])).removed == 2
    with MongoClient[dict[str, Any]](mongo_url) as client:
        jobs = client.get_default_database()[mover.room.names.collection("jobs")]
        left = {name: jobs.count_documents({"_id": mover.room.names.job("q", name)}) for name in ("brought", "own")}
    assert left == {"brought": 0, "own": 1}


def test_a_queue_that_was_known_settles_before_its_jobs_arrive(mover: MongoStore, old: MongoStore) -> None:
    """Whoever read it before takes jobs unasked for a second; who takes the move over waits no shorter."""
    put(old, "a")
    go(mover, 1, Home.ARRIVING)
    noted = direct(mover.room.view("q")).doc["settles"]
    assert noted > 1250
    told = direct(mover.authority("q", 2, "mover-2", Home.ARRIVING, FAR))
    assert told.settles_at == max(noted, told.now)
    direct(mover.authority("q", 3, "mover-2", Home.MOVING, FAR))
    assert direct(mover.room.view("q")).doc["settles"] > noted, "who stops it is told anew"


def test_nobody_trusts_what_he_read_of_a_queue_that_a_mover_made_known(mover: MongoStore, old: MongoStore) -> None:
    between = before_arriving(mover, lambda: put(old, "a"))
    told = go(mover, 1, Home.ARRIVING)
    assert between == [1]
    assert told.settles_at == told.now
    with pytest.raises(Arriving):
        put(old, "b")


def before_arriving(mover: MongoStore, happens: Callable[[], object]) -> list[int]:
    """Let something happen when the queue's document is made, and does not say yet that jobs arrive."""
    done: list[int] = []
    plain = mover.room.ensure

    async def ensure(queue: str, **said: object) -> None:
        await plain(queue, **said)
        if not done:
            done.append(1)
            happens()

    mover.room.ensure = ensure  # type: ignore[method-assign]
    return done


def test_verbs_of_a_forgotten_mover_do_nothing(mover: MongoStore, make: Make) -> None:
    put(mover, "a")
    go(mover, 1, Home.MOVING)
    direct(mover.authority("q", 2, "mover-2", Home.MOVING, FAR))
    for call in (
        mover.checkout("q", 1, 1, 5), mover.confirm("q", 1, 1, ["a"]), mover.restore("q", 1, 1),
        mover.unhold("q", 1), mover.import_batch("q", 1, 1, [], [], b""), mover.authority("q", 2, BY, Home.HERE, None),
    ):  # fmt: skip
        with pytest.raises(Conflict):
            direct(call)
    assert [job and job.state for job in direct(mover.get("q", ["a"]))] == [State.WAITING]


def test_movers_of_one_store_do_not_end_each_others_transactions(mover: MongoStore) -> None:
    """Between a session being named in the queue's document and its transaction, another call reads the document."""
    port: Any = mover.room.port
    bulk, command, ended, nested = port.bulk, port.command, list[object](), list[Standing]()

    async def recorded(said: Any) -> Any:
        if "killSessions" in said:
            ended.append(said)
        return await command(said)

    async def met(room: str, writes: Any, apart: int = 0) -> Any:
        done = await bulk(room, writes, apart)
        if "sessions" in str(writes):
            port.bulk = bulk  # only once
            nested.append(direct(mover.authority("q", 3, "mover-2", Home.MOVING, FAR)))
        return done

    put(mover, "a")
    port.bulk, port.command = met, recorded
    with pytest.raises(Conflict):
        go(mover, 3, Home.MOVING)
    assert (ended, nested[0].conf.epoch) == ([], 3)


def test_a_batch_whose_reply_was_lost_comes_in_once(mover: MongoStore) -> None:
    base = go(mover, 1, Home.ARRIVING, room=10).base
    take(mover, 1, 1, base, "a", "b")
    take(mover, 1, 1, base, "a", "b")
    assert direct(mover.taken("q", 1)) == ["a", "b"]
    assert direct(mover.count("q")).states[State.WAITING] == 2


# ------------------------------------------------------------------ a server without transactions


def test_a_queue_moves_on_a_standalone_server_and_a_repeat_completes_it(mongo_server: Any) -> None:
    with Standalone(binary=mongo_server.binary) as server:
        store = backend.blocking(server.url.partition("?")[0], StoreOptions(namespace="alone"))
        direct(store.open())
        assert store.capabilities.moves == "offline"
        base = go(store, 1, Home.ARRIVING, room=10).base
        port: Any = store.room.port
        plain, calls = port.insert, [0]

        async def fails(room: str, docs: Any) -> Any:
            calls[0] += 1
            if calls[0] == 2:  # the jobs are there, their journal is not
                raise StoreUnavailable("killed", outcome="unknown")
            return await plain(room, docs)

        port.insert = fails
        with pytest.raises(StoreUnavailable):
            take(store, 1, 1, base, "a", "b")
        assert direct(store.taken("q", 1)) == []
        take(store, 1, 1, base, "a", "b")
        assert direct(store.taken("q", 1)) == ["a", "b"]
        go(store, 2, Home.MOVING)
        assert out(store, 2, 1) == out(store, 2, 1) == ["a", "b"]
        assert direct(store.confirm("q", 2, 1, ["a", "b"])).removed == 2
        assert go(store, 3, Home.GONE).conf.home is Home.GONE
        direct(store.close())
