"""`queuekit health`: the numbers of every queue, and one exit code for probes.

What counts as unhealthy is said in its help.
"""

from __future__ import annotations

from typing import Annotated

import typer

from queuekit import QueueHealth
from queuekit.cli import exits, screen
from queuekit.cli.queues import health_dict, show_health
from queuekit.cli.session import Json, reading


def health(
    context: typer.Context,
    queue: Annotated[str | None, typer.Argument(metavar="QUEUE", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Show six numbers per queue; exit 1 when jobs wait on a queue that no worker takes and nobody paused."""
    session = reading(context, json)
    found = session.kit.health(queue)
    wrong = {name: said for name, one in found.items() if (said := _wrong(one))}
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
