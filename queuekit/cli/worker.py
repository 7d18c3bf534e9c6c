"""`queuekit worker`: run jobs until stopped. It finds the app and the options; all running is the runtime's."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

import typer

from queuekit.cli import logs, screen
from queuekit.cli.session import Session, of
from queuekit.clock import monotonic
from queuekit.domain.duration import parse_duration
from queuekit.errors import InvalidOption, StoreUnavailable

PAUSE = 0.5  # seconds between two looks at a store that is not there yet


def worker(
    context: typer.Context,
    app: Annotated[
        str | None, typer.Argument(metavar="APP", help="MODULE:ATTR, as with -A.", show_default=False)
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues",
            "-Q",
            help="Order is priority: a,b,c; or weights: a=3,b=1. \\[default: queues of the app's tasks]",
        ),
    ] = None,
    exclude: Annotated[str | None, typer.Option("--exclude", "-X", help="Not these: a,b.")] = None,
    type: Annotated[
        str | None,
        typer.Option(
            help="Only queues of this profile: light, heavy, NAME, all. \\[env: WORKER_TYPE] \\[default: all]"
        ),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, help="Jobs at once in a process. \\[env: QUEUEKIT_CONCURRENCY] \\[default: 1]"
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", "-p", min=1, help="\\[env: QUEUEKIT_PROCESSES] \\[default: 1]")
    ] = None,
    grace: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Time for running jobs after TERM. \\[default: 25s]")
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="Stop when nothing is due.")] = False,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Stop after so many jobs.")] = None,
    max_rss: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Stop when memory grows over this: 512MiB.")
    ] = None,
    wait_store: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for the store at start.")
    ] = "30s",
) -> None:
    """Run jobs until stopped.

    TERM or INT once: finish what runs; twice: give everything back at once; QUIT: the same as twice.
    """
    session = of(context)
    session.lasting = True
    settings = session.settings  # from here on log lines are as it says
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
        "app": app or settings.app,  # several processes: each imports it anew
        "prepare": partial(logs.start, lasting=True),
    }
    patience = parse_duration(wait_store) / 1000
    kit = session.loaded(app)
    _await_store(session, patience)
    chosen = {name: value for name, value in options.items() if value is not None}
    raise typer.Exit(kit.worker(**chosen).run())


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
