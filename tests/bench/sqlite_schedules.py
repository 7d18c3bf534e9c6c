"""What schedules cost the embedded store: a look at those that are due, firings a second, in a durable file.

    python -m tests.bench.sqlite_schedules

Prints one JSON line a figure.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from queuekit import clock
from queuekit.domain.job import JobSpec
from queuekit.domain.schedule import Firing, ScheduleRecord
from queuekit.embedded import EmbeddedStore, backend
from queuekit.store.direct import direct
from queuekit.store.registry import StoreOptions
from tests.bench.redis_store import PAYLOAD, show, timed

FAR = 4_000_000_000_000
DEFINITION = b"x" * 400
TURNS = 7


def fill(store: EmbeddedStore, queue: str, many: int, next_at: int) -> None:
    for start in range(0, many, 500):
        some = [
            ScheduleRecord(id=f"schedule-{n:05}", queue=queue, definition=DEFINITION, rev=1, next=next_at + n)
            for n in range(start, min(many, start + 500))
        ]
        direct(store.take_schedules(queue, 0, some))


def fire(store: EmbeddedStore, queue: str, many: int, batch: int, slot: int) -> float:
    """Firings a second: what is due is read and fired, `batch` a call; they are due again at once."""
    fired, start = 0, clock.perf()
    while fired < many:
        due = direct(store.due(queue, batch)).records
        firings = [
            Firing(
                id=one.id, rev=one.rev, next_at=(one.next or 0) + 10_000,
                jobs=(JobSpec(id=f"{one.id}@{slot}-{one.next}", task="work", body=PAYLOAD[:100]),),
            )
            for one in due
        ]  # fmt: skip
        assert all(said.no is None for said in direct(store.fire(queue, firings)))
        fired += len(due)
    return fired / (clock.perf() - start)


def measure(store: EmbeddedStore) -> None:
    for many in (100, 10_000):
        queue = f"far{many}"
        fill(store, queue, many, FAR)
        runs = [timed(lambda q=queue: direct(store.due(q)), 1000) for _ in range(TURNS)]  # type: ignore[misc]  # bound now
        show("due", f"none of {many}, blocking", runs, "us")
        fill(store, f"now{many}", many, 0)
        runs = [timed(lambda q=f"now{many}": direct(store.due(q, 100)), 100) for _ in range(TURNS)]  # type: ignore[misc]  # bound now
        show("due", f"100 of {many}, blocking", runs, "us")
        for batch, jobs in ((1, 200), (10, 1000), (100, 5000)):
            rates = [fire(store, f"now{many}", jobs, batch, turn * 1000 + batch) for turn in range(TURNS)]
            show("fire", f"{batch} a call, of {many}, one blocking client", rates, "firings/s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        store = backend.blocking(f"sqlite:///{Path(folder) / 'q.db'}", StoreOptions())
        direct(store.open())
        measure(store)
        direct(store.close())
