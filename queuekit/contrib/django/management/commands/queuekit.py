"""`manage.py queuekit …`: the whole command line, with the project's kit. What a command does is not here."""

from __future__ import annotations

import argparse
import contextlib
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

PROG = "manage.py queuekit"
NOTE = "This moves jobs, not the database: for that, manage.py migrate."


class Command(BaseCommand):
    """Options are queuekit's own, but for --settings and --pythonpath; exit codes are, too."""

    help = "The job queue: worker, jobs, queues, ping … (manage.py queuekit --help)"
    requires_system_checks = ()  # wrong settings are told by the command that needs them

    def run_from_argv(self, argv: list[str]) -> None:
        """Give what stands behind `queuekit` on; end with its exit code."""
        django = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        django.add_argument("--settings")
        django.add_argument("--pythonpath")
        _, arguments = django.parse_known_args(argv[2:])
        try:
            code = _run(arguments)
        finally:
            connections.close_all()
        if code:
            sys.exit(code)

    def print_help(self, prog_name: str, subcommand: str) -> None:
        """`manage.py help queuekit`."""
        _run(["--help"])

    def add_arguments(self, parser: CommandParser) -> None:
        """For `call_command`."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *args: Any, **options: Any) -> None:
        """`call_command("queuekit", "jobs", "list")`. Raises CommandError with the exit code."""
        to = getattr(self.stdout, "_out", sys.stdout)
        with contextlib.redirect_stdout(to):
            code = _run([*args, *options["arguments"]])
        if code:
            raise CommandError(f"queuekit ended with exit code {code}", returncode=code)


def _run(arguments: list[str]) -> int:
    from queuekit.cli import embed  # only here: other commands of manage.py list this one, too
    from queuekit.contrib.django.project import get_kit

    return embed.run(arguments, kit=get_kit, prog=PROG, app_name="queuekit.contrib.django:get_kit", note=NOTE)
