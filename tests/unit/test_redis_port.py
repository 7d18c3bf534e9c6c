"""The driver ports of the Redis store on a real server: one send a call, errors by meaning, nothing dirty reused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
import redis
import redis.asyncio
from queuekit_redis import RedisStore, backend
from queuekit_redis.port import AsyncPort, BlockingPort
from queuekit_redis.replies import Forbidden, redact, translate
from queuekit_redis.scripts import SCRIPTS
from redis import exceptions as rx

from queuekit import ids
from queuekit.domain.job import JobSpec
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Ask, Hold, Kind, Op, Outcome
from queuekit.domain.query import Change, Note, Verb, WorkerBeat
from queuekit.domain.state import State
from queuekit.errors import ConfigError, QueueFull, StoreError, StoreUnavailable
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer


@pytest.fixture
def options() -> StoreOptions:
    return StoreOptions(namespace="u" + ids.nonce()[:11], timeout=2000)


@pytest.fixture
def plain(redis_url: str, options: StoreOptions) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
        for key in client.scan_iter(match="{" + options.namespace + "*", count=1000):
            client.unlink(key)


@pytest.fixture
def store(redis_url: str, options: StoreOptions, plain: Any) -> Iterator[RedisStore]:
    made = backend.blocking(redis_url, options)
    assert isinstance(made, RedisStore)
    direct(made.open())
    yield made
    direct(made.close())


@pytest.fixture
async def async_store(redis_url: str, options: StoreOptions, plain: Any) -> AsyncIterator[RedisStore]:
    made = backend.asynchronous(redis_url, options)
    assert isinstance(made, RedisStore)
    await made.open()
    yield made
    await made.close()


def spec(name: str = "a", **more: Any) -> JobSpec:
    return JobSpec(id=name, task="work", body=b"x", **more)


def scripts_run(client: Any) -> int:
    stats = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def test_a_script_the_server_forgot_is_sent_whole_and_runs_once(store: RedisStore, plain: Any) -> None:
    direct(store.enqueue("q", [spec("a")], Op("p", 1)))
    plain.script_flush()
    loads = plain.info("commandstats").get("cmdstat_script|load", {"calls": 0})["calls"]
    assert direct(store.enqueue("q", [spec("b")], Op("p", 2))).receipts[0].created
    assert direct(store.count("q")).totals.enqueued == 2
    assert plain.info("commandstats").get("cmdstat_script|load", {"calls": 0})["calls"] == loads
    assert plain.script_exists(SCRIPTS["enqueue"].sha.decode()) == [True]


async def test_an_asynchronous_call_heals_a_forgotten_script_too(async_store: RedisStore, plain: Any) -> None:
    await async_store.enqueue("q", [spec("a")], Op("p", 1))
    plain.script_flush()
    assert not (await async_store.enqueue("q", [spec("a")], Op("p", 2))).receipts[0].created


def test_nobody_listening_is_refused_and_shows_no_password() -> None:
    lost = backend.blocking("redis://me:secret@127.0.0.1:1/0?client_name=secret", StoreOptions(timeout=500))
    with pytest.raises(StoreUnavailable) as caught:
        direct(lost.ping())
    assert caught.value.outcome == "refused"
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)


def test_an_unknown_option_in_a_url_is_named() -> None:
    odd = backend.blocking("redis://127.0.0.1:1/0?colour=blue", StoreOptions())
    with pytest.raises(ConfigError, match="colour"):
        direct(odd.ping())


async def test_nobody_listening_is_refused_asynchronously() -> None:
    lost = backend.asynchronous("redis://127.0.0.1:1/0", StoreOptions(timeout=500))
    with pytest.raises(StoreUnavailable) as caught:
        await lost.ping()
    assert caught.value.outcome == "refused"


def test_no_answer_is_unknown_and_a_repeat_is_answered_from_the_record(options: StoreOptions) -> None:
    with RedisServer() as server:
        impatient = backend.blocking(server.url, StoreOptions(namespace=options.namespace, timeout=300))
        direct(impatient.open())
        direct(impatient.enqueue("q", [spec("a")], Op("p", 1)))
        server.pause()
        with pytest.raises(StoreUnavailable) as caught:
            direct(impatient.enqueue("q", [spec("b")], Op("p", 2)))
        assert caught.value.outcome == "unknown"
        server.resume()  # the lost call is in the server's socket buffer and runs now
        again = direct(impatient.enqueue("q", [spec("b")], Op("p", 2)))
        assert again.receipts[0].created
        assert direct(impatient.count("q")).totals.enqueued == 2
        direct(impatient.close())


def test_a_connection_the_server_closed_while_it_lay_idle_is_made_anew(store: RedisStore, plain: Any) -> None:
    direct(store.count("q"))
    port = store._port
    assert isinstance(port, BlockingPort)
    port._free = [(connection, since - 10) for connection, since in port._free]
    plain.client_kill_filter(_type="normal", skipme=True)
    assert direct(store.count("q")).totals.enqueued == 0


async def test_an_asynchronous_idle_connection_is_made_anew(async_store: RedisStore, plain: Any) -> None:
    await async_store.count("q")
    port = async_store._port
    assert isinstance(port, AsyncPort)
    line = port._free[0][0]
    plain.client_kill_filter(_type="normal", skipme=True)
    while line.usable():  # noqa: ASYNC110  until the loop has seen the end
        await asyncio.sleep(0)
    assert (await async_store.count("q")).totals.enqueued == 0


async def test_an_idle_connection_is_looked_at_without_a_time_out_that_could_swallow_a_cancel(
    async_store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def old_look(self: Any) -> bool:
        """As redis-py before 8 looks; here the cancel comes just then."""
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return False

    monkeypatch.setattr(redis.asyncio.Connection, "can_read", old_look, raising=False)
    monkeypatch.setattr(redis.asyncio.Connection, "can_read_destructive", old_look)
    await async_store.count("q")
    port = async_store._port
    assert isinstance(port, AsyncPort)
    before = port._free[0][0]
    port._free = [(connection, since - 10) for connection, since in port._free]
    await async_store.count("q")
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling(), "the look of redis-py was asked"
    assert [connection for connection, _ in port._free] == [before], "a good connection is used again"


async def test_a_cancelled_wait_drops_its_connection(async_store: RedisStore) -> None:
    port = async_store._port
    assert isinstance(port, AsyncPort)
    waiting = asyncio.create_task(async_store.wait(["q"], 5000))
    while not waiting.done() and port._blocking == []:
        await asyncio.sleep(0.01)
        if await blocked(async_store):
            break
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert port._blocking == []
    await async_store.enqueue("q", [spec()], Op("p", 1))
    assert await async_store.wait(["q"], 5000) == ["q"]  # not taken by the one that is gone


async def test_a_cancelled_call_leaves_no_answer_to_the_next(async_store: RedisStore) -> None:
    await async_store.enqueue("q", [spec("a"), spec("b")], Op("p", 1))
    for n in range(20):
        call = asyncio.create_task(async_store.count("q"))
        for _ in range(n % 4):
            await asyncio.sleep(0)
        call.cancel()
        with suppress(asyncio.CancelledError):  # it may be done already
            await call
        found = await async_store.get("q", ["b"])
        assert found[0] is not None
        assert found[0].id == "b"


async def blocked(store: RedisStore) -> bool:
    (text,) = await store._port.commands([(b"INFO", b"clients")])
    return b"blocked_clients:0" not in text


def test_threads_share_a_store(store: RedisStore) -> None:
    def work(name: str) -> None:
        for n in range(50):
            direct(store.enqueue("q", [spec(f"{name}{n}")], Op(name, n + 1)))

    threads = [threading.Thread(target=work, args=(f"t{i}-",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert direct(store.count("q")).totals.enqueued == 200
    port = store._port
    assert isinstance(port, BlockingPort)
    assert 1 <= len(port._free) <= 4


FORK = """
import os, sys
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Op
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit_redis import backend
store = backend.blocking(sys.argv[1], StoreOptions(namespace=sys.argv[2]))
direct(store.open())
mine = store._port._free[0][0]
child = os.fork()
name = "parent" if child else "child"
for n in range(200):
    job = JobSpec(id=f"{name}{n}", task="t", body=b"")
    assert direct(store.enqueue("q", [job], Op(name, n + 1))).receipts[0].id == job.id
