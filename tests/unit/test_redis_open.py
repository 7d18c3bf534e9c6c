"""What the Redis store checks of a server, whose client it takes, and what it promises about space and order."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from queuekit_redis import RedisStore, backend
from queuekit_redis.cluster import ClusterPort
from queuekit_redis.keys import queue_keys
from queuekit_redis.port import BlockingPort

from queuekit import ids
from queuekit.domain.job import PRIORITY_MAX, JobSpec, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.errors import ConfigError, NotReplicated, SchemaMismatch, StoreUnavailable, Unsupported
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer

PAYLOAD = json.dumps({"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456", "note": "x" * 30}).encode()
EVICTING = "allkeys-lru"


@pytest.fixture
def options() -> StoreOptions:
    return StoreOptions(namespace="u" + ids.nonce()[:11])


@pytest.fixture
def plain(redis_url: str, options: StoreOptions) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
        for key in client.scan_iter(match="{" + options.namespace + "*", count=1000):
            client.unlink(key)


def test_an_evicting_server_is_refused_with_what_to_do(options: StoreOptions) -> None:
    with RedisServer(options={"maxmemory-policy": EVICTING}) as server:
        store = backend.blocking(server.url, options)
        with pytest.raises(ConfigError, match=r"noeviction.*QUEUEKIT_ALLOW_EVICTION") as caught:
            direct(store.open())
        assert EVICTING in str(caught.value)
        knowing = backend.blocking(server.url, StoreOptions(namespace=options.namespace, allow_eviction=True))
        direct(knowing.open())
        assert any(EVICTING in warning for warning in direct(knowing.ping()).warnings)
        direct(store.close())
        direct(knowing.close())


def test_the_policy_is_read_where_a_user_may_not_ask_for_settings(options: StoreOptions) -> None:
    """CONFIG is forbidden at most providers; INFO tells the policy too. A policy of expiring keys only is tolerated."""
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all", "-config", "-@admin")
        url = f"redis://app:pw@127.0.0.1:{server.port}/0"
        for policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random"):
            client.config_set("maxmemory-policy", policy)
            store = backend.blocking(url, options)
            with pytest.raises(ConfigError, match=f"maxmemory-policy {policy}.*Set maxmemory-policy noeviction"):
                direct(store.open())
            direct(store.close())
        for policy in ("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "noeviction"):
            client.config_set("maxmemory-policy", policy)
            store = backend.blocking(url, options)
            direct(store.open())
            told = [line for line in direct(store.ping()).warnings if "set noeviction" in line]
            assert len(told) == (policy != "noeviction")
            direct(store.enqueue("q", [JobSpec(id=policy, task="t", body=b"")], Op(policy, 1)))
            direct(store.close())
        assert [key for key in client.scan_iter(match="*") if client.ttl(key) != -1] == [], "nothing of ours expires"
        with redis.Redis.from_url(url) as app, pytest.raises(redis.exceptions.NoPermissionError):
            app.config_get("maxmemory-policy")


def test_a_server_that_forgets_at_a_restart_is_told_of(options: StoreOptions) -> None:
    for setting, told in (("no", True), ("yes", False)):
        with RedisServer(options={"appendonly": setting}) as server:
            store = backend.blocking(server.url, options)
            direct(store.open())
            assert any("appendonly" in warning for warning in direct(store.ping()).warnings) is told
            direct(store.close())


def test_a_store_has_one_id_for_its_life(redis_url: str, options: StoreOptions, plain: Any) -> None:
    found = set()
    for _ in range(2):
        store = backend.blocking(redis_url, options)
        direct(store.open())
        pong = direct(store.ping())
        found.add(pong.store_id)
        assert pong.server.startswith("redis ")
        assert pong.schema == 1
        direct(store.close())
    assert len(found) == 1
    assert found != {""}


def test_data_of_another_schema_are_not_touched(redis_url: str, options: StoreOptions, plain: Any) -> None:
    plain.set("{" + options.namespace + "/}:schema", 99)
    store = backend.blocking(redis_url, options)
    with pytest.raises(SchemaMismatch, match="99"):
        direct(store.open())
    direct(store.close())


def test_a_write_no_replica_confirms_is_told_as_such(redis_url: str, options: StoreOptions, plain: Any) -> None:
    careful = StoreOptions(namespace=options.namespace, durability="replicated", timeout=1500)
    store = backend.blocking(redis_url, careful)
    direct(store.open())
    with pytest.raises(NotReplicated):
        direct(store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1)))
    assert direct(store.count("q")).totals.enqueued == 1  # reading waits for nobody
    direct(store.close())


def test_a_write_that_a_replica_has_is_confirmed(options: StoreOptions) -> None:
    careful = StoreOptions(namespace=options.namespace, durability="replicated")
    with RedisServer() as primary, RedisServer() as replica:
        store = backend.blocking(primary.url, careful)
        direct(store.open())
        with redis.Redis.from_url(primary.url) as client, redis.Redis.from_url(replica.url) as follower:
            follower.replicaof("127.0.0.1", primary.port)
            client.set("floors", "1")
            while client.wait(1, 1000) < 1:
                client.set("floors", "1")
        answer = direct(store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1)))
        assert answer.receipts[0].created
        direct(store.close())


def test_a_client_handed_in_is_used_without_its_retries(redis_url: str, options: StoreOptions, plain: Any) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        made = backend.adopt(client, options)
        assert made is not None
        store, none = made
        assert none is None
        assert store is not None
        direct(store.open())
        body = bytes(range(256))
        direct(store.enqueue("q", [JobSpec(id="a", task="t", body=body)], Op("p", 1)))
        assert direct(store.exchange("q", Op("w", 1), [], Ask(want=1))).claims[0].body == body
        direct(store.close())
        assert client.ping()  # it stays the application's


async def test_an_asynchronous_client_handed_in_serves_the_asynchronous_side(
    redis_url: str, options: StoreOptions, plain: Any
) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    made = backend.adopt(client, options)
    assert made is not None
    assert made[0] is None
    assert made[1] is not None
    await made[1].open()
    assert (await made[1].count("q")).totals.enqueued == 0
    await made[1].close()
    await client.aclose()


def test_what_is_no_client_of_this_driver_is_left_to_others(options: StoreOptions) -> None:
    assert backend.adopt(object(), options) is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = redis.RedisCluster.__new__(redis.RedisCluster)
        with pytest.raises(Unsupported, match=r"redis\+cluster"):
            backend.adopt(cluster, options)
        cluster.__dict__.setdefault("nodes_manager", None)


def test_a_client_that_retries_runs_a_lost_script_once_only(options: StoreOptions) -> None:
    with RedisServer() as server, redis.Redis.from_url(server.url, socket_timeout=1.5) as client:
        made = backend.adopt(client, options)
        assert made is not None
        assert made[0] is not None
        store = made[0]
        direct(store.open())
        direct(store.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1)))
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        server.pause()
        with pytest.raises(StoreUnavailable):
            direct(store.enqueue("q", [JobSpec(id="b", task="t", body=b"")], Op("p", 2)))
        server.resume()
        assert direct(store.ping()).now > 0  # whatever was sent has run by now
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == before + 1
        direct(store.close())


def test_sentinel_and_cluster_addresses_make_stores_without_io(options: StoreOptions) -> None:
    for url in ("redis+sentinel://me:pw@127.0.0.1:1,127.0.0.1:2/mymaster/3", "redis+cluster://:pw@127.0.0.1:1"):
        for store in (backend.blocking(url, options), backend.asynchronous(url, options)):
            assert isinstance(store, RedisStore)
            assert "pw" not in store._port.where
    sentinel = backend.blocking("redis+sentinel://me:p%40w@127.0.0.1:1,h:2/mymaster/3", options)
    assert isinstance(sentinel, RedisStore)
    port = sentinel._port
    assert isinstance(port, BlockingPort)
    settings = port._pool.connection_kwargs
    assert (settings["username"], settings["password"], settings["db"]) == ("me", "p@w", 3)
    cluster = backend.blocking("redis+cluster://:pw@a:1,b:2", options)
    assert isinstance(cluster, RedisStore)
    assert isinstance(cluster._port, ClusterPort)
    assert cluster._port._seeds == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h:1",
        "redis://h:port/0",
        "redis://h/0x",
        "rediss://h/-1",
        "redis://h/shop",
        "redis+cluster://h:x",
    ],
)
def test_an_address_that_cannot_be_is_refused_at_once(url: str, options: StoreOptions) -> None:
    with pytest.raises(ConfigError, match=r"no Redis address"):
        backend.blocking(url, options)


def test_nobody_at_a_sentinel_is_refused(options: StoreOptions) -> None:
    store = backend.blocking("redis+sentinel://127.0.0.1:1/m", StoreOptions(namespace=options.namespace, timeout=200))
    with pytest.raises(StoreUnavailable) as caught:
        direct(store.ping())
    assert caught.value.outcome == "refused"


class Guard(RedisServer):
    """A sentinel that knows one primary, as `m`."""

    def __init__(self, primary: RedisServer) -> None:
        super().__init__()
        self.primary = primary

    def _command(self) -> list[str]:
        conf = self.folder / "sentinel.conf"
        conf.write_text(f"bind 127.0.0.1\nport {self.port}\nsentinel monitor m 127.0.0.1 {self.primary.port} 1\n")
        return [str(self.binary), str(conf), "--sentinel"]

    def _is_ready(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1) as client:
                return bool(client.info("server")["process_id"] == self.pid)
        except redis.ConnectionError:
            return False


async def test_a_primary_is_found_through_its_sentinel(options: StoreOptions) -> None:
    with RedisServer() as primary, Guard(primary) as guard:
        url = f"redis+sentinel://127.0.0.1:{guard.port}/m/0"
        for blocking in (True, False):
            store = backend.blocking(url, options) if blocking else backend.asynchronous(url, options)
            await store.open()
            answer = await store.enqueue("q", [JobSpec(id=f"a{blocking}", task="t", body=b"")], Op(f"p{blocking}", 1))
            assert answer.receipts[0].created
            assert await store.wait(["q"], 2000) == ["q"]
            await store.close()


def test_a_waiting_job_takes_at_most_450_bytes(options: StoreOptions) -> None:
    body, many = PAYLOAD[:100], 20_000
    assert len(body) == 100
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        store = backend.blocking(server.url, options)
        direct(store.open())
        direct(store.enqueue("q", [JobSpec(id="first", task="work", body=body)], Op("p", 1)))
        before = client.info("memory")["used_memory"]
        for n in range(2, 2 + many // 1000):
            specs = [JobSpec(id=ids.job_id(), task="work", body=body) for _ in range(1000)]
            direct(store.enqueue("q", specs, Op("p", n)))
        grown = (client.info("memory")["used_memory"] - before) / many
        keys = queue_keys(options.namespace, "q")
        assert client.hlen(keys["jobs"]) == client.zcard(keys["ready"]) == many + 1
        assert client.exists(keys["run"], keys["opts"], keys["notes"]) == 0  # exactly two entries each
        assert grown <= 450, grown
        direct(store.close())


def test_a_removed_queue_leaves_no_name_and_is_listed_when_it_comes_again(
    redis_url: str, options: StoreOptions, plain: Any
) -> None:
    one, other = backend.blocking(redis_url, options), backend.blocking(redis_url, options)
    for store in (one, other):
        direct(store.open())
    direct(other.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 1)))
    direct(one.configure("bare", QueueConf(override=Limits(paused="x"))))
    for queue in ("q", "bare", "never"):
        assert direct(one.obliterate(queue))[1] is False
    assert plain.smembers("{" + options.namespace + "/}:queues") == set()
    direct(other.enqueue("q", [JobSpec(id="a", task="t", body=b"")], Op("p", 2)))  # it named the queue a moment ago
    assert direct(one.queues()) == ["q"]
    direct(one.enqueue("q", [JobSpec(id="b", task="t", body=b"", delay=9)], Op("o", 1)))
    assert direct(one.queues()) == direct(other.queues()) == ["q"]
    for store in (one, other):
        direct(store.close())


def test_what_a_producer_is_remembered_by_is_small(redis_url: str, options: StoreOptions, plain: Any) -> None:
    """A record of an op stays for a day: 1,000 ids of 200 characters that were there already were 200 KB a lane."""
    store = backend.blocking(redis_url, options)
    direct(store.open())
    names = [f"{n:04}" + "x" * 196 for n in range(1000)]
    for lift in ({}, {"delay": 1}, {"unique": UniqueKey("k")}):
        specs = [JobSpec(id=name, task="t", body=b"", **lift) for name in names[: 1000 if "unique" not in lift else 1]]
        first = direct(store.enqueue("q", specs, Op("p", 1)))
        again = direct(store.enqueue("q", specs, Op("p2", 1)))
        assert [receipt.id for receipt in first.receipts] == [receipt.id for receipt in again.receipts]
        assert {receipt.created for receipt in again.receipts} == {False}
        assert direct(store.enqueue("q", specs, Op("p2", 1))).receipts == again.receipts
        assert plain.hstrlen(queue_keys(options.namespace, "q")["ops"], "p2") < 2100
        direct(store.obliterate("q"))
        direct(store.obliterate("q"))
    direct(store.close())


@pytest.mark.parametrize("heavy", ["body", "logs"])
def test_a_reply_that_grows_large_ends_and_says_there_is_more(
    redis_url: str, options: StoreOptions, plain: Any, heavy: str
) -> None:
    """1,000 claims of 256 KiB would be one reply of 256 MiB: what is too much stands where it stood."""
    store = backend.blocking(redis_url, StoreOptions(namespace=options.namespace, payload_limit=1 << 20))
    direct(store.open())
    large, names = b"x" * 1_000_000, [f"j{n:02}" for n in range(30)]
    specs = [
        JobSpec(id=name, task="t", body=large if heavy == "body" else b"", priority=n // 10)
        for n, name in enumerate(names)
    ]
    for n in range(3):
        direct(store.enqueue("q", specs[10 * n : 10 * n + 10], Op("p", n + 1)))
    if heavy == "logs":
        for job in direct(store.exchange("q", Op("v", 1), [], Ask(want=30))).claims:
            assert job.token
            ended = Outcome(job.id, job.token, Kind.RELEASED, logs=(large,))
            direct(store.exchange("q", Op("v" + job.id, 1), [ended], Ask()))
    found: list[str] = []
    for n in range(1, 5):
        reply = direct(store.exchange("q", Op("w", n), [], Ask(want=1000)))
        again = direct(store.exchange("q", Op("w", n), [], Ask(want=1000)))
        assert [job.id for job in again.claims] == [job.id for job in reply.claims]
        carried = sum(len(job.body) + sum(map(len, job.logs)) for job in reply.claims)
        found += [job.id for job in reply.claims]
        assert reply.more is again.more is (len(found) < 30)
        assert carried < (8 << 20) + len(large)
        assert carried >= 8 << 20 or not reply.more
    assert found == names
    assert {job.claims for job in direct(store.get("q", names)) if job} == {1 if heavy == "body" else 2}
    direct(store.close())


def test_the_order_is_exact_at_both_ends_of_the_score(redis_url: str, options: StoreOptions, plain: Any) -> None:
    store = backend.blocking(redis_url, options)
    direct(store.open())
    vars_key = queue_keys(options.namespace, "q")["vars"]
    far = 2**42 - 10
    direct(store.enqueue("q", [JobSpec(id="old", task="t", body=b"", priority=500)], Op("p", 1)))
    plain.hset(vars_key, mapping={"place": far, "front": -far})
    expected = []
    for n, priority in enumerate((0, 1, 999, PRIORITY_MAX), start=2):
        names = [f"{priority:04d}-{k}" for k in range(8)]
        specs = [JobSpec(id=name, task="t", body=b"", priority=priority, lifo=k < 4) for k, name in enumerate(names)]
        plain.hset(vars_key, mapping={"place": far, "front": -far})
        direct(store.enqueue("q", specs, Op("p", n)))
        expected += [*names[3::-1], *names[4:]]
    expected.insert(16, "old")
    claims = direct(store.exchange("q", Op("w", 1), [], Ask(want=100))).claims
    assert [job.id for job in claims] == expected
    by_id = {job.id: job for job in claims}
    assert by_id["0000-0"].place == -far - 1
    assert by_id["1000-7"].place == far + 4
    assert {by_id[name].priority for name in expected if name.startswith("1000")} == {PRIORITY_MAX}
    direct(store.close())


def test_a_cluster_serves_a_queue_wherever_its_slot_is(options: StoreOptions) -> None:
    """One node that owns all slots: it refuses keys of two slots in one call as a real cluster does."""
    settings = {"cluster-enabled": "yes"}
    with RedisServer(options=settings, port=random.randint(12_000, 22_000)) as node:  # its bus takes port + 10,000
        with redis.Redis.from_url(node.url) as client:
            for first in range(0, 16384, 4096):
                client.execute_command("CLUSTER", "ADDSLOTS", *range(first, first + 4096))
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                pass
        store = backend.blocking(f"redis+cluster://127.0.0.1:{node.port}", options)
        direct(store.open())
        for n, queue in enumerate("abcd"):
            direct(store.enqueue(queue, [JobSpec(id=queue, task="t", body=b"")], Op("p", n + 1)))
        assert direct(store.queues()) == list("abcd")
        assert sorted(job.queue for job in direct(store.locate("c"))) == ["c"]
        assert sorted(direct(store.wait("abcd", 100))[0] for _ in range(4)) == list("abcd")
        for queue in "abcd":
            assert [job.id for job in direct(store.exchange(queue, Op("w", 1), [], Ask(want=5))).claims] == [queue]
        direct(store.close())
