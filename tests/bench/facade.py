"""What Bull's `add` costs above `enqueue`, in CPU time, interleaved: python -m tests.bench.facade"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from queuekit import QueueKit
from queuekit.compat.bull import get_queue

ROUNDS, CALLS = 7, 3000
DATA = {"userId": "user-123", "symbol": "BTCUSDT"}


def main() -> None:
    kit = QueueKit("memory://facade")
    ours, theirs = kit.queue("q"), get_queue("q", kit=kit)
    cases: dict[str, Callable[[], object]] = {
        "enqueue": lambda: ours.enqueue("t", DATA),
        "add": lambda: theirs.add("t", DATA),
        "enqueue with options": lambda: ours.enqueue("t", DATA, attempts=5, priority=1),
        "add with options": lambda: theirs.add("t", DATA, {"attempts": 5, "priority": 1}),
    }
    took: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, call in cases.items():
            start = time.process_time()
            for _ in range(CALLS):
                call()
            took[name].append((time.process_time() - start) / CALLS * 1e6)
    for name, each in took.items():
        print(f"{name:<22}{statistics.median(each):7.1f} us  ({min(each):.1f} to {max(each):.1f})")


if __name__ == "__main__":
    main()
