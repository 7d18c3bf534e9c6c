"""Redis nodes in cluster mode, and scripts that a server runs strictly: for tests, never in production.

A single node that owns all slots refuses calls over two slots as a real cluster does, at the price of one process.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import redis
from queuekit_redis.scripts import NAMES, Script, assemble

from queuekit import clock
from queuekit.testing.servers import RedisServer

SLOTS: Final = 16384
_PATIENCE: Final = 20.0  # seconds for nodes to agree
_STRICT = (Path(__file__).parent / "strict.lua").read_text()


@cache
def strict(url: str) -> dict[str, Script]:
    """The scripts under a `#!lua` line, which makes the server refuse keys of another slot; and looking at each key by
    themselves, since the server lets undeclared ones of the same slot pass. Redis before 7 knows no such line.
    """
    with redis.Redis.from_url(url.replace("+cluster", "")) as client:
        knows = int(client.info("server")["redis_version"].split(".")[0]) >= 7
    prelude = _STRICT if knows else _STRICT.partition("\n")[2]
    return {name: assemble(name, prelude) for name in NAMES}


class Node(RedisServer):
    """A redis-server in cluster mode; its bus takes the port 10,000 above its own."""

    def __init__(self, **options: str) -> None:
        settings = {"cluster-enabled": "yes", "cluster-node-timeout": "15000", **options}
        super().__init__(options=settings, port=random.randint(12_000, 22_000))

    @property
    def cluster_url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.port}"

    def ask(self, *command: Any) -> Any:
        """One command to this node."""
        with redis.Redis.from_url(self.url, socket_timeout=10) as client:
            return client.execute_command(*command)


@contextmanager
def cluster(nodes: int = 1) -> Iterator[list[Node]]:
    """So many nodes that share the slots and know each other."""
    started = [Node() for _ in range(nodes)]
    try:
        for node in started:
            node.start()
        share = SLOTS // nodes
        for i, node in enumerate(started):
            last = SLOTS if i == nodes - 1 else (i + 1) * share
            node.ask("CLUSTER", "ADDSLOTS", *range(i * share, last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", i + 1)
        for node in started[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", started[0].port)
        deadline = clock.monotonic() + _PATIENCE
        while not all(_agrees(node, nodes) for node in started):
            assert clock.monotonic() < deadline, "the nodes of the cluster did not find each other"
            time.sleep(0.02)
        yield started
    finally:
        for node in started:
            node.stop()


def _agrees(node: Node, nodes: int) -> bool:
    info = dict(line.split(":", 1) for line in node.ask("CLUSTER", "INFO").decode().split() if ":" in line)
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == nodes


def refusals(node: RedisServer, word: str) -> int:
    """How often this server answered so: TRYAGAIN, ASK, MOVED, NOSCRIPT."""
    with redis.Redis.from_url(node.url) as client:
        told = client.info("errorstats").get(f"errorstat_{word}", "count=0")  # a dict from redis-py 5.1 on
    return int(re.sub(r"\D", "", str(told)))


def until(met: Callable[[], bool]) -> None:
    """Wait for what another thread brings about."""
    deadline = clock.monotonic() + _PATIENCE
    while not met():
        assert clock.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def move_slot(slot: int, source: Node, target: Node) -> None:
    """Move a slot as redis-cli does, no faster than that callers meet each of its stages."""
    here, there = source.ask("CLUSTER", "MYID"), target.ask("CLUSTER", "MYID")
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", here)
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", there)
    until(lambda: refusals(source, "TRYAGAIN") + refusals(source, "ASK") >= 3)  # some keys are there, others never were
    while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    asked = refusals(source, "ASK")
    until(lambda: refusals(source, "ASK") > asked)
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", there)
