"""Commands as processes of their own, forked from one that has imported everything: 40 ms each and not 700.

`python -m tests.contrib.forks` reads a JSON line for each command and answers with what became of it.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.architecture import ROOT

WANTED = ("queuekit.cli.app", "flask.cli", "fastapi", "django.core.management", "django.core.checks", "django.apps")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    told: str  # standard output and error, as on a terminal


class Forks:
    """The process that forks; ended with the block."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.contrib.forks"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.communicate(timeout=60)

    def run(self, command: Sequence[str], folder: Path, env: Mapping[str, str], *, missing: Sequence[str] = ()) -> Ran:
        """Run `queuekit …`, `flask …` or `manage.py …` in the folder, as if modules were `missing`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"command": list(command), "folder": str(folder), "env": dict(env), "missing": list(missing)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        return Ran(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    for name in WANTED:
        __import__(name)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as said:
            child = os.fork()
            if child == 0:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                os._exit(_be(**asked))
            _, status = os.waitpid(child, 0)
            said.seek(0)
            answer = {"code": os.waitstatus_to_exitcode(status), "told": said.read().decode()}
        print(json.dumps(answer), flush=True)


def _be(command: list[str], folder: str, env: dict[str, str], missing: list[str]) -> int:
    """In the child: this command, in its folder; the exit code."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.stdin = open(os.devnull)  # noqa: SIM115  the process ends with it
    sys.path.insert(0, folder)
    sys.argv = command
    for name in [name for name in sys.modules if name.partition(".")[0] in missing]:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]  # None: as Python knows a module that is not there
    try:
        _main(command[0])
    except SystemExit as end:
        code: Any = end.code
        return code if isinstance(code, int) else 0 if code is None else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _main(program: str) -> None:
    if program == "queuekit":
        from queuekit.cli.main import main

        main()
    elif program == "flask":
        from flask.cli import main as flask

        flask()
    else:
        runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    _serve()
