"""One worker process of bench. It is told what to run through standard input and prints one JSON line when it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import process_time

from queuekit.cli import crew
from queuekit.cli.bench.tasks import kit, tally


def main() -> int:
    """Run until the queue is empty (burst), so many jobs ran (max_jobs), or told to stop; the exit code."""
    said = crew.told()
    options = {
        "queues": [str(said["queue"])],
        "concurrency": int(str(said["concurrency"])),
        "burst": bool(said.get("burst")),
    }
    if "max_jobs" in said:
        options["max_jobs"] = int(str(said["max_jobs"]))
    code = kit.worker(**options).run()  # type: ignore[arg-type]  # four keys of WorkerOptions
    print(json.dumps(figures()), flush=True)
    return code


def figures() -> dict[str, object]:
    """What the handlers saw: jobs, runs, the first and the last moment, and the CPU taken since the first."""
    ran = tally.runs
    return {
        "jobs": len(ran),
        "runs": sum(ran.values()),
        "first": tally.first,
        "last": tally.last,
        "seconds": tally.last - tally.first,
        "cpu": process_time() - tally.cpu if ran else 0.0,
        "samples": tally.samples,
        "peak": peak_rss(),
    }


def peak_rss() -> int:
    """The most memory this process ever held, in bytes; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text("ascii").split("\n")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
