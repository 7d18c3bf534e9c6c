"""A program under a supervisor: a hundred jobs claimed together, one of which kills its process each time it runs.

`python -m tests.torture.poisoned`, told by POISONED_* variables; imported anew by each process the supervisor starts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from functools import cache
from pathlib import Path

from queuekit import JobContext
from queuekit.runtime.supervisor import Supervisor
from tests.torture.program import Setting, make_kit, note_ends, note_start
from tests.torture.records import Pen

SETTING = Setting(
    url=os.environ["POISONED_URL"], namespace=os.environ["POISONED_NAMESPACE"],
    folder=Path(os.environ["POISONED_FOLDER"]), lease=float(os.environ["POISONED_LEASE"]), max_crashes=3,
)  # fmt: skip
JOBS = 100
kit = make_kit(SETTING)
_begun: list[str] = []


@cache
def pen() -> Pen:
    """This process's file."""
    return Pen(SETTING.folder, f"w{os.getpid()}")


@kit.task
async def harmless(ctx: JobContext) -> None:
    job, token = note_start(pen(), ctx)
    _begun.append(job)
    together = ctx._record.claims == 1
    await asyncio.sleep(3600 if together else 0.001)  # the poison ends the first run of all
    pen().write("end", job, token)


@kit.task
async def poison(ctx: JobContext) -> None:
    job, token = note_start(pen(), ctx)
    pen().write("poison", job, token)
    while ctx._record.claims == 1 and len(_begun) < JOBS - 1:  # noqa: ASYNC110  they begin one after the other
        await asyncio.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)


note_ends(kit, pen)

if __name__ == "__main__":
    sys.exit(Supervisor("tests.torture.poisoned:kit", {"concurrency": JOBS, "grace": 5}, 1, grace=5).run())
