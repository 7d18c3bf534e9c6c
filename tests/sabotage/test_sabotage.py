"""The breaks themselves: all of them still apply, and those that are due at this commit still turn a test red.

`make sabotage` tries every one. Which ones are due changes with each commit (`patches.due`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from _pytest.mark.expression import Expression

from tests.sabotage import patches
from tests.sabotage.__main__ import judged
from tests.sabotage.patches import Patch
from tests.sabotage.tree import Copy, Ran, Red

ALL = patches.all_patches()
HANDFUL = 4
AREAS = {"model", "sqlite", "redis", "mongo", "runtime", "kit", "cli", "move"}


def test_there_are_breaks_of_every_part() -> None:
    assert len(ALL) >= 40
    assert Counter(patch.area for patch in ALL).keys() >= AREAS


@pytest.mark.parametrize("patch", ALL, ids=lambda patch: patch.name)
def test_a_break_says_what_it_breaks_and_still_applies(patch: Patch) -> None:
    """The lines it changes must stand there once; `make sabotage-refresh` writes new surroundings into it."""
    assert patches.complaint(patch) is None, f"{patch.file} has changed where it is broken: rewrite the patch"
    old, new = patches.sides(patch)
    assert old != new
    assert len(old.splitlines()) <= 2
    assert len(new.splitlines()) <= 2
    assert re.fullmatch(r".{10,99}[^.]", patch.promise)
    for test in (arg for arg in patch.tests if arg.startswith("tests/")):
        assert (patches.ROOT / test).exists()


@pytest.fixture(scope="module")
def collected() -> list[str]:
    """Every test of the files that patches name."""
    files = sorted({arg for patch in ALL for arg in patch.tests if arg.startswith("tests/")})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:xdist", *files]
    said = subprocess.run(command, cwd=patches.ROOT, capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if "::" in line]


def test_every_break_has_tests_that_would_notice(collected: list[str]) -> None:
    """A test that was renamed or moved leaves its breaks with none."""
    assert len(collected) > 1000
    alone = []
    for patch in ALL:
        *files, flag, wanted = patch.tests if "-k" in patch.tests else (*patch.tests, "-k", "test")
        assert flag == "-k"
        expression = Expression.compile(wanted)
        chosen = [test for test in collected if any(test.startswith(file) for file in files)]
        if not any(expression.evaluate(_named(test)) for test in chosen):
            alone.append(patch.name)
    assert alone == []


def _named(test: str) -> Callable[..., bool]:
    return lambda word, **said: word in test


@pytest.mark.timeout(400)
@pytest.mark.parametrize("patch", patches.due(ALL, HANDFUL), ids=lambda patch: patch.name)
def test_a_break_that_is_due_at_this_commit_turns_a_test_red(
    patch: Patch, record_property: Callable[[str, object], None]
) -> None:
    record_property("sabotage", patch.name)
    (verdict,) = judged([patch])
    assert verdict.trouble == ""
    assert verdict.red is not None


def test_every_break_has_its_turn_before_any_comes_again() -> None:
    turns = -(-len(ALL) // HANDFUL)
    seen = {patch.name for turn in range(turns) for patch in patches.due(ALL, HANDFUL, turn)}
    assert seen == {patch.name for patch in ALL}


@pytest.mark.parametrize(
    "red",
    [
        Red("t", "NameError", "name 'x' is not defined"),
        Red("t", "SyntaxError", "invalid syntax"),
        Red("t", "ModuleNotFoundError", "No module named 'x'"),
        Red("t", "StoreError", "Redis at x: Error compiling script (new function): user_script:3: '=' expected"),
    ],
)
def test_a_break_that_only_cannot_run_is_not_noticed(red: Red) -> None:
    assert not red.honest
    assert Red("t", "AssertionError", "assert 1 == 2").honest


def test_a_test_run_in_a_copy_meets_only_the_code_of_the_copy() -> None:
    with Copy() as copy:
        broken = copy.root / "queuekit/domain/redact.py"
        broken.write_text(broken.read_text("utf-8").replace('MASK = "***"', 'MASK = "???"'), "utf-8")
        ran: Ran = copy.pytest("tests/unit/test_redact.py", "-k", "secret_is_gone")
    assert ran.red
    assert all(red.honest for red in ran.red)
    assert not ran.green
