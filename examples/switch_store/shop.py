"""A small service: orders are delivered one by one, and counted every second. Worker: queuekit worker shop:kit"""

import os
import time
from pathlib import Path

from queuekit import QueueKit, current_job

kit = QueueKit()


@kit.task(queue="orders")
def deliver(order: str, seconds: float = 0.0) -> str:
    time.sleep(seconds)  # a carrier's slow API
    with Path(os.environ.get("DELIVERED", "delivered.txt")).open("a") as book:
        book.write(f"{order}\n")  # what the outside world sees of a job
    return order


@kit.task(queue="orders")
def count() -> int:
    delivered = Path(os.environ.get("DELIVERED", "delivered.txt"))
    number = len(delivered.read_text().splitlines()) if delivered.exists() else 0
    job = current_job()
    with Path(os.environ.get("COUNTED", "counted.txt")).open("a") as book:
        book.write(f"{job.job.id if job else '-'} {number}\n")
    return number


kit.schedule("count", count.using(priority=0).make(), every="1s", missed="all")
