"""examples/exchange_sync runs as people run it, and says what it is there to show."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from queuekit.settings import VARIABLES
from tests.architecture import ROOT

SAID = [
    "exchange-sync (code): reconcile on execution:reconciliation, {'every': '1m', 'overlap': 'skip'}",
    "clean-up (file): data_cleanup on maintenance, {'cron': '30 3 * * *', 'timezone': 'Europe/Berlin'}",
    "weekly-report (file): report_generation on maintenance",
    "5 Mondays to come",
    "cleaned up sessions, reconciled kraken",
    "60 syncs in an hour",
]


def test_the_example_runs_and_says_what_it_is_there_to_show(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "exchange_sync", tmp_path / "service")
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    env |= {"PYTHONPATH": str(ROOT), "QUEUEKIT_URL": f"sqlite:///{tmp_path}/q.db"}
    command = [sys.executable, "-W", "error", "jobs.py"]
    ran = subprocess.run(
        command, cwd=tmp_path / "service", env=env, capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    at = -1
    for line in SAID:
        assert line in ran.stdout[at + 1 :], (line, ran.stdout)
        at = ran.stdout.index(line)