if not child:
    assert mine not in [kept for kept, _ in store._port._free]
    direct(store.close())
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert store._port._free[0][0] is mine
assert direct(store.count("q")).totals.enqueued == 400
"""


def test_a_forked_child_uses_connections_of_its_own(redis_url: str, options: StoreOptions, plain: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, redis_url, options.namespace],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


WRAPPED = "Error running script (call to f_e0cd): @user_script:46: @user_script: 46: {}"  # as Redis 6.2 says it


@pytest.mark.parametrize(
    ("error", "sent", "kind", "outcome"),
    [
        (rx.ConnectionError("Error 111 connecting"), False, StoreUnavailable, "refused"),
        (rx.ConnectionError("Connection closed by server."), True, StoreUnavailable, "unknown"),
        (rx.TimeoutError("Timeout reading from socket"), True, StoreUnavailable, "unknown"),
        (OSError("broken pipe"), True, StoreUnavailable, "unknown"),
        (rx.BusyLoadingError("Redis is loading the dataset in memory"), True, StoreUnavailable, "refused"),
        (rx.ReadOnlyError("You can't write against a read only replica."), True, StoreUnavailable, "refused"),
        (rx.ResponseError("MISCONF Redis is configured to save RDB snapshots"), True, StoreUnavailable, "refused"),
        (rx.ResponseError("BUSY Redis is busy running a script."), True, StoreUnavailable, "refused"),
        (rx.ResponseError("NOREPLICAS Not enough good replicas to write."), True, StoreUnavailable, "refused"),
        (rx.ClusterDownError("CLUSTERDOWN The cluster is down"), True, StoreUnavailable, "refused"),
        (rx.TryAgainError("TRYAGAIN Multiple keys request"), True, StoreUnavailable, "refused"),
        (rx.ResponseError("MASTERDOWN Link with MASTER is down"), True, StoreUnavailable, "refused"),
        (rx.MovedError("7365 127.0.0.1:7002"), True, StoreUnavailable, "refused"),
        (rx.NoPermissionError("this user has no permissions to run the 'ping' command"), True, Forbidden, "refused"),
        (rx.AuthenticationError("WRONGPASS invalid username-password pair"), True, StoreUnavailable, "refused"),
        (rx.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), True, QueueFull, None),
        (rx.ResponseError("OOM command not allowed when used memory > 'maxmemory'."), True, QueueFull, None),
        (rx.ResponseError(WRAPPED.format("-OOM command not allowed when used memory")), True, QueueFull, None),
        (rx.ResponseError(WRAPPED.format("-MISCONF Redis is configured")), True, StoreUnavailable, "refused"),
        (rx.ResponseError(WRAPPED.format("-WRONGTYPE Operation against a key")), True, StoreError, None),
        (rx.ResponseError("ERR something else"), True, StoreError, None),
    ],
)
def test_errors_are_translated_by_meaning(error: Exception, sent: bool, kind: type[StoreError], outcome: Any) -> None:
    found = translate(error, "redis://h:1", sent=sent)
    assert type(found) is kind
    assert getattr(found, "outcome", None) == outcome


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:pass@h:1/0", "redis://***@h:1/0"),
        ("rediss://me:p%40ss@h:1/0?password=x", "rediss://***@h:1/0"),
        ("redis+sentinel://me:a@b@h:1,k:2/m/0", "redis+sentinel://***@h:1,k:2/m/0"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_full_server_refuses_new_jobs_and_still_drains(options: StoreOptions) -> None:
    with RedisServer(options={"maxmemory": "6mb"}) as server, redis.Redis.from_url(server.url) as client:
        full = backend.blocking(server.url, options)
        direct(full.open())
        body, n = b"x" * 10_000, 0

        def fill() -> None:
            nonlocal n
            while n < 2000:
                n += 1
                direct(full.enqueue("q", [JobSpec(id=f"j{n}", task="t", body=body, delay=n % 2 or None)], Op("p", n)))

        with pytest.raises(QueueFull):
            fill()
        left = n - 1
        assert direct(full.count("q")).totals.enqueued == left
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)  # far over the limit
        assert not direct(full.exchange("idle", Op("i", 1), [], Ask(want=0))).more  # it writes its record only
        beat = WorkerBeat(id="w", host="h", pid=1, queues=("q", "other"), concurrency=1, started_at=1)
        direct(full.beat(beat, 30_000))
        assert [worker.id for worker in direct(full.workers())] == ["w"]
        assert direct(full.watch("q", "j1", 0)) is not None
        direct(full.configure("other", QueueConf(override=Limits(paused="full"))))
        assert direct(full.count("other")).paused == "full"
        outcomes: list[Outcome] = []
        for k in range(1, n + 5):
            reply = direct(full.exchange("q", Op("w", k), outcomes, Ask(want=10, worker="w")))
            direct(full.recover("q"))
            if reply.claims:
                job = reply.claims[0]
                assert direct(full.annotate("q", job.id, job.token or "", Note(progress=b"1"))) is True
                if k == 1:  # asked for while nothing is free yet; a run that ends all the same has completed
                    assert direct(full.change("q", [Change(id=job.id, verb=Verb.CANCEL)], Op("c", 1)))[0].ok
                direct(full.renew("q", [Hold(id=job.id, token=job.token or "", logs=(b"x",))], 30_000))
            outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in reply.claims]
        counts = direct(full.count("q"))
        assert counts.totals.completed == left
        direct(full.prune("q", state=State.COMPLETED))
        direct(full.close())


async def test_a_user_without_channels_may_settle_and_wait(options: StoreOptions) -> None:
    """Redis 7 gives a new user no channel: an end that could not be published must be kept all the same."""
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "worker", "on", ">pw", "~*", "resetchannels", "+@all")
        store = backend.asynchronous(f"redis://worker:pw@127.0.0.1:{server.port}/0", options)
        await store.open()
        await store.enqueue("q", [spec("a")], Op("p", 1))
        (job,) = (await store.exchange("q", Op("w", 1), [], Ask(want=1))).claims
        waiting = asyncio.create_task(store.watch("q", "a", 20_000))
        await store.watch("q", "a", 0)  # surely marked
        await store.exchange("q", Op("w", 2), [Outcome("a", job.token or "", Kind.COMPLETED, result=b"r")], Ask())
        ended = await waiting
        assert ended is not None
        assert ended.result == b"r"
        await store.close()
