"""The options with which retry, cancel, promote and delete are told which jobs and how: one list for all four.

What is done to the jobs stands in `choice`; the commands themselves in `jobs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from queuekit.cli import choice, exits, screen
from queuekit.cli.choice import Choice
from queuekit.cli.session import Json, Session, reading
from queuekit.domain.query import Verb
from queuekit.domain.state import State
from queuekit.errors import InvalidOption

P = ParamSpec("P")

Jobs = Annotated[list[str] | None, typer.Argument(metavar="JOB...", help="queue/id, or an id.", show_default=False)]
InQueue = Annotated[str | None, typer.Option("--queue", "-Q", help="Only this queue.")]
InState = Annotated[
    str | None, typer.Option("--state", "-s", help="waiting, delayed, active, parked, completed, failed …")
]
OfTask = Annotated[str | None, typer.Option("--task", "-t", help="Only this task.")]
ByError = Annotated[str | None, typer.Option("--error", help="Only where the last error contains this text.")]
Since = Annotated[str | None, typer.Option(metavar="DURATION", help="Only what ended (or came) in this time: 1h, 2d.")]
Limit = Annotated[int | None, typer.Option(min=1, help="At most so many.")]
Rate = Annotated[str | None, typer.Option(metavar="100/s", help="Spread the work.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count only.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Needed for more than one job when there is no terminal.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one command line said: which jobs, how fast, and whether in earnest."""

    session: Session
    chosen: Choice
    rate: str | None
    dry_run: bool
    yes: bool

    def act(self, verb: Verb, *, reason: str = "") -> None:
        """Do `verb` to the jobs, or count them. Raises Exit with the code that tells how it went."""
        records = self.chosen.records(self.session)
        missing = len(self.chosen.jobs) - len(records) if self.chosen.jobs and self.chosen.limit is None else 0
        if self.dry_run:
            if self.session.json:
                screen.show_json({"would": verb.value, "jobs": len(records)})
            else:
                screen.say(f"would {verb.value} {len(records)} jobs")
            raise typer.Exit(exits.NO if missing else exits.DONE)
        choice.agreed(self.session, verb, len(records), yes=self.yes)
        code = choice.act(self.session, verb, records, rate=self.rate, reason=reason)
        raise typer.Exit(exits.NO if missing else code)


def takes_selection(state: State | None) -> Callable[[Callable[Concatenate[Asked, P], None]], Callable[..., None]]:
    """Make a command of a function that takes `Asked` and options of its own; typer sees both lists as one.

    `state` is the default of -s. None: a description must name one, for what the command does cannot be undone.
    """

    def wrap(act: Callable[Concatenate[Asked, P], None]) -> Callable[..., None]:
        own = list(inspect.signature(act, eval_str=True).parameters.values())[1:]
        shared = inspect.signature(_asked, eval_str=True).parameters.values()

        def command(**given: Any) -> None:
            extra: dict[str, Any] = {one.name: given.pop(one.name) for one in own}
            act(_asked(**given), **extra)  # type: ignore[call-arg]  # mypy cannot see that they are its own options

        listed = [one.replace(default=state and state.value) if one.name == "state" else one for one in (*shared, *own)]
        command.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]  # where inspect, and typer, look
        command.__annotations__ = {one.name: one.annotation for one in listed}
        command.__name__, command.__doc__ = act.__name__, act.__doc__
        return command

    return wrap


def state_of(text: str) -> State:
    """A state by its name. Raises InvalidOption with the names there are."""
    try:
        return State(text.strip().lower())
    except ValueError:
        raise InvalidOption(f"{text!r} is no state: use {', '.join(State)}") from None


def _asked(
    context: typer.Context, jobs: Jobs = None, queue: InQueue = None, state: InState = None, task: OfTask = None,
    error: ByError = None, since: Since = None, limit: Limit = None, rate: Rate = None, dry_run: DryRun = False,
    yes: Yes = False, json: Json = False,
) -> Asked:  # fmt: skip
    """The shared options, read."""
    if not jobs and state is None:
        raise InvalidOption("jobs of which state? This is for ever: say -s failed, for example")
    picked = State.FAILED if state is None else state_of(state)  # named jobs are taken whatever their state
    chosen = Choice(jobs=jobs or (), queue=queue, state=picked, task=task, error=error, since=since, limit=limit)
    return Asked(session=reading(context, json), chosen=chosen, rate=rate, dry_run=dry_run, yes=yes)
