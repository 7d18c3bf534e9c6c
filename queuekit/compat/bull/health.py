"""How queues stand, in the six numbers that Bull's users look at."""

from __future__ import annotations

from typing import TypedDict

from queuekit import QueueHealth as Health
from queuekit import QueueKit
from queuekit.compat.bull.queue import Queue, named_queues
from queuekit.compat.current import current
from queuekit.domain import names


class QueueHealth(TypedDict):
    """Exactly these six; `kit.health()` has more: who is paused, how long the oldest waits, how many workers beat."""

    name: str
    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int


def get_queue_health(queue: str | Queue, *, kit: QueueKit | None = None) -> QueueHealth:
    """How one queue stands; zeros for one that has no jobs. Raises StoreUnavailable."""
    kit, name = (kit or queue.kit, queue.name) if isinstance(queue, Queue) else (kit or current(), queue)
    name = names.queue_name(name)
    return _six(kit.health(name)[name])


async def aget_queue_health(queue: str | Queue, *, kit: QueueKit | None = None) -> QueueHealth:
    """See `get_queue_health`."""
    kit, name = (kit or queue.kit, queue.name) if isinstance(queue, Queue) else (kit or current(), queue)
    name = names.queue_name(name)
    return _six((await kit.ahealth(name))[name])


def get_all_queues_health(*, kit: QueueKit | None = None) -> list[QueueHealth]:
    """How every queue of the store stands, by name, and those that `get_queue` named here and nobody used yet."""
    return _merged((kit or current()).health(), kit)


async def aget_all_queues_health(*, kit: QueueKit | None = None) -> list[QueueHealth]:
    """See `get_all_queues_health`."""
    return _merged(await (kit or current()).ahealth(), kit)


def _merged(found: dict[str, Health], kit: QueueKit | None) -> list[QueueHealth]:
    six = {name: _six(health) for name, health in found.items()}
    for name in named_queues(kit):
        six.setdefault(name, QueueHealth(name=name, waiting=0, active=0, completed=0, failed=0, delayed=0))
    return [six[name] for name in sorted(six)]


def _six(health: Health) -> QueueHealth:
    return {
        "name": health.name,
        "waiting": health.waiting,
        "active": health.active,
        "completed": health.completed,
        "failed": health.failed,
        "delayed": health.delayed,
    }
