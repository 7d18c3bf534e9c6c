"""How long a fresh process takes: to import and enqueue by name, to do nothing, to answer one command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from queuekit.clock import perf

PRODUCER = """
import time
began, cpu = time.perf_counter(), time.process_time()
from queuekit import QueueKit
QueueKit().queue({queue!r}).enqueue("send", {{"to": "ada"}})
print([(time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000])
"""


def producer(queue: str) -> tuple[float, float, float]:
    """Milliseconds from before `import queuekit` to after the first enqueue, their CPU, and the whole process's."""
    start = perf()
    said = subprocess.check_output([sys.executable, "-c", PRODUCER.format(queue=queue)])
    whole = (perf() - start) * 1000
    took, cpu = json.loads(said)
    return took, cpu, whole


def bare() -> float:
    """Milliseconds of a Python that does nothing."""
    return _whole([sys.executable, "-c", "pass"])


def command_line() -> float:
    """Milliseconds of `queuekit queues list`."""
    return _whole([str(Path(sys.executable).with_name("queuekit")), "queues", "list", "--json"])


def _whole(command: list[str]) -> float:
    start = perf()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (perf() - start) * 1000
