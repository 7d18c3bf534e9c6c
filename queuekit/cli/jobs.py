"""`queuekit jobs`: look at jobs, and do to them what a person may do. What a verb means is decided by the store."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from queuekit import Job
from queuekit.cli import exits, screen
from queuekit.cli.selection import Asked, InQueue, InState, OfTask, Since, state_of, takes_selection
from queuekit.cli.session import Json, Session, of, reading
from queuekit.domain import names
from queuekit.domain.query import Position, Verb
from queuekit.domain.state import State
from queuekit.errors import Conflict, InvalidOption

app = typer.Typer(no_args_is_help=True, help="list | show | why | cancel | retry | promote | reschedule | delete")

Ref = Annotated[str, typer.Argument(metavar="JOB", help="queue/id, or an id.", show_default=False)]


@app.command("list")
def list_(
    context: typer.Context,
    queue: InQueue = None,
    state: InState = None,
    task: OfTask = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    text: Annotated[str | None, typer.Option(help="Only where payload or error contains this text.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, help="Jobs a page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Of the page before.")] = None,
    json: Json = False,
) -> None:
    """List jobs, a page at a time."""
    session = reading(context, json)
    said: dict[str, Any] = {"queue": queue, "task": task, "tag": tag, "text": text, "since": since, "cursor": cursor}
    where = {name: value for name, value in said.items() if value is not None}
    if state is not None:
        where["state"] = state_of(state)
    page = session.kit.find(limit=limit, **where)
    if session.json:
        screen.show_json({"jobs": [job.to_dict() for job in page.jobs], "total": page.total, "cursor": page.cursor})
        return
    screen.table(
        ("job", "task", "state", "attempt", "created", "error"),
        ((f"{j.queue}/{j.id}", j.task, j.state, j.attempt, screen.when(j.created_at), _last(j)) for j in page.jobs),
        right=("attempt",),
    )
    if page.cursor:
        screen.tell(f"{len(page.jobs)} of {page.total}; more with --cursor {page.cursor}")


@app.command()
def show(context: typer.Context, job: Ref, json: Json = False) -> None:
    """Show all of one job."""
    session = reading(context, json)
    found = session.kit.get(job)
    if found is None:
        raise _missing(session, job)
    if session.json:
        screen.show_json(found.to_dict())
        return
    screen.fields(
        {
            "job": f"{found.queue}/{found.id}",
            "task": found.task,
            "state": found.state,
            "reason": found.reason,
            "attempt": f"{found.attempt}" + (f", crashes {found.crashes}" if found.crashes else ""),
            "priority": found.priority,
            "created": screen.when(found.created_at),
            "due": screen.when(found.run_at),
            "started": screen.when(found.started_at),
            "finished": screen.when(found.finished_at),
            "worker": found.worker,
            "tags": ", ".join(found.tags) or None,
            "progress": None if found.progress is None else _compact(found.progress),
            "payload": _compact(found.payload),
            "result": None if found.result is None else _compact(found.result),
        }
    )
    for error in found.errors:
        what = f"{screen.clean(error.type)}: {screen.clean_lines(error.message)}"
        screen.say(f"\nattempt {error.attempt}, {screen.when(error.at)}: {what}")
        if error.traceback:
            screen.say(screen.clean_lines(error.traceback.rstrip()))


@app.command()
def why(context: typer.Context, job: Ref, json: Json = False) -> None:
    """Say why a job does not run yet."""
    session = reading(context, json)
    queue, name = _resolve(session, job)
    store = session.store()
    position = session.ask(store.position(queue, name))
    found = session.kit.get(name, queue=queue)
    if position is None and found is not None:
        position = Position(state=found.state, reasons=["its queue moves, or moved: it is in the other store"])
    if position is None:
        raise _missing(session, job)
    reasons = list(position.reasons)
    if found is not None and found.state is position.state:
        if found.state is State.DELAYED and found.run_at is not None:
            reasons.append(f"due {screen.when(found.run_at)}")
        elif found.reason:  # of a parked or ended one
            reasons.append(found.reason)
    takers = [w for w in session.ask(store.workers()) if queue in w.queues]
    if position.state in (State.WAITING, State.DELAYED) and not takers:
        reasons.append(f"no live worker takes the queue {queue}")
    answer = {
        "job": f"{queue}/{name}",
        "state": position.state,
        "ahead": position.ahead,
        "reasons": reasons,
        "workers": len(takers),
    }
    if session.json:
        screen.show_json(answer)
        return
    if position.state is State.WAITING and not reasons:
        reasons.append(f"{position.ahead or 0} jobs go before it" if position.ahead else "it is next")
    screen.fields({**answer, "reasons": "\n".join(reasons) or f"it is {position.state}"})


@app.command()
@takes_selection(State.FAILED)
def retry(asked: Asked) -> None:
    """Run ended or parked jobs again, with fresh attempts."""
    asked.act(Verb.RETRY)


@app.command()
@takes_selection(State.WAITING)
def cancel(asked: Asked, reason: Annotated[str, typer.Option(help="Kept with the job.")] = "cancelled by hand") -> None:
    """Cancel jobs; a running one is asked to stop."""
    asked.act(Verb.CANCEL, reason=reason)


@app.command()
@takes_selection(State.DELAYED)
def promote(asked: Asked) -> None:
    """Make delayed jobs due now."""
    asked.act(Verb.PROMOTE)


@app.command()
@takes_selection(None)
def delete(asked: Asked) -> None:
    """Remove jobs that do not run, with all that is known of them."""
    asked.act(Verb.DELETE)


@app.command()
def reschedule(
    context: typer.Context,
    job: Ref,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help="So long from now.")] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601 with its zone: 2030-01-31T09:00:00+01:00.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="0 to 1000, or critical, high, normal, low.")] = None,
) -> None:
    """Give a waiting or delayed job another time or priority."""
    session = of(context)
    if (delay is None) == (run_at is None) and not (delay is None and priority is not None):
        raise InvalidOption("say --delay or --run-at, or only --priority")
    queue, name = _resolve(session, job)
    rank: int | str | None = int(priority) if priority is not None and priority.isdecimal() else priority
    done = session.kit.job(name, queue=queue).reschedule(
        run_at=moment_of(run_at) if run_at else None, delay=delay, priority=rank
    )
    if not done:
        now = session.kit.get(name, queue=queue)
        screen.tell(f"{job}: not possible, it is {now.state if now else 'gone'}")
        raise typer.Exit(exits.NO)
    screen.say(f"rescheduled {queue}/{name}")


def moment_of(text: str) -> datetime:
    """An ISO 8601 moment with its zone. Raises InvalidOption: a naive one names no moment."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOption(f"{text!r} is no moment: use ISO 8601, for example 2030-01-31T09:00:00+01:00") from None
    if moment.tzinfo is None:
        raise InvalidOption(f"{text!r} has no time zone: add one, for example {text}Z or {text}+01:00")
    return moment


def _resolve(session: Session, text: str) -> tuple[str, str]:
    queue, name = names.reference(text)
    if queue is not None:
        return queue, name
    found = session.ask(session.store().locate(name))
    if len(found) > 1:
        raise Conflict(f"{name} is a job of {', '.join(r.queue for r in found)}: name it as queue/id")
    if not found:
        raise _missing(session, text)
    return found[0].queue, found[0].id


def _missing(session: Session, job: str) -> typer.Exit:
    screen.tell(f"{screen.clean(job)}: no such job, or it is no longer kept")
    if session.json:
        screen.show_json(None)
    return typer.Exit(exits.NO)


def _last(job: Job) -> str | None:
    return f"{job.errors[-1].type}: {job.errors[-1].message}" if job.errors else job.reason


def _compact(value: object) -> str:
    import json

    return json.dumps(
        value, ensure_ascii=False, indent=2 if isinstance(value, (dict, list)) and len(str(value)) > 100 else None
    )
