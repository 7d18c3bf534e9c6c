"""What the Redis store promises a mover beside what all stores do: replicas, full servers, bounds, waking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from queuekit_redis import RedisStore, backend
from queuekit_redis.keys import queue_keys
from queuekit_redis.store import moving

from queuekit import clock, ids
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.moving import HeldKey, Parcel
from queuekit.domain.outcome import Ask, Home, Kind, Op, Outcome
from queuekit.domain.state import State
from queuekit.errors import Conflict, QueueFull
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

MOVING, ARRIVING, HERE = Home.MOVING, Home.ARRIVING, Home.HERE
PATIENCE = 20.0  # seconds


class Sides:
    """One store with the queues `from` and `to`, and a mover of both."""

    def __init__(self, url: str) -> None:
        self.options = StoreOptions(namespace="m" + ids.nonce()[:11])
        made = backend.blocking(url, self.options)
        assert isinstance(made, RedisStore)
        self.store, self.n = made, 0
        direct(made.open())

    def put(self, *names: str, queue: str = "from", **said: Any) -> None:
        self.n += 1
        specs = [JobSpec(**{"id": name, "task": "t", "body": b"x", **said}) for name in names]
        direct(self.store.enqueue(queue, specs, Op("p", self.n)))

    def claim(self, want: int, queue: str = "from", *outcomes: Outcome) -> list[str]:
        self.n += 1
        reply = direct(self.store.exchange(queue, Op("w", self.n), outcomes, Ask(want=want)))
        return [job.id for job in reply.claims]

    def out(self, batch: int, limit: int = 1000) -> list[Parcel]:
        return direct(self.store.checkout("from", 1, batch, limit))

    def bring(self, batch: int, parcels: list[Parcel]) -> None:
        assert direct(self.store.import_batch("to", 1, batch, parcels, [], b"note")) == []

    def gone(self, batch: int, parcels: list[Parcel]) -> int:
        return direct(self.store.confirm("from", 1, batch, [parcel.record.id for parcel in parcels])).removed

    def begin(self) -> None:
        direct(self.store.authority("to", 1, "m", ARRIVING, "from", room=1000))
        direct(self.store.authority("from", 1, "m", MOVING, "to"))

    def key(self, name: str, queue: str = "from") -> bytes:
        return queue_keys(self.options.namespace, queue)[name]

    def states(self, queue: str) -> dict[State, int]:
        return {state: n for state, n in direct(self.store.count(queue)).states.items() if n}


@pytest.fixture
def sides(redis_url: str) -> Iterator[Sides]:
    made = Sides(redis_url)
    yield made
    direct(made.store.close())
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(match="{" + made.options.namespace + "*", count=1000):
            client.unlink(key)


# ---- replicas


def until(met: Callable[[], bool]) -> None:
    deadline = clock.monotonic() + PATIENCE
    while not met():
        assert clock.monotonic() < deadline, "it did not come"


@pytest.fixture
def primary() -> Iterator[RedisServer]:
    with RedisServer(options={"repl-diskless-sync-delay": "0"}) as server:
        yield server


@pytest.fixture
def replica(primary: RedisServer) -> Iterator[RedisServer]:
    with RedisServer() as server:
        follow(primary, server)
        yield server


def follow(primary: RedisServer, server: RedisServer) -> None:
    """One server follows another, and is up to date."""
    with redis.Redis.from_url(server.url) as client, redis.Redis.from_url(primary.url) as leader:
        client.replicaof("127.0.0.1", str(primary.port))
        until(lambda: client.info("replication")["master_link_status"] == "up")
        until(lambda: leader.info("replication")["slave0"]["state"] == "online")


def waits(client: Any) -> int:
    return int(client.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"])


def test_what_a_mover_was_told_is_on_the_replica(primary: RedisServer, replica: RedisServer) -> None:
    sides = Sides(primary.url)
    sides.put(*"abcdef")
    with redis.Redis.from_url(primary.url) as client, redis.Redis.from_url(replica.url) as follower:
        sides.begin()
        assert follower.hget(sides.key("vars"), "home") == b"moving"
        assert waits(client) == 2
        for batch in range(1, 4):
            parcels = sides.out(batch, 2)
            sides.bring(batch, parcels)
            assert follower.hlen(sides.key("jobs", "to")) == 2 * batch
            assert sides.gone(batch, parcels) == 2
            assert follower.hlen(sides.key("jobs")) == 6 - 2 * batch
        assert waits(client) == 2 + 3 * 2  # checkout waits for nobody: the mover has done nothing yet
    direct(sides.store.close())


async def test_an_asynchronous_store_waits_for_replicas_too(primary: RedisServer, replica: RedisServer) -> None:
    store = backend.asynchronous(primary.url, StoreOptions(namespace="n"))
    assert isinstance(store, RedisStore)
    await store.open()
    await store.authority("q", 1, "m", MOVING, "to")
    with redis.Redis.from_url(primary.url) as client, redis.Redis.from_url(replica.url) as follower:
        assert follower.hget(queue_keys("n", "q")["vars"], "home") == b"moving"
        assert waits(client) == 1
    await store.close()


def test_nobody_waits_where_no_replica_follows(primary: RedisServer) -> None:
    sides = Sides(primary.url)
    sides.put("a")
    sides.begin()
    parcels = sides.out(1)
    sides.bring(1, parcels)
    assert sides.gone(1, parcels) == 1
    with redis.Redis.from_url(primary.url) as client:
        assert waits(client) == 0
    direct(sides.store.close())


@pytest.mark.parametrize("missed", ["the move", "a checkout", "a confirmation"])
def test_a_replica_that_missed_the_tail_takes_over(primary: RedisServer, replica: RedisServer, missed: str) -> None:
    """The mover finds out by its epoch, and confirms by ids what the target has: nothing is left to run twice."""
    sides, names = Sides(primary.url), ["a", "b", "c", "d"]
    sides.put(*names)
    with redis.Redis.from_url(replica.url) as follower, redis.Redis.from_url(primary.url) as client:
        client.wait(1, 20_000)

        def cut(moment: str) -> None:
            if moment == missed:
                client.wait(1, 20_000)
                follower.replicaof("NO", "ONE")

        cut("the move")
        sides.begin()
        cut("a checkout")
        parcels = sides.out(1)
        cut("a confirmation")
        assert sides.gone(1, parcels) == 4
    after = Sides(replica.url)
    after.options = sides.options
    after.store = direct_store(replica.url, sides.options)
    if missed == "the move":
        with pytest.raises(Conflict):
            after.gone(1, parcels)
        assert after.claim(1) == ["a"]  # by a worker that came before the mover
    direct(after.store.authority("from", 2, "m2", MOVING, "to"))
    said = direct(after.store.confirm("from", 2, 1, names))
    assert (said.removed, said.active) == ((3, ["a"]) if missed == "the move" else (4, []))
    assert after.states("from") == ({State.ACTIVE: 1} if missed == "the move" else {})
    assert direct(after.store.journal("from")) is None
    direct(sides.store.close())
    direct(after.store.close())


def direct_store(url: str, options: StoreOptions) -> RedisStore:
    store = backend.blocking(url, options)
    assert isinstance(store, RedisStore)
    direct(store.open())
    return store


# ---- a full server


def test_a_full_server_is_left_and_takes_nothing_in(primary: RedisServer) -> None:
    sides = Sides(primary.url)
    sides.put(*"abcd")
    sides.put("e", expires_in=3_600_000, unique=UniqueKey("k"))
    sides.begin()
    parcels = sides.out(1, 2)
    with redis.Redis.from_url(primary.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(QueueFull):
            sides.bring(1, parcels)
        assert client.hlen(sides.key("jobs", "to")) == 0
        assert client.exists(sides.key("taken", "to")) == 0
        assert direct(sides.store.restore("from", 1, 1)) == 2
        again = sides.out(2)
        assert [parcel.record.id for parcel in again] == ["a", "b", "c", "d", "e"]
        assert sides.gone(2, again) == 5
        direct(sides.store.authority("from", 2, "m", Home.GONE, "to"))
        assert client.exists(*(sides.key(name) for name in ("jobs", "run", "opts", "out", "batches", "unique"))) == 0
    direct(sides.store.close())


# ---- bounds


def test_a_checkout_is_bounded_by_bytes(sides: Sides) -> None:
    for n in range(40):
        sides.put(f"j{n:02}", body=b"x" * 250_000)
    sides.begin()
    found = []
    for batch in range(1, 10):
        parcels = sides.out(batch)
        assert sum(len(parcel.record.body) for parcel in parcels) <= 4 * 1024 * 1024
        found += [parcel.record.id for parcel in parcels]
    assert found == [f"j{n:02}" for n in range(40)]


def test_running_jobs_are_paged_by_id(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_SORTED", 50)
    monkeypatch.setattr(moving, "_SCANNED", 20)
    names = [f"j{n:04}" for n in range(700)]
    sides.put(*names)
    assert len(sides.claim(700)) == 700
    found, after = list[str](), ""
    while page := direct(sides.store.running("from", after, 33)):
        assert len(page) == 33 or page[-1].record.id == names[-1]
        found += [parcel.record.id for parcel in page]
        after = found[-1]
    assert found == names


def test_timed_keys_are_paged_and_looked_for_once(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "_SCANNED", 20)
    for n in range(200):
        sides.put(f"j{n:03}", unique=UniqueKey(f"k{n:03}", until="time", ttl=3_600_000))
    claimed = sides.claim(200)
    token = f"w:{sides.n}"
    sides.claim(0, "from", *(Outcome(name, token, Kind.COMPLETED) for name in claimed))
    assert direct(sides.store.prune("from", state=State.COMPLETED))[0] == 200
    found, after, looks = list[HeldKey](), "", []
    whole = RedisStore._smallest

    async def counted(*args: Any) -> list[bytes]:
        looks.append(args)
        return await whole(*args)

    monkeypatch.setattr(RedisStore, "_smallest", counted)
    while page := direct(sides.store.timed_keys("from", after, 30)):
        found += page
        after = page[-1].key
    assert [(key.key, key.id) for key in found] == [(f"k{n:03}", f"j{n:03}") for n in range(200)]
    assert len(looks) <= 3  # the first, and where what it found came to its end


def do(verb: str, sides: Sides, parcels: list[Parcel]) -> None:
    if verb == "checkout":
        assert len(sides.out(2, 100)) == 100
    elif verb == "import":
        sides.bring(2, parcels)
    elif verb == "confirm":
        assert sides.gone(1, parcels) == 100
    elif verb == "restore":
        assert direct(sides.store.restore("from", 1, 1)) == 100
    else:
        assert len(direct(sides.store.unhold("to", 1))) == 10


@pytest.mark.parametrize("verb", ["checkout", "import", "confirm", "restore", "unhold"])
def test_a_batch_of_a_deep_queue_costs_no_more_commands(primary: RedisServer, verb: str) -> None:
    said = []
    for depth in (300, 1000):
        sides = Sides(primary.url)
        sides.put(*(f"d{n:04}" for n in range(depth // 2)), delay=60_000, trace="t")
        sides.put(*(f"j{n:04}" for n in range(depth)))
        assert len(sides.claim(10)) == 10
        sides.begin()
        parcels = sides.out(1, 100)
        sides.bring(1, direct(sides.store.running("from", "", 10)))
        with redis.Redis.from_url(primary.url) as client:
            client.config_resetstat()
            do(verb, sides, parcels)
            stats = client.info("commandstats")
        counted = {name: row["calls"] for name, row in stats.items() if name not in ("cmdstat_eval", "cmdstat_evalsha")}
        assert sum(counted.values()) > 5
        said.append(counted)
        direct(sides.store.close())
    assert said[0] == said[1]


# ---- transactions and waking


def test_a_transaction_that_a_move_overtakes_applies_nothing(sides: Sides, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        pipe = client.pipeline()
        pipe.hset("{" + sides.options.namespace + "}:application", "written", 1)
        direct(sides.store.enqueue("from", [JobSpec(id="a", task="t", body=b"x")], Op("p", 1), within=pipe))
        sides.begin()
        with pytest.raises(redis.WatchError):
            pipe.execute()
        assert client.hlen("{" + sides.options.namespace + "}:application") == 0
        assert sides.states("from") == {}


def test_a_queue_wakes_its_workers_when_it_opens_not_while_jobs_come(sides: Sides, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        sides.put("a", "b", delay=0)
        sides.begin()
        client.delete(sides.key("marker", "to"), sides.key("marker"))
        parcels = sides.out(1)
        sides.bring(1, parcels)
        assert sides.claim(5, "to") == []
        assert sides.claim(5) == []
        assert client.exists(sides.key("marker", "to"), sides.key("marker")) == 0
        direct(sides.store.authority("to", 2, "m", HERE, "from"))
        assert direct(sides.store.wait(["to"], 1000)) == ["to"]
        assert sides.claim(5, "to") == ["a", "b"]


def test_a_moving_queue_promotes_nothing_and_says_when_the_next_is_due(sides: Sides) -> None:
    sides.put("a", delay=60_000)
    sides.begin()
    sides.store.move_clock(lambda: 120_000)
    reply = direct(sides.store.exchange("from", Op("v", 1), [], Ask(want=5)))
    assert (reply.claims, reply.more, reply.home, reply.to) == ([], False, MOVING, "to")
    assert reply.next_at is not None
    assert sides.states("from") == {State.DELAYED: 1}
