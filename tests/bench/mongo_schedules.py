"""What schedules cost the MongoDB store: firings a second by the size of a call, and a look at those that are due.

    python -m tests.bench.mongo_schedules

Starts servers of its own: a replica set, and one without transactions. Prints one JSON line a figure.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from queuekit_mongo.backend import backend
from queuekit_mongo.store import MongoStore

from queuekit import clock, ids
from queuekit.domain.job import JobSpec
from queuekit.domain.outcome import Home
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from queuekit.testing.servers import MongoServer
from tests.bench.mongo_store import show
from tests.unit.test_mongo_store import Standalone

MANY, CALL, TURNS = 10_000, 500, 5
FAR = 4_000_000_000_000
DEFINITION, BODY = b"x" * 300, b"x" * 200
STORES, SAME, SLOTS = 8, 200, 5


def opened(url: str, options: StoreOptions) -> MongoStore:
    store = backend.blocking(url, options)
    direct(store.open())
    return store


def fill(store: MongoStore, queue: str) -> None:
    direct(store.authority(queue, 1, "bench", Home.ARRIVING, None))
    for start in range(0, MANY, CALL):
        records = [
            ScheduleRecord(id=f"s{n:05}", queue=queue, definition=DEFINITION, rev=1, next=FAR)
            for n in range(start, start + CALL)
        ]
        direct(store.take_schedules(queue, 1, records))
    direct(store.authority(queue, 2, "bench", Home.HERE, None))


def fire(store: MongoStore, queue: str, records: Sequence[ScheduleRecord]) -> int:
    """Fire each once: how many were. A slot that was `due` goes on to the next until there were SLOTS."""
    firings = [
        Firing(
            id=one.id, rev=one.rev, next_at=one.next + 1 if one.next and one.next < SLOTS else FAR,
            jobs=(JobSpec(id=f"{one.id}@{ids.nonce()}", task="work", body=BODY),),
        )
        for one in records
    ]  # fmt: skip
    return sum(said.no is None for said in direct(store.fire(queue, firings)))


def alone(store: MongoStore, queue: str, size: int, calls: int) -> float:
    """Firings a second in calls of one size."""
    records = direct(store.schedules(queue, "", size * calls))
    began = clock.monotonic()
    fired = sum(fire(store, queue, records[start : start + size]) for start in range(0, len(records), size))
    assert fired == size * calls
    return fired / (clock.monotonic() - began)


def together(url: str, options: StoreOptions, queue: str) -> float:
    """Firings a second of several stores that all look for what is due."""
    stores = [opened(url, options) for _ in range(STORES)]
    last = direct(stores[0].schedules(queue, f"s{MANY - SAME - 1:05}", SAME))
    for record in last:
        record.next = 1
        direct(stores[0].put_schedule(queue, record))
    fired: list[int] = []

    def work(store: MongoStore) -> None:
        while records := direct(store.due(queue)).records:
            fired.append(fire(store, queue, records))

    began = clock.monotonic()
    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = clock.monotonic() - began
    assert sum(fired) == SAME * SLOTS
    for store in stores:
        direct(store.close())
    return sum(fired) / took


def measure(url: str, mode: str) -> None:
    options, queue = StoreOptions(namespace="b" + ids.nonce()[:10]), "bench"
    store = opened(url, options)
    fill(store, queue)
    looks = []
    for _ in range(TURNS):
        began = clock.monotonic()
        for _ in range(100):
            direct(store.due(queue))
        looks.append((clock.monotonic() - began) * 10)
    show(f"{mode} due", f"none of {MANY}", looks, "ms")
    for size, calls in ((1, 100), (10, 30), (100, 5)):
        rates = [alone(store, queue, size, calls) for _ in range(TURNS)]
        show(f"{mode} fire", f"{size} a call, of {MANY}", rates, "firings/s")
    rates = [together(url, options, queue) for _ in range(TURNS)]
    show(f"{mode} fire", f"{STORES} stores after the same {SAME} schedules", rates, "firings/s")
    direct(store.close())


def main() -> None:
    with MongoServer() as replicated:
        measure(replicated.url, "replica set")
    with Standalone() as plain:
        measure(plain.url, "standalone")


if __name__ == "__main__":
    main()
