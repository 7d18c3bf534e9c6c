"""`queuekit health`: the numbers of every queue, and one exit code for probes.

What counts as unhealthy is said in its help.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from queuekit import QueueHealth
from queuekit.cli import exits, screen
from queuekit.cli.queues import health_dict, show_health
from queuekit.cli.schedules import late
from queuekit.cli.session import Json, Session, reading
from queuekit.errors import Unsupported


def health(
    context: typer.Context,
    queue: Annotated[str | None, typer.Argument(metavar="QUEUE", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Show six numbers per queue; exit 1 when jobs wait, or slots of schedules came, on a queue that no worker takes
    and nobody paused.
    """
    session = reading(context, json)
    found = session.kit.health(queue)
    wrong = {name: said for name, one in found.items() if (said := _wrong(one) or _unfired(session, one))}
    if session.json:
        screen.show_json({"healthy": not wrong, "wrong": wrong, "queues": [health_dict(one) for one in found.values()]})
    else:
        show_health(found)
        for name, said in wrong.items():
            screen.tell(f"{name}: {said}")
    raise typer.Exit(exits.NO if wrong else exits.DONE)


def _wrong(one: QueueHealth) -> str | None:
    if one.waiting and not one.workers and one.paused is None:
        return f"{one.waiting} jobs wait and no worker takes this queue"
    return None


def _unfired(session: Session, one: QueueHealth) -> str | None:
    """Asks for the schedules of queues without a worker only."""
    if one.workers or one.paused is not None:
        return None
    with suppress(Unsupported):
        if names := [schedule.id for schedule in session.kit.schedules.all(one.name) if late(schedule)]:
            return f"schedules that nobody fires: {', '.join(names)}; no worker takes this queue"
    return None
