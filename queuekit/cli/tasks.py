"""`queuekit tasks`: what the app registers. It imports user code and asks no store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from queuekit.cli import screen
from queuekit.cli.session import Json, reading
from queuekit.codec import JSON
from queuekit.domain.options import Scope, dump
from queuekit.errors import InvalidOption

ANY = "*"  # a processor that takes every name of its queue


def tasks(
    context: typer.Context,
    app: Annotated[str | None, typer.Argument(metavar="APP", help="MODULE:ATTR", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the tasks the app registers, their queue and options."""
    session = reading(context, json)
    kit = session.loaded(app)
    known = {name: kit.definition(name) for name in kit.known()}
    found = [(one.queue, name, one) for name, one in known.items() if one is not None]
    found += [(queue, ANY, one) for queue, one in kit.catch_all.items()]
    rows = [
        {
            "task": name,
            "queue": queue,
            "handler": one.fn is not None,  # else only the contract is known here
            "executor": one.executor,
            "version": one.version,
            "options": _said("task", one.options),
            "queue_options": _said("queue", kit.queue_options.get(queue, {})),
        }
        for queue, name, one in sorted(found, key=lambda row: row[:2])
    ]
    if session.json:
        screen.show_json(rows)
        return
    screen.table(
        ("task", "queue", "handler", "executor", "options", "queue options"),
        (
            (r["task"], r["queue"], "yes" if r["handler"] else "elsewhere", r["executor"], _pairs(r["options"]),
             _pairs(r["queue_options"]))
            for r in rows
        ),
    )  # fmt: skip


def _said(scope: Scope, options: Mapping[str, object]) -> dict[str, JSON]:
    """Parsed options as JSON; a function, which has no such form, is only named as one."""
    shown: dict[str, JSON] = {}
    for name, value in options.items():
        try:
            shown.update(dump(scope, {name: value}))
        except InvalidOption:
            shown[name] = "a function"
    return shown


def _pairs(options: object) -> str:
    return " ".join(f"{name}={value}" for name, value in options.items()) if isinstance(options, dict) else ""
