"""What schedules cost the Redis store: firings a second, a look at those that are due, bytes of one.

    python -m tests.bench.redis_schedules [redis://127.0.0.1:6379/0]

Starts a server of its own where no URL is given. Prints one JSON line a figure.
"""

from __future__ import annotations

import redis
from queuekit_redis import RedisStore, backend

from queuekit import clock, ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Op
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from tests.bench.redis_store import PAYLOAD, script_time, server, show, timed

MANY = 10_000
FAR = 4_000_000_000_000
DEFINITION = b"x" * 400
TURNS = 7


def fill(store: RedisStore, queue: str, next_at: int) -> list[ScheduleRecord]:
    records = [
        ScheduleRecord(id=f"schedule-{n:05}", queue=queue, definition=DEFINITION, rev=1, next=next_at + n)
        for n in range(MANY)
    ]
    direct(store.take_schedules(queue, 0, records))
    return records


def fire(store: RedisStore, queue: str, records: list[ScheduleRecord], batch: int, slot: int) -> None:
    for start in range(0, len(records), batch):
        firings = [
            Firing(
                id=one.id, rev=one.rev, next_at=FAR + slot,
                jobs=(JobSpec(id=f"{one.id}@{slot}", task="work", body=PAYLOAD[:100]),),
            )
            for one in records[start : start + batch]
        ]  # fmt: skip
        assert all(said.no is None for said in direct(store.fire(queue, firings)))


def measure(url: str) -> None:
    client: redis.Redis = redis.Redis.from_url(url)
    made = backend.blocking(url, StoreOptions(namespace="bench"))
    assert isinstance(made, RedisStore)
    store, queue = made, ids.nonce()
    direct(store.open())
    before = client.info("memory")["used_memory"]
    fill(store, queue, FAR)
    grown = client.info("memory")["used_memory"] - before
    show("bytes_per_schedule", f"of {MANY}, definition {len(DEFINITION)} bytes included", [grown / MANY], "bytes")
    runs = [timed(lambda: direct(store.due(queue)), 2000) for _ in range(TURNS)]
    show("due", f"none of {MANY}, blocking", runs, "us")
    fill(store, "due", 0)
    for limit in (1, 100):
        runs = [timed(lambda n=limit: direct(store.due("due", n)), 200) for _ in range(TURNS)]  # type: ignore[misc]  # bound now
        show("due", f"{limit} of {MANY}, blocking", runs, "us")
    slot = 0
    for batch, many in ((1, 1000), (10, 5000), (100, MANY)):
        rates, spent, enqueued = [], [], []
        for _ in range(TURNS):
            slot += 1
            records = direct(store.schedules(queue, "", many))
            while len(records) < many:
                records += direct(store.schedules(queue, records[-1].id, many - len(records)))
            used, start = script_time(client), clock.perf()
            fire(store, queue, records, batch, slot)
            rates.append(many / (clock.perf() - start))
            spent.append((script_time(client) - used) / many)
            actor, used = ids.nonce(), script_time(client)
            for n in range(0, many, batch):
                specs = [JobSpec(id=ids.job_id(), task="work", body=PAYLOAD[:100]) for _ in range(batch)]
                direct(store.enqueue("beside", specs, Op(actor, n + 1)))
            enqueued.append((script_time(client) - used) / many)
        show("fire", f"{batch} a call, one blocking client", rates, "firings/s")
        show("fire_script", f"{batch} a call", spent, "us/firing")
        show("enqueue_script", f"{batch} a call, same turn", enqueued, "us/job")
    for key in client.scan_iter(match="{bench/*", count=1000):
        client.unlink(key)
    direct(store.close())


if __name__ == "__main__":
    with server() as address:
        measure(address)
