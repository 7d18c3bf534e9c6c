"""What the MongoDB store costs beside the least loop that could do the work: time, CPU and index keys of a job.

    python tests/bench/mongo_store.py [drain] [enqueue] [idle] [floor]

Starts a server of its own. `floor` is two bare updates a batch over the same documents; CPU is user and system time of
mongod and of this process; commands and index keys are counted by the server. Prints one JSON line a figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from pymongo import MongoClient, WriteConcern
from queuekit_mongo.backend import backend

from queuekit import QueueKit, clock, ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Ask, Kind, Op, Outcome
from queuekit.runtime.worker import Worker
from queuekit.store.direct import direct
from queuekit.store.protocol import JobStore
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import MongoServer

PAYLOAD = json.dumps({"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456", "note": "x" * 30}).encode()
SENT = ("insert", "query", "update", "delete", "getmore", "command")
IDLE = 20  # seconds
Client = MongoClient[dict[str, Any]]


def show(metric: str, settings: str, runs: list[float], unit: str) -> None:
    print(json.dumps({
        "metric": metric, "settings": settings, "median": round(statistics.median(runs), 2),
        "min": round(min(runs), 2), "max": round(max(runs), 2), "unit": unit, "runs": len(runs),
    }), flush=True)  # fmt: skip


class Meter:
    """What the server and this process spent between two looks."""

    def __init__(self, client: Client, pid: int) -> None:
        self.client, self.pid = client, pid
        self.sent, self.server, self.own, self.at = self._sent(), self._server(), time.process_time(), clock.perf()

    def _sent(self) -> int:
        """Statements of clients: two updates in one command count as two."""
        counted = self.client.admin.command("serverStatus")["opcounters"]
        return sum(int(counted[kind]) for kind in SENT)

    def _server(self) -> float:
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def per(self, many: int) -> dict[str, float]:
        """Since it was made, for each of so many: wall, server CPU and own CPU in us, and statements."""
        wall, own = clock.perf() - self.at, time.process_time() - self.own
        server, sent = self._server() - self.server, self._sent() - self.sent
        return {
            "wall": wall / many * 1e6, "server_cpu": server / many * 1e6, "own_cpu": own / many * 1e6,
            "statements": sent / many,
        }  # fmt: skip


def spec() -> JobSpec:
    return JobSpec(id=ids.job_id(), task="work", body=PAYLOAD[:100])


def fill(store: JobStore, queue: str, many: int) -> None:
    actor = ids.nonce()
    for n in range(0, many, 1000):
        direct(store.enqueue(queue, [spec() for _ in range(min(1000, many - n))], Op(actor, n + 1)))


def exchanges(store: JobStore, queue: str, batch: int) -> int:
    """Drain a queue, each call settling and claiming `batch`; how many jobs were settled."""
    actor, n, outcomes, done = ids.nonce(), 0, list[Outcome](), 0
    while True:
        n += 1
        reply = direct(store.exchange(queue, Op(actor, n), outcomes, Ask(want=batch, worker="bench")))
        done += len(outcomes) - len(reply.refused)
        outcomes = [Outcome(job.id, job.token or "", Kind.COMPLETED) for job in reply.claims]
        if not outcomes:
            return done


def drain(store: JobStore, client: Client, pid: int, batch: int, total: int) -> dict[str, float]:
    queue = ids.nonce()
    fill(store, queue, total)
    meter = Meter(client, pid)
    done = exchanges(store, queue, batch)
    spent = meter.per(total)
    assert done == total, (done, total)
    direct(store.obliterate(queue, force=True))
    return spent


def floor(client: Client, pid: int, batch: int, total: int) -> dict[str, float]:
    """The least loop: find, claim and complete by one update each, by one index key a job."""
    jobs = client["floor"].get_collection("jobs", write_concern=WriteConcern("majority", j=True))
    jobs.drop()
    jobs.create_index(
        [("queue", 1), ("priority", 1), ("place", 1)], partialFilterExpression={"line": "ready"}, name="ready"
    )
    for start in range(0, total, 1000):
        jobs.insert_many([
            {"_id": f"q/{i:022d}", "queue": "q", "line": "ready", "priority": 10, "place": i, "body": PAYLOAD}
            for i in range(start, min(start + 1000, total))
        ], ordered=False)  # fmt: skip
    meter, done, last = Meter(client, pid), 0, -1
    order = [("priority", 1), ("place", 1)]
    while True:
        wanted = {"queue": "q", "line": "ready", "priority": 10, "place": {"$gt": last}}
        found = list(jobs.find(wanted).sort(order).limit(batch).hint("ready"))
        if not found:
            break
        names, last, token = [doc["_id"] for doc in found], found[-1]["place"], secrets.token_hex(16)
        said = {"$set": {"line": "active", "token": token}, "$currentDate": {"at": True}}
        assert jobs.update_many({"_id": {"$in": names}, "line": "ready"}, said).modified_count == len(names)
        ended = {"$set": {"line": "completed"}, "$unset": {"body": 1}}
        done += jobs.update_many({"_id": {"$in": names}, "token": token}, ended).modified_count
    spent = meter.per(total)
    assert done == total
    return spent


def measure_drain(store: JobStore, client: Client, pid: int) -> None:
    for batch, total, turns in ((1, 400, 3), (10, 3000, 3), (100, 10_000, 5)):
        ours, least = [], []
        for _ in range(turns):  # in turns, so that both meet the same neighbours
            ours.append(drain(store, client, pid, batch, total))
            least.append(floor(client, pid, batch, total))
        for name in ours[0]:
            unit = "1/job" if name == "statements" else "us/job"
            show(f"exchange_{name}", f"batch {batch}, one blocking client", [run[name] for run in ours], unit)
            show(f"floor_{name}", f"batch {batch}, one blocking client", [run[name] for run in least], unit)
        ratio = [b["wall"] / a["wall"] for a, b in zip(ours, least, strict=True)]
        show("exchange / floor", f"batch {batch}, jobs/s, same turn", ratio, "x")


def timed(fn: Callable[[], object], many: int) -> float:
    start = clock.perf()
    for _ in range(many):
        fn()
    return (clock.perf() - start) / many * 1e6


def measure_enqueue(store: JobStore, client: Client, pid: int) -> None:
    bare = client["floor"].get_collection("single", write_concern=WriteConcern("majority", j=True))
    floors, ones, actor, n = [], [], ids.nonce(), 0

    def enqueue() -> None:
        nonlocal n
        n += 1
        direct(store.enqueue("single", [spec()], Op(actor, n)))

    enqueue()
    for _ in range(7):
        floors.append(timed(lambda: bare.insert_one({"_id": ids.job_id(), "queue": "q", "body": PAYLOAD}), 200))
        ones.append(timed(enqueue, 200))
    show("insert_one", "bare, w: majority, j", floors, "us")
    show("enqueue_one", "blocking", ones, "us")
    show("enqueue_one / insert_one", "same turn", [a / b for a, b in zip(ones, floors, strict=True)], "x")
    many = []
    for _ in range(5):
        queue, meter = ids.nonce(), Meter(client, pid)
        fill(store, queue, 20_000)
        many.append(meter.per(20_000))
        direct(store.obliterate(queue, force=True))
    for name in many[0]:
        show(f"enqueue_many_{name}", "1,000 a call", [run[name] for run in many], "per job")


async def idle(url: str, client: Client, pid: int) -> None:
    """What a worker with nothing to do asks of the server."""
    kit = QueueKit(url, name=ids.nonce(), namespace="b" + ids.nonce()[:8])

    @kit.task
    async def noop() -> None: ...

    async with Worker(kit, concurrency=10):
        await asyncio.sleep(6)
        meter = Meter(client, pid)
        await asyncio.sleep(IDLE)
        spent = meter.per(IDLE)
    await kit.aclose()
    show("idle_statements", "one worker, one queue", [spent["statements"]], "1/s")
    show("idle_cpu", "of the worker", [spent["own_cpu"] / 1e4], "%")
    show("idle_server_cpu", "of mongod", [spent["server_cpu"] / 1e4], "%")


def main() -> None:
    said = sys.argv[1:] or ["drain", "enqueue", "idle"]
    with MongoServer() as server:
        client: Client = MongoClient(server.url)
        store = backend.blocking(server.url, StoreOptions(namespace="bench"))
        direct(store.open())
        if "drain" in said:
            measure_drain(store, client, server.pid)
        if "enqueue" in said:
            measure_enqueue(store, client, server.pid)
        if "idle" in said:
            asyncio.run(idle(server.url, client, server.pid))
        direct(store.close())


if __name__ == "__main__":
    main()
