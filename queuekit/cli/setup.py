"""`queuekit setup`: make what the store needs and say what it is.

Opening a store does the making; it may be repeated.
"""

from __future__ import annotations

import typer

from queuekit.cli import screen
from queuekit.cli.ping import facts
from queuekit.cli.session import Json, reading


def setup(context: typer.Context, json: Json = False) -> None:
    """Create indexes and check the server; safe to run again."""
    session = reading(context, json)
    found = facts(session)
    if session.json:
        screen.show_json({"ready": True, **found})
        return
    screen.say(
        f"ready: {found['server']} at {found['where']}, namespace {found['namespace']}, schema {found['schema']}"
    )
    for warning in session.ask(session.store().ping()).warnings:
        screen.tell(f"warning: {screen.clean(warning)}")
