"""How each store's work is counted: by the server where it counts itself, else at the driver. Judges nothing."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import redis
from pymongo import MongoClient, monitoring

from queuekit import clock, ids
from queuekit.embedded import backend as embedded
from queuekit.embedded import files
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from tests.guard.budgets import Counted
from tests.guard.scenes import Stage, counted


def on_redis(url: str) -> dict[str, Counted]:
    """Commands, those inside scripts too; round trips, counted where the driver sends."""
    from queuekit_redis.backend import RedisBackend
    from queuekit_redis.store import RedisStore

    store, client = RedisBackend().blocking(url, StoreOptions(namespace=ids.nonce()[:12])), redis.Redis.from_url(url)
    assert isinstance(store, RedisStore)
    ahead, sent = 0, 0
    store.move_clock(lambda: ahead)
    kind: Any = redis.connection.Connection
    plain = kind.send_packed_command

    def send(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal sent
        sent += 1
        return plain(self, *args, **kwargs)

    def advance(ms: int) -> None:
        nonlocal ahead
        ahead += ms

    def count() -> dict[str, float]:
        nonlocal sent
        trips = sent
        stats: Any = client.info("commandstats")
        sent = trips  # asking was none of the store's
        own = stats.get("cmdstat_info", {"calls": 0})["calls"]
        return {"commands": sum(one["calls"] for one in stats.values()) - own, "round trips": trips}

    direct(store.open())
    kind.send_packed_command = send
    try:
        found = counted(Stage(store, advance), count)
        assert sent > 0, "the store no longer sends where this counts"
    finally:
        kind.send_packed_command = plain
        for key in client.scan_iter(match="{" + store._namespace + "*", count=1000):
            client.unlink(key)
        direct(store.close())
        client.close()
    return found


LOOPED = ("drain_1", "drain_10", "idle_exchange")  # what is counted of the other port too


def on_redis_async(url: str) -> dict[str, Counted]:
    """The same through the port of event loops: commands, and reads of the server, one a round trip of small calls."""
    from queuekit_redis.backend import RedisBackend

    client = redis.Redis.from_url(url)
    store: Any = RedisBackend().asynchronous(url, StoreOptions(namespace=ids.nonce()[:12]))
    asked = 0

    def count() -> dict[str, float]:
        nonlocal asked
        asked += 2
        stats: Any = client.info("commandstats")
        reads = int(client.info("stats")["total_reads_processed"])
        own = stats.get("cmdstat_info", {"calls": 0})["calls"]
        return {"commands": sum(one["calls"] for one in stats.values()) - own, "round trips": reads - asked}

    with asyncio.Runner() as runner:
        runner.run(store.open())
        try:
            return counted(Stage(store, lambda ms: None, runner.run), count, LOOPED)
        finally:
            for key in client.scan_iter(match="{" + store._namespace + "*", count=1000):
                client.unlink(key)
            runner.run(store.close())
            client.close()


def on_mongo_async(url: str) -> dict[str, Counted]:
    """Commands through the port of event loops."""
    made = import_module("queuekit_mongo.backend")
    heard = _Heard()
    made._CLIENT["event_listeners"] = [heard]
    try:
        store = made.MongoBackend().asynchronous(url, StoreOptions(namespace=_last()))
    finally:
        del made._CLIENT["event_listeners"]
    ticks = iter(range(10**9))
    store.room.port.monotonic = lambda: next(ticks) / 5000
    with asyncio.Runner() as runner:
        runner.run(store.open())
        try:
            return counted(Stage(store, lambda ms: None, runner.run), lambda: {"commands": heard.commands}, LOOPED)
        finally:
            for queue in runner.run(store.queues()):
                while runner.run(store.obliterate(queue, force=True))[1]:
                    pass
            runner.run(store.close())


def _last() -> str:
    """A namespace behind those of other tests: a scan that ends looks at the first key of whoever comes next."""
    return f"zzzzzz{ids.nonce()[:12]}"


class _Heard(monitoring.CommandListener):
    """Counts the commands of its clients: each is a round trip."""

    def __init__(self) -> None:
        self.commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.commands += event.command_name not in ("endSessions", "hello", "ping")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing more to count."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing more to count."""


def on_mongo(url: str) -> dict[str, Counted]:
    """Commands, which are round trips; documents written; index keys and documents the server looked at."""
    made = import_module("queuekit_mongo.backend")
    heard, ahead = _Heard(), 0
    made._CLIENT["event_listeners"] = [heard]
    try:
        store = made.MongoBackend().blocking(url, StoreOptions(namespace=_last()), shift=lambda: ahead)
    finally:
        del made._CLIENT["event_listeners"]

    def advance(ms: int) -> None:
        nonlocal ahead
        ahead += ms

    ticks = iter(range(10**9))
    store.room.port.monotonic = lambda: next(ticks) / 5000  # what it does by age it does at the same calls
    client: MongoClient[dict[str, Any]] = MongoClient(url)

    def count() -> dict[str, float]:
        metrics = client.admin.command("serverStatus")["metrics"]
        documents, looked = metrics["document"], metrics["queryExecutor"]
        return {
            "commands": heard.commands,
            "documents written": sum(documents[name] for name in ("inserted", "updated", "deleted")),
            "keys looked at": looked["scanned"],
            "documents looked at": looked["scannedObjects"],
        }

    with client:
        client.admin.command("setParameter", 1, ttlMonitorEnabled=False)  # it looks at keys, too, once a minute
        direct(store.open())
        try:
            return counted(Stage(store, advance), count)
        finally:
            client.admin.command("setParameter", 1, ttlMonitorEnabled=True)
            for queue in direct(store.queues()):
                while direct(store.obliterate(queue, force=True))[1]:
                    pass
            direct(store.close())


def on_sqlite(folder: Path) -> dict[str, Counted]:
    """Statements; commits that write, each of which waits for the disk once; steps of SQLite's machine."""
    ahead, statements, commits, steps = 0, 0, 0, 0
    own = threading.get_ident()  # the thread that looks for others' writes looks as often as time passes
    plain = files.connect

    def heard(text: str) -> None:
        nonlocal statements, commits
        if threading.get_ident() == own:
            statements += 1
            commits += text == "COMMIT"

    def step() -> int:
        nonlocal steps
        steps += threading.get_ident() == own
        return 0

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        conn = plain(*args, **kwargs)
        conn.set_trace_callback(heard)
        conn.set_progress_handler(step, 1)
        return conn

    def advance(ms: int) -> None:
        nonlocal ahead
        ahead += ms

    files.connect = connect
    try:
        store = embedded.blocking(f"sqlite:///{folder}/guard.db", StoreOptions(), lambda: clock.now_ms() + ahead)
        direct(store.open())
        found = counted(
            Stage(store, advance), lambda: {"statements": statements, "commits": commits, "machine steps": steps}
        )
        direct(store.close())
        return found
    finally:
        files.connect = plain


def idle_second(found: dict[str, Counted], asked: dict[str, float]) -> Counted:
    """What an idle worker costs a store in a second, from what each call costs and how often a minute it is made."""
    costs = {call: found[f"idle_{call}"] for call, often in asked.items() if often}
    whats = next(iter(costs.values())).keys()
    return {what: round(sum(cost[what] * asked[call] for call, cost in costs.items()) / 60, 3) for what in whats}


ALL: dict[str, Callable[..., dict[str, Counted]]] = {"redis": on_redis, "mongo": on_mongo, "sqlite": on_sqlite}
