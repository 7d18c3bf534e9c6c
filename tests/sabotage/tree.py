"""A copy of the tree, and test runs in it that can only meet the copy's code. Knows no patch's meaning.

The interpreter and its libraries are those of this process; PYTHONPATH puts the copy before what is installed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.sabotage.patches import ROOT

LONGEST = 150.0  # seconds a run may take before it is ended
_NEVER = frozenset(
    {"ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError", "NameError", "UnboundLocalError"}
)
_SCRIPT = re.compile(r"Error (?:compiling|running) script|user_script:\d+|Script attempted")


@dataclass(slots=True)
class Red:
    """A red test and why."""

    test: str
    type: str
    says: str

    @property
    def honest(self) -> bool:
        """Whether a behaviour was found wrong: no name that is missing, no script that does not run."""
        return self.type not in _NEVER and not _SCRIPT.search(self.says)


@dataclass(slots=True)
class Ran:
    """What a test run said."""

    passed: list[str] = field(default_factory=list)
    red: list[Red] = field(default_factory=list)
    broken: list[Red] = field(default_factory=list)  # before or after a test, or while collecting
    output: str = ""

    @property
    def green(self) -> bool:
        return bool(self.passed) and not self.red and not self.broken


class Copy:
    """The tree in a folder of its own: as it is now, changes that nobody committed included, or as a commit has it."""

    def __init__(self, commit: str | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="queuekit-sabotage-"))
        self._commit = commit

    def __enter__(self) -> Self:
        if self._commit is not None:
            packed = subprocess.run(["git", "archive", self._commit], cwd=ROOT, check=True, capture_output=True).stdout
            subprocess.run(["tar", "-x", "-C", str(self.root)], input=packed, check=True)
            return self
        for name in _files():
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.root, ignore_errors=True)

    def pytest(self, *args: str) -> Ran:
        """Run tests of the copy, on the copy's code: what was imported from elsewhere is an error."""
        notes = self.root / "witness.json"
        notes.unlink(missing_ok=True)
        paths = [self.root, self.root / "backends/redis", self.root / "backends/mongo"]
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "QUEUEKIT_WITNESS": str(notes),
        }
        for name in [name for name in env if name.startswith(("PYTEST_", "COV_"))]:
            del env[name]
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "--timeout=30", "-p", "no:cacheprovider",
                   "-p", "no:xdist", "-p", "tests.sabotage.witness", *args]  # fmt: skip
        output = _ended(command, self.root, env)
        if not notes.exists():
            return Ran(broken=[Red("the run itself", "exit", output[-2000:])], output=output)
        said = json.loads(notes.read_text("utf-8"))
        for name, file in said["code"].items():
            assert Path(file).is_relative_to(self.root.resolve()), f"{name} was tested from {file}, not from the copy"
        return Ran(said["passed"], [Red(**one) for one in said["red"]], [Red(**one) for one in said["broken"]], output)


def _ended(command: list[str], folder: Path, env: dict[str, str]) -> str:
    """What a command printed; one that takes too long is ended with all it started."""
    with subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, start_new_session=True) as process:  # fmt: skip
        try:
            return process.communicate(timeout=LONGEST)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.communicate()[0]


def _files() -> list[str]:
    """What belongs to the tree, patches aside: by git where it is one of git's, else all."""
    asked = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
    else:
        some = ("queuekit", "backends", "tests", "examples", "docs")
        names = [str(path.relative_to(ROOT)) for top in some for path in (ROOT / top).rglob("*")]
        names += [path.name for path in ROOT.iterdir()]
    return [name for name in names if name and not name.endswith((".patch", ".pyc")) and (ROOT / name).is_file()]
