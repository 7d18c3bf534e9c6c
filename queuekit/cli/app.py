"""The root command: global options, the families, and errors turned into exit codes.

What a command does is in its family.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as version_of
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from queuekit.cli import (
    bench,
    demo,
    enqueue,
    exits,
    health,
    jobs,
    migrate,
    ping,
    queues,
    scaffold,
    schedules,
    screen,
    setup,
    tasks,
    transfer,
    worker,
    workers,
)
from queuekit.cli.session import Json, Session, of
from queuekit.domain.redact import redact
from queuekit.errors import InvalidOption, QueueKitError, StoreUnavailable
from queuekit.settings import log_levels

RUN, PRODUCE, LOOK, STORE, PROJECT = "Run", "Produce", "Look", "Store", "Project"
CHECK = {
    "redis": "Check that the server runs, that host, port and password are right, and that no firewall stands between: "
    "redis-cli -u … ping",
    "mongodb": "Check that mongod runs, that the URI and its user are right, and that no firewall stands between: "
    "mongosh … --eval 'db.hello()'",
    "sqlite": "Check that the folder exists, that this user may write there, and that the disk is not full.",
}
log = logging.getLogger("queuekit.cli")

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="One job queue, several stores. The store is chosen by QUEUEKIT_URL or QUEUE_PROVIDER; "
    "`queuekit ping` says which and why.",
)
app.command(rich_help_panel=RUN)(worker.worker)
app.command(rich_help_panel=RUN)(demo.demo)
app.command(rich_help_panel=RUN)(bench.bench)
app.command(rich_help_panel=PRODUCE)(enqueue.enqueue)
app.command(rich_help_panel=PRODUCE)(tasks.tasks)
app.command(rich_help_panel=LOOK)(ping.ping)
app.add_typer(queues.app, name="queues", rich_help_panel=LOOK)
app.add_typer(jobs.app, name="jobs", rich_help_panel=LOOK)
app.add_typer(workers.app, name="workers", rich_help_panel=LOOK)
app.add_typer(schedules.app, name="schedules", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(health.health)
app.command(rich_help_panel=STORE)(setup.setup)
app.command(rich_help_panel=STORE)(migrate.migrate)
app.command(rich_help_panel=STORE)(transfer.export)
app.command("import", rich_help_panel=STORE)(transfer.import_)
app.command(rich_help_panel=PROJECT)(scaffold.init)
app.add_typer(scaffold.new, name="new", rich_help_panel=PROJECT)


def _show_version(asked: bool) -> None:
    if asked:
        screen.say(f"queuekit {version_of('queuekit')}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    app: Annotated[
        str | None,
        typer.Option("--app", "-A", metavar="MODULE:ATTR", help="A kit, Flask app or factory. \\[env: QUEUEKIT_APP]"),
    ] = None,
    url: Annotated[str | None, typer.Option("--url", "-u", help="This store instead. \\[env: QUEUEKIT_URL]")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="\\[env: QUEUEKIT_NAMESPACE] \\[default: queuekit]")
    ] = None,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="A queuekit.toml. \\[env: QUEUEKIT_CONFIG]")
    ] = None,
    env_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Read variables from FILE first. \\[env: QUEUEKIT_ENV_FILE]")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", "-l", metavar="LEVEL", help="debug, info, warning … \\[default: info]")
    ] = None,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what was asked for, and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Short for -l debug.")] = False,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show it and stop.")
    ] = False,
) -> None:
    session = of(context)
    session.json, session.quiet, session.verbose = json, quiet, verbose
    level = log_level or ("debug" if verbose else "warning" if quiet else None)
    try:
        log_levels(level or "info")
    except ValueError as error:
        raise InvalidOption(f"-l {error}") from None
    session.take(app=app, url=url, namespace=namespace, config=config, env_file=env_file, log_level=level)


def run(leave: Callable[[int], NoReturn] = exits.at_once) -> NoReturn:
    """Read the command line, act, and end the process with the exit code that fits.

    A command that only asked the store, and imported nobody's code, ends through `leave`.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an ASCII locale must not end a listing half-way
    session = Session()
    try:
        code = act(session, get_command(app), sys.argv[1:], "queuekit")
    finally:
        session.close()
    (leave if session.only_asked else sys.exit)(code)


def act(session: Session, command: Callable[..., object], arguments: Sequence[str], prog: str) -> int:
    """Do what the arguments say; the exit code."""
    try:
        command(list(arguments), prog_name=prog, obj=session)
    except SystemExit as end:  # how typer ends, also when all went well
        return end.code if isinstance(end.code, int) else exits.DONE if end.code is None else exits.NO
    except QueueKitError as error:
        log.debug("this command failed", exc_info=error)
        screen.tell(f"{prog}: {describe(error, session)}")
        return exits.code_of(error)
    except BrokenPipeError:  # `queuekit jobs list | head`: the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.NO
    return exits.DONE


def describe(error: QueueKitError, session: Session) -> str:
    """What happened, and where something is to be checked, what; without secrets."""
    text = screen.clean_lines(redact(str(error)))
    details = "".join(f"\n  {screen.clean(redact(line))}" for line in getattr(error, "errors", ()) if line not in text)
    if not isinstance(error, StoreUnavailable):
        return text + details
    if session.sides:
        stores = ", ".join(f"{redact(url)} (by {by})" for url, by in session.sides)
        kind = next((kind for kind in CHECK if kind[:5] in text.lower()), "")
        return f"one of the two stores cannot be reached: {stores}\n  {text}{details}\n  {CHECK.get(kind, '')}".rstrip()
    settings = session.kit.settings  # of the app, where one was loaded
    kind = next((kind for kind in CHECK if settings.url.startswith(kind[:5])), "")
    return (
        f"the store cannot be reached: {redact(settings.url)} (chosen by {session.chosen_by})\n  {text}{details}\n"
        f"  {CHECK.get(kind, 'Check that it runs, and that its URL is right.')}"
    )
