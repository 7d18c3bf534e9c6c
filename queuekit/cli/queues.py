"""`queuekit queues`: look at queues, and pause, configure or empty them.

Which limits there are is decided in the domain.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
from collections.abc import Mapping
from typing import Annotated

import typer

from queuekit import QueueHealth
from queuekit.cli import exits, screen
from queuekit.cli.options import OptionList, parse_options
from queuekit.cli.selection import state_of
from queuekit.cli.session import Json, Session, of, reading
from queuekit.clock import to_datetime
from queuekit.domain.duration import format_duration
from queuekit.domain.job import Retention
from queuekit.domain.limits import Limits, QueueConf
from queuekit.domain.names import queue_name
from queuekit.domain.outcome import Home
from queuekit.domain.state import State
from queuekit.errors import InvalidOption

app = typer.Typer(no_args_is_help=True, help="list | show | pause | resume | configure | reset | prune | obliterate")
Name = Annotated[str, typer.Argument(metavar="QUEUE", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
COLUMNS = ("waiting", "active", "delayed", "completed", "failed", "parked")


@app.command("list")
def list_(context: typer.Context, json: Json = False) -> None:
    """List queues with the numbers of their jobs."""
    session = reading(context, json)
    health = session.kit.health()
    confs = {name: session.ask(session.store().conf(name)) for name in health}
    if session.json:
        homes = {name: {"home": conf.home, "to": conf.to} for name, conf in confs.items()}
        screen.show_json([{**health_dict(one), **homes[name]} for name, one in health.items()])
        return
    show_health(health, {name: _beside(conf) for name, conf in confs.items()})


@app.command()
def show(context: typer.Context, queue: Name, json: Json = False) -> None:
    """Show a queue: counts, totals, and its limits as declared and as set by people."""
    session = reading(context, json)
    store = session.store()
    _there(session, queue)
    counts, conf = session.ask(store.count(queue)), session.ask(store.conf(queue))
    layers = {"declared": _said(conf.declared), "override": _said(conf.override), "effective": _said(conf.effective)}
    totals = dataclasses.asdict(counts.totals)
    if session.json:
        body = {
            "name": queue,
            "counts": {str(k): v for k, v in counts.states.items()},
            "totals": totals,
            "paused": counts.paused,
        }
        screen.show_json(
            {**body, "suspect": counts.suspect, "home": conf.home, "to": conf.to, "rev": conf.rev, **layers}
        )
        return
    screen.fields(
        {
            "queue": queue,
            "lives": _lives(conf),
            "paused": counts.paused if counts.paused is None else counts.paused or "yes",
            "now": ", ".join(f"{n} {state}" for state, n in counts.states.items() if n) or "empty",
            "ever": ", ".join(f"{n} {name}" for name, n in totals.items() if n) or "nothing",
            "declared": _pairs(layers["declared"]),
            "override": _pairs(layers["override"]),
            "in force": _pairs(layers["effective"]),
        }
    )


def _beside(conf: QueueConf) -> str:
    """The move a queue is in or behind, in a word and a name; nothing for one that only lives here."""
    said = {Home.MOVING: "moving to", Home.ARRIVING: "arriving from", Home.GONE: "gone to", Home.HERE: "open, from"}
    return "" if conf.to is None else f"{said[conf.home]} {conf.to}"


def _lives(conf: QueueConf) -> str:
    """Where a queue is."""
    said = {
        Home.MOVING: "here; it moves to {}",
        Home.ARRIVING: "in {}; it moves here",
        Home.GONE: "in {} now",
        Home.HERE: "here; its last jobs still come from {}",
    }
    return "here" if conf.to is None else said[conf.home].format(conf.to)


@app.command()
def pause(
    context: typer.Context, queue: Name, reason: Annotated[str, typer.Option(help="Shown to everybody.")] = ""
) -> None:
    """Stop workers from taking jobs of a queue; running ones go on."""
    session = of(context)
    _tell_early(session, queue)
    session.kit.queue(queue).pause(reason)
    screen.say(f"paused {queue}")


@app.command()
def resume(context: typer.Context, queue: Name) -> None:
    """Let workers take jobs again."""
    session = of(context)
    _there(session, queue)
    session.kit.queue(queue).resume()
    screen.say(f"resumed {queue}")


@app.command()
def configure(context: typer.Context, queue: Name, option: OptionList = None) -> None:
    """Override limits of a queue, until `reset`: -o lease=60s -o max_size=10000 -o keep_completed=100."""
    options = parse_options(option or [], "queue")
    if not options:
        raise InvalidOption("what is to change? For example: -o concurrency=5 -o keep_failed=1000")
    session = of(context)
    _tell_early(session, queue)
    session.kit.queue(queue).configure(**options)
    screen.say(f"configured {queue}: {', '.join(f'{k}={v}' for k, v in options.items())}")


@app.command()
def reset(context: typer.Context, queue: Name) -> None:
    """Drop what people set; what code declares is in force again. A pause stays until `resume`."""
    session = of(context)
    _there(session, queue)
    session.kit.queue(queue).reset()
    screen.say(f"reset {queue}")


@app.command()
def prune(
    context: typer.Context,
    queue: Name,
    state: Annotated[str, typer.Option("--state", "-s", help="completed, failed, cancelled, waiting …")] = "completed",
    older_than: Annotated[str, typer.Option(metavar="DURATION", help="Only jobs in that state for longer.")] = "0",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many. \\[default: all]")] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Remove jobs of one state; `-s waiting` empties a queue."""
    session, which = reading(context, json), state_of(state)
    _there(session, queue)
    if which not in (State.COMPLETED, State.CANCELLED):
        never = "run again" if which in (State.FAILED, State.PARKED) else "run"
        agreed(session, f"remove {which} jobs of {queue}, which will then never {never}?", yes=yes)
    removed, one = 0, session.kit.queue(queue)
    while limit is None or removed < limit:
        some = one.prune(which, older_than=older_than, limit=1000 if limit is None else min(1000, limit - removed))
        removed += some
        if some == 0:
            break
    if session.json:
        screen.show_json({"queue": queue, "state": which, "removed": removed})
    else:
        screen.say(f"removed {removed} {which} jobs of {queue}")


