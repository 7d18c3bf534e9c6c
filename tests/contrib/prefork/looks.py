"""What is open: the files and sockets of a process as the kernel lists them, and the connections a server counts."""

from __future__ import annotations

import gc
import os
import warnings
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit


def clean() -> None:
    """Let go of what earlier tests left to the garbage collector: it would complain in the next one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def open_files(pid: int) -> list[str]:
    """What the file descriptors of a process lead to."""
    found = []
    with suppress(FileNotFoundError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


def ports(pid: int, url: str) -> set[int]:
    """The local ports from which a process is connected to a server. The kernel lists an inherited socket for both."""
    wanted = urlsplit(url).port
    sockets = {name for name in open_files(pid) if name.startswith("socket:")}
    found = set()
    with open(f"/proc/{pid}/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in sockets and int(fields[2].rpartition(":")[2], 16) == wanted:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def open_to(url: str) -> set[object]:
    """What this process has open to a store: the ports of its connections, or its descriptors of the file."""
    if not url.startswith("sqlite"):
        return set(ports(os.getpid(), url))
    file = url.removeprefix("sqlite:///")
    found: set[object] = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith(file):
                found.add(number)
    return found


def clients(url: str) -> set[int]:
    """The ports of everybody whom a server counts as connected, without the one that asks."""
    return _of_redis(url) if url.startswith("redis") else _of_mongo(url)


def _of_redis(url: str) -> set[int]:
    import redis

    with redis.Redis.from_url(url) as client:
        listed: Any = client.client_list()
        mine = str(client.client_id())
        return {int(one["addr"].rpartition(":")[2]) for one in listed if one["id"] != mine}


def _of_mongo(url: str) -> set[int]:
    from pymongo import MongoClient

    with MongoClient[dict[str, Any]](url, appname="looks") as client:
        everybody = {"allUsers": True, "idleConnections": True, "localOps": True}
        return {
            int(one["client"].rpartition(":")[2])
            for one in client.admin.aggregate([{"$currentOp": everybody}])
            if one.get("client") and one.get("appName") != "looks"
        }
