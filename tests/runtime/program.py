"""A worker program for process tests: `python -m tests.runtime.program URL NAMESPACE FOLDER [option=json …]`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path

from queuekit import QueueKit

kit = QueueKit(
    os.environ["PROGRAM_URL"],
    namespace=os.environ["PROGRAM_NAMESPACE"],
    queues={"default": {"lease": float(os.environ["PROGRAM_LEASE"])}},
)
FOLDER = Path(os.environ["PROGRAM_FOLDER"])


def mark(name: str) -> None:
    """Tell the test, whatever happens to this process next."""
    with (FOLDER / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


@kit.task
async def note(name: str) -> int:
    mark(name)
    return os.getpid()


@kit.task
async def hold(name: str) -> str:
    """Runs until the test makes the file NAME.go."""
    mark(name)
    while not (FOLDER / f"{name}.go").exists():  # noqa: ASYNC110  another process makes it
        await asyncio.sleep(0.01)
    return "held"


@kit.task(attempts=1)
def hold_thread(name: str) -> str:
    mark(name)
    while not (FOLDER / f"{name}.go").exists():
        time.sleep(0.01)
    return "held"


@kit.task
async def loop_kind() -> str:
    return type(asyncio.get_running_loop()).__module__


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    options = {name: json.loads(value) for name, value in (pair.split("=", 1) for pair in sys.argv[1:])}
    sys.exit(kit.worker(**options).run())
