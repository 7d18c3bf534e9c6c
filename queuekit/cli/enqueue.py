"""`queuekit enqueue`: put jobs on a queue from a shell. With an app the payload is checked as that task checks it."""

from __future__ import annotations

import difflib
import json as jsonlib
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from queuekit import JobHandle, QueueKit
from queuekit.cli import exits, screen
from queuekit.cli.options import OptionList, parse_options
from queuekit.cli.session import Json, reading
from queuekit.errors import InvalidOption, JobCancelled, JobFailed, PayloadError, ResultError

CHUNK = 1000  # JSON lines a call


def enqueue(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(show_default=False)],
    task: Annotated[str, typer.Argument(show_default=False)],
    payload: Annotated[
        str, typer.Argument(metavar="PAYLOAD|@FILE|-", help="JSON; @FILE holds it; - reads one payload a line.")
    ] = "{}",
    option: OptionList = None,
    wait: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Wait so long for the result and print it.")
    ] = None,
    json: Json = False,
) -> None:
    """Put one job on a queue, or one for each JSON line of standard input."""
    session = reading(context, json)
    options = parse_options(option or [], "job")
    kit = session.kit
    if session.host is not None or session.settings.app:
        kit = session.loaded()
        _known(kit, queue, task)
    if payload == "-":
        if wait is not None:
            raise InvalidOption("--wait is for one job; it cannot be had with JSON lines")
        _enqueue_lines(kit, queue, task, options, as_json=session.json)
        return
    text = _file(payload[1:]) if payload.startswith("@") else payload
    handle = kit.queue(queue).enqueue(task, _value(text, payload[:60]), **options)
    if wait is not None:
        with exits.ended_by_ctrl_c() if session.only_asked else nullcontext():
            raise typer.Exit(_wait(handle, wait, as_json=session.json))
    if session.json:
        screen.show_json({"id": handle.id, "queue": handle.queue, "ref": handle.ref, "created": handle.created})
    else:
        screen.say(handle.ref if handle.created else f"{handle.ref} (it was there before)")


def _enqueue_lines(kit: QueueKit, queue: str, task: str, options: dict[str, Any], *, as_json: bool) -> None:
    made = existing = 0
    lines = _lines()
    while chunk := list(islice(lines, CHUNK)):
        one = kit.queue(queue)
        jobs = [one.make(task, _value(line, f"line {n}"), **options) for n, line in chunk]
        for handle in kit.enqueue_many(jobs):
            made += bool(handle.created)
            existing += not handle.created
    if as_json:
        screen.show_json({"created": made, "existing": existing})
    else:
        screen.say(f"{made} jobs" + (f", {existing} were there before" if existing else ""))


def _lines() -> Iterator[tuple[int, str]]:
    """Lines of standard input that hold something, with their numbers."""
    n = 0
    try:
        for n, line in enumerate(sys.stdin, 1):
            if line.strip():
                yield n, line
    except UnicodeDecodeError as error:
        raise PayloadError(f"line {n + 1} or one soon after it is not {error.encoding}: {error.reason}") from error


def _wait(handle: JobHandle[Any], wait: str, *, as_json: bool) -> int:
    try:
        value = handle.result(timeout=wait)
    except ResultError as error:
        kind = (
            "failed" if isinstance(error, JobFailed) else "cancelled" if isinstance(error, JobCancelled) else "unknown"
        )
        if as_json:
            screen.show_json({"ref": handle.ref, "state": kind, "error": str(error)})
        else:
            screen.tell(f"{handle.ref}: {screen.clean(error)}")
        return exits.NO
    screen.show_json({"ref": handle.ref, "state": "completed", "result": value} if as_json else value)
    return exits.DONE


def _known(kit: QueueKit, queue: str, task: str) -> None:
    """With an app, a task it does not know is a slip of the pen. Raises InvalidOption with the nearest."""
    known = sorted(kit.known())
    if task in known or queue in kit.catch_all:
        return
    near = difflib.get_close_matches(task, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
    raise InvalidOption(f"the app has no task {task!r}: {hint}")


def _file(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"{path} cannot be read: {error}") from error


def _value(text: str, where: str) -> object:
    try:
        return jsonlib.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise PayloadError(f"{where}: no JSON: {error}") from error


def _no_constant(name: str) -> Iterator[None]:
    raise ValueError(f"{name} is not JSON")
