"""Other process servers: gunicorn with threads, greenlets and workers that are exchanged, and uvicorn."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from queuekit.testing.proxy import Proxy
from queuekit.testing.servers import MongoServer, RedisServer
from tests.contrib.prefork.farm import Farm, farm, until
from tests.contrib.prefork.looks import clients, open_files, ports
from tests.contrib.prefork.test_gunicorn import GUNICORN, SERVERS, STORES, connected, waiting

AT_ONCE = 50


def test_threads_of_workers_that_are_exchanged_after_some_requests(redis_url: str, mongo_url: str) -> None:
    """gthread, preloaded and used; each worker ends after four requests, and another is forked."""
    with farm({"redis": redis_url, "mongo": mongo_url}) as site:
        limits = ("-k", "gthread", "--threads", "4", "-w", "1", "--preload", "--max-requests", "4")
        site.start([*GUNICORN, *limits], SITE_USED="1")
        said: list[dict[str, Any]] = []
        for _ in range(3):
            for store in STORES:
                said += site.get_all([f"/{store}/enqueue"] * 4)
        pids = {one["pid"] for one in said}
        assert len(pids) > 1, "a worker was exchanged"
        for store in STORES:
            assert waiting(site, store) == site.expected[store] == 13
        last = site.get("/about")
        until(lambda: not any(open_files(pid) for pid in pids - {last["pid"]}), "the others end")
        for store in SERVERS:
            url = site.urls[store]
            ended = {port for one in said if one["pid"] != last["pid"] for port in one["ports"][store]}
            ended -= ports(site.pid, url)
            until(lambda url=url, ended=ended: not ended & clients(url), f"no connection of theirs is left on {store}")  # type: ignore[misc]  # bound now
            assert ports(last["pid"], url) | ports(site.pid, url) <= clients(url)
        assert site.end() == 0
        assert "Traceback" not in site.log


def test_uvicorn_s_children_enqueue_on_loops_of_their_own(redis_url: str, mongo_url: str) -> None:
    """Two workers, spawned; each has a loop, and closes its stores with the lifespan."""
    with farm({"redis": redis_url, "mongo": mongo_url}) as site:
        site.start(["uvicorn", "--fd", "FD", "--workers", "2", "tests.contrib.prefork.site:asgi"])
        met = {store: site.meet(store, 2) for store in STORES}
        for store in STORES:
            site.get_all([f"/{store}/enqueue"] * 8)
            assert waiting(site, store) == site.expected[store] == 10
        one, other = met["mongo"]
        assert not set(one["actors"]) & set(other["actors"])
        for store in SERVERS:
            url = site.urls[store]
            mine = [ports(each["pid"], url) for each in met[store]]
            assert all(mine)
            assert not mine[0] & mine[1]
        gone = {
            site.urls[store]: connected({each["pid"] for each in met[store]}, site.urls[store]) for store in SERVERS
        }
        assert site.end() == 0
        until(lambda: not any(gone[url] & clients(url) for url in gone), "no server counts a connection of theirs")
        assert "Traceback" not in site.log


def test_greenlets_enqueue_and_a_store_that_hangs_holds_up_no_other(
    redis_server: RedisServer, mongo_server: MongoServer
) -> None:
    """gunicorn -k gevent, fifty requests at once on each store; then requests wait for a store while others go on."""
    with Proxy(redis_server.port) as redis, Proxy(mongo_server.port) as mongo:
        urls = {"redis": redis.url(redis_server.url), "mongo": mongo.url(mongo_server.url)}
        with farm(urls) as site:
            site.start([*GUNICORN, "-k", "gevent", "-w", "1", "--worker-connections", "200"], QUEUEKIT_TIMEOUT="60s")
            for store in STORES:
                said = site.get_all([f"/{store}/enqueue"] * AT_ONCE)
                assert len({one["ref"] for one in said}) == AT_ONCE
                assert len({one["pid"] for one in said}) == 1
                assert waiting(site, store) == site.expected[store] == AT_ONCE
            for store, held in (("sqlite", _locked(site)), ("redis", _silent(redis)), ("mongo", _silent(mongo))):
                _others_go_on(site, store, held)
            assert site.end() == 0
            assert "Traceback" not in site.log


def _others_go_on(site: Farm, store: str, held: Any) -> None:
    """While a request waits for its store, another is answered; when the store is back, so is the first."""
    answers: list[dict[str, Any]] = []
    with held:
        asking = threading.Thread(target=lambda: answers.append(site.get(f"/{store}/enqueue")))
        asking.start()
        until(lambda: site.get("/about")["inside"] == [store], "a request is inside its call, and another is answered")
        assert not answers
    asking.join(60)
    assert len(answers) == 1
    assert waiting(site, store) == site.expected[store]


@contextmanager
def _silent(proxy: Proxy) -> Iterator[None]:
    proxy.silent = True
    try:
        yield
    finally:
        proxy.silent = False
        proxy.reset()  # what was swallowed is asked again at once


@contextmanager
def _locked(site: Farm) -> Iterator[None]:
    """Somebody else writes to the file for a while."""
    other = sqlite3.connect(site.urls["sqlite"].removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()
