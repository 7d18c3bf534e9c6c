"""A small service: orders are delivered one by one. Worker: queuekit worker shop:kit"""

import os
import time
from pathlib import Path

from queuekit import QueueKit

kit = QueueKit()


@kit.task(queue="orders")
def deliver(order: str, seconds: float = 0.0) -> str:
    time.sleep(seconds)  # a carrier's slow API
    with Path(os.environ.get("DELIVERED", "delivered.txt")).open("a") as book:
        book.write(f"{order}\n")  # what the outside world sees of a job
    return order
