"""`queuekit export` and `queuekit import`: jobs to JSON lines and back. What is in a file is decided in `move`."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Annotated, NoReturn, cast

import typer

from queuekit.cli import exits, screen
from queuekit.cli.meter import Meter
from queuekit.cli.selection import state_of
from queuekit.cli.session import Json, Session, reading
from queuekit.domain.names import queue_name
from queuekit.move.contents import Contents, check
from queuekit.move.exporter import Exported
from queuekit.move.exporter import export as write_jobs
from queuekit.move.files import STANDARD, Source, writing
from queuekit.move.importer import Imported, compare, compare_schedules, take_in
from queuekit.move.lines import FileError
from queuekit.move.records import Digests
from queuekit.move.values import MovingStore

_OTHER = "there is another schedule of this id; it stays as it is"
SHOWN = 20  # clashes listed on a terminal; all with --json

Queues = Annotated[list[str] | None, typer.Option("--queue", "-Q", help="Only this queue; may be repeated.")]
States = Annotated[list[str] | None, typer.Option("--state", "-s", help="Only this state; may be repeated.")]
OutFile = Annotated[
    str,
    typer.Argument(metavar="FILE", help="NAME.jsonl, NAME.jsonl.zst, or - for standard output.", show_default=False),
]
InFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="What export wrote, compressed or not; - is standard input.", show_default=False
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace FILE where it exists.")]
Still = Annotated[bool, typer.Option("--still", help="Fail, and leave no file, if anything changed meanwhile.")]
Merge = Annotated[bool, typer.Option("--merge", help="Bring in what is missing, though other jobs of FILE are there.")]
NoSchedules = Annotated[bool, typer.Option("--no-schedules", help="Leave the schedules out.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Read and compare only; nothing is written.")]


def export(
    context: typer.Context,
    file: OutFile,
    queue: Queues = None,
    state: States = None,
    overwrite: Overwrite = False,
    still: Still = False,
    no_schedules: NoSchedules = False,
    json: Json = False,
) -> None:
    """Write jobs to a file of JSON lines (docs/export.md); the store goes on working."""
    session = reading(context, json)
    queues, states = named(queue), [state_of(one) for one in state or ()]
    store, meter = session.store(), Meter(quiet=session.quiet or session.json)
    with _ended_cleanly(), closing(meter), writing(file, overwrite=overwrite) as out:
        done = session.ask(
            write_jobs(
                store,
                out.write,
                namespace=session.settings.namespace,
                queues=queues,
                states=states,
                schedules=not no_schedules,
                told=meter.count,
            )
        )
        if still and done.changed:
            raise FileError(
                f"{', '.join(done.changed)} went on meanwhile: pause what adds and runs jobs, then export again; "
                f"no file was left"
            )
    _tell_export(session, file, done)


def import_(
    context: typer.Context, file: InFile, queue: Queues = None, merge: Merge = False,
    no_schedules: NoSchedules = False, dry_run: DryRun = False, json: Json = False,
) -> None:  # fmt: skip
    """Bring jobs of an export into the store, which goes on working; a file that is not whole is refused.

    Killed, run it again: every job comes in once.
    """
    session = reading(context, json)
    queues = named(queue)
    with closing(Source(file)) as source, _ended_cleanly():
        contents = check(source.lines)
        missing = sorted(set(queues) - contents.queues.keys())
        if missing:
            raise FileError(f"no queue {', '.join(missing)} in it; there are {', '.join(contents.queues) or 'none'}")
        if dry_run:
            _tell_comparison(session, source, contents, queues, schedules=not no_schedules)
        with closing(Meter(quiet=session.quiet or session.json)) as meter:
            store = cast("MovingStore", session.store())
            done = session.ask(
                take_in(
                    store, source.lines, contents, queues=queues, merge=merge, schedules=not no_schedules,
                    told=meter.count,
                )
            )  # fmt: skip
    _tell_import(session, contents, done)


def named(given: list[str] | None) -> list[str]:
    """Names of queues, checked: one an option, or several with commas."""
    return [queue_name(name.strip()) for text in given or () for name in text.split(",") if name.strip()]


@contextmanager
def _ended_cleanly() -> Iterator[None]:
    """TERM ends the block as Ctrl-C does, so that nothing half-written stays."""

    def end(*_: object) -> NoReturn:
        raise SystemExit(exits.GAVE_BACK)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def by_state(queues: Mapping[str, Digests]) -> list[tuple[str, str, int, str]]:
    """(queue, state, jobs, digest) for every state there are jobs of."""
    return [
        (name, state, int(str(said["count"])), str(said["digest"]))
        for name, sums in queues.items()
        for state, said in sums.as_dict().items()
    ]


def show_states(queues: Mapping[str, Digests]) -> None:
    rows = [(name, state, n, text[:16]) for name, state, n, text in by_state(queues)]
    if rows:
        screen.table(("queue", "state", "jobs", "digest"), rows, right=("jobs",))


def _tell_export(session: Session, file: str, done: Exported) -> None:
    quiet = file == STANDARD
    if session.json and not quiet:
        screen.show_json(
            {
                "file": file,
                "jobs": done.jobs,
                "keys": done.keys,
                "schedules": done.schedules,
                "bytes": done.bytes,
                "queues": {name: sums.as_dict() for name, sums in done.queues.items()},
                "changed": done.changed,
                "active": done.active,
                "elsewhere": done.gone,
            }
        )
    elif quiet:
        screen.tell(f"exported {done.jobs:,} jobs{_and(done.schedules)} of {len(done.queues)} queues")
    else:
        show_states(done.queues)
        screen.say(f"exported {done.jobs:,} jobs{_and(done.schedules)} of {len(done.queues)} queues to {file}")
    if done.changed:
        screen.tell(
            f"{', '.join(done.changed)} went on meanwhile: a job that changed may be in the file as it was, or be "
            "missing. For all of it, as it is at one moment: pause producers and workers, and export with --still"
        )
    if done.active:
        screen.tell(f"{done.active} jobs ran: an import lets them run again, as if their workers had died")
    for name, to in done.gone.items():
        screen.tell(f"{name} lives in {to} now: export it there")


def _and(schedules: int) -> str:
    return f" and {schedules:,} schedules" if schedules else ""


def _tell_comparison(
    session: Session, source: Source, contents: Contents, queues: list[str], *, schedules: bool
) -> NoReturn:
    found = session.ask(compare(session.store(), source.lines, contents, queues))
    planned = session.ask(compare_schedules(session.store(), source.lines, contents, queues)) if schedules else {}
    apart = [name for one in planned.values() for name in one.differ]
    differ = [name for one in found.values() for name in one.differ]
    partly = [name for name, one in found.items() if one.new and (one.same or one.differ)]
    if session.json:
        said = {name: {"new": one.new, "same": one.same, "differ": one.differ} for name, one in found.items()}
        rules = {name: {"new": one.new, "same": one.same, "differ": one.differ} for name, one in planned.items()}
        screen.show_json(
            {"file": source.name, "jobs": contents.jobs, "ran": contents.ran, "queues": said, "schedules": rules}
        )
    else:
        rows = [(name, one.new, one.same, len(one.differ)) for name, one in found.items()]
        screen.table(("queue", "new", "there", "differ"), rows, right=("new", "there", "differ"))
        for name, one in planned.items():
            screen.tell(f"{name}: schedules: {one.new:,} new, {one.same:,} there, {len(one.differ):,} differ")
        _listed(f"{name}: is there, and not as in the file" for name in differ)
        _listed(f"{name}: {_OTHER}" for name in apart)
        for name in partly:
            screen.tell(f"{name}: some of its jobs are there and others not: that takes --merge")
        if contents.ran:
            screen.tell(f"{contents.ran} jobs ran when they were exported: they will run again")
    raise typer.Exit(exits.NO if differ or partly or apart else exits.DONE)


def _tell_import(session: Session, contents: Contents, done: Imported) -> NoReturn:
    if session.json:
        screen.show_json(
            {
                "jobs": done.jobs,
                "same": done.same,
                "clashes": [{"job": f"{q}/{c.id}", "why": c.why, "by": c.by} for q, c in done.clashes],
                "damaged": done.damaged,
                "again": done.again,
                "kept": done.kept,
                "schedules": {
                    "new": done.schedules.new,
                    "same": done.schedules.same,
                    "differ": done.schedules.differ,
                },
                "queues": {name: sums.as_dict() for name, sums in done.taken.items()},
                "agrees": done.agrees,
            }
        )
    else:
        show_states({name: sums for name, sums in done.taken.items() if sums.total})
        there = f", {done.same:,} were there already" if done.same else ""
        screen.say(f"imported {done.jobs:,} of {contents.jobs:,} jobs{there}")
        if done.schedules.new or done.schedules.same:
            already = f", {done.schedules.same:,} were there already" if done.schedules.same else ""
            screen.say(f"imported {done.schedules.new:,} schedules{already}: they fire from now on")
        _listed(f"{name}: {_OTHER}" for name in done.schedules.differ)
        reasons = {"id": "there is another job of this id", "key": "its unique key is held by"}
        _listed(f"{q}/{c.id}: {reasons[c.why]}{f' {c.by}' if c.why == 'key' else ''}" for q, c in done.clashes)
        _listed(f"{name}: it does not read back as it was written" for name in done.damaged)
        if done.again:
            screen.tell(f"{done.again} jobs ran when they were exported: they run again, as if their workers had died")
        for name in done.kept:
            screen.tell(f"{name}: it keeps its own limits and pauses; the file has others")
    raise typer.Exit(exits.DONE if done.agrees else exits.NO)


def _listed(lines: Iterator[str]) -> None:
    some = list(lines)
    for line in some[:SHOWN]:
        screen.tell(screen.clean(line))
    if len(some) > SHOWN:
        screen.tell(f"… and {len(some) - SHOWN} more; all with --json")
