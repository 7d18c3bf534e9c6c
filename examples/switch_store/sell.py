"""Customers: an order now and then, until somebody makes the file `closed`. Each order that was taken is printed."""

import os
import sys
import time
from pathlib import Path

from shop import deliver, kit

from queuekit import StoreUnavailable


def sell(till: str, closed: Path) -> None:
    number = 0
    while not closed.exists():
        order = f"{till}-{number}"
        try:
            deliver.using(id=order, priority=5).enqueue(order, seconds=float(os.environ.get("SECONDS_EACH", "0.02")))
        except StoreUnavailable as error:
            print(f"again: {error}", file=sys.stderr, flush=True)  # the same id: it is taken once, however often asked
        else:
            print(order, flush=True)
            number += 1
        time.sleep(0.03)


if __name__ == "__main__":
    with kit:
        sell(sys.argv[1] if len(sys.argv) > 1 else "till", Path("closed"))
