"""Every key of the Redis store is built here, and nowhere else.

All keys of a queue carry the tag `{namespace/queue}`, so that they share one slot of a cluster.
"""

from __future__ import annotations

from typing import Final

QUEUE_KEYS: Final = (
    "jobs", "run", "opts", "notes", "vars", "ops", "ready", "suspect", "delayed", "active", "parked", "blocked",
    "completed", "failed", "cancelled", "kept", "unique", "utime", "expiring", "awaited", "marker", "conf",
    "out", "batches", "taken", "mover", "schedules", "rules", "slots", "due",
)  # fmt: skip
STORE_KEYS: Final = ("schema", "store_id", "queues", "workers")


class Keys(dict[str, bytes]):
    """The keys of one queue, or those of the whole store, by name."""

    def __init__(self, tag: str, names: tuple[str, ...]) -> None:
        super().__init__((name, f"{{{tag}}}:{name}".encode()) for name in names)


def queue_keys(namespace: str, queue: str) -> Keys:
    """All keys of a queue."""
    return Keys(f"{namespace}/{queue}", QUEUE_KEYS)


def store_keys(namespace: str) -> Keys:
    """The few keys that belong to no queue; no queue has an empty name."""
    return Keys(f"{namespace}/", STORE_KEYS)
