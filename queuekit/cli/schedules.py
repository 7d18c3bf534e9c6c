"""`queuekit schedules`: look at schedules, try rules, and do to them what a person may do.

What a rule means and what a verb does is decided in the domain and by the kit.
"""

from __future__ import annotations

import difflib
import json as jsonlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from queuekit.cli import exits, screen
from queuekit.cli.selection import InQueue
from queuekit.cli.session import Json, Session, of, reading
from queuekit.clock import now
from queuekit.domain.values import JSON
from queuekit.errors import InvalidOption
from queuekit.producing.schedules import Schedule

app = typer.Typer(no_args_is_help=True, help="list | show | preview | sync | pause | resume | fire | delete | reset")
Ref = Annotated[str, typer.Argument(metavar="SCHEDULE", help="An id, or queue/id.", show_default=False)]
_LATE = timedelta(minutes=1)
_MAIN = ("cron", "every", "at", "trigger", "timezone")


@app.command("list")
def list_(context: typer.Context, queue: InQueue = None, json: Json = False) -> None:
    """List schedules, when they fire next and what they did last."""
    session = reading(context, json)
    found = session.kit.schedules.all(queue)
    if session.json:
        screen.show_json([one.to_dict() for one in found])
        return
    screen.table(
        ("schedule", "task", "rule", "next", "fired", "skipped", "last job", "from", "state"),
        (
            (s.ref, s.task, _rule(s.rule), screen.when(s.next_at), s.fired, s.skipped, s.last_job, s.origin, _state(s))
            for s in found
        ),
        right=("fired", "skipped"),
    )


@app.command()
def show(context: typer.Context, schedule: Ref, json: Json = False) -> None:
    """Show a schedule: its rule, its job, and both as declared and as set by people."""
    session = reading(context, json)
    found = _found(session, schedule)
    if session.json:
        screen.show_json(found.to_dict())
        return
    hand = found.by_hand
    screen.fields(
        {
            "schedule": found.ref,
            "task": found.task,
            "payload": jsonlib.dumps(found.payload, ensure_ascii=False),
            "options": screen.listed(found.options),
            "rule": _rule(found.rule),
            "next": screen.when(found.next_at),
            "state": _state(found) or "live",
            "paused by": found.paused_by and f"{found.paused_by}, {screen.when(found.paused_at)}",
            "last job": found.last_job,
            "fired": f"{found.fired}, and {found.skipped} skipped",
            "by hand": hand and f"{hand['job']}, by {hand['by']}, {_when(hand['at'])}",
            "since": screen.when(found.anchor),
            "from": found.origin,
            "declared": _layer(found.declared),
            "override": _layer(found.override),
        }
    )


@app.command()
def preview(
    context: typer.Context,
    schedule: Annotated[str | None, typer.Argument(metavar="[SCHEDULE]", help="An id, or queue/id.")] = None,
    number: Annotated[int, typer.Option("--number", "-n", help="How many moments: 1 to 1000.")] = 5,
    cron: Annotated[str | None, typer.Option(help='Try a rule: "0 9 * * mon-fri", @daily.')] = None,
    every: Annotated[str | None, typer.Option(metavar="DURATION", help="30s, 3 minutes, 1h30m.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="2030-01-31T09:00:00+01:00.")] = None,
    trigger: Annotated[str | None, typer.Option(metavar="JSON", help='{"calendar": {"months": 1, "hour": 9}}.')] = None,
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help="Europe/Berlin.")] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Not before.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Not after.")] = None,
    count: Annotated[int | None, typer.Option(help="So many times.")] = None,
    json: Json = False,
) -> None:
    """Show the next moments of a schedule, or of a rule that is not stored: then no store is asked."""
    session = reading(context, json)
    said: dict[str, Any] = {"cron": cron, "every": every, "at": at, "trigger": _mapping(trigger), "timezone": timezone,
                            "start": start, "end": end, "count": count}  # fmt: skip
    rule = {name: value for name, value in said.items() if value is not None}
    if (schedule is None) == (not rule):
        raise InvalidOption('preview what? A schedule by its id, or a rule: --cron "0 9 * * mon-fri"')
    if schedule is None:
        moments, zone = session.kit.schedules.preview(number, **rule), timezone or session.settings.timezone
    else:
        found = _found(session, schedule)
        moments, zone = found.preview(number), str(found.rule.get("timezone", "UTC"))
        if not session.json and (not moments or found.paused is not None):
            screen.tell(f"{found.ref}: {_state(found)}" + (": if it were resumed now" if moments else ""))
    if session.json:
        screen.show_json(moments)
        return
    if schedule is None and not moments:
        screen.tell("no moment comes any more")
    _coming(moments, zone)


