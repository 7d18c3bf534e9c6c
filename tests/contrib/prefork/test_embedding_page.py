"""The program of docs/embedding.md runs as it stands there, with a file for its jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from queuekit.settings import VARIABLES

PAGE = Path(__file__).parents[3] / "docs/embedding.md"


def test_the_worker_in_a_program_of_the_page(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env["QUEUEKIT_SQLITE_PATH"] = str(tmp_path / "jobs.db")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
