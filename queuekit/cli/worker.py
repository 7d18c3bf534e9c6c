"""`queuekit worker`: run jobs until stopped. It finds the app and the options; all running is the runtime's."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from queuekit.cli import reload as reloading
from queuekit.cli import screen
from queuekit.cli.session import Session, of
from queuekit.clock import monotonic
from queuekit.domain.duration import parse_duration
from queuekit.domain.redact import redact
from queuekit.errors import InvalidOption, StoreUnavailable

log = logging.getLogger("queuekit.cli.worker")
PAUSE = 0.5  # seconds between two looks at a store that is not there yet


App = Annotated[str | None, typer.Argument(metavar="APP", help="MODULE:ATTR, as with -A.", show_default=False)]
_QUEUES = "Order is priority: a,b,c; or weights: a=3,b=1. \\[default: queues of the app's tasks]"
Queues = Annotated[str | None, typer.Option("--queues", "-Q", help=_QUEUES)]
Exclude = Annotated[str | None, typer.Option("--exclude", "-X", help="Not these: a,b.")]
_TYPE = "Only queues of this profile: light, heavy, NAME, all. \\[env: WORKER_TYPE] \\[default: all]"
Type = Annotated[str | None, typer.Option(help=_TYPE)]
_CONCURRENCY = "Jobs at once in a process. \\[env: QUEUEKIT_CONCURRENCY] \\[default: 1]"
Concurrency = Annotated[int | None, typer.Option("--concurrency", "-c", min=1, help=_CONCURRENCY)]
_PROCESSES = "\\[env: QUEUEKIT_PROCESSES] \\[default: 1]"
Processes = Annotated[int | None, typer.Option("--processes", "-p", min=1, help=_PROCESSES)]
_GRACE = "Time for running jobs after TERM. \\[env: QUEUEKIT_GRACE] \\[default: 25s]"
Grace = Annotated[str | None, typer.Option(metavar="DURATION", help=_GRACE)]
Burst = Annotated[bool, typer.Option("--burst", help="Stop when nothing is due.")]
MaxJobs = Annotated[int | None, typer.Option(min=1, help="Stop after so many jobs.")]
MaxRss = Annotated[str | None, typer.Option(metavar="SIZE", help="Stop when memory grows over this: 512MiB.")]
JsonLogs = Annotated[bool, typer.Option("--json-logs", help="Log lines as JSON, whoever reads them.")]
LogFile = Annotated[str | None, typer.Option(metavar="PATH", help="Append log lines to this file.")]
_RELOAD = "Start anew when a file changes. For development."
Reload = Annotated[bool, typer.Option("--reload", help=_RELOAD)]
WaitStore = Annotated[str, typer.Option(metavar="DURATION", help="How long to wait for the store at start.")]


def worker(
    context: typer.Context,
    app: App = None,
    queues: Queues = None,
    exclude: Exclude = None,
    type: Type = None,
    concurrency: Concurrency = None,
    processes: Processes = None,
    grace: Grace = None,
    burst: Burst = False,
    max_jobs: MaxJobs = None,
    max_rss: MaxRss = None,
    wait_store: WaitStore = "30s",
    json_logs: JsonLogs = False,
    log_file: LogFile = None,
    reload: Reload = False,
) -> None:
    """Run jobs until stopped.

    TERM or INT once: finish what runs; twice, or QUIT: give everything back at once; USR1: log what runs.
    """
    session = of(context)
    session.lasting, session.log_file = True, str(Path(log_file).absolute()) if log_file else None
    if json_logs:
        session.given += ("QUEUEKIT_LOG_FORMAT",)
        os.environ["QUEUEKIT_LOG_FORMAT"] = "json"
    if reload and not reloading.follow():
        raise typer.Exit(_reloaded(session, app, grace, burst=burst))
    named = session.app_named(app)  # from here on log lines are as the settings say
    options: dict[str, Any] = {
        "queues": queues_of(queues) if queues else None,
        "exclude": _list(exclude),
        "type": type,
        "concurrency": concurrency,
        "processes": processes,
        "grace": grace,
        "burst": burst or None,
        "max_jobs": max_jobs,
        "max_rss": max_rss,
        "wait_store": wait_store,
        "app": named or session.app_of_children,  # several processes: each imports it anew
        "prepare": session.prepare,
        "interruptible": not reload,  # else Ctrl-C is the parent's
    }
    patience = parse_duration(wait_store) / 1000
    kit = session.loaded(app)
    _await_store(session, patience)
    log.info("store: %s, chosen by %s", redact(kit.settings.url) or "a client", session.chosen_by)
    chosen = {name: value for name, value in options.items() if value is not None}
    raise typer.Exit(kit.worker(**chosen).run())


def _reloaded(session: Session, app: str | None, grace: str | None, *, burst: bool) -> int:
    """Watch, and run this command again as a child. What no change of a file can mend is said at once."""
    if burst:
        raise InvalidOption("--reload is for a worker that stays, --burst for one that ends: leave one of them out")
    settings = session.settings
    session.named(app)
    seconds = (settings.grace if grace is None else parse_duration(grace)) / 1000
    files = (settings.file, os.environ.get("QUEUEKIT_ENV_FILE"))
    return reloading.run(seconds, tuple(name for name in files if name))


def queues_of(text: str) -> list[str] | dict[str, int]:
    """ "a,b" is strict order, "a=3,b=1" weights. Raises InvalidOption for a mixture."""
    parts = _list(text) or []
    weighted = [part for part in parts if "=" in part]
    if not weighted:
        return parts
    weights: dict[str, int] = {}
    for part in parts:
        name, _, weight = part.partition("=")
        if not weight.isdecimal() or int(weight) < 1:
            raise InvalidOption(f"{part!r}: with weights every queue takes one, as in a=3,b=1")
        weights[name] = int(weight)
    return weights


def _list(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _await_store(session: Session, patience: float) -> None:
    """Open the store, again and again until it answers or `patience` seconds are over."""
    deadline = monotonic() + patience
    told = False
    while True:
        try:
            session.ask(session.store().ping())
        except StoreUnavailable as error:
            if monotonic() + PAUSE > deadline:
                raise
            if not told:
                screen.tell(f"waiting up to {patience:g} s for the store: {screen.clean(error)}")
            told = True
            time.sleep(PAUSE)
        else:
            return
