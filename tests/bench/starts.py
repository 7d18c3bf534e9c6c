"""How long a fresh process takes: to import and enqueue by name, to do nothing, to answer one command line.

Modules are compiled before, as an installer does; their bytecode lies in a folder of this process.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
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
    program = PRODUCER.format(queue=queue)
    _compiled("-c", program)
    start = perf()
    said = subprocess.check_output([sys.executable, "-c", program], env=_environment())
    whole = (perf() - start) * 1000
    took, cpu = json.loads(said)
    return took, cpu, whole


def bare() -> float:
    """Milliseconds of a Python that does nothing."""
    return _whole("-c", "pass")


def command_line() -> float:
    """Milliseconds of `queuekit queues list`."""
    return _whole(str(Path(sys.executable).with_name("queuekit")), "queues", "list", "--json")


def _whole(*arguments: str) -> float:
    _compiled(*arguments)
    start = perf()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=_environment())
    return (perf() - start) * 1000


@functools.cache
def _compiled(*arguments: str) -> None:
    """Run it once before it is measured: it leaves its modules compiled behind."""
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=_environment())


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="queuekit-bytecode-")


def _environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return ours | {"PYTHONPYCACHEPREFIX": _folder().name}
