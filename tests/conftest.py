"""What every test may ask for: real servers, one of each a session, and closing lines that count cases per store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import NoReturn, TypeVar

import pytest

pytest.register_assert_rewrite("queuekit.testing.conformance")  # before any test module imports one of its families

from queuekit.errors import MissingExtra  # noqa: E402
from queuekit.testing.servers import MongoServer, RedisServer, Server  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's background: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

STORES = ("model", "sqlite", "redis", "mongo")
S = TypeVar("S", bound=Server)


def _absent(error: MissingExtra) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI needs every store: {error}", pytrace=False)
    pytest.skip(str(error))


def _serve(make: Callable[[], S]) -> Iterator[S]:
    try:
        server = make()
    except MissingExtra as error:
        _absent(error)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The session's redis-server. Share it: a test that stops or fills one starts its own."""
    yield from _serve(RedisServer)


@pytest.fixture(scope="session")
def mongo_server() -> Iterator[MongoServer]:
    """The session's mongod, a replica set of one. Share it: a test that stops one starts its own."""
    yield from _serve(MongoServer)


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """URL of a real Redis; without one the test skips, and fails where CI is set."""
    return redis_server.url


@pytest.fixture(scope="session")
def redis_cluster_url(redis_server: RedisServer) -> Iterator[str]:
    """URL of a Redis in cluster mode that owns all slots."""
    from tests.contract.cluster import cluster  # needs the Redis extra

    with cluster() as (node,):
        yield node.cluster_url


@pytest.fixture(scope="session")
def mongo_url(mongo_server: MongoServer) -> str:
    """URL of a real MongoDB (directConnection); without one the test skips, and fails where CI is set."""
    return mongo_server.url


def _store_of(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("store")
    if marker is not None:
        return str(marker.args[0])
    callspec = getattr(item, "callspec", None)
    value = callspec.params.get("store") if callspec is not None else None
    if isinstance(value, str):
        return value
    for name in ("redis", "mongo"):
        if {f"{name}_url", f"{name}_server"} & set(getattr(item, "fixturenames", ())):
            return name
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        store = _store_of(item)
        if store is not None:
            item.user_properties.append(("store", store))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases ran and were skipped on each store; pytest's own line stays the last one."""
    seen: dict[str, dict[str, set[str]]] = {}
    broken: set[str] = set()  # promises, in a copy: tests/sabotage
    for category in ("passed", "failed", "error", "xfailed", "xpassed", "skipped"):
        for report in terminalreporter.stats.get(category, ()):
            for name, store in getattr(report, "user_properties", ()):
                if name == "sabotage":
                    broken.add(store)
                if name == "store":
                    fate = "skipped" if category == "skipped" else "ran"
                    seen.setdefault(store, {"ran": set(), "skipped": set()})[fate].add(report.nodeid)
    if broken:
        terminalreporter.write_line(f"sabotage tried at this commit: {', '.join(sorted(broken))}")
    if not seen:
        return
    terminalreporter.write_sep("=", "cases per store")
    for store in [*STORES, *sorted(set(seen) - set(STORES))]:
        fates = seen.get(store, {"ran": set(), "skipped": set()})
        terminalreporter.write_line(f"{store:<8}{len(fates['ran']):>6} ran{len(fates['skipped']):>6} skipped")
