"""The whole command line inside another program's command, with that program's kit: `flask queuekit …`.

It ends no process and leaves environment and logging as they were; which program it is is not known here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from typer.main import get_command

from queuekit import QueueKit
from queuekit.cli import app, exits
from queuekit.cli.session import Host, Session

_COMPLETION = ("install_completion", "show_completion")  # of a program that is installed, which this is not


def run(
    arguments: Sequence[str],
    *,
    kit: QueueKit | Callable[[], QueueKit],
    prog: str,
    app_name: str | None = None,
    note: str = "",
) -> int:
    """Do what the arguments say with `kit`; the exit code. Ctrl-C gives 130, and nothing ends the process.

    `prog` is what help calls the command ("flask queuekit"). `app_name` (MODULE:ATTR, a kit or a function that gives
    it) is how the processes of `worker -p N` find the kit again; without it the kit must be a module's global. `note`
    is a sentence for the help of `migrate`, whose name may mean something else in that program. `-A` names another
    app, and `-u`, `-n` another store than the kit's; code that says `url=` still goes before them in a worker. The kit
    is left open. A function is first called when a command needs the kit: not for `--help`.
    """
    session = Session(host=Host(kit=(lambda: kit) if isinstance(kit, QueueKit) else kit, app=app_name, prog=prog))
    command = _command(prog, note)
    try:
        with _as_before():
            try:
                return app.act(session, command, arguments, prog)
            finally:
                session.close()
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    finally:
        session.give_back()


def _command(prog: str, note: str) -> Any:
    """The root command under another name. Any: a part of click that typer brings itself, or not, by its version."""
    command: Any = get_command(app.app)
    command.params = [one for one in command.params if one.name not in _COMPLETION]
    command.help = command.help.replace("`queuekit ", f"`{prog} ")
    if note:
        migrate = command.commands["migrate"]
        migrate.help = f"{note}\n\n{migrate.help}"
    return command


@contextmanager
def _as_before() -> Iterator[None]:
    """Put environment and logging back as they were: options become variables, and log lines get a handler."""
    variables = dict(os.environ)
    root = logging.getLogger()
    handlers, level, ours = list(root.handlers), root.level, logging.getLogger("queuekit").level
    try:
        yield
    finally:
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        os.environ.update({name: value for name, value in variables.items() if os.environ.get(name) != value})
        for one in [one for one in root.handlers if one not in handlers]:
            one.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.getLogger("queuekit").setLevel(ours)
