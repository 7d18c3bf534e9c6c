"""Bull and BullMQ under their own names, in snake_case. `docs/compat.md` says what each does here, and what differs."""

from typing import TYPE_CHECKING

from queuekit import Fail as UnrecoverableError
from queuekit import Priority as QueuePriority
from queuekit import Profile as QueueProfile
from queuekit.compat.bull.health import (
    QueueHealth,
    aget_all_queues_health,
    aget_queue_health,
    get_all_queues_health,
    get_queue_health,
)
from queuekit.compat.bull.job import Job, JobProcessor
from queuekit.compat.bull.manager import Envelope, QueueManager
from queuekit.compat.bull.options import parse_bull_options, parse_bull_worker_options
from queuekit.compat.bull.processors import create_worker, on_worker_event, process, processor
from queuekit.compat.bull.queue import Queue, get_queue
from queuekit.compat.bull.schedulers import JobScheduler
from queuekit.compat.bull.service import SchedulerService
from queuekit.compat.current import use

if TYPE_CHECKING:
    from queuekit.compat.bull.worker import Worker

__all__ = [
    "Envelope",
    "Job",
    "JobProcessor",
    "JobScheduler",
    "Queue",
    "QueueHealth",
    "QueueManager",
    "QueuePriority",
    "QueueProfile",
    "SchedulerService",
    "UnrecoverableError",
    "Worker",
    "aget_all_queues_health",
    "aget_queue_health",
    "create_worker",
    "get_all_queues_health",
    "get_queue",
    "get_queue_health",
    "on_worker_event",
    "parse_bull_options",
    "parse_bull_worker_options",
    "process",
    "processor",
    "use",
]


def __getattr__(name: str) -> object:
    """`Worker` when it is first asked for: a process that only adds jobs starts sooner without it."""
    if name == "Worker":
        from queuekit.compat.bull.worker import Worker

        return Worker
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
