"""A store that schedules are asked of, and the check that it can keep any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from queuekit.errors import Unsupported
from queuekit.producing.access import Access, Entry
from queuekit.store.parts import SchedulingStore
from queuekit.store.protocol import JobStore


@dataclass(frozen=True, slots=True)
class Root:
    """A store, open, from which queues that moved can be followed."""

    access: Access
    at: Entry


def schedules_in(store: JobStore) -> bool:
    """Whether a store keeps schedules."""
    return "schedules" in store.capabilities.parts


def scheduling(at: Entry) -> SchedulingStore:
    """The store with its part `schedules`. Raises Unsupported."""
    if not schedules_in(at.store):
        raise Unsupported(
            "this store keeps no schedules: use redis, mongo or sqlite of this queuekit, or let cron enqueue, with an"
            " id that names the slot"
        )
    return cast("SchedulingStore", at.store)
