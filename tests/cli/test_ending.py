"""How a command's process ends: at once where it only asked the store, as Python does where user code was imported."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.cli.conftest import QUEUEKIT, Shell

AT_EXIT = "import atexit, pathlib\natexit.register(lambda: pathlib.Path('ended').touch())\n"


@pytest.fixture
def watched(shell: Shell) -> Shell:
    """A shell whose Pythons leave a file behind when they end the slow way."""
    (shell.folder / "sitecustomize.py").write_text(AT_EXIT)
    shell.env["PYTHONPATH"] = os.pathsep.join([str(shell.folder), shell.env.get("PYTHONPATH", "")])
    return shell


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("queues", "list", "--json"), 0),
        (("enqueue", "mail", "send", '{"to": "a"}'), 0),
        (("jobs", "show", "mail/x"), 1),
        (("-u", "redis://127.0.0.1:1", "ping"), 69),
    ],
)
def test_a_command_that_only_asked_waits_for_nothing(watched: Shell, args: tuple[str, ...], code: int) -> None:
    ran = watched.process(*args)
    assert ran.code == code
    assert ran.out or ran.err  # said before the end
    assert not (watched.folder / "ended").exists()


@pytest.mark.parametrize("args", [("tasks", "app:kit"), ("worker", "app:kit", "--burst")])
def test_what_user_code_does_at_exit_is_done(watched: Shell, args: tuple[str, ...]) -> None:
    ran = watched.process(*args)
    assert (ran.code, ran.err if args[0] == "tasks" else "") == (0, "")
    assert (watched.folder / "ended").exists()


def test_a_reader_that_went_away_is_no_error(watched: Shell) -> None:
    for n in range(3):
        watched("enqueue", "mail", "send", f'{{"to": "{n}"}}')
    read, write = os.pipe()
    os.close(read)
    command = [str(QUEUEKIT), "jobs", "list", "--json"]
    with os.fdopen(write, "wb") as pipe:
        ran = subprocess.run(
            command, cwd=watched.folder, env=watched.env, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ran.returncode, ran.stderr) == (1, "")