@app.command()
def obliterate(
    context: typer.Context,
    queue: Name,
    confirm: Annotated[str | None, typer.Option(metavar="QUEUE", help="The queue's name once more.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Even while jobs run.")] = False,
) -> None:
    """Remove a queue with everything in it."""
    session = of(context)
    _there(session, queue)
    if confirm is None and sys.stdin.isatty() and sys.stdout.isatty():
        confirm = typer.prompt(f"Everything in {queue} will be gone. Its name once more")
    if confirm != queue:
        raise InvalidOption(f"this removes every job of {queue}: say --confirm {queue}")
    screen.say(f"removed {queue} with {session.kit.queue(queue).obliterate(confirm=confirm, force=force)} jobs")


def health_dict(one: QueueHealth) -> dict[str, object]:
    """A queue's numbers as JSON; the seeds' six keys first."""
    return {f.name: getattr(one, f.name) for f in dataclasses.fields(one)}


def show_health(health: dict[str, QueueHealth], moves: Mapping[str, str] | None = None) -> None:
    """The numbers of queues as a table; where any of them moves or has moved, that too."""
    told = moves if moves is not None and any(moves.values()) else None
    screen.table(
        ("queue", *COLUMNS, "oldest", "workers", "paused", *(("move",) if told else ())),
        (
            [name, *(getattr(h, c) for c in COLUMNS), screen.ago(h.oldest_waiting), h.workers, _pause(h)]
            + ([told.get(name)] if told else [])
            for name, h in health.items()
        ),
        right=(*COLUMNS, "workers"),
    )


def _there(session: Session, queue: str) -> None:
    """Raises Exit where no queue has this name: a slip of the pen must not look like a success."""
    unknown = _unknown(session, queue)
    if unknown is None:
        return
    screen.tell(unknown)
    if session.json:
        screen.show_json(None)
    raise typer.Exit(exits.NO)


def _tell_early(session: Session, queue: str) -> None:
    """Say that a queue is not there yet. Pausing and limiting it all the same is meant: before its first job comes."""
    unknown = _unknown(session, queue)
    if unknown is not None:
        screen.tell(f"{unknown}; stored for when it has jobs (to take it back: queuekit queues obliterate {queue})")


def _unknown(session: Session, queue: str) -> str | None:
    """What to say of a queue that has neither jobs nor a configuration; None where it has."""
    queues = session.ask(session.store().queues())
    if queue_name(queue) in queues:
        return None
    near = difflib.get_close_matches(queue, queues, n=1)
    return f"{queue}: no such queue" + (f" (did you mean {near[0]}?)" if near else "")


def agreed(session: Session, question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone. Raises InvalidOption where nobody can be asked, Exit when told no."""
    if yes:
        return
    if session.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidOption(f"{question} There is no terminal to ask on: say -y")
    if not typer.confirm(question):
        raise typer.Exit(exits.NO)


def _pause(health: QueueHealth) -> str:
    return "" if health.paused is None else f"paused: {health.paused}" if health.paused else "paused"


def _said(limits: Limits) -> dict[str, object]:
    """What a layer says, in the words of the options."""
    said: dict[str, object] = {}
    for f in dataclasses.fields(limits):
        value = getattr(limits, f.name)
        if value is None or value == f.default:
            continue
        if isinstance(value, Retention):
            value = {"count": value.count, "age": value.age and format_duration(value.age)}
        elif f.name == "lease":
            value = format_duration(value)
        elif f.name == "at":
            value = to_datetime(value)
        said[f.name] = value
    return said


def _pairs(said: object) -> str:
    if not isinstance(said, dict) or not said:
        return "nothing"
    return ", ".join(f"{k}={screen.when(v) if k == 'at' else v}" for k, v in said.items())
