"""gunicorn with four workers: every child enqueues on every store, and nothing of the parent's is used in it.

One test a server: a server is dear, and its tests would be spread over processes that each start one.
"""

from __future__ import annotations

import os
import signal
from itertools import combinations
from typing import Any, TypeAlias

import pytest

from queuekit import QueueKit
from tests.contrib.prefork.farm import Farm, farm, until
from tests.contrib.prefork.looks import clients, open_files, ports

WORKERS = 4
STORES = ("sqlite", "redis", "mongo")
SERVERS = ("redis", "mongo")
GUNICORN = ("gunicorn", "-b", "fd://FD", "--graceful-timeout", "30", "-t", "60", "tests.contrib.prefork.site:wsgi")
# A child that imports for itself inherits nothing: that is tried by `make prefork`, and costs four imports.
MODES = (False, True) if os.environ.get("QUEUEKIT_PREFORK") == "full" else (True,)
# The parent's driver watches the server over two connections. Their threads are not in a child: nobody uses them there.
MONITORS = 2
DRIVERS = ["pymongo_kill_cursors_thread", "pymongo_server_monitor_thread", "pymongo_server_rtt_thread"]
Met: TypeAlias = dict[str, list[dict[str, Any]]]  # what four children said when all had enqueued, by store


@pytest.mark.parametrize("preload", MODES, ids=lambda preload: "preloaded-and-used" if preload else "each-imports")
def test_every_child_enqueues_and_nothing_crosses_the_fork(redis_url: str, mongo_url: str, preload: bool) -> None:
    """Preloaded, the application enqueued on every store before any worker was forked."""
    with farm({"redis": redis_url, "mongo": mongo_url}) as site:
        workers = (*GUNICORN, "-w", str(WORKERS), *(["--preload"] if preload else []))
        site.start(workers, **({"SITE_USED": "1"} if preload else {}))
        met = {store: site.meet(store, WORKERS) for store in STORES}
        for store in STORES:
            _jobs_are_there(site, store, met[store])
        _calls_are_numbered_apart(met["mongo"])
        for store in SERVERS:
            _connections_are_apart(site, store, met[store])
        _file_was_not_open(site, met["sqlite"])
        for one in met["mongo"]:
            assert sorted(one["threads"]) == ["MainThread", *DRIVERS], "no thread but the driver's"
        if preload:
            _hup_exchanges_the_workers(site, met)
        _term_leaves_nothing(site)


def _jobs_are_there(site: Farm, store: str, said: list[dict[str, Any]]) -> None:
    assert len({one["pid"] for one in said}) == WORKERS
    assert site.pid not in {one["pid"] for one in said}
    assert len({one["ref"] for one in said}) == WORKERS
    assert waiting(site, store) == site.expected[store]


def _calls_are_numbered_apart(said: list[dict[str, Any]]) -> None:
    """An actor that crossed a fork would make two calls of one number: the store takes the second for a repeat."""
    assert all(len(one["actors"]) == len(STORES) for one in said)
    for one, other in combinations(said, 2):
        assert not set(one["actors"]) & set(other["actors"])


def _connections_are_apart(site: Farm, store: str, said: list[dict[str, Any]]) -> None:
    url = site.urls[store]
    parents = ports(site.pid, url)
    children = {one["pid"]: ports(one["pid"], url) for one in said}
    for mine in children.values():
        assert mine - parents, "each has connections of its own"
        assert len(mine & parents) <= (MONITORS if store == "mongo" else 0)
    for one, other in combinations(children.values(), 2):
        assert not (one & other) - parents
    assert parents.union(*children.values()) <= clients(url)


def _file_was_not_open(site: Farm, said: list[dict[str, Any]]) -> None:
    file = site.urls["sqlite"].removeprefix("sqlite:///")
    for one in said:
        assert [name for name in one["born"] if name.startswith(file)] == []
        assert file in open_files(one["pid"]), "it opened it for itself"


def _hup_exchanges_the_workers(site: Farm, met: Met) -> None:
    old = {one["pid"] for one in met["redis"]}
    gone = {url: connected(old, url) - ports(site.pid, url) for url in (site.urls[store] for store in SERVERS)}
    site.tell(signal.SIGHUP)
    until(lambda: not any(open_files(pid) for pid in old), "the old workers end")
    new = site.meet("redis", WORKERS)
    assert not {one["pid"] for one in new} & old
    assert waiting(site, "redis") == site.expected["redis"]
    until(lambda: not any(gone[url] & clients(url) for url in gone), "no server counts a connection of theirs")


def _term_leaves_nothing(site: Farm) -> None:
    all_of_them = {site.pid, *(one["pid"] for one in site.meet("mongo", WORKERS))}
    gone = {url: connected(all_of_them, url) for url in (site.urls[store] for store in SERVERS)}
    assert site.end() == 0
    until(lambda: not any(gone[url] & clients(url) for url in gone), "no server counts a connection of theirs")
    assert "Traceback" not in site.log


def connected(pids: set[int], url: str) -> set[int]:
    """The ports from which any of these processes is connected."""
    return set().union(*(ports(pid, url) for pid in pids))


def waiting(site: Farm, store: str) -> int:
    """Jobs of the site in one store, read by a kit of this process."""
    with QueueKit(site.urls[store], name=f"reader-{store}", namespace=site.namespace) as kit:
        return kit.health("site")["site"].waiting
