"""The patches: what each breaks, what should notice, whether it applies, which are due today. Runs no test.

A patch begins with two lines, `Promise:` and `Tests:` (arguments for pytest), then a unified diff of one file.
"""

from __future__ import annotations

import difflib
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONTEXT = 1  # lines around a change: enough to find it, few enough to outlive its neighbours


@dataclass(frozen=True, slots=True)
class Patch:
    """One break of one promise."""

    name: str
    promise: str
    tests: tuple[str, ...]  # arguments for pytest
    file: str  # what it changes
    path: Path

    @property
    def area(self) -> str:
        """The first word of its name: a store, or a room of the core."""
        return self.name.partition("-")[0]


def read(path: Path) -> Patch:
    """A patch by its file. Raises ValueError for one that does not say what it is."""
    said: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        name, colon, rest = line.partition(": ")
        if line.startswith("--- a/"):
            said["file"] = line.removeprefix("--- a/")
            break
        if colon:
            said[name] = rest.strip()
    missing = {"Promise", "Tests", "file"} - said.keys()
    if missing:
        raise ValueError(f"{path.name} names no {', '.join(sorted(missing))}")
    return Patch(path.stem, said["Promise"], tuple(shlex.split(said["Tests"])), said["file"], path)


def all_patches() -> list[Patch]:
    """Every patch there is, by name."""
    return [read(path) for path in sorted(HERE.glob("*.patch"))]


def complaint(patch: Patch, root: Path = ROOT) -> str | None:
    """Why a patch does not apply to the tree at `root`, None where it does."""
    done = _git("apply", "--check", str(patch.path), cwd=root)
    if done.returncode == 0 or _replaced(patch, root) is not None:
        return None
    return done.stderr.strip()


def apply(patch: Patch, root: Path) -> None:
    """Break the promise in a copy. Never in the tree itself."""
    assert root.resolve() != ROOT.resolve(), "a patch is for a copy"
    if _git("apply", str(patch.path), cwd=root).returncode != 0:
        text = _replaced(patch, root)
        assert text is not None, f"{patch.name} does not apply"
        (root / patch.file).write_text(text, "utf-8")


def due(patches: list[Patch], many: int, turn: int | None = None) -> list[Patch]:
    """`many` of them: others with each commit, every one once before any comes again."""
    turn = _commits() if turn is None else turn
    mixed = sorted(patches, key=lambda patch: (patch.name[::-1], patch.name))  # neighbours by name are of one store
    return [mixed[(turn * many + i) % len(mixed)] for i in range(min(many, len(mixed)))]


def _commits() -> int:
    """How many commits led here; without git, days."""
    asked = _git("rev-list", "--count", "HEAD")
    return int(asked.stdout) if asked.returncode == 0 else int(time.time() // 86_400)


def _git(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *args], cwd=cwd, capture_output=True, text=True, check=False)


def sides(patch: Patch) -> tuple[str, str]:
    """(lines before, lines after) of the change itself, without its surroundings."""
    body = patch.path.read_text("utf-8").partition("\n@@")[2].splitlines(keepends=True)[1:]
    old = "".join(line[1:] for line in body if line[0] == "-")
    new = "".join(line[1:] for line in body if line[0] == "+")
    return old, new


def written(promise: str, tests: str, file: str, old: str, new: str, root: Path = ROOT) -> str:
    """The text of a patch that puts `new` for `old`, which stands once in `file`. Raises ValueError otherwise."""
    before = (root / file).read_text("utf-8")
    if before.count(old) != 1:
        raise ValueError(f"{file}: it holds {before.count(old)} times: {old!r}")
    after = before.replace(old, new)
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{file}", f"b/{file}", n=CONTEXT
    )
    return f"Promise: {promise}\nTests: {tests}\n\n" + "".join(lines)


def _replaced(patch: Patch, root: Path) -> str | None:
    """The file with the change in it where only its surroundings have moved: its own lines stand there once."""
    file = root / patch.file
    text = file.read_text("utf-8") if file.exists() else ""
    old, new = sides(patch)
    return text.replace(old, new) if old and text.count(old) == 1 else None


def refresh(patch: Patch) -> bool:
    """Write a patch anew if its surroundings have moved. Raises ValueError where its own lines are not there once."""
    if _git("apply", "--check", str(patch.path)).returncode == 0:
        return False
    old, new = sides(patch)
    patch.path.write_text(written(patch.promise, shlex.join(patch.tests), patch.file, old, new), "utf-8")
    return True
