"""A worker as a process: its event loop, its signals, its exit code. What it does in between is not here."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from queuekit.runtime.claim import Claim
from queuekit.runtime.plan import plan
from queuekit.runtime.signals import heard

if TYPE_CHECKING:
    from queuekit.kit import QueueKit
    from queuekit.runtime.worker import Worker

log = logging.getLogger("queuekit.runtime.process")
INTERRUPTED = 130  # exit code: Ctrl-C twice


def run(worker: Worker, kit: QueueKit, options: Mapping[str, Any]) -> int:
    """Run one worker here, or supervise several processes; the exit code."""
    kit.load()
    processes: int = options.get("processes") or kit.settings.processes
    if processes > 1:
        plan(kit, options)  # what cannot be is refused here, not in every process
        from queuekit.runtime.supervisor import supervise

        return supervise(kit, options, processes)
    return run_here(worker, interruptible=options.get("interruptible", True))


def run_here(worker: Worker, *, interruptible: bool = True) -> int:
    """Run a worker in this process on a loop of its own: uvloop where it is installed."""

    seen: list[int] = []

    async def main() -> None:
        with handling_signals(worker, enabled=True, interruptible=interruptible, seen=seen):
            await worker.arun()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main())
    return INTERRUPTED if seen.count(signal.SIGINT) > 1 else worker.exit_code


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


@contextmanager
def handling_signals(
    worker: Worker, *, enabled: bool, interruptible: bool = True, seen: list[int] | None = None
) -> Iterator[None]:
    """TERM and INT once: stop with the grace; twice, or QUIT: at once. USR1: say what runs.

    `seen` collects the first two kinds.
    """
    if not enabled:
        yield
        return
    asked: list[int] = [] if seen is None else seen

    def ask(number: int) -> None:
        asked.append(number)
        worker.ask_stop(None if len(asked) == 1 else 0)

    handlers: dict[str, Callable[[], None]] = {
        "SIGTERM": lambda: ask(signal.SIGTERM),
        "SIGINT": lambda: ask(signal.SIGINT),
        "SIGQUIT": lambda: worker.ask_stop(0),
        "SIGUSR1": lambda: tell(worker.running()),
    }
    if not interruptible:
        del handlers["SIGINT"]
    with heard({getattr(signal, name): handler for name, handler in handlers.items() if hasattr(signal, name)}):
        yield


def tell(claims: list[Claim]) -> None:
    """Log what runs."""
    log.warning("%d jobs run", len(claims))
    for claim in claims:
        record = claim.record
        log.warning("running: job %s (%s) attempt %d", record.ref, record.task, record.attempt, extra=claim.about)
