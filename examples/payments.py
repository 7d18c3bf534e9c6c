"""From NestJS: one service that adds to several queues, processors beside it. Run it: python examples/payments.py"""

from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from queuekit import QueueKit
from queuekit.compat.bull import Job, UnrecoverableError, get_queue, processor

kit = QueueKit()
lines: list[str] = []


class PaymentJobData(BaseModel):
    user_id: str
    amount: Decimal  # money: never a float
    currency: str
    payment_method: str


class QueueService:
    """A helper for each queue: nobody else knows names and options."""

    def __init__(self) -> None:
        few = {"defaultJobOptions": {"removeOnComplete": 10, "removeOnFail": 5}}
        self.test_queue = get_queue("test-queue", few)
        self.notification_queue = get_queue("notification", few)
        self.payment_queue = get_queue("payment")

    def add_test_queue_job(self, data: dict[str, Any]) -> Job[Any]:
        return self.test_queue.add("game_data", data)

    def add_notification_job(self, data: dict[str, Any]) -> Job[Any]:
        return self.notification_queue.add("send-notification", data)

    def add_payment_job(self, data: PaymentJobData, order: str) -> Job[Any]:
        """The order's id is the job's: a payment asked for twice is one job."""
        return self.payment_queue.add(
            "process-payment", data, {"jobId": order, "removeOnComplete": 100, "removeOnFail": 20}
        )


@processor("test-queue", {"concurrency": 5})
class TestQueueProcessor:
    async def process(self, job: Job[Any]) -> None:
        lines.append(f"{job.data['messageType']} of {job.data['provider']}")


@processor("notification")
class NotificationProcessor:
    async def process(self, job: Job[Any]) -> None:
        lines.append(f"{job.data['message']} ({job.data['userId']})")


@processor("payment")
class PaymentProcessor:
    async def process(self, job: Job[PaymentJobData]) -> dict[str, Any]:
        if job.data.payment_method == "cash":
            raise UnrecoverableError("no till here")  # another run would not help
        lines.append(f"{job.data.amount} {job.data.currency} of {job.data.user_id}")
        return {"success": True, "transactionId": f"tx_{job.id}"}


def main() -> None:
    service = QueueService()
    service.add_test_queue_job(
        {"provider": "NAMED_POWERBALL", "data": {"n": 7}, "timestamp": 1_700_000_000_000, "messageType": "game_data"}
    )
    service.add_notification_job(
        {"userId": "user123", "type": "welcome", "message": "Welcome!", "data": {"userName": "John"}}
    )
    card = PaymentJobData(user_id="user123", amount=Decimal("25.00"), currency="USD", payment_method="card")
    paid = service.add_payment_job(card, "order-1")
    again = service.add_payment_job(card, "order-1")
    cash = service.add_payment_job(card.model_copy(update={"payment_method": "cash"}), "order-2")
    kit.worker(burst=True).run()
    print(", ".join(sorted(lines)))
    print(paid.created, again.created, paid.wait_until_finished(1000))
    cash.refresh()
    print(cash.get_state(), "after", cash.attempts_made, "run:", cash.failed_reason)


if __name__ == "__main__":
    main()
