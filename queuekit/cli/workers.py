"""`queuekit workers`: who is at work. Workers tell it themselves; nothing is measured here."""

from __future__ import annotations

import dataclasses
import json as jsonlib
from typing import Annotated

import typer

from queuekit.cli import exits, screen
from queuekit.cli.session import Json, Session, of, reading
from queuekit.clock import to_datetime
from queuekit.domain.query import Where, WorkerBeat
from queuekit.domain.state import State

app = typer.Typer(no_args_is_help=True, help="list | show | forget")
Worker = Annotated[str, typer.Argument(metavar="WORKER", help="An id, or its beginning.", show_default=False)]


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """List the workers that were heard of lately."""
    session = reading(context, json)
    beats = session.ask(session.store().workers())
    if session.json:
        screen.show_json([_plain(beat) for beat in beats])
        return
    screen.table(
        ("worker", "host", "pid", "queues", "running", "done", "slots", "rss", "lag", "seen"),
        (
            (b.id, b.host, b.pid, ",".join(b.queues), b.running, b.done, b.concurrency, f"{b.rss / 2**20:.0f} MiB",
             f"{b.lag * 1000:.0f} ms", screen.when(to_datetime(b.seen)))
            for b in beats
        ),
        right=("pid", "running", "done", "slots", "rss", "lag"),
    )  # fmt: skip


@app.command()
def show(context: typer.Context, worker: Worker, json: Json = False) -> None:
    """Show one worker and the jobs it runs."""
    session = reading(context, json)
    beat = _find(session, worker)
    running = [
        f"{record.queue}/{record.id}"
        for queue in beat.queues
        for record in session.ask(session.store().find(queue, Where(state=State.ACTIVE, limit=1000))).records
        if record.worker == beat.id
    ]
    if session.json:
        screen.show_json({**_plain(beat), "jobs": running})
        return
    said = {k: screen.listed(v) for k, v in _plain(beat).items()}
    screen.fields({**said, "started_at": screen.when(to_datetime(beat.started_at)),
                   "seen": screen.when(to_datetime(beat.seen)), "jobs": "\n".join(running) or None})  # fmt: skip


@app.command()
def forget(context: typer.Context, worker: Worker) -> None:
    """Take a worker off the list; one that still lives comes back with its next beat."""
    session = of(context)
    beat = _find(session, worker)
    session.ask(session.store().beat(beat, 0))
    screen.say(f"forgot {beat.id}")


def _find(session: Session, worker: str) -> WorkerBeat:
    found = [beat for beat in session.ask(session.store().workers()) if beat.id.startswith(worker)]
    exact = [beat for beat in found if beat.id == worker]
    if len(exact or found) != 1:
        screen.tell(f"{screen.clean(worker)}: {'several workers begin so' if found else 'no such worker'}")
        raise typer.Exit(exits.NO)
    return (exact or found)[0]


def _plain(beat: WorkerBeat) -> dict[str, object]:
    plain: dict[str, object] = dataclasses.asdict(beat)
    for name in ("started_at", "seen"):
        plain[name] = to_datetime(getattr(beat, name))
    try:
        plain["info"] = jsonlib.loads(beat.info)
    except ValueError:
        plain["info"] = None
    return plain
