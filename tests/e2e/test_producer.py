"""What a process that only enqueues may import: counted, because seconds depend on the machine (docs/decisions/068)."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from queuekit import QueueKit
QueueKit().queue("mail").enqueue("send", {"to": "ada"})
print(*sys.modules)
"""
NEVER = (
    *("queuekit.runtime", "queuekit.cli", "queuekit.testing", "queuekit.dashboard", "queuekit.contrib"),
    *("apscheduler", "cronsim", "queuekit.domain.timetable", "queuekit.producing.scheduling"),
    *("pydantic", "typer", "rich", "click", "uvloop", "multiprocessing", "hypothesis", "starlette", "jinja2"),
)
OURS = {"sqlite": 88, "redis": 88, "mongo": 96}  # modules of queuekit and of its backend: about a millisecond each
ALL = {"sqlite": 330, "redis": 420, "mongo": 480}  # with the driver's and Python's own


def test_a_producer_imports_no_worker_no_validation_and_little_else(store_env: dict[str, str]) -> None:
    said = subprocess.check_output([sys.executable, "-c", PROGRAM], env=store_env, text=True)
    modules = said.split()
    assert "queuekit.producing.produce" in modules
    assert [name for name in modules if any(name == one or name.startswith(f"{one}.") for one in NEVER)] == []
    ours = [name for name in modules if name.startswith("queuekit")]
    kind = store_env["QUEUEKIT_URL"].partition(":")[0].replace("mongodb", "mongo")
    assert len(ours) <= OURS[kind], ours
    assert len(modules) <= ALL[kind], len(modules)
