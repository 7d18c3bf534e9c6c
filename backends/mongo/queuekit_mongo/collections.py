"""Names of collections and keys, and the indexes that `open` makes. No query and no driver call belongs here.

One jobs collection holds every queue of every namespace: `queue` is "namespace/queue" and leads each index, behind
it `part` (0 without partitions), so that both can lead a shard key. Each index is partial: a document pays only for
the ones its state needs, and the planner cannot take one for a query that does not imply its condition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = 1
PART: Final = 0
STORE: Final = "#store"  # the document of the whole store: store_id, schema; "#" is outside every name grammar
JOBS: Final = "jobs"
QUEUES: Final = "queues"
WORKERS: Final = "workers"
SCHEDULES: Final = "schedules"

BY_ID: Final = "_id_"
LINE: Final = "line"
TIMER: Final = "timer"
KEPT: Final = "kept"
UNIQUE: Final = "unique"
EXPIRY: Final = "expiry"
TTL: Final = "ttl"
DUE: Final = "due"
MAKING: Final = "making"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """One index: its keys, and the field whose presence decides which documents are in it."""

    name: str
    keys: tuple[tuple[str, int], ...]
    present: str
    unique: bool = False
    ttl: int | None = None

    def definition(self) -> dict[str, Any]:
        """As `createIndexes` takes it."""
        said: dict[str, Any] = {
            "name": self.name,
            "key": dict(self.keys),
            "partialFilterExpression": {self.present: {"$exists": True}},
        }
        if self.unique:
            said["unique"] = True
        if self.ttl is not None:
            said["expireAfterSeconds"] = self.ttl
        return said


def _keys(*names: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, 1) for name in names)


INDEXES: Final = {
    JOBS: (
        # Waiting jobs, suspects before ready before held: one ordered scan finds what may be claimed.
        Index(name=LINE, keys=_keys("queue", "part", "line", "priority", "place", "_id"), present="line"),
        # Delayed by due time, active by lease end, parked and ended by end; with the token, to read claims back.
        Index(name=TIMER, keys=_keys("queue", "part", "state", "at", "_id", "token"), present="at"),
        # Ended jobs with a retention of their own, by class.
        Index(name=KEPT, keys=_keys("queue", "part", "state", "keep", "at", "_id"), present="keep"),
        Index(name=UNIQUE, keys=_keys("queue", "part", "unique"), present="unique", unique=True),
        # Not started in time; only waiting and delayed jobs that have such a time.
        Index(name=EXPIRY, keys=_keys("queue", "part", "expiry"), present="expiry"),
        # Only stubs of removed jobs carry this date: a net under `prune`.
        Index(name=TTL, keys=_keys("expire_at"), present="expire_at", ttl=0),
    ),
    QUEUES: (),
    WORKERS: (Index(name=TTL, keys=_keys("expire_at"), present="expire_at", ttl=0),),
    SCHEDULES: (
        # Neither paused nor over, by their next slot.
        Index(name=DUE, keys=_keys("queue", "next", "_id"), present="next"),
        # Fired, with jobs to be set free: for milliseconds, and only where there are no transactions.
        Index(name=MAKING, keys=_keys("queue", "making.at"), present="making.at"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Names:
    """What things of one namespace are called in the database. Pure text."""

    namespace: str
    prefix: str  # the jobs collection's name; the others are derived from it

    def collection(self, room: str) -> str:
        return self.prefix if room == JOBS else f"{self.prefix}_{room}"

    def queue(self, queue: str) -> str:
        """The key of a queue: what its jobs carry in `queue`, and the `_id` of its own document."""
        return f"{self.namespace}/{queue}"

    def job(self, queue: str, id: str) -> str:
        return f"{self.namespace}/{queue}/{id}"

    def schedule(self, queue: str, id: str) -> str:
        return f"{self.namespace}/{queue}/{id}"

    def totals(self, queue: str) -> str:
        """The document of a queue's totals. It lives among the jobs, so that it can ride in their writes."""
        return f"{self.namespace}/{queue}#totals"

    def addition(self, queue: str, of: str) -> str:
        """What one process, or one transaction of a producer, adds to the totals: in one document they would meet."""
        return f"{self.totals(queue)}/{of}"

    def move(self, queue: str, kind: str, of: str = "") -> str:
        """What a queue's mover keeps among the jobs: batches that are out, batches taken in, keys without a job."""
        return f"{self.namespace}/{queue}#{kind}/{of}"

    def own(self, queue: str) -> dict[str, str]:
        """The range of all that is the queue's and no job: totals, and what its mover keeps. "$" is behind "#"."""
        return {"$gte": f"{self.namespace}/{queue}#", "$lt": f"{self.namespace}/{queue}$"}

    def worker(self, id: str) -> str:
        return f"{self.namespace}/{id}"


def after_slash(key: str) -> str:
    """The last part of a key: the queue of a queue's, the id of a job's."""
    return key.rpartition("/")[2]