@app.command()
def sync(
    context: typer.Context,
    app: Annotated[str | None, typer.Argument(metavar="[APP]", help="MODULE:ATTR", show_default=False)] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove those that are declared no more.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Write the schedules that the app and its queuekit.toml declare, as a worker does when it starts."""
    from queuekit.producing.scheduling import declaring

    session = reading(context, json)
    kit = session.loaded(app)
    done = kit.run(lambda at: (declaring.compared if dry_run else declaring.declare_schedules)(kit, at))
    orphans = kit.run(lambda at: declaring.orphans(kit, at))
    pruned = kit.run(lambda at: declaring.prune(kit, at, orphans)) if prune and orphans and not dry_run else []
    removed = [one.ref for one in orphans if one.id in pruned]
    foreign = {one.id for one in orphans if declaring.foreign(kit, one)}
    if session.json:
        screen.show_json(
            {
                "dry_run": dry_run,
                "written": done.written,
                "unchanged": done.unchanged,
                "later": sorted(done.later),
                "refused": done.refused,
                "orphans": [one.ref for one in orphans],
                "foreign": [one.ref for one in orphans if one.id in foreign],
                "removed": removed,
            }
        )
    else:
        _tell_sync(done.written, done.unchanged, orphans, removed, foreign, dry_run=dry_run, prune=prune)
    for queue in sorted(done.later):
        screen.tell(
            f"queue {queue}: its schedules are not all written yet, since it is on its way between two stores, or the "
            "store is full: try again"
        )
    for name, why in done.refused.items():
        screen.tell(f"{name}: {why}")
    if done.later or done.refused:
        raise typer.Exit(exits.NO)


@app.command()
def pause(
    context: typer.Context, schedule: Ref, reason: Annotated[str, typer.Option(help="Shown to everybody.")] = ""
) -> None:
    """Let a schedule fire no more until `resume`, over all deploys."""
    session = of(context)
    found = _found(session, schedule)
    if session.kit.schedules.pause(found.ref, reason):
        screen.say(f"paused {found.ref}")
    else:
        _no(f"{found.ref}: it is paused already" + (f": {found.paused}" if found.paused else ""))


@app.command()
def resume(context: typer.Context, schedule: Ref) -> None:
    """Let a schedule go on with the next slot to come; those of the pause are not missed."""
    session = of(context)
    found = _found(session, schedule)
    if not session.kit.schedules.resume(found.ref):
        _no(f"{found.ref}: it is not paused")
    after = session.kit.schedules.get(found.ref)
    screen.say(f"resumed {found.ref}" + ("" if after is None else f": next {screen.when(after.next_at)}"))


@app.command()
def fire(context: typer.Context, schedule: Ref) -> None:
    """Make a schedule's job now; its slots stay as they are."""
    session = of(context)
    found = _found(session, schedule)
    screen.say(session.kit.schedules.fire(found.ref).ref)


@app.command()
def delete(context: typer.Context, schedule: Ref) -> None:
    """Remove a schedule; its jobs stay. One that code declares comes back with the next worker: pause that one."""
    session = of(context)
    found = _found(session, schedule)
    if not session.kit.schedules.delete(found.ref):
        raise _missing(session, schedule)
    screen.say(f"deleted {found.ref}")
    if found.declared is not None:
        where = "the code" if found.origin == "code" else "queuekit.toml"
        screen.tell(
            f"{found.id} is declared in {where} of {found.declared['by']}: the next worker that starts brings it "
            f"back. To end it take the declaration out; to stop it: queuekit schedules pause {found.ref}"
        )


@app.command()
def reset(context: typer.Context, schedule: Ref) -> None:
    """Drop what people set; what is declared is in force again. A pause stays until `resume`."""
    session = of(context)
    found = _found(session, schedule)
    if session.kit.schedules.reset(found.ref):
        screen.say(f"reset {found.ref}")
    elif found.declared is None:
        _no(f"{found.ref}: nothing declares it, so there is nothing to go back to")
    else:
        _no(f"{found.ref}: nobody changed what is declared")


def _found(session: Session, name: str) -> Schedule:
    found = session.kit.schedules.get(name)
    if found is None:
        raise _missing(session, name)
    return found


def _missing(session: Session, name: str) -> typer.Exit:
    known = {known for one in session.kit.schedules.all() for known in (one.id, one.ref)}
    near = difflib.get_close_matches(name, known, n=1)
    screen.tell(f"{screen.clean(name)}: no such schedule" + (f" (did you mean {near[0]}?)" if near else ""))
    if session.json:
        screen.show_json(None)
    return typer.Exit(exits.NO)


def _no(text: str) -> None:
    screen.tell(screen.clean(text))
    raise typer.Exit(exits.NO)


def _tell_sync(
    written: Sequence[str], unchanged: Sequence[str], orphans: Sequence[Schedule], removed: Sequence[str],
    foreign: Collection[str], *, dry_run: bool, prune: bool,
) -> None:  # fmt: skip
    would = "would be " if dry_run else ""
    for name in written:
        screen.say(f"{would}written: {name}")
    for one in orphans:
        if one.id in foreign:
            screen.tell(
                f"{one.ref} is declared no more, or by another app whose kit has the same name: this one knows neither "
                f"its task nor its queue, and leaves it. To remove it: queuekit schedules delete {one.ref}"
            )
        elif one.ref in removed or (dry_run and prune):
            screen.say(f"{would}removed: {one.ref}")
        else:
            screen.tell(f"{one.ref} is declared no more; to remove it: queuekit schedules sync --prune")
    screen.say(f"{len(written)} {would}written, {len(unchanged)} as declared already")


def _mapping(text: str | None) -> object:
    if text is None:
        return None
    try:
        return jsonlib.loads(text)
    except ValueError as error:
        raise InvalidOption(f'--trigger is JSON, like {{"calendar": {{"months": 1, "hour": 9}}}}: {error}') from None


def _rule(rule: Mapping[str, JSON]) -> str:
    """A rule in a line: when first, bounds behind it."""
    said = [
        f"{key} {jsonlib.dumps(rule[key]) if key == 'trigger' else rule[key]}" if key != "timezone" else str(rule[key])
        for key in _MAIN
        if key in rule
    ]
    return ", ".join([" ".join(said), *(f"{key}={value}" for key, value in rule.items() if key not in _MAIN)])


def _state(schedule: Schedule) -> str:
    if schedule.problem is not None:
        return schedule.problem
    if schedule.paused is not None:
        return f"paused: {schedule.paused}" if schedule.paused else "paused"
    if schedule.put_off:
        return "put off by a clock that was ahead: resume it"
    if schedule.next_at is None:
        return "over"
    return f"late: does a worker take queue {schedule.queue}?" if late(schedule) else ""


def late(schedule: Schedule) -> bool:
    """Whether its slot came longer ago than any worker that lives would let it wait."""
    return schedule.next_at is not None and now() - schedule.next_at > _LATE


def _layer(layer: Mapping[str, JSON] | None) -> str:
    if layer is None:
        return "nothing"
    job, rule = layer.get("job"), layer.get("rule")
    said = [_rule(rule)] if isinstance(rule, Mapping) else []
    if isinstance(job, Mapping):
        said.append(jsonlib.dumps(job, ensure_ascii=False))
    return "\n".join([f"by {layer['by']}, {_when(layer['at'])}", *said])


def _when(text: JSON) -> str:
    return screen.when(datetime.fromisoformat(str(text)))


def _coming(moments: Sequence[datetime], zone: str) -> None:
    """By the wall clock of the rule's zone, and in UTC."""
    rows = [
        (f"{moment.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M:%S %Z}", _utc(moment), moment) for moment in moments
    ]
    here = now()
    screen.table((zone, "utc", "in"), ((wall, utc, screen.ago(max(m - here, timedelta(0)))) for wall, utc, m in rows))


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace(".000", "").replace("+00:00", "Z")
