"""From BullMQ: the seven queues of a trading platform, each with its concurrency. Run it: python examples/trading.py"""

from enum import StrEnum
from typing import Any, TypedDict

from queuekit import QueueKit
from queuekit.compat.bull import (
    Job,
    JobProcessor,
    QueuePriority,
    create_worker,
    get_all_queues_health,
    get_queue,
    get_queue_health,
)

kit = QueueKit()
done: list[str] = []


class QueueName(StrEnum):
    PORTFOLIO_HIGH_PRIORITY = "portfolio:high_priority"  # user queries, fill events
    PORTFOLIO_LOW_PRIORITY = "portfolio:low_priority"  # price updates, snapshots
    ORDER_SUBMISSION = "execution:order_submission"  # order placement
    RECONCILIATION = "execution:reconciliation"  # exchange sync
    SIGNALS = "strategy:signals"  # signal generation
    BACKTEST = "backtest:jobs"  # backtest execution
    CANDLE_INGESTION = "exchange:candle_ingestion"  # candle data ingestion


class Fill(TypedDict):
    userId: str
    symbol: str
    fillId: str


async def recalculate(job: Job[Fill]) -> None:
    done.append(f"{job.name} {job.data['symbol']} ({job.priority})")


async def note(job: Job[Any]) -> None:
    done.append(job.name)


async def submit(job: Job[Any]) -> None:
    if job.attempts_made < 4:
        raise ConnectionError("the exchange is busy")
    done.append(f"{job.name} in run {job.attempts_made + 1}")


def backtest(job: Job[Any]) -> None:
    raise ValueError("no candles for that time")


PROCESSORS: dict[QueueName, tuple[JobProcessor[Any], int]] = {
    QueueName.PORTFOLIO_HIGH_PRIORITY: (recalculate, 20),
    QueueName.PORTFOLIO_LOW_PRIORITY: (note, 5),
    QueueName.ORDER_SUBMISSION: (submit, 5),
    QueueName.RECONCILIATION: (note, 3),
    QueueName.SIGNALS: (note, 10),
    QueueName.BACKTEST: (backtest, 2),
    QueueName.CANDLE_INGESTION: (note, 10),
}
for name, (fn, concurrency) in PROCESSORS.items():
    create_worker(name, fn, {"concurrency": concurrency})


def main() -> None:
    # what is true of all jobs of a queue is said once
    get_queue(QueueName.ORDER_SUBMISSION, {"defaultJobOptions": {"attempts": 5, "backoff": 0}})
    get_queue(QueueName.BACKTEST, {"defaultJobOptions": {"attempts": 1}})
    high = get_queue(QueueName.PORTFOLIO_HIGH_PRIORITY)
    high.add("recalculate-position", {"userId": "user-123", "symbol": "BTCUSDT", "fillId": "fill-456"},
             {"priority": QueuePriority.CRITICAL})  # fmt: skip
    high.add("recalculate-position", {"userId": "user-123", "symbol": "ETHUSDT", "fillId": "fill-457"},
             {"priority": QueuePriority.HIGH, "delay": 3_600_000})  # fmt: skip
    get_queue(QueueName.PORTFOLIO_LOW_PRIORITY).add("snapshot", {}, {"priority": QueuePriority.LOW})
    get_queue(QueueName.ORDER_SUBMISSION).add("submit-order", {"symbol": "BTCUSDT"}, {"jobId": "order-1"})
    get_queue(QueueName.RECONCILIATION).add("reconcile", {"exchange": "binance"})
    get_queue(QueueName.SIGNALS).add("signal", {"strategy": "momentum"})
    get_queue(QueueName.BACKTEST).add("backtest", {"strategy": "momentum"})
    get_queue(QueueName.CANDLE_INGESTION).add("ingest", {"symbol": "BTCUSDT"})
    kit.worker(burst=True).run()
    print(", ".join(sorted(done)))
    print(get_queue_health(QueueName.PORTFOLIO_HIGH_PRIORITY))
    every = get_all_queues_health()
    print(len(every), "queues,", sum(one["completed"] for one in every), "completed,", end=" ")
    print(", ".join(f"{one['name']} failed" for one in every if one["failed"]))


if __name__ == "__main__":
    main()
