"""`queuekit migrate`: move live jobs from one store to another. The moving is done in `move`; this tells and reports.

Ends with what was moved, by state, and with exit code 0 only when both sides agree.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Annotated, TypeVar

import typer

from queuekit import Settings, move
from queuekit.cli import exits, moves, queues, screen
from queuekit.cli.meter import Meter, progress
from queuekit.cli.selection import state_of
from queuekit.cli.session import Json, Session, reading
from queuekit.cli.sides import Pair, alone, opened, pair
from queuekit.cli.transfer import named
from queuekit.domain.redact import redact
from queuekit.domain.state import State
from queuekit.domain.values import to_rates
from queuekit.errors import InvalidOption, JobNotFound, QueueKitError
from queuekit.move.values import Options, Phase, Progress, Side
from queuekit.runtime.signals import heard

T = TypeVar("T")
WORDS = {
    Phase.BEGIN: "begins", Phase.JOBS: "live jobs, nobody works on them", Phase.OPEN: "open at the target",
    Phase.HISTORY: "history", Phase.TAIL: "jobs that still run", Phase.SWEEP: "last look", Phase.BACK: "goes back",
    Phase.DONE: "done", Phase.VERIFY: "compares",
}  # fmt: skip
STANDS_STILL = (Phase.BEGIN, Phase.JOBS, Phase.BACK)  # nobody can claim

_STORE = "redis, mongo, sqlite, or a URL."
From = Annotated[str | None, typer.Option("--from", metavar="STORE", help=f"Where the jobs are: {_STORE}")]
To = Annotated[str | None, typer.Option("--to", metavar="STORE", help=f"Where they go: {_STORE}")]
FromUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Of --from; for two of one kind. \\[env: QUEUEKIT_FROM_URL]")
]
ToUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="Of --to; for two of one kind. \\[env: QUEUEKIT_TO_URL]")
]
Queues = Annotated[
    list[str] | None, typer.Option("--queue", "-Q", help="Only this queue; may be repeated. \\[default: all]")
]
States = Annotated[
    list[str] | None,
    typer.Option("--state", "-s", help="Only ended or parked jobs of this state; the queue itself stays where it is."),
]
Batch = Annotated[int, typer.Option("--batch", min=1, max=1000, metavar="N", help="Jobs at once.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="N/s", help="At most so many jobs a second.")]
Merge = Annotated[bool, typer.Option("--merge", help="The target may have jobs of the queue already.")]
Offline = Annotated[
    bool, typer.Option("--offline", help="Nobody works on either side: for a MongoDB without replica set.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be moved, how long it takes, what is in the way.")
]
Verify = Annotated[bool, typer.Option("--verify", help="Compare both sides; differences by id. Nothing is written.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a move that was stopped or killed.")]
Abort = Annotated[bool, typer.Option("--abort", help="Bring everything back; until the target has opened.")]
Abandon = Annotated[
    bool, typer.Option("--abandon", help="The source is gone for good: let the target work with what has arrived.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class Act(StrEnum):
    """What one run does."""

    MOVE = "move"
    DRY_RUN = "dry-run"
    VERIFY = "verify"
    RESUME = "resume"
    ABORT = "abort"
    ABANDON = "abandon"


@dataclass(slots=True, kw_only=True)
class Asked:
    """What a command line said."""

    session: Session
    pair: Pair
    act: Act
    queues: list[str]
    states: list[State]
    options: Options
    stopped: int | None = None  # the exit code of the signal that came
    phases: dict[str, Phase] = field(default_factory=dict)  # where each queue was when it was last told of
    meter: Meter = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(quiet=self.session.quiet or self.session.json)


class Stopped(QueueKitError):
    """A signal came; the batch under way has ended."""


def migrate(
    context: typer.Context, from_: From = None, to: To = None, from_url: FromUrl = None, to_url: ToUrl = None,
    queue: Queues = None, state: States = None, batch: Batch = 500, rate: Rate = None, merge: Merge = False,
    offline: Offline = False, dry_run: DryRun = False, verify: Verify = False, resume: Resume = False,
    abort: Abort = False, abandon: Abandon = False, yes: Yes = False, json: Json = False,
) -> None:  # fmt: skip
    """Move live jobs to another store while producers and workers go on (docs/moving.md).

    TERM or Ctrl-C: the batch under way ends, then it stops; --resume goes on. Twice: at once, and --resume goes on too.
    """
    session = reading(context, json)
    flags = {
        Act.DRY_RUN: dry_run, Act.VERIFY: verify, Act.RESUME: resume, Act.ABORT: abort, Act.ABANDON: abandon,
    }  # fmt: skip
    chosen = [act for act, said in flags.items() if said]
    if len(chosen) > 1:
        raise InvalidOption(f"one at a time: {' or '.join(f'--{act}' for act in chosen)}")
    asked = Asked(
        session=session,
        pair=pair(session.settings, from_, to, from_url, to_url, gone=abandon),
        act=chosen[0] if chosen else Act.MOVE,
        queues=named(queue),
        states=[state_of(one) for one in state or ()],
        options=Options(batch=batch, rate=_rate(rate), merge=merge, offline=offline),
    )
    session.sides = ((asked.pair.source, asked.pair.source_by), (asked.pair.target, asked.pair.target_by))
    if asked.states and asked.act in (Act.DRY_RUN, Act.VERIFY, Act.ABORT, Act.ABANDON):
        raise InvalidOption(f"--{asked.act} is for whole queues: leave --state away")
    if asked.act is Act.ABANDON:
        queues.agreed(session, f"give up all that {redact(asked.pair.source)} has not handed over?", yes=yes)
    try:
        code = asyncio.run(_act(asked))
    except Stopped:
        asked.meter.close()
        screen.tell("stopped; nothing was written")
        code = asked.stopped or exits.INTERRUPTED
    finally:
        asked.meter.close()
    raise typer.Exit(code)


async def _act(asked: Asked) -> int:
    session, settings = asked.session, asked.session.settings
    if asked.act is Act.ABANDON:
        return await _abandon(asked, settings)
    async with opened(settings, asked.pair) as (source, target):
        await _there(asked, source, target)
        if asked.act is Act.DRY_RUN:
            plan = await _stoppable(asked, move.plan(source, target, asked.queues, options=asked.options))
            asked.meter.close()
            return moves.tell_plan(session, asked.pair, plan)
        if asked.act is Act.VERIFY:
            verdict = await _stoppable(asked, move.verify(source, target, asked.queues, on_progress=_show(asked)))
            asked.meter.close()
            return moves.tell_verdict(session, verdict)
        return await _reported(asked, lambda: _moved(asked, source, target))


async def _there(asked: Asked, *sides: Side) -> None:
    """Raises JobNotFound for a queue that neither side knows: its name is a slip of the pen."""
    known = {name for side in sides for name in await side.store.queues()}
    missing = [name for name in asked.queues if name not in known]
    if missing:
        raise JobNotFound(
            f"no queue {', '.join(missing)} on either side; there are {', '.join(sorted(known)) or 'none'}"
        )


async def _abandon(asked: Asked, settings: Settings) -> int:
    """With only one of the stores: the other is gone."""
    async with alone(settings, asked.pair) as (name, target):
        return await _reported(asked, lambda: move.abandon(name, target, asked.queues, options=asked.options))


def _moved(asked: Asked, source: Side, target: Side) -> Awaitable[move.Report]:
    told = _show(asked)
    if asked.states:
        if asked.act is Act.RESUME:
            raise InvalidOption("moving single states needs no --resume: run it again")
        return move.move_states(source, target, asked.queues, asked.states, options=asked.options, on_progress=told)
    act = {Act.MOVE: move.move, Act.RESUME: move.resume, Act.ABORT: move.abort}[asked.act]
    return act(source, target, asked.queues, options=asked.options, on_progress=told)


async def _reported(asked: Asked, act: Callable[[], Awaitable[move.Report]]) -> int:
    try:
        report = await _stoppable(asked, act())
    except (Stopped, asyncio.CancelledError):
        asked.meter.close()
        go_on = "run it again" if asked.states or asked.act is Act.ABANDON else f"go on with --{_further(asked.act)}"
        screen.tell(f"stopped: what has moved has moved, the rest is where it was; {go_on}")
        _tell_waiting(asked)
        return asked.stopped or exits.INTERRUPTED
    except QueueKitError:
        asked.meter.close()
        _tell_waiting(asked)
        raise
    asked.meter.close()
    return moves.tell_report(asked.session, report, back=asked.act is Act.ABORT)


def _tell_waiting(asked: Asked) -> None:
    """Said of a move that ended early: queues in its middle stand still, and nobody is paged for that."""
    waiting = [queue for queue, phase in asked.phases.items() if phase in STANDS_STILL]
    if waiting:
        further = "--abort" if asked.act is Act.ABORT else "--resume or --abort"
        screen.tell(f"until {further} nobody gets jobs of {', '.join(waiting)}")


async def _stoppable(asked: Asked, work: Awaitable[T]) -> T:
    """Await `work`; the first signal lets the batch under way end, the second ends at once."""
    task = asyncio.ensure_future(work)
    with _signals(asked, task):
        try:
            return await task
        except asyncio.CancelledError:
            if asked.stopped is None:
                raise
            raise Stopped("stopped at once") from None


@contextmanager
def _signals(asked: Asked, task: asyncio.Future[T]) -> Iterator[None]:
    def came(code: int) -> None:
        if asked.stopped is not None or asked.act in (Act.DRY_RUN, Act.VERIFY):
            task.cancel()
        else:
            asked.meter.close()
            screen.tell("the batch under way ends, then this stops; once more: at once")
        asked.stopped = code

    with heard({signal.SIGINT: partial(came, exits.INTERRUPTED), signal.SIGTERM: partial(came, exits.GAVE_BACK)}):
        yield


def _show(asked: Asked) -> Callable[[Progress], None]:
    last: list[tuple[str, Phase]] = []

    def told(now: Progress) -> None:
        asked.phases[now.queue] = now.phase
        if asked.stopped is not None:
            raise Stopped("asked to stop")
        done = now.text or progress(now.moved, now.total, now.rate, now.left)
        new = last[-1:] != [(now.queue, now.phase)]
        last[:] = [(now.queue, now.phase)]
        asked.meter.show(f"{now.queue}: {WORDS[now.phase]}: {done}", at_once=new)

    return told


def _further(act: Act) -> Act:
    return Act.ABORT if act is Act.ABORT else Act.RESUME


def _rate(text: str | None) -> int | None:
    """Jobs a second. Raises InvalidOption."""
    if text is None:
        return None
    ((count, per),) = to_rates(text if "/" in text else f"{text}/s")
    if count * 1000 < per:
        raise InvalidOption(f"--rate {text}: at least one job a second")
    return count * 1000 // per
