"""`queuekit tasks`: what the app registers. It imports user code and asks no store."""

from __future__ import annotations

from typing import Annotated

import typer

from queuekit.cli import screen
from queuekit.cli.session import Json, reading


def tasks(
    context: typer.Context,
    app: Annotated[str | None, typer.Argument(metavar="APP", help="MODULE:ATTR", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the tasks the app registers, their queue and options."""
    session = reading(context, json)
    kit = session.loaded(app)
    rows = [
        {"task": d.name, "queue": d.queue, "executor": d.executor, "version": d.version,
         "options": {k: v for k, v in d.options.items() if k != "queue"}}
        for d in sorted(kit.definitions.values(), key=lambda d: (d.queue, d.name))
    ]  # fmt: skip
    if session.json:
        screen.show_json(rows)
        return
    screen.table(
        ("task", "queue", "executor", "options"),
        ((r["task"], r["queue"], r["executor"], " ".join(f"{k}={v}" for k, v in r["options"].items())) for r in rows),  # type: ignore[attr-defined]  # a dict, two lines above
    )
