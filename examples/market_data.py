"""From Bull: jobs by one envelope, several job types in one queue, a processor for each.

Run it: python examples/market_data.py
"""

from typing import Any

from queuekit import QueueKit
from queuekit.compat.bull import Job, QueueManager, process

kit = QueueKit()
queue_manager = QueueManager("market")
synced: list[str] = []


@process("market", "sync-screener")
async def sync_screener(job: Job[Any]) -> None:
    synced.append(f"screener of {job.data['instrumentId']}")


@process("market", "sync-prices")
async def sync_prices(job: Job[Any]) -> None:
    if job.attempts_made == 0:
        raise ConnectionError("the exchange is busy")
    synced.append(f"prices of {job.data['day']}, run {job.attempts_made + 1}")


def instrument_created(instrument_id: str, timestamp: int) -> None:
    """What the event bus calls: the service that creates instruments knows no queue."""
    queue_manager.add_job(
        {
            "type": "sync-screener",
            "data": {"instrumentId": instrument_id, "timestamp": timestamp},
            "options": {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}},
        }
    )


def main() -> None:
    instrument_created("BTCUSDT", 1_700_000_000_000)
    queue_manager.add_job({"type": "sync-prices", "data": {"day": "monday"}, "options": {"attempts": 3, "backoff": 0}})
    kit.worker(burst=True).run()
    print("; ".join(synced))
    print(queue_manager.queue.get_job_counts("completed", "failed"))


if __name__ == "__main__":
    main()
