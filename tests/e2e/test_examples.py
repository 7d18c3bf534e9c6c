"""Every example runs, on a store of its own, and says what it is there to show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAID = {
    "priorities.py": ["the fire brigade, first come, second come, no hurry", "1 waits for its time"],
    "dead_letters.py": ["failed - nobody called ada", "completed - ada: 12 St James's Square"],
    "bulk.py": ["primes: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]"],
}


def test_every_example_is_run_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", sorted(SAID))
def test_an_example_says_what_it_shows(name: str, clean_env: dict[str, str], tmp_path: Path) -> None:
    env = clean_env | {"QUEUEKIT_URL": f"sqlite:///{tmp_path / 'queue.db'}"}
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    ran = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == SAID[name]
