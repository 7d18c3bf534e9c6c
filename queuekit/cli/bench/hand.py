"""One worker process of bench. It is told what to run through standard input and prints one JSON line when it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from queuekit.cli import crew
from queuekit.cli.bench.tasks import kit, tally


def main() -> int:
    """Run until the queue is empty (burst) or until told to stop; the exit code."""
    said = crew.told()
    options = {
        "queues": [str(said["queue"])],
        "concurrency": int(str(said["concurrency"])),
        "burst": bool(said.get("burst")),
    }
    code = kit.worker(**options).run()  # type: ignore[arg-type]  # three keys of WorkerOptions
    ran = tally.runs
    print(
        json.dumps(
            {
                "jobs": len(ran),
                "runs": sum(ran.values()),
                "seconds": tally.last - tally.first,
                "samples": tally.samples,
                "peak": peak_rss(),
            }
        ),
        flush=True,
    )
    return code


def peak_rss() -> int:
    """The most memory this process ever held, in bytes; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").split("\n")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
