"""`queuekit ping`: is the store there, which one, why that one, and how far away. It changes nothing."""

from __future__ import annotations

import os
import statistics

import typer

from queuekit.cli import screen
from queuekit.cli.session import Json, Session, reading
from queuekit.clock import perf
from queuekit.domain.redact import redact
from queuekit.settings import unread_env_file

ROUND_TRIPS = 5


def ping(context: typer.Context, json: Json = False) -> None:
    """Say PONG, which store, why that one, and the round-trip time."""
    session = reading(context, json)
    found = facts(session)
    if session.json:
        screen.show_json({"pong": True, **found})
        return
    screen.say("PONG")
    screen.fields({name: value for name, value in found.items() if name not in ("warnings", "store_id", "schema")})
    for warning in session.ask(session.store().ping()).warnings:
        screen.tell(f"warning: {screen.clean(warning)}")


def facts(session: Session) -> dict[str, object]:
    """What the store says of itself, and what chose it."""
    store, settings = session.store(), session.settings
    pong = session.ask(store.ping())
    took = []
    for _ in range(ROUND_TRIPS):
        start = perf()
        session.ask(store.ping())
        took.append((perf() - start) * 1000)
    found: dict[str, object] = {
        "store": redact(settings.url),
        "chosen_by": settings.chosen_by,
        "server": pong.server,
        "where": pong.where,
        "namespace": settings.namespace,
        "round_trip_ms": round(statistics.median(took), 3),
        "store_id": pong.store_id,
        "schema": pong.schema,
        "warnings": list(pong.warnings),
    }
    unread = unread_env_file(os.environ.get("QUEUEKIT_ENV_FILE"))
    if unread:
        found["not_read"] = f"{unread} holds settings, but is read only when named: --env-file .env"
    return found
