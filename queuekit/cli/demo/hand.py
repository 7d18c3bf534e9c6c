"""One worker process of the demo. It is told its queue through standard input and ends when the demo does."""

from __future__ import annotations

import sys

from queuekit.cli import crew
from queuekit.cli.demo import tasks


def main() -> int:
    """Run jobs until told to stop; the exit code."""
    said = crew.told()
    tasks.pause = float(str(said["pause"])) / 1000
    return tasks.kit_of(str(said["queue"]), int(str(said["concurrency"]))).worker().run()


if __name__ == "__main__":
    sys.exit(main())
