"""What is Redis's own about `within`: which pipelines are taken, and that a MULTI without rollback never lies."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from queuekit_redis import RedisStore, backend
from queuekit_redis.keys import queue_keys
from redis.backoff import NoBackoff
from redis.exceptions import ExecAbortError, ResponseError, WatchError
from redis.retry import Retry

from queuekit import EnqueueNotApplied, JobHandle, JobNotFound, QueueKit, ids
from queuekit.domain.job import JobSpec, UniqueKey
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.outcome import Enqueued, Op
from queuekit.errors import InvalidOption, Moved, QueueFull, QueueKitError, StoreUnavailable, Unsupported
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import RedisServer


@pytest.fixture
def options() -> StoreOptions:
    return StoreOptions(namespace="u" + ids.nonce()[:11])


@pytest.fixture
def data(options: StoreOptions) -> str:
    """A key of the application."""
    return "{" + options.namespace + "}:order"


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


def spec(name: str = "a", **more: Any) -> JobSpec:
    return JobSpec(id=name, task="work", body=b"x", **more)


def join(store: RedisStore, pipe: object, *jobs: JobSpec) -> Enqueued:
    return direct(store.enqueue("q", jobs or [spec()], Op(ids.nonce(), 1), pipe))


def is_there(store: RedisStore, name: str = "a") -> bool:
    return direct(store.get("q", [name])) != [None]


def vars_of(options: StoreOptions) -> bytes:
    return queue_keys(options.namespace, "q")["vars"]


# ---------------------------------------------------------------- nothing, or all of it
def test_a_queue_that_moves_meanwhile_stops_the_whole_transaction(
    store: RedisStore, plain: Any, options: StoreOptions, data: str
) -> None:
    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        join(store, pipe)
        plain.hset(vars_of(options), mapping={"home": "gone", "to": "other"})
        plain.hincrby(queue_keys(options.namespace, "q")["conf"], "moves", 1)  # whoever moves a queue writes it too
        with pytest.raises(WatchError):
            pipe.execute()
    assert not is_there(store)
    assert plain.get(data) is None


def test_a_configuration_written_meanwhile_stops_the_whole_transaction(
    store: RedisStore, plain: Any, data: str
) -> None:
    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        join(store, pipe)
        direct(store.configure("q", QueueConf(override=Limits(max_size=1))))
        with pytest.raises(WatchError):
            pipe.execute()
    assert (is_there(store), plain.get(data)) == (False, None)


def test_a_key_taken_meanwhile_stops_the_whole_transaction(store: RedisStore, plain: Any, data: str) -> None:
    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        join(store, pipe, spec("a", unique=UniqueKey("k")))
        direct(store.enqueue("q", [spec("b", unique=UniqueKey("k"))], Op("p", 1)))
        with pytest.raises(WatchError):
            pipe.execute()
    assert (is_there(store), plain.get(data)) == (False, None)


def test_a_moved_queue_refuses_at_once(store: RedisStore, plain: Any, options: StoreOptions) -> None:
    plain.hset(vars_of(options), mapping={"home": "gone", "to": "other"})
    with plain.pipeline() as pipe:
        with pytest.raises(Moved, match="other"):
            join(store, pipe)
        assert (pipe.watching, pipe.connection, len(pipe)) == (False, None, 0)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("decoded", [True, False])
def test_an_enqueue_that_exec_did_not_apply_is_told_whatever_the_caller_asked(
    redis_url: str, store: RedisStore, plain: Any, options: StoreOptions, data: str, strict: bool, decoded: bool
) -> None:
    """Somebody moves the queue who does not know what is watched: the script itself is the last to look."""
    with redis.Redis.from_url(redis_url, decode_responses=decoded) as client, client.pipeline() as pipe:
        pipe.set(data, "paid")
        join(store, pipe, spec("a"), spec("b"))
        plain.hset(vars_of(options), mapping={"home": "gone", "to": "other"})
        with pytest.raises(EnqueueNotApplied, match=r"gone.*other.*same ids") as caught:
            pipe.execute(raise_on_error=strict)
        assert caught.value.jobs == ("q/a", "q/b")
        assert plain.get(data) == b"paid", "Redis has no rollback"
        assert not is_there(store)
        assert client.set(data, "again"), "the connection is as good as before"


@pytest.mark.parametrize("broken", ["jobs", "ready", "delayed", "marker", "opts", "unique", "expiring"])
def test_a_key_of_another_type_leaves_no_half_of_a_job(
    store: RedisStore, plain: Any, options: StoreOptions, data: str, broken: str
) -> None:
    keys = queue_keys(options.namespace, "q")
    job = spec("a", unique=UniqueKey("k"), expires_in=1000) if broken in ("opts", "unique", "expiring") else spec("a")
    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        join(store, pipe, job)
        before = set(plain.scan_iter(match="{" + options.namespace + "/q}*"))
        plain.execute_command("LPUSH", keys[broken], "no such type")
        watched = broken == "unique"
        with pytest.raises(WatchError if watched else EnqueueNotApplied, match="atched" if watched else "WRONGTYPE"):
            pipe.execute(raise_on_error=False)
        assert set(plain.scan_iter(match="{" + options.namespace + "/q}*")) == before | {keys[broken]}


def test_a_server_that_fills_up_before_exec_applies_nothing(options: StoreOptions) -> None:
    """Neither EVAL nor DEL is refused by a full server once it is queued: without a guard the DEL came alone."""
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        made = backend.blocking(server.url, options)
        assert isinstance(made, RedisStore)
        direct(made.open())
        client.set("order", "open")
        with client.pipeline() as pipe:
            pipe.delete("order")
            join(made, pipe)
            connection: Any = pipe.connection
            for command in (("MULTI",), *(args for args, _ in pipe.command_stack)):
                connection.send_command(*command)
                assert connection.read_response() in (b"OK", b"QUEUED")
            client.config_set("maxmemory", 1)
            connection.send_command("EXEC")
            with pytest.raises(ExecAbortError, match="maxmemory"):
                connection.read_response()
            with pytest.raises(ResponseError, match=r"OOM|maxmemory"):  # and sent as redis-py does, all at once
                pipe.execute()
        assert (client.get("order"), is_there(made)) == (b"open", False)
        client.config_set("maxmemory", "0")
        with client.pipeline() as pipe:
            pipe.delete("order")
            join(made, pipe)
            pipe.execute()
        assert (client.get("order"), is_there(made)) == (None, True)
        direct(made.close())


def test_a_script_the_server_forgot_meanwhile_is_no_matter(store: RedisStore, plain: Any) -> None:
    with plain.pipeline() as pipe:
        join(store, pipe)
        plain.script_flush()
        assert pipe.execute() == [0, 1]
    assert is_there(store)


def test_the_size_is_looked_at_when_the_job_is_enqueued(store: RedisStore, plain: Any) -> None:
    direct(store.configure("q", QueueConf(override=Limits(max_size=1))))
    with plain.pipeline() as pipe:
        join(store, pipe)
        direct(store.enqueue("q", [spec("b")], Op("p", 1)))
        pipe.execute()
    assert is_there(store)
    assert is_there(store, "b")
    with plain.pipeline() as pipe, pytest.raises(QueueFull):
        join(store, pipe, spec("c"))


# ---------------------------------------------------------------- the pipeline stays the caller's
def test_a_refusal_leaves_the_pipeline_as_it_was(store: RedisStore, plain: Any, data: str) -> None:
    direct(store.configure("q", QueueConf(override=Limits(max_size=1))))
    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        with pytest.raises(QueueFull):
            join(store, pipe, spec("a"), spec("b"))
        assert (pipe.watching, pipe.explicit_transaction, pipe.connection, len(pipe)) == (False, False, None, 1)
        direct(store.configure("q", QueueConf(rev=1)))  # nothing is watched any more
        assert pipe.execute() == [True]


def test_a_pipeline_that_watches_keys_of_its_own_goes_on_watching_them(
    store: RedisStore, plain: Any, data: str
) -> None:
    with plain.pipeline() as pipe:
        pipe.watch(data)
        with pytest.raises(InvalidOption, match="multi"):
            join(store, pipe)
        pipe.multi()
        pipe.set(data, "paid")
        join(store, pipe)
        plain.set(data, "changed")
        with pytest.raises(WatchError):
            pipe.execute()
    assert (is_there(store), plain.get(data)) == (False, b"changed")


def test_redis_py_begins_a_stopped_transaction_anew(store: RedisStore, plain: Any, data: str) -> None:
    tries = 0

    def pay(pipe: Any) -> None:
        nonlocal tries
        tries += 1
        pipe.incr(data)
        join(store, pipe, spec("a", unique=UniqueKey("k", until="started")))
        if tries == 1:
            direct(store.configure("q", QueueConf(override=Limits(max_size=9))))

    plain.transaction(pay)
    assert (tries, plain.get(data), is_there(store)) == (2, b"1", True)


def test_a_pipeline_is_used_again_after_its_exec(store: RedisStore, plain: Any) -> None:
    with plain.pipeline() as pipe:
        for name in "ab":
            join(store, pipe, spec(name))
            assert pipe.execute() == [0, 1]
        assert join(store, pipe, spec("b")).receipts[0].created is None
        assert pipe.execute() == [0, 0]  # it was there
    assert is_there(store, "b")


def test_scripts_of_the_caller_keep_their_replies(store: RedisStore, plain: Any) -> None:
    with plain.pipeline() as pipe:
        pipe.eval("return {1, 2}", 0)
        join(store, pipe)
        pipe.eval("return 'x'", 0)
        assert pipe.execute() == [[1, 2], 0, 1, b"x"]
    assert b"EVAL" not in plain.response_callbacks


def test_a_lost_reply_of_exec_may_have_been_applied_and_an_id_makes_the_repeat_one_job(options: StoreOptions) -> None:
    """As docs/within.md says: whoever repeats such a transaction needs an id, and a write that may be repeated."""
    with RedisServer() as server, redis.Redis.from_url(server.url, socket_timeout=1.5) as client:
        made = backend.blocking(server.url, options)
        assert isinstance(made, RedisStore)
        direct(made.open())
        with client.pipeline() as pipe:
            pipe.incr("paid")
            join(made, pipe)
            server.pause()
            with pytest.raises((WatchError, redis.TimeoutError)):  # the first where no UNWATCH times out behind it
                pipe.execute()
            server.resume()
        with client.pipeline() as pipe:
            pipe.incr("paid")
            join(made, pipe)
            assert pipe.execute() == [2, 0, 0]  # the first was applied after all: its job is there
        assert direct(made.count("q")).totals.enqueued == 1
        direct(made.close())


# ---------------------------------------------------------------- what is no such pipeline
def test_what_cannot_be_joined_is_refused_before_anything_happens(
    redis_url: str, store: RedisStore, plain: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = redis.cluster.ClusterPipeline.__new__(redis.cluster.ClusterPipeline)
    wrong = {
        "client": plain, "transaction=True": plain.pipeline(transaction=False), "redis-py": object(),
        "aenqueue": redis.asyncio.Redis.from_url(redis_url).pipeline(), "cluster": cluster,
    }  # fmt: skip
    for words, thing in wrong.items():
        with pytest.raises(InvalidOption, match=words):
            join(store, thing)
    assert not is_there(store)
    for name in ("command_stack", "nodes_manager", "connection", "watching"):
        cluster.__dict__.setdefault(name, None)


@pytest.mark.parametrize("other", ["database", "server"])
def test_a_pipeline_that_writes_elsewhere_is_refused(redis_url: str, store: RedisStore, other: str) -> None:
    with RedisServer() as server:
        url = server.url if other == "server" else redis_url.rpartition("/")[0] + "/5"
        with redis.Redis.from_url(url) as client, client.pipeline() as pipe:
            pipe.set("x", 1)
            with pytest.raises(InvalidOption, match="another server or database"):
                join(store, pipe)
            assert (pipe.connection, len(pipe)) == (None, 1)


def test_a_pipeline_whose_server_is_away_is_refused(store: RedisStore) -> None:
    with (
        redis.Redis(port=1, retry=Retry(NoBackoff(), 0)) as client,
        client.pipeline() as pipe,
        pytest.raises(StoreUnavailable) as caught,
    ):
        join(store, pipe)
    assert caught.value.outcome == "refused"


async def test_a_cluster_takes_no_part(redis_cluster_url: str, options: StoreOptions) -> None:
    store = backend.asynchronous(redis_cluster_url, options)
    await store.open()
    assert "within" not in store.capabilities.parts
    with pytest.raises(Unsupported, match="cluster"):
        await store.enqueue("q", [spec()], Op("p", 1), object())
    await store.close()


# ---------------------------------------------------------------- through a kit
@pytest.fixture
def kit(redis_url: str, options: StoreOptions, plain: Any) -> Iterator[QueueKit]:
    made = QueueKit(redis_url, name=options.namespace, namespace=options.namespace)
    yield made
    made.close()


def test_a_kit_writes_jobs_within_a_pipeline(kit: QueueKit, plain: Any, data: str) -> None:
    @kit.task(queue="q")
    def charge(n: int) -> None:
        raise AssertionError(n)

    with plain.pipeline() as pipe:
        pipe.set(data, "paid")
        handle = charge.using(within=pipe).enqueue(1)
        many = kit.enqueue_many([charge.using(within=pipe, priority=1).make(n) for n in range(3)])
        other = kit.queue("other").enqueue("charge", {"n": 7}, within=pipe)
        handles: list[JobHandle[Any]] = [handle, *many, other]
        assert {one.created for one in handles} == {None}
        with pytest.raises(JobNotFound):
            handle.result(timeout=1)
        assert [one.get() for one in handles] == [None] * 5
        assert pipe.execute() == [True, 0, 1, 0, 3, 0, 1]
    assert [one.status() for one in handles] == ["waiting"] * 5
    assert [one.id for one in many] == [job.id for job in kit.find(queue="q", limit=3).jobs]


async def test_a_kit_writes_jobs_within_an_asyncio_pipeline(
    kit: QueueKit, redis_url: str, plain: Any, data: str
) -> None:
    @kit.task(queue="q")
    async def charge(n: int) -> None:
        raise AssertionError(n)

    async with redis.asyncio.Redis.from_url(redis_url) as client, client.pipeline() as pipe:
        queued: Any = pipe
        queued.set(data, "paid")
        handle = await charge.using(within=pipe).aenqueue(1)
        many = await kit.aenqueue_many([charge.using(within=pipe).make(n) for n in range(3)])
        assert {one.created for one in (handle, *many)} == {None}
        assert await handle.astatus() == "unknown"
        assert await pipe.execute() == [True, 0, 1, 0, 3]
        assert await handle.astatus() == "waiting"
        with pytest.raises(InvalidOption, match=r"enqueue\(\)"), plain.pipeline() as blocking:
            await charge.using(within=blocking).aenqueue(1)
    await kit.aclose()


def test_a_kit_asks_a_transaction_once_only(kit: QueueKit, monkeypatch: pytest.MonkeyPatch, plain: Any) -> None:
    """Whoever owns a transaction that broke begins it anew; a second try of ours would join its ruins."""
    asked: list[Any] = []

    async def away(*args: Any) -> Enqueued:
        asked.append(args)
        raise StoreUnavailable("away", outcome="refused")

    monkeypatch.setattr(kit.blocking_store(), "enqueue", away)
    with plain.pipeline() as pipe:
        job = kit.queue("q").make("work", {}, within=pipe)
        for call in (lambda: kit.queue("q").enqueue("work", {}, within=pipe), lambda: kit.enqueue_many([job])):
            with pytest.raises(QueueKitError, match="away"):
                call()
    assert [len(args) for args in asked] == [4, 4]
    assert asked[0][2].actor != asked[1][2].actor
