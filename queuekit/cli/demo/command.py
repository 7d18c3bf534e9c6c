"""The demo's own process: it makes the jobs, looks after the workers, and reports. It reads no file itself."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from queuekit import QueueKit, ids
from queuekit.cli import exits, screen
from queuekit.cli.crew import Crew, private, room
from queuekit.cli.demo import report
from queuekit.cli.demo.files import LEFT_OUT, packed, scan, standard_library
from queuekit.cli.session import Json, reading
from queuekit.clock import monotonic
from queuekit.domain.duration import parse_duration
from queuekit.domain.redact import redact
from queuekit.domain.state import TERMINAL
from queuekit.errors import InvalidOption, QueueKitError, StoreUnavailable
from queuekit.settings import Settings
from queuekit.store.direct import direct

CHUNK = 500  # jobs a call
LOOK = 0.1  # seconds between two looks at the counts
COMING = 15.0  # seconds for workers to come
STUCK = 120.0  # seconds without one ended job
RESTARTS = 3  # of a whole crew that is gone


class DemoFailed(QueueKitError):
    """The demo could not be brought to its end; the message has the workers' last words."""


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="Whose files to read. \\[default: Python's standard library]", show_default=False),
    ] = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, max=64, help="Worker processes.")] = 2,
    concurrency: Annotated[int, typer.Option("--concurrency", "-c", min=1, max=1000, help="Jobs at once in each.")] = 4,
    pause: Annotated[str, typer.Option(metavar="DURATION", help="Let each job take so much longer, to watch.")] = "0",
    json: Json = False,
) -> None:
    """Show real work on the chosen store: one job a file, counted and hashed by several worker processes.

    FOLDER: every regular file below it; links are not followed. Without one, the standard library of this Python:
    every file there but caches and installed packages (__pycache__, site-packages, dist-packages). Files that are
    not UTF-8 fail for good; one job in 25 meets an injected error first and recovers. Everything made is removed.
    """
    session = reading(context, json)
    _end_in_order()
    paths = list(scan(folder, left_out=frozenset()) if folder else scan(standard_library(), left_out=LEFT_OUT))
    if not paths:
        raise InvalidOption(f"no files below {str(folder)!r}")
    began = monotonic()
    if session.settings.url.startswith("memory:"):
        screen.tell("memory: is one process's own, and the demo uses several: a temporary SQLite file instead")
    with (
        room(session.settings, "demo") as settings,
        contextlib.closing(QueueKit(settings=settings, name="demo")) as kit,
    ):
        queue = f"demo-{ids.nonce()}"
        run = Run(kit, settings, queue, quiet=session.quiet or session.json)
        try:
            told = {"queue": queue, "concurrency": concurrency, "pause": parse_duration(pause)}
            sums = run.through(folder or standard_library(), paths, processes, told)
        finally:
            _clean(kit, queue)
        if session.json:
            screen.show_json(sums.to_dict())
        else:
            named = "temporary: none was named" if private(session.settings) else f"chosen by {settings.chosen_by}"
            where = f"{redact(settings.url)} ({named})"
            report.show(sums, folder=str(folder or standard_library()), store=where, wall=monotonic() - began)
    if sums.files != len(paths):
        raise DemoFailed(f"{len(paths)} jobs were made, but {sums.files} ended")


class Run:
    """One demo on one queue."""

    def __init__(self, kit: QueueKit, settings: Settings, queue: str, *, quiet: bool) -> None:
        self.kit = kit
        self.settings = settings
        self.queue = queue
        self.quiet = quiet

    def through(self, folder: Path, paths: list[str], processes: int, told: dict[str, object]) -> report.Sums:
        """Make the jobs while the workers already run, wait for the last end, add up."""
        self.kit.health(self.queue)  # a store that is away is told before processes start
        with Crew("queuekit.cli.demo.hand", self.settings) as crew, _progress(len(paths), quiet=self.quiet) as advance:
            for _ in range(processes):
                crew.start(told)
            self._meet(crew)
            self._enqueue(folder, paths)
            self._await(crew, len(paths), told, advance)
        return report.add_up(report.jobs_of(self.kit, self.queue))

    def _meet(self, crew: Crew) -> None:
        """Until all workers are there, so that they share the work; one that does not come is no reason to stop."""
        deadline = monotonic() + COMING
        store = self.kit.blocking_store()
        while monotonic() < deadline:
            there = {beat.pid for beat in direct(store.workers())}
            if all(hand.pid in there for hand in crew.alive):
                return
            time.sleep(LOOK / 4)

    def _enqueue(self, folder: Path, paths: list[str]) -> None:
        # By name, as a producer would that does not have the handler.
        root, queue, rest = packed(os.fsencode(folder.absolute())), self.kit.queue(self.queue), iter(paths)
        while chunk := list(islice(rest, CHUNK)):
            self.kit.enqueue_many([queue.make("read-file", {"folder": root, "path": path}) for path in chunk])

    def _await(self, crew: Crew, count: int, told: dict[str, object], advance: Callable[[int], None]) -> None:
        known: set[int] = set()
        ended, moved, restarts = 0, monotonic(), 0
        while ended < count:
            time.sleep(LOOK)
            states = self.kit.health(self.queue)[self.queue]
            now_ended = sum(getattr(states, state.value, 0) for state in TERMINAL)
            if now_ended != ended:
                ended, moved = now_ended, monotonic()
                advance(ended)
            for pid, code in crew.fallen(known):
                screen.tell(f"worker {pid} died ({_how(code)}); its jobs go to another when their lease ends")
            if not crew.alive:
                restarts += 1
                if restarts > RESTARTS:
                    raise DemoFailed(f"the workers end by themselves; the last one wrote:\n{crew.last_words()}")
                screen.tell("no worker is left: starting another")
                crew.start(told)
            if monotonic() - moved > STUCK:
                raise DemoFailed(
                    f"no job ended for {STUCK:.0f} s, {ended} of {count} did; a worker wrote:\n{crew.last_words()}"
                )


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


@contextlib.contextmanager
def _progress(count: int, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; nothing where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda ended: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("reading files"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda ended: bar.update(task, completed=ended)


def _clean(kit: QueueKit, queue: str) -> None:
    try:
        kit.queue(queue).obliterate(confirm=queue, force=True)
    except StoreUnavailable as error:
        screen.tell(f"{queue} could not be removed: {screen.clean(error)}")


def _end_in_order() -> None:
    """TERM ends the demo as Ctrl-C does: workers stopped, jobs removed."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(exits.INTERRUPTED if number == signal.SIGINT else 128 + number)

    signal.signal(signal.SIGTERM, stop)
